/* tests/sim/model_backend.h — a model of one PostgreSQL backend: protocol messages in, protocol messages out.
 *
 * It knows settings with transactions, savepoints and RESET values (guc.c), ParameterStatus (at ReadyForQuery as from 14 on,
 * at once as before), simple and extended messages with skipping to Sync, prepared statements of both kinds in one
 * namespace, the analysis of a statement anew when search_path has changed (plancache.c), portals and cursors, WITH HOLD,
 * advisory locks with counts, temporary tables, LISTEN, COPY, DISCARD, roles that may have been dropped. SQL is what the
 * simulation's programs say and what pgporter sends of its own: anything else is a complaint, and fails the run.
 *
 * Strings are interned and live until model_forget_texts(). Nothing is allocated by a statement that was seen before. */
#ifndef PGPORTER_TESTS_SIM_MODEL_BACKEND_H
#define PGPORTER_TESTS_SIM_MODEL_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parser/buf.h"

enum model_var {
	VAR_SEARCH_PATH,
	VAR_TIMEZONE,
	VAR_DATESTYLE,
	VAR_APPLICATION_NAME,
	VAR_CONFORMING,
	VAR_WORK_MEM,
	VAR_STATEMENT_TIMEOUT,
	VAR_ISOLATION,	 /* default_transaction_isolation */
	VAR_REPLICATION, /* session_replication_role: for superusers only */
	VAR_ROLE,
	VAR_AUTHORIZATION,
	VAR_APP_X, /* custom: from here on */
	VAR_APP_Y,
	VARS,
};

enum { MODEL_STMTS = 48, MODEL_PORTALS = 24, MODEL_SAVES = 12, MODEL_LOCKS = 8, MODEL_BOUND = 40, MODEL_ROLES = 16, MODEL_NOTES = 16, MODEL_LOG = 400, MODEL_SEQUENCES = 8 };

struct model_note {
	uint32_t pid; /* who has sent it */
	const char *channel, *payload;
};

/* What all backends of one server share. */
struct model_cluster {
	uint32_t roles_gone;	/* DROP ROLE r<n> has committed */
	bool reports_at_once;	/* as PostgreSQL 13: ParameterStatus when the value changes */
	int sequences[MODEL_SEQUENCES]; /* q<n>: what nextval() gave last */
	size_t n_log;
	struct model_note log[MODEL_LOG]; /* what was notified, in the order of the commits */
};

struct model_text; /* a text, read */
struct model_sql;  /* one statement of it */

/* What a transaction or savepoint takes back. */
struct model_state {
	const char *session[VARS]; /* NULL: the RESET value */
	const char *local[VARS];   /* NULL: none */
	uint32_t temps, temps_dropped_at_commit; /* temporary tables t<n> */
	uint32_t channels;
	size_t n_notes;
	uint32_t roles_gone;
	bool temp_schema;
};

struct model_stmt {
	const char *name; /* interned; NULL: free */
	const struct model_text *text;
	const struct model_sql *sql;
	bool from_sql;
	const char *path, *order; /* search_path and DateStyle when it was last analysed */
	bool temp_schema;	  /* likewise */
	uint32_t type;		  /* of its result, once and for all */
};

struct model_portal {
	const char *name;
	const struct model_text *text;
	const struct model_sql *sql;
	const char *order, *path;
	size_t n_bound;
	const char *bound[MODEL_BOUND];
	int at; /* rows read */
	bool cursor, hold, held, done;
	size_t level; /* savepoints there were when it was made */
};

struct model {
	struct buf in, out; /* bytes to it and from it */
	struct model_cluster *cluster;
	const char *base[VARS], *told[VARS]; /* RESET values; what the client was told */
	int numbers[MODEL_SEQUENCES], last_number; /* currval(), lastval(); 0: none */
	uint32_t pid;
	size_t heard; /* so much of the log */
	uint32_t channels_any, channels_all; /* listened to behind some, behind all commits since model_looked() */
	struct model_note notes[MODEL_NOTES]; /* of this transaction */
	uint32_t custom_known; /* custom settings this session has heard of */
	bool superuser_told;
	const char *auth_told;
	struct model_state now, at_begin;
	struct { const char *name; struct model_state state; } saves[MODEL_SAVES];
	size_t n_saves;
	const char *isolation; /* of this transaction */
	bool implicit, explicit_, failed, doomed, snapshot, several, executed, batch;
	bool skip, copying, copy_simple;
	struct model_stmt stmts[MODEL_STMTS];
	struct model_portal portals[MODEL_PORTALS];
	int locks[MODEL_LOCKS];
	bool cancelled;	/* the next message is answered with 57014 */
	bool faulty;	/* the next message is answered with 53200 */
	bool ours_bound; /* the last Bind was of pgporter's own */
	bool stands_for_clients; /* what was parsed last is answered to the client */
	const uint8_t *failure; /* the next message is answered with this ErrorResponse body; NULL: it isn't */
	size_t failure_len;
	bool failure_begun; /* and a Query has ended the unnamed statement by then */
	uint64_t statements;
	char tag[64]; /* of the statement that was run last */
	char complaint[256]; /* what it was told and doesn't understand, or must not be told */
};

void model_init(struct model *m, struct model_cluster *cluster); /* buffers are kept: zero them first, once */
void model_release(struct model *m);
void model_cluster_init(struct model_cluster *cluster, bool reports_at_once);
/* Notifications that are there for it, unless it is in a transaction. A payload ends with its place in the log: "x#000012". False: none. */
bool model_hears(struct model *m);
void model_forget_numbers(struct model *m); /* currval() and lastval() are not defined */
enum { MODEL_SUFFIX = 7 };
unsigned model_channel(const char *name); /* its bit in model_state.channels */
/* A startup parameter; before anything else. False: not a setting it knows. */
bool model_start_with(struct model *m, const char *name, const char *value);
/* A ParameterStatus for everything that is reported, as at login. */
void model_greet(struct model *m);
/* Reads one whole message of its input. False where there is none. */
bool model_turn(struct model *m);
/* The next message is one of those by which pgporter sees to settings, sequences, plans: nothing of a client's. */
bool model_next_is_ours(const struct model *m);
/* FATAL 57P01, as an administrator's command brings it. */
void model_die(struct model *m);
/* What a session leaves on a backend that is between two clients, in words; NULL: nothing. */
const char *model_leftover(const struct model *m);
const char *model_setting(enum model_var v); /* its name */
bool model_has_heard_of(const struct model *m, enum model_var v); /* custom, and no longer reads NULL */
/* SHOW would say what a setting of that value shows (NULL: its RESET value); false also where it isn't a value. */
bool model_carries(const struct model *m, const char *name, const char *value);
const char *model_reported(const struct model *m, const char *name); /* what the client was told last; NULL: never */
size_t model_texts_size(void); /* bytes that texts have taken */
void model_forget_texts(void); /* no model may be in use */

#endif
