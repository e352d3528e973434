/* Effects that are owned. */
#include "parser/effects_internal.h"

#include <stdlib.h>
#include <string.h>

struct held *held_new(void)
{
	struct held *h = calloc(1, sizeof *h);

	if (!h)
		abort();
	h->refs = 1;
	h->bytes = sizeof *h;
	return h;
}

void held_row_clear(struct stmt_effects *row)
{
	for (size_t i = 0; i < row->n_touched; i++)
		free(row->touched[i].name);
	free(row->touched);
	for (size_t i = 0; i < row->n_places; i++)
		free(row->places[i].name);
	free(row->places);
	for (size_t i = 0; i < row->n_defined; i++) {
		free(row->defined[i].word);
		watch_effect_release(row->defined[i].does);
		free(row->defined[i].does);
	}
	free(row->defined);
	free(row->name);
	free(row->value);
}

void held_free(struct held *h)
{
	for (size_t i = 0; i < h->e.n; i++)
		held_row_clear(&h->e.stmts[i]);
	free(h->e.stmts);
	free(h);
}

struct stmt_effects *held_row(struct held *h)
{
	if (h->e.n == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 1;
		h->e.stmts = reallocarray(h->e.stmts, h->cap, sizeof h->e.stmts[0]);
		if (!h->e.stmts)
			abort();
		h->bytes = h->bytes + (h->cap - h->e.n) * sizeof h->e.stmts[0];
	}
	memset(&h->e.stmts[h->e.n], 0, sizeof h->e.stmts[0]);
	return &h->e.stmts[h->e.n++];
}

char *held_copy(struct held *h, const char *s, size_t n)
{
	char *copy = malloc(n + 1);

	if (!copy)
		abort();
	memcpy(copy, s, n);
	copy[n] = 0;
	h->bytes += n + 1;
	return copy;
}
