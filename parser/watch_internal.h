/* parser/watch_internal.h — what watch.c and watch_read.c share; nobody else includes it. */
#ifndef PGPORTER_PARSER_WATCH_INTERNAL_H
#define PGPORTER_PARSER_WATCH_INTERNAL_H

#include "parser/lex.h"
#include "parser/watch.h"

/* Up to where PostgreSQL may have cut a name: at 63 bytes, or a few less within a character. */
enum { WATCH_WORD_MAX = 60 };

/* A name as it is compared: lower case, and ended by its first byte from 0x80 on: such bytes are others in other
 * encodings, and folded as the server's locale likes. */
struct watch_word {
	char text[WATCH_WORD_MAX + 1];
	size_t len;
	bool cut; /* by such a byte */
};

struct watched {
	struct watch_word word;
	uint64_t hash;
	struct watch_effect does[WATCH_WHENS];
	bool knows[WATCH_WHENS];
	bool exempt;
};

/* quoted: text is between quotes, of which doubled ones stand for one; letters keep their case. */
struct watch_word watch_fold(const char *text, size_t len, bool quoted);
struct watch_word watch_fold_token(const struct lex *l, enum tok t);
/* U&"…". False where it can't be told what it says (UESCAPE). */
bool watch_fold_unicode(const struct lex *l, struct watch_word *word);
const struct watched *watch_lookup(const struct watch *w, const struct watch_word *word); /* NULL: not in the set */
/* watch_hits() token by token, but for unsafe bytes; true as well where the text can't be read as SQL. */
bool watch_hits_exactly(const struct watch *w, const char *text, size_t len, unsigned lex_mode);
size_t watch_longest_operator(const struct watch *w); /* 0: there is none */
bool watch_reaches_relations(const struct watch *w);  /* some table or view has effects */

#endif
