/* What the console does: commands, and the waiting for those that take their time. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/backend_conn.h"
#include "server/console_internal.h"
#include "server/console_parse.h"
#include "server/log.h"

/* How often, in seconds, who waits is told for whom; of how many. */
enum { TELL_EVERY = 3, TELL_MAX = 8 };

enum wait_kind { WAIT_PAUSE, WAIT_CLOSE };

struct console_wait {
	TAILQ_ENTRY(console_wait) in;
	struct client *client;
	enum wait_kind kind;
	char database[CONSOLE_ARG_MAX]; /* "": all. By name: a RELOAD may take the entry away */
	int64_t since_us, tell_us;
};

static const char *const wait_words[] = { [WAIT_PAUSE] = "PAUSE", [WAIT_CLOSE] = "WAIT_CLOSE" };

/* ---- which database ---- */

/* The database of the name, or NULL after an error. made: entries of '*' are made, as for a client. verb: "pause". */
static struct database *database_named(struct client *c, const char *name, bool made, const char *verb)
{
	struct database *d;

	if (console_is_admin_db(name)) {
		console_error(c, "08P01", NULL, NULL, "cannot %s admin db: %s", verb, name);
		return NULL;
	}
	d = pools_database(c->worker, name, made);
	if (!d)
		console_error(c, "08P01", NULL, NULL, "no such database: %s", name);
	return d;
}

static void issued(struct client *c, const char *word, const char *arg)
{
	client_log(c, LOG_LEVEL_LOG, *arg ? "%s '%s' command issued" : "%s command issued", word, arg);
}

/* ---- waiting ---- */

static void wait_end(struct console_wait *wait)
{
	struct client *c = wait->client;

	TAILQ_REMOVE(&c->worker->waits, wait, in);
	c->wait = NULL;
	free(wait);
	client_schedule(c);
}

static bool closing_left(const struct worker *w, const struct database *d)
{
	const struct backend_conn *b;

	TAILQ_FOREACH (b, &w->backends, in)
		if (b->state != CONN_DEAD && b->close_needed && (!d || b->pool->database == d))
			return true;
	return false;
}

static bool concerns(const struct console_wait *wait, const struct database *d, const struct backend_conn *b)
{
	if (b->state == CONN_DEAD || (d && b->pool->database != d))
		return false;
	return wait->kind == WAIT_PAUSE || b->close_needed;
}

/* "client 12 app@127.0.0.1:5000: in a transaction for 40 s, pinned by advisory lock for 300 s (SELECT pg_…)" */
static void tell_holder(struct buf *out, const struct backend_conn *b)
{
	const struct client *h = b->client;
	int64_t now_us = b->worker->now_us;
	char reasons[256], address[SOCKET_TEXT];

	buf_printf(out, "server connection %u of %s", b->pid, b->pool->database->name);
	if (!h) {
		buf_printf(out, ": %s\n", conn_state_name(b));
		return;
	}
	buf_printf(out, ": client %llu %s@%s:%d", (unsigned long long)h->id, h->user_name, socket_end_text(&h->there, address), h->there.port);
	if (session_in_transaction(&h->session))
		buf_printf(out, ", in a transaction for %lld s", (long long)((now_us - h->xact_us) / 1000000));
	else if (h->busy)
		buf_printf(out, ", running a query for %lld s", (long long)((now_us - h->query_us) / 1000000));
	if (h->session.pins) {
		buf_printf(out, ", pinned by %s for %lld s",
			   console_pin_reasons(h->session.pins, reasons, sizeof reasons),
			   h->pinned_us ? (long long)((now_us - h->pinned_us) / 1000000) : 0LL);
		if (h->session.pin_text)
			buf_printf(out, " (%s)", h->session.pin_text);
	}
	buf_u8(out, '\n');
}

