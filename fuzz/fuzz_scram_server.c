/* links: auth/client_exchange.c auth/secret.c auth/md5.c auth/derive.c auth/scram.c auth/scram_client.c auth/scram_server.c auth/base64.c parser/buf.c -lcrypto */
/* A hostile client talks to us. First byte: method, what we know, whether channel binding is offered, and whether the
 * input is such a client's messages, each behind two bytes of length, or damage to the messages of an honest one: which,
 * where, by what. Nobody who does not know the password comes in; failures are final, have an SQLSTATE and write nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/exchange.h"
#include "auth/scram_client.h"
#include "parser/reader.h"
#include "tests/derive_now.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROUNDS = 4, BOUND = 0x10, DAMAGE = 0x20 };

/* Long enough that no input holds it. */
static const char password[] = "3b1cf0e2a4d7459c8f60b1de22a97c55";
static const uint8_t mock_key[32] = "of this process", entropy[64] = "entropy enough for nonce and salt";
static const uint8_t endpoint[32] = "hash of the certificate", salt[SCRAM_SALT_LEN] = "0123456789abcdef";

static void require(int holds)
{
	if (!holds)
		abort();
}

static void know(struct secret *s, uint8_t which)
{
	char text[SECRET_TEXT_MAX];

	require(!scram_verifier_build(password, salt, sizeof salt, ROUNDS, text));
	secret_parse(which == 0   ? ""
		     : which == 1 ? password
		     : which == 2 ? "md50d4c0a4c7c6f6b1f1a0e5bd3d2c1b0a9"
				  : text,
		     s);
}

static enum auth_verdict feed(struct auth_client *a, const uint8_t *body, size_t len, struct buf *out)
{
	uint8_t *exact = malloc(len ? len : 1);
	const char *sqlstate;
	enum auth_verdict v;

	require(exact != NULL);
	if (len)
		memcpy(exact, body, len);
	buf_reset(out);
	v = client_feed(a, exact, len, out);
	free(exact);
	if (buf_len(out)) {
		require(v != AUTH_FAIL && buf_len(out) >= 9 && buf_head(out)[0] == 'R');
		require(be32(buf_head(out) + 1) == buf_len(out) - 1);
	}
	auth_client_error(a, &sqlstate);
	require((v == AUTH_FAIL) == (sqlstate != NULL));
	return v;
}

static void learns_nothing(struct auth_client *a)
{
	struct secret s;

	auth_client_learned(a, &s);
	require(s.kind == SECRET_NONE && !s.text[0] && !s.scram.have_client_key);
}

static void hostile(struct auth_client *a, struct reader r)
{
	struct buf out = { 0 };
	int failed = 0;

	while (reader_left(&r) >= 2) {
		size_t len = reader_u16(&r);
		const uint8_t *body = reader_bytes(&r, len < reader_left(&r) ? len : reader_left(&r));
		enum auth_verdict v = feed(a, body, (size_t)(r.at - body), &out);

		require(v != AUTH_OK && (!failed || v == AUTH_FAIL));
		failed = v == AUTH_FAIL;
	}
	learns_nothing(a);
	buf_release(&out);
}

static void initial_response(struct scram_client *c, bool bound, struct buf *said)
{
	struct buf first = { 0 };

	scram_client_first(c, "", &first);
	buf_str(said, bound ? SCRAM_MECHANISM_PLUS : SCRAM_MECHANISM);
	buf_u32(said, (uint32_t)buf_len(&first));
	buf_add(said, buf_head(&first), buf_len(&first));
	buf_release(&first);
}

/* The honest client's part; the message that is damaged goes wrong there or later, never right. */
static void damaged(struct auth_client *a, const struct secret *secret, bool bound, struct reader r)
{
	struct scram_client honest;
	struct buf said = { 0 }, out = { 0 };
	enum auth_verdict v;
	unsigned which = reader_u8(&r) % 2, at = reader_u16(&r), by = reader_u8(&r);

	scram_client_init(&honest, "honest+client/nonce", bound ? SCRAM_BIND_ENDPOINT : SCRAM_BIND_NONE, endpoint,
			  bound ? sizeof endpoint : 0, 0);
	initial_response(&honest, bound, &said);
	if (which == 0)
		buf_head(&said)[at % buf_len(&said)] ^= (uint8_t)by;
	v = feed(a, buf_head(&said), buf_len(&said), &out);
	buf_reset(&said);
	/* A client that hears a nonce other than its own hangs up. */
	if (v == AUTH_MORE && buf_len(&out) > 9 &&
	    !scram_client_final(&honest, buf_head(&out) + 9, buf_len(&out) - 9, secret, &said)) {
		if (which == 1)
			buf_head(&said)[at % buf_len(&said)] ^= (uint8_t)by;
		v = feed(a, buf_head(&said), buf_len(&said), &out);
		require((v == AUTH_OK) == !by);
		if (v == AUTH_OK)
			require(!scram_client_verify(&honest, buf_head(&out) + 9, buf_len(&out) - 9));
	} else {
		require(by != 0);
	}
	if (v != AUTH_OK)
		learns_nothing(a);
	scram_client_release(&honest);
	buf_release(&said);
	buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(data, size);
	uint8_t mode = reader_u8(&r);
	bool bound = mode & BOUND;
	struct secret secret, plain;
	struct auth_client *a;
	struct buf out = { 0 };

	know(&plain, 1);
	know(&secret, mode & DAMAGE ? (mode & 1 ? 1 : 3) : mode >> 2 & 3);
	a = auth_client_new(mode & DAMAGE ? AUTH_SCRAM : AUTH_PLAIN + (mode & 3) % 3, "alice", &secret, ROUNDS, mock_key,
			    entropy, bound ? endpoint : NULL, sizeof endpoint);
	require(auth_client_start(a, &out) == AUTH_MORE);
	if (mode & DAMAGE)
		damaged(a, &plain, bound, r);
	else
		hostile(a, r);
	auth_client_free(a);
	buf_release(&out);
	return 0;
}
