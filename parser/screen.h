/* parser/screen.h — proves, in one pass and without the parser, that most statements touch no session state.
 *
 * It lexes as PostgreSQL does (strings, E'' strings, dollar quotes, nested comments, quoted identifiers, U& forms)
 * and looks at the first word of each statement and at the words that could matter anywhere. It may err in one
 * direction only: by asking for the parser. */
#ifndef PGPORTER_PARSER_SCREEN_H
#define PGPORTER_PARSER_SCREEN_H

#include <stddef.h>

enum screen_result {
	SCREEN_CLEAR, /* touches nothing that outlives its transaction */
	SCREEN_PARSE, /* may; ask the parser */
};

enum screen_result screen_text(const char *text, size_t len, unsigned lex_mode);

/* What keeps a text away from libpg_query: linear, not recursive. 0 where the text is within the bounds that the
 * parser's stack is sized for, else the reason as a constant string. */
const char *screen_beyond_bounds(const char *text, size_t len, unsigned lex_mode);

#endif
