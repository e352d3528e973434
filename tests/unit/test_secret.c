/* links: auth/secret.c auth/scram.c auth/base64.c auth/md5.c -lcrypto */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "auth/base64.h"
#include "auth/md5.h"
#include "auth/scram.h"
#include "auth/secret.h"

static const char verifier[] = "SCRAM-SHA-256$4096:c2FsdHlzYWx0eXNhbHQhIQ==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
			       "//////////////////////////////////////////8=";

static enum secret_kind kind_of(const char *text)
{
	struct secret s;
	enum secret_kind kind;

	assert_int_equal(secret_parse(text, &s), 0);
	assert_string_equal(s.text, text);
	kind = s.kind;
	secret_wipe(&s);
	assert_int_equal(s.kind, SECRET_NONE);
	return kind;
}

static void texts_are_told_apart_as_postgresql_does(void **state)
{
	assert_int_equal(kind_of(""), SECRET_NONE);
	assert_int_equal(kind_of("x"), SECRET_PLAIN);
	assert_int_equal(kind_of("md5"), SECRET_PLAIN);
	assert_int_equal(kind_of("md54a0a68b43b6cd5cf266fa02f196e2371"), SECRET_MD5);
	assert_int_equal(kind_of("md54a0a68b43b6cd5cf266fa02f196e237"), SECRET_PLAIN);
	assert_int_equal(kind_of("md54a0a68b43b6cd5cf266fa02f196e23711"), SECRET_PLAIN);
	assert_int_equal(kind_of("md54A0A68B43B6CD5CF266FA02F196E2371"), SECRET_PLAIN);
	assert_int_equal(kind_of("MD54a0a68b43b6cd5cf266fa02f196e2371"), SECRET_PLAIN);
	assert_int_equal(kind_of(verifier), SECRET_SCRAM);
}

static void a_verifier_is_read_whole(void **state)
{
	struct secret s;

	assert_int_equal(secret_parse(verifier, &s), 0);
	assert_int_equal(s.scram.iterations, 4096);
	assert_int_equal(s.scram.salt_len, 16);
	assert_memory_equal(s.scram.salt, "saltysaltysalt!!", 16);
	assert_int_equal(s.scram.stored_key[31], 0);
	assert_int_equal(s.scram.server_key[31], 0xff);
	assert_false(s.scram.have_client_key);
}

static void what_only_looks_like_a_verifier_is_a_password(void **state)
{
	static const char *const bad[] = {
		"SCRAM-SHA-256$",
		"SCRAM-SHA-256$0:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"SCRAM-SHA-256$-1:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"SCRAM-SHA-256$2147483648:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"SCRAM-SHA-256$4096:$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"SCRAM-SHA-256$4096:c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"SCRAM-SHA-256$4096:c2FsdA==$AAAA:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"SCRAM-SHA-256$4096:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=x",
		"scram-sha-256$4096:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(kind_of(bad[i]), SECRET_PLAIN);
	for (size_t n = 1; n < sizeof verifier - 1; n++) {
		char *cut = strndup(verifier, n);

		assert_int_equal(kind_of(cut), SECRET_PLAIN);
		free(cut);
	}
}

static void a_secret_may_fill_its_room_and_no_more(void **state)
{
	char text[SECRET_TEXT_MAX + 1];
	struct secret s;

	memset(text, 'x', sizeof text);
	text[SECRET_TEXT_MAX - 1] = 0;
	assert_int_equal(secret_parse(text, &s), 0);
	text[SECRET_TEXT_MAX - 1] = 'x';
	text[SECRET_TEXT_MAX] = 0;
	assert_int_equal(secret_parse(text, &s), -1);
	assert_int_equal(s.kind, SECRET_NONE);
}

static int line_of(const char *line, size_t len, char user[8], char text[8])
{
	char *exact = malloc(len ? len : 1); /* so that a reader too many by one is seen */
	int r;

	memcpy(exact, line, len);
	memset(user, '?', 8);
	memset(text, '?', 8);
	r = auth_file_line(exact, len, user, 8, text, 8);
	free(exact);
	return r;
}

static void auth_file_lines_give_user_and_secret(void **state)
{
	static const struct {
		const char *line, *user, *text;
	} good[] = {
		{ "\"a\" \"b\"", "a", "b" },
		{ " \t\"a\"\t\"b\" more \"words\"\r\n", "a", "b" },
		{ "\"a\"\"b\" \"\"\"\"", "a\"b", "\"" },
		{ "\"a\" \"\"", "a", "" },
		{ "\"1234567\" \"7654321\"", "1234567", "7654321" },
		{ "\"a b\" \";\"", "a b", ";" },
	};
	char user[8], text[8];

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_int_equal(line_of(good[i].line, strlen(good[i].line), user, text), 1);
		assert_string_equal(user, good[i].user);
		assert_string_equal(text, good[i].text);
	}
}

