/* What ends a transaction, or the part of one behind a savepoint, in the middle of a batch: the settings that it takes back
 * are nobody's to presume. Nothing is known of such texts but their first word, and only where there is something to take
 * back does the next message wait for the tag; Sync never does. */
#include <string.h>

#include "parser/lex.h"
#include "state/session_internal.h"

bool ends_by_word(const char *text, size_t len)
{
	static const char *const words[] = { "rollback", "commit", "end", "abort", "prepare" };
	struct lex l = lex_of(text, strnlen(text, len), false);
	enum tok t;

	while ((t = lex_next(&l)) == TOK_SEMI)
		;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (lex_is(&l, t, words[i]))
			return true;
	return false;
}

void ends_sent(struct session *s)
{
	s->ends = true;
	s->ready = false;
}

bool ends_known(struct session *s)
{
	if (s->backend->owed.count) {
		msg_add(s->backend->out, 'H', NULL, 0);
		s->await_reply = true;
		return false;
	}
	s->ends = false;
	if (s->txn.ended)
		effects_unsure(s);
	s->txn.ended = false; /* ReadyForQuery need not tell it again */
	return true;
}
