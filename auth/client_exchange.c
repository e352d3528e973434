#include "auth/exchange.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "auth/md5.h"
#include "auth/scram_server.h"
#include "parser/reader.h"

enum { PASSWORD_MAX = 65535, MD5_SALT_AT = 32 };

enum step {
	STEP_NEW,
	STEP_PLAIN,
	STEP_MD5,
	STEP_SASL_CHOICE,
	STEP_SASL_FIRST, /* a mechanism is chosen, its first message not here yet */
	STEP_SASL_FINAL,
	STEP_DERIVE, /* a message is held until there are keys */
	STEP_OK,
	STEP_FAIL,
};

struct auth_client {
	enum step step;
	enum auth_method method;
	char *user;
	struct secret secret; /* what was given; at STEP_OK what was learnt */
	bool mock;	      /* never lets anyone in */
	bool ad_hoc;	      /* the verifier's keys are still to be made of the plain secret */
	struct auth_wanted wanted;
	uint8_t *held; /* the message that waits for them: a password, or the client's proof */
	size_t held_len;
	struct scram_server scram;
	uint8_t md5_salt[MD5_SALT];
	const char *error, *sqlstate;
};

static void let_go(struct auth_client *a)
{
	if (a->held)
		explicit_bzero(a->held, a->held_len);
	free(a->held);
	a->held = NULL;
}

static void wipe(struct auth_client *a)
{
	let_go(a);
	secret_wipe(&a->secret);
	scram_server_release(&a->scram);
}

static enum auth_verdict fail(struct auth_client *a, const char *sqlstate, const char *error)
{
	wipe(a);
	a->step = STEP_FAIL;
	a->sqlstate = sqlstate;
	a->error = error;
	return AUTH_FAIL;
}

static enum auth_verdict wrong_password(struct auth_client *a)
{
	return fail(a, "28P01", NULL);
}

static enum auth_verdict broken(struct auth_client *a, const char *error)
{
	return fail(a, "08P01", error);
}

static enum auth_verdict let_in(struct auth_client *a)
{
	scram_server_release(&a->scram);
	a->step = STEP_OK;
	return AUTH_OK;
}

static void prepare_scram(struct auth_client *a, uint32_t iterations, const uint8_t mock_key[32],
			  const uint8_t entropy[64], const uint8_t *cb_data, size_t cb_len)
{
	struct scram_verifier mock;
	bool known = a->secret.kind == SECRET_SCRAM;
	char nonce[SCRAM_NONCE_LEN + 1];

	if (!iterations || iterations > SCRAM_ITERATIONS_MAX)
		iterations = SCRAM_ITERATIONS_DEFAULT;
	if (!known && scram_server_mock(mock_key, a->user, iterations, &mock)) {
		fail(a, "XX000", "cryptographic library failed");
		return;
	}
	scram_nonce(entropy, nonce);
	a->ad_hoc = a->secret.kind == SECRET_PLAIN;
	a->mock = !known && !a->ad_hoc;
	scram_server_init(&a->scram, known ? &a->secret.scram : &mock, a->mock, nonce, cb_data,
			  cb_data && cb_len <= SCRAM_BINDING_MAX ? cb_len : 0);
	if (!known)
		explicit_bzero(&mock, sizeof mock);
}

struct auth_client *auth_client_new(enum auth_method method, const char *user, const struct secret *secret,
				    uint32_t iterations, const uint8_t mock_key[32], const uint8_t entropy[64],
				    const uint8_t *cb_data, size_t cb_len)
{
	struct auth_client *a = calloc(1, sizeof *a);

	if (!a || !(a->user = strdup(user)))
		abort();
	if (secret)
		a->secret = *secret;
	a->method = method == AUTH_MD5 && a->secret.kind == SECRET_SCRAM ? AUTH_SCRAM : method;
	memcpy(a->md5_salt, entropy + MD5_SALT_AT, MD5_SALT);
	if (a->method == AUTH_SCRAM)
		prepare_scram(a, iterations, mock_key, entropy, cb_data, cb_len);
	return a;
}

/* An 'R' message of the number and the bytes behind it. */
static void request(struct buf *out, enum auth_request number, const void *bytes, size_t len)
{
	size_t mark = msg_begin(out, 'R');

	buf_u32(out, number);
	buf_add(out, bytes, len);
	msg_end(out, mark);
}

enum auth_verdict auth_client_start(struct auth_client *a, struct buf *out)
{
	static const char both[] = SCRAM_MECHANISM_PLUS "\0" SCRAM_MECHANISM "\0";
	static const char one[] = SCRAM_MECHANISM "\0";

