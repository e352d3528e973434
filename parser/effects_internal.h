/* parser/effects_internal.h — what the effects_*.c files share; nobody else includes it. */
#ifndef PGPORTER_PARSER_EFFECTS_INTERNAL_H
#define PGPORTER_PARSER_EFFECTS_INTERNAL_H

#include "parser/effects.h"
#include "parser/lex.h"
#include "parser/tree.h"
#include "parser/watch.h"

/* Effects that are owned: every row, string and array is a malloc of its own. `e` comes first, so that the pointer
 * callers hold is the held one too. */
struct held {
	struct effects e;
	size_t refs;
	size_t bytes; /* of all of it */
	size_t cap;   /* rows there is room for */
};

/* effects_held.c */
struct held *held_new(void); /* one reference, no rows */
void held_free(struct held *h);
struct stmt_effects *held_row(struct held *h); /* one more, zeroed; earlier rows may move */
void held_row_clear(struct stmt_effects *row); /* frees what it holds */
char *held_copy(struct held *h, const char *s, size_t n);

/* Effects of a text that is within the bounds; the caller owns them. NULL: unreadable, or more than rows can say. w: NULL,
 * or what is watched. */
struct held *effects_parse(struct tree_parser *t, const struct watch *w, const char *text, size_t len, unsigned lex_mode);

/* effects_watch.c: what only the catalogue tells of a statement; text is the whole text. */
void effects_watch_add(struct held *h, struct stmt_effects *row, const struct watch_effect *e);
void effects_watch_row(struct held *h, struct stmt_effects *row, const struct watch *w, const PgQuery__Node *n, const char *text,
		       unsigned lex_mode);
void effects_watch_unread(struct held *h, struct stmt_effects *row, const struct watch *w, const char *text, unsigned lex_mode);
void effects_watch_do(struct held *h, struct stmt_effects *row, const struct watch *w, const PgQuery__DoStmt *s, unsigned lex_mode);
void effects_watch_call(struct stmt_effects *row, const struct watch *w, const PgQuery__CallStmt *s);
void effects_watch_ddl(struct held *h, struct stmt_effects *row, const struct watch *w, const PgQuery__Node *n, const char *text,
		       unsigned lex_mode);

/* SET and RESET in all their forms, as rows added to h, each like row `like`. False: more than rows can say. */
bool effects_read_set(struct held *h, const struct stmt_effects *like, const PgQuery__VariableSetStmt *s);
/* The name a setting goes by: ASCII lower case, old names as the new ones. */
char *setting_name(struct held *h, const char *name);
/* transaction_isolation and its like, which begin anew with every transaction. */
bool setting_of_transaction(const char *name);

/* Settings that code in some language sets, as far as their names stand in it: set_config('name', …), SET a.b, SET and RESET
 * ROLE and SESSION AUTHORIZATION, in string literals too, for they may be executed. Says rather more than is there.
 * Settings that pg_settings lists are left out, unless set_config() names them. Name is as it stands there, at most
 * SETTING_ROOM - 1 bytes. Returns true if a name is computed, or lost in what can't be read. */
enum { SETTING_ROOM = 128 };
bool effects_read_body(const char *code, size_t len, bool backslash, void (*found)(void *arg, const char *name, bool local),
		       void *arg);

/* One statement while its tree is read. */
struct reading {
	struct held *held;
	struct stmt_effects row;
	const struct watch *watch; /* what the catalogue tells; NULL: nothing */
	const char *text; /* the whole text */
	size_t len;
	unsigned lex_mode;
	bool backslash;	  /* standard_conforming_strings is off */
	bool lost;	  /* something in it can't be told for certain */
	const void **todo; /* messages still to be looked at: the walk must not recurse */
	size_t n_todo, cap_todo;
};

/* effects_place.c: notes the row's places (struct text_place). */
/* The value of a set_config() whose name was just touched, if it may be NULL; plain: without casts that leave it as it is. */
void effects_place_value(struct reading *r, const PgQuery__FuncCall *f, const PgQuery__Node *value, const PgQuery__Node *plain);
void effects_place_channels(struct reading *r, const PgQuery__FuncCall *f); /* a call of pg_listening_channels(), if it is one */
void effects_place_column_name(struct reading *r, const PgQuery__ResTarget *t);
void effects_place_table_name(struct reading *r, const PgQuery__RangeFunction *f);

/* The memory: texts that were parsed. */
struct text_memory;
struct text_memory *text_memory_new(size_t max_bytes);
void text_memory_free(struct text_memory *m);
/* With a reference for the caller, or NULL. version: of the watch set that counted; 0: none. The hash is kept for text_memory_add(), which follows a miss. */
const struct effects *text_memory_find(struct text_memory *m, const char *text, size_t len, unsigned lex_mode, uint64_t version);
void text_memory_add(struct text_memory *m, const char *text, size_t len, unsigned lex_mode, uint64_t version,
		     const struct effects *e, size_t effects_bytes);
size_t text_memory_bytes(const struct text_memory *m);

#endif
