/* links: tests/bench/workloads.c auth/scram_client.c auth/scram.c auth/base64.c auth/secret.c parser/buf.c -lssl -lcrypto */
/* tests/bench/load.c — clients that ask, each its next request when the last one is answered; one thread, one epoll.
 *
 *     load -p PORT -w WORKLOAD [-c CLIENTS] [-t SECONDS | -n REQUESTS] [-u USER] [-P PASSWORD] [-d DATABASE] [-E] [-S SEED]
 *          [-b LOGINS]
 *
 * Says "ready" when all are logged in and set up, waits for a line, works for that long (or each client so many requests;
 * neither: nothing), says what it was in one line of JSON, and leaves at the end of its input: between these lines the
 * caller reads the pooler's clock. Latency is that of a whole request, the five statements of a transaction or the way from
 * connect() to the answer. An error ends it. -E: TLS. -b: so many log in at once, else all. SCRAM keys are derived once, so that a login costs the client little. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "auth/base64.h"
#include "auth/scram_client.h"
#include "parser/buf.h"
#include "parser/reader.h"
#include "parser/wire.h"
#include "tests/bench/workloads.h"

enum { READ_SIZE = 65536, EVENTS = 256, BODY_MAX = 1 << 26 };
enum { FINE = 64, SCALES = 40 }; /* latencies: 64 steps to each doubling */
enum state { ASKING_TLS, SHAKING, LOGGING_IN, SETTING_UP, IDLE, RUNNING };

struct client {
	int fd, number, step;
	enum state state;
	bool waits_to_write;
	long done;
	size_t to_skip; /* of a body under way that nobody reads */
	int64_t began_ns;
	SSL *tls;
	struct scram_client scram;
	struct buf in, out;
};

static struct {
	int port, clients, opened, logins, seconds, epoll;
	long requests;
	const char *user, *password, *database;
	bool encrypted, working;
	const struct workload *workload;
	SSL_CTX *tls;
	struct secret secret;
	int idle;
	int64_t until_ns;
	unsigned long done, latency[SCALES * FINE];
} load = { .clients = 32, .user = "postgres", .password = "", .database = "postgres" };

static void client_open(struct client *c);

