/* tests/bench/workloads.h — what the clients of tests/bench/load.c ask for. */
#ifndef PGPORTER_TESTS_BENCH_WORKLOADS_H
#define PGPORTER_TESTS_BENCH_WORKLOADS_H

#include <stdbool.h>
#include <stdint.h>

#include "parser/buf.h"

struct workload {
	const char *name;
	/* Write the messages of a step, from 0 on, up to their ReadyForQuery; false where there is no such step. setup, which may
	 * be NULL, is said once a connection; a request is what is counted. */
	bool (*setup)(int client, int step, struct buf *out);
	bool (*request)(int client, int step, struct buf *out);
	bool reconnect; /* a connection a request */
};

const struct workload *workload_find(const char *name); /* or NULL */
/* What is asked depends on the seed alone. Texts that must not repeat are numbered from the seed on. */
void workload_seed(uint64_t seed);
uint32_t workload_random(void);

#endif
