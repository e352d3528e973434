#include "server/janitor.h"

#include <stdio.h>
#include <string.h>

#include "server/backend_conn.h"
#include "server/catalogue.h"
#include "server/client.h"
#include "server/console.h"
#include "server/derive.h"
#include "server/listener.h"
#include "server/listening.h"
#include "server/log.h"

static bool past(const struct worker *w, int64_t since_us, int64_t limit_us)
{
	return limit_us > 0 && w->now_us - since_us >= limit_us;
}

/* A user's own limit, where [users] sets one above zero, beats the global one. */
static int64_t limit_of(int64_t user_us, int64_t global_us)
{
	return user_us > 0 ? user_us : global_us;
}

static void pin_reasons(uint32_t pins, char *text, size_t cap)
{
	*text = 0;
	for (uint32_t bit = 1; bit < 1u << PIN_REASONS; bit <<= 1)
		if (pins & bit) {
			size_t at = strlen(text);

			snprintf(text + at, cap - at, "%s%s", at ? ", " : "", pin_reason_name((enum pin_reason)bit));
		}
}

/* Who holds the pool's backends for other reasons than a running query: for the one who waited in vain, and for the log. */
static void describe_pins(const struct db_pool *p, char *text, size_t cap)
{
	const struct backend_conn *b;
	size_t at = 0;
	int n = 0;

	*text = 0;
	TAILQ_FOREACH (b, &p->worker->backends, in) {
		const struct client *c = b->client;
		char reasons[160], address[SOCKET_TEXT];
		int got;

		if (b->pool != p || !c || !c->session.pins)
			continue;
		if (++n > 10)
			continue;
		pin_reasons(c->session.pins, reasons, sizeof reasons);
		got = snprintf(text + at, cap - at, "%sclient %llu (%s@%s:%d) holds server connection %u: %s for %llds", at ? "; " : "",
			       (unsigned long long)c->id, c->user_name, socket_end_text(&c->there, address), c->there.port, b->pid, reasons,
			       (long long)((p->worker->now_us - c->pinned_us) / 1000000));
		if (got < 0 || (size_t)got >= cap - at)
			return;
		at += (size_t)got;
	}
	if (n > 10)
		snprintf(text + at, cap - at, "; and %d more", n - 10);
}

static void waited_too_long(struct client *c)
{
	const struct db_pool *p = c->pool;
	char pins[1500], failing[300];

	if (p->failing_since_us && !pool_backends(&p->pool)) {
		snprintf(failing, sizeof failing, "No server connection could be opened: %s", p->last_reason);
		client_fail(c, "08P01", "query_wait_timeout", failing, NULL);
		return;
	}
	describe_pins(p, pins, sizeof pins);
	if (*pins)
		client_log(c, LOG_LEVEL_WARNING, "query_wait_timeout while server connections are pinned: %s", pins);
	client_fail(c, "08P01", "query_wait_timeout", *pins ? pins : NULL, *pins ? "SHOW PINS on the console lists them." : NULL);
}

static void notify_waiting(struct client *c)
{
	if (c->query_notified || c->state != CLIENT_ACTIVE)
		return;
	c->query_notified = true;
	msg_report(stream_out(&c->stream), 'N', "NOTICE", "00000",
		   "No server connection available in postgres backend, client being queued", NULL, NULL);
	worker_dirty(c->worker, &c->stream);
}

static void check_waiting(struct client *c)
{
	struct worker *w = c->worker;
	int64_t since = c->line.waiter.since_us;

	if (past(w, since, pools_query_wait_timeout_us(c->pool, c->user)))
		waited_too_long(c);
	else if (past(w, since, w->config->query_wait_notify_us))
		notify_waiting(c);
}

/* PAUSE, RECONNECT and a shutdown that waits for servers end pins of clients that do nothing. */
static bool pause_ends_pin(const struct client *c)
{
	const struct worker *w = c->worker;
	int64_t paused_us = w->paused_us > c->database->paused_us ? w->paused_us : c->database->paused_us;
	bool pausing = w->paused || c->database->paused || w->shutdown == SHUTDOWN_WAIT_SERVERS;

	if (c->backend && c->backend->close_needed_us && !pausing) { /* RECONNECT, or RELOAD with another server */
		pausing = true;
		paused_us = c->backend->close_needed_us;
	}
	return pausing && c->backend && c->session.pins && session_idle(&c->session) && !session_in_transaction(&c->session) &&
	       past(w, paused_us > c->idle_us ? paused_us : c->idle_us, w->config->pin_pause_timeout_us);
}

