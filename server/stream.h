/* server/stream.h — one end of a connection as a stream of bytes: socket, optional TLS, what was read and not yet used,
 * what is to be written and not yet taken. Hides whether there is TLS. Non-blocking, its events on one event base.
 *
 * The owner reads from in, writes into out, and hears of it through four calls. Reading stops while paused
 * (back-pressure); epoll is touched only when a socket would block or when bytes come in on a paused one, not for each
 * message, so pausing and resuming a quiet stream is free.
 * No callback is made from inside stream_flush() or any other call into the stream: only from the event loop, so that
 * an owner is never entered twice. A broken stream reports through closed() once, from the event loop, and after
 * that never again; stream_release() may be called at any time outside of a callback of that same stream, and inside one too.
 *
 * Pointers into `in` and `out` hold until the owner returns to the loop or calls into the stream: an empty buffer
 * gives its memory back.
 *
 * Where several threads have an event loop each (server/loop.h), everything below is called under one lock, from whichever
 * of them; only stream_receive() and stream_send() are not. A stream's own loop (`home`) reads from its socket and frees it;
 * writing may be anyone's, one at a time.
 *
 * The process has to ignore SIGPIPE: OpenSSL writes with write(). */
#ifndef PGPORTER_SERVER_STREAM_H
#define PGPORTER_SERVER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/ssl.h>
#include <event2/event.h>
#include <event2/event_struct.h>

#include "parser/buf.h"

struct stream_owner_ops {
	void (*readable)(void *owner);		       /* new bytes are in `in` */
	void (*drained)(void *owner);		       /* `out` had stayed above the high mark after a flush and has gone below the low mark */
	void (*ready)(void *owner);		       /* connect() or the TLS handshake has finished */
	void (*closed)(void *owner, const char *reason); /* end of file (s->eof) or error; reason in words ("client unexpected eof" is the owner's to say) */
};

enum { STREAM_READ_CHUNK = 16384, STREAM_HIGH = 65536, STREAM_LOW = 16384 };

/* Blocks of STREAM_READ_CHUNK bytes that the streams of one worker hand around, so that idle streams hold none and a
 * busy worker works in the same warm few. Zeroed to start with; the worker owns it and outlives its streams. */
enum { STREAM_POOL_MAX = 256 };

struct stream_pool {
	void *blocks; /* private */
	unsigned count;
};

void stream_pool_release(struct stream_pool *pool);

struct stream;

/* What the streams of one event loop have in common. */
struct stream_loop {
	struct event_base *base;
	struct stream_pool *pool; /* of all loops */
	/* NULL where a thread is alone. fired: an event of the stream's has come, without the lock; later: it was flushed,
	 * which is to be done by stream_send() when the lock has been left; ours: this thread runs that loop. */
	void (*fired)(struct stream_loop *loop, struct stream *s);
	void (*later)(struct stream_loop *loop, struct stream *s);
	bool (*ours)(const struct stream_loop *loop);
};

struct stream {
	struct buf in, out;
	const struct stream_owner_ops *ops;
	void *owner;
	struct stream_loop *home;
	int fd;
	bool paused;	      /* reading stopped by the owner */
	bool eof;	      /* the peer ended it in order; set before closed() */
	uint32_t state;	      /* private */
	SSL *ssl;	      /* private */
	bool *gone;	      /* private; set by a release inside of a callback */
	size_t dirty_at;      /* the owner's: its place among the streams to be flushed, from 1; 0: none */
	uint64_t read_bytes, written_bytes; /* payload, without TLS overhead */
	struct buf flying;	    /* private; taken from out by stream_send() */
	int flying_error;	    /* private */
	uint8_t sending;	    /* private, atomic: enum stream_sending */
	bool flying_full;	    /* private: drained() is owed when it has come down */
	bool receiving;		    /* private: stream_receive() is under way */
	uint8_t events;		    /* home's, without the lock: what has fired; 0: it is not in home's list */
	struct event rd, *wr, *wake; /* private; those that are seldom needed are there while they are */
	const char *error_in, *error; /* private; what broke, and why; static */
};

