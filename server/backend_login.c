/* The way to PostgreSQL: resolve, connect, TLS, login. The stance towards a server is that of the client side: a message
 * out of place ends the connection. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "parser/reader.h"
#include "parser/report.h"
#include "parser/wire.h"
#include "server/backend_internal.h"
#include "server/catalogue.h"
#include "server/client.h"
#include "server/defaults.h"
#include "server/derive.h"
#include "server/listening.h"
#include "server/log.h"
#include "server/protocol.h"
#include "server/socket.h"
#include "server/vacate.h"

/* Login did not come about: who waits for it may have to be told. */
void conn_failed(struct backend_conn *b, const char *reason, const uint8_t *error, size_t len)
{
	struct db_pool *p = b->pool;
	struct worker *w = b->worker;
	uint32_t random;
	struct client *c, *next;
	const char *code = len ? report_field(error, len, 'C') : NULL;
	/* The database, or the role: and with it the session of whoever waits in line. */
	bool gone = code && (!strcmp(code, "3D000") || !strcmp(code, "28000"));

	if (p->protocol) {
		conn_close(b, reason);
		return;
	}
	worker_random(&random, sizeof random);
	conn_log(b, LOG_LEVEL_WARNING, "login failed: %s", reason);
	if (b->own) { /* which says nothing of the others */
		own_failed(b, reason, error, len);
		return;
	}
	if (!p->failing_since_us)
		p->failing_since_us = w->now_us;
	snprintf(p->last_reason, sizeof p->last_reason, "%s", reason);
	buf_reset(&p->last_error);
	buf_add(&p->last_error, error, len);
	pool_failed(&p->pool, w->now_us, random);
	conn_close(b, reason);
	/* PostgreSQL's own refusal is told at once; a server out of reach is given some time to come back. */
	if (!len && w->now_us - p->failing_since_us < LOGIN_PATIENCE_US)
		return;
	for (c = TAILQ_FIRST(&w->clients); c; c = next) {
		next = TAILQ_NEXT(c, in);
		if (c->pool == p && !c->backend && (c->state == CLIENT_WELCOME || (gone && c->line.waiter.pool)))
			client_login_failed(c);
	}
}

/* We and the server don't agree, and won't by waiting: clients are told at once, as by PostgreSQL. */
void conn_refused(struct backend_conn *b, const char *reason)
{
	struct buf error = { 0 };
	char text[300];

	snprintf(text, sizeof text, "server login failed: %s", reason);
	msg_report(&error, 'E', "FATAL", "08P01", text, NULL, NULL);
	conn_failed(b, reason, buf_head(&error) + WIRE_HEAD, buf_len(&error) - WIRE_HEAD);
	buf_release(&error);
}

void conn_timed_out(struct backend_conn *b)
{
	struct db_pool *p = b->pool;

	conn_failed(b, "connect timeout", NULL, 0);
	pools_serve(p);
}

/* ---- connecting ---- */

static void put_startup(struct backend_conn *b, struct buf *out)
{
	const struct config_database *d = b->pool->database->conf;
	const char *const extra[][2] = { { "client_encoding", d->client_encoding }, { "datestyle", d->datestyle },
					 { "timezone", d->timezone }, { "application_name", d->application_name } };

	buf_u32(out, 3 << 16);
	buf_str(out, "user");
	buf_str(out, b->pool->user->name);
	buf_str(out, "database");
	buf_str(out, d->dbname ? d->dbname : b->pool->database->name);
	if (b->own)
		own_startup(b, out);
	for (size_t i = 0; !b->own && i < sizeof extra / sizeof *extra; i++)
		if (extra[i][1]) {
			buf_str(out, extra[i][0]);
			buf_str(out, extra[i][1]);
		}
	buf_u8(out, 0);
}

static void send_startup(struct backend_conn *b)
{
	struct buf *out = stream_out(&b->stream);
	size_t mark = msg_begin(out, 0);

	if (b->pool->protocol)
		protocol_ask(b, out);
	else
		put_startup(b, out);
	msg_end(out, mark);
	conn_enter_state(b, CONN_LOGIN);
	worker_dirty(b->worker, &b->stream);
}

static void send_ssl_request(struct backend_conn *b)
{
	struct buf *out = stream_out(&b->stream);

	buf_u32(out, 8);
	buf_u32(out, 80877103);
	conn_enter_state(b, CONN_TLS_ASKED);
	worker_dirty(b->worker, &b->stream);
}

