#include "server/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	ST_CONNECTING = 1 << 0,
	ST_HANDSHAKE = 1 << 1,
	ST_BROKEN = 1 << 2,   /* writing failed; closed() is still owed */
	ST_CLOSED = 1 << 3,   /* closed() was called or is being called */
	ST_RD_ON = 1 << 4,    /* the read event is in epoll */
	ST_WR_ON = 1 << 5,    /* the socket would block: the write event is in epoll */
	ST_WAKING = 1 << 6,
	ST_TELL = 1 << 7,     /* readable() was asked for */
	ST_FULL = 1 << 8,     /* drained() is owed */
	ST_RD_WANTS_WR = 1 << 9, /* SSL_read can't go on before the socket takes bytes, and the other way round */
	ST_WR_WANTS_RD = 1 << 10,
	ST_RELEASED = 1 << 11,
	ST_PUSH = 1 << 12, /* another thread has something to be sent that only home can */
};

/* Where `flying` is. */
enum stream_sending {
	SEND_NOT,	/* nowhere */
	SEND_FLYING,	/* with a thread in stream_send(), */
	SEND_ASKED,	/* which is to look again */
	SEND_LANDED,	/* left as it is for that thread's stream_sent(), */
	SEND_AWAITED,	/* or for whoever needed it first; stream_sent() still comes */
};

enum { TURN_READS = 4 }; /* chunks one stream may take before the others have their turn */

/* What a read or write gave, besides a number of bytes. */
enum { GOT_EOF = 0, GOT_NOTHING = -1, GOT_ERROR = -2 };

/* Buffers */

static void pool_lend(struct stream_pool *pool, struct buf *b)
{
	b->data = pool->blocks;
	if (b->data) {
		memcpy(&pool->blocks, b->data, sizeof pool->blocks);
		pool->count--;
	} else {
		b->data = malloc(STREAM_READ_CHUNK);
		if (!b->data)
			abort();
	}
	b->cap = STREAM_READ_CHUNK;
	b->start = b->end = 0;
}

static void pool_return(struct stream_pool *pool, struct buf *b)
{
	if (b->cap == STREAM_READ_CHUNK && pool->count < STREAM_POOL_MAX) {
		memcpy(b->data, &pool->blocks, sizeof pool->blocks);
		pool->blocks = b->data;
		pool->count++;
		memset(b, 0, sizeof *b);
	} else {
		buf_release(b);
	}
}

static void return_if_empty(struct stream *s, struct buf *b)
{
	if (b->data && !buf_len(b))
		pool_return(s->home->pool, b);
}

void stream_pool_release(struct stream_pool *pool)
{
	while (pool->blocks) {
		void *block = pool->blocks;

		memcpy(&pool->blocks, block, sizeof pool->blocks);
		free(block);
	}
	pool->count = 0;
}

struct buf *stream_out(struct stream *s)
{
	if (!s->out.data)
		pool_lend(s->home->pool, &s->out);
	return &s->out;
}

void stream_out_unused(struct stream *s)
{
	return_if_empty(s, &s->out);
}

void stream_move(struct stream *to, struct stream *from, size_t n)
{
	if (!n)
		return;
	if (n == buf_len(&from->in) && !buf_len(&to->out)) {
		return_if_empty(to, &to->out);
		to->out = from->in;
		memset(&from->in, 0, sizeof from->in);
		return;
	}
	buf_add(stream_out(to), buf_head(&from->in), n);
	buf_consume(&from->in, n);
}

/* Room for a sensible read: what is left of the block when that is enough, else a bigger one. */
static size_t make_room(struct stream *s)
{
	struct buf *b = &s->in;

	if (!b->data)
		pool_lend(s->home->pool, b);
	if (b->cap - b->end < STREAM_READ_CHUNK / 2) {
		size_t free_bytes = b->cap - buf_len(b);

		buf_room(b, free_bytes >= STREAM_READ_CHUNK / 2 ? free_bytes : STREAM_READ_CHUNK);
	}
	return b->cap - b->end;
}

