/* state/session.h — one client's session: what it holds, what each of its messages does to that, and what has to happen
 * on a backend so that the client can't tell that it is not alone on a direct connection.
 *
 * No sockets, no clock. Bytes go into two buffers, the client's and the linked backend's; verdicts tell the caller what
 * to do with the message and the link. The rules (../shared/session-state.md has the contract):
 *  - At any time at most one Sync, Query or FunctionCall is under way: later messages wait (SESSION_HOLD) for its
 *    ReadyForQuery. So pipelines of extended messages flow, and who owes what is never in doubt.
 *  - A message whose effect later ones depend on (SET, RESET, PREPARE …) is a barrier: pgporter adds a Flush and holds
 *    the client's next message until PostgreSQL has answered. So whatever is decided is decided on facts.
 *  - pgporter's own work on a backend (applying settings, preparing, observing) is a task: its replies are swallowed,
 *    the client's messages wait. A task that fails is the client's error, or, when its outcome isn't known, the end of
 *    the backend and the client.
 *
 * Ownership: the caller owns the structs and calls session_release(). A session is linked to one backend at most and a
 * backend to one session. */
#ifndef PGPORTER_STATE_SESSION_H
#define PGPORTER_STATE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parser/buf.h"
#include "parser/effects.h"
#include "state/backend.h"
#include "state/channels.h"
#include "state/prepared.h"
#include "state/rules.h"
#include "state/settings.h"

/* Clients that have asked for currval() or lastval(): database, user and application_name, each with its NUL. */
enum { SEQUENCE_KINDS_MAX = 128 };
struct sequence_kind {
	uint64_t hash;
	char text[3 * 64];
};
struct sequence_kinds {
	struct sequence_kind list[SEQUENCE_KINDS_MAX];
	size_t learnt; /* all in all; the latest are kept */
};

/* What all sessions of a worker share; borrowed by sessions and backends. */
struct session_store {
	struct settings_store *settings;
	struct stmt_store *stmts;
	struct effects_memory *effects;
	struct sequence_kinds sequences;
	uint64_t last_serial;
};

/* What a pool's sessions count together; all only grow. */
struct session_counters {
	uint64_t queries, transactions;
	uint64_t client_parses, server_parses, binds, named_parses;
	uint64_t replays, flights, replay_settings, observations, pins, local_answers;
	uint64_t ignored, refused; /* statements whose state was left where it happened by rule; sent back by rule */
	uint64_t replay_trips;	   /* round trips that clients have waited for settings and statements to be there again */
	uint64_t custom_names; /* on how many backends how many custom settings were seen for the first time */
	uint64_t held_begins;
};

enum { SQL_HOLD_MAX = 1 << 20, STATEMENT_HOLD_MAX = 16 << 20, NAMES_HOLD_MAX = 8192, REPLY_HOLD_MAX = 1 << 20,
       OBSERVED_MAX = 4 << 20 }; /* bytes */

enum pin_reason {
	PIN_CURSOR = 1 << 0,
	PIN_LOCK = 1 << 1,
	PIN_TEMP = 1 << 2,
	PIN_LISTEN = 1 << 3,
	PIN_OPAQUE = 1 << 4,   /* something pgporter can't tell apart may have been changed */
	PIN_SESSION = 1 << 5,  /* state that only the session's end undoes */
	PIN_STATEMENT = 1 << 6, /* an unnamed statement too large to be remembered */
	PIN_SETTING = 1 << 7,   /* by rule: settings other than at its start */
	PIN_ROLE = 1 << 8,      /* by rule: a role other than at its start */
	PIN_PREPARED = 1 << 9,  /* by rule: prepared statements */
	PIN_HAND = 1 << 10,     /* SET pgporter.pin = on */
	PIN_WHOLE = 1 << 11,    /* by rule: this user or application_name */
	PIN_START = 1 << 12,    /* its backend was started with parameters of its own */
	PIN_SEQUENCE = 1 << 13, /* its backend has the numbers of its own nextval() and nobody else's */
};
enum { PIN_REASONS = 14 };
/* "cursor", "advisory lock", … for one bit. */
const char *pin_reason_name(enum pin_reason reason);

