/* parser/effects.h — SQL text → what it may do to the session it runs in.
 *
 * Facts about a text, not about a client: the same text under the same lexing settings always gives the same facts.
 * What the screen (parser/screen.h) clears touches nothing and is never parsed. The rest is parsed by libpg_query
 * within bounds (length, nesting, operator runs, on a stack of its own) and remembered by hash and text. A text that
 * is beyond the bounds or that the parser can't read is opaque: one statement with TOUCH_OPAQUE, whose outcome has to
 * be asked of PostgreSQL. Facts may say more than the text does, never less: that is fuzzed.
 *
 * A function's body, a view's query, a trigger are not seen, unless a watch set says what they do: the text is all that is
 * known. Of DO the body is text, which is searched for the settings that it names; with TOUCH_OPAQUE, for all else in it.
 *
 * The text is hostile; every answer is given for every input. Not thread-safe: one memory a worker. */
#ifndef PGPORTER_PARSER_EFFECTS_H
#define PGPORTER_PARSER_EFFECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* How this session lexes: standard_conforming_strings off, or a client_encoding in which bytes below 0x80 may be the
 * tail of a character (SJIS, BIG5, GBK, UHC, GB18030, JOHAB). */
enum lex_mode {
	LEX_PLAIN = 0,
	LEX_BACKSLASH = 1,   /* standard_conforming_strings = off */
	LEX_UNSAFE_BYTES = 2, /* a text with any byte >= 0x80 is opaque */
};

enum stmt_kind {
	STMT_PLAIN,		/* anything not below; its flags still count */
	STMT_SET,		/* SET [SESSION] name = …: name, value */
	STMT_SET_LOCAL,		/* SET LOCAL: name, value */
	STMT_SET_TRANSACTION,	/* SET TRANSACTION …, SET and RESET of transaction_isolation, transaction_read_only,
				 * transaction_deferrable: ends with its transaction */
	STMT_RESET,		/* RESET name, SET name TO DEFAULT, SET SESSION AUTHORIZATION DEFAULT, RESET ROLE: name */
	STMT_RESET_LOCAL,	/* SET LOCAL name TO DEFAULT: name */
	STMT_RESET_ALL,
	STMT_BEGIN,
	STMT_COMMIT,		/* also PREPARE TRANSACTION: the session goes on as after COMMIT */
	STMT_ROLLBACK,
	STMT_SAVEPOINT,		/* name */
	STMT_RELEASE,		/* name */
	STMT_ROLLBACK_TO,	/* name */
	STMT_PREPARE,		/* name, name_at, name_len; inner_kind, inner_flags and touched: what EXECUTE of it will do; flags is 0 */
	STMT_EXECUTE,		/* name, name_at, name_len; also EXPLAIN … EXECUTE and CREATE TABLE … AS EXECUTE */
	STMT_DEALLOCATE,	/* name, name_at, name_len */
	STMT_DEALLOCATE_ALL,
	STMT_DISCARD_ALL,
	STMT_DISCARD_PLANS,
	STMT_DISCARD_SEQUENCES,
	STMT_DISCARD_TEMP,
	STMT_CLOSE,		/* name */
	STMT_CLOSE_ALL,
	STMT_LISTEN,		/* name */
	STMT_UNLISTEN,		/* name */
	STMT_UNLISTEN_ALL,
	STMT_UNLOCK_ALL,	/* exactly SELECT [pg_catalog.]pg_advisory_unlock_all(): nothing else in the statement */
};

