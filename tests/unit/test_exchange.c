/* links: auth/client_exchange.c auth/server_exchange.c auth/secret.c auth/md5.c auth/derive.c auth/scram.c auth/scram_client.c auth/scram_server.c auth/base64.c parser/buf.c -lcrypto */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "auth/exchange.h"
#include "auth/md5.h"
#include "auth/scram_client.h"
#include "parser/reader.h"
#include "tests/derive_now.h"
#include "tests/unit/wiped.h"

enum { ROUNDS = 64, LONGEST = 70000 };

static const uint8_t mock_key[32] = "of this process";
static const uint8_t entropy[64] = "0123456789abcdef0123456789abcdef\1\2\3\4";
static const uint8_t endpoint[32] = "hash of the certificate";
static const uint8_t salt[SCRAM_SALT_LEN] = "0123456789abcdef";

static struct secret of(const char *text)
{
	struct secret s;

	assert_int_equal(secret_parse(text, &s), 0);
	return s;
}

static struct secret verifier_of(const char *password)
{
	char text[SECRET_TEXT_MAX];

	assert_int_equal(scram_verifier_build(password, salt, sizeof salt, ROUNDS, text), 0);
	return of(text);
}

static struct secret keys_of(const char *password)
{
	struct secret s = verifier_of(password);

	assert_int_equal(scram_verifier_make(password, salt, sizeof salt, ROUNDS, &s.scram), 0);
	return s;
}

static struct auth_client *towards_client(enum auth_method method, const struct secret *s)
{
	return auth_client_new(method, "alice", s, ROUNDS, mock_key, entropy, NULL, 0);
}

/* The body of the one message in b, in memory of its own length; b is empty afterwards. */
static uint8_t *take(struct buf *b, char type, size_t *len)
{
	uint8_t *body;

	assert_true(buf_len(b) >= 5);
	assert_int_equal(buf_head(b)[0], type);
	assert_int_equal(be32(buf_head(b) + 1), buf_len(b) - 1);
	*len = buf_len(b) - 5;
	body = malloc(*len ? *len : 1);
	memcpy(body, buf_head(b) + 5, *len);
	buf_reset(b);
	return body;
}

static void fails_with(struct auth_client *a, const char *sqlstate, const char *message)
{
	const char *said, *state;

	said = auth_client_error(a, &state);
	assert_string_equal(state, sqlstate);
	if (message)
		assert_string_equal(said, message);
	else
		assert_null(said);
}

/* Lets both sides talk until one says no or both are content. Returns how many messages were passed on; *client and
 * *server are the last verdicts. */
static int converse(struct auth_client *a, struct auth_server *s, enum auth_verdict *client, enum auth_verdict *server)
{
	static const uint8_t ok[4];
	struct buf b = { 0 };
	int passed = 0;
	size_t len;
	uint8_t *body;

	*server = AUTH_MORE;
	*client = auth_client_start(a, &b);
	while (*client != AUTH_FAIL) {
		if (buf_len(&b)) {
			body = take(&b, 'R', &len);
			*server = server_feed(s, body, len, &b);
			free(body);
			passed++;
		}
		if (*client == AUTH_OK && *server == AUTH_MORE)
			*server = server_feed(s, ok, sizeof ok, &b);
		if (*client == AUTH_OK || *server == AUTH_FAIL)
			break;
		body = take(&b, 'p', &len);
		*client = client_feed(a, body, len, &b);
		free(body);
		passed++;
	}
	assert_int_equal(buf_len(&b), 0);
	buf_release(&b);
	return passed;
}

enum outcome { IN, REFUSED, UNWILLING /* the peer could not answer */ };

static enum outcome login(enum auth_method method, const struct secret *here, const struct secret *there,
			  struct secret *learned, const char **why)
{
	struct auth_client *a = towards_client(method, here);
	struct auth_server *s = auth_server_new("alice", there, entropy, 0);
	enum auth_verdict client, server;

	converse(a, s, &client, &server);
	if (learned)
		auth_client_learned(a, learned);
	if (client == AUTH_FAIL)
		fails_with(a, "28P01", NULL);
	if (why)
		*why = auth_server_error(s);
	if (server == AUTH_FAIL)
		assert_non_null(auth_server_error(s));
	auth_client_free(a);
	auth_server_free(s);
	return client == AUTH_FAIL ? REFUSED : server == AUTH_FAIL ? UNWILLING : IN;
}

