/* The console's connection: login, one query a command, errors, what is faked for drivers that set things up. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/console_internal.h"
#include "server/console_parse.h"
#include "server/log.h"

struct buf *console_out(struct client *c)
{
	worker_dirty(c->worker, &c->stream);
	return stream_out(&c->stream);
}

static void ready(struct buf *out)
{
	msg_add(out, 'Z', "I", 1);
}

void console_done(struct client *c, const char *tag)
{
	struct buf *out = console_out(c);
	size_t mark = msg_begin(out, 'C');

	utf8_add(out, tag);
	buf_u8(out, 0);
	msg_end(out, mark);
	ready(out);
}

static void report(struct client *c, const char *sqlstate, const char *message, const char *detail, const char *hint)
{
	struct buf clean = { 0 };

	utf8_add(&clean, message);
	buf_u8(&clean, 0);
	if (c->worker->config->log_pooler_errors)
		client_log(c, LOG_LEVEL_WARNING, "pooler error: %s", (char *)buf_head(&clean));
	msg_report(console_out(c), 'E', "ERROR", sqlstate, (char *)buf_head(&clean), detail, hint);
	buf_release(&clean);
}

void console_error(struct client *c, const char *sqlstate, const char *detail, const char *hint, const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof message, fmt, ap);
	va_end(ap);
	report(c, sqlstate, message, detail, hint);
	ready(console_out(c));
}

bool console_is_admin_db(const char *name)
{
	return !strcmp(name, "pgbouncer") || !strcmp(name, "pgporter");
}

static void parameter(struct buf *out, const char *name, const char *value)
{
	size_t mark = msg_begin(out, 'S');

	buf_str(out, name);
	buf_str(out, value);
	msg_end(out, mark);
}

void console_welcome(struct client *c)
{
	static const char *const parameters[][2] = {
		{ "server_version", PGBOUNCER_VERSION "/bouncer" },
		{ "client_encoding", "UTF8" },
		{ "server_encoding", "UTF8" },
		{ "DateStyle", "ISO" },
		{ "TimeZone", "GMT" },
		{ "standard_conforming_strings", "on" },
		{ "is_superuser", "on" },
	};
	struct buf *out = console_out(c);

	for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
		parameter(out, parameters[i][0], parameters[i][1]);
	client_tell_key(c, out);
	ready(out);
}

/* Drivers that look at or set these without asking whether it is any use. */
static const char *const faked[][2] = {
	{ "client_encoding", "UTF-8" }, { "default_transaction_isolation", "read committed" },
	{ "standard_conforming_strings", "on" }, { "datestyle", "ISO" },
	{ "timezone", "GMT" }, { "extra_float_digits", "2" },
};

static const char *faked_value(const char **name)
{
	for (size_t i = 0; i < sizeof faked / sizeof *faked; i++) {
		if (!strcasecmp(*name, faked[i][0])) {
			*name = faked[i][0];
			return faked[i][1];
		}
	}
	return NULL;
}

static void show(struct client *c, const char *name, const char *text)
{
	const char *value = faked_value(&name);
	char column[64];
	struct table t;

	if (!value) {
		if (!console_show(c, name))
			console_unknown(c, text);
		return;
	}
	snprintf(column, sizeof column, "%s:s", name);
	table_begin(&t, console_out(c), column);
	table_row(&t);
	cell_text(&t, value);
	table_end(&t);
	console_done(c, "SHOW");
}

static void set(struct client *c, const char *key, const char *value)
{
	const char *name = key;

	if (!faked_value(&name)) {
		console_set(c, key, value);
		return;
	}
	msg_report(console_out(c), 'N', "NOTICE", "00000", "SET ignored", NULL, NULL);
	console_done(c, "SET");
}

void console_unknown(struct client *c, const char *text)
{
	console_error(c, "08P01", NULL, NULL, "invalid command '%.900s', use SHOW HELP;", text);
}

static void query(struct client *c, const char *text)
{
	struct console_command cmd;

	client_log(c, LOG_LEVEL_DEBUG, "console query: %s", text);
	console_parse(text, &cmd);
	switch (cmd.kind) {
	case CONSOLE_EMPTY:
		msg_add(console_out(c), 'I', NULL, 0);
		ready(console_out(c));
		return;
	case CONSOLE_SET:
		set(c, cmd.arg, cmd.value);
		return;
	case CONSOLE_COMMAND:
		if (!strcasecmp(cmd.word, "show") || !strcasecmp(cmd.word, "select"))
			show(c, cmd.arg, text);
		else if (!console_run(c, cmd.word, cmd.arg))
			console_unknown(c, text);
		return;
	case CONSOLE_UNKNOWN:
		console_unknown(c, text);
		return;
	case CONSOLE_TOO_LONG:
		console_error(c, "08P01", NULL, NULL, "bad arguments");
		return;
	}
}

void console_message(struct client *c, char type, const uint8_t *body, size_t len)
{
	char text[96];

	switch (type) {
	case 'Q':
		if (!len || memchr(body, 0, len) != body + len - 1)
			client_fail(c, "08P01", "incomplete query", NULL, NULL);
		else
			query(c, (const char *)body);
		return;
	case 'X':
		client_close(c, "client close request");
		return;
	case 'P':
	case 'B':
	case 'D':
	case 'E':
	case 'C':
	case 'H':
	case 'S':
		report(c, "08P01", "extended query protocol not supported by admin console", NULL,
		       "Use the simple query protocol: one command a query, no parameters.");
		client_close(c, "bad packet");
		return;
	default:
		snprintf(text, sizeof text, "unsupported packet type for admin console: %d", type);
		report(c, "08P01", text, NULL, NULL);
		client_close(c, "bad packet");
	}
}