enum {
	TOUCH_SETTINGS = 1 << 0, /* settings in .touched may have changed for the session, by other means than kind says (set_config,
				  * UPDATE of pg_settings, a DO's body, which may name some for nothing: UPDATE t SET a.b = …) */
	TOUCH_SETTINGS_UNKNOWN = 1 << 1, /* a setting whose name is computed may have changed */
	TOUCH_CURSOR = 1 << 2, /* DECLARE … WITH HOLD */
	TOUCH_LOCK = 1 << 3,   /* names a session advisory lock function, locking or unlocking */
	TOUCH_TEMP = 1 << 4,   /* may create a temporary object (CREATE TEMP, INTO TEMP, pg_temp) */
	TOUCH_LISTEN = 1 << 5, /* LISTEN */
	TOUCH_OPAQUE = 1 << 6, /* DO, CALL, a function that runs SQL in a string (query_to_xml(), crosstab()…), unreadable or
				* beyond the bounds: anything above may have happened */
	TOUCH_DROP = 1 << 7,   /* may end what pins: DROP, CLOSE, UNLISTEN, DISCARD, ALTER … */
	TOUCH_DDL = 1 << 8,    /* CREATE, ALTER, DROP and the like: result types of prepared statements may have changed */
	TOUCH_COPY_IN = 1 << 9, /* COPY … FROM STDIN */
	TOUCH_SESSION = 1 << 10, /* leaves what can't be undone: LOAD, SET seed, setseed(), dblink_connect()… */
	TOUCH_LOCAL = 1 << 11, /* set_config(…, true): the setting in .touched is changed for the transaction */
	TOUCH_TX = 1 << 12,    /* transaction control of any kind, savepoints included */
	TOUCH_SEQUENCE = 1 << 13, /* names currval or lastval */
	TOUCH_ROLE_DEFAULTS = 1 << 14, /* ALTER ROLE/USER/DATABASE … SET, ALTER SYSTEM */
	TOUCH_ROLE = 1 << 18, /* DROP ROLE, ALTER ROLE … RENAME: the names that mean nobody afterwards are in .touched */
	TOUCH_DATABASE = 1 << 15, /* CREATE/DROP/ALTER DATABASE; name is the database, value its TEMPLATE if one is named */
	TOUCH_LISTED = 1 << 20, /* settings that pg_settings lists may have changed: RESET ALL in a body that can be read */
	TOUCH_COMMITS = 1 << 21, /* DO, CALL: what it did may be committed though it fails */
	TOUCH_OWN_VIEWS = 1 << 23, /* names pg_prepared_statements, pg_cursors or the functions behind them */
	TOUCH_CATALOGUE = 1 << 22, /* functions, triggers, views and the like may be others now */
};

/* A setting that set_config() touches. Either the name is known, or it is Bind parameter number `param` (from 1). */
struct touched_setting {
	char *name;   /* lower case; NULL: see param */
	int param;    /* of the Bind message, or of EXECUTE where kind is STMT_PREPARE */
	bool local;   /* is_local was literally true, or the setting ends with its transaction anyway */
	bool surely;  /* the statement does nothing but this and its like: when it is complete, it has happened */
	int value_param; /* the value is this Bind parameter; 0: it is not */
};

/* Where a session whose state is carried has to say something else, for PostgreSQL to answer as if it were alone. */
enum place_kind {
	PLACE_VALUE,	     /* the new value of a set_config(), which may be NULL, begins, */
	PLACE_VALUE_END,     /* and ends */
	PLACE_NULL,	     /* a plain NULL that is such a value */
	PLACE_CHANNELS,	     /* a call of pg_listening_channels() */
	PLACE_CHANNELS_NAME, /* where AS names what was called so by itself */
};
struct text_place {
	enum place_kind what;
	uint32_t at, len; /* in the text; only PLACE_NULL and PLACE_CHANNELS have a length */
	char *name;	  /* of set_config()'s: of the setting, as in touched_setting */
};

/* parser/watch.h */
struct defined_word {
	char *word;
	int when; /* enum watch_when */
	struct watch_effect *does; /* owned */
};

