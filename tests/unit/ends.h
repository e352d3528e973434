/* tests/unit/ends.h — both ends of a connection as streams on one event base, with owners that count what they hear
 * and hooks to act inside of a callback; a deadline instead of sleeps. Included by the tests of streams. */
#ifndef PGPORTER_TESTS_ENDS_H
#define PGPORTER_TESTS_ENDS_H

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/stream.h"

#pragma GCC diagnostic ignored "-Wunused-function"

/* A stream with an owner that counts what it hears; hooks make it act inside of the callback. */
struct end {
	struct stream s;
	struct world *w;
	int readables, draineds, readies, closeds;
	char reason[160];
	void (*on_readable)(struct end *e);
	void (*on_drained)(struct end *e);
	void (*on_ready)(struct end *e);
	void (*on_closed)(struct end *e);
	size_t swallowed; /* bytes consumed by swallow() */
	size_t wanted;
	bool entered;
};

struct world {
	struct event_base *base;
	struct stream_pool pool;
	struct stream_loop home;
	struct event *deadline;
	bool late;
	struct end a, b;
};

static void enter(struct end *e)
{
	assert_false(e->entered); /* an owner is never entered twice */
}

static void readable(void *owner)
{
	struct end *e = owner;

	enter(e);
	e->readables++;
	if (e->on_readable)
		e->on_readable(e);
}

static void drained(void *owner)
{
	struct end *e = owner;

	enter(e);
	e->draineds++;
	if (e->on_drained)
		e->on_drained(e);
}

static void ready(void *owner)
{
	struct end *e = owner;

	enter(e);
	e->readies++;
	if (e->on_ready)
		e->on_ready(e);
}

static void closed(void *owner, const char *reason)
{
	struct end *e = owner;

	enter(e);
	e->closeds++;
	snprintf(e->reason, sizeof e->reason, "%s", reason);
	if (e->on_closed)
		e->on_closed(e);
}

static const struct stream_owner_ops ops = {readable, drained, ready, closed};

static void too_late(evutil_socket_t fd, short what, void *arg)
{
	struct world *w = arg;

	w->late = true;
	event_base_loopbreak(w->base);
}

static void stop(struct end *e)
{
	event_base_loopbreak(e->w->base);
}

static void consume_all(struct end *e)
{
	e->swallowed += buf_len(&e->s.in);
	buf_consume(&e->s.in, buf_len(&e->s.in));
}

static void swallow(struct end *e)
{
	consume_all(e);
	if (e->swallowed >= e->wanted)
		stop(e);
}

static void run(struct world *w)
{
	event_base_dispatch(w->base);
	assert_false(w->late);
}

/* Lets the loop do all that is to be done now, and no more. */
static void settle(struct world *w)
{
	for (int i = 0; i < 8; i++)
		event_base_loop(w->base, EVLOOP_NONBLOCK);
	assert_false(w->late);
}

static int setup(void **state)
{
	static const struct timeval limit = {10, 0};
	struct world *w = calloc(1, sizeof *w);

	w->base = event_base_new();
	w->home = (struct stream_loop){ .base = w->base, .pool = &w->pool };
	w->deadline = evtimer_new(w->base, too_late, w);
	evtimer_add(w->deadline, &limit);
	w->a.w = w->b.w = w;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	stream_release(&w->a.s);
	stream_release(&w->b.s);
	stream_pool_release(&w->pool);
	event_free(w->deadline);
	event_base_free(w->base);
	free(w);
	return 0;
}

static void make_pair(struct world *w)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	stream_init(&w->a.s, &w->home, fds[0], false, &ops, &w->a);
	stream_init(&w->b.s, &w->home, fds[1], false, &ops, &w->b);
}

static void say(struct end *e, const char *text)
{
	buf_text(stream_out(&e->s), text);
	assert_true(stream_flush(&e->s));
}

static void assert_in(struct end *e, const char *text)
{
	assert_int_equal(buf_len(&e->s.in), strlen(text));
	assert_memory_equal(buf_head(&e->s.in), text, strlen(text));
}

static void fill(struct end *e, size_t n)
{
	uint8_t *room = buf_room(&e->s.out, n);

	for (size_t i = 0; i < n; i++)
		room[i] = (uint8_t)(i % 251);
	buf_commit(&e->s.out, n);
}

static void release_it(struct end *e)
{
	stream_release(&e->s);
	memset(&e->s, 0xee, sizeof e->s); /* whoever touches it now is found out */
	e->s.home = NULL;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