void conn_connected(void *owner)
{
	struct backend_conn *b = owner;
	struct worker *w = b->worker;

	worker_turn(w);
	if (b->state == CONN_CONNECTING) {
		socket_name(b->stream.fd, b->local_address, sizeof b->local_address, &b->local_port);
		if (w->config->log_connections)
			conn_log(b, LOG_LEVEL_LOG, "new connection to server (from %s:%d)", b->local_address, b->local_port);
		if (w->server_tls && b->peer.ss_family != AF_UNIX)
			send_ssl_request(b);
		else
			send_startup(b);
	} else if (b->state == CONN_TLS) {
		send_startup(b);
	}
	worker_turn_end(w);
}

void conn_tls_answer(struct backend_conn *b)
{
	struct worker *w = b->worker;
	const char *host = *b->host ? b->host : b->address;
	char answer;

	if (!buf_len(&b->stream.in))
		return;
	answer = (char)*buf_head(&b->stream.in);
	if (buf_len(&b->stream.in) > 1) {
		conn_failed(b, "received unencrypted data after SSL request", NULL, 0);
		return;
	}
	buf_consume(&b->stream.in, 1);
	if (answer == 'S') {
		conn_enter_state(b, CONN_TLS);
		if (!stream_start_tls_client(&b->stream, w->server_tls, host, w->config->server_tls_sslmode == SSLMODE_VERIFY_FULL))
			conn_failed(b, "TLS could not be started", NULL, 0);
	} else if (w->config->server_tls_sslmode >= SSLMODE_REQUIRE) {
		conn_refused(b, "server refused SSL");
	} else {
		send_startup(b);
	}
}

static void connect_to(struct backend_conn *b)
{
	const struct config *c = b->worker->config;
	bool connecting;
	int fd = socket_connect((struct sockaddr *)&b->peer, b->peer_len, c, &connecting);

	if (fd < 0) {
		char why[200];

		snprintf(why, sizeof why, "connect failed: %s", strerror(errno));
		conn_failed(b, why, NULL, 0);
		return;
	}
	conn_enter_state(b, CONN_CONNECTING);
	conn_stream_init(b, fd);
	b->have_stream = true;
	b->facts.out = &b->stream.out;
}

static void on_resolved(int result, struct evutil_addrinfo *list, void *arg)
{
	struct backend_conn *b = arg;
	struct worker *w = b->worker;
	struct db_pool *p = b->pool;
	struct evutil_addrinfo *ai = list;
	unsigned n = 0, take;

	if (result == EVUTIL_EAI_CANCEL) /* closed meanwhile */
		return;
	worker_turn(w);
	b->resolving = NULL;
	for (struct evutil_addrinfo *at = list; at; at = at->ai_next)
		n++;
	if (result || !n) {
		char why[300];

		snprintf(why, sizeof why, "server DNS lookup failed: %s: %s", b->host, result ? evutil_gai_strerror(result) : "no address");
		conn_failed(b, why, NULL, 0);
	} else {
		/* The next one after a failure, so that a dead address of several does not stick. */
		for (take = p->pool.failures % n; take; take--)
			ai = ai->ai_next;
		memcpy(&b->peer, ai->ai_addr, ai->ai_addrlen);
		b->peer_len = ai->ai_addrlen;
		socket_address((struct sockaddr *)&b->peer, b->address, sizeof b->address, NULL);
		connect_to(b);
	}
	if (list)
		evutil_freeaddrinfo(list);
	pools_serve(p);
	worker_turn_end(w);
}

static void resolve(struct backend_conn *b)
{
	struct evutil_addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP };
	struct evdns_getaddrinfo_request *r;
	char port[16];

	snprintf(port, sizeof port, "%d", b->port);
	conn_enter_state(b, CONN_RESOLVING);
	/* May call back before it returns. */
	r = evdns_getaddrinfo(b->worker->dns, b->host, port, &hints, on_resolved, b);
	if (r && b->state == CONN_RESOLVING)
		b->resolving = r;
}

