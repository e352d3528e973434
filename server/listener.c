#include "server/listener.h"

#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/client.h"
#include "server/log.h"
#include "server/socket.h"

struct listener {
	TAILQ_ENTRY(listener) in;
	struct worker *worker;
	struct event *ev;
	int fd;
	bool unix_socket;
	char path[108]; /* to be unlinked; empty: nothing */
};

enum { ACCEPT_BATCH = 64 }; /* connections taken in one turn */

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;
	struct worker *w = l->worker;

	worker_turn(w);
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage addr = { 0 };
		socklen_t len = sizeof addr;
		struct socket_end there;
		int conn = accept4(fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (conn < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
				log_line(LOG_LEVEL_ERROR, "accept failed: %s; not accepting until the next second", strerror(errno));
				listeners_pause(w, true);
			}
			break;
		}
		if (!l->unix_socket)
			socket_tune_accepted(conn, w->config);
		there = socket_end_of((struct sockaddr *)&addr, (uint16_t)w->config->listen_port);
		client_new(w, conn, l->unix_socket, &there);
	}
	worker_turn_end(w);
}

static bool listen_on(struct worker *w, int fd, bool unix_socket, const char *path)
{
	struct listener *l;

	if (!unix_socket)
		socket_tune_listening(fd, w->config);
	if (listen(fd, w->config->listen_backlog)) {
		close(fd);
		return false;
	}
	l = calloc(1, sizeof *l);
	if (!l)
		abort();
	l->worker = w;
	l->fd = fd;
	l->unix_socket = unix_socket;
	snprintf(l->path, sizeof l->path, "%s", path);
	l->ev = event_new(w->base, fd, EV_READ | EV_PERSIST, on_accept, l);
	event_add(l->ev, NULL);
	TAILQ_INSERT_TAIL(&w->listeners, l, in);
	return true;
}

static bool listen_tcp(struct worker *w, const struct addrinfo *ai)
{
	const struct config *c = w->config;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, defer = 45, port = 0;
	char text[64];

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (c->so_reuseport)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	if (c->tcp_defer_accept)
		setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer, sizeof defer);
	socket_address(ai->ai_addr, text, sizeof text, &port);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen)) {
		log_line(LOG_LEVEL_ERROR, "could not bind %s:%d: %s", text, port, strerror(errno));
		close(fd);
		return false;
	}
	if (!listen_on(w, fd, false, "")) {
		log_line(LOG_LEVEL_ERROR, "could not listen on %s:%d: %s", text, port, strerror(errno));
		return false;
	}
	log_line(LOG_LEVEL_LOG, "listening on %s:%d", text, port);
	return true;
}

static bool listen_name(struct worker *w, const char *name)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *list;
	char port[16];
	int err, n = 0;

	snprintf(port, sizeof port, "%d", w->config->listen_port);
	err = getaddrinfo(strcmp(name, "*") ? name : NULL, port, &hints, &list);
	if (err) {
		log_line(LOG_LEVEL_ERROR, "listen_addr: could not resolve \"%s\": %s", name, gai_strerror(err));
		return false;
	}
	for (struct addrinfo *ai = list; ai; ai = ai->ai_next)
		n += listen_tcp(w, ai);
	freeaddrinfo(list);
	return n > 0;
}

/* A socket file that answers belongs to somebody alive. */
static bool socket_alive(const struct sockaddr_un *addr, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool alive = fd >= 0 && !connect(fd, (const struct sockaddr *)addr, len);

	if (fd >= 0)
		close(fd);
	return alive;
}

static bool listen_unix(struct worker *w)
{
	const struct config *c = w->config;
	struct sockaddr_un addr;
	socklen_t len = socket_unix_address(c->unix_socket_dir, c->listen_port, &addr);
	bool abstract = *c->unix_socket_dir == '@';
	struct group *group;
	int fd;

	if (socket_alive(&addr, len)) {
		log_line(LOG_LEVEL_FATAL, "unix socket is in use, cannot continue");
		return false;
	}
	if (!abstract)
		unlink(addr.sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len)) {
		log_line(LOG_LEVEL_ERROR, "could not bind unix socket in %s: %s", c->unix_socket_dir, strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	if (!abstract) {
		chmod(addr.sun_path, (mode_t)c->unix_socket_mode);
		group = *c->unix_socket_group ? getgrnam(c->unix_socket_group) : NULL;
		if (*c->unix_socket_group && (!group || chown(addr.sun_path, (uid_t)-1, group->gr_gid)))
			log_line(LOG_LEVEL_WARNING, "unix_socket_group \"%s\": %s", c->unix_socket_group, group ? strerror(errno) : "no such group");
	}
	if (!listen_on(w, fd, true, abstract ? "" : addr.sun_path))
		return false;
	log_line(LOG_LEVEL_LOG, "listening on unix:%s/.s.PGSQL.%d", c->unix_socket_dir, c->listen_port);
	return true;
}

bool listeners_open(struct worker *w)
{
	const struct config *c = w->config;
	char *names = strdup(c->listen_addr), *save = NULL;
	bool ok = true;

	if (!names)
		abort();
	for (char *name = strtok_r(names, ", \t", &save); name && ok; name = strtok_r(NULL, ", \t", &save))
		ok = listen_name(w, name);
	free(names);
	if (ok && *c->unix_socket_dir)
		ok = listen_unix(w);
	if (ok && TAILQ_EMPTY(&w->listeners)) {
		log_line(LOG_LEVEL_FATAL, "nowhere to listen on: set listen_addr or unix_socket_dir");
		ok = false;
	}
	if (!ok)
		listeners_close(w);
	return ok;
}

static void listener_free(struct worker *w, struct listener *l)
{
	TAILQ_REMOVE(&w->listeners, l, in);
	event_free(l->ev);
	close(l->fd);
	if (*l->path)
		unlink(l->path);
	free(l);
}

void listeners_close_tcp(struct worker *w)
{
	struct listener *l, *next;

	for (l = TAILQ_FIRST(&w->listeners); l; l = next) {
		next = TAILQ_NEXT(l, in);
		if (!l->unix_socket)
			listener_free(w, l);
	}
}

void listeners_close(struct worker *w)
{
	while (!TAILQ_EMPTY(&w->listeners))
		listener_free(w, TAILQ_FIRST(&w->listeners));
}

void listeners_pause(struct worker *w, bool pause)
{
	struct listener *l;

	w->accept_paused = pause;
	TAILQ_FOREACH (l, &w->listeners, in)
		if (pause)
			event_del(l->ev);
		else
			event_add(l->ev, NULL);
}

void listeners_tune(struct worker *w)
{
	struct listener *l;

	TAILQ_FOREACH (l, &w->listeners, in)
		if (!l->unix_socket)
			socket_tune_listening(l->fd, w->config);
}