static void die(const char *what, const char *why)
{
	fprintf(stderr, "load: %s: %s\n", what, why);
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* --- one client --- */

static void latency_add(int64_t ns)
{
	uint64_t v = (uint64_t)ns / 100; /* tenths of microseconds */
	int scale = v < FINE ? 0 : 64 - __builtin_clzll(v / FINE);

	if (scale >= SCALES)
		die("latency", "beyond belief");
	load.latency[v < FINE ? v : (size_t)scale * FINE + (v >> (scale - 1)) % FINE]++;
	load.done++;
}

/* In microseconds. */
static double percentile(double part)
{
	double wanted = (double)load.done * part, seen = 0;
	size_t i = 0;

	while (i < SCALES * FINE - 1 && (seen += (double)load.latency[i]) < wanted)
		i++;
	return (double)(i < FINE ? i : (FINE + i % FINE) << (i / FINE - 1)) / 10;
}

static void client_close(struct client *c)
{
	if (c->tls)
		SSL_free(c->tls);
	c->tls = NULL;
	close(c->fd);
	scram_client_release(&c->scram);
	buf_reset(&c->in);
	buf_reset(&c->out);
}

static void client_write(struct client *c)
{
	ssize_t n = 0;
	bool more;

	if (!c->tls && buf_len(&c->out) && (n = send(c->fd, buf_head(&c->out), buf_len(&c->out), MSG_NOSIGNAL)) < 0 && errno != EAGAIN)
		die("send", strerror(errno));
	if (c->tls && c->state != SHAKING && buf_len(&c->out) && (n = SSL_write(c->tls, buf_head(&c->out), (int)buf_len(&c->out))) <= 0 &&
	    SSL_get_error(c->tls, (int)n) != SSL_ERROR_WANT_WRITE)
		die("SSL_write", "closed");
	if (n > 0)
		buf_consume(&c->out, (size_t)n);
	more = buf_len(&c->out) > 0 && c->state != SHAKING;
	if (more != c->waits_to_write) {
		struct epoll_event ev = { .events = EPOLLIN | (more ? (uint32_t)EPOLLOUT : 0), .data.ptr = c };

		c->waits_to_write = more;
		epoll_ctl(load.epoll, EPOLL_CTL_MOD, c->fd, &ev);
	}
}

static void client_begin(struct client *c)
{
	if (load.requests ? c->done >= load.requests : now_ns() >= load.until_ns) {
		c->state = IDLE;
		load.idle++;
		return;
	}
	c->state = RUNNING;
	c->step = 0;
	c->began_ns = now_ns();
	load.workload->request(c->number, c->step++, &c->out);
}

static void client_done(struct client *c)
{
	latency_add(now_ns() - c->began_ns);
	c->done++;
	if (!load.workload->reconnect) {
		client_begin(c);
		return;
	}
	msg_add(&c->out, 'X', NULL, 0);
	client_write(c);
	client_close(c);
	client_open(c);
}

static void client_ready(struct client *c)
{
	if (c->state == LOGGING_IN) {
		c->state = load.workload->reconnect ? RUNNING : SETTING_UP;
		c->step = 0;
	}
	if (c->state == SETTING_UP && load.workload->setup && load.workload->setup(c->number, c->step++, &c->out))
		return;
	if (c->state == SETTING_UP) {
		c->state = IDLE;
		load.idle++;
	} else if (!load.workload->request(c->number, c->step++, &c->out)) {
		client_done(c);
	}
}

/* --- login --- */

static void put_startup(struct client *c)
{
	size_t mark = msg_begin(&c->out, 0);

	buf_u32(&c->out, 196608);
	buf_str(&c->out, "user");
	buf_str(&c->out, load.user);
	buf_str(&c->out, "database");
	buf_str(&c->out, load.database);
	buf_u8(&c->out, 0);
	msg_end(&c->out, mark);
	c->state = LOGGING_IN;
}

/* "r=nonce,s=salt,i=rounds": the keys of this salt are made once. */
static void keys_derive(const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	struct scram_attr nonce, salt, rounds;
	struct scram_verifier *v = &load.secret.scram;
	uint8_t raw[SCRAM_SALT_MAX];
	size_t n;

	if (!scram_attr_named(&r, 'r', &nonce) || !scram_attr_named(&r, 's', &salt) || !scram_attr_named(&r, 'i', &rounds) ||
	    base64_decode(salt.value, salt.len, raw, sizeof raw, &n))
		die("login", "no SCRAM message");
	if (v->salt_len == n && !memcmp(v->salt, raw, n))
		return;
	if (scram_verifier_make(load.password, raw, n, scram_iterations(rounds.value, rounds.len), v))
		die("login", "no SCRAM keys");
	load.secret.kind = SECRET_SCRAM;
}

static void scram_begin(struct client *c)
{
	uint8_t raw[SCRAM_NONCE_RAW];
	char nonce[SCRAM_NONCE_LEN + 1];
	struct buf first = { 0 };
	size_t mark = msg_begin(&c->out, 'p');

	for (size_t i = 0; i < sizeof raw; i++)
		raw[i] = (uint8_t)workload_random();
	scram_nonce(raw, nonce);
	scram_client_init(&c->scram, nonce, SCRAM_BIND_NONE, NULL, 0, 0);
	scram_client_first(&c->scram, "", &first);
	buf_str(&c->out, SCRAM_MECHANISM);
	buf_u32(&c->out, (uint32_t)buf_len(&first));
	buf_add(&c->out, buf_head(&first), buf_len(&first));
	msg_end(&c->out, mark);
	buf_release(&first);
}

static void authenticate(struct client *c, const uint8_t *body, size_t len)
{
	uint32_t code = be32(body);
	size_t mark;

	switch (code) {
	case 0:
		break;
	case 10:
		scram_begin(c);
		break;
	case 11:
		keys_derive(body + 4, len - 4);
		mark = msg_begin(&c->out, 'p');
		if (scram_client_final(&c->scram, body + 4, len - 4, &load.secret, &c->out) != SCRAM_OK)
			die("login", c->scram.why);
		msg_end(&c->out, mark);
		break;
	case 12:
		if (scram_client_verify(&c->scram, body + 4, len - 4) != SCRAM_OK)
			die("login", c->scram.why);
		break;
	default:
		die("login", "asked for something else than SCRAM");
	}
}

/* --- bytes --- */

static void message(struct client *c, const struct wire_head *head, const uint8_t *body)
{
	char why[512];

	switch (head->type) {
	case 'R':
		authenticate(c, body, head->body_len);
		break;
	case 'E':
		for (size_t i = 0; i < sizeof why; i++)
			why[i] = i >= head->body_len ? '\0' : body[i] ? (char)body[i] : ' ';
		why[sizeof why - 1] = 0;
		die(load.workload->name, why);
		break;
	case 'Z':
		client_ready(c);
		break;
	default:
		break;
	}
}

/* Rows are dropped as they come: what a client does with them is not what is measured. What is handled is taken out first,
 * since a request's end may be that of its connection. */
static void messages(struct client *c)
{
	for (;;) {
		size_t skip = c->to_skip < buf_len(&c->in) ? c->to_skip : buf_len(&c->in);
		struct wire_head head;
		const uint8_t *body;

		buf_consume(&c->in, skip);
		c->to_skip -= skip;
		if (c->to_skip || wire_head(buf_head(&c->in), buf_len(&c->in), BODY_MAX, &head) != WIRE_OK)
			return;
		if (head.type == 'D') {
			c->to_skip = WIRE_HEAD + head.body_len;
			continue;
		}
		if (buf_len(&c->in) < WIRE_HEAD + head.body_len)
			return;
		body = buf_head(&c->in) + WIRE_HEAD;
		buf_consume(&c->in, WIRE_HEAD + head.body_len);
		message(c, &head, body);
	}
}

static void client_shake(struct client *c)
{
	int n = SSL_connect(c->tls), error = SSL_get_error(c->tls, n);

	if (n == 1)
		put_startup(c);
	else if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
		die("TLS", "no handshake");
}

static ssize_t client_recv(struct client *c, void *to)
{
	ssize_t n;

	if (!c->tls) {
		n = recv(c->fd, to, READ_SIZE, 0);
		return n < 0 && errno == EAGAIN ? -1 : n <= 0 ? 0 : n;
	}
	n = SSL_read(c->tls, to, READ_SIZE);
	return n > 0 ? n : SSL_get_error(c->tls, (int)n) == SSL_ERROR_WANT_READ ? -1 : 0;
}

static void client_read(struct client *c)
{
	char answer;

	if (c->state == ASKING_TLS) {
		if (recv(c->fd, &answer, 1, 0) != 1 || answer != 'S')
			die("TLS", "refused");
		c->state = SHAKING;
		c->tls = SSL_new(load.tls);
		SSL_set_fd(c->tls, c->fd);
	}
	if (c->state == SHAKING) {
		client_shake(c);
		return;
	}
	do {
		ssize_t n = client_recv(c, buf_room(&c->in, READ_SIZE));

		if (n == 0)
			die(load.workload->name, "connection closed by the other side");
		if (n < 0)
			break;
		buf_commit(&c->in, (size_t)n);
		messages(c);
	} while (c->tls && SSL_pending(c->tls));
}

static void client_open(struct client *c)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)load.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT, .data.ptr = c };
	int one = 1;

	if (load.working && (load.requests ? c->done >= load.requests : now_ns() >= load.until_ns)) {
		load.idle++;
		c->fd = -1;
		return;
	}
	c->began_ns = now_ns();
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS))
		die("connect", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	c->waits_to_write = true;
	if (load.encrypted) {
		buf_add(&c->out, "\0\0\0\10\4\322\26\57", 8);
		c->state = ASKING_TLS;
	} else {
		put_startup(c);
	}
	epoll_ctl(load.epoll, EPOLL_CTL_ADD, c->fd, &ev);
}