/* Every method asked for, every form of the secret on either side. */
static void each_pair_of_secrets_meets_in_each_method(void **state)
{
	enum { NONE, PLAIN, HASH, SCRAM, KINDS };
	static const enum outcome table[][KINDS][KINDS] = {
		[AUTH_PLAIN] = {
			[NONE] = { UNWILLING, REFUSED, UNWILLING, UNWILLING },
			[PLAIN] = { UNWILLING, IN, UNWILLING, UNWILLING },
			[HASH] = { UNWILLING, IN, UNWILLING, UNWILLING },
			[SCRAM] = { UNWILLING, IN, UNWILLING, UNWILLING },
		},
		[AUTH_MD5] = {
			[NONE] = { UNWILLING, REFUSED, REFUSED, UNWILLING },
			[PLAIN] = { UNWILLING, IN, IN, UNWILLING },
			[HASH] = { UNWILLING, IN, IN, UNWILLING },
			[SCRAM] = { UNWILLING, IN, UNWILLING, IN },
		},
		[AUTH_SCRAM] = {
			[NONE] = { UNWILLING, REFUSED, UNWILLING, UNWILLING },
			[PLAIN] = { UNWILLING, IN, UNWILLING, UNWILLING }, /* an ad-hoc verifier has another salt */
			[HASH] = { UNWILLING, REFUSED, UNWILLING, UNWILLING },
			[SCRAM] = { UNWILLING, IN, UNWILLING, IN },
		},
	};
	const struct secret none = of(""), plain = of("secret"), hash = of("md54a0a68b43b6cd5cf266fa02f196e2371"),
			    verifier = verifier_of("secret"), keys = keys_of("secret");
	const struct secret *here[] = { &none, &plain, &hash, &verifier }, *there[] = { &none, &plain, &hash, &keys };
	const struct secret wrong_plain = of("Secret"), wrong_hash = of("md54a0a68b43b6cd5cf266fa02f196e2372"),
			    wrong_keys = keys_of("Secret");
	const struct secret *wrong[] = { &none, &wrong_plain, &wrong_hash, &wrong_keys };

	for (int method = AUTH_PLAIN; method <= AUTH_SCRAM; method++) {
		for (int h = 0; h < KINDS; h++) {
			for (int t = 0; t < KINDS; t++) {
				enum outcome expected = table[method][h][t];

				assert_int_equal(login(method, here[h], there[t], NULL, NULL), expected);
				assert_int_equal(login(method, here[h], wrong[t], NULL, NULL),
						 expected == IN ? REFUSED : expected);
			}
		}
	}
	assert_int_equal(login(AUTH_SCRAM, NULL, &plain, NULL, NULL), REFUSED);
	assert_int_equal(login(AUTH_TRUST, NULL, &none, NULL, NULL), IN);
	assert_int_equal(login(AUTH_ANY, &plain, &none, NULL, NULL), IN);
}

static void a_client_teaches_what_servers_will_ask(void **state)
{
	const struct secret plain = of("secret"), hash = of("md54a0a68b43b6cd5cf266fa02f196e2371"),
			    verifier = verifier_of("secret"), wrong = of("wrong");
	struct secret learned, again;

	assert_int_equal(login(AUTH_SCRAM, &verifier, &plain, &learned, NULL), IN);
	assert_int_equal(learned.kind, SECRET_SCRAM);
	assert_true(learned.scram.have_client_key);
	/* … and those keys log in elsewhere, whose proof teaches them again. */
	assert_int_equal(login(AUTH_SCRAM, &verifier, &learned, &again, NULL), IN);
	assert_memory_equal(again.scram.client_key, learned.scram.client_key, SCRAM_KEY_LEN);

	for (int i = 0; i < 3; i++) {
		const struct secret *known = i == 0 ? &plain : i == 1 ? &hash : &verifier;

		assert_int_equal(login(AUTH_PLAIN, known, &plain, &learned, NULL), IN);
		assert_int_equal(learned.kind, SECRET_PLAIN);
		assert_string_equal(learned.text, "secret");
	}
	assert_int_equal(login(AUTH_MD5, &hash, &plain, &learned, NULL), IN);
	assert_int_equal(learned.kind, SECRET_MD5);
	assert_int_equal(login(AUTH_SCRAM, &plain, &plain, &learned, NULL), IN);
	assert_int_equal(learned.kind, SECRET_PLAIN);
	assert_int_equal(login(AUTH_TRUST, &plain, &plain, &learned, NULL), IN);
	assert_string_equal(learned.text, "secret");
	assert_int_equal(login(AUTH_PLAIN, &plain, &wrong, &learned, NULL), REFUSED);
	assert_int_equal(learned.kind, SECRET_NONE);
	assert_string_equal(learned.text, "");
}