enum session_verdict {
	SESSION_NEXT,	/* the message is dealt with: go on */
	SESSION_STREAM, /* dealt with as far as it was there; what remains of its body goes to the backend as it is */
	SESSION_LINK,	/* needs a backend: link one and ask again with the same message */
	SESSION_HOLD,	/* ask again with the same message after the backend has said something */
	SESSION_MORE,	/* ask again when more of the message is there */
	SESSION_DROP,	/* dealt with; what remains of its body is thrown away */
	SESSION_VACATE, /* idle backends of the databases that session_vacates() names have to be gone: session_vacated(), and
			 * ask again with the same message */
	SESSION_END,	/* Terminate */
	SESSION_REFUSE, /* the client broke the protocol or a limit: refusal says how; close */
};

enum reply_verdict {
	REPLY_FORWARD,	/* the message goes to the client as it is */
	REPLY_SWALLOW,	/* it doesn't (the session has written what does) */
	REPLY_WHOLE,	/* ask again when the whole message is there */
	REPLY_BROKEN,	/* the server broke the protocol, or the outcome of our own work isn't known: close both */
};

/* What a reply has brought about; a set. */
enum {
	EVENT_READY = 1 << 0,	    /* ReadyForQuery for the client */
	EVENT_PROGRESS = 1 << 1,    /* ask again with the message that was held */
	EVENT_PINS = 1 << 2,	    /* pins have changed */
	EVENT_BROKEN = 1 << 3,	    /* the outcome of our own work isn't known: close both (refusal says why) */
	EVENT_LOGIN_DONE = 1 << 5,  /* session_login_begin(): settings are applied */
	EVENT_LOGIN_FAILED = 1 << 6, /* …or refused; session->task_error holds PostgreSQL's ErrorResponse body */
	EVENT_DEFAULTS = 1 << 7,    /* ALTER ROLE/DATABASE … SET went by: what backends start with has changed */
	EVENT_UNMARKED = 1 << 8,    /* a marker has failed: what comes next of this backend's is anybody's */
	EVENT_CATALOGUE = 1 << 16,  /* a transaction is over that may have changed functions, triggers, views … */
};

enum { EVENT_ROLES = 1 << 12 }; /* roles_gone are gone: session_role_gone() for everybody, then session_roles_told() */

enum task_kind { TASK_NONE, TASK_APPLY, TASK_PREPARE, TASK_OBSERVE, TASK_LOGIN, TASK_FORGET, TASK_UNDO, TASK_NOTIFY, TASK_LEARN, TASK_NAMES, TASK_BEGIN,
		 TASK_SEQUENCE, TASK_SETTLE, TASK_CLEAR, TASK_LAY, TASK_RESET, TASK_HALF_ENDED };

/* The client's statements under its own names, on the backend, for what shows them (state/session_views.c). */
enum views {
	VIEWS_NONE,
	VIEWS_CLEARED, /* nothing else is there, */
	VIEWS_LAID,    /* and they are: for the message that is held */
	VIEWS_OLD,     /* which is sent, or can't be: they are to go */
};

/* Why a rule sends a statement back, or ends a session. */
enum { RULE_TEXT = 320 };
struct rule_refusal {
	const char *code;
	char message[RULE_TEXT], detail[RULE_TEXT], hint[RULE_TEXT]; /* empty: none */
};

struct portal {
	struct portal *next;
	size_t refs; /* the session's, while it has the name, and those of Executes that are owed */
	char *name;
	const struct effects *effects;
	struct stmt *target;	/* of an EXECUTE */
	uint8_t substitute;
	size_t n_bound;		/* values of the parameters that name settings */
	char **bound;
	struct stmt *own;	/* SQL PREPARE by extended protocol: the statement it defines */
	bool ends;		/* a transaction, or a part of one */
};

/* How one statement of a simple Query that was rewritten is answered. */
struct query_step {
	uint8_t substitute;
	struct stmt *target; /* EXECUTE, PREPARE: a reference */
	char *name;	     /* PREPARE: the client's name, to take back if it fails */
	const struct settings *asks; /* a SELECT of ours goes ahead of it, for these names' values (learn_written()); NULL: none, or it is answered */
	bool returns_rows;   /* EXECUTE itself, not EXPLAIN or CREATE TABLE AS: its RowDescription is the statement's */
	bool rows_ours;	     /* a SELECT in place of what has no rows */
	bool noted;	     /* where its words moved to has been said */
	int extra;	     /* further CommandCompletes of ours after its own */
};

