/* links: tests/sim/model*.c tests/sim/sim_*.c state/session*.c state/channels.c state/backend.c state/pool.c state/speakers.c state/ledger.c state/prepared.c state/settings.c parser/effects*.c parser/watch*.c parser/screen.c parser/grams.c parser/lex.c parser/tree.c parser/hash.c parser/buf.c parser/report.c -lpg_query -lprotobuf-c -lpthread -lm */
/* sim [--seed N] [--count N] [--seconds S] [FILE…]: plays programs, from seeds N, N + 1, … or from files. A program that
 * fails is made as small as it can be while it still fails, and is printed together with what happened. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/model_backend.h"

enum { TEXTS_MAX = 64 << 20, SCHEDULES = 40 };

static bool fails(const struct sim_program *p, struct sim_result *result)
{
	world_play(p, result, NULL);
	return result->failed;
}

/* Under some schedule: with less to do, things happen in another order. */
static bool still_fails(struct sim_program *p, struct sim_result *result)
{
	uint64_t own = p->schedule;

	for (uint64_t i = 0; i < SCHEDULES; i++) {
		p->schedule = i ? i : own;
		if (fails(p, result))
			return true;
	}
	p->schedule = own;
	return false;
}

static void drop_client(struct sim_program *p, size_t i)
{
	memmove(&p->clients[i], &p->clients[i + 1], (p->n_clients - i - 1) * sizeof *p->clients);
	p->n_clients--;
}

static void drop_unit(struct sim_client *c, size_t u)
{
	memmove(&c->units[u], &c->units[u + 1], (c->n_units - u - 1) * sizeof *c->units);
	c->n_units--;
	if (c->vanishes > (int)u)
		c->vanishes--;
}

/* Without its n-th message; false where it hasn't so many, or only one. */
static bool drop_message(char *unit, size_t n)
{
	char *from = unit, *to;

	for (; n; n--) {
		from = strchr(from, '|');
		if (!from++)
			return false;
	}
	to = strchr(from, '|');
	if (to)
		memmove(from, to + 1, strlen(to));
	else if (from > unit)
		from[-1] = 0;
	else
		return false;
	return true;
}

static bool try_smaller(struct sim_program *p, const struct sim_program *smaller, struct sim_result *result)
{
	static struct sim_program t;

	t = *smaller;
	if (!still_fails(&t, result))
		return false;
	*p = t;
	return true;
}

static bool shrink_options(struct sim_program *p, struct sim_result *result)
{
	bool any = false;

	for (int i = 0; i < 14; i++) {
		struct sim_program t = *p;

		switch (i) {
		case 0: t.chunks = false; break;
		case 1: t.deaths = false; break;
		case 2: t.failing = false; break;
		case 3: t.cancels = false; break;
		case 4: t.at_once = false; break;
		case 5: t.n_pools = 1; break;
		case 6: t.reserve = 0; break;
		case 7: t.limit = 0; break;
		case 8: t.size = 1; break;
		case 9: t.faults = false; break;
		case 10: t.shares = false; break;
		case 11: t.refuse = 0; break;
		case 12: t.pin = 0; break;
		case 13: t.max_pins = 0; break;
		}
		if (memcmp(&t, p, offsetof(struct sim_program, clients)) && try_smaller(p, &t, result))
			any = true;
	}
	return any;
}

static bool shrink_client(struct sim_program *p, size_t i, struct sim_result *result)
{
	static struct sim_program t;
	bool any = false;

	for (size_t u = p->clients[i].n_units; u-- > 0;) {
		t = *p;
		drop_unit(&t.clients[i], u);
		any |= try_smaller(p, &t, result);
	}
	for (size_t u = 0; u < p->clients[i].n_units; u++)
		for (size_t n = 0; n < 12; n++) {
			t = *p;
			if (!drop_message(t.clients[i].units[u], n))
				break;
			any |= try_smaller(p, &t, result);
		}
	t = *p;
	t.clients[i].vanishes = -1;
	if (p->clients[i].vanishes >= 0)
		any |= try_smaller(p, &t, result);
	t = *p;
	t.clients[i].start[0] = 0;
	if (p->clients[i].start[0])
		any |= try_smaller(p, &t, result);
	return any;
}