struct stmt_effects {
	enum stmt_kind kind;
	uint32_t flags;	 /* TOUCH_… */
	uint32_t at, len; /* the statement in the text: without leading blanks and comments, without its semicolon */
	/* Settings are lower-cased (role for SET ROLE, session_authorization, timezone, client_encoding, search_path for
	 * SET SCHEMA…, as PostgreSQL names them); other names are folded and cut at 63 bytes as PostgreSQL does. DECLARE,
	 * a STMT_PLAIN, has its cursor's name here, TOUCH_DATABASE its database. NULL where kind has none. */
	char *name;
	/* STMT_SET, STMT_SET_LOCAL: the flat text that PostgreSQL makes of the arguments, so that set_config(name, value)
	 * does the same (lists of GUC_LIST_QUOTE settings joined and quoted; a single string; a number as written).
	 * current_setting() may show it in other words (4096kB for 4MB). NULL: not certain from the text, ask (datestyle
	 * always, SET … FROM CURRENT, intervals). */
	char *value;
	uint32_t name_at, name_len; /* PREPARE, EXECUTE, DEALLOCATE, and LISTEN, UNLISTEN where the name may have been cut: its
				    * token in the text, quotes included */
	enum stmt_kind inner_kind;  /* PREPARE; EXECUTE: STMT_EXECUTE, unless it stands in EXPLAIN or CREATE TABLE AS */
	uint32_t inner_flags;
	struct touched_setting *touched;
	size_t n_touched;
	struct text_place *places; /* in the order of the text */
	size_t n_places;
	/* CREATE and ALTER: what others reach by these words from now on. With TOUCH_CATALOGUE; for watch_add(). */
	struct defined_word *defined;
	size_t n_defined;
};

struct effects {
	uint32_t flags; /* of all statements together */
	size_t n;	/* statements; SET SESSION CHARACTERISTICS gives one STMT_SET row per setting with the same at and len,
			 * all but the first with their bit in more_of_same */
	struct stmt_effects *stmts;
	uint64_t more_of_same; /* bit i (i < 64): row i belongs to the same statement, and so the same reply, as row i - 1 */
};

struct watch_effect;
struct effects_memory; /* remembered effects of one worker */
struct watch;

struct effects_memory *effects_memory_new(size_t max_bytes);
void effects_memory_free(struct effects_memory *m);

/* The effects of text[0..len). The result is held for the caller: give it back with effects_release(). Never NULL.
 * A cleared text gives the one constant for "nothing" (n == 0, flags == 0), whatever number of statements it has. */
const struct effects *effects_of(struct effects_memory *m, const char *text, size_t len, unsigned lex_mode);
/* The same with what only the database's catalogue tells (parser/watch.h): functions, tables and views that the text names
 * add their effects to its statements', and the bodies of DO and the procedures of CALL are read with the functions that they
 * call known. w may be NULL. */
const struct effects *effects_watched(struct effects_memory *m, const struct watch *w, const char *text, size_t len,
				      unsigned lex_mode);
/* The same without the screen: transaction control and harmless statements get their rows as well. n == 0 only for a
 * text without statements. */
const struct effects *effects_in_full(struct effects_memory *m, const char *text, size_t len, unsigned lex_mode);
const struct effects *effects_retain(const struct effects *e);
void effects_release(const struct effects *e);
/* True if e is the constant that the screen gives. */
bool effects_none(const struct effects *e);
/* One opaque statement; for a text too long to be held. */
/* effects_none(), of a text that was cleared before under the same lex_mode and the same set of watched names: counted as such. */
const struct effects *effects_cleared(struct effects_memory *m);
const struct effects *effects_opaque(void);
/* True if every statement takes back session state wholesale and does nothing else (RESET ALL, DISCARD …, CLOSE ALL,
 * UNLISTEN *, DEALLOCATE ALL, RESET ROLE and SESSION AUTHORIZATION, SELECT pg_advisory_unlock_all()), and there is one: what drivers send between uses. */
bool effects_reset_batch(const struct effects *e);

/* Text as a literal that is the same whatever standard_conforming_strings says. */
void sql_put_literal(struct buf *out, const char *text);
/* A SET that does what set_config(name, value, false) does (NULL: back to the default), without the snapshot that a SELECT takes: SET TRANSACTION may
 * follow. False, with nothing written, where no SET does: a list in other words than PostgreSQL's own. */
bool sql_put_set(struct buf *out, const char *name, const char *value);

struct effects_counters {
	uint64_t screened, hits, parsed, opaque;
};
const struct effects_counters *effects_memory_counters(const struct effects_memory *m);

#endif
