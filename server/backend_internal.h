/* server/backend_internal.h — what backend_conn.c and backend_login.c share, and nobody else includes. */
#ifndef PGPORTER_SERVER_BACKEND_INTERNAL_H
#define PGPORTER_SERVER_BACKEND_INTERNAL_H

#include "server/backend_conn.h"

/* backend_conn.c */
void conn_enter_state(struct backend_conn *b, enum conn_state state); /* the one place where it changes */
void conn_send_query(struct backend_conn *b, const char *sql);	      /* of our own */
void conn_stream_init(struct backend_conn *b, int fd);		      /* a socket that is connecting */

/* backend_login.c */
void conn_connected(void *owner);	  /* the stream's ready(): connected, or TLS done */
void conn_tls_answer(struct backend_conn *b); /* the server's byte for our SSLRequest may be there */
void conn_login_message(struct backend_conn *b, char type, const uint8_t *body, size_t len);
/* Login did not come about. error: the server's ErrorResponse body, or none. conn_refused: and won't by trying again. */
void conn_failed(struct backend_conn *b, const char *reason, const uint8_t *error, size_t len);
void conn_refused(struct backend_conn *b, const char *reason);

#endif
