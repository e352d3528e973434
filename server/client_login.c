/* From the first byte of a connection to ReadyForQuery. The identity is fixed by the first StartupMessage; nothing a
 * client asked for is applied to any backend before it is authenticated. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <sys/socket.h>

#include "parser/must.h"
#include "parser/reader.h"
#include "parser/report.h"
#include "parser/startup.h"
#include "parser/wire.h"
#include "server/backend_conn.h"
#include "server/catalogue.h"
#include "server/client.h"
#include "server/console.h"
#include "server/defaults.h"
#include "server/derive.h"
#include "server/listening.h"
#include "server/log.h"
#include "server/protocol.h"

enum { AUTH_MESSAGE_MAX = 65536 };

static void answer_byte(struct client *c, char byte)
{
	buf_u8(stream_out(&c->stream), (uint8_t)byte);
	stream_flush_now(&c->stream);
}

static void on_ssl_request(struct client *c, size_t packet_len)
{
	struct worker *w = c->worker;

	if (c->ssl_asked || stream_is_tls(&c->stream)) {
		client_fail(c, "08P01", "SSL req inside SSL", NULL, NULL);
		return;
	}
	c->ssl_asked = true;
	buf_consume(&c->stream.in, packet_len);
	if (!w->client_tls) {
		answer_byte(c, 'N');
		return;
	}
	if (buf_len(&c->stream.in)) {
		client_fail(c, "08P01", "received unencrypted data after SSL request", NULL, NULL);
		return;
	}
	answer_byte(c, 'S');
	c->state = CLIENT_TLS;
	if (!stream_start_tls_server(&c->stream, w->client_tls))
		client_close(c, "TLS could not be started");
}

static void on_gss_request(struct client *c, size_t packet_len)
{
	if (c->gss_asked) {
		client_fail(c, "08P01", "received a second GSSAPI encryption request", NULL, NULL);
		return;
	}
	c->gss_asked = true;
	buf_consume(&c->stream.in, packet_len);
	answer_byte(c, 'N');
}

static void on_cancel(struct client *c, const struct startup *st)
{
	c->state = CLIENT_CANCEL;
	cancel_begin(c, st->cancel_pid, st->cancel_key, st->cancel_key_len);
}

/* ---- StartupMessage ---- */

static bool is_console(const char *name)
{
	return !strcmp(name, "pgbouncer") || !strcmp(name, "pgporter");
}

static const char *param(const struct client *c, const char *name)
{
	struct reader r = reader_of(buf_head(&c->params), buf_len(&c->params));

	while (!r.bad && reader_left(&r)) {
		const char *key = reader_str(&r, NULL), *value = reader_str(&r, NULL);

		if (value && !strcmp(key, name))
			return value;
	}
	return NULL;
}

static void keep_params(struct client *c, const struct startup *st)
{
	const char *name, *value, *user = NULL, *database = NULL;
	size_t at = 0;

	while (startup_param(st, &at, &name, &value)) {
		buf_str(&c->params, name);
		buf_str(&c->params, value);
		if (!strcmp(name, "user"))
			user = value;
		else if (!strcmp(name, "database"))
			database = value;
	}
	if (!user || !*user)
		return;
	c->user_name = must(strdup(user));
	c->database_name = must(strdup(database && *database ? database : user));
}

/* Made if need be; NULL: not in the configuration. */
static void find_database(struct client *c)
{
	c->database = pools_database(c->worker, c->database_name, true);
	if (c->database && !c->database->conf)
		c->database = NULL;
}

static bool over(const struct pool_limit *l)
{
	return l->max > 0 && l->count >= l->max;
}

static bool admit(struct client *c)
{
	struct worker *w = c->worker;

	if (w->n_clients >= w->config->max_client_conn)
		client_fail(c, "08P01", "no more connections allowed (max_client_conn)", NULL, NULL);
	else if (c->database && over(&c->database->clients))
		client_fail(c, "08P01", "client connections exceeded (max_db_client_connections)", NULL, NULL);
	else if (over(&c->user->clients))
		client_fail(c, "08P01", "client connections exceeded (max_user_client_connections)", NULL, NULL);
	else {
		c->counted = true;
		w->n_clients++;
		if (c->database)
			c->database->clients.count++;
		c->user->clients.count++;
		return true;
	}
	return false;
}

