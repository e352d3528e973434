/* state/channels.h — who listens to what in one database, on whose behalf one listening backend listens.
 *
 * A LISTEN of a client is sent to its own backend as a marker: a notification on a channel that only pgporter knows,
 * whose payload says which session does what. So PostgreSQL keeps it or rolls it back with the client's transaction,
 * savepoints included, and it comes through the listening backend's stream at the place where that transaction
 * committed. What follows it there is for the client. The channel itself is listened to before the marker is sent
 * (a reservation), so that nothing notified after the commit is missed.
 *
 * Channels are listened to while somebody listens or has a reservation, and given up lazily. Knows no connection: the
 * caller sends what channels_ask() writes and says how it ended. Names are in the server's encoding. */
#ifndef PGPORTER_STATE_CHANNELS_H
#define PGPORTER_STATE_CHANNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "parser/buf.h"

struct channel;
struct subscriber;

/* One subscriber listens to one channel. */
struct subscription {
	TAILQ_ENTRY(subscription) in_channel, in_subscriber;
	struct channel *channel;
	struct subscriber *who;
	uint64_t n; /* the marker that said so last */
};
TAILQ_HEAD(subscriptions, subscription);

struct subscriber {
	TAILQ_ENTRY(subscriber) in, in_waiting, in_own;
	struct subscriber *next_by_serial;
	struct channels *channels;
	void *owner;
	uint64_t serial;
	uint64_t last_n;		/* of the last marker made */
	uint64_t heard_n;		/* and of the last that came through */
	struct subscriptions to;	/* in the order of their LISTENs */
	struct channel **reserved;
	size_t n_reserved;
	uint64_t sync;			/* its transaction's LISTEN waits until this one has come; 0: none does */
	bool own;			/* and now what the transaction notifies is told apart from what was before */
	bool stays;			/* meanwhile nobody else may have its backend, and notify through it */
	bool waiting;			/* for a channel to be listened to, or for the backend */
	bool gap;			/* the listening backend was lost: it has yet to be told */
};
TAILQ_HEAD(subscribers, subscriber);

enum channels_state {
	CHANNELS_DOWN,	  /* no listening backend, or not yet */
	CHANNELS_UP,
	CHANNELS_REFUSED, /* there can't be one: sessions have to listen by themselves */
};

enum channel_answer { CHANNEL_READY, CHANNEL_PENDING, CHANNEL_REFUSED };

/* marker: the name of the markers' channel; nobody else may guess it. */
struct channels *channels_new(const char *marker);
void channels_free(struct channels *c); /* its subscribers must be gone */
const char *channels_marker(const struct channels *c);
enum channels_state channels_state(const struct channels *c);
bool channels_in_use(const struct channels *c);	   /* there are subscribers */
const struct subscribers *channels_subscribers(const struct channels *c);

struct subscriber *subscriber_new(struct channels *c, uint64_t serial, void *owner);
void subscriber_free(struct subscriber *s); /* it listens no more; NULL is fine */
/* The channel is to be listened to, at the latest until subscriber_settle(). PENDING: ask again when woken
 * (channels_next_waiting()). */
enum channel_answer channels_reserve(struct subscriber *s, const char *name);
/* The same for a LISTEN behind something that may have notified in the same transaction: what that has notified on channels which
 * it listens to in the end is for it, and all that was notified before is to have come through. */
enum channel_answer channels_reserve_within(struct subscriber *s, const char *name);
/* Those whose transaction that is, and who have reserved the channel without listening to it yet; NULL: no more. */
struct subscriber *channels_within(struct channels *c, struct subscriber *after, const char *name);
void subscriber_linked(struct subscriber *s); /* to a backend that others have had since: none of its own is under way */
enum channel_answer channels_wait_up(struct subscriber *s); /* the same for the backend alone */
void subscriber_settle(struct subscriber *s);  /* its transaction is over: reservations are given up */
void subscriber_unlisten(struct subscriber *s, const char *name);
void subscriber_unlisten_all(struct subscriber *s, uint64_t before); /* those made by earlier markers than that */
const char *subscriber_channel(const struct subscriber *s, size_t i); /* the i-th, in the order of the LISTENs; NULL: no more */
bool subscriber_listens(const struct subscriber *s, const char *name);

/* The payload of a new marker: op is '+', '-' (with a name), '*' (with a number before which all goes) or '.' (nothing:
 * it only tells how far the stream has come). Returns its number. */
enum { MARKER_MAX = 128 };
uint64_t marker_new(struct subscriber *s, char op, const char *name, char payload[static MARKER_MAX]);
/* A marker has come through: does what it says. Returns whose it is; NULL: nobody's that is still there, or one of
 * channels_ask(): those who wait may go on. */
struct subscriber *channels_marked(struct channels *c, const char *payload);
uint64_t marker_serial(const char *payload); /* whose it says it is */
bool channels_own_marker(const char *payload); /* of channels_ask() */
/* Who listens to it, in the order in which they began; NULL: nobody. */
const struct subscriptions *channels_listeners(struct channels *c, const char *name);

/* A name as a quoted identifier. */
void channels_put_name(struct buf *sql, const char *name);

/* ---- for who has the connection ---- */

/* LISTEN and UNLISTEN statements that are due, and a marker of its own where one is waited for, one text of a bounded number of them. Returns false if there are none, or
 * the last ones were not answered yet. */
bool channels_ask(struct channels *c, struct buf *sql);
void channels_answered(struct channels *c); /* they have succeeded */
bool channels_due(const struct channels *c); /* something is to be asked or was and is not answered */
void channels_up(struct channels *c);	     /* markers are listened to */
void channels_down(struct channels *c);	     /* the connection is lost: everything has to be asked again */
void channels_refuse(struct channels *c);    /* and there won't be one for now */
/* Sessions that waited and may go on, one a call; NULL: no more. */
struct subscriber *channels_next_waiting(struct channels *c);
bool channels_awaited(const struct channels *c); /* somebody waits */
void channels_sweep(struct channels *c); /* now and then: what nobody wants since the last time becomes due */

#endif
