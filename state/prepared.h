/* state/prepared.h — prepared statements: what clients call them, what backends call them, and what they are.
 *
 * A `stmt` is a statement as it was parsed: text, parameter types, and the settings at that moment that can change its
 * meaning. Clients with equal ones share it, and so do the backends: on each it has the one name "pgporter_<id>".
 * A client maps its own names to stmts; a backend has a set of stmts, the least recently used of which makes room. */
#ifndef PGPORTER_STATE_PREPARED_H
#define PGPORTER_STATE_PREPARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parser/buf.h"
#include "parser/effects.h"
#include "state/settings.h"

#define STMT_PREFIX "pgporter_"
enum { STMT_NAME_MAX = sizeof STMT_PREFIX + 16 };

struct stmt {
	uint64_t id;
	uint64_t hash;
	uint32_t refs;
	bool from_sql;		 /* PREPARE, not Parse */
	uint8_t substitute;	 /* session's own word on what was sent instead (enum substitute) */
	uint8_t *tail;		 /* Parse: what follows the name in the message; PREPARE: the statement's text */
	size_t tail_len;
	uint32_t name_at, name_len; /* PREPARE: where the name stands in tail */
	const struct settings *at_parse; /* all settings when it was parsed */
	const struct effects *effects;
	uint64_t generation;	 /* of the database's definitions when it was parsed */
	uint64_t watched;	 /* version of the watch set that effects come from; 0: not looked at */
	uint64_t owner;		 /* session that alone may use it; 0: anyone with the same */
	const void *pool;	 /* whose backends have it: another database or user gives the text another meaning; compared only */
	uint8_t *given;		 /* where something else was sent instead: the tail as the client gave it; NULL: nothing was */
	size_t given_len;
	struct stmt *target;	 /* a text that EXECUTEs another statement: that one */
	bool described;		 /* result_hash is known: a client relies on it */
	uint64_t result_hash;	 /* of its RowDescription's types and names */
	struct stmt_store *store;
	struct stmt *next;
};

struct stmt_store;
struct stmt_store *stmt_store_new(void);
void stmt_store_free(struct stmt_store *st);
size_t stmt_store_count(const struct stmt_store *st);

/* What makes two statements the same; everything borrowed. */
struct stmt_key {
	bool from_sql;
	const uint8_t *tail;
	size_t tail_len;
	uint32_t name_at, name_len;
	const struct settings *at_parse;
	uint64_t generation, owner;
	const void *pool;
	uint8_t substitute;
	const uint8_t *given; /* NULL: as in struct stmt */
	size_t given_len;
};
/* The one stmt for the key, with a reference for the caller. effects is retained when it is new. */
struct stmt *stmt_intern(struct stmt_store *st, const struct stmt_key *key, const struct effects *effects);
struct stmt *stmt_retain(struct stmt *s);
void stmt_release(struct stmt *s); /* NULL is fine */
void stmt_name(const struct stmt *s, char out[STMT_NAME_MAX]); /* its name on backends */
/* The id in a backend's name for a statement, or 0 if text does not begin with one; *len is the name's length. */
uint64_t stmt_name_read(const char *text, size_t text_len, size_t *len);

/* ---- a client's unnamed statement ---- */

struct unnamed_stmt {
	uint64_t serial; /* of its Parse; 0: there is none */
	struct buf tail, given; /* as in struct stmt */
	const struct settings *at_parse;
	const struct effects *effects;
	uint64_t watched; /* as in struct stmt */
	unsigned lex_mode; /* under which effects were found */
	uint8_t substitute;
	bool unkept;	 /* too large to be remembered */
	struct stmt *target, *own; /* references */
};

void unnamed_clear(struct unnamed_stmt *u); /* there is none; its buffers are kept for the next */
void unnamed_release(struct unnamed_stmt *u); /* and gives back the buffers */
struct unnamed_stmt *unnamed_set_aside(struct unnamed_stmt *u); /* moved to the heap; *u is empty then */
void unnamed_put_back(struct unnamed_stmt *u, struct unnamed_stmt *aside); /* in place of *u; frees aside, which may be NULL: none */
void unnamed_free(struct unnamed_stmt *aside); /* NULL is fine */

/* ---- a client's names ---- */

struct stmt_names {
	struct named_stmt **buckets;
	size_t n_buckets, count;
};

struct stmt *names_find(const struct stmt_names *n, const char *name);
void names_put(struct stmt_names *n, const char *name, struct stmt *s); /* takes a reference of its own; replaces */
bool names_remove(struct stmt_names *n, const char *name);
/* The first name under which s (by id) is known, or NULL. */
const char *names_of(const struct stmt_names *n, uint64_t id);
void names_each(const struct stmt_names *n, void (*each)(void *arg, struct stmt *s), void *arg);
void names_each_named(const struct stmt_names *n, void (*each)(void *arg, const char *name, struct stmt *s), void *arg);
void names_clear(struct stmt_names *n); /* and free */

/* ---- a backend's set ---- */

struct stmt_set {
	struct set_node **buckets;
	size_t n_buckets, count;
	struct set_node *newest, *oldest;
};

bool set_has(struct stmt_set *set, const struct stmt *s); /* and makes it the most recently used */
void set_add(struct stmt_set *set, struct stmt *s); /* takes a reference of its own */
void set_remove(struct stmt_set *set, const struct stmt *s);
struct stmt *set_oldest(const struct stmt_set *set); /* borrowed; NULL when empty */
void set_clear(struct stmt_set *set); /* and free */

#endif