struct session {
	struct session_store *store;
	struct session_counters *counters;
	struct buf *to_client;	 /* bytes on their way to the client; the owner's */
	struct backend *backend; /* linked, or NULL */
	uint64_t serial;
	bool carry;		 /* transaction and statement pooling with state carried */
	uint64_t *generation;	 /* of the database's definitions; shared by its sessions */
	const struct state_rules *rules; /* borrowed; session_rules_set() */
	struct pin_limit *pin_limit;	 /* its pool's; NULL: none */
	bool pin_counted;		 /* there */
	bool carry_next;		 /* carry, from the next link on */
	struct channels *channels; /* the database's, for LISTEN that is shared; NULL: there are none */
	struct subscriber *listens; /* NULL: it listens to nothing */
	struct {
		struct buf inbox;   /* notifications that came at a time when the client may not get any */
		bool marked;	    /* this transaction has sent markers that change what the client listens to */
		uint64_t alone;	    /* one that is a transaction of its own: its number; 0: not so */
		uint64_t discard_before; /* DISCARD ALL has succeeded: what earlier markers have brought is to go */
		const struct effects *unsent; /* Execute of this LISTEN or UNLISTEN was sent: its marker goes ahead of the next message; a reference */
		bool behind;	    /* something was executed in this batch; not counting a LISTEN that may be all of it */
		bool begins;	    /* a marker is to go ahead of the next message */
		bool said;	    /* session_said_notify() */
		bool caught_up;	    /* session_caught_up() */
		bool within;	    /* the client knows that it is in a transaction */
		bool waits;	    /* ReadyForQuery is held back… */
		uint64_t await;	    /* …until this marker has come */
		bool overrun;	    /* more was unread than LISTEN_UNREAD_MAX: to be closed */
	} listen;
	struct watch *watch;	 /* what the database's catalogue tells; shared by its sessions; NULL: nothing */

	const struct settings *base;	/* what came with the startup packet */
	const struct settings *settings; /* what the client wants when no transaction is open */
	const struct settings *want;	/* and now */
	const struct settings *effective; /* and with SET LOCAL */
	const struct settings *reported; /* what the client was told by ParameterStatus */
	const struct settings *base_reported; /* and at login */
	bool idle_timeout_changed;
	char idle_session_timeout[32]; /* the client's own, ours to enforce: a pooled backend that had it would be killed */
	unsigned lex_mode;
	uint64_t lex_for; /* settings_id() of the reported settings that lex_mode was derived from */

	struct stmt_names names;
	uint64_t plans; /* serial of its last DISCARD PLANS */
	struct unnamed_stmt unnamed;
	struct portal *portals; /* those with effects, and named ones that end a transaction */
	struct stmt *bound;	/* what the unnamed portal was bound from, if that has a name; a reference */
	bool bound_ends;	/* the unnamed portal ends a transaction, or a part of one (state/session_ends.c) */
	bool ends;		/* Execute of such a one was sent: which settings are left is to be known before the next message */

	/* The transaction: what it has touched. */
	struct {
		bool dirty;	/* settings were touched */
		bool defined;	/* the catalogue may have changed: told when the transaction is over */
		bool uncertain; /* the text does not tell what is left: ask */
		bool local_unknown; /* a SET LOCAL whose value the text doesn't tell */
		bool unsure;	/* of the settings touched some may not have been, or can't be set at all */
		bool base_unknown; /* a function may have RESET what came with the startup packet */
		bool error;	/* an error was seen since the last ReadyForQuery in idle */
		bool defaults;	/* ALTER ROLE/DATABASE … SET: others start with it when it is committed */
		char outcome;	/* 0, C(OMMIT) or R(OLLBACK): the last tag that ended a transaction */
		bool ended;	/* and it has come since the last ReadyForQuery */
		uint32_t observe; /* TOUCH_…: what to ask about when it is over */
		const struct settings *reported; /* by the backend when it began */
		char **names;	/* settings touched for the session */
		size_t n_names;
		const struct settings *locals; /* names of those touched for the transaction, as a set; NULL: none */
		const struct settings *defaulted; /* and of those that SET LOCAL … TO DEFAULT was the last to touch */
	} txn;

	/* So much of the client's Query has been dealt with: it ended a failed transaction, in which nothing could be prepared. */
	size_t query_done;
	bool query_part_failed; /* …or would have: the rest is skipped */

