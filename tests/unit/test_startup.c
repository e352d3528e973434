/* links: parser/startup.c parser/buf.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

#include "parser/buf.h"
#include "parser/startup.h"

/* Copies bytes so that the one after them can't be read. */
static const uint8_t *at_the_edge(const void *bytes, size_t len)
{
	static uint8_t *area;
	const size_t size = 65536;

	if (!area) {
		area = mmap(NULL, size + (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(area, MAP_FAILED);
		assert_int_equal(mprotect(area + size, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE), 0);
	}
	assert_true(len <= size);
	if (len)
		memcpy(area + size - len, bytes, len);
	return area + size - len;
}

static enum wire_result judge(const struct buf *b, size_t len, struct startup *out)
{
	return startup_read(at_the_edge(buf_head(b), len), len, out);
}

static struct buf packet(uint32_t code, const void *body, size_t len)
{
	struct buf b = { 0 };
	size_t mark = msg_begin(&b, 0);

	buf_u32(&b, code);
	buf_add(&b, body, len);
	msg_end(&b, mark);
	return b;
}

enum { V30 = 3 << 16, V32 = 3 << 16 | 2, SSL = 80877103, GSSENC = 80877104, CANCEL = 80877102 };

static const char session[] = "user\0anna\0database\0shop\0application_name\0\0options\0-c a.b=c\0";

/* The literal's own NUL closes the packet. */
static struct buf session_packet(void)
{
	return packet(V32, session, sizeof session);
}

static void assert_every_split(struct buf *b, enum startup_kind kind)
{
	struct startup s;
	size_t whole = buf_len(b);

	for (size_t n = 0; n < whole; n++)
		assert_int_equal(judge(b, n, &s), WIRE_MORE);
	assert_int_equal(judge(b, whole, &s), WIRE_OK);
	assert_int_equal(s.kind, kind);
	assert_int_equal(s.packet_len, whole);
	/* What follows is the next packet's and is left alone. */
	buf_text(b, "Qrest");
	assert_int_equal(judge(b, whole + 5, &s), WIRE_OK);
	assert_int_equal(s.packet_len, whole);
	buf_release(b);
}

static void every_packet_is_whole_at_its_last_byte_and_not_before(void **state)
{
	uint8_t key[4 + 256] = { 0, 0, 1, 2, 9 };
	struct buf b;

	b = packet(SSL, NULL, 0);
	assert_every_split(&b, STARTUP_SSL);
	b = packet(GSSENC, NULL, 0);
	assert_every_split(&b, STARTUP_GSSENC);
	b = session_packet();
	assert_every_split(&b, STARTUP_SESSION);
	b = packet(2 << 16, "anything", 8);
	assert_every_split(&b, STARTUP_OLD);
	b = packet(4 << 16, NULL, 0);
	assert_every_split(&b, STARTUP_OLD);
	for (size_t n = 4; n <= 256; n += 63) {
		b = packet(CANCEL, key, 4 + n);
		assert_every_split(&b, STARTUP_CANCEL);
	}
}

static void a_session_yields_its_parameters_in_order(void **state)
{
	static const char *const want[][2] = {
		{ "user", "anna" }, { "database", "shop" }, { "application_name", "" }, { "options", "-c a.b=c" },
	};
	struct buf b = session_packet();
	struct startup s;
	const char *name, *value;
	size_t at = 0;

	assert_int_equal(judge(&b, buf_len(&b), &s), WIRE_OK);
	assert_int_equal(s.major, 3);
	assert_int_equal(s.minor, 2);
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		assert_true(startup_param(&s, &at, &name, &value));
		assert_string_equal(name, want[i][0]);
		assert_string_equal(value, want[i][1]);
	}
	assert_false(startup_param(&s, &at, &name, &value));
	assert_false(startup_param(&s, &at, &name, &value));
	buf_release(&b);
}

static void a_newer_major_version_yields_what_looks_like_parameters(void **state)
{
	static const struct { uint16_t major; const char *body; size_t len; bool yields; } cases[] = {
		{ 4, session, sizeof session, true }, { 4, "", 1, true }, { 4, "", 0, false }, { 4, "user\0anna", 9, false },
		{ 2, session, sizeof session, false }, { 0, session, sizeof session, false },
	};
	struct startup s;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf b = packet((uint32_t)cases[i].major << 16, cases[i].body, cases[i].len);
		const char *name, *value;
		size_t at = 0;

		assert_int_equal(judge(&b, buf_len(&b), &s), WIRE_OK);
		assert_int_equal(s.kind, STARTUP_OLD);
		assert_int_equal(s.params != NULL, cases[i].yields);
		assert_int_equal(startup_param(&s, &at, &name, &value), cases[i].yields && cases[i].len > 1);
		buf_release(&b);
	}
}

