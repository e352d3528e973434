/* links: parser/lex.c parser/screen.c parser/tree.c parser/effects*.c parser/watch*.c parser/buf.c -lpg_query -lprotobuf-c */
/* tests/bench/tracking.c — what reading a statement costs: `make tracking`. Nanoseconds of this thread's CPU, the least of many
 * rounds, which is what the machine can do when nobody disturbs it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "parser/effects.h"
#include "parser/screen.h"

enum { ROUNDS = 60, TEXTS = 512 };

static const char orm[] =
	"SELECT \"shop_order\".\"id\", \"shop_order\".\"created_at\", \"shop_order\".\"customer_id\", \"shop_order\".\"status\","
	" \"shop_order\".\"total\", \"shop_customer\".\"id\", \"shop_customer\".\"name\", \"shop_customer\".\"email\" FROM \"shop_order\""
	" INNER JOIN \"shop_customer\" ON (\"shop_order\".\"customer_id\" = \"shop_customer\".\"id\")"
	" WHERE (\"shop_customer\".\"id\" = %d AND \"shop_customer\".\"email\" = 'user%d@example.com'"
	" AND \"shop_order\".\"status\" IN ('paid', 'sent')) ORDER BY \"shop_order\".\"created_at\" DESC LIMIT 21";

static const struct {
	const char *what, *text;
	bool again; /* the same texts, round by round */
} works[] = {
	{ "the screen clears a SELECT of one line", "SELECT abalance FROM pgbench_accounts WHERE aid = %d%d", false },
	{ "the screen clears an ORM's SELECT", orm, false },
	{ "SET, remembered", "SET statement_timeout = '%d%ds'", true },
	{ "an ORM's SELECT with an advisory lock, remembered", "SELECT pg_advisory_lock(%d%d), \"shop_order\".\"id\" FROM \"shop_order\" INNER JOIN \"shop_customer\" ON "
	  "(\"shop_order\".\"customer_id\" = \"shop_customer\".\"id\") WHERE \"shop_customer\".\"name\" = 'somebody'", true },
	{ "SET, parsed", "SET statement_timeout = '%d%ds'", false },
	{ "SELECT set_config(…), parsed", "SELECT set_config('search_path', 'tenant%d%d, public', false)", false },
	{ "that SELECT with an advisory lock, parsed", "SELECT pg_advisory_lock(%d%d), \"shop_order\".\"id\" FROM \"shop_order\" INNER JOIN \"shop_customer\" ON "
	  "(\"shop_order\".\"customer_id\" = \"shop_customer\".\"id\") WHERE \"shop_customer\".\"name\" = 'somebody'", false },
};

static char *texts[TEXTS];
static size_t lens[TEXTS];

static void write_texts(const char *form, int round)
{
	for (int i = 0; i < TEXTS; i++) {
		free(texts[i]);
		texts[i] = malloc(strlen(form) + 32);
		if (!texts[i])
			abort();
		lens[i] = (size_t)sprintf(texts[i], form, round + 1, i + 1000);
	}
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static double read_all(struct effects_memory *m)
{
	double began = now_ns();

	for (int i = 0; i < TEXTS; i++)
		effects_release(effects_of(m, texts[i], lens[i], LEX_PLAIN));
	return (now_ns() - began) / TEXTS;
}

int main(void)
{
	struct effects_memory *m = effects_memory_new(16 << 20);

	printf("%-52s %6s %8s\n", "", "bytes", "ns");
	for (size_t w = 0; w < sizeof works / sizeof *works; w++) {
		double best = 1e12;

		for (int round = 0; round < ROUNDS; round++) {
			double took;

			if (!round || !works[w].again)
				write_texts(works[w].text, round + (works[w].again ? 0 : 1000 * (int)(w + 1)));
			if (works[w].again && round < 2) /* a text is remembered when it comes for the second time */
				read_all(m);
			took = read_all(m);
			best = took < best ? took : best;
		}
		printf("%-52s %6zu %8.0f\n", works[w].what, lens[0], best);
	}
	effects_memory_free(m);
	return 0;
}