static void judged(struct client *c, enum auth_verdict verdict);

static void begin_auth(struct client *c, enum auth_method method, const struct secret *secret)
{
	struct worker *w = c->worker;
	uint8_t entropy[64], binding[64];
	size_t binding_len = stream_is_tls(&c->stream) ? stream_tls_binding(&c->stream, binding) : 0;

	worker_random(entropy, sizeof entropy);
	c->auth = auth_client_new(method, c->user_name, secret, (uint32_t)w->config->scram_iterations, w->mock_key, entropy,
				  binding_len ? binding : NULL, binding_len);
	c->state = CLIENT_AUTH;
	judged(c, auth_client_start(c->auth, stream_out(&c->stream)));
	if (c->state != CLIENT_DEAD)
		worker_dirty(w, &c->stream);
}

static const char *first_text(const char *a, const char *b)
{
	return a && *a ? a : b && *b ? b : NULL;
}

/* The client's secret: from auth_file, else by auth_query, else there is none and a mock exchange follows. */
static void find_secret(struct client *c)
{
	struct worker *w = c->worker;
	const struct config *conf = w->config;
	const struct config_database *d = c->database ? c->database->conf : NULL;
	enum auth_method method = (enum auth_method)conf->auth_type;
	const char *text = config_find_secret(conf, c->user_name);
	const char *auth_user = first_text(d ? d->auth_user : NULL, conf->auth_user);
	const char *auth_db = first_text(d ? d->auth_dbname : NULL, conf->auth_dbname);
	struct database *lookup_in;
	struct secret secret = { .kind = SECRET_NONE };

	if (method == AUTH_ANY || (method == AUTH_TRUST && (text || !auth_user))) {
		if (method == AUTH_TRUST && !text && *conf->auth_file && conf->n_secrets) {
			client_fail(c, "28000", "\"trust\" authentication failed", NULL,
				    "With auth_type = trust the user has to be in auth_file.");
			return;
		}
		begin_auth(c, method, NULL);
		return;
	}
	if (text) {
		secret_parse(text, &secret);
		begin_auth(c, method, &secret);
		secret_wipe(&secret);
		return;
	}
	if (auth_user && strcmp(auth_user, c->user_name)) {
		lookup_in = auth_db ? pools_database(w, auth_db, true) : c->database;
		if (lookup_in && lookup_in->conf) {
			c->state = CLIENT_LOOKUP;
			lookup_begin(c, lookup_in, auth_user, d && d->auth_query ? d->auth_query : conf->auth_query);
			return;
		}
	}
	begin_auth(c, method, NULL);
}

void client_looked_up(struct client *c, const struct secret *secret)
{
	if (secret && secret->kind != SECRET_NONE && (enum auth_method)c->worker->config->auth_type == AUTH_TRUST)
		begin_auth(c, AUTH_TRUST, NULL);
	else
		begin_auth(c, (enum auth_method)c->worker->config->auth_type == AUTH_TRUST ? AUTH_SCRAM :
									      (enum auth_method)c->worker->config->auth_type,
			   secret);
	client_schedule(c);
}

/* The operating system's word for who is on the other end of a unix socket. */
static bool same_unix_user(const struct client *c)
{
	struct ucred cred;
	socklen_t len = sizeof cred;

	return c->unix_socket && !getsockopt(c->stream.fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) && cred.uid == geteuid();
}

static void begin_console(struct client *c)
{
	const struct config *conf = c->worker->config;
	bool own = !strcmp(c->user_name, "pgbouncer") && same_unix_user(c);

	c->admin = own || config_list_has(conf->admin_users, c->user_name);
	if (!c->admin && !config_list_has(conf->stats_users, c->user_name) && conf->auth_type != AUTH_ANY) {
		client_fail(c, "08P01", "not allowed", NULL, "Add the user to admin_users or stats_users.");
		return;
	}
	if (own)
		begin_auth(c, AUTH_TRUST, NULL);
	else
		find_secret(c);
}