static void tell(struct console_wait *wait, const struct database *d)
{
	struct client *c = wait->client;
	const struct backend_conn *b;
	struct buf detail = { 0 }, clean = { 0 };
	char message[200];
	int n = 0;

	TAILQ_FOREACH (b, &c->worker->backends, in)
		if (concerns(wait, d, b) && n++ < TELL_MAX)
			tell_holder(&detail, b);
	if (n > TELL_MAX)
		buf_printf(&detail, "and %d more\n", n - TELL_MAX);
	if (buf_len(&detail))
		detail.end--; /* the last newline */
	buf_u8(&detail, 0);
	utf8_add(&clean, (const char *)buf_head(&detail));
	buf_u8(&clean, 0);
	snprintf(message, sizeof message, "%s waits for %d server connection%s", wait_words[wait->kind], n, n == 1 ? "" : "s");
	msg_report(console_out(c), 'N', "NOTICE", "00000", message, (const char *)buf_head(&clean),
		   "KILL_CLIENT <client id> ends one.");
	buf_release(&detail);
	buf_release(&clean);
}

/* True when the wait is over, and answered. */
static bool wait_check(struct console_wait *wait)
{
	struct client *c = wait->client;
	struct worker *w = c->worker;
	const struct database *d = *wait->database ? pools_database(w, wait->database, false) : NULL;
	bool gone = *wait->database && !d;

	if (wait->kind == WAIT_PAUSE && !gone && !(d ? d->paused : w->paused)) {
		console_error(c, "57014", NULL, NULL, "PAUSE was undone before it was done");
		return true;
	}
	if (!gone && !(wait->kind == WAIT_PAUSE ? worker_pause_done(w, d) : !closing_left(w, d))) {
		if (w->now_us >= wait->tell_us) {
			tell(wait, d);
			wait->tell_us = w->now_us + TELL_EVERY * 1000000;
		}
		return false;
	}
	console_done(c, wait_words[wait->kind]);
	return true;
}

void console_tick(struct worker *w)
{
	struct console_wait *wait, *next;

	for (wait = TAILQ_FIRST(&w->waits); wait; wait = next) {
		next = TAILQ_NEXT(wait, in);
		if (wait_check(wait))
			wait_end(wait);
	}
}

static void wait_begin(struct client *c, enum wait_kind kind, const struct database *d)
{
	struct console_wait *wait = calloc(1, sizeof *wait);

	if (!wait)
		abort();
	wait->client = c;
	wait->kind = kind;
	wait->since_us = c->worker->now_us;
	wait->tell_us = wait->since_us + TELL_EVERY * 1000000;
	if (d)
		snprintf(wait->database, sizeof wait->database, "%s", d->name);
	c->wait = wait;
	TAILQ_INSERT_TAIL(&c->worker->waits, wait, in);
	if (wait_check(wait))
		wait_end(wait);
}

void console_gone(struct client *c)
{
	if (c->wait)
		wait_end(c->wait);
}

void console_cancel(struct client *c)
{
	struct console_wait *wait = c->wait;
	struct database *d;

	if (!wait)
		return;
	d = *wait->database ? pools_database(c->worker, wait->database, false) : NULL;
	if (wait->kind == WAIT_PAUSE && !c->worker->shutdown && (d || !*wait->database))
		worker_resume(c->worker, d);
	console_error(c, "57014", NULL, NULL, "canceling statement due to user request");
	wait_end(wait);
	console_tick(c->worker);
}

/* ---- commands; admin rights have been seen to ---- */

static void pause_command(struct client *c, const char *arg)
{
	struct worker *w = c->worker;
	struct database *d = NULL;

	if (w->paused) {
		console_error(c, "08P01", NULL, NULL, "already suspended/paused");
		return;
	}
	if (*arg && !(d = database_named(c, arg, true, "pause")))
		return;
	issued(c, "PAUSE", arg);
	worker_pause(w, d);
	wait_begin(c, WAIT_PAUSE, d);
}

static bool anything_paused(const struct worker *w)
{
	const struct database *d;

	TAILQ_FOREACH (d, &w->databases, in)
		if (d->paused)
			return true;
	return w->paused;
}

