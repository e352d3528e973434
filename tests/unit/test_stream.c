/* links: server/stream.c parser/buf.c -levent -lssl -lcrypto */
#include "tests/unit/ends.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static int listen_here(struct sockaddr_in *at)
{
	socklen_t len = sizeof *at;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(at, 0, sizeof *at);
	at->sin_family = AF_INET;
	at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)at, sizeof *at), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)at, &len), 0);
	return fd;
}

static int start_connect(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(connect(fd, (const struct sockaddr *)to, sizeof *to) == 0 || errno == EINPROGRESS);
	return fd;
}

static void bytes_come_through(void **state)
{
	struct world *w = *state;

	make_pair(w);
	w->b.on_readable = stop;
	say(&w->a, "hello");
	run(w);
	assert_in(&w->b, "hello");
	assert_int_equal(w->b.readables, 1);
	assert_int_equal(w->a.s.written_bytes, 5);
	assert_int_equal(w->b.s.read_bytes, 5);
	say(&w->a, " again");
	run(w);
	assert_in(&w->b, "hello again");
}

static void idle_streams_hold_no_buffers(void **state)
{
	struct world *w = *state;

	make_pair(w);
	w->b.on_readable = consume_all;
	w->a.on_readable = consume_all;
	for (int i = 0; i < 3; i++) {
		say(&w->a, "ping");
		say(&w->b, "pong");
		settle(w);
	}
	assert_int_equal(w->b.swallowed, 12);
	assert_null(w->a.s.in.data);
	assert_null(w->a.s.out.data);
	assert_null(w->b.s.in.data);
	assert_null(w->b.s.out.data);
	assert_in_range(w->pool.count, 1, 2);
}

static void moved_bytes_arrive_in_order(void **state)
{
	struct world *w = *state;

	make_pair(w);
	say(&w->a, "one two three");
	settle(w);
	stream_move(&w->b.s, &w->b.s, 4); /* a part: by copy */
	assert_in(&w->b, "two three");
	stream_move(&w->b.s, &w->b.s, 9); /* the rest, behind bytes */
	assert_int_equal(buf_len(&w->b.s.in), 0);
	assert_true(stream_flush(&w->b.s));
	settle(w);
	assert_in(&w->a, "one two three");
	say(&w->b, "!");
	settle(w);
	stream_move(&w->a.s, &w->a.s, 14); /* all into nothing: the block itself */
	assert_null(w->a.s.in.data);
	assert_true(stream_flush(&w->a.s));
	settle(w);
	assert_in(&w->b, "one two three!");
}

static void a_slow_reader_fills_and_then_drains(void **state)
{
	struct world *w = *state;
	size_t n = 4 << 20, seen = 0;

	make_pair(w);
	stream_pause(&w->b.s);
	fill(&w->a, n);
	assert_true(stream_flush(&w->a.s));
	assert_true(stream_full(&w->a.s));
	settle(w);
	assert_int_equal(w->a.draineds, 0);
	assert_int_equal(w->b.readables, 0); /* paused */
	w->a.on_drained = stop;
	w->b.on_readable = consume_all;
	stream_resume(&w->b.s);
	run(w);
	assert_int_equal(w->a.draineds, 1);
	assert_false(stream_full(&w->a.s));
	assert_true(buf_len(&w->a.s.out) < STREAM_LOW);
	w->b.wanted = n;
	w->b.on_readable = swallow;
	seen = w->b.swallowed;
	if (seen < n)
		run(w);
	assert_int_equal(w->b.swallowed, n);
	assert_int_equal(w->a.draineds, 1);
	settle(w);
	assert_null(w->a.s.out.data);
}

