#include "server/protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser/must.h"
#include "parser/reader.h"
#include "server/backend_conn.h"
#include "server/client.h"
#include "server/log.h"

enum {
	FIRST_WITH_3_2 = 18, /* PostgreSQL */
	LAST_WITH_2_0 = 13,
	FAILED_US = 1000 * 1000, /* how long a failure to ask counts */
};

struct protocol {
	struct db_pool pool; /* without limits, in no list; of one connection at most */
	bool answered;
	int64_t failed_us; /* 0: has not */
};

static void note(struct database *d, int minor)
{
	d->minor = minor < PROTOCOL_MINOR ? minor : PROTOCOL_MINOR;
	d->minor_known = true;
}

void protocol_reported(struct database *d, const char *server_version)
{
	d->server_major = atoi(server_version);
	note(d, d->server_major >= FIRST_WITH_3_2 ? PROTOCOL_MINOR : 0);
}

void protocol_forget(struct database *d)
{
	d->minor_known = false;
	d->server_major = 0;
	if (d->protocol)
		d->protocol->failed_us = 0;
}

void protocol_free(struct database *d)
{
	free(d->protocol);
	d->protocol = NULL;
}

bool protocol_used(const struct database *d)
{
	return d->protocol && pool_backends(&d->protocol->pool.pool);
}

/* ---- asking ---- */

static struct protocol *asking(struct worker *w, struct database *d)
{
	struct protocol *p = d->protocol;

	if (p)
		return p;
	p = d->protocol = must(calloc(1, sizeof *p));
	pool_init(&p->pool.pool, NULL, NULL);
	p->pool.worker = w;
	p->pool.database = d;
	p->pool.protocol = p;
	return p;
}

static bool may_ask(const struct worker *w, const struct database *d)
{
	return d->conf && !d->disabled && !d->paused && !w->paused && !w->shutdown;
}

/* Databases by '*' are on one server, whatever names clients make up: the first of them asks for all. */
static struct database *first_alike(const struct worker *w, const struct database *like)
{
	struct database *d;

	TAILQ_FOREACH (d, &w->databases, in)
		if (d->conf == like->conf)
			break;
	return d;
}

bool protocol_known(struct client *c)
{
	struct worker *w = c->worker;
	struct database *d = c->database, *first;
	struct protocol *p;

	if (!d || d->minor_known || !may_ask(w, d))
		return true;
	first = first_alike(w, d);
	if (first->minor_known) {
		d->server_major = first->server_major;
		note(d, first->minor);
		return true;
	}
	p = asking(w, first);
	if (p->failed_us && w->now_us - p->failed_us < FAILED_US)
		return true;
	c->state = CLIENT_PROTOCOL;
	c->database = NULL; /* which may not be there any more when the answer comes */
	if (!pool_backends(&p->pool.pool)) {
		p->answered = false;
		p->pool.user = pools_user(w, c->user_name);
		conn_open(&p->pool);
	}
	return false;
}

void protocol_ask(struct backend_conn *b, struct buf *out)
{
	buf_u32(out, 3 << 16 | PROTOCOL_ASKED);
	buf_u8(out, 0);
}

/* NegotiateProtocolVersion comes ahead of everything else, the complaint about the missing user too. */
void protocol_message(struct backend_conn *b, char type, const uint8_t *body, size_t len)
{
	struct database *d = b->pool->database;
	struct reader r = reader_of(body, len);
	uint32_t version = type == 'v' ? reader_u32(&r) : 0;

	if (!b->close_needed) { /* else it is of a server that the configuration names no more */
		note(d, version >> 16 == 3 ? (int)(version & 0xffff) : 0);
		b->pool->protocol->answered = true;
		conn_log(b, LOG_LEVEL_DEBUG, "asked which protocol it speaks: clients are answered in 3.%d", d->minor);
	}
	conn_close(b, "has said which protocol it speaks");
}

void protocol_lost(struct backend_conn *b, const char *reason)
{
	struct worker *w = b->worker;
	struct protocol *p = b->pool->protocol;
	struct client *c;

	if (!p->answered && !b->close_needed) {
		p->failed_us = w->now_us;
		conn_log(b, LOG_LEVEL_WARNING, "could not be asked which protocol it speaks, so it is 3.0: %s", reason);
	}
	TAILQ_FOREACH (c, &w->clients, in)
		if (c->state == CLIENT_PROTOCOL) /* some of them go on waiting */
			client_schedule(c);
}

/* ---- answering ---- */

static const char *next_option(struct reader *r)
{
	while (!r->bad && reader_left(r)) {
		const char *name = reader_str(r, NULL);

		if (reader_str(r, NULL) && !strncmp(name, "_pq_.", 5))
			return name;
	}
	return NULL;
}

static int newest(const struct client *c, bool console)
{
	if (console)
		return PROTOCOL_MINOR;
	return c->database && c->database->minor_known ? c->database->minor : 0;
}

void protocol_negotiate(struct client *c, bool console)
{
	struct reader all = reader_of(buf_head(&c->params), buf_len(&c->params)), r = all;
	int newest_minor = newest(c, console), asked = c->minor;
	struct buf *out;
	const char *name;
	uint32_t options = 0;
	size_t mark;

	while (next_option(&r))
		options++;
	c->minor = (uint16_t)(asked < newest_minor ? asked : newest_minor);
	if (asked == c->minor && !options)
		return;
	out = stream_out(&c->stream);
	mark = msg_begin(out, 'v');
	buf_u32(out, 3 << 16 | (uint32_t)c->minor);
	buf_u32(out, options);
	for (r = all; (name = next_option(&r));)
		buf_str(out, name);
	msg_end(out, mark);
}

/* A packet that is not of version 3 or later does not say for which database it is. */
void protocol_refuse(struct client *c)
{
	const struct database *d = c->database;
	int minor = d ? newest(c, false) : PROTOCOL_MINOR;
	bool two = d && d->server_major && d->server_major <= LAST_WITH_2_0;
	char text[100];

	snprintf(text, sizeof text, "unsupported frontend protocol %u.%u: server supports %s to 3.%d", c->major, c->minor, two ? "2.0" : "3.0", minor);
	if (c->major >= 3) {
		client_fail(c, "0A000", text, NULL, NULL);
		return;
	}
	/* As those versions have it: no length, no fields. */
	if (c->worker->config->log_pooler_errors)
		client_log(c, LOG_LEVEL_WARNING, "pooler error: %s", text);
	buf_text(stream_out(&c->stream), "EFATAL:  ");
	buf_text(stream_out(&c->stream), text);
	buf_add(stream_out(&c->stream), "\n", 2);
	client_close(c, text);
}
