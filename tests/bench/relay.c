/* tests/bench/relay.c — copies bytes between each client and a server connection of its own, and does nothing else: what a
 * pooler can't be cheaper than while it reads and writes as sockets do.
 *
 *     relay PORT SERVER_PORT     on 127.0.0.1, until it is killed */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 65536, EVENTS = 256 };

struct end {
	int fd;
	bool gone;
	struct end *other, *next_gone;
	char *kept; /* what its socket did not take; meanwhile the other end is not read */
	size_t kept_len;
};

static int epoll;
static struct end *gone;

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void watch(struct end *e, int op)
{
	struct epoll_event ev = { .data.ptr = e };

	ev.events = (e->kept ? (uint32_t)EPOLLOUT : 0) | (e->other->kept ? 0 : (uint32_t)EPOLLIN);
	epoll_ctl(epoll, op, e->fd, &ev);
}

static struct end *end_new(int fd)
{
	struct end *e = calloc(1, sizeof *e);
	int one = 1;

	if (!e)
		abort();
	e->fd = fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return e;
}

/* Freed when the turn is over: another event of it may be there. */
static void pair_end(struct end *e)
{
	if (e->gone)
		return;
	e->gone = e->other->gone = true;
	close(e->fd);
	close(e->other->fd);
	e->next_gone = e->other;
	e->other->next_gone = gone;
	gone = e;
}

static void pair_begin(int listener, int server_port)
{
	struct sockaddr_in to = loopback(server_port);
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), server;

	if (fd < 0)
		return;
	server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server < 0 || connect(server, (struct sockaddr *)&to, sizeof to)) {
		perror("relay");
		exit(1);
	}
	struct end *a = end_new(fd), *b = end_new(server);

	a->other = b;
	b->other = a;
	watch(a, EPOLL_CTL_ADD);
	watch(b, EPOLL_CTL_ADD);
}

static void keep(struct end *to, const char *bytes, size_t n)
{
	to->kept = malloc(n);
	if (!to->kept)
		abort();
	memcpy(to->kept, bytes, n);
	to->kept_len = n;
	watch(to, EPOLL_CTL_MOD);
	watch(to->other, EPOLL_CTL_MOD);
}

static bool put(struct end *to, const char *bytes, size_t n)
{
	ssize_t sent = send(to->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN)
		return false;
	if (sent < (ssize_t)n)
		keep(to, bytes + (sent > 0 ? sent : 0), n - (size_t)(sent > 0 ? sent : 0));
	return true;
}

static bool put_kept(struct end *e)
{
	char *bytes = e->kept;
	bool fine;

	e->kept = NULL;
	watch(e, EPOLL_CTL_MOD);
	watch(e->other, EPOLL_CTL_MOD);
	fine = put(e, bytes, e->kept_len);
	free(bytes);
	return fine;
}

static bool copy(struct end *from)
{
	static char bytes[READ_SIZE];
	ssize_t n = recv(from->fd, bytes, sizeof bytes, MSG_DONTWAIT);

	return n < 0 ? errno == EAGAIN : n > 0 && put(from->other, bytes, (size_t)n);
}

static void bury(void)
{
	while (gone) {
		struct end *e = gone;

		gone = e->next_gone;
		free(e->kept);
		free(e);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = loopback(argc == 3 ? atoi(argv[1]) : 0);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	struct epoll_event events[EVENTS], ev = { .events = EPOLLIN };

	signal(SIGPIPE, SIG_IGN);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (argc != 3 || bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 1024)) {
		perror("relay");
		return 1;
	}
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &ev);
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct end *e = events[i].data.ptr;

			if (!e)
				pair_begin(listener, atoi(argv[2]));
			else if (!e->gone && !(events[i].events & EPOLLOUT ? put_kept(e) : copy(e)))
				pair_end(e);
		}
		bury();
	}
}