static void enter_session(struct client *c)
{
	struct worker *w = c->worker;

	if (!c->user_name) {
		client_fail(c, "28000", "no PostgreSQL user name specified in startup packet", NULL, NULL);
		return;
	}
	if (w->config->client_tls_sslmode >= SSLMODE_REQUIRE && !stream_is_tls(&c->stream) && !c->unix_socket) {
		client_fail(c, "08P01", "SSL required", NULL, NULL);
		return;
	}
	if (is_console(c->database_name)) {
		begin_console(c);
		return;
	}
	if (w->shutdown) {
		client_fail(c, "57P01", "pooler is shutting down", NULL, NULL);
		return;
	}
	c->replication = own_replication(param(c, "replication"));
	find_database(c);
	if (c->database && c->database->disabled) {
		char text[200];

		snprintf(text, sizeof text, "database \"%.100s\" is disabled", c->database_name);
		client_fail(c, "08P01", text, NULL, NULL);
		return;
	}
	c->user = pools_user(w, c->user_name);
	if (admit(c))
		find_secret(c);
}

static void answer_version(struct client *c)
{
	if (c->major != 3) {
		protocol_refuse(c);
		return;
	}
	protocol_negotiate(c, c->database_name && is_console(c->database_name));
	enter_session(c);
}

/* A newer version than 3.0: how it is answered hangs on the server. */
static void answer_newer(struct client *c)
{
	find_database(c);
	if (protocol_known(c))
		answer_version(c);
}

void client_protocol_known(struct client *c)
{
	answer_newer(c);
	if (c->state != CLIENT_PROTOCOL)
		client_schedule(c); /* it may have sent more meanwhile */
}

static void on_startup(struct client *c, const struct startup *st)
{
	bool newer = st->major > 3 || (st->major == 3 && st->minor);

	c->major = st->major;
	c->minor = st->minor;
	keep_params(c, st);
	if (newer && c->user_name && !is_console(c->database_name))
		answer_newer(c);
	else
		answer_version(c);
}

static bool one_packet(struct client *c)
{
	struct buf *in = &c->stream.in;
	struct startup st;

	switch (startup_read(buf_head(in), buf_len(in), &st)) {
	case WIRE_MORE:
		return false;
	case WIRE_BAD:
		client_fail(c, "08P01", "invalid startup packet layout: expected terminator as last byte", NULL, NULL);
		return false;
	case WIRE_OK:
		break;
	}
	switch (st.kind) {
	case STARTUP_SSL:
		on_ssl_request(c, st.packet_len);
		return true;
	case STARTUP_GSSENC:
		on_gss_request(c, st.packet_len);
		return true;
	case STARTUP_CANCEL:
		on_cancel(c, &st);
		return false;
	case STARTUP_OLD:
	case STARTUP_SESSION:
		on_startup(c, &st);
		if (c->state != CLIENT_DEAD)
			buf_consume(in, st.packet_len);
		return false;
	}
	return false;
}

void client_startup(struct client *c)
{
	while (c->state == CLIENT_STARTUP && buf_len(&c->stream.in) && one_packet(c))
		;
}

/* ---- after authentication ---- */

static void lower(char *s)
{
	for (; *s; s++)
		*s = (char)tolower((unsigned char)*s);
}

static void start_with(struct client *c, const char *name, const char *value)
{
	char key[256];

	if (strlen(name) >= sizeof key)
		return;
	snprintf(key, sizeof key, "%s", name);
	lower(key);
	session_start_with(&c->session, key, value);
}

static void start_options(struct client *c, const char *options)
{
	const char *at = options, *name, *value;
	char word[STARTUP_MAX];

	for (;;)
		switch (options_next(&at, word, sizeof word, &name, &value)) {
		case OPTIONS_END:
			return;
		case OPTIONS_SETTING:
			start_with(c, name, value);
			break;
		case OPTIONS_BAD:
			if (config_list_has(c->worker->config->ignore_startup_parameters, "options"))
				break;
			c->own_wanted = true; /* PostgreSQL's own switches: it takes or refuses them */
			return;
		}
}