static void resume_command(struct client *c, const char *arg)
{
	struct worker *w = c->worker;
	struct database *d = NULL;

	if (*arg) {
		if (!(d = database_named(c, arg, false, "resume")))
			return;
		if (!d->paused) {
			console_error(c, "08P01", NULL, NULL, "database %s is not paused", arg);
			return;
		}
	} else if (w->shutdown) {
		console_error(c, "08P01", NULL, NULL, "pooler is shutting down");
		return;
	} else if (!anything_paused(w)) {
		console_error(c, "08P01", NULL, NULL, "pooler is not paused/suspended");
		return;
	}
	issued(c, "RESUME", arg);
	worker_resume(w, d);
	console_done(c, "RESUME");
	console_tick(w);
}

static void reconnect_command(struct client *c, const char *arg)
{
	struct database *d = NULL;

	if (*arg && !(d = database_named(c, arg, true, "reconnect")))
		return;
	issued(c, "RECONNECT", arg);
	worker_reconnect(c->worker, d);
	console_done(c, "RECONNECT");
}

static void wait_close_command(struct client *c, const char *arg)
{
	struct database *d = NULL;

	if (*arg && !(d = database_named(c, arg, true, "wait in")))
		return;
	issued(c, "WAIT_CLOSE", arg);
	wait_begin(c, WAIT_CLOSE, d);
}

static void enable(struct client *c, const char *arg, bool on)
{
	struct database *d;

	if (!*arg) {
		console_error(c, "08P01", NULL, NULL, "a database is required");
		return;
	}
	d = database_named(c, arg, !on, on ? "enable" : "disable");
	if (!d)
		return;
	issued(c, on ? "ENABLE" : "DISABLE", arg);
	d->disabled = !on;
	console_done(c, on ? "ENABLE" : "DISABLE");
}

static void enable_command(struct client *c, const char *arg)
{
	enable(c, arg, true);
}

static void disable_command(struct client *c, const char *arg)
{
	enable(c, arg, false);
}

/* Pauses first, so that nothing is handed on or opened while the connections go. From the start after each: one's end may
 * be another's. */
static void kill_database(struct worker *w, struct database *d)
{
	struct client *c;
	struct backend_conn *b;

	worker_pause(w, d);
	for (c = TAILQ_FIRST(&w->clients); c;) {
		if (c->database == d && c->state != CLIENT_DEAD) {
			client_fail(c, "57P01", "admin forced disconnect", NULL, NULL);
			c = TAILQ_FIRST(&w->clients);
		} else {
			c = TAILQ_NEXT(c, in);
		}
	}
	for (b = TAILQ_FIRST(&w->backends); b;) {
		if (b->pool->database == d && b->state != CONN_DEAD) {
			conn_close(b, "KILL command issued");
			b = TAILQ_FIRST(&w->backends);
		} else {
			b = TAILQ_NEXT(b, in);
		}
	}
}

static void kill_command(struct client *c, const char *arg)
{
	struct worker *w = c->worker;
	struct database *d = NULL;

	if (w->paused) {
		console_error(c, "08P01", NULL, NULL, "already suspended/paused");
		return;
	}
	if (*arg && !(d = database_named(c, arg, true, "kill")))
		return;
	issued(c, "KILL", arg);
	if (d) {
		kill_database(w, d);
	} else {
		TAILQ_FOREACH (d, &w->databases, in)
			kill_database(w, d);
	}
	console_done(c, "KILL");
}

static void kill_client_command(struct client *c, const char *arg)
{
	struct client *at;
	unsigned long long id;

	if (!isdigit((unsigned char)*arg)) {
		console_error(c, "08P01", NULL, "SHOW CLIENTS has them in its column id.", "invalid client pointer supplied");
		return;
	}
	id = strtoull(arg, NULL, 10);
	TAILQ_FOREACH (at, &c->worker->clients, in)
		if (at->id == id && at->state != CLIENT_DEAD)
			break;
	if (!at) {
		console_error(c, "08P01", NULL, NULL, "client not found");
		return;
	}
	issued(c, "KILL_CLIENT", arg);
	client_fail(at, "57P01", "admin forced disconnect", NULL, NULL);
	if (at != c)
		console_done(c, "KILL_CLIENT");
}

