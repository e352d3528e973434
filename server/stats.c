/* Statistics: sums over pools, averages over the last stats_period, the log line, and SHOW STATS and its kin. Averages
 * of sums are made from the sums of what came in the period, never from averages. */
#include "server/console_internal.h"
#include "server/log.h"

struct sums {
	struct traffic traffic;
	struct session_counters counters;
};

/* One line of SHOW STATS, total or average. */
struct figures {
	uint64_t assignments, transactions, queries, received, sent, xact_time, query_time, wait_time;
	uint64_t client_parses, server_parses, binds, logins;
};

#define TRAFFIC_FIELDS(F) F(received) F(sent) F(query_time_us) F(xact_time_us) F(wait_time_us) F(assignments) F(logins)
#define COUNTER_FIELDS(F)                                                                                             \
	F(queries) F(transactions) F(client_parses) F(server_parses) F(binds) F(named_parses) F(replays)              \
	F(replay_settings) F(observations) F(pins) F(local_answers) F(flights) F(ignored) F(refused) F(replay_trips) F(custom_names) F(held_begins)

static void add(struct sums *to, const struct traffic *t, const struct session_counters *c)
{
#define ADD(field) to->traffic.field += t->field;
	TRAFFIC_FIELDS(ADD)
#undef ADD
#define ADD(field) to->counters.field += c->field;
	COUNTER_FIELDS(ADD)
#undef ADD
}

/* Backends opened because of what the idle ones had seen. */
static uint64_t fresh_servers(const struct worker *w)
{
	const struct database *d;
	const struct pool *p;
	uint64_t n = 0;

	TAILQ_FOREACH (d, &w->databases, in)
		TAILQ_FOREACH (p, &d->pools, in_database)
			n += p->fresh_opened;
	return n;
}

static void pool_period(struct db_pool *p)
{
#define SINCE(field) p->period_traffic.field = p->traffic.field - p->last_traffic.field;
	TRAFFIC_FIELDS(SINCE)
#undef SINCE
#define SINCE(field) p->period_counters.field = p->counters.field - p->last_counters.field;
	COUNTER_FIELDS(SINCE)
#undef SINCE
	p->last_traffic = p->traffic;
	p->last_counters = p->counters;
}

/* Of one database, or of all (NULL): since the start, and in the last period. */
static void sum(const struct worker *w, const struct database *only, struct sums *total, struct sums *period)
{
	const struct database *d;
	const struct pool *at;

	*total = *period = (struct sums){ 0 };
	TAILQ_FOREACH (d, &w->databases, in) {
		if (only && d != only)
			continue;
		TAILQ_FOREACH (at, &d->pools, in_database) {
			const struct db_pool *p = (const struct db_pool *)at;

			add(total, &p->traffic, &p->counters);
			add(period, &p->period_traffic, &p->period_counters);
		}
	}
}

static struct figures figures_total(const struct sums *s)
{
	return (struct figures){
		.assignments = s->traffic.assignments,
		.transactions = s->counters.transactions,
		.queries = s->counters.queries,
		.received = s->traffic.received,
		.sent = s->traffic.sent,
		.xact_time = s->traffic.xact_time_us,
		.query_time = s->traffic.query_time_us,
		.wait_time = s->traffic.wait_time_us,
		.client_parses = s->counters.client_parses,
		.server_parses = s->counters.server_parses,
		.binds = s->counters.binds,
		.logins = s->traffic.logins,
	};
}

static uint64_t each(uint64_t us, uint64_t n)
{
	return n ? us / n : 0;
}

/* Counts a second; times for each transaction, query, assignment. */
static struct figures figures_average(const struct worker *w, const struct sums *s)
{
	struct figures f = figures_total(s);
	uint64_t *const counts[] = { &f.assignments, &f.transactions, &f.queries,	&f.received, &f.sent,
				     &f.client_parses, &f.server_parses, &f.binds, &f.logins };

	f.xact_time = each(f.xact_time, f.transactions);
	f.query_time = each(f.query_time, f.queries);
	f.wait_time = each(f.wait_time, f.assignments);
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
		*counts[i] = w->stats_span_us > 0 ? (uint64_t)((double)*counts[i] * 1e6 / (double)w->stats_span_us) : 0;
	return f;
}

void stats_period(struct worker *w)
{
	int64_t since = w->stats_at_us ? w->stats_at_us : w->started_us;
	struct database *d;
	struct pool *p;
	struct sums total, period;
	struct figures f;

	TAILQ_FOREACH (d, &w->databases, in)
		TAILQ_FOREACH (p, &d->pools, in_database)
			pool_period((struct db_pool *)p);
	w->stats_span_us = w->now_us - since;
	w->stats_at_us = w->now_us;
	if (!w->config->log_stats)
		return;
	sum(w, NULL, &total, &period);
	f = figures_average(w, &period);
	log_line(LOG_LEVEL_LOG,
		 "stats: %llu xacts/s, %llu queries/s, %llu client parses/s, %llu server parses/s, %llu binds/s, "
		 "%llu client logins/s, in %llu B/s, out %llu B/s, xact %llu us, query %llu us, wait %llu us",
		 (unsigned long long)f.transactions, (unsigned long long)f.queries, (unsigned long long)f.client_parses,
		 (unsigned long long)f.server_parses, (unsigned long long)f.binds, (unsigned long long)f.logins,
		 (unsigned long long)f.received, (unsigned long long)f.sent, (unsigned long long)f.xact_time,
		 (unsigned long long)f.query_time, (unsigned long long)f.wait_time);
}

/* ---- tables ---- */

