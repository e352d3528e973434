#include "parser/grams.h"

#include "parser/lex.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { BUCKETS = 8 };

/* --- adding --- */

static unsigned count_in(const uint8_t halves[static GRAM_HALF], unsigned bucket, uint32_t more)
{
	for (unsigned i = 0; i < GRAM_HALF; i++)
		more |= (uint32_t)(halves[i] >> bucket & 1) << i;
	return (unsigned)__builtin_popcount(more);
}

static bool letter(uint8_t c)
{
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* Halves of the bytes that may stand at place i of the word, one bit each. */
static uint32_t low_halves(const char *word, size_t len, unsigned i)
{
	return i >= len || (uint8_t)word[i] >= 0x80 ? 0xffff : 1u << ((uint8_t)word[i] & 15);
}

static uint32_t high_halves(const char *word, size_t len, unsigned i)
{
	uint8_t c = i < len ? (uint8_t)word[i] : 0;

	if (i >= len)
		return 0xffff;
	if (c >= 0x80)
		return 0xff00;
	return 1u << (c >> 4) | (letter(c) ? 1u << ((c ^ 0x20) >> 4) : 0);
}

/* How many grams the bucket would let through. */
static uint64_t width(const struct grams *g, unsigned bucket, const char *word, size_t len, bool with)
{
	uint64_t n = 1;

	for (unsigned i = 0; i < GRAM; i++)
		n *= count_in(g->low[i], bucket, with ? low_halves(word, len, i) : 0) *
		     count_in(g->high[i], bucket, with ? high_halves(word, len, i) : 0);
	return n;
}

void grams_add(struct grams *g, const char *word, size_t len)
{
	uint64_t least = UINT64_MAX;
	unsigned bucket = 0;

	for (size_t i = 0; i < len; i++)
		if ((uint8_t)word[i] >= 0x80)
			len = i + 1;
	for (unsigned b = 0; b < BUCKETS; b++) {
		uint64_t more = width(g, b, word, len, true) - width(g, b, word, len, false);

		if (more < least) {
			least = more;
			bucket = b;
		}
	}
	for (unsigned i = 0; i < GRAM; i++)
		for (unsigned half = 0; half < GRAM_HALF; half++) {
			g->low[i][half] |= (uint8_t)((low_halves(word, len, i) >> half & 1) << bucket);
			g->high[i][half] |= (uint8_t)((high_halves(word, len, i) >> half & 1) << bucket);
		}
}

/* --- looking --- */

struct search {
	const struct grams *g;
	const char *text, *end;
	bool (*is_one)(const void *context, const char *at);
	const void *context;
};

static bool found_at(const struct search *s, const char *at)
{
	if (at > s->text && lex_class[(uint8_t)at[-1]] == LEX_IDENT && lex_in_ident[(uint8_t)*at])
		return false;
	return s->is_one(s->context, at);
}

static inline unsigned buckets_of(const struct grams *g, unsigned i, uint8_t byte)
{
	return g->low[i][byte & 15] & g->high[i][byte >> 4];
}

static bool by_bytes(const struct search *s, const char *from, const char *to)
{
	for (const char *at = from; at < to; at++) {
		unsigned buckets = buckets_of(s->g, 0, (uint8_t)*at);

		for (unsigned i = 1; buckets && i < GRAM; i++)
			buckets &= buckets_of(s->g, i, s->end - at > i ? (uint8_t)at[i] : ' ');
		if (buckets && found_at(s, at))
			return true;
	}
	return false;
}

bool grams_any_plainly(const struct grams *g, const char *text, const char *from, const char *end,
		       bool (*is_one)(const void *context, const char *at), const void *context)
{
	struct search s = { .g = g, .text = text, .end = end, .is_one = is_one, .context = context };

	return by_bytes(&s, from, end);
}

#ifdef __x86_64__

enum { LANE = 32, LANE_READS = LANE + GRAM - 1, WORTH_LANES = 1 + LANE_READS };

static bool can_do_lanes(void)
{
	return __builtin_cpu_supports("avx2");
}

/* The buckets of words that have a byte like those from `at` on, at that place of a gram. */
__attribute__((target("avx2"))) static inline __m256i lane_buckets(__m256i low, __m256i high, const char *at)
{
	const __m256i half = _mm256_set1_epi8(15);
	__m256i v = _mm256_loadu_si256((const __m256i *)(const void *)at);

	low = _mm256_shuffle_epi8(low, _mm256_and_si256(v, half));
	high = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(v, 4), half));
	return _mm256_and_si256(low, high);
}

/* Places behind a byte that begins an identifier or goes on in one, at such a byte. Of the last nothing is said. */
__attribute__((target("avx2"))) static inline uint32_t within_words(const char *lane)
{
	__m256i before = _mm256_loadu_si256((const __m256i *)(const void *)(lane - 1));
	__m256i letter = _mm256_sub_epi8(_mm256_or_si256(before, _mm256_set1_epi8(0x20)), _mm256_set1_epi8('a'));
	uint32_t ident;

	letter = _mm256_cmpeq_epi8(_mm256_min_epu8(letter, _mm256_set1_epi8('z' - 'a')), letter);
	letter = _mm256_or_si256(letter, _mm256_cmpeq_epi8(before, _mm256_set1_epi8('_')));
	ident = (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(letter, before)); /* a byte's highest bit is what counts */
	return ident & ident >> 1;
}

#define HALVES(of) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(of)))

/* The first lane from `at` on in which there is a place, one bit each; the last one begins in what was seen before. NULL: none.
 * Reads the byte before. */
__attribute__((target("avx2"))) static const char *next_lane(const struct grams *g, const char *at, const char *end, uint32_t *places)
{
	const __m256i low[GRAM] = { HALVES(g->low[0]), HALVES(g->low[1]), HALVES(g->low[2]) };
	const __m256i high[GRAM] = { HALVES(g->high[0]), HALVES(g->high[1]), HALVES(g->high[2]) };
	const char *last = end - LANE_READS;

	for (; at <= end - GRAM; at += LANE) {
		const char *lane = at < last ? at : last;
		__m256i all = lane_buckets(low[0], high[0], lane);

		all = _mm256_and_si256(all, lane_buckets(low[1], high[1], lane + 1));
		all = _mm256_and_si256(all, lane_buckets(low[2], high[2], lane + 2));
		*places = ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(all, _mm256_setzero_si256())) & ~0u << (at - lane);
		if (*places && (*places &= ~within_words(lane)))
			return lane;
	}
	return NULL;
}

static bool by_lanes(const struct search *s, const char *from)
{
	uint32_t places;

	if (from == s->text && by_bytes(s, from, from + 1))
		return true;
	from += from == s->text;
	for (const char *lane; (lane = next_lane(s->g, from, s->end, &places)); from = lane + LANE)
		for (; places; places &= places - 1)
			if (found_at(s, lane + __builtin_ctz(places)))
				return true;
	if (from < s->end - (GRAM - 1))
		from = s->end - (GRAM - 1);
	return by_bytes(s, from, s->end);
}

#else

enum { WORTH_LANES = 0 };

static bool can_do_lanes(void)
{
	return false;
}

static bool by_lanes(const struct search *s, const char *from)
{
	return by_bytes(s, from, s->end);
}

#endif

bool grams_any(const struct grams *g, const char *text, const char *from, const char *end,
	       bool (*is_one)(const void *context, const char *at), const void *context)
{
	struct search s = { .g = g, .text = text, .end = end, .is_one = is_one, .context = context };

	return end - text >= WORTH_LANES && can_do_lanes() ? by_lanes(&s, from) : by_bytes(&s, from, end);
}