static void what_can_not_be_answered_is_said_plainly(void **state)
{
	const struct secret none = of(""), plain = of("secret"), hash = of("md54a0a68b43b6cd5cf266fa02f196e2371"),
			    verifier = verifier_of("secret"), keys = keys_of("secret");
	const char *why;

	login(AUTH_PLAIN, &plain, &keys, NULL, &why);
	assert_non_null(strstr(why, "only SCRAM keys"));
	login(AUTH_MD5, &plain, &keys, NULL, &why);
	assert_non_null(strstr(why, "only SCRAM keys"));
	login(AUTH_PLAIN, &plain, &hash, NULL, &why);
	assert_non_null(strstr(why, "md5"));
	login(AUTH_SCRAM, &plain, &hash, NULL, &why);
	assert_non_null(strstr(why, "md5"));
	login(AUTH_SCRAM, &verifier, &verifier, NULL, &why);
	assert_non_null(strstr(why, "verifier without keys"));
	login(AUTH_SCRAM, &plain, &keys, NULL, &why);
	assert_non_null(strstr(why, "salt or iterations differ"));
	login(AUTH_SCRAM, &plain, &none, NULL, &why);
	assert_non_null(strstr(why, "none is known"));
}

/* ---- towards clients, byte by byte ---- */

static void requests_are_whole_messages(void **state)
{
	const struct secret plain = of("secret");
	struct auth_client *a;
	struct buf b = { 0 };

	a = towards_client(AUTH_TRUST, NULL);
	assert_int_equal(auth_client_start(a, &b), AUTH_OK);
	assert_int_equal(buf_len(&b), 0);
	auth_client_free(a);

	a = towards_client(AUTH_PLAIN, &plain);
	assert_int_equal(auth_client_start(a, &b), AUTH_MORE);
	assert_int_equal(buf_len(&b), 9);
	assert_memory_equal(buf_head(&b), "R\0\0\0\x08\0\0\0\x03", 9);
	buf_reset(&b);
	auth_client_free(a);

	a = towards_client(AUTH_MD5, &plain);
	assert_int_equal(auth_client_start(a, &b), AUTH_MORE);
	assert_int_equal(buf_len(&b), 13);
	assert_memory_equal(buf_head(&b), "R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04", 13);
	buf_reset(&b);
	auth_client_free(a);

	a = towards_client(AUTH_SCRAM, &plain);
	assert_int_equal(auth_client_start(a, &b), AUTH_MORE);
	assert_int_equal(buf_len(&b), 24);
	assert_memory_equal(buf_head(&b), "R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0", 24);
	buf_reset(&b);
	auth_client_free(a);

	a = auth_client_new(AUTH_SCRAM, "alice", &plain, ROUNDS, mock_key, entropy, endpoint, sizeof endpoint);
	assert_int_equal(auth_client_start(a, &b), AUTH_MORE);
	assert_int_equal(buf_len(&b), 43);
	assert_memory_equal(buf_head(&b), "R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", 43);
	auth_client_free(a);
	buf_release(&b);
}

static void password_messages_are_one_string(void **state)
{
	static const struct {
		const char *body;
		size_t len;
		const char *sqlstate;
	} bad[] = {
		{ "", 0, "08P01" }, { "secret", 6, "08P01" }, { "secret\0\0", 8, "08P01" }, { "secret\0x", 8, "08P01" },
		{ "", 1, "28P01" }, { "secre", 6, "28P01" }, { "secrets", 8, "28P01" },
	};
	const struct secret plain = of("secret");
	struct buf b = { 0 };

	for (int method = AUTH_PLAIN; method <= AUTH_MD5; method++) {
		for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
			struct auth_client *a = towards_client(method, &plain);
			uint8_t *exact = malloc(bad[i].len ? bad[i].len : 1);

			memcpy(exact, bad[i].body, bad[i].len);
			auth_client_start(a, &b);
			buf_reset(&b);
			assert_int_equal(client_feed(a, exact, bad[i].len, &b), AUTH_FAIL);
			fails_with(a, bad[i].sqlstate, *bad[i].sqlstate == '0' ? "invalid password packet size" : NULL);
			/* and a failure is final */
			assert_int_equal(client_feed(a, (const uint8_t *)"secret", 7, &b), AUTH_FAIL);
			assert_int_equal(buf_len(&b), 0);
			auth_client_free(a);
			free(exact);
		}
	}
	buf_release(&b);
}

static void passwords_are_bounded(void **state)
{
	const struct secret verifier = verifier_of("secret");
	static const struct {
		size_t len;
		const char *sqlstate;
	} sizes[] = { { SECRET_TEXT_MAX, "28P01" }, { 65535, "28P01" }, { 65536, "08P01" }, { LONGEST, "08P01" } };
	char *body = malloc(LONGEST + 1);
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct auth_client *a = towards_client(AUTH_PLAIN, &verifier);

		memset(body, 'x', LONGEST + 1);
		body[sizes[i].len] = 0;
		auth_client_start(a, &b);
		buf_reset(&b);
		assert_int_equal(client_feed(a, (uint8_t *)body, sizes[i].len + 1, &b), AUTH_FAIL);
		fails_with(a, sizes[i].sqlstate, *sizes[i].sqlstate == '0' ? "invalid password packet size" : NULL);
		auth_client_free(a);
	}
	free(body);
	buf_release(&b);
}