static void comments_and_blanks_are_no_lines(void **state)
{
	char user[8], text[8];

	assert_int_equal(line_of("", 0, user, text), 0);
	assert_int_equal(line_of(" \t\r\n", 4, user, text), 0);
	assert_int_equal(line_of("; \"a\" \"b\"", 9, user, text), 0);
	assert_int_equal(line_of("  ;", 3, user, text), 0);
}

static void broken_and_too_long_lines_are_refused(void **state)
{
	static const char *const bad[] = {
		"a b", "\"a\"", "\"a\" b", "\"a\" \"b", "\"a", "\"", "\"a\"\"b\"",
		"\"12345678\" \"b\"", "\"a\" \"12345678\"", "\"a\" ; \"b\"",
	};
	char user[8], text[8];

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(line_of(bad[i], strlen(bad[i]), user, text), -1);
	assert_int_equal(line_of("\"a\0\" \"b\"", 8, user, text), -1);
}

static void every_line_cut_short_is_refused(void **state)
{
	static const char line[] = "\"us\"\"er\" \"se\"\"cr\"";
	char user[8], text[8];

	for (size_t n = 1; n < sizeof line - 1; n++) {
		int r = line_of(line, n, user, text);

		/* A doubled quote cut in half ends the secret early: no reader could tell. */
		assert_int_equal(r, n == sizeof line - 5 ? 1 : -1);
	}
}

static void md5_answers_are_the_known_ones(void **state)
{
	static const uint8_t salt[MD5_SALT] = { 1, 2, 3, 4 };
	struct secret plain, stored;
	char out[MD5_TEXT + 1];

	assert_int_equal(md5_stored("secret", "alice", out), 0);
	assert_string_equal(out, "md54a0a68b43b6cd5cf266fa02f196e2371");
	assert_int_equal(secret_parse(out, &stored), 0);
	assert_int_equal(secret_parse("secret", &plain), 0);
	assert_int_equal(md5_answer(&plain, "alice", salt, out), 0);
	assert_string_equal(out, "md598a0412b9c31436fc53776e863350083");
	assert_int_equal(md5_answer(&stored, "alice", salt, out), 0);
	assert_string_equal(out, "md598a0412b9c31436fc53776e863350083");
	assert_int_equal(secret_parse(verifier, &plain), 0);
	assert_int_equal(md5_answer(&plain, "alice", salt, out), -1);
}

static void base64_has_one_text_for_a_value(void **state)
{
	static const char *const bad[] = { "A", "AA", "AAA", "A===", "====", "AB==", "AAB=",
					   "AA=A", "AA==AAAA", "AAA\n", "AA A", "AA-_" };
	uint8_t raw[64], back[64];
	char text[BASE64_LEN(64) + 1];
	size_t n;

	for (size_t i = 0; i < sizeof raw; i++)
		raw[i] = (uint8_t)(i * 37 + 200);
	for (size_t len = 0; len <= sizeof raw; len++) {
		base64_encode(raw, len, text);
		assert_int_equal(strlen(text), BASE64_LEN(len));
		assert_int_equal(base64_decode((uint8_t *)text, strlen(text), back, len, &n), 0);
		assert_int_equal(n, len);
		assert_memory_equal(back, raw, len);
		if (len)
			assert_int_equal(base64_decode((uint8_t *)text, strlen(text), back, len - 1, &n), -1);
	}
	base64_encode((const uint8_t *)"any carnal pleas", 16, text);
	assert_string_equal(text, "YW55IGNhcm5hbCBwbGVhcw==");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(base64_decode((const uint8_t *)bad[i], strlen(bad[i]), back, sizeof back, &n), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_told_apart_as_postgresql_does),
		cmocka_unit_test(a_verifier_is_read_whole),
		cmocka_unit_test(what_only_looks_like_a_verifier_is_a_password),
		cmocka_unit_test(a_secret_may_fill_its_room_and_no_more),
		cmocka_unit_test(auth_file_lines_give_user_and_secret),
		cmocka_unit_test(comments_and_blanks_are_no_lines),
		cmocka_unit_test(broken_and_too_long_lines_are_refused),
		cmocka_unit_test(every_line_cut_short_is_refused),
		cmocka_unit_test(md5_answers_are_the_known_ones),
		cmocka_unit_test(base64_has_one_text_for_a_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
