/* links: parser/buf.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "parser/buf.h"
#include "parser/reader.h"

static void assert_holds(const struct buf *b, const void *bytes, size_t len)
{
	assert_int_equal(buf_len(b), len);
	if (len)
		assert_memory_equal(buf_head(b), bytes, len);
}

static void an_empty_buf_needs_no_memory(void **state)
{
	struct buf b = { 0 };

	assert_int_equal(buf_len(&b), 0);
	buf_add(&b, NULL, 0);
	buf_consume(&b, 0);
	buf_reset(&b);
	buf_release(&b);
	buf_release(&b);
}

static void integers_are_written_big_endian(void **state)
{
	struct buf b = { 0 };

	buf_u8(&b, 0xfe);
	buf_u16(&b, 0x0102);
	buf_u32(&b, 0xa0b0c0d0);
	buf_str(&b, "ab");
	buf_text(&b, "cd");
	buf_printf(&b, "%d-%s", 7, "x");
	assert_holds(&b, "\xfe\1\2\xa0\xb0\xc0\xd0" "ab\0cd7-x", 15);
	buf_release(&b);
}

static void what_is_consumed_makes_room(void **state)
{
	struct buf b = { 0 };
	uint8_t want = 0, put = 0;

	/* The lengths have no common rhythm, so every relation of start, end and cap comes by. */
	for (int i = 0; i < 20000; i++) {
		size_t in = (size_t)(i * 7 % 61), out;

		for (size_t k = 0; k < in; k++)
			buf_u8(&b, put++);
		out = (size_t)(i * 11 % 67);
		if (out > buf_len(&b))
			out = buf_len(&b);
		for (size_t k = 0; k < out; k++)
			assert_int_equal(buf_head(&b)[k], want++);
		buf_consume(&b, out);
	}
	assert_int_equal(buf_len(&b), (uint8_t)(put - want));
	assert_true(b.cap <= 1024);
	buf_release(&b);
}

static void room_is_written_and_then_committed(void **state)
{
	struct buf b = { 0 };

	memset(buf_room(&b, 10000), 'x', 10000);
	assert_int_equal(buf_len(&b), 0);
	buf_commit(&b, 3);
	assert_holds(&b, "xxx", 3);
	buf_reset(&b);
	assert_int_equal(buf_len(&b), 0);
	assert_non_null(b.data);
	buf_release(&b);
}

static void a_message_counts_its_length_but_not_its_type(void **state)
{
	struct buf b = { 0 };
	size_t mark;

	msg_add(&b, 'S', NULL, 0);
	mark = msg_begin(&b, 'Q');
	buf_str(&b, "x");
	msg_end(&b, mark);
	mark = msg_begin(&b, 0);
	buf_u32(&b, 196608);
	msg_end(&b, mark);
	assert_holds(&b, "S\0\0\0\4Q\0\0\0\6x\0\0\0\0\10\0\3\0\0", 20);
	buf_release(&b);
}

/* A mark is counted from the head of what is held, so growing in between must not disturb it. */
static void a_message_may_grow_past_its_buffer(void **state)
{
	struct buf b = { 0 };
	size_t mark;

	buf_text(&b, "gone");
	buf_text(&b, "ab");
	buf_consume(&b, 4);
	mark = msg_begin(&b, 'd');
	for (int i = 0; i < 5000; i++)
		buf_u8(&b, (uint8_t)i);
	msg_end(&b, mark);
	assert_int_equal(buf_len(&b), 2 + 5 + 5000);
	assert_memory_equal(buf_head(&b), "abd\0\0\x13\x8c\0\1\2", 10);
	buf_release(&b);
}

static void a_report_has_its_fields_and_leaves_out_what_is_null(void **state)
{
	static const char want[] = "E\0\0\0\x25SFATAL\0VFATAL\0C57P01\0Mbye\0Hhint\0";
	struct buf b = { 0 };

	msg_report(&b, 'E', "FATAL", "57P01", "bye", NULL, "hint");
	assert_holds(&b, want, sizeof want);
	buf_release(&b);
}

static void a_reader_stays_bad_after_the_first_overrun(void **state)
{
	struct reader r = reader_of("\0\1\2\0\0\0\5ab\0c", 11);
	size_t len;

	assert_int_equal(reader_u8(&r), 0);
	assert_int_equal(reader_u16(&r), 258);
	assert_int_equal(reader_u32(&r), 5);
	assert_string_equal(reader_str(&r, &len), "ab");
	assert_int_equal(len, 2);
	assert_null(reader_str(&r, &len)); /* no NUL any more */
	assert_true(r.bad);
	assert_int_equal(reader_left(&r), 1);
	assert_int_equal(reader_u8(&r), 0);
	assert_null(reader_bytes(&r, 0));
}

static void a_reader_of_nothing_has_nothing(void **state)
{
	struct reader r = reader_of(NULL, 5);

	assert_int_equal(reader_left(&r), 0);
	assert_non_null(reader_bytes(&r, 0));
	assert_false(r.bad);
	assert_null(reader_str(&r, NULL));
	assert_true(r.bad);
}

/* Exact-size heap blocks: an overrun by one is a sanitizer's report. */
static void every_truncation_of_a_body_is_noticed(void **state)
{
	static const char body[] = "name\0\0\3\0\0\0\1x";

	for (size_t n = 0; n <= sizeof body; n++) {
		uint8_t *copy = malloc(n ? n : 1);
		struct reader r;

		memcpy(copy, body, n);
		r = reader_of(copy, n);
		reader_str(&r, NULL);
		reader_u16(&r);
		reader_u32(&r);
		reader_str(&r, NULL);
		assert_int_equal(r.bad, n < sizeof body);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_buf_needs_no_memory),
		cmocka_unit_test(integers_are_written_big_endian),
		cmocka_unit_test(what_is_consumed_makes_room),
		cmocka_unit_test(room_is_written_and_then_committed),
		cmocka_unit_test(a_message_counts_its_length_but_not_its_type),
		cmocka_unit_test(a_message_may_grow_past_its_buffer),
		cmocka_unit_test(a_report_has_its_fields_and_leaves_out_what_is_null),
		cmocka_unit_test(a_reader_stays_bad_after_the_first_overrun),
		cmocka_unit_test(a_reader_of_nothing_has_nothing),
		cmocka_unit_test(every_truncation_of_a_body_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