static void md5_answers_hold_for_one_salt(void **state)
{
	const struct secret plain = of("secret");
	static const char right[] = "md598a0412b9c31436fc53776e863350083";
	uint8_t other[64] = { 0 };
	struct auth_client *a = towards_client(AUTH_MD5, &plain);
	struct buf b = { 0 };

	auth_client_start(a, &b);
	assert_int_equal(client_feed(a, (const uint8_t *)right, sizeof right, &b), AUTH_OK);
	assert_int_equal(client_feed(a, (const uint8_t *)right, sizeof right, &b), AUTH_FAIL);
	fails_with(a, "08P01", "unexpected authentication message");
	auth_client_free(a);
	a = auth_client_new(AUTH_MD5, "alice", &plain, ROUNDS, mock_key, other, NULL, 0);
	auth_client_start(a, &b);
	assert_int_equal(client_feed(a, (const uint8_t *)right, sizeof right, &b), AUTH_FAIL);
	fails_with(a, "28P01", NULL);
	auth_client_free(a);
	buf_release(&b);
}

static enum auth_verdict choose(struct auth_client *a, const char *mechanism, int32_t claim, const char *first,
				struct buf *out)
{
	struct buf b = { 0 };
	enum auth_verdict v;
	uint8_t *exact;

	buf_str(&b, mechanism);
	buf_u32(&b, (uint32_t)claim);
	buf_text(&b, first);
	exact = malloc(buf_len(&b));
	memcpy(exact, buf_head(&b), buf_len(&b));
	v = client_feed(a, exact, buf_len(&b), out);
	free(exact);
	buf_release(&b);
	return v;
}

static void a_mechanism_must_be_an_offered_one(void **state)
{
	static const struct {
		const char *mechanism;
		bool bound;
	} bad[] = {
		{ "", false }, { "SCRAM-SHA-1", false }, { "scram-sha-256", false },
		{ "SCRAM-SHA-256-PLUS", false }, { "OAUTHBEARER", true },
	};
	const struct secret plain = of("secret");
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct auth_client *a = auth_client_new(AUTH_SCRAM, "alice", &plain, ROUNDS, mock_key, entropy, endpoint,
							bad[i].bound ? sizeof endpoint : 0);

		auth_client_start(a, &b);
		buf_reset(&b);
		assert_int_equal(choose(a, bad[i].mechanism, 11, "n,,n=,r=abc", &b), AUTH_FAIL);
		fails_with(a, "08P01", "client selected an invalid SASL authentication mechanism");
		assert_int_equal(buf_len(&b), 0);
		auth_client_free(a);
	}
	buf_release(&b);
}

static void an_initial_response_is_as_long_as_it_claims(void **state)
{
	static const int32_t claims[] = { -2, -1, 0, 1, 10, 12, INT32_MAX, INT32_MIN };
	const struct secret plain = of("secret");
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
		struct auth_client *a = towards_client(AUTH_SCRAM, &plain);

		auth_client_start(a, &b);
		buf_reset(&b);
		assert_int_equal(choose(a, "SCRAM-SHA-256", claims[i], "n,,n=,r=abc", &b), AUTH_FAIL);
		fails_with(a, "08P01", "malformed SASLInitialResponse message");
		auth_client_free(a);
	}
	buf_release(&b);
}

static void a_client_without_initial_response_is_asked_for_it(void **state)
{
	const struct secret plain = of("secret");
	struct auth_client *a = towards_client(AUTH_SCRAM, &plain);
	struct buf b = { 0 };

	auth_client_start(a, &b);
	buf_reset(&b);
	assert_int_equal(choose(a, "SCRAM-SHA-256", -1, "", &b), AUTH_MORE);
	assert_int_equal(buf_len(&b), 9);
	assert_memory_equal(buf_head(&b), "R\0\0\0\x08\0\0\0\x0b", 9);
	buf_reset(&b);
	assert_int_equal(client_feed(a, (const uint8_t *)"n,,n=,r=abc", 11, &b), AUTH_MORE);
	assert_memory_equal(buf_head(&b) + 5, "\0\0\0\x0br=abc", 9);
	auth_client_free(a);
	buf_release(&b);
}

/* What the first SCRAM message of a user looks like: with the nonce being ours to give, all of it may be compared. */
static void first_answer(const char *user, const struct secret *s, struct buf *b)
{
	struct auth_client *a = auth_client_new(AUTH_SCRAM, user, s, ROUNDS, mock_key, entropy, NULL, 0);

	auth_client_start(a, b);
	buf_reset(b);
	assert_int_equal(choose(a, "SCRAM-SHA-256", 11, "n,,n=,r=abc", b), AUTH_MORE);
	auth_client_free(a);
}

