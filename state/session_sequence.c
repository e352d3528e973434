/* currval() and lastval(): numbers that a session's own nextval() left on its backend. nextval() can't be told from any other
 * call (a column's default, a trigger), so it is not looked for. Who asks for such a number is: database, user and
 * application_name of a client that does are remembered, and clients of that kind begin on a backend without any numbers
 * (DISCARD SEQUENCES) and keep it. A client not known to be of such a kind gets 55000 the first time, where it has no
 * backend all to itself: never a number that is another's.
 *
 * Whose numbers a backend may hold is known by who has sent it anything since they were last discarded. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser/hash.h"
#include "state/session_internal.h"

#define BIT(kind) (1u << RULE_##kind)
#define LEARNT_TEXT "currval() or lastval(), by this or another client of its kind"

static bool kept(const struct session *s)
{
	return s->carry && s->rules->pin & BIT(SEQUENCE);
}

/* ---- kinds of clients ---- */

/* Beyond its size a kind is cut off: two that differ there are one. */
static void kind_of(const struct session *s, struct sequence_kind *k)
{
	const char *name = settings_get(s->want, "application_name");
	const char *parts[] = { s->rules->database, s->rules->user, name };
	size_t n = 0;

	memset(k, 0, sizeof *k);
	for (size_t i = 0; i < 3; i++) {
		size_t len = parts[i] ? strlen(parts[i]) : 0;

		if (len > sizeof k->text / 3 - 1)
			len = sizeof k->text / 3 - 1;
		if (len)
			memcpy(k->text + n, parts[i], len);
		n += len + 1;
	}
	k->hash = hash_bytes(k->text, n, 0);
}

static bool learnt(const struct session *s)
{
	const struct sequence_kinds *all = &s->store->sequences;
	size_t n = all->learnt < SEQUENCE_KINDS_MAX ? all->learnt : SEQUENCE_KINDS_MAX;
	struct sequence_kind k;

	if (!n)
		return false;
	kind_of(s, &k);
	for (size_t i = 0; i < n; i++)
		if (all->list[i].hash == k.hash && !memcmp(all->list[i].text, k.text, sizeof k.text))
			return true;
	return false;
}

static void learn(struct session *s)
{
	struct sequence_kinds *all = &s->store->sequences;

	if (!learnt(s)) /* the oldest makes way */
		kind_of(s, &all->list[all->learnt++ % SEQUENCE_KINDS_MAX]);
}

/* ---- whose numbers ---- */

/* It has been on this backend only, alone since the last discard: what is there is what a connection of its own would have. */
static bool own(const struct session *s)
{
	return s->backend->sequences == s->serial && s->sequence.on == s->backend && !s->sequence.spread;
}

static void mark(struct session *s)
{
	struct backend *b = s->backend;

	if (!b->sequences)
		b->sequences = s->serial;
	else if (b->sequences != s->serial)
		b->sequences = SEQUENCES_MANY;
	if (s->sequence.on && s->sequence.on != b)
		s->sequence.spread = true;
	s->sequence.on = b;
}

/* text: what is said to have done it; empty: the statement under way. */
static void pin(struct session *s, const char *text)
{
	if (s->pins & PIN_SEQUENCE)
		return;
	if (!s->pins)
		session_pinned_by(s, text);
	s->pins |= PIN_SEQUENCE;
	s->counters->pins++;
}

static void discard(struct session *s, bool and_pin)
{
	s->sequence.pins = and_pin;
	task_begin(s, TASK_SEQUENCE);
	send_own(s, "DISCARD SEQUENCES", 17);
	task_sent(s);
}

void sequence_discarded(struct session *s, bool failed)
{
	if (failed) { /* the client is told instead */
		s->sequence.looked = s->sequence.looked_now = false;
		return;
	}
	s->backend->sequences = s->serial;
	s->sequence.on = s->backend;
	s->sequence.spread = false;
	if (s->sequence.pins)
		pin(s, s->sequence.looked_now ? LEARNT_TEXT : "");
	s->sequence.looked_now = false;
}

void sequence_linked(struct session *s)
{
	s->sequence.looked = s->sequence.looked_now = s->sequence.given_up = false;
	if (!s->carry || s->through) /* whose messages are not followed */
		s->backend->sequences = SEQUENCES_MANY;
}

bool sequence_ready(struct session *s)
{
	struct backend *b = s->backend;

	s->sequence.given_up = false;
	if (!s->sequence.looked && kept(s) && !(s->pins & PIN_SEQUENCE) && b->status == 'I' && !b->batch) {
		s->sequence.looked = true;
		if (learnt(s) && rules_room(s)) {
			if (b->sequences && !own(s)) {
				s->sequence.looked_now = true;
				discard(s, true);
				return false;
			}
			pin(s, LEARNT_TEXT);
		}
	}
	if (b->sequences != s->serial || s->sequence.on != b)
		mark(s);
	return true;
}

/* What can't be read may ask, too. */
static bool concerned(const struct session *s, uint32_t found)
{
	return kept(s) && found & (BIT(SEQUENCE) | BIT(OPAQUE)) && s->backend->status != 'E' && !(s->pins & PIN_SEQUENCE);
}

bool sequence_holds(struct session *s, const struct effects *e)
{
	return concerned(s, rules_kinds(s, e)) && !own(s);
}

bool sequence_asked(struct session *s, uint32_t found)
{
	bool and_pin = found & BIT(SEQUENCE);

	if (kept(s) && and_pin)
		learn(s);
	if (!concerned(s, found))
		return true;
	and_pin = and_pin && rules_room(s);
	if (!own(s)) {
		discard(s, and_pin);
		return false;
	}
	if (and_pin)
		pin(s, "");
	return true;
}

bool sequence_function(uint32_t oid)
{
	return oid == 1575 || oid == 2559; /* currval(), lastval(): PostgreSQL's pg_proc.dat */
}

/* ---- given up ---- */

void sequence_given_up(struct session *s, bool elsewhere)
{
	if (elsewhere || !s->backend)
		s->sequence.spread = true; /* what its backend still has of it is no longer there to this client */
	else
		s->sequence.given_up = true;
}

uint32_t sequence_settled(struct session *s, uint32_t pins)
{
	if (pins & PIN_SEQUENCE && !s->pin_text)
		session_pinned_by(s, s->backend->last_text);
	if (!s->sequence.given_up)
		return pins;
	s->sequence.looked = false;
	return pins & ~(uint32_t)PIN_SEQUENCE;
}
