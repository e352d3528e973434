/* What a client has read beside what it would have read alone. */
#include "tests/sim/sim_internal.h"

#include <stdlib.h>
#include <string.h>

#include "parser/report.h"
#include "parser/wire.h"
#include "tests/script.h"

/* A ReadyForQuery was written. */
static bool ends_turn(const struct buf *out, size_t *looked)
{
	bool any = false;

	for (; *looked < buf_len(out); *looked += 1 + be32(buf_head(out) + *looked + 1))
		any |= buf_head(out)[*looked] == 'Z';
	return any;
}

void compare_play_alone(struct world *w, struct client *c, const struct sim_client *program)
{
	struct buf all = { 0 };
	size_t message = 0, turn = 0, looked = 0;

	for (size_t u = 0; u < program->n_units; u++)
		script_put(&all, program->units[u]);
	script_put(&all, ENDING);
	for (size_t at = 0; at < buf_len(&all); message++) {
		size_t len = 1 + be32(buf_head(&all) + at + 1);

		for (size_t i = 0; i < c->n_cancelled; i++)
			if (c->cancelled[i] == message)
				c->alone.cancelled = true;
		for (size_t i = 0; i < c->n_failures; i++)
			if (c->failures[i].message == message && !c->failures[i].len) {
				model_forget_numbers(&c->alone);
			} else if (c->failures[i].message == message) {
				c->alone.failure = buf_head(&c->failed) + c->failures[i].at;
				c->alone.failure_len = c->failures[i].len;
				c->alone.failure_begun = c->failures[i].refused && buf_head(&all)[at] == 'Q';
			}
		buf_add(&c->alone.in, buf_head(&all) + at, len);
		model_turn(&c->alone);
		if (ends_turn(&c->alone.out, &looked))
			listening_alone(c, ++turn);
		at += len;
	}
	buf_release(&all);
	counts[COUNT_STATEMENTS] += c->alone.statements;
	counts[COUNT_MESSAGES] += message;
	if (*c->alone.complaint)
		world_fail(w, "client %zu alone: %s", client_no(w, c), c->alone.complaint);
}

/* The messages of a transcript, ParameterStatus put before the ReadyForQuery they come before, the last of each name, by
 * name: in which order they are told is nobody's to rely on. Likewise notifications: behind a COMMIT in a batch they come when PostgreSQL
 * has nothing else to read (listening_compare() sees where they may come). As PostgreSQL 13 tells them (at_once), one that says what is
 * known is left out: there a value goes to and fro within a statement. */
struct message {
	const uint8_t *at;
	size_t len;
};

enum { MESSAGES = 4096 };

struct transcript {
	size_t n;
	struct message m[MESSAGES];
};

static int by_name(const void *a, const void *b)
{
	return strcmp((const char *)((const struct message *)a)->at + WIRE_HEAD, (const char *)((const struct message *)b)->at + WIRE_HEAD);
}

static bool known(const struct settings *told, const struct message *m)
{
	const char *name = (const char *)m->at + WIRE_HEAD, *value = settings_get(told, name);

	return value && !strcmp(value, name + strlen(name) + 1);
}

/* Of notifications only its own are those that it would have had alone. Which WARNING tells of a gap is not asked. */
static bool is_others(const struct world *w, const struct client *c, const uint8_t *m, size_t len, bool alone)
{
	bool died = w->listening.died;

	if (*m == 'N' && died)
		return !strcmp(report_field(m + WIRE_HEAD, len - WIRE_HEAD, 'M'), "notifications may have been missed");
	return *m == 'A' && (died || (!alone && w->sender[listening_place(m)] != client_no(w, c)));
}

static void transcript_of(struct world *w, struct client *c, struct transcript *t, const struct buf *b)
{
	const struct settings *greeted = c->s.base_reported;
	bool at_once = w->p->at_once;
	const struct settings *told = settings_retain(greeted);
	struct message statuses[64], notes[MODEL_LOG];
	size_t n_statuses = 0, n_notes = 0;

	t->n = 0;
	for (size_t at = 0; at + WIRE_HEAD <= buf_len(b) && t->n + 64 + MODEL_LOG < MESSAGES;) {
		const uint8_t *m = buf_head(b) + at;
		size_t len = 1 + be32(m + 1);

		if (at + len > buf_len(b))
			break;
		at += len;
		if (is_others(w, c, m, len, b == &c->alone.out))
			continue;
		if (*m == 'A') {
			notes[n_notes++] = (struct message){ m, len };
			continue;
		}
		if (*m == 'S') {
			size_t i = 0;

			while (i < n_statuses && strcmp((const char *)statuses[i].at + WIRE_HEAD, (const char *)m + WIRE_HEAD))
				i++;
			if (i < n_statuses || n_statuses < 64)
				statuses[i] = (struct message){ m, len };
			n_statuses += i == n_statuses && i < 64;
			continue;
		}
		if (*m == 'Z') {
			qsort(statuses, n_statuses, sizeof *statuses, by_name);
			for (size_t i = 0; i < n_statuses; i++) {
				const char *name = (const char *)statuses[i].at + WIRE_HEAD;

				if (at_once && known(told, &statuses[i]))
					continue;
				settings_set(&told, name, name + strlen(name) + 1);
				t->m[t->n++] = statuses[i];
			}
			n_statuses = 0;
			for (size_t i = 0; i < n_notes; i++)
				t->m[t->n++] = notes[i];
			n_notes = 0;
		}
		t->m[t->n++] = (struct message){ m, len };
	}
	settings_release(told);
}

static bool same(const struct message *a, const struct message *b)
{
	bool note = *a->at == 'A'; /* but for its place among all, and by whom it is said to be: listening_compare() */
	size_t from = note ? WIRE_HEAD + 4 : 0, to = note ? a->len - MODEL_SUFFIX - 1 : a->len;

	return a->len == b->len && *a->at == *b->at && !memcmp(a->at + from, b->at + from, to - from);
}

/* The one error that a direct connection does not give: the role to be restored is no more. */
static bool not_restored(const struct world *w, const struct message *m)
{
	const char *text = *m->at == 'E' ? report_field(m->at + WIRE_HEAD, m->len - WIRE_HEAD, 'M') : NULL;

	return text && w->cluster.roles_gone && !strncmp(text, "could not restore", 17);
}

void compare_client(struct world *w, struct client *c)
{
	static struct transcript got, want;
	bool whole = !c->vanished && !c->fatal;

	if (whole && buf_len(&c->out) == buf_len(&c->alone.out) && !memcmp(buf_head(&c->out), buf_head(&c->alone.out), buf_len(&c->out)))
		return;
	transcript_of(w, c, &got, &c->out);
	transcript_of(w, c, &want, &c->alone.out);
	for (size_t i = 0; i < got.n; i++) {
		if (not_restored(w, &got.m[i])) {
			counts[COUNT_NOT_RESTORED]++;
			return;
		}
		if (c->fatal && i + 1 == got.n && *got.m[i].at == 'E' && !strcmp(report_field(got.m[i].at + WIRE_HEAD, got.m[i].len - WIRE_HEAD, 'V'), "FATAL"))
			return;
		if (i >= want.n || !same(&got.m[i], &want.m[i])) {
			world_fail(w, "client %zu reads something else than alone, at its message %zu", client_no(w, c), i);
			return;
		}
	}
	if (whole && got.n != want.n)
		world_fail(w, "client %zu reads %zu messages, alone %zu", client_no(w, c), got.n, want.n);
}