static void unknown_users_look_like_known_ones(void **state)
{
	const struct secret plain = of("secret"), verifier = verifier_of("secret");
	struct buf unknown = { 0 }, again = { 0 }, known = { 0 }, other = { 0 }, stored = { 0 };

	first_answer("alice", NULL, &unknown);
	first_answer("alice", NULL, &again);
	first_answer("alice", &plain, &known);
	first_answer("bob", NULL, &other);
	first_answer("alice", &verifier, &stored);
	assert_int_equal(buf_len(&unknown), buf_len(&again));
	assert_memory_equal(buf_head(&unknown), buf_head(&again), buf_len(&again));
	assert_int_equal(buf_len(&unknown), buf_len(&known));
	assert_memory_equal(buf_head(&unknown), buf_head(&known), buf_len(&known));
	assert_int_equal(buf_len(&unknown), buf_len(&other));
	assert_memory_not_equal(buf_head(&unknown), buf_head(&other), buf_len(&other));
	assert_int_equal(buf_len(&unknown), buf_len(&stored));
	buf_release(&unknown);
	buf_release(&again);
	buf_release(&known);
	buf_release(&other);
	buf_release(&stored);
}

static void unknown_users_fail_at_the_same_message_as_wrong_passwords(void **state)
{
	const struct secret plain = of("secret"), wrong = of("wrong");

	for (int method = AUTH_PLAIN; method <= AUTH_SCRAM; method++) {
		int passed[2];

		for (int known = 0; known < 2; known++) {
			struct auth_client *a = towards_client(method, known ? &plain : NULL);
			struct auth_server *s = auth_server_new("alice", &wrong, entropy, 0);
			enum auth_verdict client, server;

			passed[known] = converse(a, s, &client, &server);
			assert_int_equal(client, AUTH_FAIL);
			fails_with(a, "28P01", NULL);
			auth_client_free(a);
			auth_server_free(s);
		}
		assert_int_equal(passed[0], passed[1]);
	}
}

/* The exchange with binding, for which a client of ours has no server. */
static enum auth_verdict bound(const char *mechanism, enum scram_binding binding, const uint8_t *seen,
			       struct auth_client **out)
{
	const struct secret plain = of("secret");
	struct auth_client *a =
		auth_client_new(AUTH_SCRAM, "alice", &plain, ROUNDS, mock_key, entropy, endpoint, sizeof endpoint);
	struct scram_client c;
	struct buf b = { 0 }, said = { 0 };
	enum auth_verdict v;
	uint8_t *body;
	size_t len;

	auth_client_start(a, &b);
	buf_reset(&b);
	scram_client_init(&c, "clientnonce", binding, seen, seen ? sizeof endpoint : 0, 0);
	scram_client_first(&c, "", &said);
	buf_u8(&said, 0);
	v = choose(a, mechanism, (int32_t)buf_len(&said) - 1, (char *)buf_head(&said), &b);
	buf_reset(&said);
	if (v == AUTH_MORE) {
		body = take(&b, 'R', &len);
		assert_int_equal(scram_client_final(&c, body + 4, len - 4, &plain, &said), SCRAM_OK);
		free(body);
		v = client_feed(a, buf_head(&said), buf_len(&said), &b);
	}
	if (v == AUTH_OK) {
		body = take(&b, 'R', &len);
		assert_int_equal(scram_client_verify(&c, body + 4, len - 4), SCRAM_OK);
		free(body);
	}
	scram_client_release(&c);
	buf_release(&b);
	buf_release(&said);
	*out = a;
	return v;
}

static void channel_binding_is_offered_checked_and_not_given_away(void **state)
{
	uint8_t other[sizeof endpoint] = "hash of the man in the middle";
	struct auth_client *a;

	assert_int_equal(bound("SCRAM-SHA-256-PLUS", SCRAM_BIND_ENDPOINT, endpoint, &a), AUTH_OK);
	auth_client_free(a);
	assert_int_equal(bound("SCRAM-SHA-256", SCRAM_BIND_NONE, NULL, &a), AUTH_OK);
	auth_client_free(a);
	assert_int_equal(bound("SCRAM-SHA-256-PLUS", SCRAM_BIND_ENDPOINT, other, &a), AUTH_FAIL);
	fails_with(a, "28000", "SCRAM channel binding check failed");
	auth_client_free(a);
	assert_int_equal(bound("SCRAM-SHA-256", SCRAM_BIND_NOT_OFFERED, NULL, &a), AUTH_FAIL);
	fails_with(a, "28000", "SCRAM channel binding negotiation error");
	auth_client_free(a);
	assert_int_equal(bound("SCRAM-SHA-256-PLUS", SCRAM_BIND_NONE, NULL, &a), AUTH_FAIL);
	fails_with(a, "08P01", "malformed SCRAM message");
	auth_client_free(a);
}

/* ---- every message of a whole login cut short, in both directions ---- */