/* Takes over a connected (or, with connecting, a still connecting) non-blocking socket. Starts reading at once, or,
 * when connecting, after ready(). Bytes flushed before ready() go out then. The storage must stay where it is. */
void stream_init(struct stream *s, struct stream_loop *home, int fd, bool connecting, const struct stream_owner_ops *ops, void *owner);
/* Closes the socket (TLS close-notify tried once, never waited for), frees buffers. Idempotent, and harmless on zeroed storage. */
void stream_release(struct stream *s);

/* `out` with a pooled block under it: the same bytes as writing to &s->out, without growing it from nothing each time. */
struct buf *stream_out(struct stream *s);
void stream_out_unused(struct stream *s); /* gives the block back where nothing was written */
/* The first n bytes of from->in to the end of to->out; all of them into an empty one without copying. Flush is the caller's. */
void stream_move(struct stream *to, struct stream *from, size_t n);
/* Sends as much of out as the socket takes now and arranges for the rest. Returns false once the stream is broken
 * (closed() will say so from the loop). */
bool stream_flush(struct stream *s);
/* True while more than STREAM_HIGH bytes wait in out: stop feeding it until drained(). Ask after a flush. */
bool stream_full(const struct stream *s);
void stream_pause(struct stream *s);  /* stop reading; bytes already in `in` stay */
void stream_resume(struct stream *s); /* read again; if bytes are in `in` or in TLS, readable() comes from the loop */
/* Ask for readable() from the loop although nothing new arrived: there are bytes in `in` that the owner left. It comes
 * once, after the sockets had their turn; on a paused stream after it was resumed. */
void stream_rewake(struct stream *s);

static inline uint64_t stream_written(const struct stream *s)
{
	return __atomic_load_n(&s->written_bytes, __ATOMIC_RELAXED);
}

/* Now, even where stream_flush() leaves that for later. */
void stream_flush_now(struct stream *s);

/* ---- for loops of several threads ---- */

/* Under the lock, by home: what has fired is seen to. True: bytes are to be received. */
struct stream_receipt {
	struct stream *s;
	struct buf block;
	int fd, error;
	ssize_t got;
};
bool stream_fired(struct stream *s, struct stream_receipt *r);
void stream_receive(struct stream_receipt *r); /* without the lock */
void stream_received(struct stream_receipt *r); /* and with it */
/* Under the lock, by anyone, after a flush. True: there is something for stream_send(), by this thread. */
bool stream_sends(struct stream *s);
/* Without the lock; fd: as it was under it. used gets what pooled block there is to be given back, stream_give_back(). False:
 * stream_sent() has to see to the rest. True: s may be gone. */
bool stream_send(struct stream *s, int fd, struct buf *used);
void stream_give_back(struct stream_pool *pool, struct buf *used); /* with the lock */
bool stream_sent(struct stream *s); /* with it; true: there is more to send */
bool stream_freed(const struct stream *s); /* under the lock, by home: after its release, nobody has anything to do with it any more */

/* TLS as server or client. `in` must be empty before a handshake: bytes sent in the clear ahead of it are an attack;
 * returns false then, and when bytes are left in `out`, TLS is on already or OpenSSL can't. ready() follows when the
 * handshake is done, closed() when it failed. hostname (client) is used for SNI and, when verify_host, checked against
 * the certificate (IP addresses too). */
bool stream_start_tls_server(struct stream *s, SSL_CTX *ctx);
bool stream_start_tls_client(struct stream *s, SSL_CTX *ctx, const char *hostname, bool verify_host);
bool stream_is_tls(const struct stream *s); /* the handshake is done */
/* "TLSv1.3/TLS_AES_256_GCM_SHA384" in the form PgBouncer prints it in SHOW CLIENTS; "" without TLS. */
void stream_tls_name(const struct stream *s, char *buf, size_t cap);
/* tls-server-end-point channel binding (RFC 5929): the hash of the server's certificate, ours when we are the server.
 * Returns its length, 0 if there is none. */
size_t stream_tls_binding(const struct stream *s, uint8_t out[64]);

#endif
