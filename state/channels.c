#include "state/channels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser/hash.h"
#include "parser/must.h"

enum { SLOTS = 1024, ASK_AT_ONCE = 500 };

enum heard {
	HEARD_NOT, /* not listened to */
	HEARD_ASKED,   /* LISTEN was sent */
	HEARD_YES,
	HEARD_LEAVING, /* UNLISTEN was sent */
};

struct channel {
	struct channel *next; /* in its slot */
	TAILQ_ENTRY(channel) in; /* due or asked */
	struct subscriptions listeners;
	unsigned reserved;
	enum heard heard;
	bool due;   /* in `due` */
	bool stale; /* nobody wanted it at the last sweep */
	char name[];
};
TAILQ_HEAD(channel_list, channel);

struct channels {
	char *marker;
	enum channels_state state;
	struct channel *slots[SLOTS];
	struct subscriber *by_serial[SLOTS];
	struct subscribers subscribers, waiting, own;
	uint64_t sync_wanted, sync_asked, sync_heard; /* numbers of markers of its own */
	struct channel_list due, asked;
};

struct channels *channels_new(const char *marker)
{
	struct channels *c = must(calloc(1, sizeof *c));

	c->marker = must(strdup(marker));
	TAILQ_INIT(&c->subscribers);
	TAILQ_INIT(&c->waiting);
	TAILQ_INIT(&c->own);
	TAILQ_INIT(&c->due);
	TAILQ_INIT(&c->asked);
	return c;
}

const char *channels_marker(const struct channels *c)
{
	return c->marker;
}

enum channels_state channels_state(const struct channels *c)
{
	return c->state;
}

bool channels_in_use(const struct channels *c)
{
	return !TAILQ_EMPTY(&c->subscribers);
}

const struct subscribers *channels_subscribers(const struct channels *c)
{
	return &c->subscribers;
}

/* ---- channels ---- */

static struct channel **slot_of(struct channels *c, const char *name)
{
	return &c->slots[hash_bytes(name, strlen(name), 0) % SLOTS];
}

static struct channel *channel_find(struct channels *c, const char *name)
{
	struct channel *ch = *slot_of(c, name);

	while (ch && strcmp(ch->name, name))
		ch = ch->next;
	return ch;
}

static struct channel *channel_get(struct channels *c, const char *name)
{
	struct channel *ch = channel_find(c, name), **slot = slot_of(c, name);

	if (ch)
		return ch;
	ch = must(calloc(1, sizeof *ch + strlen(name) + 1));
	memcpy(ch->name, name, strlen(name) + 1);
	TAILQ_INIT(&ch->listeners);
	ch->next = *slot;
	*slot = ch;
	return ch;
}

static bool wanted(const struct channel *ch)
{
	return ch->reserved || !TAILQ_EMPTY(&ch->listeners);
}

static void set_due(struct channels *c, struct channel *ch, bool due)
{
	if (ch->due == due)
		return;
	ch->due = due;
	if (due)
		TAILQ_INSERT_TAIL(&c->due, ch, in);
	else
		TAILQ_REMOVE(&c->due, ch, in);
}

static void channel_drop(struct channels *c, struct channel *ch)
{
	struct channel **at = slot_of(c, ch->name);

	set_due(c, ch, false);
	while (*at != ch)
		at = &(*at)->next;
	*at = ch->next;
	free(ch);
}

/* Somebody has come or gone. One that is listened to is left to channels_sweep(): whoever leaves may be back at once. */
static void channel_changed(struct channels *c, struct channel *ch)
{
	ch->stale = false;
	if (ch->heard != HEARD_NOT)
		return;
	if (wanted(ch))
		set_due(c, ch, true);
	else
		channel_drop(c, ch);
}

const struct subscriptions *channels_listeners(struct channels *c, const char *name)
{
	struct channel *ch = channel_find(c, name);

	return ch ? &ch->listeners : NULL;
}

/* ---- subscribers ---- */

