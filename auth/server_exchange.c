#include "auth/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "auth/md5.h"
#include "auth/scram_client.h"
#include "parser/reader.h"

enum step {
	STEP_ASKED,	 /* nothing said yet */
	STEP_ANSWERED,	 /* a password is sent: only AuthenticationOk may follow */
	STEP_SASL_FIRST, /* our first SCRAM message is sent */
	STEP_SASL_FINAL, /* our proof is sent */
	STEP_PROVEN,	 /* the server has proven itself as well */
	STEP_DERIVE,	 /* its first SCRAM message is held until there are keys */
	STEP_OK,
	STEP_FAIL,
};

struct auth_server {
	enum step step;
	char *user;
	struct secret secret;
	struct scram_client scram;
	struct auth_wanted wanted;
	uint8_t salt[SCRAM_SALT_MAX]; /* wanted.salt */
	struct buf held;
	const char *error;
};

static void wipe(struct auth_server *a)
{
	secret_wipe(&a->secret);
	scram_client_release(&a->scram);
	buf_release(&a->held);
}

static enum auth_verdict fail(struct auth_server *a, const char *error)
{
	wipe(a);
	a->step = STEP_FAIL;
	a->error = error;
	return AUTH_FAIL;
}

struct auth_server *auth_server_new(const char *user, const struct secret *secret, const uint8_t entropy[32],
				    uint32_t iterations_max)
{
	struct auth_server *a = calloc(1, sizeof *a);
	char nonce[SCRAM_NONCE_LEN + 1];

	if (!a || !(a->user = strdup(user)))
		abort();
	if (secret)
		a->secret = *secret;
	scram_nonce(entropy, nonce);
	scram_client_init(&a->scram, nonce, SCRAM_BIND_NONE, NULL, 0, iterations_max);
	return a;
}

static enum auth_verdict answer_ok(struct auth_server *a)
{
	if (a->step == STEP_SASL_FIRST || a->step == STEP_SASL_FINAL)
		return fail(a, "server ended SCRAM authentication without proving that it knows the password");
	wipe(a);
	a->step = STEP_OK;
	return AUTH_OK;
}

static enum auth_verdict answer_plain(struct auth_server *a, struct buf *out)
{
	size_t mark;

	switch (a->secret.kind) {
	case SECRET_PLAIN:
		break;
	case SECRET_MD5:
		return fail(a, "server asks for the password in clear text, but only its md5 hash is known");
	case SECRET_SCRAM:
		return fail(a, "server asks for the password in clear text, but only SCRAM keys are known");
	case SECRET_NONE:
		return fail(a, "server asks for a password, but none is known");
	}
	mark = msg_begin(out, 'p');
	buf_str(out, a->secret.text);
	msg_end(out, mark);
	a->step = STEP_ANSWERED;
	return AUTH_MORE;
}

static enum auth_verdict answer_md5(struct auth_server *a, struct reader *r, struct buf *out)
{
	const uint8_t *salt = reader_bytes(r, MD5_SALT);
	char answer[MD5_TEXT + 1];

	if (!salt || reader_left(r))
		return fail(a, "malformed authentication request from server");
	if (a->secret.kind == SECRET_NONE)
		return fail(a, "server asks for a password, but none is known");
	if (a->secret.kind == SECRET_SCRAM)
		return fail(a, "server asks for md5 authentication, but only SCRAM keys are known");
	if (md5_answer(&a->secret, a->user, salt, answer))
		return fail(a, "could not compute an MD5 hash");
	msg_add(out, 'p', answer, sizeof answer);
	a->step = STEP_ANSWERED;
	return AUTH_MORE;
}

/* The list of mechanisms, which an empty string ends: whether SCRAM-SHA-256 is among them, -1 if it is no such list. */
static int scram_offered(struct reader *r)
{
	const char *name;
	size_t len;
	int found = 0;

	while ((name = reader_str(r, &len)) && len)
		if (!strcmp(name, SCRAM_MECHANISM))
			found = 1;
	return r->bad || reader_left(r) ? -1 : found;
}

static enum auth_verdict answer_sasl(struct auth_server *a, struct reader *r, struct buf *out)
{
	struct buf first = { 0 };
	size_t mark;
	int offered = scram_offered(r);

