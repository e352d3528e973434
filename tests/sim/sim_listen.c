/* LISTEN that is shared: the connection that listens for all, as server/listening.c has it; and what each client must have
 * been notified of, told from what was committed when, and from what it would have listened to alone. */
#include "tests/sim/sim_internal.h"

#include <stdlib.h>
#include <string.h>

#include "parser/reader.h"
#include "parser/report.h"
#include "parser/wire.h"

#define MARKER "pgporter_marker"

static struct client *client_of(void *session)
{
	return (struct client *)((char *)session - offsetof(struct client, s));
}

/* ---- the connection ---- */

static void send(struct listening *l, const char *sql)
{
	size_t mark = msg_begin(&l->m.in, 'Q');

	buf_str(&l->m.in, sql);
	msg_end(&l->m.in, mark);
}

static void wake_all(struct listening *l)
{
	struct subscriber *s;

	while ((s = channels_next_waiting(l->channels)))
		client_of(s->owner)->runnable = true;
}

static void went_on(struct world *w, struct client *c, uint32_t events)
{
	if (events)
		client_events(w, c, events);
}

static void tell_gap(struct listening *l)
{
	struct subscriber *s;

	l->gap = false;
	TAILQ_FOREACH (s, channels_subscribers(l->channels), in)
		if (s->gap) {
			s->gap = false;
			session_listen_gap(&client_of(s->owner)->s);
		}
}

static void ask(struct listening *l)
{
	struct buf sql = { 0 };

	if (l->greeting || l->asking)
		return;
	if (channels_ask(l->channels, &sql)) {
		buf_u8(&sql, 0);
		l->asking = true;
		send(l, (const char *)buf_head(&sql));
	} else if (l->gap && !channels_due(l->channels)) {
		tell_gap(l);
	}
	buf_release(&sql);
}

static void open_it(struct world *w, struct listening *l)
{
	if (w->p->failing && world_chance(w, 3)) {
		counts[COUNT_LISTEN_REFUSED]++;
		channels_refuse(l->channels);
		wake_all(l);
		return;
	}
	world_trace(w, "a server listens for all\n");
	l->open = l->greeting = true;
	model_init(&l->m, &w->cluster);
	l->m.pid = ++w->last_pid;
	for (struct conn *b = w->conns; b < w->conns + BACKENDS; b++)
		speakers_caught_up(&b->speakers);
	buf_reset(&l->in);
	send(l, "LISTEN \"" MARKER "\"");
}

static void lost(struct world *w, struct listening *l)
{
	world_trace(w, "the server that listens for all dies\n");
	counts[COUNT_LISTEN_LOST]++;
	l->open = l->greeting = l->asking = false;
	l->gap = l->died = true;
	channels_down(l->channels);
	for (struct client *c = w->clients; c < w->clients + w->p->n_clients; c++) {
		uint32_t events = 0;

		if (!c->s.listens || c->state != CLIENT_ACTIVE)
			continue;
		if (session_listen_lost(&c->s, &events))
			went_on(w, c, events);
		else
			client_failed(w, c, "08006", "connection lost while LISTEN or UNLISTEN was under way");
	}
}

static void answered(struct listening *l)
{
	if (l->greeting) {
		l->greeting = false;
		channels_up(l->channels);
	} else if (l->asking) {
		l->asking = false;
		channels_answered(l->channels);
	}
	wake_all(l);
}

static struct conn *conn_by_pid(struct world *w, uint32_t pid)
{
	for (struct conn *b = w->conns; b < w->conns + BACKENDS; b++)
		if (b->state != CONN_FREE && b->m.pid == pid)
			return b;
	return NULL;
}

uint32_t listening_known_as(struct world *w, uint32_t pid)
{
	struct conn *b = conn_by_pid(w, pid);
	uint32_t known_as = b ? speakers_heard(&b->speakers, w->now_us) : 0;

	return known_as ? known_as : pid;
}

static void on_marker(struct world *w, struct listening *l, uint32_t pid, const char *payload)
{
	struct subscriber *s = channels_marked(l->channels, payload);
	struct conn *b = conn_by_pid(w, pid);
	struct client *c = s ? client_of(s->owner) : NULL; /* the subscriber may be gone behind it */
	uint32_t events = 0;

	counts[COUNT_MARKER]++;
	if (channels_own_marker(payload))
		wake_all(l);
	if (b)
		speakers_marked(&b->speakers, marker_serial(payload));
	if (!c)
		return;
	session_listen_marked(&c->s, &events);
	went_on(w, c, events);
}

static bool speaks_through(const struct client *c, uint32_t pid)
{
	return c->conn && c->conn->m.pid == pid;
}

