#include "state/speakers.h"

#include <string.h>

static bool under_way(const struct speaker *p, int64_t now_us)
{
	return !p->quiet && now_us - p->left_us < SPEAKER_UNDER_WAY_US;
}

bool speakers_enter(struct speakers *s, uint32_t pid, uint64_t serial, bool listens, bool can_mark, int64_t now_us)
{
	bool doubt = false;

	if (!s->n || s->list[0].pid != pid) {
		if (s->n == SPEAKERS_KEPT)
			s->n--;
		memmove(s->list + 1, s->list, s->n * sizeof *s->list);
		s->list[0] = (struct speaker){ .pid = pid, .serial = serial };
		s->n++;
	}
	s->list[0].quiet = false;
	for (unsigned i = 1; i < s->n; i++)
		doubt = doubt || (s->list[i].pid != pid && (listens || s->list[i].likely) && under_way(&s->list[i], now_us));
	doubt = doubt && can_mark;
	s->list[0].awaited = doubt;
	return doubt;
}

void speakers_said(struct speakers *s, int64_t now_us)
{
	if (!s->n)
		return;
	s->list[0].likely = true;
	s->list[0].said_us = now_us;
}

void speakers_leave(struct speakers *s, bool quiet, int64_t now_us)
{
	if (!s->n)
		return;
	s->list[0].quiet = quiet;
	s->list[0].left_us = now_us;
}

void speakers_marked(struct speakers *s, uint64_t serial)
{
	unsigned found = s->n;

	for (unsigned i = s->n; i-- > 0;) {
		if (s->list[i].serial != serial)
			continue;
		found = i;
		if (s->list[i].awaited) /* of several by one client the first comes first */
			break;
	}
	if (found == s->n)
		return;
	s->list[found].awaited = false;
	s->n = found + 1;
}

void speakers_unmarked(struct speakers *s)
{
	if (s->n)
		s->list[0].awaited = false;
}

void speakers_caught_up(struct speakers *s)
{
	speakers_unmarked(s);
	s->n = s->n ? 1 : 0;
}

/* The latest that has no marker to come, and nobody before it has. */
static unsigned latest_possible(const struct speakers *s)
{
	unsigned i = s->n;

	while (i && !s->list[i - 1].awaited)
		i--;
	return i;
}

/* Whoever spoke first is heard first. What comes in one turn may all be of one. */
uint32_t speakers_heard(struct speakers *s, int64_t now_us)
{
	unsigned latest = latest_possible(s);
	struct speaker *found;

	if (latest == s->n)
		return 0;
	found = &s->list[latest];
	for (unsigned i = s->n; i-- > latest;) {
		struct speaker *p = &s->list[i];

		if ((p->likely || p->heard_us == now_us) && (!i || under_way(p, now_us))) {
			found = p;
			break;
		}
	}
	found->likely = false;
	found->heard_us = now_us;
	return found->pid;
}