	/* The simple Query under way. */
	struct {
		const struct effects *effects;
		size_t row;	       /* next row to be answered */
		struct query_step *steps; /* one a row; NULL: sent as it was */
		size_t n_steps;
		bool swallow_rows; /* the statement now answered is ours: its T and D are too */
		int extra_left;
		uint32_t text_len;
		struct { uint32_t at; int32_t delta; } *shifts; /* where rewriting moved the text, for error positions */
		size_t n_shifts;
	} query;

	bool no_blocks;	     /* statement pooling: a transaction block ends the session */
	bool login_noticed;  /* PostgreSQL had something to say about the startup settings */
	const struct effects *through_reset; /* session pooling: a statement under way that resets settings */
	bool through_held;   /* …and its ReadyForQuery waits for them to be set again */
	char **roles_gone;   /* dropped or renamed by it; told when that is committed (EVENT_ROLES) */
	size_t n_roles_gone;
	const struct effects *vacate; /* of the statement held until the databases it is about are free of idle backends */
	bool vacated;	     /* they are */
	/* Custom settings, as sets of names: state/session_custom.c says what they are for. */
	struct {
		const struct settings *known;	/* this client has touched them: unset they read '' */
		const struct settings *pending; /* statements may have done so that failed, or don't tell */
		const struct settings *allowed; /* known, and what the messages at hand set before they read any */
		bool making;			/* a statement of ours, since it was linked, was to make up names */
	} custom;
	/* The client was told that its transaction has begun; PostgreSQL is with the next message. */
	struct {
		struct buf text;
		bool parsed;	   /* it came by the extended protocol: statement and portal, both unnamed, are there afterwards */
		bool held, failed; /* failed: in the client's eyes it is an aborted one by now */
		bool bare;	   /* and its settings could not be restored: it is aborted without them */
	} begin;

	/* state/session_sequence.c */
	struct {
		const struct backend *on; /* the last one it has sent anything to; compared only */
		bool spread;		  /* and others before, so that its numbers may be anywhere */
		bool looked;		  /* whether its kind is learnt, since it was linked */
		bool looked_now;	  /* a task is under way for that */
		bool given_up;		  /* its last statement was DISCARD SEQUENCES */
		bool pins;		  /* once the task is done */
	} sequence;

	uint32_t pins;	     /* PIN_… */
	uint32_t pins_settled; /* when the last transaction was over */
	uint64_t ruled_settings; /* settings_id() of those that pins were last judged by; 0: they have to be */
	char *pin_text;	     /* beginning of the statement that did it; NULL: nothing did, or not known */

	/* A transaction that PostgreSQL has ended by half (state/session_half_ended.c) was rolled back here. */
	struct {
		struct buf error; /* that the client's next statement fails with: ErrorResponse body */
		const struct settings *reported; /* by PostgreSQL since; told when the error is; NULL: there is none, or it was */
	} lost;

	enum views views, views_next; /* next: when TASK_CLEAR is done */
	bool views_ending; /* no message waits for that */
	/* What keeps the client's messages from just being sent on, together so that it is asked in one go. */
	union {
		struct {
			enum task_kind task : 8;
			bool task_failed;    /* its error is the client's: told with the message that was held */
			bool await_ready;    /* a Query, FunctionCall or Sync was sent */
			bool await_reply;    /* a barrier: an Execute's reply */
			bool await_copy_end; /* CopyDone or CopyFail was sent in an extended COPY */
			bool skip;	     /* an error was told: drop the client's messages up to its Sync */
			bool through;	     /* session pooling: everything goes through as it is */
		};
		uint64_t not_plain;
	};
	bool ready; /* all that has to be there before a message is, and stays so while nothing but plain statements follows */
	bool task_alone;     /* ends with a Sync of its own */
	bool task_mismatch;  /* PREPARE: the result type isn't what the client was told */
	struct buf task_error; /* ErrorResponse body */
	struct buf task_rows;  /* OBSERVE: what came back */
	const struct settings *task_target; /* APPLY */
	bool discarded;	     /* the batch has run DISCARD ALL, which commits at once, and nothing since */
	bool discarded_here; /* it has run nothing but what stands for that, and has bound no named portal since */
	bool discard_committed; /* that is sure, for the message at hand */
	bool task_commits;   /* APPLY: it is to stay, whatever becomes of the batch */
	bool learned;	     /* PostgreSQL was asked what `effective` is, for the message that is held */
	bool may_reset;	     /* since the last ReadyForQuery something may have RESET, out of sight, what came with the startup packet */
	bool ready_held;     /* the client's ReadyForQuery waits until that is known */
	bool learns_parse;   /* …no more of it than what a Parse needs */
	bool task_stmt_failed; /* PREPARE: the error is the statement's own */
	bool temp_schema_new;  /* OBSERVE found that the backend's temporary schema has come into being */
	uint32_t task_observe; /* OBSERVE: TOUCH_… asked about */