static void on_notification(struct world *w, struct listening *l, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	uint32_t pid = reader_u32(&r);
	const char *name = reader_str(&r, NULL), *payload = reader_str(&r, NULL);
	const struct subscriptions *listeners;
	struct subscriber *within;
	struct subscription *sub, *next;
	struct buf message = { 0 };
	size_t mark;

	world_trace(w, "heard by all from %u: %s %s\n", pid, name, payload);
	if (!strcmp(name, MARKER)) {
		on_marker(w, l, pid, payload);
		return;
	}
	l->through = strtoul(strrchr(payload, '#') + 1, NULL, 10) + 1;
	listeners = channels_listeners(l->channels, name);
	within = channels_within(l->channels, NULL, name);
	if (!within && (!listeners || TAILQ_EMPTY(listeners)))
		return;
	mark = msg_begin(&message, 'A');
	buf_u32(&message, listening_known_as(w, pid));
	buf_str(&message, name);
	buf_str(&message, payload);
	msg_end(&message, mark);
	for (; within; within = channels_within(l->channels, within, name)) {
		struct client *c = client_of(within->owner);

		if (!TAILQ_EMPTY(&within->to) || speaks_through(c, pid))
			session_notify(&c->s, buf_head(&message), buf_len(&message), speaks_through(c, pid));
	}
	for (sub = listeners ? TAILQ_FIRST(listeners) : NULL; sub; sub = next) {
		next = TAILQ_NEXT(sub, in_channel);
		session_notify(&client_of(sub->who->owner)->s, buf_head(&message), buf_len(&message), speaks_through(client_of(sub->who->owner), pid));
	}
	buf_release(&message);
}

static void pump(struct world *w, struct listening *l)
{
	struct wire_head head;

	while (l->open && wire_head(buf_head(&l->in), buf_len(&l->in), 1u << 30, &head) == WIRE_OK && buf_len(&l->in) >= WIRE_HEAD + head.body_len) {
		const uint8_t *body = buf_head(&l->in) + WIRE_HEAD;

		if (head.type == 'A')
			on_notification(w, l, body, head.body_len);
		else if (head.type == 'E')
			world_fail(w, "what listens for all is told %s", report_field(body, head.body_len, 'M'));
		buf_consume(&l->in, WIRE_HEAD + head.body_len);
		if (head.type == 'Z')
			answered(l);
	}
}

bool listening_moves(struct world *w)
{
	struct listening *l = &w->listening;
	size_t n;

	if (!w->p->shares)
		return false;
	if (!l->open) {
		if (channels_state(l->channels) == CHANNELS_REFUSED && world_chance(w, 20))
			channels_down(l->channels);
		if (channels_state(l->channels) != CHANNELS_DOWN || !channels_in_use(l->channels))
			return false;
		open_it(w, l);
		return true;
	}
	if (w->p->deaths && world_chance(w, 60)) {
		lost(w, l);
		return true;
	}
	if (world_chance(w, 30))
		channels_sweep(l->channels);
	ask(l);
	while (model_turn(&l->m))
		;
	if (*l->m.complaint)
		world_fail(w, "what listens for all: %s", l->m.complaint);
	model_hears(&l->m);
	n = buf_len(&l->m.out);
	if (!n)
		return false;
	n = some(w, n);
	buf_add(&l->in, buf_head(&l->m.out), n);
	buf_consume(&l->m.out, n);
	pump(w, l);
	return true;
}

void listening_begins(struct world *w)
{
	struct listening *l = &w->listening;

	l->open = l->greeting = l->asking = l->gap = l->died = false;
	l->through = 0;
	l->channels = w->p->shares ? channels_new(MARKER) : NULL;
	l->m.cluster = &w->cluster;
}

void listening_ends(struct world *w)
{
	channels_free(w->listening.channels);
	w->listening.channels = NULL;
}

/* ---- what each client must have been notified of ---- */

/* Behind each step: what was written to the client, and how far the commits had come. */
void listening_look(struct world *w, struct client *c)
{
	struct turn *t = &c->turns[c->n_turns];

	if (t->said != SIZE_MAX && t->answered == SIZE_MAX && buf_len(&c->out) > c->had)
		t->answered = w->listening.through;
	for (; c->looked + WIRE_HEAD <= buf_len(&c->out); c->looked += 1 + be32(buf_head(&c->out) + c->looked + 1))
		if (buf_head(&c->out)[c->looked] == 'Z' && c->n_turns + 1 < TURNS)
			c->turns[++c->n_turns] = (struct turn){ .told = w->cluster.n_log, .said = SIZE_MAX, .answered = SIZE_MAX };
}

/* It goes on. */
void listening_said(struct world *w, struct client *c)
{
	listening_look(w, c);
	if (c->turns[c->n_turns].said != SIZE_MAX)
		return;
	c->turns[c->n_turns].said = w->cluster.n_log;
	c->had = buf_len(&c->out);
}

/* Alone: what it listens to behind its ReadyForQuery number n, and has since the last one, always or now and then. */
void listening_alone(struct client *c, size_t n)
{
	struct model *m = &c->alone;

	if (n < TURNS) {
		c->turns[n].idle = !m->explicit_ && !m->implicit;
		c->turns[n].channels = m->explicit_ || m->implicit ? m->at_begin.channels : m->now.channels;
		c->turns[n].any = m->channels_any;
		c->turns[n].all = m->channels_all;
	}
	m->channels_any = m->channels_all = m->explicit_ || m->implicit ? m->at_begin.channels : m->now.channels;
}

