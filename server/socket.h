/* server/socket.h — sockets and their addresses: options as the configuration says, names as logs and console show. */
#ifndef PGPORTER_SERVER_SOCKET_H
#define PGPORTER_SERVER_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct config;

/* A non-blocking socket that is connecting (or has connected), or -1 with errno. */
int socket_connect(const struct sockaddr *addr, socklen_t len, const struct config *c, bool *connecting);
/* For a listening TCP socket, before listen() and when the configuration changes: no delay and keepalive, which accepted
 * sockets inherit. For an accepted one: what else the configuration says. */
void socket_tune_listening(int fd, const struct config *c);
void socket_tune_accepted(int fd, const struct config *c);
/* dir/.s.PGSQL.port, or the abstract socket of "@name". Returns the address's length. */
socklen_t socket_unix_address(const char *dir, int port, struct sockaddr_un *out);
/* An IP address as text; false for a name. */
bool socket_numeric(const char *host, int port, struct sockaddr_storage *out, socklen_t *len);
/* One end of a connection, small enough to be kept for each. */
struct socket_end {
	uint8_t ip[16];
	uint16_t port;	/* of unix sockets whatever it was set to */
	uint8_t family; /* AF_INET, AF_INET6; else a unix socket, or not known */
};
enum { SOCKET_TEXT = 64 }; /* bytes, for an address as text */
struct socket_end socket_end_of(const struct sockaddr *addr, uint16_t port); /* port: of what has none */
struct socket_end socket_end_here(int fd);				      /* this side's */
const char *socket_end_text(const struct socket_end *end, char text[SOCKET_TEXT]); /* "unix", or the IP address; returns text */
void socket_address(const struct sockaddr *addr, char *text, size_t cap, int *port); /* "unix" for unix sockets */
void socket_name(int fd, char *text, size_t cap, int *port); /* of this side */

#endif
