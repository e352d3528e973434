/* parser/blocks.h — up to 64 bytes of SQL text at once: one bit a byte, the first byte in the lowest bit.
 *
 * The bits say what a byte may be by itself; whether it stands in a string or a comment is the caller's to know. Nothing
 * outside of the text is read. */
#ifndef PGPORTER_PARSER_BLOCKS_H
#define PGPORTER_PARSER_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { BLOCK = 64, BLOCK_LANE = 16 };

struct block {
	uint64_t ident; /* letters, digits, underscore, dollar, bytes from 0x80 */
	uint64_t digit;
	uint64_t event; /* quotes, $ & - / ; and the vertical tab: what may end a run of words that are just words; with
			 * them # % + and the escape character, which are told apart later */
};

enum { BYTE_IDENT = 1, BYTE_DIGIT = 2, BYTE_EVENT = 4 };
extern const uint8_t block_byte[256];

static inline void block_add_byte(struct block *b, uint8_t byte, unsigned at)
{
	uint64_t c = block_byte[byte];

	b->ident |= (c & 1) << at;
	b->digit |= (c >> 1 & 1) << at;
	b->event |= (c >> 2 & 1) << at;
}

/* Adds 16 bytes from p at bit `at`, leaving out the first `skip` of them. */
#ifdef __SSE2__
static inline void block_add_lane(struct block *b, const char *p, unsigned skip, unsigned at)
{
#define EQ(c) _mm_cmpeq_epi8(v, _mm_set1_epi8(c))
#define WITHIN(x, n) _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8((n) - 1)), x)
#define OR(a, b) _mm_or_si128(a, b)
#define BITS(x) ((uint64_t)((unsigned)_mm_movemask_epi8(x) >> skip) << at)
	__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i letter = _mm_sub_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
	__m128i digit = _mm_sub_epi8(v, _mm_set1_epi8('0'));
	__m128i event;

	digit = WITHIN(digit, 10);
	letter = OR(OR(WITHIN(letter, 26), v), OR(digit, EQ('_'))); /* v: the highest bit is what counts */
	b->ident |= BITS(OR(letter, EQ('$')));
	b->digit |= BITS(digit);
	event = WITHIN(_mm_sub_epi8(v, _mm_set1_epi8('"')), 6); /* " # $ % & ' */
	event = OR(event, _mm_cmpeq_epi8(OR(v, _mm_set1_epi8(2)), _mm_set1_epi8('/'))); /* - / */
	event = OR(event, _mm_cmpeq_epi8(_mm_andnot_si128(_mm_set1_epi8(0x30), v), _mm_set1_epi8('\v'))); /* \v escape + ; */
	b->event |= BITS(event);
#undef EQ
#undef WITHIN
#undef OR
#undef BITS
}
#else
static inline void block_add_lane(struct block *b, const char *p, unsigned skip, unsigned at)
{
	for (unsigned i = skip; i < BLOCK_LANE; i++)
		block_add_byte(b, (uint8_t)p[i], at + i - skip);
}
#endif

/* The block at `at`, of which there are `left` bytes in the text, and as many as told before it. */
static inline struct block block_at(const char *at, size_t before, size_t left)
{
	struct block b = { 0 };
	unsigned i = 0, n = left < BLOCK ? (unsigned)left : BLOCK;

	for (; i + BLOCK_LANE <= n; i += BLOCK_LANE)
		block_add_lane(&b, at + i, 0, i);
	if (i == n)
		return b;
	if (before + n >= BLOCK_LANE) { /* the last lane begins in what was read before */
		block_add_lane(&b, at + n - BLOCK_LANE, BLOCK_LANE - (n - i), i);
		return b;
	}
	for (; i < n; i++)
		block_add_byte(&b, (uint8_t)at[i], i);
	return b;
}

#endif