static void shrink(struct sim_program *p, struct sim_result *result)
{
	static struct sim_program t;
	bool any = true;

	while (any) {
		any = false;
		for (size_t i = p->n_clients; p->n_clients > 1 && i-- > 0;) {
			t = *p;
			drop_client(&t, i);
			any |= try_smaller(p, &t, result);
		}
		for (size_t i = 0; i < p->n_clients; i++)
			any |= shrink_client(p, i, result);
		any |= shrink_options(p, result);
	}
}

static void tell(const struct sim_program *p, const char *name)
{
	struct sim_result result;

	printf("%s fails. As small as it gets (put it into tests/sim/seeds to keep it):\n\n", name);
	program_print(p, stdout);
	printf("\nWhat happened:\n\n");
	world_play(p, &result, stdout);
	printf("\n");
	world_transcripts(p, stdout);
	printf("\n%s\n", result.why);
	fflush(stdout);
}

/* False where it fails. */
static bool play_seed(uint64_t seed, bool small)
{
	static struct sim_program p;
	struct sim_result result;
	char name[40];

	program_of_seed(&p, seed);
	if (!fails(&p, &result))
		return true;
	if (!small) {
		printf("seed %llu: %s\n", (unsigned long long)seed, result.why);
		return false;
	}
	shrink(&p, &result);
	snprintf(name, sizeof name, "seed %llu", (unsigned long long)seed);
	tell(&p, name);
	return false;
}

/* A kept program is played under its own schedule and many others. */
static bool play_file(const char *path)
{
	static struct sim_program p;
	struct sim_result result;
	FILE *f = fopen(path, "r");
	bool good = f && program_read(&p, f, path);

	if (!f)
		perror(path);
	else
		fclose(f);
	if (!good)
		return false;
	if (!still_fails(&p, &result))
		return true;
	shrink(&p, &result);
	tell(&p, path);
	return false;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void print_counts(void)
{
	for (size_t i = 0; i < program_features(); i++) {
		uint64_t n;
		const char *name = program_feature_name(i, &n);

		printf("  %-36s %12llu\n", name, (unsigned long long)n);
	}
	world_print_counts(stdout);
}

struct task {
	uint64_t seed, count;
	double limit;
	bool all; /* tells of all that fail, small or not */
};

static bool play_seeds(const struct task *t)
{
	double began = seconds(), took;
	uint64_t n = 0, bad = 0;

	for (; n < t->count && (bad == 0 || t->all); n++) {
		if (t->limit > 0 && n % 64 == 0 && seconds() - began > t->limit)
			break;
		bad += !play_seed(t->seed + n, !t->all);
		if (model_texts_size() > TEXTS_MAX)
			model_forget_texts();
	}
	took = seconds() - began;
	print_counts();
	printf("%llu interleavings from seed %llu in %.1f s: %.0f a second; %llu failed\n", (unsigned long long)n, (unsigned long long)t->seed, took,
	       (double)n / (took > 0 ? took : 1), (unsigned long long)bad);
	return !bad;
}

int main(int argc, char **argv)
{
	struct task t = { .seed = 1, .count = 100000 };
	bool good = true, files = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--seed") && i + 1 < argc) {
			t.seed = strtoull(argv[++i], NULL, 10);
			t.count = 1;
		} else if (!strcmp(argv[i], "--count") && i + 1 < argc) {
			t.count = strtoull(argv[++i], NULL, 10);
		} else if (!strcmp(argv[i], "--seconds") && i + 1 < argc) {
			t.limit = strtod(argv[++i], NULL);
			t.count = UINT64_MAX;
		} else if (!strcmp(argv[i], "--all")) {
			t.all = true;
		} else if (argv[i][0] != '-') {
			files = true;
			good &= play_file(argv[i]);
		} else {
			fprintf(stderr, "sim [--seed N] [--count N] [--seconds S] [--all] [FILE...]\n");
			return 2;
		}
	}
	if (!files)
		good = play_seeds(&t);
	world_free();
	return good ? 0 : 1;
}