/* Until all are idle. */
static void loop(struct client *clients)
{
	struct epoll_event events[EVENTS];

	while (load.idle < load.clients) {
		int n;

		for (; load.opened < load.clients && load.opened - load.idle < load.logins; load.opened++)
			client_open(&clients[load.opened]);
		n = epoll_wait(load.epoll, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;

			if (events[i].events & ~(uint32_t)EPOLLOUT)
				client_read(c);
			if (c->fd >= 0)
				client_write(c);
		}
	}
}

/* --- all of it --- */

static void work(struct client *clients)
{
	int64_t began = now_ns();

	load.until_ns = began + load.seconds * INT64_C(1000000000);
	load.idle = 0;
	load.working = true;
	for (int i = 0; i < load.clients; i++) {
		if (load.workload->reconnect) {
			client_open(&clients[i]);
			continue;
		}
		client_begin(&clients[i]);
		client_write(&clients[i]);
	}
	loop(clients);
	printf("{\"done\": %lu, \"seconds\": %.6f, \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f}\n", load.done,
	       (double)(now_ns() - began) / 1e9, percentile(0.5), percentile(0.99), percentile(0.999));
}

static void options(int argc, char **argv)
{
	const char *name = "";

	workload_seed((uint64_t)now_ns());
	for (int o; (o = getopt(argc, argv, "p:w:c:t:n:u:P:d:ES:b:")) != -1;) {
		switch (o) {
		case 'p': load.port = atoi(optarg); break;
		case 'w': name = optarg; break;
		case 'c': load.clients = atoi(optarg); break;
		case 't': load.seconds = atoi(optarg); break;
		case 'n': load.requests = atol(optarg); break;
		case 'u': load.user = optarg; break;
		case 'P': load.password = optarg; break;
		case 'd': load.database = optarg; break;
		case 'E': load.encrypted = true; break;
		case 'b': load.logins = atoi(optarg); break;
		case 'S': workload_seed(strtoull(optarg, NULL, 10)); break;
		default: exit(2);
		}
	}
	load.workload = workload_find(name);
	if (!load.workload)
		die("no workload", name);
	load.logins = load.logins ? load.logins : load.clients;
	load.tls = SSL_CTX_new(TLS_client_method());
}

int main(int argc, char **argv)
{
	struct client *clients;
	char line[8];

	signal(SIGPIPE, SIG_IGN);
	options(argc, argv);
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	clients = calloc((size_t)load.clients, sizeof *clients);
	if (!clients)
		abort();
	for (int i = 0; i < load.clients; i++)
		clients[i].number = i;
	if (!load.workload->reconnect)
		loop(clients);
	load.opened = load.clients;
	printf("ready\n");
	fflush(stdout);
	if (fgets(line, sizeof line, stdin) && (load.seconds || load.requests)) {
		work(clients);
		fflush(stdout);
		while (fgets(line, sizeof line, stdin))
			;
	}
	return 0;
}
