/* links: parser/buf.c */
/* tests/bench/stub.c — a server that answers at once, so that what is measured is the pooler: as much of PostgreSQL 15 as
 * poolers and tests/bench/load.c say to it, and nothing is looked up or stored but settings that it has to report.
 *
 *     stub PORT        on 127.0.0.1, until it is killed
 *
 * Lets everyone in. A SELECT is one row of one integer; of generate_series(), 1024 rows of 1000 bytes; of repeat('x', 1048576),
 * one row of 1 MiB; of PostgreSQL's catalogues, no row. Statements are told apart by how they begin, and taken to be valid. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "parser/buf.h"
#include "parser/reader.h"
#include "parser/wire.h"

enum { READ_SIZE = 65536, EVENTS = 256, BUCKETS = 256, BODY_MAX = 1 << 26, ROWS = 1024, ROW_SIZE = 1000, WIDE_SIZE = 1 << 20 };
enum { SSL_REQUEST = 80877103, GSS_REQUEST = 80877104, CANCEL_REQUEST = 80877102 };

enum kind { EMPTY, ROW, MANY, WIDE, NO_ROW, CONFIG, BEGIN, COMMIT, ROLLBACK, SET, RESET, DISCARD, INSERT, UPDATE, DELETE, OTHER, KINDS };

static const struct {
	const char *word, *tag;
} kinds[KINDS] = {
	[EMPTY] = { NULL, NULL },		[ROW] = { "SELECT", "SELECT 1" },      [MANY] = { NULL, "SELECT 1024" },
	[WIDE] = { NULL, "SELECT 1" },		[NO_ROW] = { "WITH", "SELECT 0" },     [CONFIG] = { NULL, "SELECT 1" },
	[BEGIN] = { "BEGIN", "BEGIN" },		[COMMIT] = { "COMMIT", "COMMIT" },     [ROLLBACK] = { "ROLLBACK", "ROLLBACK" },
	[SET] = { "SET", "SET" },		[RESET] = { "RESET", "RESET" },	       [DISCARD] = { "DISCARD", "DISCARD ALL" },
	[INSERT] = { "INSERT", "INSERT 0 1" },	[UPDATE] = { "UPDATE", "UPDATE 1" },   [DELETE] = { "DELETE", "DELETE 1" },
	[OTHER] = { NULL, "OK" },
};

/* What PostgreSQL 15 reports, in its order. */
static const char *const reported[][2] = {
	{ "in_hot_standby", "off" }, { "integer_datetimes", "on" }, { "TimeZone", "Etc/UTC" }, { "IntervalStyle", "postgres" },
	{ "is_superuser", "on" }, { "application_name", "" }, { "default_transaction_read_only", "off" },
	{ "standard_conforming_strings", "on" }, { "session_authorization", "postgres" }, { "client_encoding", "UTF8" },
	{ "server_version", "15.18" }, { "server_encoding", "UTF8" }, { "DateStyle", "ISO, MDY" },
};

enum { REPORTED = sizeof reported / sizeof *reported };

struct stmt {
	struct stmt *next;
	enum kind kind;
	char *text, name[];
};

struct peer {
	int fd;
	bool started, waits_to_write;
	char status;
	enum kind bound;
	struct buf in, out;
	char *value[REPORTED];
	bool to_report[REPORTED];
	struct stmt *stmts[BUCKETS];
};

static struct buf answer[KINDS], described; /* made once: rows and CommandComplete, RowDescription */

/* --- what a statement is --- */

static enum kind kind_of_select(const char *sql)
{
	if (strstr(sql, "set_config("))
		return CONFIG;
	if (strstr(sql, "pg_catalog.") || strstr(sql, "FROM pg_"))
		return NO_ROW;
	if (strstr(sql, "generate_series("))
		return MANY;
	return strstr(sql, "repeat('x', 1048576)") ? WIDE : ROW;
}

static enum kind kind_of(const char *sql)
{
	sql += strspn(sql, " \t\r\n;");
	if (!*sql)
		return EMPTY;
	for (int k = 0; k < KINDS; k++)
		if (kinds[k].word && !strncasecmp(sql, kinds[k].word, strlen(kinds[k].word)))
			return k == ROW ? kind_of_select(sql) : (enum kind)k;
	return OTHER;
}

