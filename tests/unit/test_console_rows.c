/* links: server/console_rows.c parser/buf.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "server/console_rows.h"

static void utf8_is(const char *in, const char *want)
{
	struct buf out = { 0 };

	utf8_add(&out, in);
	buf_u8(&out, 0);
	assert_string_equal((char *)buf_head(&out), want);
	buf_release(&out);
}

static void what_is_utf8_stays_and_the_rest_becomes_question_marks(void **state)
{
	utf8_is("", "");
	utf8_is("plain", "plain");
	utf8_is("\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x98", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x98");
	utf8_is("caf\xe9", "caf?");
	utf8_is("\xe9tat", "?tat");
	utf8_is("cut \xe2\x82", "cut ??");
	utf8_is("\xc0\x80", "??");	   /* too long */
	utf8_is("\xe0\x80\x80", "???");	   /* too long */
	utf8_is("\xed\xa0\x80", "???");	   /* surrogate */
	utf8_is("\xf4\x90\x80\x80", "????"); /* beyond Unicode */
	utf8_is("\xff\xfe", "??");
}

static void a_table_is_a_header_and_rows(void **state)
{
	static const uint8_t want[] = "T\0\0\0\x2f\0\2"
				      "ab\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
				      "c\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0"
				      "D\0\0\0\x12\0\2\0\0\0\2xy\0\0\0\2-7"
				      "D\0\0\0\x0f\0\2\xff\xff\xff\xff\0\0\0\1"
				      "0";
	struct buf out = { 0 };
	struct table t;

	table_begin(&t, &out, "ab:s c:i");
	table_row(&t);
	cell_text(&t, "xy");
	cell_int(&t, -7);
	table_row(&t);
	cell_text(&t, NULL);
	cell_int(&t, 0);
	table_end(&t);
	assert_int_equal(buf_len(&out), sizeof want - 1);
	assert_memory_equal(buf_head(&out), want, sizeof want - 1);
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_utf8_stays_and_the_rest_becomes_question_marks),
		cmocka_unit_test(a_table_is_a_header_and_rows),
	};

	return cmocka_run_group_tests_name("console_rows", tests, NULL, NULL);
}