struct subscriber *subscriber_new(struct channels *c, uint64_t serial, void *owner)
{
	struct subscriber *s = must(calloc(1, sizeof *s)), **slot = &c->by_serial[serial % SLOTS];

	s->channels = c;
	s->serial = serial;
	s->owner = owner;
	TAILQ_INIT(&s->to);
	TAILQ_INSERT_TAIL(&c->subscribers, s, in);
	s->next_by_serial = *slot;
	*slot = s;
	return s;
}

static void subscription_end(struct subscription *sub)
{
	struct channel *ch = sub->channel;
	struct channels *c = sub->who->channels;

	TAILQ_REMOVE(&ch->listeners, sub, in_channel);
	TAILQ_REMOVE(&sub->who->to, sub, in_subscriber);
	free(sub);
	channel_changed(c, ch);
}

void subscriber_linked(struct subscriber *s)
{
	if (s->own)
		TAILQ_REMOVE(&s->channels->own, s, in_own);
	s->own = s->stays = false;
	s->sync = 0;
}

void subscriber_settle(struct subscriber *s)
{
	for (size_t i = 0; i < s->n_reserved; i++) {
		s->reserved[i]->reserved--;
		channel_changed(s->channels, s->reserved[i]);
	}
	s->n_reserved = 0;
	free(s->reserved);
	s->reserved = NULL;
	subscriber_linked(s);
}

static void stop_waiting(struct subscriber *s)
{
	if (s->waiting)
		TAILQ_REMOVE(&s->channels->waiting, s, in_waiting);
	s->waiting = false;
}

void subscriber_free(struct subscriber *s)
{
	struct subscriber **at;

	if (!s)
		return;
	subscriber_settle(s);
	while (!TAILQ_EMPTY(&s->to))
		subscription_end(TAILQ_FIRST(&s->to));
	stop_waiting(s);
	TAILQ_REMOVE(&s->channels->subscribers, s, in);
	for (at = &s->channels->by_serial[s->serial % SLOTS]; *at != s; at = &(*at)->next_by_serial)
		;
	*at = s->next_by_serial;
	free(s);
}

void channels_free(struct channels *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < SLOTS; i++)
		while (c->slots[i]) {
			struct channel *ch = c->slots[i];

			c->slots[i] = ch->next;
			free(ch);
		}
	free(c->marker);
	free(c);
}

static struct subscription *subscription_find(const struct subscriber *s, const char *name)
{
	struct subscription *sub;

	TAILQ_FOREACH (sub, &s->to, in_subscriber)
		if (!strcmp(sub->channel->name, name))
			return sub;
	return NULL;
}

bool subscriber_listens(const struct subscriber *s, const char *name)
{
	return subscription_find(s, name);
}

const char *subscriber_channel(const struct subscriber *s, size_t i)
{
	const struct subscription *sub;

	TAILQ_FOREACH (sub, &s->to, in_subscriber)
		if (!i--)
			return sub->channel->name;
	return NULL;
}

static void subscribe(struct subscriber *s, const char *name, uint64_t n)
{
	struct subscription *sub = subscription_find(s, name);

	if (!sub) {
		sub = must(calloc(1, sizeof *sub));
		sub->who = s;
		sub->channel = channel_get(s->channels, name);
		TAILQ_INSERT_TAIL(&sub->channel->listeners, sub, in_channel);
		TAILQ_INSERT_TAIL(&s->to, sub, in_subscriber);
		channel_changed(s->channels, sub->channel);
	}
	sub->n = n;
}

void subscriber_unlisten(struct subscriber *s, const char *name)
{
	struct subscription *sub = subscription_find(s, name);

	if (sub)
		subscription_end(sub);
}

void subscriber_unlisten_all(struct subscriber *s, uint64_t before)
{
	struct subscription *sub, *next;

	for (sub = TAILQ_FIRST(&s->to); sub; sub = next) {
		next = TAILQ_NEXT(sub, in_subscriber);
		if (sub->n < before)
			subscription_end(sub);
	}
}