/* --- settings, as far as they are reported --- */

static void setting_put(struct peer *p, const char *name, const char *value)
{
	for (int i = 0; i < REPORTED; i++) {
		if (strcasecmp(reported[i][0], name))
			continue;
		p->to_report[i] |= strcmp(p->value[i], value) != 0;
		free(p->value[i]);
		p->value[i] = strdup(value);
	}
}

static void settings_reset(struct peer *p)
{
	for (int i = 0; i < REPORTED; i++)
		setting_put(p, reported[i][0], reported[i][1]);
}

/* SET name =|TO value. SET LOCAL is told twice by PostgreSQL, and its end tells nothing new: left out. */
static void set_run(struct peer *p, const char *sql)
{
	char name[64], value[256];

	if (strncasecmp(sql, "SET LOCAL", 9) == 0)
		return;
	if (sscanf(sql, " %*[sSeEtT] %63[A-Za-z_.] %*[=tToO \t] %*['\"]%255[^'\"]", name, value) == 2 ||
	    sscanf(sql, " %*[sSeEtT] %63[A-Za-z_.] %*[=tToO \t] %255[^'\"; ]", name, value) == 2)
		setting_put(p, name, value);
}

static void settings_report(struct peer *p, bool all)
{
	for (int i = 0; i < REPORTED; i++) {
		size_t mark;

		if (!all && !p->to_report[i])
			continue;
		mark = msg_begin(&p->out, 'S');
		buf_str(&p->out, reported[i][0]);
		buf_str(&p->out, p->value[i]);
		msg_end(&p->out, mark);
		p->to_report[i] = false;
	}
}

static void ready(struct peer *p)
{
	settings_report(p, false);
	msg_add(&p->out, 'Z', &p->status, 1);
}

/* --- statements --- */

static void run(struct peer *p, enum kind kind, const char *sql)
{
	switch (kind) {
	case BEGIN:
		p->status = 'T';
		break;
	case COMMIT:
	case ROLLBACK:
		p->status = 'I';
		break;
	case SET:
		set_run(p, sql);
		break;
	case RESET:
	case DISCARD:
		settings_reset(p);
		break;
	default:
		break;
	}
	buf_add(&p->out, buf_head(&answer[kind]), buf_len(&answer[kind]));
}

static bool has_rows(enum kind kind)
{
	return kind == ROW || kind == MANY || kind == WIDE || kind == NO_ROW || kind == CONFIG;
}

static void describe(struct peer *p, enum kind kind)
{
	if (has_rows(kind))
		buf_add(&p->out, buf_head(&described), buf_len(&described));
	else
		msg_add(&p->out, 'n', NULL, 0);
}

/* The end of the statement at sql: a semicolon outside of quotes. */
static char *end_of(char *sql)
{
	for (bool quoted = false; *sql; sql++) {
		if (*sql == '\'')
			quoted = !quoted;
		if (*sql == ';' && !quoted)
			break;
	}
	return sql;
}

static void query(struct peer *p, char *sql)
{
	if (kind_of(sql) == EMPTY)
		run(p, EMPTY, sql);
	while (*sql) {
		char *end = end_of(sql), was = *end;
		enum kind kind;

		*end = 0;
		kind = kind_of(sql);
		if (has_rows(kind))
			buf_add(&p->out, buf_head(&described), buf_len(&described));
		if (kind != EMPTY)
			run(p, kind, sql);
		*end = was;
		sql = end + (was ? 1 : 0);
	}
	ready(p);
}

static struct stmt **place_of(struct peer *p, const char *name)
{
	unsigned h = 0;
	struct stmt **s;

	for (const char *c = name; *c; c++)
		h = h * 31 + (uint8_t)*c;
	for (s = &p->stmts[h % BUCKETS]; *s && strcmp((*s)->name, name); s = &(*s)->next)
		;
	return s;
}

static void stmt_drop(struct peer *p, const char *name)
{
	struct stmt **at = place_of(p, name), *s = *at;

	if (!s)
		return;
	*at = s->next;
	free(s->text);
	free(s);
}

