/* server/console_parse.h — the console's grammar: one command a query, `WORD [WORD];` or `SET word =|TO word|'string';`,
 * keywords in any case, words bare or "quoted". Pure: text in, words out. */
#ifndef PGPORTER_SERVER_CONSOLE_PARSE_H
#define PGPORTER_SERVER_CONSOLE_PARSE_H

/* Room for a command, its argument (a database, an option) and a value, NUL included, as in PgBouncer. */
enum { CONSOLE_WORD_MAX = 16, CONSOLE_ARG_MAX = 64, CONSOLE_VALUE_MAX = 256 };

enum console_kind {
	CONSOLE_EMPTY,	 /* blanks, perhaps a semicolon */
	CONSOLE_COMMAND, /* word and arg ("" without one) */
	CONSOLE_SET,	 /* arg = value */
	CONSOLE_UNKNOWN, /* not of the grammar */
	CONSOLE_TOO_LONG, /* of the grammar, but a part of it doesn't fit */
};

struct console_command {
	enum console_kind kind;
	char word[CONSOLE_WORD_MAX];
	char arg[CONSOLE_ARG_MAX];
	char value[CONSOLE_VALUE_MAX];
};

void console_parse(const char *text, struct console_command *out);

#endif
