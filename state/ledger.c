#include "state/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "state/prepared.h"

enum { LEDGER_SMALLEST = 16 };

static void ledger_grow(struct ledger *l)
{
	size_t cap = l->cap ? l->cap * 2 : LEDGER_SMALLEST;
	struct owed *ring = calloc(cap, sizeof *ring);

	if (!ring)
		abort();
	for (size_t i = 0; i < l->count; i++)
		ring[i] = l->ring[(l->first + i) & (l->cap - 1)];
	free(l->ring);
	l->ring = ring;
	l->cap = cap;
	l->first = 0;
}

struct owed *ledger_push(struct ledger *l, enum owed_kind kind, bool ours)
{
	struct owed *o;

	if (l->count == l->cap)
		ledger_grow(l);
	o = &l->ring[(l->first + l->count) & (l->cap - 1)];
	memset(o, 0, sizeof *o);
	o->kind = kind;
	o->ours = ours;
	l->count++;
	return o;
}

struct owed *ledger_head(struct ledger *l)
{
	return l->count ? &l->ring[l->first] : NULL;
}

struct owed *ledger_at(struct ledger *l, size_t i)
{
	return &l->ring[(l->first + i) & (l->cap - 1)];
}

struct owed *ledger_last(struct ledger *l)
{
	return l->count ? ledger_at(l, l->count - 1) : NULL;
}

static void give_back(struct owed *o)
{
	if (!o)
		abort();
	stmt_release(o->stmt);
	free(o->name);
	unnamed_free(o->before);
}

void ledger_drop_last(struct ledger *l)
{
	give_back(ledger_last(l));
	l->count--;
}

void ledger_pop(struct ledger *l)
{
	give_back(ledger_head(l));
	l->first = (l->first + 1) & (l->cap - 1);
	l->count--;
}

void ledger_release(struct ledger *l)
{
	while (l->count)
		ledger_pop(l);
	free(l->ring);
	memset(l, 0, sizeof *l);
}