/* As PostgreSQL: the options first, so that a parameter of its own beats them. */
static void start_settings(struct client *c)
{
	struct reader r = reader_of(buf_head(&c->params), buf_len(&c->params));
	const char *options = param(c, "options");
	bool add_host = c->worker->config->application_name_add_host;
	char name_and_host[300], address[SOCKET_TEXT];

	if (options)
		start_options(c, options);
	if (add_host) { /* for those who give no name */
		snprintf(name_and_host, sizeof name_and_host, "app - %s:%d", socket_end_text(&c->there, address), c->there.port);
		start_with(c, "application_name", name_and_host);
	}
	while (!r.bad && reader_left(&r)) {
		const char *name = reader_str(&r, NULL), *value = reader_str(&r, NULL);

		if (!value || !strcmp(name, "user") || !strcmp(name, "database") || !strcmp(name, "options") ||
		    !strcmp(name, "replication") || !strncmp(name, "_pq_.", 5))
			continue;
		if (!strcasecmp(name, "application_name") && add_host) {
			snprintf(name_and_host, sizeof name_and_host, "%.150s - %s:%d", value, socket_end_text(&c->there, address), c->there.port);
			value = name_and_host;
		}
		start_with(c, name, value);
	}
}

/* A number with one of PostgreSQL's units of time; without, it is milliseconds. */
static bool read_time(const char *text, int64_t *out_us)
{
	static const struct {
		const char *name;
		double us;
	} units[] = { { "", 1e3 }, { "us", 1 }, { "ms", 1e3 }, { "s", 1e6 }, { "min", 60e6 }, { "h", 3600e6 }, { "d", 86400e6 } };
	char *end;
	double n = strtod(text, &end);
	size_t len;

	if (end == text || !(n >= 0 && n <= INT32_MAX))
		return false;
	end += strspn(end, " \t\n");
	len = strcspn(end, " \t\n");
	if (end[len + strspn(end + len, " \t\n")])
		return false;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (strlen(units[i].name) == len && !strncmp(units[i].name, end, len)) {
			*out_us = (int64_t)(n * units[i].us);
			return true;
		}
	return false;
}

void client_idle_timeout(struct client *c)
{
	if (!read_time(c->session.idle_session_timeout, &c->idle_session_timeout_us))
		c->idle_session_timeout_us = c->base_idle_timeout_us;
	c->session.idle_timeout_changed = false;
}

/* idle_session_timeout is about the client, idle and unlinked as it mostly is: ours to enforce. What isn't a time is left
 * to PostgreSQL, which refuses it. */
static void take_idle_session_timeout(struct client *c)
{
	const char *value = settings_get(c->session.base, "idle_session_timeout");

	c->base_idle_timeout_us = 0;
	if (!value || !read_time(value, &c->idle_session_timeout_us))
		return;
	c->base_idle_timeout_us = c->idle_session_timeout_us;
}

/* What logs in to servers from now on: what this login has proven, not what an earlier one with an older password did. */
static void learn(struct db_pool *p, const struct secret *learned)
{
	if (learned->kind == SECRET_NONE || (learned->kind == SECRET_SCRAM && !learned->scram.have_client_key))
		return;
	if (learned->kind != p->learned.kind || strcmp(learned->text, p->learned.text) ||
	    memcmp(learned->scram.client_key, p->learned.scram.client_key, SCRAM_KEY_LEN))
		pool_succeeded(&p->pool); /* worth a try at once */
	secret_wipe(&p->learned);
	p->learned = *learned;
}

/* With a connection of its own: PostgreSQL gets the parameters as they came. */
static void start_alone(struct client *c)
{
	c->own_wanted = true;
	if (c->replication) {
		c->session.through = true;
		c->session.carry = false;
	}
	session_starts_alone(&c->session);
}