static void end_pin(struct client *c)
{
	char reasons[160], text[300];

	pin_reasons(c->session.pins, reasons, sizeof reasons);
	snprintf(text, sizeof text, "The session held a server connection (%s) while its pool was to be emptied (PAUSE, RECONNECT or shutdown).", reasons);
	client_log(c, LOG_LEVEL_WARNING, "pin ended by pause: %s", reasons);
	client_fail(c, "57P01", "terminating connection due to administrator command", text, NULL);
}

static void end_old_pin(struct client *c, bool idle, int64_t limit_us, int64_t since_us)
{
	const char *option = idle ? "pin_idle_timeout" : "pin_max_age";
	char reasons[160], text[300];

	pin_reasons(c->session.pins, reasons, sizeof reasons);
	client_log(c, LOG_LEVEL_WARNING, "pin ended by %s: %s", option, reasons);
	snprintf(text, sizeof text, "The session has held a server connection (%s) %s %lld s; the rule is %s = %g.", reasons,
		 idle ? "without doing anything for" : "for", (long long)((c->worker->now_us - since_us) / 1000000), option,
		 (double)limit_us / 1e6);
	if (c->backend && !session_idle(&c->session))
		cancel_query(c->backend);
	client_fail(c, "57P05", idle ? "terminating connection because it was pinned and idle for too long" :
				       "terminating connection because it was pinned for too long",
		    text, "Release what pins the session when it is no longer needed; an operator can raise the limit for all, one database or one user.");
}

static void log_old_pin(struct client *c)
{
	char reasons[160];

	c->pin_logged = true;
	pin_reasons(c->session.pins, reasons, sizeof reasons);
	client_log(c, LOG_LEVEL_WARNING, "pinned for %lld s: %s (%s)", (long long)((c->worker->now_us - c->pinned_us) / 1000000), reasons,
		   c->session.pin_text ? c->session.pin_text : "");
}

/* True if the client was ended. */
static bool check_pin(struct client *c)
{
	const struct worker *w = c->worker;
	int64_t idle_max = pools_pin_idle_timeout_us(w, c->database, c->user), age_max = pools_pin_max_age_us(w, c->database, c->user);
	int64_t idle_since = c->idle_us > c->pinned_us ? c->idle_us : c->pinned_us;

	if (past(w, c->pinned_us, age_max)) {
		end_old_pin(c, false, age_max, c->pinned_us);
		return true;
	}
	if (session_idle(&c->session) && !session_in_transaction(&c->session) && past(w, idle_since, idle_max)) {
		end_old_pin(c, true, idle_max, idle_since);
		return true;
	}
	if (!c->pin_logged && past(w, c->pinned_us, pools_pin_log_after_us(w, c->database, c->user)))
		log_old_pin(c);
	return false;
}

static void check_active(struct client *c)
{
	struct worker *w = c->worker;
	const struct config *conf = w->config;
	const struct config_user *u = c->user->conf;
	bool in_transaction = session_in_transaction(&c->session), idle = session_idle(&c->session);

	if (c->line.waiter.pool) {
		check_waiting(c);
		return;
	}
	if (c->pinned_us && check_pin(c))
		return;
	if (pause_ends_pin(c))
		end_pin(c);
	else if (c->busy && !idle && !c->replication && past(w, c->query_us, limit_of(u ? u->query_timeout_us : 0, conf->query_timeout_us))) {
		if (c->backend)
			cancel_query(c->backend);
		client_fail(c, "08P01", "query_timeout", NULL, NULL);
	}
	else if (in_transaction && idle && past(w, c->idle_us, limit_of(u ? u->idle_transaction_timeout_us : 0, conf->idle_transaction_timeout_us)))
		client_fail(c, "08P01", "idle transaction timeout", NULL, NULL);
	else if (in_transaction && past(w, c->xact_us, limit_of(u ? u->transaction_timeout_us : 0, conf->transaction_timeout_us)))
		client_fail(c, "08P01", "transaction timeout", NULL, NULL);
	else if (!in_transaction && idle && past(w, c->last_us, limit_of(u ? u->client_idle_timeout_us : 0, conf->client_idle_timeout_us)))
		client_fail(c, "08P01", "client_idle_timeout", NULL, NULL);
	else if (!in_transaction && idle && past(w, c->last_us, c->idle_session_timeout_us))
		client_fail(c, "57P05", "terminating connection due to idle-session timeout", NULL, NULL);
}

static void check_client(struct client *c)
{
	struct worker *w = c->worker;

	switch (c->state) {
	case CLIENT_ACTIVE:
		check_active(c);
		return;
	case CLIENT_WELCOME:
		if ((c->line.waiter.pool && past(w, c->line.waiter.since_us, pools_query_wait_timeout_us(c->pool, c->user))) ||
		    (c->own_waiting && past(w, c->request_us, pools_query_wait_timeout_us(c->pool, c->user))))
			waited_too_long(c);
		else if (past(w, c->connected_us, w->config->client_login_timeout_us))
			client_fail(c, "08P01", c->pool->failing_since_us ? "client_login_timeout (server down)" : "client_login_timeout", NULL, NULL);
		return;
	case CLIENT_STARTUP:
	case CLIENT_TLS:
	case CLIENT_PROTOCOL:
	case CLIENT_AUTH:
	case CLIENT_DERIVE:
	case CLIENT_LOOKUP:
		if (past(w, c->connected_us, w->config->client_login_timeout_us))
			client_fail(c, "08P01", "client_login_timeout", NULL, NULL);
		return;
	default:
		return;
	}
}