static bool heard(const struct client *c, size_t at)
{
	return c->heard[at / 64] >> at % 64 & 1;
}

size_t listening_place(const uint8_t *message)
{
	const char *channel = (const char *)message + WIRE_HEAD + 4;

	return strtoul(strrchr(channel + strlen(channel) + 1, '#') + 1, NULL, 10);
}

/* CommandComplete of what has ended a transaction: in the middle of a batch PostgreSQL waits for the next message outside of any,
 * and tells what it has heard (ProcessClientReadInterrupt()). */
static bool has_ended(const uint8_t *m)
{
	const char *tag = (const char *)m + WIRE_HEAD;

	return *m == 'C' && (!strcmp(tag, "ROLLBACK") || !strcmp(tag, "COMMIT"));
}

/* Notifications in what it has read; false where one is out of place. */
static bool read_notes(struct world *w, struct client *c)
{
	size_t last = 0, len;
	char before = 'Z', status = 'I';
	bool late = false, ended = false;

	memset(c->heard, 0, sizeof c->heard);
	for (size_t at = 0; at + WIRE_HEAD <= buf_len(&c->out); at += 1 + len) {
		const uint8_t *m = buf_head(&c->out) + at;

		len = be32(m + 1);
		if (at + 1 + len > buf_len(&c->out))
			break;
		if (*m == 'A') {
			size_t i = listening_place(m) + 1;
			bool own = w->sender[i - 1] == client_no(w, c), said_own = be32(m + WIRE_HEAD) == c->alone.pid;

			if (i <= last)
				world_fail(w, "client %zu is notified twice, or not in order", client_no(w, c));
			if (said_own && !own)
				world_fail(w, "client %zu takes notification %zu for its own", client_no(w, c), i - 1);
			if (own && !said_own)
				world_fail(w, "client %zu is told its own notification %zu as another's", client_no(w, c), i - 1);
			counts[COUNT_OWN] += own;
			last = i;
			c->heard[(i - 1) / 64] |= 1ull << (i - 1) % 64;
			late = late || ((before != 'Z' || status != 'I') && !ended);
			counts[COUNT_NOTIFIED]++;
			continue;
		}
		if (*m == 'S' || *m == 'N')
			continue;
		if (late && (*m != 'Z' || m[WIRE_HEAD] != 'I'))
			world_fail(w, "client %zu is notified in the middle of something", client_no(w, c));
		late = false;
		ended = has_ended(m);
		before = (char)*m;
		status = *m == 'Z' ? (char)m[WIRE_HEAD] : status;
	}
	return !w->result->failed;
}

/* Committed while something of the client's was under way, up to where it is idle again: what it has listened to all the time
 * it must hear of, at any time it may. Returns where that is. */
static size_t in_between(const struct client *c, size_t k, unsigned bit, bool *must, bool *may)
{
	do {
		if (k == c->n_turns) {
			*must = false;
			*may = true;
			return k;
		}
		k++;
		*must = *must && c->turns[k].all >> bit & 1;
		*may = *may || c->turns[k].any >> bit & 1;
	} while (!c->turns[k].idle);
	return k;
}

/* It had not come through when the client was told more: to pgporter it may be from within what the client did then. */
static bool comes_late(const struct client *c, size_t k, size_t i)
{
	return c->turns[k].said != SIZE_MAX && (c->turns[k].answered == SIZE_MAX || i >= c->turns[k].answered);
}

void listening_compare(struct world *w, struct client *c)
{
	size_t k = 0, end = c->gone_at, rests;

	if (!read_notes(w, c) || c->listened_itself)
		return;
	for (size_t i = 0; i < w->cluster.n_log; i++) {
		unsigned bit;
		bool must, may;

		if (strlen(w->cluster.log[i].channel) > 1 || w->sender[i] == client_no(w, c)) /* its own are compared with what it reads alone */
			continue;
		bit = model_channel(w->cluster.log[i].channel);
		while (k < c->n_turns && c->turns[k + 1].told <= i)
			k++;
		must = may = c->turns[k].channels >> bit & 1;
		rests = k;
		if (i >= c->turns[k].said || !(k ? c->turns[k].idle : true))
			rests = in_between(c, k, bit, &must, &may);
		if (must && comes_late(c, rests, i))
			in_between(c, rests, bit, &must, &may);
		must = must && i < end && !(w->listening.died || c->fatal || (c->vanished && k == c->n_turns)) && c->n_turns + 1 < TURNS;
		if (must && !heard(c, i))
			world_fail(w, "client %zu is not told of notification %zu, on %s", client_no(w, c), i, w->cluster.log[i].channel);
		else if (!may && heard(c, i))
			world_fail(w, "client %zu is told of notification %zu, on %s, where it does not listen", client_no(w, c), i, w->cluster.log[i].channel);
		counts[COUNT_MUST_HEAR] += must;
	}
}