	if (a->step == STEP_FAIL)
		return AUTH_FAIL;
	if (a->step != STEP_NEW)
		return broken(a, "authentication has begun already");
	switch (a->method) {
	case AUTH_ANY:
	case AUTH_TRUST:
		return let_in(a);
	case AUTH_PLAIN:
		request(out, AUTH_REQ_PLAIN, NULL, 0);
		a->step = STEP_PLAIN;
		return AUTH_MORE;
	case AUTH_MD5:
		request(out, AUTH_REQ_MD5, a->md5_salt, sizeof a->md5_salt);
		a->step = STEP_MD5;
		return AUTH_MORE;
	case AUTH_SCRAM:
		if (a->scram.cb_len)
			request(out, AUTH_REQ_SASL, both, sizeof both);
		else
			request(out, AUTH_REQ_SASL, one, sizeof one);
		a->step = STEP_SASL_CHOICE;
		return AUTH_MORE;
	}
	return fail(a, "XX000", "unknown authentication method");
}

/* The string that a PasswordMessage is; NULL, and the exchange has failed, if it is anything else. */
static const char *password_in(struct auth_client *a, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	const char *password;

	if (len > PASSWORD_MAX + 1 || !(password = reader_str(&r, NULL)) || reader_left(&r)) {
		broken(a, "invalid password packet size");
		return NULL;
	}
	return password;
}

static bool same_text(const char *a, const char *b)
{
	uint8_t x[SCRAM_KEY_LEN], y[SCRAM_KEY_LEN];
	bool same;

	/* Hashed, so that neither content nor length shows in the time the comparison takes. */
	same = !scram_sha256(a, strlen(a), x) && !scram_sha256(b, strlen(b), y) && !CRYPTO_memcmp(x, y, sizeof x);
	OPENSSL_cleanse(x, sizeof x);
	OPENSSL_cleanse(y, sizeof y);
	return same;
}

/* Holds the message until the keys of this password and the verifier's salt are handed in. */
static enum auth_verdict derive(struct auth_client *a, const uint8_t *msg, size_t len, const char *password)
{
	const struct scram_verifier *v = password ? &a->secret.scram : &a->scram.verifier;

	a->held = malloc(len ? len : 1);
	if (!a->held)
		abort();
	memcpy(a->held, msg, len);
	a->held_len = len;
	a->wanted = (struct auth_wanted){ .password = password ? (const char *)a->held : a->secret.text, .salt = v->salt,
					  .salt_len = v->salt_len, .iterations = v->iterations, .ours = !password };
	a->step = STEP_DERIVE;
	return AUTH_DERIVE;
}

static bool password_right(const struct auth_client *a, const char *password)
{
	char stored[MD5_TEXT + 1];

	switch (a->secret.kind) {
	case SECRET_PLAIN:
		return same_text(password, a->secret.text);
	case SECRET_MD5:
		return !md5_stored(password, a->user, stored) && !CRYPTO_memcmp(stored, a->secret.text, MD5_TEXT);
	case SECRET_SCRAM: /* see derive() */
	case SECRET_NONE:
		break;
	}
	same_text(password, password);
	return false;
}

static enum auth_verdict take_password(struct auth_client *a, const char *password)
{
	secret_wipe(&a->secret);
	a->secret.kind = SECRET_PLAIN;
	memcpy(a->secret.text, password, strlen(password) + 1);
	return let_in(a);
}

static enum auth_verdict feed_plain(struct auth_client *a, const uint8_t *body, size_t len)
{
	const char *password = password_in(a, body, len);

	if (!password)
		return AUTH_FAIL;
	/* One too long to be kept would let a client in and then log in nowhere. */
	if (!*password || strlen(password) >= sizeof a->secret.text)
		return wrong_password(a);
	if (a->secret.kind == SECRET_SCRAM)
		return derive(a, body, len, password);
	return password_right(a, password) ? take_password(a, password) : wrong_password(a);
}

static enum auth_verdict feed_md5(struct auth_client *a, const uint8_t *body, size_t len)
{
	const char *answer = password_in(a, body, len);
	struct secret nobody = { .kind = SECRET_PLAIN };
	bool known = a->secret.kind == SECRET_PLAIN || a->secret.kind == SECRET_MD5;
	char expected[MD5_TEXT + 1];
	bool right;

	if (!answer)
		return AUTH_FAIL;
	if (md5_answer(known ? &a->secret : &nobody, a->user, a->md5_salt, expected))
		return fail(a, "XX000", "could not compute an MD5 hash");
	right = strlen(answer) == MD5_TEXT && !CRYPTO_memcmp(answer, expected, MD5_TEXT);
	OPENSSL_cleanse(expected, sizeof expected);
	return known && right ? let_in(a) : wrong_password(a);
}

static enum auth_verdict scram_failed(struct auth_client *a, enum scram_result result)
{
	const char *why = a->scram.why;

	if (result == SCRAM_WRONG)
		return wrong_password(a);
	return fail(a, result == SCRAM_UNBOUND ? "28000" : "08P01", why);
}

