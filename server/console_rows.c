#include "server/console_rows.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void describe(struct buf *out, const char *name, size_t len, char type)
{
	static const struct {
		char type;
		uint32_t oid;
		int16_t size;
	} types[] = { { 's', 25, -1 }, { 'i', 23, 4 }, { 'q', 20, 8 }, { 'N', 1700, -1 } };
	size_t i = 0;

	while (types[i].type != type) {
		i++;
		assert(i < sizeof types / sizeof *types);
	}
	buf_add(out, name, len);
	buf_u8(out, 0);
	buf_u32(out, 0); /* of no table */
	buf_u16(out, 0);
	buf_u32(out, types[i].oid);
	buf_u16(out, (uint16_t)types[i].size);
	buf_u32(out, UINT32_MAX); /* no modifier */
	buf_u16(out, 0);
}

void table_begin(struct table *t, struct buf *out, const char *columns)
{
	size_t mark = msg_begin(out, 'T');

	*t = (struct table){ .out = out, .columns = 1 };
	for (const char *p = columns; *p; p++)
		t->columns += *p == ' ';
	buf_u16(out, (uint16_t)t->columns);
	for (const char *p = columns; *p; p += strspn(p, " ")) {
		size_t len = strcspn(p, ":");

		describe(out, p, len, p[len + 1]);
		p += len + 2;
	}
	msg_end(out, mark);
}

static void row_close(struct table *t)
{
	if (!t->open)
		return;
	assert(t->filled == t->columns);
	msg_end(t->out, t->row);
	t->open = false;
}

void table_row(struct table *t)
{
	row_close(t);
	t->row = msg_begin(t->out, 'D');
	buf_u16(t->out, (uint16_t)t->columns);
	t->open = true;
	t->filled = 0;
}

void table_end(struct table *t)
{
	row_close(t);
}

/* Bytes of the UTF-8 character at s (NUL-ended), 0 if there is none. */
static size_t character(const uint8_t *s)
{
	size_t len = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 : *s >= 0xe0 && *s < 0xf0 ? 3 : *s >= 0xf0 && *s < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) || (*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] > 0x8f))
		return 0; /* too long, a surrogate, beyond Unicode */
	return len;
}

void utf8_add(struct buf *out, const char *s)
{
	const uint8_t *at = (const uint8_t *)s;

	while (*at) {
		size_t len = 0, next;

		while (at[len] && (next = character(at + len)))
			len += next;
		buf_add(out, at, len);
		at += len;
		if (*at) {
			buf_u8(out, '?');
			at++;
		}
	}
}

void cell_text(struct table *t, const char *s)
{
	struct buf *out = t->out;
	size_t at, mark;
	uint32_t len;

	t->filled++;
	if (!s) {
		buf_u32(out, UINT32_MAX);
		return;
	}
	at = buf_len(out);
	buf_u32(out, 0);
	mark = buf_len(out);
	utf8_add(out, s);
	len = htonl((uint32_t)(buf_len(out) - mark));
	memcpy(buf_head(out) + at, &len, sizeof len);
}

void cell_int(struct table *t, int64_t v)
{
	cell_format(t, "%lld", (long long)v);
}

void cell_format(struct table *t, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	cell_text(t, text);
}