static void begin_session(struct client *c, const struct secret *learned)
{
	struct worker *w = c->worker;
	const struct settings *reported;

	if (w->config->log_connections)
		client_log(c, LOG_LEVEL_LOG, "login attempt: db=%s user=%s tls=%s replication=%s", c->database_name, c->user_name,
			   stream_is_tls(&c->stream) ? "yes" : "no", c->replication ? own_replication_name(c->replication) : "no");
	c->pool = pools_pool(w, c->database, c->user);
	if (c->pool->user == c->user)
		learn(c->pool, learned);
	c->pool->n_clients++;
	c->pool->traffic.logins++;
	session_init(&c->session, &w->store, &c->pool->counters, &c->stream.out);
	c->have_session = true;
	c->session.generation = &c->database->generation;
	c->session.channels = listening_channels(w, c->database);
	c->session.watch = catalogue_watch(c->database->catalogue);
	c->session.through = c->pool->mode == POOL_SESSION;
	c->session.no_blocks = c->pool->mode == POOL_STATEMENT;
	client_rules(c);
	start_settings(c);
	for (size_t i = 0; i < settings_size(c->session.base); i++)
		c->own_wanted = c->own_wanted || own_needed_for(settings_name_at(c->session.base, i));
	if (c->own_wanted || c->replication)
		start_alone(c);
	else if (c->pool->greeting)
		session_base_under(&c->session, c->pool->greeting);
	take_idle_session_timeout(c);
	msg_add(stream_out(&c->stream), 'R', "\0\0\0\0", 4);
	c->state = CLIENT_WELCOME;
	c->request_us = w->now_us;
	reported = c->own_wanted ? NULL : pools_welcome_find(c->pool, c->session.base);
	if (reported) {
		client_welcome(c, reported);
		return;
	}
	worker_dirty(w, &c->stream);
	/* Until the next try is due; that one needs somebody who waits for it. */
	if (c->pool->failing_since_us && w->now_us - c->pool->failing_since_us >= LOGIN_PATIENCE_US && !c->pool->pool.n_idle &&
	    w->now_us < c->pool->pool.retry_at_us)
		client_login_failed(c);
	else
		client_want_backend(c);
}

static void authenticated(struct client *c)
{
	struct secret learned;
	char text[200];

	auth_client_learned(c->auth, &learned);
	auth_client_free(c->auth);
	c->auth = NULL;
	if (c->database)
		begin_session(c, &learned);
	secret_wipe(&learned);
	if (c->database)
		return;
	if (c->user) { /* told only now: which databases there are is nobody's business before the proof */
		snprintf(text, sizeof text, "no such database: %.100s", c->database_name);
		client_fail(c, "08P01", text, NULL, NULL);
		return;
	}
	c->state = CLIENT_CONSOLE;
	msg_add(stream_out(&c->stream), 'R', "\0\0\0\0", 4);
	console_welcome(c);
}

static void auth_failed(struct client *c)
{
	const char *sqlstate = "28P01", *message = auth_client_error(c->auth, &sqlstate);
	char text[200];

	snprintf(text, sizeof text, "password authentication failed for user \"%.100s\"", c->user_name);
	client_fail(c, sqlstate ? sqlstate : "28P01", message ? message : text, NULL, NULL);
}

static bool on_derived(void *owner, const struct scram_verifier *keys)
{
	struct client *c = owner;
	enum auth_verdict verdict;

	c->derive = NULL;
	c->state = CLIENT_AUTH;
	verdict = auth_client_derived(c->auth, keys, stream_out(&c->stream));
	worker_dirty(c->worker, &c->stream);
	judged(c, verdict);
	if (c->state == CLIENT_AUTH || c->state == CLIENT_ACTIVE || c->state == CLIENT_CONSOLE)
		client_schedule(c); /* it may have sent more meanwhile */
	return verdict != AUTH_FAIL;
}

static void derive(struct client *c)
{
	const struct auth_wanted *wanted = auth_client_wanted(c->auth);
	struct scram_verifier keys;

	c->state = CLIENT_DERIVE;
	if (derive_find(c->worker, wanted, &keys))
		on_derived(c, &keys);
	else
		c->derive = derive_begin(c->worker, wanted, on_derived, c);
	explicit_bzero(&keys, sizeof keys);
}

static void judged(struct client *c, enum auth_verdict verdict)
{
	if (verdict == AUTH_OK)
		authenticated(c);
	else if (verdict == AUTH_FAIL)
		auth_failed(c);
	else if (verdict == AUTH_DERIVE)
		derive(c);
}