static enum auth_verdict feed_sasl_first(struct auth_client *a, const uint8_t *msg, size_t len, struct buf *out)
{
	struct buf reply = { 0 };
	enum scram_result result = scram_server_first(&a->scram, msg, len, &reply);

	if (!result)
		request(out, AUTH_REQ_SASL_CONTINUE, buf_head(&reply), buf_len(&reply));
	buf_release(&reply);
	if (result)
		return scram_failed(a, result);
	a->step = STEP_SASL_FINAL;
	return AUTH_MORE;
}

/* SASLInitialResponse: the mechanism, and its first message with a length, or -1 and none. */
static enum auth_verdict feed_sasl_choice(struct auth_client *a, const uint8_t *body, size_t len, struct buf *out)
{
	struct reader r = reader_of(body, len);
	const char *mechanism = reader_str(&r, NULL);
	uint32_t claim = reader_u32(&r);

	if (r.bad || (claim != UINT32_MAX && claim != reader_left(&r)) || (claim == UINT32_MAX && reader_left(&r)))
		return broken(a, "malformed SASLInitialResponse message");
	if (a->scram.cb_len && !strcmp(mechanism, SCRAM_MECHANISM_PLUS))
		a->scram.plus = true;
	else if (strcmp(mechanism, SCRAM_MECHANISM))
		return broken(a, "client selected an invalid SASL authentication mechanism");
	a->step = STEP_SASL_FIRST;
	if (claim != UINT32_MAX)
		return feed_sasl_first(a, r.at, claim, out);
	request(out, AUTH_REQ_SASL_CONTINUE, NULL, 0);
	return AUTH_MORE;
}

static enum auth_verdict prove(struct auth_client *a, const uint8_t *msg, size_t len, struct buf *out)
{
	struct buf reply = { 0 };
	enum scram_result result = scram_server_final(&a->scram, msg, len, &reply);

	if (!result)
		request(out, AUTH_REQ_SASL_FINAL, buf_head(&reply), buf_len(&reply));
	buf_release(&reply);
	if (result)
		return scram_failed(a, result);
	if (a->secret.kind == SECRET_SCRAM)
		a->secret.scram = a->scram.verifier;
	return let_in(a);
}

/* Only now, for a client that has come this far, is an ad-hoc verifier worth its cost. */
static enum auth_verdict feed_sasl_final(struct auth_client *a, const uint8_t *msg, size_t len, struct buf *out)
{
	return a->ad_hoc ? derive(a, msg, len, NULL) : prove(a, msg, len, out);
}

static enum auth_verdict derived_for_password(struct auth_client *a, const struct scram_verifier *keys)
{
	if (CRYPTO_memcmp(keys->stored_key, a->secret.scram.stored_key, SCRAM_KEY_LEN))
		return wrong_password(a);
	return take_password(a, a->wanted.password);
}

const struct auth_wanted *auth_client_wanted(const struct auth_client *a)
{
	return &a->wanted;
}

enum auth_verdict auth_client_derived(struct auth_client *a, const struct scram_verifier *keys, struct buf *out)
{
	enum auth_verdict verdict;

	if (a->step != STEP_DERIVE)
		return broken(a, "unexpected authentication message");
	if (!keys)
		return fail(a, "XX000", "cryptographic library failed");
	if (a->ad_hoc) {
		a->scram.verifier = *keys;
		verdict = prove(a, a->held, a->held_len, out);
	} else {
		verdict = derived_for_password(a, keys);
	}
	let_go(a);
	return verdict;
}

enum auth_verdict auth_client_feed(struct auth_client *a, const uint8_t *body, size_t len, struct buf *out)
{
	switch (a->step) {
	case STEP_PLAIN:
		return feed_plain(a, body, len);
	case STEP_MD5:
		return feed_md5(a, body, len);
	case STEP_SASL_CHOICE:
		return feed_sasl_choice(a, body, len, out);
	case STEP_SASL_FIRST:
		return feed_sasl_first(a, body, len, out);
	case STEP_SASL_FINAL:
		return feed_sasl_final(a, body, len, out);
	case STEP_FAIL:
		return AUTH_FAIL;
	case STEP_NEW:
	case STEP_DERIVE:
	case STEP_OK:
		break;
	}
	return broken(a, "unexpected authentication message");
}

void auth_client_learned(const struct auth_client *a, struct secret *out)
{
	if (a->step == STEP_OK)
		*out = a->secret;
	else
		secret_wipe(out);
}

const char *auth_client_error(const struct auth_client *a, const char **sqlstate)
{
	*sqlstate = a->sqlstate;
	return a->error;
}

void auth_client_free(struct auth_client *a)
{
	if (!a)
		return;
	wipe(a);
	free(a->user);
	free(a);
}
