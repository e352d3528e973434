/* What statements reach by way of the catalogue: the set of what is known is the database's, shared by its sessions. */
#include <string.h>

#include "parser/watch.h"
#include "state/session_internal.h"

/* A procedure may commit and fail then: what it may have set is asked for, whatever becomes of it. */
void watch_sent(struct session *s, const struct stmt_effects *row)
{
	if (!(row->flags & TOUCH_COMMITS))
		return;
	for (size_t i = 0; i < row->n_touched; i++)
		if (row->touched[i].name && !row->touched[i].local) {
			session_touch(s, row->touched[i].name);
			s->txn.uncertain = s->txn.unsure = true;
		}
}

/* At once, though its transaction may be rolled back: the set may know too much, never too little. */
void watch_defined(struct session *s, const struct stmt_effects *row)
{
	if (!s->watch)
		return;
	if (!s->txn.defined)
		watch_hold(s->watch);
	s->txn.defined = true;
	for (size_t i = 0; i < row->n_defined; i++)
		watch_define(s->watch, row->defined[i].word, (enum watch_when)row->defined[i].when, row->defined[i].does);
}

void watch_settled(struct session *s, uint32_t *events)
{
	if (s->txn.defined)
		*events |= EVENT_CATALOGUE;
}

void watch_let_go(struct session *s)
{
	if (s->txn.defined)
		watch_unhold(s->watch);
	s->txn.defined = false;
}

static const struct effects *again(struct session *s, const uint8_t *tail, size_t len)
{
	return session_effects_of(s, (const char *)tail, strnlen((const char *)tail, len));
}

void watch_refresh(struct session *s, struct stmt *st)
{
	const struct effects *now;

	if (!st || !s->watch || st->watched == watch_version(s->watch) || st->substitute)
		return;
	st->watched = watch_version(s->watch);
	now = again(s, st->tail, st->tail_len);
	effects_release(st->effects);
	st->effects = now;
}

uint64_t watch_seen(const struct session *s)
{
	return s->watch ? watch_version(s->watch) : 0;
}

void watch_refresh_unnamed(struct session *s)
{
	struct unnamed_stmt *u = &s->unnamed;
	const struct effects *now;

	watch_refresh(s, u->target);
	if (!s->watch || !u->serial || u->unkept || u->substitute || u->watched == watch_version(s->watch))
		return;
	u->watched = watch_version(s->watch);
	u->lex_mode = session_lex_mode(s);
	now = again(s, buf_head(&u->tail), buf_len(&u->tail));
	effects_release(u->effects);
	u->effects = now;
}
