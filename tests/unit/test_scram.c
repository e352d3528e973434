/* links: auth/scram.c auth/scram_client.c auth/scram_server.c auth/base64.c parser/buf.c -lcrypto */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "auth/base64.h"
#include "auth/scram_client.h"
#include "auth/scram_server.h"

enum { ROUNDS = 64 };

static const char client_nonce[] = "rOprNGfwEbeRWgbNEkqO";
static const char server_nonce[] = "%hvYDpWUa2RaTCAfuxFIlj)h";
static const uint8_t endpoint[SCRAM_KEY_LEN] = "hash of the certificate";
static const uint8_t salt[SCRAM_SALT_LEN] = "0123456789abcdef";

/* Both roles, and what they last said. */
struct talk {
	struct scram_client client;
	struct scram_server server;
	struct secret secret;
	struct buf said;
};

static void plain(struct secret *s, const char *password)
{
	memset(s, 0, sizeof *s);
	s->kind = SECRET_PLAIN;
	strcpy(s->text, password);
}

static void talk_init(struct talk *t, const char *knows, const char *password)
{
	struct scram_verifier v;

	memset(t, 0, sizeof *t);
	plain(&t->secret, password);
	assert_int_equal(scram_verifier_make(knows, salt, sizeof salt, ROUNDS, &v), 0);
	v.have_client_key = false;
	memset(v.client_key, 0, sizeof v.client_key);
	scram_client_init(&t->client, client_nonce, SCRAM_BIND_NONE, NULL, 0, 0);
	scram_server_init(&t->server, &v, false, server_nonce, NULL, 0);
}

static void talk_release(struct talk *t)
{
	scram_client_release(&t->client);
	scram_server_release(&t->server);
	buf_release(&t->said);
}

/* One step of the four: what was said is heard, laid in memory of its own length; `change` may damage it first. */
typedef void change_fn(struct buf *said, size_t arg);

static enum scram_result step(struct talk *t, int n)
{
	size_t len = buf_len(&t->said);
	uint8_t *heard = malloc(len ? len : 1);
	enum scram_result r = SCRAM_OK;

	if (len)
		memcpy(heard, buf_head(&t->said), len);
	buf_reset(&t->said);
	if (n == 0)
		scram_client_first(&t->client, "", &t->said);
	else if (n == 1)
		r = scram_server_first(&t->server, heard, len, &t->said);
	else if (n == 2)
		r = scram_client_final(&t->client, heard, len, &t->secret, &t->said);
	else if (n == 3)
		r = scram_server_final(&t->server, heard, len, &t->said);
	else
		r = scram_client_verify(&t->client, heard, len);
	if (r) {
		assert_int_equal(buf_len(&t->said), 0);
		if (r != SCRAM_WRONG || n != 3)
			assert_non_null(n % 2 ? t->server.why : t->client.why);
	}
	free(heard);
	return r;
}

/* Runs the talk; the message before step `at` (1 to 4) is changed. Returns the step that failed, 5 if none did. */
static int run(struct talk *t, int at, change_fn *change, size_t arg)
{
	for (int n = 0; n < 5; n++) {
		if (n == at)
			change(&t->said, arg);
		if (step(t, n))
			return n;
	}
	return 5;
}

static void leave(struct buf *said, size_t arg)
{
}

static void cut(struct buf *said, size_t len)
{
	said->end = said->start + len;
}

static void flip(struct buf *said, size_t bit)
{
	buf_head(said)[bit / 8] ^= (uint8_t)(1 << bit % 8);
}

static void says(struct buf *b, const char *text)
{
	assert_int_equal(buf_len(b), strlen(text));
	assert_memory_equal(buf_head(b), text, strlen(text));
	buf_reset(b);
}

static const char rfc_first[] = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
static const char rfc_server_first[] =
	"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
static const char rfc_final[] = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
				"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
static const char rfc_server_final[] = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

#define TEXT(s) (const uint8_t *)(s), strlen(s)

static void the_client_speaks_the_words_of_rfc_7677(void **state)
{
	struct scram_client c;
	struct secret s;
	struct buf b = { 0 };

	plain(&s, "pencil");
	scram_client_init(&c, client_nonce, SCRAM_BIND_NONE, NULL, 0, 4096);
	scram_client_first(&c, "user", &b);
	says(&b, rfc_first);
	assert_int_equal(scram_client_final(&c, TEXT(rfc_server_first), &s, &b), SCRAM_OK);
	says(&b, rfc_final);
	assert_int_equal(scram_client_verify(&c, TEXT(rfc_server_final)), SCRAM_OK);
	scram_client_release(&c);
	buf_release(&b);
}

