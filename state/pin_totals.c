#include "state/pin_totals.h"

#include <stdio.h>
#include <string.h>

#include "parser/hash.h"

static int is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80);
}

static int is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* Past blanks and comments. */
static const char *skip_space(const char *s)
{
	for (;;) {
		if (is_blank(*s)) {
			s++;
		} else if (s[0] == '-' && s[1] == '-') {
			s += strcspn(s, "\n");
		} else if (s[0] == '/' && s[1] == '*') {
			const char *end = strstr(s + 2, "*/");

			s = end ? end + 2 : s + strlen(s);
		} else {
			return s;
		}
	}
}

static const char *skip_literal(const char *s)
{
	if (*s == '\'') {
		do
			s += 1 + strcspn(s + 1, "'");
		while (s[0] && s[1] == '\'' && s++);
		return *s ? s + 1 : s;
	}
	while (is_word(*s) || *s == '.')
		s++;
	return s;
}

/* Good enough to tell statements apart for a table: whatever it makes of odd ones, it reads no byte beyond their end. */
uint64_t statement_fingerprint(const char *statement)
{
	char plain[256];
	size_t n = 0;
	const char *s = skip_space(statement);

	while (*s && n + 2 < sizeof plain) {
		int in_word = n && is_word(plain[n - 1]);

		if (is_blank(*s) || (s[0] == '-' && s[1] == '-') || (s[0] == '/' && s[1] == '*')) {
			s = skip_space(s);
			if (in_word && is_word(*s))
				plain[n++] = ' ';
		} else if (*s == '\'' || (*s >= '0' && *s <= '9' && !in_word && !(n && plain[n - 1] == '$'))) {
			s = skip_literal(s);
			plain[n++] = '?';
		} else {
			plain[n++] = *s >= 'A' && *s <= 'Z' ? (char)(*s + 32) : *s;
			s++;
		}
	}
	while (n && plain[n - 1] == ';')
		n--;
	return hash_bytes(plain, n, 0);
}

void pin_total_begin(struct pin_total *t, const char *statement)
{
	uint64_t fingerprint = statement_fingerprint(statement);
	struct pin_cause *at = &t->causes[0];

	t->now++;
	t->ever++;
	for (size_t i = 0; i < PIN_CAUSES; i++) {
		struct pin_cause *c = &t->causes[i];

		if (c->count && c->fingerprint == fingerprint) {
			c->count++;
			return;
		}
		if (c->count < at->count)
			at = c;
	}
	at->count++;
	at->fingerprint = fingerprint;
	snprintf(at->text, sizeof at->text, "%s", statement);
}

void pin_total_end(struct pin_total *t, int64_t lasted_us)
{
	t->now--;
	t->total_us += lasted_us;
	if (lasted_us > t->longest_us)
		t->longest_us = lasted_us;
}

const struct pin_cause *pin_total_most(const struct pin_total *t)
{
	const struct pin_cause *most = &t->causes[0];

	for (size_t i = 1; i < PIN_CAUSES; i++)
		if (t->causes[i].count > most->count)
			most = &t->causes[i];
	return most->count ? most : NULL;
}