/* Runs a SCRAM login in which message `at` is cut to `len` bytes. False once len is all of it. */
static bool cut_login(int at, size_t cut)
{
	const struct secret verifier = verifier_of("secret"), plain = of("secret");
	struct auth_client *a = towards_client(AUTH_SCRAM, &verifier);
	struct auth_server *s = auth_server_new("alice", &plain, entropy, ROUNDS);
	enum auth_verdict v = AUTH_MORE, in = AUTH_MORE;
	struct buf b = { 0 };
	size_t len;
	bool was_cut = false;

	auth_client_start(a, &b);
	for (int n = 0; n < 5 && v != AUTH_FAIL; n++) {
		uint8_t *body = take(&b, n % 2 ? 'p' : 'R', &len), *exact;

		if (n == at && cut < len) {
			len = cut;
			was_cut = true;
		}
		exact = malloc(len ? len : 1);
		memcpy(exact, body, len);
		v = n % 2 ? client_feed(a, exact, len, &b) : server_feed(s, exact, len, &b);
		if (n == 3)
			in = v;
		if (v == AUTH_FAIL)
			assert_int_equal(buf_len(&b), 0);
		free(body);
		free(exact);
	}
	/* The last message is for the client to judge: by then it is in. */
	if (was_cut && at < 4)
		assert_int_not_equal(in, AUTH_OK);
	else
		assert_int_equal(in, AUTH_OK);
	assert_int_equal(v, was_cut ? AUTH_FAIL : AUTH_MORE);
	auth_client_free(a);
	auth_server_free(s);
	buf_release(&b);
	return was_cut;
}

static void every_message_of_a_login_cut_short_ends_it(void **state)
{
	for (int at = 0; at < 5; at++)
		for (size_t cut = 0; cut_login(at, cut); cut++)
			;
}

/* ---- towards servers ---- */

static enum auth_verdict server_says(struct auth_server *s, const char *body, size_t len, struct buf *out)
{
	uint8_t *exact = malloc(len ? len : 1);
	enum auth_verdict v;

	memcpy(exact, body, len);
	v = server_feed(s, exact, len, out);
	free(exact);
	return v;
}

#define SAYS(s, text, out) server_says((s), (text), sizeof(text) - 1, (out))

static const char sasl[] = "\0\0\0\x0aSCRAM-SHA-256\0";

static void scram_is_found_in_any_list(void **state)
{
	static const struct {
		const char *list;
		size_t len;
		enum auth_verdict v;
	} lists[] = {
		{ "SCRAM-SHA-256\0", 15, AUTH_MORE },
		{ "SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0", 34, AUTH_MORE },
		{ "OAUTHBEARER\0SCRAM-SHA-256\0", 27, AUTH_MORE },
		{ "SCRAM-SHA-256\0OAUTHBEARER\0", 27, AUTH_MORE },
		{ "SCRAM-SHA-256-PLUS\0", 20, AUTH_FAIL },
		{ "OAUTHBEARER\0", 13, AUTH_FAIL },
		{ "", 1, AUTH_FAIL },
		{ "", 0, AUTH_FAIL },
		{ "SCRAM-SHA-256", 14, AUTH_FAIL },
		{ "SCRAM-SHA-256", 13, AUTH_FAIL },
		{ "SCRAM-SHA-256\0\0x", 16, AUTH_FAIL },
	};
	const struct secret plain = of("secret");

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		struct auth_server *s = auth_server_new("alice", &plain, entropy, 0);
		struct buf b = { 0 }, out = { 0 };

		buf_u32(&b, AUTH_REQ_SASL);
		buf_add(&b, lists[i].list, lists[i].len);
		assert_int_equal(server_says(s, (char *)buf_head(&b), buf_len(&b), &out), lists[i].v);
		if (lists[i].v == AUTH_MORE) {
			assert_int_equal(buf_len(&out), 5 + 14 + 4 + 3 + 3 + 2 + SCRAM_NONCE_LEN);
			assert_memory_equal(buf_head(&out) + 5, "SCRAM-SHA-256\0\0\0\0\x20n,,n=,r=", 26);
		} else {
			assert_int_equal(buf_len(&out), 0);
			assert_non_null(auth_server_error(s));
		}
		auth_server_free(s);
		buf_release(&b);
		buf_release(&out);
	}
}

