/* parser/grams.h — where in a text some words may begin: by their first three bytes, many places at a time.
 *
 * Knows no strings, comments or quotes: words are looked for in them, too. No place is left out at which a word begins that
 * was added, in any case of its letters; most of the places found are false, and the caller tells. */
#ifndef PGPORTER_PARSER_GRAMS_H
#define PGPORTER_PARSER_GRAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GRAM = 3, GRAM_HALF = 16 };

/* Zeroed: no word. One bit a bucket of words: set where some word of the bucket has a byte of this half at this place. */
struct grams {
	uint8_t low[GRAM][GRAM_HALF], high[GRAM][GRAM_HALF];
};

/* Letters stand for either case; a byte from 0x80 for all of them, and ends the word. What follows it is whatever it likes. */
void grams_add(struct grams *g, const char *word, size_t len);

/* Asks of each place between `from` and `end` where a word may begin until it is told yes. Places within an identifier, behind
 * a letter, an underscore or a byte from 0x80, aren't asked about. text <= from: what stands before is read. */
bool grams_any(const struct grams *g, const char *text, const char *from, const char *end,
	       bool (*is_one)(const void *context, const char *at), const void *context);

/* The same byte by byte, as where the processor can't do better. */
bool grams_any_plainly(const struct grams *g, const char *text, const char *from, const char *end,
		       bool (*is_one)(const void *context, const char *at), const void *context);

#endif