/* The order of PgBouncer 1.25.2; what later versions count stands behind. */
static const struct {
	const char *name, *average; /* as SHOW STATS and TOTALS call it, after total_ and avg_ */
	size_t at;
} columns[] = {
#define FIGURE(name, average, field) { name, average, offsetof(struct figures, field) }
	FIGURE("server_assignment_count", "server_assignment_count", assignments),
	FIGURE("xact_count", "xact_count", transactions),
	FIGURE("query_count", "query_count", queries),
	FIGURE("received", "recv", received),
	FIGURE("sent", "sent", sent),
	FIGURE("xact_time", "xact_time", xact_time),
	FIGURE("query_time", "query_time", query_time),
	FIGURE("wait_time", "wait_time", wait_time),
	FIGURE("client_parse_count", "client_parse_count", client_parses),
	FIGURE("server_parse_count", "server_parse_count", server_parses),
	FIGURE("bind_count", "bind_count", binds),
	FIGURE("client_login_count", "client_login_count", logins),
#undef FIGURE
};
enum { COLUMNS = sizeof columns / sizeof *columns, COLUMNS_1_25 = COLUMNS - 1 };

static void cells(struct table *t, const struct figures *f, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		cell_int(t, (int64_t) * (const uint64_t *)((const char *)f + columns[i].at));
}

/* A row for each database that has a pool. */
static void by_database(struct client *c, const char *header, void (*row)(struct table *t, const struct figures *total,
									   const struct figures *average))
{
	const struct worker *w = c->worker;
	const struct database *d;
	struct table t;

	table_begin(&t, console_out(c), header);
	TAILQ_FOREACH (d, &w->databases, in) {
		struct sums total, period;
		struct figures totals, averages;

		if (TAILQ_EMPTY(&d->pools))
			continue;
		sum(w, d, &total, &period);
		totals = figures_total(&total);
		averages = figures_average(w, &period);
		table_row(&t);
		cell_text(&t, d->name);
		row(&t, &totals, &averages);
	}
	table_end(&t);
	console_done(c, "SHOW");
}

static void both_row(struct table *t, const struct figures *total, const struct figures *average)
{
	cells(t, total, 0, COLUMNS_1_25);
	cells(t, average, 0, COLUMNS_1_25);
	cells(t, total, COLUMNS_1_25, COLUMNS);
	cells(t, average, COLUMNS_1_25, COLUMNS);
}

static void total_row(struct table *t, const struct figures *total, const struct figures *average)
{
	cells(t, total, 0, COLUMNS);
}

static void average_row(struct table *t, const struct figures *total, const struct figures *average)
{
	cells(t, average, 0, COLUMNS);
}

void show_stats(struct client *c)
{
	by_database(c,
		    "database:s total_server_assignment_count:N total_xact_count:N total_query_count:N total_received:N "
		    "total_sent:N total_xact_time:N total_query_time:N total_wait_time:N total_client_parse_count:N "
		    "total_server_parse_count:N total_bind_count:N avg_server_assignment_count:N avg_xact_count:N "
		    "avg_query_count:N avg_recv:N avg_sent:N avg_xact_time:N avg_query_time:N avg_wait_time:N "
		    "avg_client_parse_count:N avg_server_parse_count:N avg_bind_count:N total_client_login_count:N "
		    "avg_client_login_count:N",
		    both_row);
}

void show_stats_totals(struct client *c)
{
	by_database(c,
		    "database:s server_assignment_count:N xact_count:N query_count:N bytes_received:N bytes_sent:N "
		    "xact_time:N query_time:N wait_time:N client_parse_count:N server_parse_count:N bind_count:N "
		    "client_login_count:N",
		    total_row);
}

void show_stats_averages(struct client *c)
{
	by_database(c,
		    "database:s server_assignment_count:N xact_count:N query_count:N bytes_received:N bytes_sent:N "
		    "xact_time:N query_time:N wait_time:N avg_client_parse_count:N avg_server_parse_count:N "
		    "avg_bind_count:N avg_client_login_count:N",
		    average_row);
}

static void name_value(struct table *t, const char *prefix, const char *name, uint64_t value)
{
	table_row(t);
	cell_format(t, "%s%s", prefix, name);
	cell_int(t, (int64_t)value);
}

void show_totals(struct client *c)
{
	struct sums total, period;
	struct figures f;
	struct table t;

	sum(c->worker, NULL, &total, &period);
	table_begin(&t, console_out(c), "name:s value:N");
	f = figures_total(&total);
	for (size_t i = 0; i < COLUMNS; i++)
		name_value(&t, "total_", columns[i].name, *(uint64_t *)((char *)&f + columns[i].at));
	f = figures_average(c->worker, &period);
	for (size_t i = 0; i < COLUMNS; i++)
		name_value(&t, "avg_", columns[i].average, *(uint64_t *)((char *)&f + columns[i].at));
	table_end(&t);
	console_done(c, "SHOW");
}

/* What carrying state has cost and done. */
void show_counters(struct client *c)
{
	const struct session_store *store = &c->worker->store;
	const struct effects_counters *effects = effects_memory_counters(store->effects);
	struct sums total, period;
	struct table t;

	sum(c->worker, NULL, &total, &period);
	table_begin(&t, console_out(c), "name:s value:N");
#define COUNTER(field) name_value(&t, "", #field, total.counters.field);
	COUNTER_FIELDS(COUNTER)
#undef COUNTER
	name_value(&t, "", "fresh_servers", fresh_servers(c->worker));
	name_value(&t, "", "statements", stmt_store_count(store->stmts));
	name_value(&t, "", "settings", settings_store_count(store->settings));
	name_value(&t, "", "screened", effects->screened);
	name_value(&t, "", "memory_hits", effects->hits);
	name_value(&t, "", "parsed", effects->parsed);
	name_value(&t, "", "opaque", effects->opaque);
	table_end(&t);
	console_done(c, "SHOW");
}