	/* Settings sent ahead of the client's message, without a Sync between. */
	struct {
		const struct settings *from; /* what the backend had */
		bool failed;		     /* and nothing behind it ran */
		bool answer;		     /* the client was told the error; its Sync is still to be answered */
		enum task_kind kind;	     /* that had begun for the message now held */
	} flight;

	bool raising;	     /* PostgreSQL raises an error in our words: where in our SQL is not told */
	uint32_t ready_owed; /* session pooling: Queries and Syncs not answered yet */
	const char *refusal_code, *refusal; /* after SESSION_REFUSE or EVENT_BROKEN */
	struct rule_refusal *refused;	    /* by rule, last time; NULL: never */
	bool refused_now;		    /* a statement just was, for the log; the caller's to take back */
};

struct client_message {
	char type;
	const uint8_t *body;
	size_t have; /* bytes of the body that are there */
	size_t len;  /* of the whole body */
};

void session_init(struct session *s, struct session_store *store, struct session_counters *counters, struct buf *to_client);
void session_release(struct session *s); /* must not be linked */

/* What happens to its state. Both stay the owner's; they may be replaced at any time between two messages. carry: whether
 * statements are read at all from the next time on that a backend is linked. */
void session_rules_set(struct session *s, const struct state_rules *rules, struct pin_limit *limit, bool carry);
const struct state_rules *rules_normal(void); /* pgporter's preset */
/* The option by which a kind of state is what it is: "state_lock = pin (user app)". */
void rules_option(const struct state_rules *r, int kind, char *out, size_t cap);
/* The kind of state behind a pin's reason; -1: none has an option. */
int rules_kind_of_pin(enum pin_reason reason);

/* Startup settings, before login: name (lower case) and value. */
void session_start_with(struct session *s, const char *name, const char *value);

/* Puts settings under the client's own: they are what RESET goes back to where the client has none of that name. */
void session_base_under(struct session *s, const struct settings *under);
/* The same, where the backend it is linked to has had them since its start: they were its defaults, and its statements
 * were parsed under them. What *generation counts has to have grown since, so that nobody takes those for their own. */
void session_base_kept(struct session *s, const struct settings *under);

/* The role of that name is no more: what the session holds by it is nobody's, whoever is called so later. */
void session_role_gone(struct session *s, const char *name);
bool backend_role_gone(struct backend *b, const char *name); /* the same for a backend's; true if it held it */
void session_roles_told(struct session *s);

/* The backend it is going to be linked to was started with its startup settings, and is its own: there is nothing to carry. */
void session_starts_alone(struct session *s);

/* Link to an idle backend. Settings that differ are applied before anything of the client's. */
void session_link(struct session *s, struct backend *b);
/* The client is gone or the backend is: the two part. Returns true if the backend is clean: idle, nothing owed, nothing pinned. */
bool session_unlink(struct session *s);
/* Login with a backend linked: applies the startup settings; EVENT_LOGIN_DONE or _FAILED follows, or true at once where
 * there is nothing to apply. */
bool session_login_begin(struct session *s);
/* The client is told (or was, by another's login with the same settings) what `reported` says. */
void session_welcome(struct session *s, const struct settings *reported);

enum session_verdict session_from_client(struct session *s, const struct client_message *m);
/* Behind a message of a batch that was sent: so many bytes from the first on are whole messages, now sent too; the caller
 * takes them out. 0: session_from_client() has to tell. Bodies longer than body_max bytes are never among them. */
size_t session_plain_messages(struct session *s, const uint8_t *bytes, size_t len, uint32_t body_max);
/* A message of the linked backend; body may be partial (have < len). events is or-ed. */
enum reply_verdict session_from_backend(struct session *s, const struct client_message *m, uint32_t *events);

/* ---- LISTEN, where it is shared (state/channels.h); for who reads the listening backend's stream ---- */