static void the_server_understands_the_words_of_rfc_7677(void **state)
{
	/* The example's nonce ends in a part longer than ours are: the client's is lengthened instead. */
	static const char first[] = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)h";
	uint8_t raw[64];
	struct scram_verifier v;
	struct scram_server s;
	struct buf b = { 0 };
	size_t n;

	assert_int_equal(base64_decode(TEXT("W22ZaJ0SNY7soEsUEjb6gQ=="), raw, sizeof raw, &n), 0);
	assert_int_equal(scram_verifier_make("pencil", raw, n, 4096, &v), 0);
	scram_server_init(&s, &v, false, "NlF$k0", NULL, 0);
	assert_int_equal(scram_server_first(&s, TEXT(first), &b), SCRAM_OK);
	says(&b, rfc_server_first);
	/* and so AuthMessage differs in its first part, which is set right here. */
	buf_reset(&s.transcript);
	buf_printf(&s.transcript, "%s,%s,", rfc_first + 3, rfc_server_first);
	assert_int_equal(scram_server_final(&s, TEXT(rfc_final), &b), SCRAM_OK);
	says(&b, rfc_server_final);
	scram_server_release(&s);
	buf_release(&b);
}

static void a_verifier_is_written_as_postgresql_stores_it(void **state)
{
	char text[SECRET_TEXT_MAX], again[SECRET_TEXT_MAX];
	struct scram_verifier v;

	/* RFC 7677's salt and password; the keys were computed by Python's hashlib. */
	assert_int_equal(scram_verifier_build("pencil", (const uint8_t *)"[m\x99h\x9d\x12\x35\x8e\xec\xa0K\x14\x12\x36\xfa\x81",
					      16, 4096, text), 0);
	assert_string_equal(text, "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
				  "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
				  "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
	assert_int_equal(scram_verifier_parse(text, &v), 0);
	assert_int_equal(scram_verifier_text(&v, again), 0);
	assert_string_equal(text, again);
	assert_true(scram_verifier_matches(&v, "pencil"));
	assert_false(scram_verifier_matches(&v, "pencils"));
	assert_false(scram_verifier_matches(&v, ""));
}

static void our_client_logs_in_to_our_server(void **state)
{
	struct talk t;

	talk_init(&t, "pencil", "pencil");
	assert_int_equal(run(&t, -1, leave, 0), 5);
	assert_true(t.server.verifier.have_client_key);
	talk_release(&t);
}

static void a_password_beyond_ascii_is_taken_as_its_bytes(void **state)
{
	struct talk t;

	talk_init(&t, "p\xc3\xa9ncil \xff\x01", "p\xc3\xa9ncil \xff\x01");
	assert_int_equal(run(&t, -1, leave, 0), 5);
	talk_release(&t);
}

static void a_wrong_password_fails_at_the_proof(void **state)
{
	struct talk t;

	talk_init(&t, "pencil", "Pencil");
	assert_int_equal(run(&t, -1, leave, 0), 3);
	assert_false(t.server.verifier.have_client_key);
	assert_null(t.server.why);
	talk_release(&t);
}

static void a_server_that_does_not_know_the_password_is_found_out(void **state)
{
	struct talk t;

	talk_init(&t, "pencil", "pencil");
	t.server.verifier.server_key[0] ^= 1; /* a thief of StoredKey alone */
	assert_int_equal(run(&t, -1, leave, 0), 4);
	assert_non_null(strstr(t.client.why, "signature"));
	talk_release(&t);
}

static void keys_learnt_from_a_proof_log_in_with_the_same_verifier(void **state)
{
	struct talk t, u;

	talk_init(&t, "pencil", "pencil");
	assert_int_equal(run(&t, -1, leave, 0), 5);
	talk_init(&u, "pencil", "unused");
	u.secret.kind = SECRET_SCRAM;
	u.secret.scram = t.server.verifier;
	assert_int_equal(run(&u, -1, leave, 0), 5);
	talk_release(&u);
	talk_release(&t);
}

static void keys_of_another_verifier_are_not_used(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct talk t;

		talk_init(&t, "pencil", "unused");
		t.secret.kind = SECRET_SCRAM;
		assert_int_equal(scram_verifier_make("pencil", salt, sizeof salt, ROUNDS, &t.secret.scram), 0);
		if (i == 0)
			t.secret.scram.salt[15] ^= 1;
		else if (i == 1)
			t.secret.scram.salt_len--;
		else if (i == 2)
			t.secret.scram.iterations++;
		else
			t.secret.scram.have_client_key = false;
		assert_int_equal(run(&t, -1, leave, 0), 2);
		talk_release(&t);
	}
}