static enum channel_answer wait_for(struct subscriber *s)
{
	if (!s->waiting)
		TAILQ_INSERT_TAIL(&s->channels->waiting, s, in_waiting);
	s->waiting = true;
	return CHANNEL_PENDING;
}

enum channel_answer channels_wait_up(struct subscriber *s)
{
	switch (s->channels->state) {
	case CHANNELS_UP:
		return CHANNEL_READY;
	case CHANNELS_REFUSED:
		return CHANNEL_REFUSED;
	case CHANNELS_DOWN:
		break;
	}
	return wait_for(s);
}

static void reserve(struct subscriber *s, struct channel *ch)
{
	for (size_t i = 0; i < s->n_reserved; i++)
		if (s->reserved[i] == ch)
			return;
	s->reserved = must(realloc(s->reserved, (s->n_reserved + 1) * sizeof *s->reserved));
	s->reserved[s->n_reserved++] = ch;
	ch->reserved++;
	channel_changed(s->channels, ch);
}

enum channel_answer channels_reserve(struct subscriber *s, const char *name)
{
	struct channel *ch;

	if (s->channels->state == CHANNELS_REFUSED)
		return CHANNEL_REFUSED;
	ch = channel_get(s->channels, name);
	reserve(s, ch);
	return s->channels->state == CHANNELS_UP && ch->heard == HEARD_YES ? CHANNEL_READY : wait_for(s);
}

enum channel_answer channels_reserve_within(struct subscriber *s, const char *name)
{
	struct channels *c = s->channels;
	enum channel_answer answer = channels_reserve(s, name);

	s->stays = false;
	if (answer == CHANNEL_REFUSED || s->own)
		return answer;
	if (!s->sync)
		s->sync = ++c->sync_wanted;
	if (answer == CHANNEL_PENDING || c->sync_heard < s->sync) {
		s->stays = answer == CHANNEL_READY;
		return wait_for(s);
	}
	s->own = true;
	TAILQ_INSERT_TAIL(&c->own, s, in_own);
	return CHANNEL_READY;
}

static bool has_reserved(const struct subscriber *s, const char *name)
{
	for (size_t i = 0; i < s->n_reserved; i++)
		if (!strcmp(s->reserved[i]->name, name))
			return true;
	return false;
}

struct subscriber *channels_within(struct channels *c, struct subscriber *after, const char *name)
{
	struct subscriber *s = after ? TAILQ_NEXT(after, in_own) : TAILQ_FIRST(&c->own);

	while (s && (!has_reserved(s, name) || subscription_find(s, name)))
		s = TAILQ_NEXT(s, in_own);
	return s;
}

/* ---- markers ---- */

uint64_t marker_new(struct subscriber *s, char op, const char *name, char payload[static MARKER_MAX])
{
	uint64_t n = ++s->last_n;

	snprintf(payload, MARKER_MAX, "%llu %llu %c%s", (unsigned long long)s->serial, (unsigned long long)n, op, name ? name : "");
	return n;
}

static void marker_apply(struct subscriber *s, uint64_t n, const char *op)
{
	switch (*op) {
	case '+':
		subscribe(s, op + 1, n);
		break;
	case '-':
		subscriber_unlisten(s, op + 1);
		break;
	case '*':
		subscriber_unlisten_all(s, strtoull(op + 1, NULL, 10));
		break;
	default:
		break;
	}
}

bool channels_own_marker(const char *payload)
{
	return !strncmp(payload, "0 ", 2);
}

uint64_t marker_serial(const char *payload)
{
	return strtoull(payload, NULL, 10);
}

struct subscriber *channels_marked(struct channels *c, const char *payload)
{
	char *end;
	uint64_t serial = strtoull(payload, &end, 10), n = strtoull(end, &end, 10);
	struct subscriber *s = c->by_serial[serial % SLOTS];