static void a_session_without_parameters_has_none(void **state)
{
	struct buf b = packet(V30, "", 1);
	struct startup s;
	const char *name, *value;
	size_t at = 0;

	assert_int_equal(judge(&b, buf_len(&b), &s), WIRE_OK);
	assert_false(startup_param(&s, &at, &name, &value));
	buf_release(&b);
}

static void cancel_keys_of_4_to_256_bytes_are_taken(void **state)
{
	uint8_t body[4 + 260] = { 0, 1, 0, 2, 'k' };
	struct startup s;

	for (size_t n = 0; n <= 260; n++) {
		struct buf b = packet(CANCEL, body, 4 + n);

		assert_int_equal(judge(&b, buf_len(&b), &s), n >= 4 && n <= 256 ? WIRE_OK : WIRE_BAD);
		if (n == 4)
			assert_int_equal(s.cancel_pid, 65538);
		if (n >= 4 && n <= 256) {
			assert_int_equal(s.cancel_key_len, n);
			assert_int_equal(s.cancel_key[0], 'k');
		}
		buf_release(&b);
	}
}

static void lengths_out_of_bounds_are_bad_from_the_fourth_byte(void **state)
{
	static const uint32_t hostile[] = { 0, 1, 4, 7, STARTUP_MAX + 5, 0x7fffffff, 0x80000000, 0xffffffff };
	struct startup s;

	for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
		struct buf b = { 0 };

		buf_u32(&b, hostile[i]);
		assert_int_equal(judge(&b, 3, &s), WIRE_MORE);
		assert_int_equal(judge(&b, 4, &s), WIRE_BAD);
		buf_release(&b);
	}
}

static void the_longest_packet_postgres_takes_is_taken(void **state)
{
	char *body = calloc(1, STARTUP_MAX);
	struct startup s;
	struct buf b;

	memset(body, 'x', STARTUP_MAX - 4);
	memcpy(body, "user", 5);
	body[STARTUP_MAX - 6] = body[STARTUP_MAX - 5] = 0;
	b = packet(V30, body, STARTUP_MAX - 4);
	assert_int_equal(buf_len(&b), STARTUP_MAX + 4);
	assert_int_equal(judge(&b, buf_len(&b), &s), WIRE_OK);
	buf_release(&b);
	b = packet(V30, body, STARTUP_MAX - 3);
	assert_int_equal(judge(&b, buf_len(&b), &s), WIRE_BAD);
	buf_release(&b);
	free(body);
}

static void parameters_that_are_not_closed_pairs_are_bad(void **state)
{
	static const struct {
		const char *body;
		size_t len;
	} bad[] = {
		{ "", 0 }, { "user", 4 }, { "user\0", 5 }, { "user\0anna", 9 }, { "user\0anna\0", 10 },
		{ "user\0anna\0x", 11 }, { "user\0\0database\0shop\0\0x", 22 }, { "\0\0", 2 }, { "\0x\0", 3 },
		{ "user\0anna\0database\0", 19 }, { "user\0anna\0\0\0", 12 },
	};
	struct startup s;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct buf b = packet(V30, bad[i].body, bad[i].len);

		assert_int_equal(judge(&b, buf_len(&b), &s), WIRE_BAD);
		buf_release(&b);
	}
}