static void kept_bytes_grow_the_buffer_and_stay_whole(void **state)
{
	struct world *w = *state;
	size_t n = 1 << 20;

	make_pair(w);
	fill(&w->a, n);
	assert_true(stream_flush(&w->a.s));
	for (int i = 0; i < 1000 && buf_len(&w->b.s.in) < n; i++)
		event_base_loop(w->base, EVLOOP_ONCE);
	assert_int_equal(buf_len(&w->b.s.in), n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(buf_head(&w->b.s.in)[i], i % 251);
	consume_all(&w->b);
	stream_rewake(&w->b.s);
	settle(w);
	assert_null(w->b.s.in.data); /* too big for the pool */
	assert_in_range(w->pool.count, 0, 1);
}

static void one_busy_stream_leaves_others_their_turn(void **state)
{
	struct world *w = *state;
	int fds[2];
	struct end other = {.w = w};

	make_pair(w);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	stream_init(&other.s, &w->home, fds[0], false, &ops, &other);
	w->b.on_readable = consume_all;
	fill(&w->a, 4 << 20);
	assert_true(stream_flush(&w->a.s));
	assert_int_equal(write(fds[1], "x", 1), 1);
	event_base_loop(w->base, EVLOOP_ONCE);
	assert_int_equal(other.readables, 1);
	assert_in_range(w->b.readables, 1, 4);
	stream_release(&other.s);
	close(fds[1]);
}

static void end_of_file_is_told_once_after_the_bytes(void **state)
{
	struct world *w = *state;

	make_pair(w);
	w->b.on_closed = stop;
	say(&w->a, "last");
	stream_release(&w->a.s);
	stream_release(&w->a.s); /* idempotent */
	run(w);
	assert_in(&w->b, "last");
	assert_int_equal(w->b.closeds, 1);
	assert_true(w->b.s.eof);
	assert_string_equal(w->b.reason, "end of file");
	settle(w);
	assert_int_equal(w->b.closeds, 1);
	assert_false(stream_flush(&w->b.s));
	stream_resume(&w->b.s);
	stream_rewake(&w->b.s);
	settle(w);
	assert_int_equal(w->b.closeds, 1);
	assert_int_equal(w->b.readables, 1);
}

static void a_paused_stream_tells_the_end_after_it_was_resumed(void **state)
{
	struct world *w = *state;

	make_pair(w);
	stream_pause(&w->b.s);
	stream_release(&w->a.s);
	settle(w);
	assert_int_equal(w->b.closeds, 0);
	stream_resume(&w->b.s);
	settle(w);
	assert_int_equal(w->b.closeds, 1);
}

static void a_failed_write_lets_the_last_words_be_read(void **state)
{
	struct world *w = *state;

	make_pair(w);
	say(&w->a, "FATAL");
	stream_release(&w->a.s);
	buf_text(stream_out(&w->b.s), "query");
	w->b.entered = true; /* nothing is called from inside of flush */
	assert_false(stream_flush(&w->b.s));
	assert_false(stream_flush(&w->b.s));
	w->b.entered = false;
	w->b.on_closed = stop;
	run(w);
	assert_in(&w->b, "FATAL");
	assert_int_equal(w->b.closeds, 1);
	assert_non_null(strstr(w->b.reason, "send failed: "));
	assert_false(w->b.s.eof);
}

static void release_inside_readable(void **state)
{
	struct world *w = *state;

	make_pair(w);
	w->b.on_readable = release_it;
	fill(&w->a, 200000);
	stream_flush(&w->a.s);
	settle(w);
	assert_int_equal(w->b.readables, 1);
	assert_int_equal(w->b.closeds, 0);
	assert_int_equal(w->a.closeds, 1);
}

static void release_inside_closed(void **state)
{
	struct world *w = *state;

	make_pair(w);
	w->b.on_closed = release_it;
	stream_release(&w->a.s);
	settle(w);
	assert_int_equal(w->b.closeds, 1);
}

static void release_inside_a_rewoken_readable_and_in_drained(void **state)
{
	struct world *w = *state;

	make_pair(w);
	w->b.on_readable = release_it;
	stream_rewake(&w->b.s);
	settle(w);
	assert_int_equal(w->b.readables, 1);
	stream_release(&w->a.s);

	make_pair(w);
	w->b.on_readable = consume_all;
	w->a.on_drained = release_it;
	fill(&w->a, 4 << 20);
	assert_true(stream_flush(&w->a.s));
	for (int i = 0; i < 100000 && !w->b.closeds; i++)
		event_base_loop(w->base, EVLOOP_NONBLOCK);
	assert_int_equal(w->a.draineds, 1);
	assert_int_equal(w->b.closeds, 1);
}

static void release_peer(struct end *e)
{
	consume_all(e);
	stream_release(&(e == &e->w->a ? &e->w->b : &e->w->a)->s);
}

static void release_of_another_stream_that_is_ready_too(void **state)
{
	struct world *w = *state;

	make_pair(w);
	w->a.on_readable = release_peer;
	w->b.on_readable = release_peer;
	say(&w->a, "x");
	say(&w->b, "y");
	settle(w);
	assert_int_equal(w->a.readables + w->b.readables, 1);
}

static void take_one(struct end *e)
{
	buf_consume(&e->s.in, 1);
	e->swallowed++;
	if (buf_len(&e->s.in))
		stream_rewake(&e->s);
}

static void rewake_comes_from_the_loop_with_the_bytes_left(void **state)
{
	struct world *w = *state;

	make_pair(w);
	w->b.on_readable = take_one;
	say(&w->a, "12345");
	settle(w);
	assert_int_equal(w->b.readables, 5);
	assert_int_equal(w->b.swallowed, 5);
	assert_null(w->b.s.in.data);
}

static void rewake_of_a_paused_stream_waits_for_its_resume(void **state)
{
	struct world *w = *state;

	make_pair(w);
	say(&w->a, "held");
	settle(w);
	assert_int_equal(w->b.readables, 1);
	stream_pause(&w->b.s);
	stream_rewake(&w->b.s);
	say(&w->a, ", more");
	settle(w);
	assert_int_equal(w->b.readables, 1);
	assert_in(&w->b, "held");
	w->b.entered = true;
	stream_resume(&w->b.s);
	w->b.entered = false;
	settle(w);
	assert_in(&w->b, "held, more");
}

static void resume_tells_of_bytes_already_read(void **state)
{
	struct world *w = *state;

	make_pair(w);
	say(&w->a, "held");
	settle(w);
	stream_pause(&w->b.s);
	settle(w);
	stream_resume(&w->b.s);
	settle(w);
	assert_int_equal(w->b.readables, 2);
}

static void a_connection_gets_ready_and_sends_what_was_flushed_before(void **state)
{
	struct world *w = *state;
	struct sockaddr_in at;
	int listener = listen_here(&at), fd;

	assert_int_equal(listen(listener, 1), 0);
	stream_init(&w->a.s, &w->home, start_connect(&at), true, &ops, &w->a);
	say(&w->a, "early");
	assert_int_equal(w->a.readies, 0);
	w->a.on_ready = stop;
	run(w);
	assert_int_equal(w->a.readies, 1);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fd >= 0);
	stream_init(&w->b.s, &w->home, fd, false, &ops, &w->b);
	w->b.on_readable = stop;
	run(w);
	assert_in(&w->b, "early");
	w->a.on_readable = stop;
	say(&w->b, "late");
	run(w);
	assert_in(&w->a, "late");
	assert_int_equal(w->a.readies, 1);
	assert_false(stream_is_tls(&w->a.s));
	close(listener);
}