	if (channels_own_marker(payload) && n > c->sync_heard)
		c->sync_heard = n;
	while (s && s->serial != serial)
		s = s->next_by_serial;
	if (!s || *end != ' ')
		return NULL;
	marker_apply(s, n, end + 1);
	if (n > s->heard_n)
		s->heard_n = n;
	return s;
}

/* ---- the connection's side ---- */

void channels_put_name(struct buf *sql, const char *name)
{
	buf_u8(sql, '"');
	for (; *name; name++) {
		if (*name == '"')
			buf_u8(sql, '"');
		buf_u8(sql, (uint8_t)*name);
	}
	buf_u8(sql, '"');
}

/* Returns false if there is nothing to be asked after all. */
static bool ask_one(struct channels *c, struct channel *ch, struct buf *sql)
{
	bool want = wanted(ch);

	set_due(c, ch, false);
	if (ch->heard == HEARD_NOT && !want) {
		channel_drop(c, ch);
		return false;
	}
	if ((ch->heard == HEARD_YES) == want)
		return false;
	buf_text(sql, want ? "LISTEN " : "UNLISTEN ");
	channels_put_name(sql, ch->name);
	buf_u8(sql, ';');
	ch->heard = want ? HEARD_ASKED : HEARD_LEAVING;
	TAILQ_INSERT_TAIL(&c->asked, ch, in);
	return true;
}

bool channels_ask(struct channels *c, struct buf *sql)
{
	int n = 0;

	if (c->state != CHANNELS_UP || !TAILQ_EMPTY(&c->asked))
		return false;
	while (!TAILQ_EMPTY(&c->due) && n < ASK_AT_ONCE)
		n += ask_one(c, TAILQ_FIRST(&c->due), sql);
	if (c->sync_asked < c->sync_wanted) {
		c->sync_asked = c->sync_wanted;
		buf_printf(sql, "SELECT pg_catalog.pg_notify('%s','0 %llu .');", c->marker, (unsigned long long)c->sync_asked);
		n++;
	}
	return n > 0;
}

void channels_answered(struct channels *c)
{
	struct channel *ch;

	while ((ch = TAILQ_FIRST(&c->asked))) {
		TAILQ_REMOVE(&c->asked, ch, in);
		ch->heard = ch->heard == HEARD_ASKED ? HEARD_YES : HEARD_NOT;
		channel_changed(c, ch);
	}
}

bool channels_due(const struct channels *c)
{
	return !TAILQ_EMPTY(&c->due) || !TAILQ_EMPTY(&c->asked) || c->sync_asked < c->sync_wanted;
}

void channels_up(struct channels *c)
{
	c->state = CHANNELS_UP;
}

void channels_down(struct channels *c)
{
	struct subscriber *s;

	c->state = CHANNELS_DOWN;
	c->sync_asked = c->sync_heard;
	while (!TAILQ_EMPTY(&c->asked))
		TAILQ_REMOVE(&c->asked, TAILQ_FIRST(&c->asked), in);
	for (size_t i = 0; i < SLOTS; i++)
		for (struct channel *ch = c->slots[i], *next; ch; ch = next) {
			next = ch->next;
			ch->heard = HEARD_NOT;
			channel_changed(c, ch);
		}
	TAILQ_FOREACH (s, &c->subscribers, in)
		s->gap = s->gap || !TAILQ_EMPTY(&s->to);
}

void channels_refuse(struct channels *c)
{
	c->state = CHANNELS_REFUSED;
}

struct subscriber *channels_next_waiting(struct channels *c)
{
	struct subscriber *s = TAILQ_FIRST(&c->waiting);

	if (s)
		stop_waiting(s);
	return s;
}

bool channels_awaited(const struct channels *c)
{
	return !TAILQ_EMPTY(&c->waiting);
}

void channels_sweep(struct channels *c)
{
	for (size_t i = 0; i < SLOTS; i++)
		for (struct channel *ch = c->slots[i]; ch; ch = ch->next) {
			if (ch->heard != HEARD_YES || wanted(ch))
				continue;
			if (ch->stale)
				set_due(c, ch, true);
			ch->stale = true;
		}
}
