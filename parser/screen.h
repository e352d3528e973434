/* parser/screen.h — proves, in one pass and without the parser, that most statements touch no session state.
 *
 * First a single statement is looked through for words that could matter anywhere, strings and comments included. Where there
 * are some it lexes as PostgreSQL does (strings, E'' strings, dollar quotes, nested comments, quoted identifiers, U& forms)
 * and looks at the first word of each statement and at the words that could matter. It may err in one direction only: by
 * asking for the parser. */
#ifndef PGPORTER_PARSER_SCREEN_H
#define PGPORTER_PARSER_SCREEN_H

#include "parser/grams.h"

enum screen_result {
	SCREEN_CLEAR, /* touches nothing that outlives its transaction */
	SCREEN_PARSE, /* may; ask the parser */
};

/* lex_mode: enum lex_mode of parser/effects.h. A text is cleared statement by statement; transaction control,
 * savepoints included, is cleared. */
enum screen_result screen_text(const struct grams *g, const char *text, size_t len, unsigned lex_mode);
void screen_grams(struct grams *g); /* what screen_text() needs */

/* The same token by token, which screen_text() does for whatever isn't clear at sight. Also asks for the parser where a text
 * can't be read as SQL, and so can't run. */
enum screen_result screen_exactly(const char *text, size_t len, unsigned lex_mode);

/* What a call of a function of this name may do to its session, as TOUCH_… bits; 0: nothing that is known. The
 * name's last part, as folded by PostgreSQL; ASCII case is ignored. set_config gives TOUCH_SETTINGS, set_limit
 * (pg_trgm) as well. Functions that run SQL handed to them as a string (query_to_xml, crosstab…) give TOUCH_OPAQUE. */
uint32_t screen_function(const char *name, size_t len);
/* A system view that shows what this very session has made: TOUCH_OWN_VIEWS. */
bool screen_own_view(const char *name, size_t len);

enum {
	BOUND_BYTES = 64 * 1024,
	BOUND_TOKENS = 12 * 1024,
	BOUND_BRACKETS = 200,	 /* nested */
	BOUND_DEPTH = 1000,	 /* of the tree, estimated from above */
	BOUND_OPERATOR_RUN = 256 /* bytes in a row that may be part of an operator, comments included */
};

/* What keeps a text away from libpg_query: linear, not recursive. NULL where the text is within the bounds that the
 * parser's stack is sized for and, read under the same lex_mode, means to the parser what it means to the session; else
 * the reason as a constant string. */
const char *screen_beyond_bounds(const char *text, size_t len, unsigned lex_mode);

#endif