static void a_refused_connection_closes_with_its_reason(void **state)
{
	struct world *w = *state;
	struct sockaddr_in at;
	int unheard = listen_here(&at); /* bound, so that nobody else listens there; but not listening */

	stream_init(&w->a.s, &w->home, start_connect(&at), true, &ops, &w->a);
	w->a.on_closed = stop;
	run(w);
	assert_int_equal(w->a.readies, 0);
	assert_int_equal(w->a.closeds, 1);
	assert_string_equal(w->a.reason, "connect failed: Connection refused");
	close(unheard);
}

static void a_reset_connection_closes_with_its_reason(void **state)
{
	struct world *w = *state;
	struct linger hard = {1, 0};
	struct sockaddr_in at;
	int listener = listen_here(&at), fd;

	assert_int_equal(listen(listener, 1), 0);
	stream_init(&w->a.s, &w->home, start_connect(&at), true, &ops, &w->a);
	w->a.on_ready = stop;
	run(w);
	fd = accept(listener, NULL, NULL);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	close(fd);
	w->a.on_closed = stop;
	run(w);
	assert_string_equal(w->a.reason, "recv failed: Connection reset by peer");
	assert_false(w->a.s.eof);
	close(listener);
}

static void releasing_zeroed_storage_does_nothing(void **state)
{
	struct stream s;

	memset(&s, 0, sizeof s);
	stream_release(&s);
	assert_true(dup2(0, 0) == 0 || errno == EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(bytes_come_through),
		T(idle_streams_hold_no_buffers),
		T(moved_bytes_arrive_in_order),
		T(a_slow_reader_fills_and_then_drains),
		T(kept_bytes_grow_the_buffer_and_stay_whole),
		T(one_busy_stream_leaves_others_their_turn),
		T(end_of_file_is_told_once_after_the_bytes),
		T(a_paused_stream_tells_the_end_after_it_was_resumed),
		T(a_failed_write_lets_the_last_words_be_read),
		T(release_inside_readable),
		T(release_inside_closed),
		T(release_inside_a_rewoken_readable_and_in_drained),
		T(release_of_another_stream_that_is_ready_too),
		T(rewake_comes_from_the_loop_with_the_bytes_left),
		T(rewake_of_a_paused_stream_waits_for_its_resume),
		T(resume_tells_of_bytes_already_read),
		T(a_connection_gets_ready_and_sends_what_was_flushed_before),
		T(a_refused_connection_closes_with_its_reason),
		T(a_reset_connection_closes_with_its_reason),
		T(releasing_zeroed_storage_does_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
