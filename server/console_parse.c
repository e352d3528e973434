/* The console's grammar, by hand: a token at a time, unquoted as it is read. */
#include "server/console_parse.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct reader {
	const char *at;
	bool too_long;
};

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* What a value may hold without quotes: numbers such as 1.5 and -1, too. */
static bool value_byte(char c)
{
	return word_byte(c) || c == '.' || c == '-';
}

static void skip_blanks(struct reader *r)
{
	while (blank(*r->at))
		r->at++;
}

static void put(struct reader *r, char *to, size_t cap, size_t *n, char c)
{
	if (*n + 1 < cap)
		to[(*n)++] = c;
	else
		r->too_long = true;
}

/* From the opening quote to behind the closing one; doubled quotes stand for themselves. */
static bool quoted(struct reader *r, char *to, size_t cap)
{
	char quote = *r->at++;
	size_t n = 0;

	for (;; r->at++) {
		if (!*r->at)
			return false;
		if (*r->at == quote && *++r->at != quote)
			break;
		put(r, to, cap, &n, *r->at);
	}
	to[n] = 0;
	return true;
}

static bool bare(struct reader *r, bool (*byte)(char c), char *to, size_t cap)
{
	size_t n = 0;

	if (!byte(*r->at))
		return false;
	for (; byte(*r->at); r->at++)
		put(r, to, cap, &n, *r->at);
	to[n] = 0;
	return true;
}

static bool word(struct reader *r, char *to, size_t cap)
{
	return *r->at == '"' ? quoted(r, to, cap) : bare(r, word_byte, to, cap);
}

static bool value(struct reader *r, char *to, size_t cap)
{
	return *r->at == '"' || *r->at == '\'' ? quoted(r, to, cap) : bare(r, value_byte, to, cap);
}

static bool end(struct reader *r)
{
	skip_blanks(r);
	if (*r->at == ';')
		r->at++;
	skip_blanks(r);
	return !*r->at;
}

static bool assignment(struct reader *r)
{
	skip_blanks(r);
	if (*r->at == '=')
		r->at++;
	else if (blank(r->at[-1]) && !strncasecmp(r->at, "to", 2) && !word_byte(r->at[2]))
		r->at += 2;
	else
		return false;
	skip_blanks(r);
	return true;
}

static bool set_command(struct reader *r, struct console_command *out)
{
	skip_blanks(r);
	return word(r, out->arg, sizeof out->arg) && *out->arg && assignment(r) && value(r, out->value, sizeof out->value) && end(r);
}

void console_parse(const char *text, struct console_command *out)
{
	struct reader r = { .at = text };
	bool good;

	memset(out, 0, sizeof *out);
	if (end(&r))
		return;
	r.at = text;
	skip_blanks(&r);
	good = word(&r, out->word, sizeof out->word);
	if (good && !strcasecmp(out->word, "set")) {
		out->kind = CONSOLE_SET;
		good = blank(*r.at) && set_command(&r, out);
	} else if (good) {
		out->kind = CONSOLE_COMMAND;
		if (blank(*r.at)) {
			skip_blanks(&r);
			if (*r.at && *r.at != ';')
				good = word(&r, out->arg, sizeof out->arg);
		}
		good = good && end(&r);
	}
	if (!good)
		out->kind = CONSOLE_UNKNOWN;
	else if (r.too_long)
		out->kind = CONSOLE_TOO_LONG;
}
