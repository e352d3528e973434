#include "auth/secret.h"

#include <string.h>

#include "auth/md5.h"
#include "auth/scram.h"

static bool md5_form(const char *text, size_t len)
{
	return len == MD5_TEXT && !strncmp(text, "md5", 3) && strspn(text + 3, "0123456789abcdef") == MD5_TEXT - 3;
}

int secret_parse(const char *text, struct secret *out)
{
	size_t len = strlen(text);

	secret_wipe(out);
	if (len >= sizeof out->text)
		return -1;
	memcpy(out->text, text, len + 1);
	if (!len)
		return 0;
	if (!scram_verifier_parse(text, &out->scram)) {
		out->kind = SECRET_SCRAM;
		return 0;
	}
	explicit_bzero(&out->scram, sizeof out->scram);
	out->kind = md5_form(text, len) ? SECRET_MD5 : SECRET_PLAIN;
	return 0;
}

void secret_wipe(struct secret *s)
{
	explicit_bzero(s, sizeof *s); /* and so kind is SECRET_NONE; OPENSSL_cleanse() takes ten times as long over so much */
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
}

static const char *skip_blanks(const char *at, const char *end)
{
	while (at < end && blank(*at))
		at++;
	return at;
}

/* A quoted word at `at`; returns the place behind its closing quote, NULL for a broken or too long one. */
static const char *quoted(const char *at, const char *end, char *out, size_t cap)
{
	size_t n = 0;

	if (at == end || *at != '"')
		return NULL;
	for (at++; at < end; at++) {
		if (*at == '"') {
			if (at + 1 == end || at[1] != '"') {
				out[n] = 0;
				return at + 1;
			}
			at++;
		}
		if (!*at || n + 1 >= cap)
			return NULL;
		out[n++] = *at;
	}
	return NULL;
}

int auth_file_line(const char *line, size_t len, char *user, size_t user_cap, char *text, size_t text_cap)
{
	const char *end = line + len, *at = skip_blanks(line, end);

	if (!user_cap || !text_cap)
		return -1;
	if (at == end || *at == ';')
		return 0;
	at = quoted(at, end, user, user_cap);
	if (!at)
		return -1;
	at = skip_blanks(at, end);
	return quoted(at, end, text, text_cap) ? 1 : -1;
}
