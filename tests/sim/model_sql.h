/* tests/sim/model_sql.h — the SQL that the model of a backend understands, read once a text and remembered.
 *
 * Hand-read on purpose: nothing of parser/ is used, which is what is being tested. */
#ifndef PGPORTER_TESTS_SIM_MODEL_SQL_H
#define PGPORTER_TESTS_SIM_MODEL_SQL_H

#include "tests/sim/model_backend.h"

enum model_op {
	OP_EMPTY,
	OP_SYNTAX, /* PostgreSQL would not parse it either */
	OP_NOTHING, /* SELECT, of no columns */
	OP_VALUE,  /* SELECT 'word' or a number */
	OP_DIVISION, /* SELECT 1/0 */
	OP_ORDER,  /* SELECT date '…': a literal that is read at analysis, written at execution */
	OP_TABLE,  /* SELECT * FROM t: which, says search_path */
	OP_SERIES, /* SELECT * FROM generate_series(1, n) */
	OP_DEFERRED, /* INSERT INTO deferred: fails at COMMIT */
	OP_SHOW,
	OP_CURRENT_SETTING, /* current_setting(name, true) */
	OP_SETTING_OR_NOTHING, /* NULLIF(current_setting(name, true), '') */
	OP_SET,
	OP_SET_ISOLATION, /* SET TRANSACTION */
	OP_RESET,
	OP_RESET_ALL,
	OP_SET_CONFIG,
	OP_DO, /* PERFORM set_config() */
	OP_BEGIN,
	OP_COMMIT,
	OP_ROLLBACK,
	OP_SAVEPOINT,
	OP_RELEASE,
	OP_ROLLBACK_TO,
	OP_PREPARE,
	OP_EXECUTE,
	OP_DEALLOCATE,
	OP_DEALLOCATE_ALL,
	OP_DECLARE,
	OP_FETCH,
	OP_MOVE,
	OP_CLOSE,
	OP_CLOSE_ALL,
	OP_LOCK,
	OP_LOCK_IN_TRANSACTION,
	OP_UNLOCK,
	OP_UNLOCK_ALL,
	OP_MY_LOCKS,
	OP_TEMP,
	OP_TEMP_DROP,
	OP_TEMP_READ,
	OP_DROP_ROLE,
	OP_LISTEN,
	OP_NOTIFY,
	OP_NEXTVAL,
	OP_CURRVAL,
	OP_LASTVAL,
	OP_UNLISTEN,
	OP_UNLISTEN_ALL,
	OP_COPY_IN,
	OP_COPY_OUT,
	OP_DISCARD_ALL,
	OP_DISCARD_PLANS,
	OP_DISCARD_SEQUENCES,
	OP_DISCARD_TEMP,
	OP_MY_STATEMENTS, /* pg_prepared_statements */
	OP_MY_CHANNELS, /* pg_listening_channels() (hold), and those of a list (n) */
	OP_RAISE, /* pgporter's own: an error in its words */
	OP_ASKED, /* pgporter asks what is left */
	OP_LEARNED, /* and what settings are just now */
	OP_GIVE_BACK, /* and gives back what was RESET out of sight */
};

enum { SQL_CHANGES = 24, SQL_STATEMENTS = 64 };

/* One set_config() or one question of pgporter's. */
struct model_change {
	int8_t var;	    /* -1: by parameter */
	uint8_t name_param, value_param; /* from 1; 0: known */
	bool local, is_null;
	const char *value;
	char asks, kind;    /* of OP_ASKED: g s(et) a r(ole) l c n m t p; and what the answer is called */
};

struct model_sql {
	enum model_op op;
	int8_t var;
	bool local, chain, hold, on_commit_drop;
	int n; /* a number: key, table, rows, role */
	const char *name, *value;
	struct model_sql *inner;
	size_t n_changes;
	struct model_change changes[SQL_CHANGES];
};

struct model_text {
	const char *text;
	size_t n, n_params;
	struct model_sql *statements[SQL_STATEMENTS];
	bool ours, unread; /* pgporter's question; not in the grammar */
	struct model_text *next;
};

const struct model_text *model_read(const char *text);
const char *model_intern(const char *text, size_t len);
const char *model_word(const char *text); /* likewise, of a string */
int model_var_of(const char *name); /* -1: none */
const char *model_var_name(enum model_var v);

#endif
