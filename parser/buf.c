#include "parser/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_SMALLEST = 256 };

void buf_release(struct buf *b)
{
	free(b->data);
	memset(b, 0, sizeof *b);
}

void buf_reset(struct buf *b)
{
	b->start = b->end = 0;
}

void buf_grow(struct buf *b, size_t n)
{
	size_t len = buf_len(b), cap = b->cap ? b->cap : BUF_SMALLEST;
	uint8_t *data;

	if (len) /* and so data is there: never a NULL for memmove */
		memmove(b->data, b->data + b->start, len);
	b->start = 0;
	b->end = len;
	if (b->cap - len >= n && b->cap)
		return;
	while (cap - len < n) {
		if (cap > SIZE_MAX / 2)
			abort();
		cap *= 2;
	}
	data = realloc(b->data, cap);
	if (!data)
		abort();
	b->data = data;
	b->cap = cap;
}

void buf_u16(struct buf *b, uint16_t v)
{
	uint8_t *p = buf_room(b, 2);

	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	b->end += 2;
}

void buf_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s) + 1);
}

void buf_text(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		abort();
	vsnprintf((char *)buf_room(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
	va_end(again);
	b->end += (size_t)n;
}

size_t msg_begin(struct buf *b, char type)
{
	size_t mark;

	if (type)
		buf_u8(b, (uint8_t)type);
	mark = buf_len(b);
	buf_u32(b, 0);
	return mark;
}

void msg_end(struct buf *b, size_t mark)
{
	size_t len = buf_len(b) - mark;

	if (len > INT32_MAX)
		abort();
	buf_put_u32(b->data + b->start + mark, (uint32_t)len);
}

void msg_add(struct buf *b, char type, const void *body, size_t len)
{
	size_t head = type ? 5 : 4;
	uint8_t *p;

	if (len > INT32_MAX - 4)
		abort();
	p = buf_room(b, head + len);
	if (type)
		*p++ = (uint8_t)type;
	buf_put_u32(p, (uint32_t)len + 4);
	if (len)
		memcpy(p + 4, body, len);
	b->end += head + len;
}

static void report_field(struct buf *b, char field, const char *value)
{
	if (!value)
		return;
	buf_u8(b, (uint8_t)field);
	buf_str(b, value);
}

void msg_report(struct buf *b, char type, const char *severity, const char *sqlstate, const char *message,
		const char *detail, const char *hint)
{
	size_t mark = msg_begin(b, type);

	report_field(b, 'S', severity);
	report_field(b, 'V', severity);
	report_field(b, 'C', sqlstate);
	report_field(b, 'M', message);
	report_field(b, 'D', detail);
	report_field(b, 'H', hint);
	buf_u8(b, 0);
	msg_end(b, mark);
}
