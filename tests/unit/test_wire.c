/* links: parser/buf.c */
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
#include "parser/wire.h"

/* Copies bytes so that the one after them can't be read. */
static const uint8_t *at_the_edge(const void *bytes, size_t len)
{
	static uint8_t *area;
	const size_t size = 4096;

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

static enum wire_result judge(const void *bytes, size_t len, uint32_t body_max, struct wire_head *head)
{
	return wire_head(at_the_edge(bytes, len), len, body_max, head);
}

static void every_short_prefix_asks_for_more(void **state)
{
	static const char *const messages[] = { "S\0\0\0\4", "Q\0\0\0\5", "Z\0\0\0\5", "d\0\0\1\0", "1\0\0\0\4" };
	struct wire_head head;

	for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
		for (size_t n = 0; n < WIRE_HEAD; n++)
			assert_int_equal(judge(messages[i], n, 1000, &head), WIRE_MORE);
		assert_int_equal(judge(messages[i], WIRE_HEAD, 1000, &head), WIRE_OK);
		assert_int_equal(head.type, messages[i][0]);
	}
}

static void the_body_need_not_be_there(void **state)
{
	struct wire_head head;

	assert_int_equal(judge("d\x3f\xff\xff\xff", 5, UINT32_MAX, &head), WIRE_OK);
	assert_int_equal(head.body_len, 0x3fffffff - 4);
}

static void claims_below_their_own_size_are_bad(void **state)
{
	uint8_t bytes[5] = { 'Q' };
	struct wire_head head;

	for (bytes[4] = 0; bytes[4] < 4; bytes[4]++)
		assert_int_equal(judge(bytes, 5, UINT32_MAX, &head), WIRE_BAD);
	assert_int_equal(judge(bytes, 5, 0, &head), WIRE_OK);
	assert_int_equal(head.body_len, 0);
}

static void bodies_beyond_the_limit_are_bad(void **state)
{
	struct wire_head head;

	assert_int_equal(judge("Q\0\0\1\4", 5, 256, &head), WIRE_OK);
	assert_int_equal(head.body_len, 256);
	assert_int_equal(judge("Q\0\0\1\5", 5, 256, &head), WIRE_BAD);
	assert_int_equal(judge("Q\xff\xff\xff\xff", 5, INT32_MAX, &head), WIRE_BAD);
}

static void a_type_that_is_no_letter_or_digit_is_bad_at_once(void **state)
{
	struct wire_head head;

	for (int c = 0; c < 256; c++) {
		uint8_t byte = (uint8_t)c;
		int known = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

		assert_int_equal(judge(&byte, 1, 100, &head), known ? WIRE_MORE : WIRE_BAD);
	}
}

/* Walks what msg_add() wrote, fed in two pieces cut at every point. */
static void a_stream_gives_the_same_messages_wherever_it_is_cut(void **state)
{
	static const char types[] = "QPBS";
	struct buf b = { 0 };

	msg_add(&b, 'Q', "select 1", 9);
	msg_add(&b, 'P', "\0select 2\0\0", 12);
	msg_add(&b, 'B', "\0\0\0\0\0\0\0", 8);
	msg_add(&b, 'S', NULL, 0);
	for (size_t cut = 0; cut <= buf_len(&b); cut++) {
		size_t at = 0, n = 0, have = cut;
		struct wire_head head;

		while (at < buf_len(&b)) {
			if (judge(buf_head(&b) + at, have - at, 100, &head) != WIRE_OK || have - at < WIRE_HEAD + head.body_len) {
				assert_int_not_equal(have, buf_len(&b));
				have = buf_len(&b);
				continue;
			}
			assert_int_equal(head.type, types[n++]);
			at += WIRE_HEAD + head.body_len;
		}
		assert_int_equal(at, buf_len(&b));
		assert_int_equal(n, 4);
	}
	buf_release(&b);
}

static void a_message_is_whole_when_its_last_byte_is_there_and_not_before(void **state)
{
	const uint8_t message[] = { 'Q', 0, 0, 0, 6, 'x', 0, 'S', 0, 0, 0, 4 }, bad[] = { 'Q', 0, 0, 0, 3, 0, 0 }, huge[] = { 'd', 255, 255, 255, 255, 0 };
	struct wire_head head = { 0 };

	for (size_t n = 0; n < 7; n++)
		assert_false(wire_whole(message, n, UINT32_MAX, &head));
	assert_true(wire_whole(message, 7, UINT32_MAX, &head));
	assert_true(wire_whole(message, sizeof message, 2, &head));
	assert_int_equal(head.type, 'Q');
	assert_int_equal(head.body_len, 2);
	assert_false(wire_whole(message, sizeof message, 1, &head));
	assert_true(wire_whole(message + 7, 5, 0, &head));
	assert_int_equal(head.body_len, 0);
	assert_false(wire_whole(bad, sizeof bad, UINT32_MAX, &head));
	assert_false(wire_whole(huge, sizeof huge, UINT32_MAX, &head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_whole_when_its_last_byte_is_there_and_not_before),
		cmocka_unit_test(every_short_prefix_asks_for_more),
		cmocka_unit_test(the_body_need_not_be_there),
		cmocka_unit_test(claims_below_their_own_size_are_bad),
		cmocka_unit_test(bodies_beyond_the_limit_are_bad),
		cmocka_unit_test(a_type_that_is_no_letter_or_digit_is_bad_at_once),
		cmocka_unit_test(a_stream_gives_the_same_messages_wherever_it_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
