/* parser/tree.h — SQL text → libpg_query's tree, on a stack of its own.
 *
 * libpg_query recurses as deep as its tree is and has no guard, so it runs on a stack that is sized for any text of
 * BOUND_BYTES (parser/screen.h), with an unreadable page below. Nothing of it is used outside of parser/. */
#ifndef PGPORTER_PARSER_TREE_H
#define PGPORTER_PARSER_TREE_H

#include <stdbool.h>
#include <stddef.h>

#if __has_include(<pg_query/pg_query.pb-c.h>)
#include <pg_query/pg_query.pb-c.h>
#else
#include <protobuf/pg_query.pb-c.h>
#endif

struct tree_parser;

struct tree_parser *tree_parser_new(void); /* NULL if there is no address space for the stack */
void tree_parser_free(struct tree_parser *t);

/* text: within the bounds, without a NUL byte; need not end in one. backslash: standard_conforming_strings is off. NULL
 * if libpg_query can't read it, or can't read it as asked. The tree is the parser's and good until tree_done(), which
 * follows every call. */
const PgQuery__ParseResult *tree_parse(struct tree_parser *t, const char *text, size_t len, bool backslash);
void tree_done(struct tree_parser *t);

#endif