static void parse(struct peer *p, const char *name, const char *sql)
{
	struct stmt *s = calloc(1, sizeof *s + strlen(name) + 1), **at;

	if (!s)
		abort();
	stmt_drop(p, name);
	strcpy(s->name, name);
	s->kind = kind_of(sql);
	s->text = strdup(sql);
	at = place_of(p, name);
	*at = s;
	msg_add(&p->out, '1', NULL, 0);
}

/* The parameters of set_config() are names and values in turn. */
static void bind_config(struct peer *p, struct reader *r)
{
	char text[2][256] = { "", "" };

	for (uint16_t i = reader_u16(r); i > 0; i--)
		reader_u16(r);
	for (uint16_t i = 0, n = reader_u16(r); i < n && !r->bad; i++) {
		uint32_t len = reader_u32(r);
		const uint8_t *value = len == UINT32_MAX ? (const uint8_t *)"" : reader_bytes(r, len);

		if (value && len + 1 > 0 && len < sizeof *text)
			snprintf(text[i % 2], sizeof *text, "%.*s", (int)len, (const char *)value);
		if (i % 2)
			setting_put(p, text[0], text[1]);
	}
}

static void bind_portal(struct peer *p, const char *name, struct reader *r)
{
	struct stmt *s = *place_of(p, name);

	p->bound = s ? s->kind : OTHER;
	if (p->bound == CONFIG)
		bind_config(p, r);
	if (p->bound == SET)
		set_run(p, s->text);
	msg_add(&p->out, '2', NULL, 0);
}

static void describe_named(struct peer *p, char what, const char *name)
{
	struct stmt *s = *place_of(p, name);

	if (what == 'S')
		msg_add(&p->out, 't', "\0\0", 2);
	describe(p, what == 'S' ? s ? s->kind : OTHER : p->bound);
}

static bool message(struct peer *p, char type, char *body, size_t len)
{
	struct reader r = reader_of(body, len);
	const char *name;
	uint8_t what;

	switch (type) {
	case 'Q':
		query(p, body);
		break;
	case 'P':
		name = reader_str(&r, NULL);
		parse(p, name, reader_str(&r, NULL));
		break;
	case 'B':
		reader_str(&r, NULL);
		bind_portal(p, reader_str(&r, NULL), &r);
		break;
	case 'D':
		what = reader_u8(&r);
		describe_named(p, (char)what, reader_str(&r, NULL));
		break;
	case 'E':
		run(p, p->bound, "");
		break;
	case 'C':
		if (reader_u8(&r) == 'S')
			stmt_drop(p, reader_str(&r, NULL));
		msg_add(&p->out, '3', NULL, 0);
		break;
	case 'S':
		ready(p);
		break;
	default: /* Flush and what has no answer; Terminate */
		break;
	}
	return type != 'X';
}

/* --- connections --- */

static void greet(struct peer *p, struct reader *r)
{
	for (;;) {
		const char *name = reader_str(r, NULL), *value;

		if (!name || !*name)
			break;
		value = reader_str(r, NULL);
		if (value)
			setting_put(p, name, value);
	}
	msg_add(&p->out, 'R', "\0\0\0\0", 4);
	settings_report(p, true);
	msg_add(&p->out, 'K', "\0\0\0\1\0\0\0\1", 8);
	p->started = true;
	ready(p);
}

/* False: close. */
static bool startup(struct peer *p)
{
	struct reader r = reader_of(buf_head(&p->in), buf_len(&p->in));
	uint32_t len = reader_u32(&r), code = reader_u32(&r);

	if (r.bad || len > buf_len(&p->in))
		return true;
	if (len < 8 || code == CANCEL_REQUEST)
		return false;
	r.end = buf_head(&p->in) + len;
	if (code == SSL_REQUEST || code == GSS_REQUEST)
		buf_u8(&p->out, 'N');
	else
		greet(p, &r);
	buf_consume(&p->in, len);
	return true;
}