/* One of a comma list, in turn. */
static void choose_host(struct backend_conn *b, const char *hosts)
{
	struct database *d = b->pool->database;
	unsigned n = 1, take;
	size_t len;

	for (const char *at = hosts; *at; at++)
		n += *at == ',';
	take = d->conf->load_balance ? d->next_host++ % n : b->pool->pool.failures % n;
	while (take--)
		hosts = strchr(hosts, ',') + 1;
	hosts += strspn(hosts, " ");
	len = strcspn(hosts, ", ");
	snprintf(b->host, sizeof b->host, "%.*s", (int)len, hosts);
}

static void open_conn(struct db_pool *p, struct client *own)
{
	struct worker *w = p->worker;
	const struct config_database *d = p->database->conf;
	struct backend_conn *b = calloc(1, sizeof *b);
	int numeric;

	if (!b)
		abort();
	b->worker = w;
	b->pool = p;
	b->id = ++w->last_client_id;
	b->port = d->port;
	b->defaults_generation = p->defaults_generation;
	backend_init(&b->facts, w->store.settings, NULL);
	b->facts.prepared_max = (size_t)w->config->max_prepared_statements;
	b->node.facts = &b->facts;
	b->own = own;
	b->single = own;
	if (own) {
		own->own = b;
		pool_opening_own(&p->pool, &b->node, w->now_us);
	} else {
		pool_opening(&p->pool, &b->node, w->now_us);
	}
	TAILQ_INSERT_TAIL(&w->backends, b, in);
	choose_host(b, d->host && *d->host ? d->host : *w->config->unix_socket_dir ? w->config->unix_socket_dir : "/tmp");
	if (*b->host == '/' || *b->host == '@') {
		b->peer_len = socket_unix_address(b->host, b->port, (struct sockaddr_un *)&b->peer);
		snprintf(b->address, sizeof b->address, "unix");
		connect_to(b);
		return;
	}
	numeric = socket_numeric(b->host, b->port, &b->peer, &b->peer_len);
	if (numeric) {
		socket_address((struct sockaddr *)&b->peer, b->address, sizeof b->address, NULL);
		connect_to(b);
		return;
	}
	resolve(b);
}

void conn_open(struct db_pool *p)
{
	open_conn(p, NULL);
}

void conn_open_own(struct client *c)
{
	open_conn(c->pool, c);
}

/* ---- login ---- */

/* What logs in: the line's own password, auth_file's, or what a client's login or auth_query has taught. */
static void login_secret(struct backend_conn *b, struct secret *out)
{
	const struct config_database *d = b->pool->database->conf;
	const char *text = d->user && d->password ? d->password : config_find_secret(b->worker->config, b->pool->user->name);
	const struct secret *learned = &b->pool->learned;

	memset(out, 0, sizeof *out);
	if (text)
		secret_parse(text, out);
	if (learned->kind == SECRET_NONE)
		return;
	if (out->kind == SECRET_NONE || (out->kind == SECRET_SCRAM && learned->kind == SECRET_SCRAM &&
					 !memcmp(out->scram.stored_key, learned->scram.stored_key, SCRAM_KEY_LEN)) ||
	    (out->kind != SECRET_PLAIN && learned->kind == SECRET_PLAIN))
		*out = *learned;
}

static void judged(struct backend_conn *b, enum auth_verdict verdict);

static bool on_derived(void *owner, const struct scram_verifier *keys)
{
	struct backend_conn *b = owner;
	struct db_pool *p = b->pool;
	enum auth_verdict verdict = auth_server_derived(b->auth, keys, stream_out(&b->stream));

	b->derive = NULL;
	judged(b, verdict);
	if (verdict == AUTH_FAIL)
		pools_serve(p);
	return verdict != AUTH_FAIL;
}

static void derive(struct backend_conn *b)
{
	const struct auth_wanted *wanted = auth_server_wanted(b->auth);
	struct scram_verifier keys;

	if (derive_find(b->worker, wanted, &keys))
		on_derived(b, &keys);
	else
		b->derive = derive_begin(b->worker, wanted, on_derived, b);
	explicit_bzero(&keys, sizeof keys);
}

static void judged(struct backend_conn *b, enum auth_verdict verdict)
{
	worker_dirty(b->worker, &b->stream);
	if (verdict == AUTH_FAIL) {
		conn_refused(b, auth_server_error(b->auth));
	} else if (verdict == AUTH_OK) {
		auth_server_free(b->auth);
		b->auth = NULL;
	} else if (verdict == AUTH_DERIVE) {
		derive(b);
	}
}