static void reload_command(struct client *c, const char *arg)
{
	char why[1024] = "";

	issued(c, "RELOAD", arg);
	if (worker_reload(c->worker, why, sizeof why))
		console_done(c, "RELOAD");
	else
		console_error(c, "F0000", why, "What was running goes on unchanged.", "RELOAD failed, see logs for additional details");
	console_tick(c->worker); /* who waits for a database that is no more */
}

/* An immediate one is not answered: the connection's end tells that it is done. */
static void shutdown_command(struct client *c, const char *arg)
{
	enum shutdown_mode mode = !*arg				     ? SHUTDOWN_NOW :
				  strcasecmp(arg, "wait_for_clients") ? SHUTDOWN_WAIT_SERVERS :
									SHUTDOWN_WAIT_CLIENTS;

	issued(c, "SHUTDOWN", arg);
	if (mode != SHUTDOWN_NOW)
		console_done(c, "SHUTDOWN");
	worker_shutdown(c->worker, mode);
}

static void suspend_command(struct client *c, const char *arg)
{
	console_error(c, "0A000", "pgporter does not hand its sockets to another process.",
		      "PAUSE waits for transactions and keeps clients connected.", "SUSPEND is not supported");
}

enum argument { ARGUMENT_NONE, ARGUMENT_ANY, ARGUMENT_SHUTDOWN };

static const struct {
	const char *word;
	void (*run)(struct client *c, const char *arg);
	enum argument argument;
} commands[] = {
	{ "disable", disable_command, ARGUMENT_ANY },
	{ "enable", enable_command, ARGUMENT_ANY },
	{ "kill", kill_command, ARGUMENT_ANY },
	{ "kill_client", kill_client_command, ARGUMENT_ANY },
	{ "pause", pause_command, ARGUMENT_ANY },
	{ "reconnect", reconnect_command, ARGUMENT_ANY },
	{ "reload", reload_command, ARGUMENT_NONE },
	{ "resume", resume_command, ARGUMENT_ANY },
	{ "shutdown", shutdown_command, ARGUMENT_SHUTDOWN },
	{ "suspend", suspend_command, ARGUMENT_NONE },
	{ "wait_close", wait_close_command, ARGUMENT_ANY },
};

static bool argument_fits(enum argument kind, const char *arg)
{
	return !*arg || kind == ARGUMENT_ANY ||
	       (kind == ARGUMENT_SHUTDOWN && (!strcasecmp(arg, "wait_for_servers") || !strcasecmp(arg, "wait_for_clients")));
}

static void needs_admin(struct client *c)
{
	console_error(c, "08P01", NULL, NULL, "admin access needed");
}

bool console_run(struct client *c, const char *word, const char *arg)
{
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		if (strcasecmp(commands[i].word, word))
			continue;
		if (!argument_fits(commands[i].argument, arg))
			return false;
		if (c->admin)
			commands[i].run(c, arg);
		else
			needs_admin(c);
		return true;
	}
	return false;
}

void console_set(struct client *c, const char *key, const char *value)
{
	bool ignored = false;
	char why[1024] = "", tag[CONSOLE_ARG_MAX + CONSOLE_VALUE_MAX + 8];
	struct config *made;

	if (!c->admin) {
		needs_admin(c);
		return;
	}
	made = config_with(c->worker->config, key, value, &ignored, why, sizeof why);
	if (!made) {
		console_error(c, "08P01", why, NULL, "SET failed");
		return;
	}
	snprintf(tag, sizeof tag, "SET %s=%s", key, value);
	if (ignored) {
		config_free(made);
		msg_report(console_out(c), 'N', "NOTICE", "00000", "this option can't change at run time and stays as it is", NULL,
			   "Write it into the configuration file and restart.");
		console_done(c, tag);
		return;
	}
	if (!worker_adopt(c->worker, made, why, sizeof why)) {
		console_error(c, "08P01", why, NULL, "SET failed");
		return;
	}
	client_log(c, LOG_LEVEL_LOG, "%s command issued", tag);
	console_done(c, tag);
}
