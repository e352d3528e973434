#include "state/ledger.h"

#include <stdlib.h>
#include <string.h>

#include "state/prepared.h"

enum { LEDGER_SMALLEST = 16 };

void ledger_grow(struct ledger *l)
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

struct owed *ledger_at(struct ledger *l, size_t i)
{
	return &l->ring[(l->first + i) & (l->cap - 1)];
}

struct owed *ledger_last(struct ledger *l)
{
	return l->count ? ledger_at(l, l->count - 1) : NULL;
}

void ledger_give_back(struct owed *o)
{
	stmt_release(o->stmt);
	free(o->name);
	unnamed_free(o->before);
}

void ledger_drop_last(struct ledger *l)
{
	if (!l->count)
		abort();
	ledger_give_back(ledger_last(l));
	l->count--;
}

void ledger_release(struct ledger *l)
{
	while (l->count)
		ledger_pop(l);
	free(l->ring);
	memset(l, 0, sizeof *l);
}