static bool messages(struct peer *p)
{
	struct wire_head head;

	if (!p->started && buf_len(&p->in) >= 8 && !startup(p))
		return false;
	while (p->started && wire_head(buf_head(&p->in), buf_len(&p->in), BODY_MAX, &head) == WIRE_OK) {
		if (buf_len(&p->in) < WIRE_HEAD + head.body_len)
			break;
		if (!message(p, head.type, (char *)buf_head(&p->in) + WIRE_HEAD, head.body_len))
			return false;
		buf_consume(&p->in, WIRE_HEAD + head.body_len);
	}
	return true;
}

static bool peer_write(int epoll, struct peer *p)
{
	ssize_t n = buf_len(&p->out) ? send(p->fd, buf_head(&p->out), buf_len(&p->out), MSG_NOSIGNAL) : 0;

	if (n < 0 && errno != EAGAIN)
		return false;
	if (n > 0)
		buf_consume(&p->out, (size_t)n);
	if (p->waits_to_write != (buf_len(&p->out) > 0)) {
		struct epoll_event ev = { .events = EPOLLIN, .data.ptr = p };

		p->waits_to_write = !p->waits_to_write;
		ev.events |= p->waits_to_write ? (uint32_t)EPOLLOUT : 0;
		epoll_ctl(epoll, EPOLL_CTL_MOD, p->fd, &ev);
	}
	return true;
}

static bool peer_read(struct peer *p)
{
	ssize_t n = recv(p->fd, buf_room(&p->in, READ_SIZE), READ_SIZE, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN;
	if (n == 0)
		return false;
	buf_commit(&p->in, (size_t)n);
	return messages(p);
}

static void peer_accept(int epoll, int listener)
{
	struct peer *p = calloc(1, sizeof *p);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = p };
	int one = 1;

	if (!p)
		abort();
	p->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (p->fd < 0) {
		free(p);
		return;
	}
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	p->status = 'I';
	for (int i = 0; i < REPORTED; i++)
		p->value[i] = strdup(reported[i][1]);
	epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd, &ev);
}

static void peer_free(struct peer *p)
{
	close(p->fd);
	buf_release(&p->in);
	buf_release(&p->out);
	for (int i = 0; i < REPORTED; i++)
		free(p->value[i]);
	for (int i = 0; i < BUCKETS; i++)
		while (p->stmts[i])
			stmt_drop(p, p->stmts[i]->name);
	free(p);
}

/* --- what is said again and again --- */

static void put_row(struct buf *b, size_t size, char fill)
{
	size_t mark = msg_begin(b, 'D');

	buf_u16(b, 1);
	buf_u32(b, (uint32_t)size);
	memset(buf_room(b, size), fill, size);
	buf_commit(b, size);
	msg_end(b, mark);
}

static void prepare_answers(void)
{
	size_t mark = msg_begin(&described, 'T');

	buf_u16(&described, 1);
	buf_str(&described, "abalance");
	buf_add(&described, "\0\0\100\1\0\3\0\0\0\27\0\4\377\377\377\377\0\0", 18); /* int4 of some table, as text */
	msg_end(&described, mark);
	for (int k = 0; k < KINDS; k++) {
		struct buf *b = &answer[k];

		for (int i = 0; k == MANY && i < ROWS; i++)
			put_row(b, ROW_SIZE, 'x');
		if (k == ROW || k == CONFIG)
			put_row(b, 1, '0');
		if (k == WIDE)
			put_row(b, WIDE_SIZE, 'x');
		if (kinds[k].tag)
			msg_add(b, 'C', kinds[k].tag, strlen(kinds[k].tag) + 1);
		else
			msg_add(b, 'I', NULL, 0);
	}
}

static int listen_on(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 1024)) {
		perror("stub");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), listener = listen_on(argc == 2 ? atoi(argv[1]) : 0);
	struct epoll_event events[EVENTS], ev = { .events = EPOLLIN };

	signal(SIGPIPE, SIG_IGN);
	prepare_answers();
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev);
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct peer *p = events[i].data.ptr;

			if (!p)
				peer_accept(epoll, listener);
			else if ((events[i].events & ~(uint32_t)EPOLLOUT && !peer_read(p)) || !peer_write(epoll, p))
				peer_free(p);
		}
	}
}