static void check_conn(struct backend_conn *b)
{
	struct worker *w = b->worker;
	const struct config *conf = w->config;
	const struct config_database *d = b->pool->database->conf;
	int64_t lifetime = d && d->server_lifetime_us > 0 ? d->server_lifetime_us : conf->server_lifetime_us;
	struct pool *p = &b->pool->pool;

	if (b->state < CONN_READY) {
		if (past(w, b->node.opened_us, conf->server_connect_timeout_us))
			conn_timed_out(b);
		return;
	}
	if (b->state == CONN_CHECK || b->state == CONN_RESET || b->state == CONN_LOOKUP) {
		if (past(w, b->request_us, conf->server_connect_timeout_us)) {
			b->unheard = true;
			conn_close(b, b->state == CONN_CHECK ? "test query timeout" : "server did not answer in time");
		}
		return;
	}
	if (b->node.place != PLACE_IDLE)
		return;
	if (b->close_needed || w->paused || b->pool->database->paused)
		conn_close(b, b->close_needed ? "close_needed" : "paused");
	else if (past(w, b->node.since_us, conf->server_idle_timeout_us) && (pool_backends(p) > p->min || !p->min))
		conn_close(b, "server idle timeout");
	else if (w->now_us - b->node.opened_us >= lifetime)
		conn_close(b, "server lifetime over");
}

static void check_shutdown(struct worker *w)
{
	struct client *c;
	struct backend_conn *b;
	int clients = 0, held = 0;

	TAILQ_FOREACH (c, &w->clients, in)
		clients += c->state != CLIENT_CONSOLE;
	TAILQ_FOREACH (b, &w->backends, in)
		held += b->node.place == PLACE_ACTIVE && !b->pool->listening;
	if (w->shutdown == SHUTDOWN_WAIT_CLIENTS && !clients) {
		log_line(LOG_LEVEL_LOG, "all clients are gone, shutting down");
		worker_shutdown(w, SHUTDOWN_NOW);
	} else if (w->shutdown == SHUTDOWN_WAIT_SERVERS && !held) {
		log_line(LOG_LEVEL_LOG, "all server connections are free, shutting down");
		worker_shutdown(w, SHUTDOWN_NOW);
	} else if (w->shutdown != SHUTDOWN_NOW && w->now_us - w->told_us >= 5 * 1000000) {
		w->told_us = w->now_us;
		log_line(LOG_LEVEL_LOG, "shutting down: waiting for %d client%s, %d server connection%s in use", clients, clients == 1 ? "" : "s", held,
			 held == 1 ? "" : "s");
		TAILQ_FOREACH (b, &w->backends, in)
			if (b->client && b->client->session.pins) {
				char reasons[160];

				pin_reasons(b->client->session.pins, reasons, sizeof reasons);
				client_log(b->client, LOG_LEVEL_LOG, "holds a server connection: %s", reasons);
			}
	}
}

void janitor_run(struct worker *w)
{
	struct client *c, *next_c;
	struct backend_conn *b, *next_b;

	for (c = TAILQ_FIRST(&w->clients); c; c = next_c) {
		next_c = TAILQ_NEXT(c, in);
		check_client(c);
	}
	/* Closing one may serve another, never close one further on: the next stays valid. */
	for (b = TAILQ_FIRST(&w->backends); b; b = next_b) {
		next_b = TAILQ_NEXT(b, in);
		check_conn(b);
	}
	for (b = TAILQ_FIRST(&w->parting); b; b = next_b) {
		next_b = TAILQ_NEXT(b, in);
		if (past(w, b->request_us, PARTING_MAX_US)) {
			conn_log(b, LOG_LEVEL_WARNING, "PostgreSQL process %u is still there %d s after its connection was closed; it is counted no longer",
				 b->pid, PARTING_MAX_US / 1000000);
			conn_end(b);
		}
	}
	cancel_expire(w);
	lookup_expire(w);
	listening_tick(w);
	catalogue_tick(w);
	derive_tick(w);
	pools_serve_all(w);
	pools_expire(w);
	if (w->accept_paused)
		listeners_pause(w, false);
	console_tick(w);
	if (w->shutdown && w->shutdown != SHUTDOWN_NOW)
		check_shutdown(w);
}