static void on_write(evutil_socket_t fd, short what, void *arg);
static void on_wake(evutil_socket_t fd, short what, void *arg);

/* Events. The flags spare libevent and the kernel what they know already. */

static void set_reading(struct stream *s, bool on)
{
	if (on == !!(s->state & ST_RD_ON))
		return;
	s->state ^= ST_RD_ON;
	if (on)
		event_add(&s->rd, NULL);
	else
		event_del(&s->rd);
}

static void set_writing(struct stream *s, bool on)
{
	if (on == !!(s->state & ST_WR_ON))
		return;
	s->state ^= ST_WR_ON;
	if (on) {
		s->wr = event_new(s->home->base, s->fd, EV_WRITE | EV_PERSIST, on_write, s);
		if (!s->wr || event_add(s->wr, NULL))
			abort();
	} else {
		event_free(s->wr);
		s->wr = NULL;
	}
}

static void sleep_on(struct stream *s)
{
	if (s->wake)
		event_free(s->wake);
	s->wake = NULL;
	s->state &= ~(uint32_t)ST_WAKING;
}

/* A timer that is due at once, not event_active(): that would run before the sockets are looked at again, and a stream
 * that keeps waking itself would starve the others. */
static void wake(struct stream *s)
{
	static const struct timeval at_once = {0, 0};

	if (s->state & ST_WAKING)
		return;
	s->state |= ST_WAKING;
	s->wake = event_new(s->home->base, -1, 0, on_wake, s);
	if (!s->wake || event_add(s->wake, &at_once))
		abort();
}

/* Calls out; false when the stream was released meanwhile and must not be touched. */
static bool tell(struct stream *s, void (*call)(void *owner))
{
	bool gone = false;

	s->gone = &gone;
	call(s->owner);
	if (gone)
		return false;
	s->gone = NULL;
	return true;
}

/* Keeps the first cause: what follows is its echo. */
static void note_error(struct stream *s, const char *what, const char *words)
{
	if (!s->error) {
		s->error_in = what;
		s->error = words;
	}
}

/* The last call out of this stream: nothing may be touched after it. */
static void end(struct stream *s)
{
	char reason[160] = "end of file";

	s->state |= ST_CLOSED;
	set_reading(s, false);
	set_writing(s, false);
	sleep_on(s);
	if (s->error)
		snprintf(reason, sizeof reason, "%s: %s", s->error_in, s->error);
	s->ops->closed(s->owner, reason);
}

/* TLS */

static const char *tls_words(const struct stream *s)
{
	unsigned long code = ERR_peek_error();
	long verdict = SSL_get_verify_result(s->ssl);
	const char *words;

	if (s->state & ST_HANDSHAKE && verdict != X509_V_OK)
		return X509_verify_cert_error_string(verdict);
	if (!code)
		return errno ? strerror(errno) : "end of file";
	words = ERR_reason_error_string(code);
	return words ? words : "unknown error";
}

/* Why a TLS call gave no bytes. For a read that wants to write, reading stops until the socket takes bytes: it would
 * come up readable again and again. */
