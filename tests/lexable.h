/* tests/lexable.h — may a text be read token by token? For harnesses and units that hold two ways of reading against each other. */
#ifndef PGPORTER_TESTS_LEXABLE_H
#define PGPORTER_TESTS_LEXABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "parser/effects.h"
#include "parser/lex.h"

static inline bool lexable(const char *text, size_t len, unsigned mode)
{
	struct lex l = lex_of(text, len, mode & LEX_BACKSLASH);
	enum tok t;

	while ((t = lex_next(&l)) != TOK_END)
		if (t == TOK_BAD)
			return false;
	return true;
}

#endif
