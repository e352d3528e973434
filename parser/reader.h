/* parser/reader.h — reads integers, strings and runs of bytes from a body whose end is known, and cannot overrun it.
 *
 * Calls chain: after the first one that does not fit, `bad` stays set and every further call returns 0 or NULL, so
 * a caller checks once, at the end. Nothing is copied: results point into the body. */
#ifndef PGPORTER_PARSER_READER_H
#define PGPORTER_PARSER_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct reader {
	const uint8_t *at, *end;
	bool bad;
};

static inline struct reader reader_of(const void *body, size_t len)
{
	const uint8_t *p = body ? body : (const uint8_t *)"";

	return (struct reader){ .at = p, .end = p + (body ? len : 0), .bad = false };
}

static inline size_t reader_left(const struct reader *r)
{
	return (size_t)(r->end - r->at);
}

static inline const uint8_t *reader_bytes(struct reader *r, size_t n)
{
	const uint8_t *p = r->at;

	if (r->bad || reader_left(r) < n) {
		r->bad = true;
		return NULL;
	}
	r->at += n;
	return p;
}

static inline uint8_t reader_u8(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 1);

	return p ? p[0] : 0;
}

static inline uint16_t reader_u16(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 2);

	return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}

static inline uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint32_t reader_u32(struct reader *r)
{
	const uint8_t *p = reader_bytes(r, 4);

	return p ? be32(p) : 0;
}

/* A NUL-ended string; its length without the NUL goes to *len unless that is NULL. */
static inline const char *reader_str(struct reader *r, size_t *len)
{
	const uint8_t *nul = NULL;
	const char *s = (const char *)r->at;

	if (!r->bad && r->at != r->end) /* most names are empty */
		nul = *r->at ? memchr(r->at, 0, reader_left(r)) : r->at;
	if (!nul) {
		r->bad = true;
		return NULL;
	}
	if (len)
		*len = (size_t)(nul - r->at);
	r->at = nul + 1;
	return s;
}

#endif
