/* links: auth/server_exchange.c auth/secret.c auth/md5.c auth/derive.c auth/scram.c auth/scram_client.c auth/scram_server.c auth/base64.c parser/buf.c -lcrypto */
/* A hostile server talks to us. First byte: what we know (two bits), and whether the input is such a server's messages,
 * each behind two bytes of length, or damage to the messages of an honest one: which, where, by what. No server that
 * does not know the password gets an AUTH_OK once SCRAM has begun; failures are final, have a reason and write nothing. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/exchange.h"
#include "auth/scram_server.h"
#include "parser/reader.h"
#include "tests/derive_now.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROUNDS = 4, ROUNDS_MAX = 32, DAMAGE = 4 };

static const uint8_t entropy[32] = "entropy enough for a nonce";
static const uint8_t salt[SCRAM_SALT_LEN] = "0123456789abcdef";

static void require(int holds)
{
	if (!holds)
		abort();
}

static void know(struct secret *s, uint8_t which)
{
	secret_parse(which == 1 ? "md54a0a68b43b6cd5cf266fa02f196e2371" : which ? "secret" : "", s);
	if (which != 2)
		return;
	secret_wipe(s);
	s->kind = SECRET_SCRAM;
	require(!scram_verifier_make("secret", salt, sizeof salt, ROUNDS, &s->scram));
}

static uint32_t request_of(const uint8_t *body, size_t len)
{
	return len < 4 ? UINT32_MAX : be32(body);
}

static enum auth_verdict feed(struct auth_server *s, const uint8_t *body, size_t len, struct buf *out)
{
	uint8_t *exact = malloc(len ? len : 1);
	enum auth_verdict v;

	require(exact != NULL);
	if (len)
		memcpy(exact, body, len);
	buf_reset(out);
	v = server_feed(s, exact, len, out);
	free(exact);
	if (buf_len(out)) {
		require(v == AUTH_MORE && buf_len(out) >= 5 && buf_head(out)[0] == 'p');
		require(be32(buf_head(out) + 1) == buf_len(out) - 1);
	}
	require((v == AUTH_FAIL) == (auth_server_error(s) != NULL));
	return v;
}

static void hostile(struct auth_server *s, struct reader r)
{
	struct buf out = { 0 };
	int scram = 0, failed = 0;

	while (reader_left(&r) >= 2) {
		size_t len = reader_u16(&r);
		const uint8_t *body = reader_bytes(&r, len < reader_left(&r) ? len : reader_left(&r));
		enum auth_verdict v;

		len = (size_t)(r.at - body);
		v = feed(s, body, len, &out);
		require(!failed || v == AUTH_FAIL);
		require(v != AUTH_OK || (!scram && request_of(body, len) == AUTH_REQ_OK));
		failed = failed || v == AUTH_FAIL;
		scram = scram || (v == AUTH_MORE && request_of(body, len) == AUTH_REQ_SASL);
	}
	buf_release(&out);
}

/* The honest server's part, message by message; the one that is damaged goes wrong there or later, never right. */
static void damaged(struct auth_server *s, struct reader r)
{
	static const char offer[] = "\0\0\0\x0aSCRAM-SHA-256\0";
	struct scram_verifier v;
	struct scram_server honest;
	struct buf said = { 0 }, out = { 0 };
	enum auth_verdict verdict = AUTH_MORE;
	unsigned which = reader_u8(&r) % 4, at = reader_u16(&r), by = reader_u8(&r), touched = 0, deaf = 0;

	require(!scram_verifier_make("secret", salt, sizeof salt, ROUNDS, &v));
	scram_server_init(&honest, &v, false, "honest+server/nonce", NULL, 0);
	for (unsigned n = 0; n < 4 && verdict == AUTH_MORE && !deaf; n++) {
		buf_reset(&said);
		if (n == 0)
			buf_add(&said, offer, sizeof offer);
		else
			buf_u32(&said, n == 1 ? AUTH_REQ_SASL_CONTINUE : n == 2 ? AUTH_REQ_SASL_FINAL : AUTH_REQ_OK);
		if (n == 1)
			require(!scram_server_first(&honest, buf_head(&out) + 23, buf_len(&out) - 23, &said));
		if (n == 2 && scram_server_final(&honest, buf_head(&out) + 5, buf_len(&out) - 5, &said))
			deaf = 1;
		if (n == which && by && !deaf) {
			buf_head(&said)[at % buf_len(&said)] ^= (uint8_t)by;
			touched = 1;
		}
		if (!deaf)
			verdict = feed(s, buf_head(&said), buf_len(&said), &out);
	}
	require((verdict == AUTH_OK) == !touched);
	scram_server_release(&honest);
	buf_release(&said);
	buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(data, size);
	uint8_t mode = reader_u8(&r);
	struct auth_server *s;
	struct secret secret;

	if (mode & DAMAGE)
		mode |= 2; /* only a password or keys take part in SCRAM */
	know(&secret, mode & 3);
	s = auth_server_new("alice", &secret, entropy, ROUNDS_MAX);
	if (mode & DAMAGE)
		damaged(s, r);
	else
		hostile(s, r);
	auth_server_free(s);
	return 0;
}
