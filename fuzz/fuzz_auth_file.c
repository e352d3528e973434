/* links: auth/secret.c auth/scram.c auth/base64.c auth/md5.c -lcrypto */
/* Lines of an auth_file. Each yields what its own quoting says, within its room, and quoting the result gives the same
 * again; a verifier that is accepted has exactly the text it was read from. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/scram.h"
#include "auth/secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { USER_CAP = 128, GUARD = 0x5a };

static void require(int holds)
{
	if (!holds)
		abort();
}

static size_t quote(char *out, const char *word)
{
	char *at = out;

	*at++ = '"';
	for (; *word; word++) {
		if (*word == '"')
			*at++ = '"';
		*at++ = *word;
	}
	*at++ = '"';
	*at++ = ' ';
	return (size_t)(at - out);
}

static void check_secret(const char *text)
{
	struct secret s;
	char again[SECRET_TEXT_MAX];

	if (secret_parse(text, &s)) {
		require(strlen(text) >= SECRET_TEXT_MAX && s.kind == SECRET_NONE);
		return;
	}
	require(!strcmp(s.text, text));
	require((s.kind == SECRET_NONE) == !*text);
	if (s.kind == SECRET_SCRAM) {
		require(!s.scram.have_client_key && s.scram.iterations && s.scram.salt_len);
		require(!scram_verifier_text(&s.scram, again) && !strcmp(again, text));
	}
}

static void check_line(const char *line, size_t len)
{
	static char user[USER_CAP + 1], text[SECRET_TEXT_MAX + 1], user2[USER_CAP], text2[SECRET_TEXT_MAX];
	static char quoted[2 * (USER_CAP + SECRET_TEXT_MAX) + 8];
	size_t n;
	int r;

	user[USER_CAP] = text[SECRET_TEXT_MAX] = GUARD;
	r = auth_file_line(line, len, user, USER_CAP, text, SECRET_TEXT_MAX);
	require(user[USER_CAP] == GUARD && text[SECRET_TEXT_MAX] == GUARD);
	require(r >= -1 && r <= 1);
	if (r != 1)
		return;
	require(strlen(user) < USER_CAP && strlen(text) < SECRET_TEXT_MAX);
	n = quote(quoted, user);
	n += quote(quoted + n, text);
	require(auth_file_line(quoted, n, user2, USER_CAP, text2, SECRET_TEXT_MAX) == 1);
	require(!strcmp(user, user2) && !strcmp(text, text2));
	check_secret(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data, *end = at + size;
	char *whole;

	while (at < end) {
		const char *nl = memchr(at, '\n', (size_t)(end - at));
		size_t len = nl ? (size_t)(nl - at) : (size_t)(end - at);
		char *exact = malloc(len + 1);

		require(exact != NULL);
		memcpy(exact, at, len);
		check_line(exact, len);
		free(exact);
		at += len + (nl ? 1 : 0);
	}
	whole = malloc(size + 1);
	require(whole != NULL);
	if (size)
		memcpy(whole, data, size);
	whole[size] = 0;
	check_secret(whole);
	free(whole);
	return 0;
}
