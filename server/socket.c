#include "server/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/config.h"

static void set_int(int fd, int level, int option, int value)
{
	setsockopt(fd, level, option, &value, sizeof value); /* a socket without the option works all the same */
}

void socket_tune_listening(int fd, const struct config *c)
{
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, c->tcp_keepalive);
}

/* Not inherited: once set on a listening socket, these can't be given back to the system's own values. */
void socket_tune_accepted(int fd, const struct config *c)
{
	if (c->tcp_keepalive) {
		if (c->tcp_keepcnt > 0)
			set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, c->tcp_keepcnt);
		if (c->tcp_keepidle > 0)
			set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, c->tcp_keepidle);
		if (c->tcp_keepintvl > 0)
			set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, c->tcp_keepintvl);
	}
	if (c->tcp_user_timeout > 0)
		set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, c->tcp_user_timeout);
	if (c->tcp_socket_buffer > 0) {
		set_int(fd, SOL_SOCKET, SO_SNDBUF, c->tcp_socket_buffer);
		set_int(fd, SOL_SOCKET, SO_RCVBUF, c->tcp_socket_buffer);
	}
}

int socket_connect(const struct sockaddr *addr, socklen_t len, const struct config *c, bool *connecting)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), saved;

	if (fd < 0)
		return -1;
	if (addr->sa_family != AF_UNIX) {
		socket_tune_listening(fd, c);
		socket_tune_accepted(fd, c);
	}
	*connecting = false;
	if (!connect(fd, addr, len))
		return fd;
	if (errno == EINPROGRESS) {
		*connecting = true;
		return fd;
	}
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

socklen_t socket_unix_address(const char *dir, int port, struct sockaddr_un *out)
{
	int n;

	memset(out, 0, sizeof *out);
	out->sun_family = AF_UNIX;
	n = snprintf(out->sun_path, sizeof out->sun_path, "%s/.s.PGSQL.%d", dir, port);
	if (n < 0 || (size_t)n >= sizeof out->sun_path)
		n = sizeof out->sun_path - 1;
	if (*dir == '@') { /* abstract: its length counts, and no NUL ends it */
		out->sun_path[0] = 0;
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n);
	}
	return sizeof *out;
}

bool socket_numeric(const char *host, int port, struct sockaddr_storage *out, socklen_t *len)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM }, *list;
	char text[16];

	snprintf(text, sizeof text, "%d", port);
	if (getaddrinfo(host, text, &hints, &list))
		return false;
	memcpy(out, list->ai_addr, list->ai_addrlen);
	*len = list->ai_addrlen;
	freeaddrinfo(list);
	return true;
}

void socket_address(const struct sockaddr *addr, char *text, size_t cap, int *port)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)addr;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;

	snprintf(text, cap, "unix");
	if (addr->sa_family == AF_INET) {
		inet_ntop(AF_INET, &in4->sin_addr, text, (socklen_t)cap);
		if (port)
			*port = ntohs(in4->sin_port);
	} else if (addr->sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &in6->sin6_addr, text, (socklen_t)cap);
		if (port)
			*port = ntohs(in6->sin6_port);
	}
}

void socket_name(int fd, char *text, size_t cap, int *port)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t len = sizeof addr;

	if (getsockname(fd, (struct sockaddr *)&addr, &len))
		addr.ss_family = AF_UNSPEC;
	socket_address((struct sockaddr *)&addr, text, cap, port);
}

struct socket_end socket_end_of(const struct sockaddr *addr, uint16_t port)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)addr;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
	struct socket_end end = { .port = port };

	if (addr->sa_family == AF_INET) {
		end.family = AF_INET;
		end.port = ntohs(in4->sin_port);
		memcpy(end.ip, &in4->sin_addr, sizeof in4->sin_addr);
	} else if (addr->sa_family == AF_INET6) {
		end.family = AF_INET6;
		end.port = ntohs(in6->sin6_port);
		memcpy(end.ip, &in6->sin6_addr, sizeof in6->sin6_addr);
	}
	return end;
}

struct socket_end socket_end_here(int fd)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t len = sizeof addr;

	if (getsockname(fd, (struct sockaddr *)&addr, &len))
		addr.ss_family = AF_UNSPEC;
	return socket_end_of((struct sockaddr *)&addr, 0);
}

const char *socket_end_text(const struct socket_end *end, char text[SOCKET_TEXT])
{
	if ((end->family != AF_INET && end->family != AF_INET6) || !inet_ntop(end->family, end->ip, text, SOCKET_TEXT))
		snprintf(text, SOCKET_TEXT, "unix");
	return text;
}