static void requests_with_a_body_are_bad(void **state)
{
	struct startup s;
	struct buf b = packet(SSL, "x", 1);

	assert_int_equal(judge(&b, buf_len(&b), &s), WIRE_BAD);
	buf_release(&b);
	b = packet(GSSENC, "x", 1);
	assert_int_equal(judge(&b, buf_len(&b), &s), WIRE_BAD);
	buf_release(&b);
}

static void assert_options(const char *text, const char *want)
{
	char word[64], got[256] = "";
	const char *at = text, *name, *value;
	enum options_result r;

	while ((r = options_next(&at, word, sizeof word, &name, &value)) == OPTIONS_SETTING)
		snprintf(got + strlen(got), sizeof got - strlen(got), "[%s|%s]", name, value);
	if (r == OPTIONS_BAD)
		snprintf(got + strlen(got), sizeof got - strlen(got), "bad:%s", word);
	assert_string_equal(got, want);
}

static void options_are_split_as_postgres_splits_them(void **state)
{
	assert_options("", "");
	assert_options("  \t\n ", "");
	assert_options("-c search_path=a,b", "[search_path|a,b]");
	assert_options("-csearch_path=a  --statement-timeout=5s -c\ta=", "[search_path|a][statement_timeout|5s][a|]");
	assert_options("-c a=b\\ c -c d=e\\\\f -c g=h\\i", "[a|b c][d|e\\f][g|hi]");
	assert_options("--a.b=x=y-z", "[a.b|x=y-z]");
	assert_options("-c a-b=c-d", "[a_b|c-d]");
	assert_options("-c a=b\\", "[a|b]");
}

static void other_switches_are_named_and_bad(void **state)
{
	assert_options("-c", "bad:-c");
	assert_options("-c a", "bad:a");
	assert_options("-c a=b -e", "[a|b]bad:-e");
	assert_options("--", "bad:--");
	assert_options("-- a=b", "bad:--");
	assert_options("-", "bad:-");
	assert_options("a=b", "bad:a=b");
	assert_options("-c =x", "bad:=x");
	assert_options("--=x", "bad:--=x");
	assert_options("\\", "bad:");
	assert_options("-c \\ ", "bad: ");
}

static void words_beyond_the_callers_room_are_bad(void **state)
{
	char text[128] = "-c a=", word[16];
	const char *at = text, *name, *value;

	memset(text + 5, 'x', 13);
	assert_int_equal(options_next(&at, word, sizeof word, &name, &value), OPTIONS_SETTING);
	assert_string_equal(value, "xxxxxxxxxxxxx");
	text[18] = 'x';
	at = text;
	assert_int_equal(options_next(&at, word, sizeof word, &name, &value), OPTIONS_BAD);
	assert_int_equal(strlen(word), 15);
	assert_int_equal(options_next(&at, word, sizeof word, &name, &value), OPTIONS_END);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_packet_is_whole_at_its_last_byte_and_not_before),
		cmocka_unit_test(a_session_yields_its_parameters_in_order),
		cmocka_unit_test(a_newer_major_version_yields_what_looks_like_parameters),
		cmocka_unit_test(a_session_without_parameters_has_none),
		cmocka_unit_test(cancel_keys_of_4_to_256_bytes_are_taken),
		cmocka_unit_test(lengths_out_of_bounds_are_bad_from_the_fourth_byte),
		cmocka_unit_test(the_longest_packet_postgres_takes_is_taken),
		cmocka_unit_test(parameters_that_are_not_closed_pairs_are_bad),
		cmocka_unit_test(requests_with_a_body_are_bad),
		cmocka_unit_test(options_are_split_as_postgres_splits_them),
		cmocka_unit_test(other_switches_are_named_and_bad),
		cmocka_unit_test(words_beyond_the_callers_room_are_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