static void on_auth_request(struct backend_conn *b, const uint8_t *body, size_t len)
{

	if (!b->auth) {
		uint8_t entropy[32];
		struct secret secret;

		login_secret(b, &secret);
		worker_random(entropy, sizeof entropy);
		b->auth = auth_server_new(b->pool->user->name, &secret, entropy, (uint32_t)b->worker->config->server_scram_iterations_max);
		secret_wipe(&secret);
	}
	judged(b, auth_server_feed(b->auth, body, len, stream_out(&b->stream)));
}

void conn_opened(struct backend_conn *b)
{
	struct db_pool *p = b->pool;

	conn_enter_state(b, CONN_READY);
	pool_succeeded(&p->pool);
	p->failing_since_us = 0;
	b->used_us = b->worker->now_us;
	if (b->own) {
		own_opened(b);
		return;
	}
	pool_opened(&b->node, b->worker->now_us);
	if (vacate_holds(b->worker, p->database))
		conn_close(b, "its database is to be left");
	else if (b->close_needed) /* it may have started before what it is to be replaced for */
		conn_close(b, "close_needed");
	else if (p->listening && pool_take(&p->pool, NULL, NULL, b->worker->now_us))
		listening_connected(p->listening, b);
	pools_serve(p);
}

static void login_done(struct backend_conn *b)
{
	if ((b->own && b->own->replication) || !catalogue_claims(b))
		conn_opened(b);
}

/* ReadyForQuery: what comes next, up to being of use. */
static void login_step(struct backend_conn *b)
{
	const char *query = b->pool->database->conf ? b->pool->database->conf->connect_query : NULL;

	switch (b->state) {
	case CONN_LOGIN:
		if (b->own && b->own->replication) /* which takes other commands than these */
			query = NULL;
		else if (!b->own && !defaults_ask(b))
			return;
		break;
	case CONN_LEARN:
		defaults_learned(b);
		break;
	case CONN_GREETING:
		if (query && !b->own && !defaults_ask_greeting(b))
			return;
		login_done(b);
		return;
	default:
		defaults_greeting_learned(b);
		login_done(b);
		return;
	}
	if (query && *query) {
		conn_enter_state(b, CONN_GREETING);
		conn_send_query(b, query);
		return;
	}
	login_done(b);
}

void conn_login_message(struct backend_conn *b, char type, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	const char *name, *value;
	char why[200];

	if (b->pool->protocol) {
		protocol_message(b, type, body, len);
		return;
	}
	switch (type) {
	case 'R':
		on_auth_request(b, body, len);
		return;
	case 'S':
		name = reader_str(&r, NULL);
		value = reader_str(&r, NULL);
		if (value) {
			backend_reported(&b->facts, name, value);
			pools_report_order(b->pool, name);
			if (!strcmp(name, "server_version"))
				protocol_reported(b->pool->database, value);
		}
		return;
	case 'K':
		b->pid = reader_u32(&r);
		b->secret = reader_u32(&r);
		return;
	case 'N':
		if (b->own && b->state == CONN_LOGIN)
			msg_add(stream_out(&b->own->stream), 'N', body, len);
		return;
	case 'v':
		return;
	case 'E':
		value = report_field(body, len, 'M');
		snprintf(why, sizeof why, "%s", value ? value : "server sent an error without a message");
		if (b->state != CONN_LOGIN) {
			conn_log(b, LOG_LEVEL_WARNING, "%s failed: %s",
				 b->state == CONN_GREETING ? "connect_query" : "asking for the settings it starts with", why);
			return;
		}
		/* Starting up or shutting down (57P01 to 57P03) is no refusal: it is out of reach for a while. */
		name = report_field(body, len, 'C');
		conn_failed(b, why, body, name && !strncmp(name, "57P0", 4) ? 0 : len);
		return;
	case 'Z':
		login_step(b);
		return;
	case 'D':
		if (b->state == CONN_LEARN || b->state == CONN_GREETED)
			defaults_row(b, body, len);
		else if (b->state == CONN_LOGIN)
			conn_failed(b, "unexpected message during login", NULL, 0);
		return;
	default:
		if (b->state == CONN_LOGIN)
			conn_failed(b, "unexpected message during login", NULL, 0);
	}
}
