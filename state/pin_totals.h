/* state/pin_totals.h — how often and how long clients of a pool were pinned for one reason, and by which statement most.
 *
 * Statements are told apart by a fingerprint: a hash of their beginning without literals, blanks, comments and case. Only a
 * few of them are kept: one that comes often is among them for certain, its count may be too high by what it has displaced
 * (Metwally, Agrawal, El Abbadi: "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005). */
#ifndef PGPORTER_STATE_PIN_TOTALS_H
#define PGPORTER_STATE_PIN_TOTALS_H

#include <stddef.h>
#include <stdint.h>

enum { PIN_CAUSES = 16, PIN_CAUSE_TEXT = 96 };

struct pin_cause {
	uint64_t fingerprint, count;
	char text[PIN_CAUSE_TEXT]; /* beginning of the first such statement seen */
};

struct pin_total {
	int now;
	uint64_t ever;
	int64_t total_us, longest_us; /* of those that are over */
	struct pin_cause causes[PIN_CAUSES];
};

uint64_t statement_fingerprint(const char *statement);
void pin_total_begin(struct pin_total *t, const char *statement);
void pin_total_end(struct pin_total *t, int64_t lasted_us);
const struct pin_cause *pin_total_most(const struct pin_total *t); /* NULL: none yet */

#endif
