/* tests/sim/sim_internal.h — what the files of the simulated world share, and nobody else includes.
 *
 * Real sessions, backends and pools (state/) between clients that follow a program and models of PostgreSQL. What server/
 * does with sockets and timers is done here with bytes and a clock of its own. */
#ifndef PGPORTER_TESTS_SIM_SIM_INTERNAL_H
#define PGPORTER_TESTS_SIM_SIM_INTERNAL_H

#include "state/pool.h"
#include "state/session.h"
#include "state/speakers.h"
#include "tests/sim/model_backend.h"
#include "tests/sim/sim.h"

enum { BACKENDS = 12, POOLS = 2, STEPS_MAX = 40000, CANCELS = 8, FAILURES = 16, TURNS = 256, PATIENCE_US = 250 * 1000 };

enum client_state { CLIENT_LOGIN, CLIENT_ACTIVE, CLIENT_GONE };
enum conn_state { CONN_FREE, CONN_OPENING, CONN_READY, CONN_PARTING };

/* Whatever was begun is brought to an end, so that its answers are there to be compared. */
#define ENDING "c|S|Q:ROLLBACK|Q:SELECT 'end'"

struct conn;

/* From one ReadyForQuery to the next: how many notifications were committed when it was told, when the client went on, and had come
 * through when it was answered then (SIZE_MAX: not so yet); what it listens to alone, behind it, and since the last one, at any time, all the time. */
struct turn {
	size_t told, said, answered;
	uint32_t channels, any, all;
	bool idle; /* told so */
};

/* The connection that listens for all. */
struct listening {
	struct channels *channels;
	struct model m;
	struct buf in;
	bool open, greeting, asking, gap, died;
	size_t through; /* so much of the log has come through */
};

struct client {
	struct pool_waiter waiter; /* first: a waiter is its client */
	struct session s;
	struct buf script, in, out; /* all it will say; what has arrived; what it was told */
	size_t n_messages;	    /* taken */
	bool vanishes;		    /* goes without a word when all is said */
	struct conn *conn;
	size_t left;		    /* of a message under way */
	bool drop, have_session, refusing, runnable, compare, fatal, vanished;
	enum client_state state;
	size_t cancelled[CANCELS], n_cancelled; /* messages by number */
	struct { size_t message, at, len; bool refused; } failures[FAILURES]; /* that failed because ours did: number, body in `failed` */
	size_t n_failures, refused_at, flown; /* the last that was refused; and the message that a flight went ahead of */
	struct buf failed;
	size_t looked, had, n_turns, gone_at; /* in out, and when it went on; turns; how much of the log had come through when it was gone */
	struct turn turns[TURNS];
	uint64_t heard[MODEL_LOG / 64 + 1];
	bool listened_itself; /* on its own backend, some time */
	struct model alone;
	struct model_cluster own; /* its PostgreSQL alone */
};

struct conn {
	struct pool_backend node; /* first */
	struct backend facts;
	struct buf out, in; /* to PostgreSQL; arrived from it */
	struct model m;
	struct speakers speakers;
	struct client *client;
	size_t left;
	bool drop, dying, told_fatal, close_needed, faulty; /* faulty: something of ours has failed there */
	enum conn_state state;
};

struct pooled {
	struct pool pool; /* first */
	struct session_counters counters;
	struct pin_limit pins;
	uint64_t generation;
	struct pool_limit user;
	size_t n_clients;
};