static void a_server_may_not_skip_its_proof(void **state)
{
	const struct secret plain = of("secret");
	struct buf b = { 0 };
	struct auth_server *s = auth_server_new("alice", &plain, entropy, 0);

	assert_int_equal(server_says(s, sasl, sizeof sasl, &b), AUTH_MORE);
	assert_int_equal(SAYS(s, "\0\0\0\0", &b), AUTH_FAIL);
	assert_non_null(strstr(auth_server_error(s), "without proving"));
	auth_server_free(s);

	/* nor after our proof */
	buf_reset(&b);
	s = auth_server_new("alice", &plain, entropy, 0);
	assert_int_equal(server_says(s, sasl, sizeof sasl, &b), AUTH_MORE);
	{
		struct buf first = { 0 };

		buf_u32(&first, AUTH_REQ_SASL_CONTINUE);
		buf_text(&first, "r=");
		buf_add(&first, buf_head(&b) + buf_len(&b) - SCRAM_NONCE_LEN, SCRAM_NONCE_LEN);
		buf_text(&first, "more,s=c2FsdA==,i=64");
		buf_reset(&b);
		assert_int_equal(server_says(s, (char *)buf_head(&first), buf_len(&first), &b), AUTH_MORE);
		buf_release(&first);
	}
	assert_int_equal(SAYS(s, "\0\0\0\0", &b), AUTH_FAIL);
	assert_non_null(strstr(auth_server_error(s), "without proving"));
	assert_int_equal(SAYS(s, "\0\0\0\0", &b), AUTH_FAIL);
	auth_server_free(s);
	buf_release(&b);
}

static void a_server_asks_once(void **state)
{
	static const char plain_request[] = "\0\0\0\x03", md5_request[] = "\0\0\0\x05" "abcd";
	static const struct {
		const char *body;
		size_t len;
	} requests[] = { { plain_request, 4 }, { md5_request, 8 }, { sasl, sizeof sasl } };
	const struct secret plain = of("secret");
	struct buf b = { 0 };

	for (int i = 0; i < 3; i++) {
		for (int j = 0; j < 3; j++) {
			struct auth_server *s = auth_server_new("alice", &plain, entropy, 0);

			assert_int_equal(server_says(s, requests[i].body, requests[i].len, &b), AUTH_MORE);
			buf_reset(&b);
			assert_int_equal(server_says(s, requests[j].body, requests[j].len, &b), AUTH_FAIL);
			assert_int_equal(buf_len(&b), 0);
			auth_server_free(s);
		}
	}
	buf_release(&b);
}

static void requests_broken_or_unknown_are_refused(void **state)
{
	static const struct {
		const char *body;
		size_t len;
	} bad[] = {
		{ "", 0 },		     { "\0\0\0", 3 },		   { "\0\0\0\0x", 5 },	      { "\0\0\0\x03x", 5 },
		{ "\0\0\0\x05" "abc", 7 },   { "\0\0\0\x05" "abcde", 9 }, { "\0\0\0\x02", 4 },       { "\0\0\0\x06", 4 },
		{ "\0\0\0\x07", 4 },	     { "\0\0\0\x08", 4 },	   { "\0\0\0\x09", 4 },	      { "\0\0\0\x0b", 4 },
		{ "\0\0\0\x0cv=x", 7 },	     { "\xff\xff\xff\xff", 4 },
	};
	const struct secret plain = of("secret");
	struct buf b = { 0 };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct auth_server *s = auth_server_new("alice", &plain, entropy, 0);

		assert_int_equal(server_says(s, bad[i].body, bad[i].len, &b), AUTH_FAIL);
		assert_non_null(auth_server_error(s));
		assert_int_equal(buf_len(&b), 0);
		assert_int_equal(SAYS(s, "\0\0\0\0", &b), AUTH_FAIL);
		auth_server_free(s);
	}
	buf_release(&b);
}

static void a_server_that_trusts_needs_no_secret(void **state)
{
	struct auth_server *s = auth_server_new("alice", NULL, entropy, 0);
	struct buf b = { 0 };

	assert_int_equal(SAYS(s, "\0\0\0\0", &b), AUTH_OK);
	assert_int_equal(SAYS(s, "\0\0\0\0", &b), AUTH_FAIL);
	auth_server_free(s);
	auth_server_free(NULL);
	auth_client_free(NULL);
	buf_release(&b);
}

static void iterations_a_server_asks_for_are_bounded(void **state)
{
	const struct secret verifier = verifier_of("secret"), plain = of("secret");

	for (uint32_t most = ROUNDS - 1; most <= ROUNDS; most++) {
		struct auth_client *a = towards_client(AUTH_SCRAM, &verifier);
		struct auth_server *s = auth_server_new("alice", &plain, entropy, most);
		enum auth_verdict client, server;

		converse(a, s, &client, &server);
		assert_int_equal(server, most < ROUNDS ? AUTH_FAIL : AUTH_OK);
		if (most < ROUNDS)
			assert_non_null(strstr(auth_server_error(s), "iterations"));
		auth_client_free(a);
		auth_server_free(s);
	}
}

