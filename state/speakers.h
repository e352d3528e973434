/* state/speakers.h — whose notifications come from one backend. PostgreSQL names the backend; its receivers know the
 * client that it spoke for, which may have given it back while the notification was still on its way.
 *
 * What is known: who had the backend and when, whose statements named NOTIFY, what has arrived, and markers
 * (state/channels.h): what follows one is of the client that had the backend when it was sent. Times are microseconds of
 * the caller's clock; what arrives in one turn has one time. */
#ifndef PGPORTER_STATE_SPEAKERS_H
#define PGPORTER_STATE_SPEAKERS_H

#include <stdbool.h>
#include <stdint.h>

enum { SPEAKERS_KEPT = 4, SPEAKER_UNDER_WAY_US = 100 * 1000 }; /* so long a notification may be on its way */

struct speaker {
	uint32_t pid;	 /* as others know it */
	uint64_t serial; /* of its session, as its markers say */
	bool awaited;	 /* its marker has yet to come: until then nothing is of it, nor of those behind it */
	bool likely;  /* it has said NOTIFY, and none of it was heard since */
	bool quiet;   /* nothing of it is on its way: that was waited for */
	int64_t said_us, heard_us, left_us;
};

struct speakers { /* zeroed to start with */
	struct speaker list[SPEAKERS_KEPT]; /* the latest first */
	unsigned n;
};

/* This client has the backend now. can_mark: a marker can be sent ahead of what it does. Returns true if one has to be,
 * since another's notification may still come: one that was said, or, for a client that listens and might take it for
 * its own, any. */
bool speakers_enter(struct speakers *s, uint32_t pid, uint64_t serial, bool listens, bool can_mark, int64_t now_us);
void speakers_said(struct speakers *s, int64_t now_us); /* the latest: a statement that names NOTIFY */
void speakers_leave(struct speakers *s, bool quiet, int64_t now_us);
void speakers_unmarked(struct speakers *s); /* the latest has sent no marker after all, or it has failed */
void speakers_caught_up(struct speakers *s); /* nothing that others than the latest have said is still to come */
/* A marker has come from this backend: what follows is of the client that has sent it, or of those that had it afterwards. */
void speakers_marked(struct speakers *s, uint64_t serial);
uint32_t speakers_heard(struct speakers *s, int64_t now_us); /* a notification has: whose it is; 0: nobody's */

#endif
