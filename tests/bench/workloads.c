#include "tests/bench/workloads.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SHARED_STMTS = 20, TENANTS = 4 };

static uint64_t state, unique;

void workload_seed(uint64_t seed)
{
	state = seed | 1;
	unique = seed;
}

uint32_t workload_random(void) /* xorshift64* */
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)(state * 0x2545f4914f6cdd1dULL >> 32);
}

static unsigned upto(unsigned n)
{
	return workload_random() % n;
}

#define SELECT "SELECT abalance FROM pgbench_accounts WHERE aid = "

static void put_query(struct buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put_query(struct buf *out, const char *fmt, ...)
{
	char sql[2048];
	size_t mark = msg_begin(out, 'Q');
	va_list args;

	va_start(args, fmt);
	vsnprintf(sql, sizeof sql, fmt, args);
	va_end(args);
	buf_str(out, sql);
	msg_end(out, mark);
}

static void put_parse(struct buf *out, const char *name, const char *sql)
{
	size_t mark = msg_begin(out, 'P');

	buf_str(out, name);
	buf_str(out, sql);
	buf_u16(out, 0);
	msg_end(out, mark);
}

/* Bind with one value, Describe, Execute and Sync, as libpq sends them. */
static void put_run(struct buf *out, const char *name, unsigned value)
{
	char text[16];
	size_t mark = msg_begin(out, 'B');

	snprintf(text, sizeof text, "%u", value);
	buf_str(out, "");
	buf_str(out, name);
	buf_u16(out, 0);
	buf_u16(out, 1);
	buf_u32(out, (uint32_t)strlen(text));
	buf_text(out, text);
	buf_u16(out, 1);
	buf_u16(out, 0);
	msg_end(out, mark);
	msg_add(out, 'D', "P", 2);
	msg_add(out, 'E', "\0\0\0\0", 5);
	msg_add(out, 'S', NULL, 0);
}

static bool simple(int client, int step, struct buf *out)
{
	if (step == 0)
		put_query(out, SELECT "%u;", 1 + upto(100000));
	return step == 0;
}

static bool extended(int client, int step, struct buf *out)
{
	if (step == 0) {
		put_parse(out, "", SELECT "$1;");
		put_run(out, "", 1 + upto(100000));
	}
	return step == 0;
}

static bool prepare_one(int client, int step, struct buf *out)
{
	if (step == 0) {
		put_parse(out, "P_0", SELECT "$1;");
		msg_add(out, 'S', NULL, 0);
	}
	return step == 0;
}

static bool prepared(int client, int step, struct buf *out)
{
	if (step == 0)
		put_run(out, "P_0", 1 + upto(100000));
	return step == 0;
}

static bool transaction(int client, int step, struct buf *out)
{
	switch (step) {
	case 0:
		put_query(out, "BEGIN");
		return true;
	case 1:
		return simple(client, 0, out);
	case 2:
		put_query(out, "UPDATE pgbench_accounts SET abalance = abalance + %u WHERE aid = %u;", upto(1000), 1 + upto(100000));
		return true;
	case 3:
		put_query(out, "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (%u, 1, %u, %u, CURRENT_TIMESTAMP);",
			  1 + upto(10), 1 + upto(100000), upto(1000));
		return true;
	case 4:
		put_query(out, "COMMIT");
		return true;
	default:
		return false;
	}
}

static bool set_transaction(int client, int step, struct buf *out)
{
	if (step > 0)
		return transaction(client, step - 1, out);
	put_query(out, "SET statement_timeout = '%us'", 100 + upto(100));
	return true;
}

static bool set_simple(int client, int step, struct buf *out)
{
	return step == 0 ? set_transaction(client, 0, out) : simple(client, step - 1, out);
}

/* As Django's ORM writes it; no two texts are the same. */
static bool orm(int client, int step, struct buf *out)
{
	if (step == 0)
		put_query(out,
			  "SELECT \"shop_order\".\"id\", \"shop_order\".\"created_at\", \"shop_order\".\"customer_id\", \"shop_order\".\"status\","
			  " \"shop_order\".\"total\", \"shop_customer\".\"id\", \"shop_customer\".\"name\", \"shop_customer\".\"email\" FROM \"shop_order\""
			  " INNER JOIN \"shop_customer\" ON (\"shop_order\".\"customer_id\" = \"shop_customer\".\"id\")"
			  " WHERE (\"shop_customer\".\"id\" = %u AND \"shop_customer\".\"email\" = 'user%llu@example.com'"
			  " AND \"shop_order\".\"status\" IN ('paid', 'sent')) ORDER BY \"shop_order\".\"created_at\" DESC LIMIT 21",
			  1 + upto(1000), (unsigned long long)unique++);
	return step == 0;
}

static bool many_rows(int client, int step, struct buf *out)
{
	if (step == 0)
		put_query(out, "SELECT repeat('x', 1000) FROM generate_series(1, 1024)");
	return step == 0;
}

static bool wide_row(int client, int step, struct buf *out)
{
	if (step == 0)
		put_query(out, "SELECT repeat('x', 1048576)");
	return step == 0;
}

static bool tenant(int client, int step, struct buf *out)
{
	static const char *const zones[TENANTS] = { "Europe/Vienna", "America/New_York", "Asia/Tokyo", "Africa/Nairobi" };

	if (step == 0)
		put_query(out, "SET search_path = tenant_%d, public", client % TENANTS);
	else if (step == 1)
		put_query(out, "SET TimeZone = '%s'", zones[client % TENANTS]);
	return step < 2;
}

static bool tenant_prepared(int client, int step, struct buf *out)
{
	if (step < 2)
		return tenant(client, step, out);
	for (int i = 0; step == 2 && i < SHARED_STMTS; i++) {
		char name[16], sql[128];

		snprintf(name, sizeof name, "s%d", i);
		snprintf(sql, sizeof sql, "SELECT abalance + %d FROM pgbench_accounts WHERE aid = $1", i);
		put_parse(out, name, sql);
	}
	if (step == 2)
		msg_add(out, 'S', NULL, 0);
	return step == 2;
}

static const struct workload workloads[] = {
	{ "simple", NULL, simple, false },
	{ "extended", NULL, extended, false },
	{ "prepared", prepare_one, prepared, false },
	{ "transaction", NULL, transaction, false },
	{ "orm", NULL, orm, false },
	{ "set", NULL, set_transaction, false },
	{ "set-simple", NULL, set_simple, false },
	{ "tenants", tenant, simple, false },
	{ "tenants-prepared", tenant_prepared, simple, false },
	{ "rows", NULL, many_rows, false },
	{ "wide", NULL, wide_row, false },
	{ "churn", NULL, simple, true },
	{ NULL, NULL, NULL, false },
};

const struct workload *workload_find(const char *name)
{
	for (const struct workload *w = workloads; w->name; w++)
		if (!strcmp(w->name, name))
			return w;
	return NULL;
}