static void nothing_goes_on_before_the_keys_are_there(void **state)
{
	struct secret plain = of("secret"), v = verifier_of("secret");
	struct auth_client *a = towards_client(AUTH_PLAIN, &v);
	struct auth_server *s = auth_server_new("alice", &plain, entropy, 0);
	struct buf b = { 0 };
	uint8_t ok[4] = { 0 };

	assert_int_equal(auth_client_start(a, &b), AUTH_MORE);
	assert_int_equal(auth_client_feed(a, (const uint8_t *)"secret", 7, &b), AUTH_DERIVE);
	assert_string_equal(auth_client_wanted(a)->password, "secret");
	assert_int_equal(auth_client_wanted(a)->iterations, ROUNDS);
	assert_false(auth_client_wanted(a)->ours);
	assert_int_equal(auth_client_feed(a, (const uint8_t *)"secret", 7, &b), AUTH_FAIL);
	fails_with(a, "08P01", "unexpected authentication message");
	assert_int_equal(auth_client_derived(a, &v.scram, &b), AUTH_FAIL);
	auth_client_free(a);

	buf_reset(&b);
	a = towards_client(AUTH_SCRAM, &v);
	auth_client_start(a, &b);
	while (buf_len(&b)) {
		size_t len;
		char type = (char)buf_head(&b)[0];
		uint8_t *body = take(&b, type, &len);
		enum auth_verdict verdict = type == 'R' ? auth_server_feed(s, body, len, &b) : auth_client_feed(a, body, len, &b);

		free(body);
		assert_true(verdict == AUTH_MORE || verdict == AUTH_DERIVE);
	}
	assert_string_equal(auth_server_wanted(s)->password, "secret");
	assert_int_equal(auth_server_wanted(s)->salt_len, sizeof salt);
	assert_memory_equal(auth_server_wanted(s)->salt, salt, sizeof salt);
	assert_true(auth_server_wanted(s)->ours);
	assert_int_equal(auth_server_feed(s, ok, sizeof ok, &b), AUTH_FAIL);
	assert_string_equal(auth_server_error(s), "unexpected authentication request from server");
	assert_int_equal(auth_server_derived(s, &v.scram, &b), AUTH_FAIL);
	auth_client_free(a);
	auth_server_free(s);
	buf_release(&b);
}

static void keys_that_cannot_be_had_end_it(void **state)
{
	struct secret v = verifier_of("secret");
	struct auth_client *a = towards_client(AUTH_PLAIN, &v);
	struct buf b = { 0 };

	auth_client_start(a, &b);
	assert_int_equal(auth_client_feed(a, (const uint8_t *)"secret", 7, &b), AUTH_DERIVE);
	assert_int_equal(auth_client_derived(a, NULL, &b), AUTH_FAIL);
	fails_with(a, "XX000", "cryptographic library failed");
	auth_client_free(a);
	buf_release(&b);
}

static void a_password_that_waits_is_wiped_when_its_client_goes(void **state)
{
	struct secret v = verifier_of("a secret to be sought");
	struct auth_client *a = towards_client(AUTH_PLAIN, &v);
	struct buf b = { 0 };

	auth_client_start(a, &b);
	assert_int_equal(auth_client_feed(a, (const uint8_t *)"a secret to be sought", 22, &b), AUTH_DERIVE);
	wiped_look_for("secret to be sought", 19);
	auth_client_free(a);
	assert_int_equal(wiped_seen, 0);
	wiped_look_for(NULL, 0);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_pair_of_secrets_meets_in_each_method),
		cmocka_unit_test(a_client_teaches_what_servers_will_ask),
		cmocka_unit_test(what_can_not_be_answered_is_said_plainly),
		cmocka_unit_test(requests_are_whole_messages),
		cmocka_unit_test(password_messages_are_one_string),
		cmocka_unit_test(passwords_are_bounded),
		cmocka_unit_test(md5_answers_hold_for_one_salt),
		cmocka_unit_test(a_mechanism_must_be_an_offered_one),
		cmocka_unit_test(an_initial_response_is_as_long_as_it_claims),
		cmocka_unit_test(a_client_without_initial_response_is_asked_for_it),
		cmocka_unit_test(unknown_users_look_like_known_ones),
		cmocka_unit_test(unknown_users_fail_at_the_same_message_as_wrong_passwords),
		cmocka_unit_test(channel_binding_is_offered_checked_and_not_given_away),
		cmocka_unit_test(every_message_of_a_login_cut_short_ends_it),
		cmocka_unit_test(scram_is_found_in_any_list),
		cmocka_unit_test(a_server_may_not_skip_its_proof),
		cmocka_unit_test(a_server_asks_once),
		cmocka_unit_test(requests_broken_or_unknown_are_refused),
		cmocka_unit_test(a_server_that_trusts_needs_no_secret),
		cmocka_unit_test(iterations_a_server_asks_for_are_bounded),
		cmocka_unit_test(nothing_goes_on_before_the_keys_are_there),
		cmocka_unit_test(keys_that_cannot_be_had_end_it),
		cmocka_unit_test(a_password_that_waits_is_wiped_when_its_client_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
