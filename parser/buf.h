/* parser/buf.h — a growable run of bytes, and the writers of PostgreSQL messages into it (protocol 3, "Message
 * Formats": big-endian integers, NUL-ended strings, a length that counts itself but not the type byte).
 *
 * Bytes between start and end are held; buf_consume() takes them from the front. The owner of the struct owns the
 * memory and calls buf_release(). Growth beyond memory ends the process: there is no state in which a message half
 * written could be trusted. */
#ifndef PGPORTER_PARSER_BUF_H
#define PGPORTER_PARSER_BUF_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct buf {
	uint8_t *data;
	size_t start, end, cap;
};

static inline size_t buf_len(const struct buf *b) { return b->end - b->start; }
static inline uint8_t *buf_head(const struct buf *b) { return b->data ? b->data + b->start : NULL; } /* NULL: nothing was ever held */

void buf_release(struct buf *b);
void buf_reset(struct buf *b); /* empty, memory kept */
void buf_grow(struct buf *b, size_t n); /* buf_room()'s slow half */

/* Room for n more bytes at the end; the caller writes them and then calls buf_commit(). Can't fail. */
static inline uint8_t *buf_room(struct buf *b, size_t n)
{
	if (b->cap - b->end < n || !b->data)
		buf_grow(b, n);
	return b->data + b->end;
}

static inline void buf_commit(struct buf *b, size_t n)
{
	if (n > b->cap - b->end)
		abort();
	b->end += n;
}

static inline void buf_consume(struct buf *b, size_t n)
{
	if (n > buf_len(b))
		abort();
	b->start += n;
	if (b->start == b->end)
		b->start = b->end = 0;
}

static inline void buf_add(struct buf *b, const void *bytes, size_t n)
{
	if (!n)
		return;
	memcpy(buf_room(b, n), bytes, n);
	b->end += n;
}

static inline void buf_u8(struct buf *b, uint8_t v)
{
	*buf_room(b, 1) = v;
	b->end += 1;
}

void buf_u16(struct buf *b, uint16_t v);

static inline void buf_put_u32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof v);
}

static inline void buf_u32(struct buf *b, uint32_t v)
{
	buf_put_u32(buf_room(b, 4), v);
	b->end += 4;
}

void buf_str(struct buf *b, const char *s); /* with its NUL */
void buf_text(struct buf *b, const char *s); /* without its NUL */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* without a NUL */

/* A message: mark = msg_begin(b, 'Q'); …write the body…; msg_end(b, mark). Type 0 writes no type byte (startup). */
size_t msg_begin(struct buf *b, char type);
void msg_end(struct buf *b, size_t mark);
/* A whole message with a body that is at hand. */
void msg_add(struct buf *b, char type, const void *body, size_t len);
/* ErrorResponse ('E') or NoticeResponse ('N') with severity, SQLSTATE, message and, unless NULL, detail and hint. */
void msg_report(struct buf *b, char type, const char *severity, const char *sqlstate, const char *message,
		const char *detail, const char *hint);

#endif