static int tls_trouble(struct stream *s, int ret, bool reading)
{
	switch (SSL_get_error(s->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		if (!reading) {
			s->state |= ST_WR_WANTS_RD;
			set_reading(s, true);
		}
		return GOT_NOTHING;
	case SSL_ERROR_WANT_WRITE:
		if (reading) {
			s->state |= ST_RD_WANTS_WR;
			set_reading(s, false);
		}
		set_writing(s, true);
		return GOT_NOTHING;
	case SSL_ERROR_ZERO_RETURN:
		return GOT_EOF;
	default: /* closed without a word: PostgreSQL's messages have lengths of their own, nothing can be cut short unseen */
		if (ERR_peek_error() ? ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING : !errno)
			return GOT_EOF;
		note_error(s, "TLS error", tls_words(s));
		return GOT_ERROR;
	}
}

static ssize_t tls_receive(struct stream *s, uint8_t *to, size_t room)
{
	size_t got = 0;
	int n;

	if (room > INT32_MAX)
		room = INT32_MAX;
	do {
		ERR_clear_error();
		errno = 0;
		n = SSL_read(s->ssl, to + got, (int)(room - got));
		if (n <= 0) {
			n = tls_trouble(s, n, true);
			if (!got)
				return n;
			if (n != GOT_NOTHING)
				wake(s); /* the end is seen again after these bytes */
			return (ssize_t)got;
		}
		got += (size_t)n;
	} while (got < room && SSL_has_pending(s->ssl));
	return (ssize_t)got;
}

static ssize_t tls_send(struct stream *s)
{
	size_t len = buf_len(&s->out);
	int n;

	ERR_clear_error();
	errno = 0;
	n = SSL_write(s->ssl, buf_head(&s->out), len > INT32_MAX ? INT32_MAX : (int)len);
	if (n > 0)
		return n;
	n = tls_trouble(s, n, false);
	if (n == GOT_EOF) {
		note_error(s, "TLS error", "closed by the peer");
		n = GOT_ERROR;
	}
	return n;
}

/* Plain */

static ssize_t plain_receive(struct stream *s, uint8_t *to, size_t room)
{
	ssize_t n;

	do
		n = recv(s->fd, to, room, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return GOT_NOTHING;
	note_error(s, "recv failed", strerror(errno));
	return GOT_ERROR;
}

static ssize_t plain_send(struct stream *s)
{
	size_t len = buf_len(&s->out);
	ssize_t n;

	do
		n = send(s->fd, buf_head(&s->out), len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n >= 0) {
		if ((size_t)n < len) /* full: asking again would only say so */
			set_writing(s, true);
		return n;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK) {
		set_writing(s, true);
		return GOT_NOTHING;
	}
	note_error(s, "send failed", strerror(errno));
	return GOT_ERROR;
}

/* Writing */

static void push(struct stream *s)
{
	while (buf_len(&s->out)) {
		ssize_t n = s->ssl ? tls_send(s) : plain_send(s);

		if (n == GOT_ERROR) {
			s->state |= ST_BROKEN;
			set_writing(s, false);
			wake(s);
			return;
		}
		if (n < 0)
			break;
		buf_consume(&s->out, (size_t)n);
		s->written_bytes += (uint64_t)n;
		if (!s->ssl && s->state & ST_WR_ON && buf_len(&s->out))
			break;
	}
	if (!buf_len(&s->out)) {
		return_if_empty(s, &s->out);
		if (!(s->state & ST_RD_WANTS_WR))
			set_writing(s, false);
	} else if (buf_len(&s->out) > STREAM_HIGH) {
		s->state |= ST_FULL;
	}
}

/* What is in the air has come down: what the socket did not take goes in front of what was written since. */
static void land(struct stream *s)
{
	bool rest;

	if (__atomic_load_n(&s->sending, __ATOMIC_ACQUIRE) != SEND_LANDED)
		return;
	rest = buf_len(&s->flying);
	if (rest) {
		buf_add(&s->flying, buf_head(&s->out), buf_len(&s->out));
		if (s->out.data)
			pool_return(s->home->pool, &s->out);
		s->out = s->flying;
		memset(&s->flying, 0, sizeof s->flying);
	}
	__atomic_store_n(&s->sending, SEND_AWAITED, __ATOMIC_RELEASE);
	if (s->flying_error && !(s->state & ST_RELEASED)) {
		note_error(s, "send failed", strerror(s->flying_error));
		s->state |= ST_BROKEN;
		set_writing(s, false);
		wake(s);
	} else if (rest && !(s->state & ST_RELEASED)) {
		set_writing(s, true);
	}
}

/* Nothing of it is in the air. Who sends does so in a system call that does not wait. */
static void await_landing(struct stream *s)
{
	for (;;) {
		switch (__atomic_load_n(&s->sending, __ATOMIC_ACQUIRE)) {
		case SEND_FLYING:
		case SEND_ASKED:
			sched_yield();
			break;
		default:
			land(s);
			return;
		}
	}
}

void stream_flush_now(struct stream *s)
{
	if (s->home && s->home->later)
		await_landing(s);
	if (!(s->state & (ST_BROKEN | ST_CLOSED | ST_CONNECTING | ST_HANDSHAKE | ST_WR_ON | ST_WR_WANTS_RD)))
		push(s);
}

bool stream_flush(struct stream *s)
{
	if (s->state & (ST_BROKEN | ST_CLOSED))
		return false;
	if (s->home->later) {
		if (buf_len(&s->out) > STREAM_HIGH)
			s->state |= ST_FULL;
		s->home->later(s->home, s);
		return true;
	}
	if (s->state & (ST_CONNECTING | ST_HANDSHAKE | ST_WR_ON | ST_WR_WANTS_RD)) {
		if (buf_len(&s->out) > STREAM_HIGH)
			s->state |= ST_FULL;
		return true;
	}
	push(s);
	return !(s->state & ST_BROKEN);
}

bool stream_full(const struct stream *s)
{
	return buf_len(&s->out) > STREAM_HIGH;
}

/* Reading */

static ssize_t receive(struct stream *s, size_t room)
{
	uint8_t *to = s->in.data + s->in.end;
	ssize_t n = s->ssl ? tls_receive(s, to, room) : plain_receive(s, to, room);

	if (n > 0) {
		buf_commit(&s->in, (size_t)n);
		s->read_bytes += (uint64_t)n;
		s->state &= ~(uint32_t)ST_TELL; /* readable() comes anyway */
	}
	return n;
}

/* One turn of reading. May end in a release: callers return at once. */
static void take(struct stream *s)
{
	bool more = false;

	for (int i = 0; i < TURN_READS; i++) {
		size_t room = make_room(s);
		ssize_t n = receive(s, room);

		more = false;
		if (n == GOT_EOF || n == GOT_ERROR) {
			s->eof = n == GOT_EOF && !s->error;
			return_if_empty(s, &s->in);
			end(s);
			return;
		}
		if (n == GOT_NOTHING)
			break;
		if (!tell(s, s->ops->readable))
			return;
		more = (size_t)n == room;
		if (!more || s->paused || s->state & (ST_BROKEN | ST_HANDSHAKE))
			break;
	}
	return_if_empty(s, &s->in);
	/* What is left in the socket, epoll tells again; what is left inside of TLS, nobody would. */
	if (more && s->ssl && !s->paused && !(s->state & ST_HANDSHAKE) && SSL_has_pending(s->ssl))
		wake(s);
}

/* Writing has failed, but the peer's last words (why it hung up) may still be there to read. Not over TLS: OpenSSL
 * wants no further call after a failed one. */
static void take_last_words(struct stream *s)
{
	while (!s->paused && !s->ssl) {
		ssize_t n = receive(s, make_room(s));

		if (n <= 0)
			break;
		if (!tell(s, s->ops->readable))
			return;
	}
	return_if_empty(s, &s->in);
	end(s);
}

/* Connecting and handshakes */

static void finish_connect(struct stream *s)
{
	int err = 0;
	socklen_t len = sizeof err;

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err) {
		note_error(s, "connect failed", strerror(err));
		end(s);
		return;
	}
	s->state &= ~(uint32_t)ST_CONNECTING;
	set_writing(s, false);
	set_reading(s, true);
	push(s);
	tell(s, s->ops->ready);
}

static void handshake(struct stream *s)
{
	int n;

	ERR_clear_error();
	errno = 0;
	n = SSL_do_handshake(s->ssl);
	if (n == 1) {
		s->state &= ~(uint32_t)ST_HANDSHAKE;
		set_writing(s, false);
		set_reading(s, true);
		push(s);
		if (SSL_has_pending(s->ssl))
			wake(s); /* came in the same packet as the end of the handshake */
		tell(s, s->ops->ready);
		return;
	}
	switch (SSL_get_error(s->ssl, n)) {
	case SSL_ERROR_WANT_READ:
		set_writing(s, false);
		set_reading(s, true);
		return;
	case SSL_ERROR_WANT_WRITE:
		set_reading(s, false);
		set_writing(s, true);
		return;
	default:
		note_error(s, "TLS handshake failed", tls_words(s));
		end(s);
	}
}

/* Entries from the loop */

static void read_event(struct stream *s)
{
	if (s->state & ST_HANDSHAKE) {
		handshake(s);
		return;
	}
	if (s->state & ST_WR_WANTS_RD) {
		s->state &= ~(uint32_t)ST_WR_WANTS_RD;
		push(s);
	}
	if (s->paused || s->state & ST_BROKEN) /* only now does a pause cost a system call */
		set_reading(s, false);
	else
		take(s);
}

/* False: it was released. */
static bool tell_drained(struct stream *s)
{
	if (!(s->state & ST_FULL) || buf_len(&s->out) >= STREAM_LOW || s->state & ST_BROKEN)
		return true;
	s->state &= ~(uint32_t)ST_FULL;
	return tell(s, s->ops->drained);
}

static void write_event(struct stream *s)
{
	if (s->state & ST_CONNECTING) {
		finish_connect(s);
		return;
	}
	if (s->state & ST_HANDSHAKE) {
		handshake(s);
		return;
	}
	if (s->state & ST_RD_WANTS_WR) {
		s->state &= ~(uint32_t)ST_RD_WANTS_WR;
		set_reading(s, true);
		wake(s);
	}
	push(s);
	tell_drained(s); /* broken: woken for it */
}

static void wake_event(struct stream *s)
{
	sleep_on(s);
	if (s->state & ST_PUSH) {
		s->state &= ~(uint32_t)ST_PUSH;
		if (!(s->state & (ST_HANDSHAKE | ST_BROKEN | ST_CONNECTING | ST_WR_ON | ST_WR_WANTS_RD)))
			push(s);
		if (!tell_drained(s))
			return;
	}
	if (s->state & ST_HANDSHAKE) {
		handshake(s);
		return;
	}
	if (s->state & ST_BROKEN) {
		take_last_words(s);
		return;
	}
	if (s->paused || s->state & ST_CONNECTING)
		return;
	if (s->state & ST_TELL) {
		s->state &= ~(uint32_t)ST_TELL;
		if (!tell(s, s->ops->readable))
			return;
	}
	if (s->ssl && !s->paused && !(s->state & (ST_HANDSHAKE | ST_BROKEN)))
		take(s);
	else
		return_if_empty(s, &s->in);
}

void stream_give_back(struct stream_pool *pool, struct buf *used)
{
	pool_return(pool, used);
}

static void fire(struct stream *s, uint8_t event, void (*now)(struct stream *s))
{
	if (!s->home->fired) {
		now(s);
		return;
	}
	if (!s->events)
		s->home->fired(s->home, s);
	s->events |= event;
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
	fire(arg, EV_READ, read_event);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
	fire(arg, EV_WRITE, write_event);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	fire(arg, EV_TIMEOUT, wake_event);
}

/* Several threads */

static void really_close(struct stream *s)
{
	close(s->fd);
	s->fd = -1;
}

static void see_to(struct stream *s, uint8_t events)
{
	if (events & EV_WRITE && s->state & ST_WR_ON && !(s->state & ST_CLOSED)) {
		await_landing(s);
		write_event(s);
	}
	if (events & EV_TIMEOUT && s->state & ST_WAKING && !(s->state & ST_CLOSED)) {
		await_landing(s);
		wake_event(s);
	}
}

/* To be received, and by nobody else meanwhile. */
static bool may_receive(struct stream *s)
{
	if (!(s->state & ST_RD_ON) || s->state & ST_CLOSED)
		return false;
	if (!s->ssl && !s->paused && !(s->state & (ST_HANDSHAKE | ST_BROKEN | ST_CONNECTING)))
		return true;
	await_landing(s);
	read_event(s);
	return false;
}

bool stream_fired(struct stream *s, struct stream_receipt *r)
{
	uint8_t events = s->events;
	bool receive;

	see_to(s, events);
	receive = events & EV_READ && may_receive(s);
	s->events = 0; /* not before: it keeps the stream's owner from being freed */
	if (!receive)
		return false;
	memset(r, 0, sizeof *r);
	r->s = s;
	r->fd = s->fd;
	pool_lend(s->home->pool, &r->block);
	s->receiving = true;
	return true;
}

void stream_receive(struct stream_receipt *r)
{
	do
		r->got = recv(r->fd, r->block.data, r->block.cap, MSG_DONTWAIT);
	while (r->got < 0 && errno == EINTR);
	r->error = r->got < 0 ? errno : 0;
}

void stream_received(struct stream_receipt *r)
{
	struct stream *s = r->s;

	s->receiving = false;
	if (s->state & ST_CLOSED || r->got <= 0)
		pool_return(s->home->pool, &r->block);
	if (s->state & ST_RELEASED && __atomic_load_n(&s->sending, __ATOMIC_ACQUIRE) == SEND_NOT)
		really_close(s);
	if (s->state & ST_CLOSED || (r->got < 0 && (r->error == EAGAIN || r->error == EWOULDBLOCK)))
		return;
	if (r->got > 0 && s->ssl) { /* which was not there when they were asked for */
		pool_return(s->home->pool, &r->block);
		note_error(s, "TLS error", "bytes ahead of the handshake");
		r->got = -1;
	}
	if (r->got <= 0) {
		if (r->got < 0 && !s->error)
			note_error(s, "recv failed", strerror(r->error));
		s->eof = !r->got && !s->error;
		await_landing(s);
		end(s);
		return;
	}
	buf_commit(&r->block, (size_t)r->got);
	s->read_bytes += (uint64_t)r->got;
	if (buf_len(&s->in)) {
		buf_add(&s->in, buf_head(&r->block), (size_t)r->got);
		pool_return(s->home->pool, &r->block);
	} else {
		return_if_empty(s, &s->in);
		s->in = r->block;
	}
	if (s->paused) {
		s->state |= ST_TELL;
		return;
	}
	s->state &= ~(uint32_t)ST_TELL;
	if (tell(s, s->ops->readable))
		return_if_empty(s, &s->in);
}

bool stream_sends(struct stream *s)
{
	uint8_t flying = SEND_FLYING;

	land(s);
	if (s->state & (ST_BROKEN | ST_CLOSED | ST_CONNECTING | ST_HANDSHAKE | ST_WR_ON | ST_WR_WANTS_RD) || !buf_len(&s->out))
		return false;
	if (s->ssl && s->home->ours(s->home)) {
		push(s);
		tell_drained(s);
		return false;
	}
	if (s->ssl) {
		s->state |= ST_PUSH;
		wake(s);
		return false;
	}
	if (__atomic_compare_exchange_n(&s->sending, &flying, SEND_ASKED, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) || flying != SEND_NOT)
		return false; /* who has sent it comes by */
	if (s->state & (ST_BROKEN | ST_WR_ON) || !buf_len(&s->out))
		return false;
	s->flying = s->out;
	s->flying_error = 0;
	s->flying_full = s->state & ST_FULL;
	memset(&s->out, 0, sizeof s->out);
	__atomic_store_n(&s->sending, SEND_FLYING, __ATOMIC_RELEASE);
	return true;
}

bool stream_send(struct stream *s, int fd, struct buf *used)
{
	uint8_t flying = SEND_FLYING;
	size_t len = buf_len(&s->flying);
	ssize_t n;

	do
		n = send(fd, buf_head(&s->flying), len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
		s->flying_error = errno;
	if (n > 0)
		__atomic_add_fetch(&s->written_bytes, (uint64_t)n, __ATOMIC_RELAXED);
	if (n == (ssize_t)len) {
		*used = s->flying;
		memset(&s->flying, 0, sizeof s->flying);
		if (!s->flying_full && __atomic_compare_exchange_n(&s->sending, &flying, SEND_NOT, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return true;
	} else if (n > 0) {
		buf_consume(&s->flying, (size_t)n);
	}
	__atomic_store_n(&s->sending, SEND_LANDED, __ATOMIC_RELEASE);
	return false;
}

bool stream_sent(struct stream *s)
{
	land(s);
	__atomic_store_n(&s->sending, SEND_NOT, __ATOMIC_RELEASE);
	if (s->state & ST_RELEASED) {
		if (buf_len(&s->out) && !s->flying_error)
			plain_send(s);
		if (s->out.data)
			pool_return(s->home->pool, &s->out);
		if (!s->receiving && s->fd >= 0)
			really_close(s);
		return false;
	}
	return tell_drained(s) && buf_len(&s->out) > 0;
}

bool stream_freed(const struct stream *s)
{
	return !s->home || ((!s->home->ours || s->home->ours(s->home)) && s->fd < 0 && !s->events);
}

/* The rest of the contract */

void stream_init(struct stream *s, struct stream_loop *home, int fd, bool connecting, const struct stream_owner_ops *ops, void *owner)
{
	memset(s, 0, sizeof *s);
	s->home = home;
	s->ops = ops;
	s->owner = owner;
	s->fd = fd;
	event_assign(&s->rd, home->base, fd, EV_READ | EV_PERSIST, on_read, s);
	if (connecting) {
		s->state = ST_CONNECTING;
		set_writing(s, true);
	} else {
		set_reading(s, true);
	}
}

/* The socket is there as long as another thread is about to use it. */
static void close_when_free(struct stream *s)
{
	uint8_t flying = SEND_FLYING;

	if (__atomic_compare_exchange_n(&s->sending, &flying, SEND_ASKED, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) || flying != SEND_NOT)
		return; /* stream_sent() comes */
	if (s->out.data)
		pool_return(s->home->pool, &s->out);
	if (!s->receiving)
		really_close(s);
}

void stream_release(struct stream *s)
{
	if (!s->home || s->state & ST_RELEASED)
		return;
	if (s->gone)
		*s->gone = true;
	event_del(&s->rd);
	set_writing(s, false);
	sleep_on(s);
	if (s->ssl) {
		ERR_clear_error();
		if (!(s->state & (ST_HANDSHAKE | ST_BROKEN)) && !(s->state & ST_CLOSED && !s->eof))
			SSL_shutdown(s->ssl);
		SSL_free(s->ssl);
		ERR_clear_error();
	}
	if (s->in.data)
		pool_return(s->home->pool, &s->in);
	s->ssl = NULL;
	s->gone = NULL;
	s->state = ST_CLOSED | ST_RELEASED;
	close_when_free(s);
}

void stream_pause(struct stream *s)
{
	s->paused = true;
}

void stream_resume(struct stream *s)
{
	s->paused = false;
	if (s->state & (ST_CLOSED | ST_CONNECTING | ST_HANDSHAKE))
		return;
	if (!(s->state & ST_RD_WANTS_WR))
		set_reading(s, true);
	if (buf_len(&s->in))
		s->state |= ST_TELL;
	if (s->state & ST_TELL || (s->ssl && SSL_has_pending(s->ssl)))
		wake(s);
}

void stream_rewake(struct stream *s)
{
	if (s->state & ST_CLOSED)
		return;
	s->state |= ST_TELL;
	if (!s->paused)
		wake(s);
}

static bool start_tls(struct stream *s, SSL *ssl)
{
	if (!SSL_set_fd(ssl, s->fd)) {
		SSL_free(ssl);
		return false;
	}
	s->ssl = ssl;
	s->state |= ST_HANDSHAKE;
	wake(s); /* a client speaks first, a server may have its hello already */
	return true;
}

static bool may_start_tls(const struct stream *s)
{
	return !s->ssl && !buf_len(&s->in) && !buf_len(&s->out) && !(s->state & (ST_CONNECTING | ST_BROKEN | ST_CLOSED));
}

bool stream_start_tls_server(struct stream *s, SSL_CTX *ctx)
{
	SSL *ssl = may_start_tls(s) ? SSL_new(ctx) : NULL;

	if (!ssl)
		return false;
	SSL_set_accept_state(ssl);
	return start_tls(s, ssl);
}

static bool is_address(const char *host)
{
	uint8_t raw[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1;
}

/* Names the server we want: to itself (not for addresses, RFC 6066), and to the check of its certificate. */
static bool expect_host(SSL *ssl, const char *host, bool verify)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	bool named = host && host[0], address = named && is_address(host);

	if (named && !address && !SSL_set_tlsext_host_name(ssl, host))
		return false;
	if (!verify)
		return true;
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (!named)
		return false;
	return address ? X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1 : X509_VERIFY_PARAM_set1_host(param, host, 0) == 1;
}

bool stream_start_tls_client(struct stream *s, SSL_CTX *ctx, const char *hostname, bool verify_host)
{
	SSL *ssl = may_start_tls(s) ? SSL_new(ctx) : NULL;

	if (!ssl)
		return false;
	SSL_set_connect_state(ssl);
	if (!expect_host(ssl, hostname, verify_host)) {
		SSL_free(ssl);
		return false;
	}
	return start_tls(s, ssl);
}

bool stream_is_tls(const struct stream *s)
{
	return s->ssl && !(s->state & ST_HANDSHAKE);
}

void stream_tls_name(const struct stream *s, char *buf, size_t cap)
{
	const SSL_CIPHER *cipher;
	EVP_PKEY *key = NULL;
	int kx, n;

	if (cap)
		buf[0] = '\0';
	cipher = stream_is_tls(s) ? SSL_get_current_cipher(s->ssl) : NULL;
	if (!cipher)
		return;
	n = snprintf(buf, cap, "%s/%s", SSL_get_version(s->ssl), SSL_CIPHER_get_name(cipher));
	if (n < 0 || (size_t)n >= cap)
		return;
	kx = SSL_CIPHER_get_kx_nid(cipher); /* up to TLS 1.2 the suite names it */
	if (kx == NID_kx_ecdhe)
		snprintf(buf + n, cap - (size_t)n, "/ECDH=%s", OBJ_nid2sn((int)SSL_get_negotiated_group(s->ssl)));
	else if (kx == NID_kx_dhe && !SSL_is_server(s->ssl) && SSL_get_peer_tmp_key(s->ssl, &key))
		snprintf(buf + n, cap - (size_t)n, "/DH=%d", EVP_PKEY_get_bits(key));
	else if (kx == NID_kx_dhe) /* our own key is gone by now */
		snprintf(buf + n, cap - (size_t)n, "/DH=?");
	EVP_PKEY_free(key);
}

size_t stream_tls_binding(const struct stream *s, uint8_t out[64])
{
	X509 *cert;
	const EVP_MD *md;
	unsigned len = 0;
	int nid;

	if (!stream_is_tls(s))
		return 0;
	cert = SSL_is_server(s->ssl) ? SSL_get_certificate(s->ssl) : SSL_get0_peer_certificate(s->ssl);
	if (!cert || !X509_get_signature_info(cert, &nid, NULL, NULL, NULL))
		return 0;
	if (nid == NID_md5 || nid == NID_sha1)
		nid = NID_sha256; /* RFC 5929, 4.1 */
	md = EVP_get_digestbynid(nid);
	if (!md || !X509_digest(cert, md, out, &len))
		return 0;
	return len;
}
