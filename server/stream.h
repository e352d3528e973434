/* server/stream.h — one end of a connection as a stream of bytes: socket, optional TLS, what was read and not yet used,
 * what is to be written and not yet taken. Hides whether there is TLS. Non-blocking, on one event base.
 *
 * The owner reads from in, writes into out, and hears of it through three calls. Reading stops while paused
 * (back-pressure); epoll is touched only when a socket would block or reading is paused, not for each message.
 * No callback is made from inside stream_flush() or any other call into the stream: only from the event loop, so that
 * an owner is never entered twice. A broken stream reports through closed() once, from the event loop, and after
 * that never again; stream_free() may be called at any time outside of a callback of that same stream, and inside one too. */
#ifndef PGPORTER_SERVER_STREAM_H
#define PGPORTER_SERVER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>
#include <event2/event.h>

#include "parser/buf.h"

struct stream_owner_ops {
	void (*readable)(void *owner);		       /* new bytes are in `in` */
	void (*drained)(void *owner);		       /* `out` had stayed above the high mark after a flush and has gone below the low mark */
	void (*ready)(void *owner);		       /* connect() or the TLS handshake has finished */
	void (*closed)(void *owner, const char *reason); /* end of file or error; reason in words ("client unexpected eof" is the owner's to say) */
};

enum { STREAM_READ_CHUNK = 16384, STREAM_HIGH = 65536, STREAM_LOW = 16384 };

struct stream {
	struct event_base *base;
	const struct stream_owner_ops *ops;
	void *owner;
	struct buf in, out;
	int fd;
	bool paused;	      /* reading stopped by the owner */
	uint64_t read_bytes, written_bytes; /* payload, without TLS overhead */
	struct event *rd, *wr; /* private */
	SSL *ssl;	       /* private */
	uint32_t state;	       /* private */
	char error[160];       /* private; why it broke */
};

/* Takes over a connected (or, with connecting, a still connecting) non-blocking socket. Starts reading at once, or,
 * when connecting, after ready(). */
void stream_init(struct stream *s, struct event_base *base, int fd, bool connecting, const struct stream_owner_ops *ops,
		 void *owner);
/* Closes the socket (TLS close-notify tried once, never waited for), frees buffers. Idempotent. */
void stream_release(struct stream *s);

/* Sends as much of out as the socket takes now and arranges for the rest. Returns false once the stream is broken
 * (closed() will say so from the loop). */
bool stream_flush(struct stream *s);
/* True while more than STREAM_HIGH bytes wait in out: stop feeding it until drained(). */
bool stream_full(const struct stream *s);
void stream_pause(struct stream *s);  /* stop reading; bytes already in `in` stay */
void stream_resume(struct stream *s); /* read again; if bytes are in `in` or in TLS, readable() comes from the loop */
/* Ask for readable() from the loop although nothing new arrived: there are bytes in `in` that the owner left. */
void stream_rewake(struct stream *s);

/* TLS as server or client. `in` must be empty before a handshake: bytes sent in the clear ahead of it are an attack;
 * returns false then. ready() follows when the handshake is done, closed() when it failed. hostname (client) is used for SNI and,
 * when verify_host, checked against the certificate (IP addresses too). */
bool stream_start_tls_server(struct stream *s, SSL_CTX *ctx);
bool stream_start_tls_client(struct stream *s, SSL_CTX *ctx, const char *hostname, bool verify_host);
bool stream_is_tls(const struct stream *s);
/* "TLSv1.3/TLS_AES_256_GCM_SHA384" in the form PgBouncer prints it in SHOW CLIENTS; "" without TLS. */
void stream_tls_name(const struct stream *s, char *buf, size_t cap);
/* tls-server-end-point channel binding (RFC 5929) of our own certificate (server side) ; returns its length, 0 if none. */
size_t stream_tls_binding(const struct stream *s, uint8_t out[64]);

#endif
