/* Pins as the clock sees them: since when, for how long in sum, by which statement; and the tables that show it. */
#include <stdlib.h>
#include <string.h>

#include "server/backend_conn.h"
#include "server/console_internal.h"

static struct pin_total *total_of(struct db_pool *p, int reason)
{
	if (!p->pin_totals[reason] && !(p->pin_totals[reason] = calloc(1, sizeof *p->pin_totals[reason])))
		abort();
	return p->pin_totals[reason];
}

static void note_reasons(struct client *c, uint32_t pins)
{
	int64_t now = c->worker->now_us;

	if (!c->pin_since_us && !(c->pin_since_us = calloc(PIN_REASONS, sizeof *c->pin_since_us)))
		abort();
	for (int i = 0; i < PIN_REASONS; i++) {
		uint32_t bit = 1u << i;

		if (pins & bit && !(c->known_pins & bit)) {
			c->pin_since_us[i] = now;
			pin_total_begin(total_of(c->pool, i), c->session.pin_text ? c->session.pin_text : "");
		} else if (!(pins & bit) && c->known_pins & bit) {
			pin_total_end(total_of(c->pool, i), now - c->pin_since_us[i]);
		}
	}
	c->known_pins = pins;
}

void client_pins_changed(struct client *c)
{
	uint32_t pins = c->session.pins;

	if (pins != c->known_pins)
		note_reasons(c, pins);
	if (pins && !c->pinned_us) {
		c->pinned_us = c->worker->now_us;
		c->pin_logged = false;
	} else if (!pins) {
		c->pinned_us = 0;
	}
	if (!pins || !c->backend || c->backend->node.pinned)
		return;
	pool_pin(&c->backend->node);
	if (c->pool->pool.pin_size > 0)
		pools_serve(c->pool); /* there may be room in pool_size now */
}

void client_pins_gone(struct client *c)
{
	if (c->known_pins)
		note_reasons(c, 0);
}

/* ---- SHOW PINS_TOTALS ---- */

/* The longest that a pin of this reason has lasted so far, and what all that are not over add up to. */
static void still_held(const struct db_pool *p, int reason, int64_t *sum_us, int64_t *longest_us)
{
	const struct worker *w = p->worker;
	const struct client *c;

	TAILQ_FOREACH (c, &w->clients, in) {
		int64_t age;

		if (c->pool != p || !(c->known_pins & 1u << reason))
			continue;
		age = w->now_us - c->pin_since_us[reason];
		*sum_us += age;
		if (age > *longest_us)
			*longest_us = age;
	}
}

static void total_row(struct table *t, const struct db_pool *p, int reason)
{
	const struct pin_total *total = p->pin_totals[reason];
	const struct pin_cause *most = pin_total_most(total);
	int64_t sum_us = total->total_us, longest_us = total->longest_us;

	still_held(p, reason, &sum_us, &longest_us);
	table_row(t);
	cell_text(t, p->database->name);
	cell_text(t, p->user->name);
	cell_text(t, pin_reason_name(1u << reason));
	cell_int(t, total->now);
	cell_int(t, (int64_t)total->ever);
	cell_format(t, "%.3f", (double)sum_us / 1e6);
	cell_format(t, "%.3f", (double)longest_us / 1e6);
	cell_format(t, "%016llx", (unsigned long long)most->fingerprint);
	cell_int(t, (int64_t)most->count);
	cell_text(t, most->text);
}

void show_pins_totals(struct client *c)
{
	const struct database *d;
	const struct pool *at;
	struct table t;

	table_begin(&t, console_out(c),
		    "database:s user:s reason:s now:i total_pins:N total_seconds:N longest_seconds:N fingerprint:s fingerprint_pins:N "
		    "statement:s");
	TAILQ_FOREACH (d, &c->worker->databases, in)
		TAILQ_FOREACH (at, &d->pools, in_database)
			for (int i = 0; i < PIN_REASONS; i++)
				if (((const struct db_pool *)at)->pin_totals[i])
					total_row(&t, (const struct db_pool *)at, i);
	table_end(&t);
	console_done(c, "SHOW");
}

/* ---- SHOW SETTINGS ---- */

struct use {
	const struct settings *settings;
	int clients, servers;
};

struct uses {
	struct use *list;
	size_t n, cap;
};

static void use_add(struct uses *u, const struct settings *s, bool server)
{
	if (u->n == u->cap) {
		u->cap = u->cap ? u->cap * 2 : 64;
		u->list = realloc(u->list, u->cap * sizeof *u->list);
		if (!u->list)
			abort();
	}
	u->list[u->n++] = (struct use){ .settings = s, .clients = !server, .servers = server };
}

static int by_pointer(const void *a, const void *b)
{
	const struct use *x = a, *y = b;

	return ((uintptr_t)x->settings > (uintptr_t)y->settings) - ((uintptr_t)x->settings < (uintptr_t)y->settings);
}

static int by_count(const void *a, const void *b)
{
	const struct use *x = a, *y = b;

	return (y->clients > x->clients) - (y->clients < x->clients);
}

static void uses_sum_up(struct uses *u)
{
	size_t kept = 0;

	qsort(u->list, u->n, sizeof *u->list, by_pointer);
	for (size_t i = 0; i < u->n; i++) {
		if (kept && u->list[kept - 1].settings == u->list[i].settings) {
			u->list[kept - 1].clients += u->list[i].clients;
			u->list[kept - 1].servers += u->list[i].servers;
		} else {
			u->list[kept++] = u->list[i];
		}
	}
	u->n = kept;
	qsort(u->list, u->n, sizeof *u->list, by_count);
}

/* Values may be anybody's secrets: who may only look gets the names. */
static void settings_text(const struct settings *s, bool values, struct buf *out)
{
	buf_reset(out);
	for (size_t i = 0; i < settings_size(s); i++) {
		buf_printf(out, "%s%s", i ? ", " : "", settings_name_at(s, i));
		if (values)
			buf_printf(out, " = %s", settings_value_at(s, i));
	}
	buf_u8(out, 0);
}

void show_settings(struct client *c)
{
	const struct worker *w = c->worker;
	const struct client *at;
	const struct backend_conn *b;
	struct uses u = { 0 };
	struct buf text = { 0 };
	struct table t;

	TAILQ_FOREACH (at, &w->clients, in)
		if (at->state == CLIENT_ACTIVE && at->have_session)
			use_add(&u, at->session.settings, false);
	TAILQ_FOREACH (b, &w->backends, in)
		if (b->state != CONN_DEAD && b->state >= CONN_READY)
			use_add(&u, b->facts.applied, true);
	if (u.n)
		uses_sum_up(&u);
	table_begin(&t, console_out(c), "id:q clients:i servers:i count:i settings:s");
	for (size_t i = 0; i < u.n; i++) {
		table_row(&t);
		cell_int(&t, (int64_t)settings_id(u.list[i].settings));
		cell_int(&t, u.list[i].clients);
		cell_int(&t, u.list[i].servers);
		cell_int(&t, (int64_t)settings_size(u.list[i].settings));
		settings_text(u.list[i].settings, c->admin, &text);
		cell_text(&t, (const char *)buf_head(&text));
	}
	table_end(&t);
	buf_release(&text);
	free(u.list);
	console_done(c, "SHOW");
}
