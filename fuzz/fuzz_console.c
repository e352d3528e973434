/* links: server/console_parse.c */
/* The console's grammar: no byte beyond the text is read, every part ends within its room, and what was understood, quoted
 * and put together again, is understood the same. */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/console_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *quote(char *to, char mark, const char *s)
{
	*to++ = mark;
	for (; *s; s++) {
		if (*s == mark)
			*to++ = mark;
		*to++ = *s;
	}
	*to++ = mark;
	return to;
}

static void holds_together(const struct console_command *cmd)
{
	char text[2 * (CONSOLE_WORD_MAX + CONSOLE_ARG_MAX + CONSOLE_VALUE_MAX) + 16], *at = text;
	struct console_command again;

	at = quote(at, '"', cmd->word);
	*at++ = ' ';
	at = quote(at, '"', cmd->arg);
	if (cmd->kind == CONSOLE_SET) {
		*at++ = '=';
		at = quote(at, '\'', cmd->value);
	}
	*at++ = ';';
	*at = 0;
	console_parse(text, &again);
	assert(again.kind == cmd->kind);
	assert(!strcmp(again.word, cmd->word) && !strcmp(again.arg, cmd->arg) && !strcmp(again.value, cmd->value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct console_command cmd;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	console_parse(text, &cmd);
	assert(memchr(cmd.word, 0, sizeof cmd.word) && memchr(cmd.arg, 0, sizeof cmd.arg) && memchr(cmd.value, 0, sizeof cmd.value));
	if (cmd.kind == CONSOLE_COMMAND || cmd.kind == CONSOLE_SET)
		holds_together(&cmd);
	free(text);
	return 0;
}
