/* tests/sim/sim.h — the parts of the simulation: a program says what clients do and on what; a world plays it with real
 * sessions and pools on model backends; sim.c takes programs from seeds, and makes failing ones small. */
#ifndef PGPORTER_TESTS_SIM_SIM_H
#define PGPORTER_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "parser/buf.h"

enum { SIM_CLIENTS = 4, SIM_UNITS = 24, SIM_UNIT_TEXT = 400, SIM_START_TEXT = 120 };

/* A unit is what a client sends in one go (tests/script.h). */
struct sim_client {
	char start[SIM_START_TEXT]; /* name=value,… of its startup packet */
	size_t n_units;
	char units[SIM_UNITS][SIM_UNIT_TEXT];
	int vanishes; /* after so many units it is gone without a word; -1: it says goodbye */
};

struct sim_program {
	uint64_t schedule;	/* seed of everything that is not in the program: who is next, where bytes are cut */
	size_t n_clients, n_pools;
	int size, reserve, limit; /* of each pool; of the database, 0: none */
	size_t prepared_max;
	bool chunks, deaths, failing, cancels, at_once, faults, shares; /* bytes come in pieces; backends die, can't be opened; queries are cancelled while
					     * they wait; ParameterStatus as PostgreSQL 13; pgporter's own statements fail; LISTEN is shared */
	unsigned refuse, pin; /* kinds of state, 1 << enum rule_kind, that an operator's rules are about */
	int max_pins;	      /* of each pool; 0: no limit */
	struct sim_client clients[SIM_CLIENTS];
};

struct rng {
	uint64_t state;
};

static inline uint32_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9E3779B97F4A7C15u;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return (uint32_t)(z ^ z >> 31);
}

static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
	return (uint32_t)((uint64_t)rng_next(r) * n >> 32);
}

/* ---- sim_program.c ---- */
void program_of_seed(struct sim_program *p, uint64_t seed);
void program_print(const struct sim_program *p, FILE *f);
/* As program_print() wrote it; false, with the line on stderr, where it can't be read. */
bool program_read(struct sim_program *p, FILE *f, const char *name);
size_t program_features(void);
const char *program_feature_name(size_t i, uint64_t *count);

/* ---- sim_world.c ---- */
enum { SIM_WHY = 600 };
struct sim_result {
	bool failed;
	char why[SIM_WHY];
};
/* Plays it once. With trace, every event is written there as it happens. */
void world_play(const struct sim_program *p, struct sim_result *result, FILE *trace);
void world_transcripts(const struct sim_program *p, FILE *f); /* of the last play: what each client read, and alone */
void world_print_counts(FILE *f);
void world_free(void);

#endif