/* What is counted over all plays. */
enum count {
	COUNT_NEXT, COUNT_STREAM, COUNT_LINK, COUNT_HOLD, COUNT_MORE, COUNT_DROP, COUNT_VACATE, COUNT_END, COUNT_REFUSE,
	COUNT_FORWARD, COUNT_SWALLOW, COUNT_WHOLE, COUNT_PLAIN,
	COUNT_TASK, COUNT_TASK_LAST = COUNT_TASK + TASK_LAY - 1,
	COUNT_PIN, COUNT_PIN_LAST = COUNT_PIN + PIN_REASONS - 1,
	COUNT_PIN_ENDED, COUNT_WAITED, COUNT_OPENED, COUNT_OPEN_FAILED, COUNT_GIVEN_BACK, COUNT_CLOSED, COUNT_EVICTED, COUNT_DIED, COUNT_VANISHED,
	COUNT_CANCELLED, COUNT_BEGIN_HELD, COUNT_STRANGE_EVICTED, COUNT_FAULT,
	COUNT_NOTIFIED, COUNT_MUST_HEAR, COUNT_NO_NUMBER, COUNT_OWN, COUNT_MARKER, COUNT_LISTEN_REFUSED, COUNT_LISTEN_LOST,
	COUNT_REFUSED, COUNT_TOO_MANY_PINS, COUNT_NOT_RESTORED, COUNT_TOLD_BROKEN, COUNT_LOCAL_ANSWER, COUNT_FLIGHT, COUNT_MESSAGES, COUNT_STATEMENTS, COUNT_PLAIN_SAID,
	COUNTS,
};

extern uint64_t counts[COUNTS];

struct world {
	const struct sim_program *p;
	struct sim_result *result;
	FILE *trace;
	struct rng rng;
	struct session_store store;
	struct state_rules rules;
	struct model_cluster cluster;
	struct pool_limit database;
	struct pooled pools[POOLS];
	struct client clients[SIM_CLIENTS];
	struct conn conns[BACKENDS];
	struct listening listening;
	size_t sender[MODEL_LOG]; /* client by number */
	size_t n_senders;
	uint32_t last_pid;
	int64_t now_us;
	uint64_t steps;
};

/* sim_world.c */
void world_fail(struct world *w, const char *fmt, ...);
void world_trace(struct world *w, const char *fmt, ...);
bool world_chance(struct world *w, uint32_t of);
size_t client_no(const struct world *w, const struct client *c);
size_t conn_no(const struct world *w, const struct conn *b);
size_t some(struct world *w, size_t n); /* how many of n bytes arrive now */

/* sim_words.c */
void words_told(FILE *f, char type, const uint8_t *body, size_t len);
void words_said(FILE *f, char type, const uint8_t *body, size_t len);
void words_all(FILE *f, const struct buf *b, void (*print)(FILE *, char, const uint8_t *, size_t), const char *before);

/* sim_pools.c */
struct pooled *pool_of(struct world *w, const struct client *c);
void pools_serve(struct world *w, struct pooled *p);
void conn_opened(struct world *w, struct conn *b);
void conn_release(struct world *w, struct conn *b, bool clean);
void conn_close(struct world *w, struct conn *b, const char *why); /* told to go: counted until it has */
void conn_free(struct conn *b);

/* sim_clients.c */
void client_linked(struct world *w, struct client *c, struct conn *b);
void client_welcome(struct world *w, struct client *c, const struct settings *told);
void client_pump(struct world *w, struct client *c);
bool client_message_at(struct world *w, struct client *c, struct client_message *m);
void client_taken(struct client *c, const struct client_message *m, bool drop);
void client_give_up(struct world *w, struct client *c);
void client_gone(struct world *w, struct client *c);
void count_task(const struct session *s);
/* What was written to the client since it had been told so much: an error that a statement of ours has met is that message's. */
void client_note_failure(struct world *w, struct client *c, size_t had, size_t message);

/* sim_replies.c */
void conn_pump(struct world *w, struct conn *b);

void client_events(struct world *w, struct client *c, uint32_t events);
void client_failed(struct world *w, struct client *c, const char *code, const char *message); /* told so, and closed */

/* sim_listen.c */
void listening_begins(struct world *w);
void listening_ends(struct world *w);
bool listening_moves(struct world *w);
uint32_t listening_known_as(struct world *w, uint32_t pid);
void listening_look(struct world *w, struct client *c);
void listening_said(struct world *w, struct client *c);
void listening_alone(struct client *c, size_t n);
size_t listening_place(const uint8_t *message); /* of a NotificationResponse, in the log */
void listening_compare(struct world *w, struct client *c);

/* sim_compare.c */
void compare_play_alone(struct world *w, struct client *c, const struct sim_client *program);
void compare_client(struct world *w, struct client *c);

#endif
