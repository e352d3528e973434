/* tests/unit/fake_rules.h — a world of clients (fake_session.h) under one set of an operator's rules and one limit of pins. */
#ifndef PGPORTER_TESTS_FAKE_RULES_H
#define PGPORTER_TESTS_FAKE_RULES_H

#include "tests/unit/fake_session.h"

static struct world w;
static struct state_rules rules;
static struct pin_limit limit;

static void rule(enum rule_kind kind, enum rule_action action)
{
	rules.action[kind] = (uint8_t)action;
	rules_complete(&rules);
}

/* What it is told is not looked at. */
static void client_does(size_t i, const char *script)
{
	script_put(&w.clients[i].in, script);
	world_run(&w);
	buf_reset(&w.clients[i].out);
}

static void open_ruled(size_t n_clients, size_t n_servers, const char *user)
{
	world_init(&w, n_clients, n_servers);
	rules = *rules_normal();
	rules.database = "d";
	rules.user = user;
	limit = (struct pin_limit){ 0 };
	for (size_t i = 0; i < w.n_clients; i++)
		session_rules_set(&w.clients[i].s, &rules, &limit, true);
}

static int close_world(void **state)
{
	world_release(&w);
	assert_int_equal(limit.count, 0);
	return 0;
}

#endif
