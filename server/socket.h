/* server/socket.h — sockets and their addresses: options as the configuration says, names as logs and console show. */
#ifndef PGPORTER_SERVER_SOCKET_H
#define PGPORTER_SERVER_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

struct config;

/* A non-blocking socket that is connecting (or has connected), or -1 with errno. */
int socket_connect(const struct sockaddr *addr, socklen_t len, const struct config *c, bool *connecting);
/* Keepalive, user timeout, no delay, buffers; harmless on unix sockets. */
void socket_tune(int fd, const struct config *c);
/* dir/.s.PGSQL.port, or the abstract socket of "@name". Returns the address's length. */
socklen_t socket_unix_address(const char *dir, int port, struct sockaddr_un *out);
/* An IP address as text; false for a name. */
bool socket_numeric(const char *host, int port, struct sockaddr_storage *out, socklen_t *len);
void socket_address(const struct sockaddr *addr, char *text, size_t cap, int *port); /* "unix" for unix sockets */
void socket_name(int fd, bool peer, char *text, size_t cap, int *port); /* of one end */

#endif