/* What a client may leave unread, in bytes: what is beyond the socket's own buffer. */
enum { LISTEN_UNREAD_MAX = 1 << 20 };
enum listen_delivery {
	LISTEN_TOLD,	/* to_client has it */
	LISTEN_KEPT,	/* it comes when the client's transaction is over */
	LISTEN_OVERRUN, /* the client does not read: close it */
};
/* A whole NotificationResponse for this client. own: by the backend that it is linked to. */
enum listen_delivery session_notify(struct session *s, const void *message, size_t len, bool own);
/* The listening backend was replaced: notifications may have been missed, and the client is told. */
enum listen_delivery session_listen_gap(struct session *s);
/* It listens, and its own notifications are waited for before it is told that its transaction is over. */
bool session_listens(const struct session *s);
/* Linked, and what comes next from this backend may still be another's: a marker is sent ahead of whatever the session
 * does, from which on it is its own. Where somebody listens. */
bool session_can_mark(const struct session *s);
void session_mark_first(struct session *s);
/* Since it was last asked a statement was sent whose text names NOTIFY; where nobody listens none is looked at. */
bool session_said_notify(struct session *s);
/* Since it was last asked: what others have notified through this backend has come, all of it. */
bool session_caught_up(struct session *s);
bool session_mark_unsent(const struct session *s); /* session_mark_first() was called, and nothing came of it */
/* A marker of this session's has come through. May write its ReadyForQuery: events as from session_from_backend(). */
void session_listen_marked(struct session *s, uint32_t *events);
/* The listening backend is lost. Returns false where this session's LISTEN or UNLISTEN was under way, so that nobody
 * knows whether it holds: close it. Events as above. */
bool session_listen_lost(struct session *s, uint32_t *events);
void session_listen_end(struct session *s); /* the client is gone */
/* The i-th channel that the client listens to, in the order of its LISTENs, and where LISTEN is shared; NULL: no more. */
const char *session_listens_to(const struct session *s, size_t i);

/* Of the linked backend's bytes, so many from the first on are whole messages that the client gets as they are, and are
 * answered for now: the caller forwards them, and goes on as behind any message. 0: session_from_backend() has to tell.
 * Bodies longer than body_max bytes are never among them. */
size_t session_plain_replies(struct session *s, const uint8_t *bytes, size_t len, uint32_t body_max);
/* To be called when a message's last byte has been forwarded or swallowed: what pgporter answers itself follows. */
void session_reply_done(struct session *s);
/* True if a message of this type, whole or not, can only be forwarded: the caller may skip session_from_backend(). */
static inline bool session_plain_row(const struct session *s, char type)
{
	const struct backend *b = s->backend;

	const struct owed *o = b->owed.count ? &b->owed.ring[b->owed.first] : NULL;

	return (type == 'D' || type == 'd') && o && !o->ours && (o->kind == OWED_QUERY || o->kind == OWED_EXECUTE) &&
	       !s->query.swallow_rows;
}

/* After SESSION_VACATE: the databases, by their names on the server. Starts with *at = 0; NULL after the last. */
const char *session_vacates(const struct session *s, size_t *at);
void session_vacated(struct session *s); /* none of their backends is left that no client uses */
/* Before a backend is chosen: the names that it may have seen, given the client's messages from the one that asks for it
 * on; NULL: any. Lives until the next call. */
const struct settings *session_knows(struct session *s, const uint8_t *bytes, size_t len);
/* An unlinked client's messages begin with a lone BEGIN: it is answered here and sent with what comes next, so that what
 * comes next may decide which backend it is. Returns the bytes dealt with, 0 where there is no such BEGIN. */
size_t session_hold_begin(struct session *s, const uint8_t *bytes, size_t len);
/* The client waits in line, unlinked, and its query is cancelled: answers its held message as PostgreSQL would. The
 * caller then drops the message. */
bool session_cancel_waiting(struct session *s, const struct client_message *m);
/* True if nothing holds the link any more: no transaction, no pin, nothing owed. */
bool session_releasable(const struct session *s);
/* Likewise, and the backend is one that this client was given only for a message that has not run after all (session_knows()): it is
 * given up after SESSION_DROP, and another one is found for what comes next. */
bool session_misplaced(const struct session *s);
/* True while nothing of the client's is under way: it could be closed or its backend taken between two statements. */
bool session_idle(const struct session *s);
/* In a transaction (as far as the client was told). */
bool session_in_transaction(const struct session *s);

#endif