/* A shorter message may be a message (a nonce of fewer characters), but never one that leads to a login. */
static void every_message_cut_short_fails(void **state)
{
	for (int at = 1; at < 5; at++) {
		for (size_t len = 0;; len++) {
			struct talk t;
			int failed;
			bool whole = false;

			talk_init(&t, "pencil", "pencil");
			for (int n = 0; n < at; n++)
				assert_int_equal(step(&t, n), SCRAM_OK);
			whole = len == buf_len(&t.said);
			cut(&t.said, len);
			for (failed = at; failed < 5; failed++)
				if (step(&t, failed))
					break;
			assert_true(whole ? failed == 5 : failed < 5);
			talk_release(&t);
			if (whole)
				break;
		}
	}
}

static void every_flipped_bit_fails(void **state)
{
	for (int at = 1; at < 5; at++) {
		for (size_t bit = 0;; bit++) {
			struct talk t;
			int failed;

			talk_init(&t, "pencil", "pencil");
			t.client.iterations_max = ROUNDS * 10; /* a flip in i= must not take long */
			for (int n = 0; n < at; n++)
				assert_int_equal(step(&t, n), SCRAM_OK);
			if (bit == buf_len(&t.said) * 8) {
				talk_release(&t);
				break;
			}
			flip(&t.said, bit);
			for (failed = at; failed < 5; failed++)
				if (step(&t, failed))
					break;
			assert_in_range(failed, at, 4);
			talk_release(&t);
		}
	}
}

static void a_mock_has_the_shape_of_a_known_user_and_fails_at_the_proof(void **state)
{
	static const uint8_t key[SCRAM_KEY_LEN] = "per process";
	struct scram_verifier mock, again, other;
	struct talk t;

	assert_int_equal(scram_server_mock(key, "nobody", ROUNDS, &mock), 0);
	assert_int_equal(scram_server_mock(key, "nobody", ROUNDS, &again), 0);
	assert_int_equal(scram_server_mock(key, "nobody2", ROUNDS, &other), 0);
	assert_memory_equal(&mock, &again, sizeof mock);
	assert_memory_not_equal(mock.salt, other.salt, SCRAM_SALT_LEN);
	assert_int_equal(mock.salt_len, SCRAM_SALT_LEN);

	talk_init(&t, "pencil", "pencil");
	t.server.mock = true; /* even the right proof does not help */
	assert_int_equal(run(&t, -1, leave, 0), 3);
	assert_null(t.server.why);
	assert_false(t.server.verifier.have_client_key);
	talk_release(&t);
}

static enum scram_result client_hears(const char *server_first, uint32_t iterations_max)
{
	struct scram_client c;
	struct secret s;
	struct buf b = { 0 };
	enum scram_result r;

	plain(&s, "pencil");
	scram_client_init(&c, client_nonce, SCRAM_BIND_NONE, NULL, 0, iterations_max);
	scram_client_first(&c, "", &b);
	r = scram_client_final(&c, TEXT(server_first), &s, &b);
	scram_client_release(&c);
	buf_release(&b);
	return r;
}

