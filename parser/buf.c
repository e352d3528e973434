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

static void buf_grow(struct buf *b, size_t n)
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

uint8_t *buf_room(struct buf *b, size_t n)
{
	if (b->cap - b->end < n || !b->data)
		buf_grow(b, n);
	return b->data + b->end;
}

void buf_commit(struct buf *b, size_t n)
{
	if (n > b->cap - b->end)
		abort();
	b->end += n;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n > buf_len(b))
		abort();
	b->start += n;
	if (b->start == b->end)
		b->start = b->end = 0;
}

void buf_add(struct buf *b, const void *bytes, size_t n)
{
	if (!n)
		return;
	memcpy(buf_room(b, n), bytes, n);
	b->end += n;
}

void buf_u8(struct buf *b, uint8_t v)
{
	*buf_room(b, 1) = v;
	b->end += 1;
}

void buf_u16(struct buf *b, uint16_t v)
{
	uint8_t *p = buf_room(b, 2);

	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	b->end += 2;
}

static void put_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

void buf_u32(struct buf *b, uint32_t v)
{
	put_u32(buf_room(b, 4), v);
	b->end += 4;
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
	put_u32(b->data + b->start + mark, (uint32_t)len);
}

void msg_add(struct buf *b, char type, const void *body, size_t len)
{
	size_t mark = msg_begin(b, type);

	buf_add(b, body, len);
	msg_end(b, mark);
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