void client_auth_message(struct client *c)
{
	struct buf *in = &c->stream.in;
	struct wire_head head;
	enum auth_verdict verdict;

	while (c->state == CLIENT_AUTH && buf_len(in)) {
		enum wire_result result = wire_head(buf_head(in), buf_len(in), AUTH_MESSAGE_MAX, &head);

		if (result == WIRE_MORE || (result == WIRE_OK && buf_len(in) < WIRE_HEAD + head.body_len))
			return;
		if (result == WIRE_BAD || head.type != 'p') {
			client_fail(c, "08P01", "expected password response", NULL, NULL);
			return;
		}
		verdict = auth_client_feed(c->auth, buf_head(in) + WIRE_HEAD, head.body_len, stream_out(&c->stream));
		explicit_bzero(buf_head(in) + WIRE_HEAD, head.body_len);
		buf_consume(in, WIRE_HEAD + head.body_len);
		worker_dirty(c->worker, &c->stream);
		judged(c, verdict);
	}
	if (c->state == CLIENT_ACTIVE || c->state == CLIENT_CONSOLE)
		client_schedule(c);
}

/* ---- welcome ---- */

void client_tell_reports(struct client *c, const struct settings *reported)
{
	struct buf *out = stream_out(&c->stream);

	for (size_t i = 0; i < c->pool->n_reports; i++) {
		const char *name = c->pool->reports[i], *value = settings_get(reported, name);
		size_t mark;

		if (!value)
			continue;
		mark = msg_begin(out, 'S');
		buf_str(out, name);
		buf_str(out, value);
		msg_end(out, mark);
	}
}

void client_welcome(struct client *c, const struct settings *reported)
{
	struct buf *out = stream_out(&c->stream);

	if (!c->own_wanted && !c->session.login_noticed && (!c->backend || defaults_current(c->backend)))
		pools_welcome_add(c->pool, c->session.base, reported);
	c->defaults_generation = c->backend ? c->backend->defaults_generation : c->pool->defaults_generation;
	session_welcome(&c->session, reported);
	client_tell_reports(c, reported);
	client_tell_key(c, out);
	if (*c->worker->config->login_notify_message)
		msg_report(out, 'N', "NOTICE", "00000", c->worker->config->login_notify_message, NULL, NULL);
	msg_add(out, 'Z', "I", 1);
	c->state = CLIENT_ACTIVE;
	if (c->session.pins)
		client_pins_changed(c);
	c->welcomed = true;
	c->idle_us = c->worker->now_us;
	worker_dirty(c->worker, &c->stream);
	buf_release(&c->params);
	if (c->backend || buf_len(&c->stream.in)) /* it may have to be given back */
		client_schedule(c);
}

static const char *field_of(const struct buf *body, char field)
{
	return report_field(buf_head(body), buf_len(body), field);
}

/* The parameter that PostgreSQL's refusal names, if ignore_startup_parameters lists it (or lists `options`, and it came
 * with them): it is dropped, as the ini asks, and the rest is tried again. */
static bool drop_refused(struct client *c)
{
	const char *message = field_of(&c->session.task_error, 'M');
	const char *ignored = c->worker->config->ignore_startup_parameters, *options = param(c, "options");

	for (size_t i = 0; message && i < settings_size(c->session.base); i++) {
		const char *name = settings_name_at(c->session.base, i);
		char quoted[300];

		snprintf(quoted, sizeof quoted, "\"%.200s\"", name);
		if (!strcasestr(message, quoted))
			continue;
		if (!config_list_has(ignored, name) && !(options && config_list_has(ignored, "options") && !param(c, name)))
			continue;
		client_log(c, LOG_LEVEL_LOG, "startup parameter %s dropped (ignore_startup_parameters): %s", name, message);
		session_start_with(&c->session, name, NULL);
		return true;
	}
	return false;
}

void client_welcome_failed(struct client *c)
{
	const struct buf *error = &c->session.task_error;
	const char *code = field_of(error, 'C'), *message = field_of(error, 'M');

	if (drop_refused(c)) {
		if (session_login_begin(&c->session))
			client_welcome(c, c->backend->facts.reported);
		else
			worker_dirty(c->worker, &c->backend->stream);
		return;
	}
	if (code && !strcmp(code, "55P02")) { /* not once a session has started: then when its own does, if PostgreSQL likes it */
		client_give_up_backend(c);
		start_alone(c);
		client_want_backend(c);
		return;
	}
	client_fail(c, code ? code : "22023", message ? message : "startup parameter refused", field_of(error, 'D'), field_of(error, 'H'));
}