	if (offered < 0)
		return fail(a, "malformed authentication request from server");
	if (!offered)
		return fail(a, "server offers no SASL mechanism that is supported (SCRAM-SHA-256)");
	if (a->secret.kind == SECRET_NONE)
		return fail(a, "server asks for a password, but none is known");
	if (a->secret.kind == SECRET_MD5)
		return fail(a, "server asks for SCRAM authentication, but only the password's md5 hash is known");
	if (a->secret.kind == SECRET_SCRAM && !a->secret.scram.have_client_key)
		return fail(a, "server asks for SCRAM authentication, but only a verifier without keys is known");
	scram_client_first(&a->scram, "", &first);
	mark = msg_begin(out, 'p');
	buf_str(out, SCRAM_MECHANISM);
	buf_u32(out, (uint32_t)buf_len(&first));
	buf_add(out, buf_head(&first), buf_len(&first));
	msg_end(out, mark);
	buf_release(&first);
	a->step = STEP_SASL_FIRST;
	return AUTH_MORE;
}

static enum auth_verdict send_proof(struct auth_server *a, const uint8_t *msg, size_t len, const struct secret *keys, struct buf *out)
{
	struct buf final = { 0 };
	enum scram_result result = scram_client_final(&a->scram, msg, len, keys, &final);

	if (!result)
		msg_add(out, 'p', buf_head(&final), buf_len(&final));
	buf_release(&final);
	if (result)
		return fail(a, a->scram.why);
	a->step = STEP_SASL_FINAL;
	return AUTH_MORE;
}

static enum auth_verdict answer_sasl_continue(struct auth_server *a, struct reader *r, struct buf *out)
{
	struct auth_wanted *w = &a->wanted;

	if (a->secret.kind != SECRET_PLAIN)
		return send_proof(a, r->at, reader_left(r), &a->secret, out);
	if (scram_client_asked(&a->scram, r->at, reader_left(r), a->salt, &w->salt_len, &w->iterations))
		return fail(a, a->scram.why);
	w->password = a->secret.text;
	w->salt = a->salt;
	w->ours = true;
	buf_add(&a->held, r->at, reader_left(r));
	a->step = STEP_DERIVE;
	return AUTH_DERIVE;
}

const struct auth_wanted *auth_server_wanted(const struct auth_server *a)
{
	return &a->wanted;
}

enum auth_verdict auth_server_derived(struct auth_server *a, const struct scram_verifier *keys, struct buf *out)
{
	struct secret with = { .kind = SECRET_SCRAM };
	enum auth_verdict verdict;

	if (a->step == STEP_FAIL)
		return AUTH_FAIL;
	if (a->step != STEP_DERIVE || !keys)
		return fail(a, keys ? "unexpected authentication request from server" : "SCRAM keys could not be computed");
	with.scram = *keys;
	verdict = send_proof(a, buf_head(&a->held), buf_len(&a->held), &with, out);
	secret_wipe(&with);
	buf_release(&a->held);
	return verdict;
}

static enum auth_verdict answer_sasl_final(struct auth_server *a, struct reader *r)
{
	if (scram_client_verify(&a->scram, r->at, reader_left(r)))
		return fail(a, a->scram.why);
	a->step = STEP_PROVEN;
	return AUTH_MORE;
}

/* Whether a request may come at this step; what it holds is judged later. */
static bool in_order(enum step step, uint32_t request)
{
	switch (request) {
	case AUTH_REQ_OK:
		return step <= STEP_PROVEN; /* too early for SCRAM has a reason of its own */
	case AUTH_REQ_SASL_CONTINUE:
		return step == STEP_SASL_FIRST;
	case AUTH_REQ_SASL_FINAL:
		return step == STEP_SASL_FINAL;
	default:
		return step == STEP_ASKED;
	}
}

enum auth_verdict auth_server_feed(struct auth_server *a, const uint8_t *body, size_t len, struct buf *out)
{
	struct reader r = reader_of(body, len);
	uint32_t request = reader_u32(&r);

	if (a->step == STEP_FAIL)
		return AUTH_FAIL;
	if (r.bad || (reader_left(&r) && (request == AUTH_REQ_OK || request == AUTH_REQ_PLAIN)))
		return fail(a, "malformed authentication request from server");
	if (!in_order(a->step, request))
		return fail(a, "unexpected authentication request from server");
	switch (request) {
	case AUTH_REQ_OK:
		return answer_ok(a);
	case AUTH_REQ_PLAIN:
		return answer_plain(a, out);
	case AUTH_REQ_MD5:
		return answer_md5(a, &r, out);
	case AUTH_REQ_SASL:
		return answer_sasl(a, &r, out);
	case AUTH_REQ_SASL_CONTINUE:
		return answer_sasl_continue(a, &r, out);
	case AUTH_REQ_SASL_FINAL:
		return answer_sasl_final(a, &r);
	}
	return fail(a, "server asks for an authentication method that is not supported");
}

const char *auth_server_error(const struct auth_server *a)
{
	return a->error;
}

void auth_server_free(struct auth_server *a)
{
	if (!a)
		return;
	wipe(a);
	free(a->user);
	free(a);
}