static void servers_are_held_to_bounds(void **state)
{
	static const char *const bad[] = {
		"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=0",
		"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=",
		"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=-5",
		"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=+5",
		"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=05",
		"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=5x",
		"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=101",
		"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=2147483648",
		"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=99999999999999999999",
		"r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=5",
		"r=rOprNGfwEbeRWgbNEkqPx,s=W22Z,i=5",
		"r=xrOprNGfwEbeRWgbNEkqO,s=W22Z,i=5",
		"r=rOprNGfwEbeRWgbNEkqO\x7f,s=W22Z,i=5",
		"r=rOprNGfwEbeRWgbNEkqOx,s=,i=5",
		"r=rOprNGfwEbeRWgbNEkqOx,s=W22,i=5",
		"r=rOprNGfwEbeRWgbNEkqOx,s=W2 Z,i=5",
		"r=rOprNGfwEbeRWgbNEkqOx,i=5,s=W22Z",
		"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=5,",
		"r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=5,x",
		"m=ext,r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=5",
		"e=other-error",
		"",
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(client_hears(bad[i], 100), SCRAM_MALFORMED);
	assert_int_equal(client_hears("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=100", 100), SCRAM_OK);
	assert_int_equal(client_hears("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=101", 0), SCRAM_OK);
	assert_int_equal(client_hears("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=5,x=an extension", 100), SCRAM_OK);
}

static enum scram_result server_hears(const char *client_first, bool offered, bool plus)
{
	struct talk t;
	enum scram_result r;

	talk_init(&t, "pencil", "pencil");
	if (offered) {
		memcpy(t.server.cb_data, endpoint, sizeof endpoint);
		t.server.cb_len = sizeof endpoint;
	}
	t.server.plus = plus;
	r = scram_server_first(&t.server, TEXT(client_first), &t.said);
	talk_release(&t);
	return r;
}

static void client_first_messages_are_held_to_the_grammar(void **state)
{
	static const char *const bad[] = {
		"", "n", "n,", "n,,", "n,,n=", "n,,n=,", "n,,n=,r", "n,,n=,r=", "n,,r=abc,n=", "n,a=admin,n=,r=abc",
		"n,,m=x,n=,r=abc", "n,,n=,r=ab c", "n,,n=,r=abc,", "n,,n=,r=abc,1=x", "x,,n=,r=abc", "n;,n=,r=abc", "N,,n=,r=abc",
		"p=tls-server-end-point,,n=,r=abc", "p=tls-unique,,n=,r=abc",
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(server_hears(bad[i], false, false), SCRAM_MALFORMED);
	assert_int_equal(server_hears("n,,n=,r=abc", false, false), SCRAM_OK);
	assert_int_equal(server_hears("n,,n=any=2Cname,r=abc,x=ext", false, false), SCRAM_OK);
}

static void a_binding_negotiated_away_is_noticed(void **state)
{
	assert_int_equal(server_hears("y,,n=,r=abc", false, false), SCRAM_OK);
	assert_int_equal(server_hears("y,,n=,r=abc", true, false), SCRAM_UNBOUND);
	assert_int_equal(server_hears("n,,n=,r=abc", true, false), SCRAM_OK);
	assert_int_equal(server_hears("n,,n=,r=abc", true, true), SCRAM_MALFORMED);
	assert_int_equal(server_hears("y,,n=,r=abc", true, true), SCRAM_MALFORMED);
	assert_int_equal(server_hears("p=tls-server-end-point,,n=,r=abc", true, true), SCRAM_OK);
	assert_int_equal(server_hears("p=tls-server-end-point,,n=,r=abc", true, false), SCRAM_MALFORMED);
	assert_int_equal(server_hears("p=tls-unique,,n=,r=abc", true, true), SCRAM_MALFORMED);
}

static int bound_talk(const uint8_t *client_sees, size_t len, enum scram_binding binding)
{
	struct talk t;
	int failed;

	talk_init(&t, "pencil", "pencil");
	scram_client_release(&t.client);
	scram_client_init(&t.client, client_nonce, binding, client_sees, len, 0);
	t.server.plus = binding == SCRAM_BIND_ENDPOINT;
	memcpy(t.server.cb_data, endpoint, sizeof endpoint);
	t.server.cb_len = sizeof endpoint;
	failed = run(&t, -1, leave, 0);
	if (failed < 5)
		assert_non_null(strstr(t.server.why, "channel binding"));
	talk_release(&t);
	return failed;
}

static void binding_holds_both_ends_to_one_certificate(void **state)
{
	uint8_t other[SCRAM_KEY_LEN];

	memcpy(other, endpoint, sizeof other);
	other[31] ^= 1;
	assert_int_equal(bound_talk(endpoint, sizeof endpoint, SCRAM_BIND_ENDPOINT), 5);
	assert_int_equal(bound_talk(other, sizeof other, SCRAM_BIND_ENDPOINT), 3);
	assert_int_equal(bound_talk(endpoint, sizeof endpoint - 1, SCRAM_BIND_ENDPOINT), 3);
	assert_int_equal(bound_talk(NULL, 0, SCRAM_BIND_ENDPOINT), 3);
	assert_int_equal(bound_talk(NULL, 0, SCRAM_BIND_NONE), 5);
	assert_int_equal(bound_talk(NULL, 0, SCRAM_BIND_NOT_OFFERED), 1);
}

static void messages_out_of_turn_are_refused(void **state)
{
	struct talk t;

	talk_init(&t, "pencil", "pencil");
	assert_int_equal(scram_client_verify(&t.client, TEXT(rfc_server_final)), SCRAM_MALFORMED);
	assert_int_equal(scram_client_final(&t.client, TEXT(rfc_server_first), &t.secret, &t.said), SCRAM_MALFORMED);
	assert_int_equal(scram_server_final(&t.server, TEXT(rfc_final), &t.said), SCRAM_MALFORMED);
	assert_int_equal(run(&t, -1, leave, 0), 5);
	assert_int_equal(scram_server_first(&t.server, TEXT(rfc_first), &t.said), SCRAM_MALFORMED);
	assert_int_equal(scram_server_final(&t.server, TEXT(rfc_final), &t.said), SCRAM_MALFORMED);
	assert_int_equal(scram_client_verify(&t.client, TEXT(rfc_server_final)), SCRAM_MALFORMED);
	talk_release(&t);
}

static void an_exchange_allows_one_guess(void **state)
{
	struct talk t;
	struct buf right = { 0 };

	talk_init(&t, "pencil", "pencil");
	for (int n = 0; n < 3; n++)
		assert_int_equal(step(&t, n), SCRAM_OK);
	buf_add(&right, buf_head(&t.said), buf_len(&t.said));
	flip(&t.said, (buf_len(&t.said) - 10) * 8);
	assert_int_not_equal(step(&t, 3), SCRAM_OK);
	buf_reset(&t.said);
	buf_add(&t.said, buf_head(&right), buf_len(&right));
	assert_int_not_equal(step(&t, 3), SCRAM_OK);
	talk_release(&t);
	buf_release(&right);
}

static void bounds_of_salt_and_iterations_are_kept(void **state)
{
	static uint8_t long_salt[SCRAM_SALT_MAX + 1];
	struct scram_verifier v;
	char text[SECRET_TEXT_MAX];

	assert_int_equal(scram_verifier_make("x", salt, 0, 1, &v), -1);
	assert_int_equal(scram_verifier_make("x", salt, 16, 0, &v), -1);
	assert_int_equal(scram_verifier_make("x", salt, 16, (uint32_t)INT32_MAX + 1, &v), -1);
	assert_int_equal(scram_verifier_make("x", long_salt, SCRAM_SALT_MAX + 1, 1, &v), -1);
	assert_int_equal(scram_verifier_make("x", long_salt, SCRAM_SALT_MAX, 1, &v), 0);
	assert_int_equal(scram_verifier_text(&v, text), 0);
	assert_int_equal(scram_verifier_parse(text, &v), 0);
	assert_int_equal(v.salt_len, SCRAM_SALT_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_client_speaks_the_words_of_rfc_7677),
		cmocka_unit_test(the_server_understands_the_words_of_rfc_7677),
		cmocka_unit_test(a_verifier_is_written_as_postgresql_stores_it),
		cmocka_unit_test(our_client_logs_in_to_our_server),
		cmocka_unit_test(a_password_beyond_ascii_is_taken_as_its_bytes),
		cmocka_unit_test(a_wrong_password_fails_at_the_proof),
		cmocka_unit_test(a_server_that_does_not_know_the_password_is_found_out),
		cmocka_unit_test(keys_learnt_from_a_proof_log_in_with_the_same_verifier),
		cmocka_unit_test(keys_of_another_verifier_are_not_used),
		cmocka_unit_test(every_message_cut_short_fails),
		cmocka_unit_test(every_flipped_bit_fails),
		cmocka_unit_test(a_mock_has_the_shape_of_a_known_user_and_fails_at_the_proof),
		cmocka_unit_test(servers_are_held_to_bounds),
		cmocka_unit_test(client_first_messages_are_held_to_the_grammar),
		cmocka_unit_test(a_binding_negotiated_away_is_noticed),
		cmocka_unit_test(binding_holds_both_ends_to_one_certificate),
		cmocka_unit_test(messages_out_of_turn_are_refused),
		cmocka_unit_test(an_exchange_allows_one_guess),
		cmocka_unit_test(bounds_of_salt_and_iterations_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
