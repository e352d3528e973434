#include "auth/scram_server.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "auth/base64.h"

static const char endpoint_header[] = "p=" SCRAM_BINDING_TYPE ",,";

static enum scram_result no(struct scram_server *s, enum scram_result result, const char *why)
{
	s->why = why;
	return result;
}

static enum scram_result malformed(struct scram_server *s)
{
	return no(s, SCRAM_MALFORMED, "malformed SCRAM message");
}

void scram_server_init(struct scram_server *s, const struct scram_verifier *v, bool mock, const char *nonce,
		       const uint8_t *cb_data, size_t cb_len)
{
	size_t len = strlen(nonce);

	memset(s, 0, sizeof *s);
	if (len > SCRAM_NONCE_LEN || !scram_nonce_valid((const uint8_t *)nonce, len) || cb_len > SCRAM_BINDING_MAX)
		abort();
	s->verifier = *v;
	s->mock = mock;
	memcpy(s->nonce, nonce, len);
	if (cb_len)
		memcpy(s->cb_data, cb_data, cb_len);
	s->cb_len = cb_len;
}

int scram_server_mock(const uint8_t mock_key[SCRAM_KEY_LEN], const char *user, uint32_t iterations,
		      struct scram_verifier *out)
{
	uint8_t seed[SCRAM_KEY_LEN];
	int r;

	memset(out, 0, sizeof *out);
	out->iterations = iterations;
	out->salt_len = SCRAM_SALT_LEN;
	r = scram_hmac(mock_key, user, strlen(user), seed) || scram_hmac(seed, "stored", 6, out->stored_key) ||
	    scram_hmac(seed, "server", 6, out->server_key);
	memcpy(out->salt, seed, SCRAM_SALT_LEN);
	OPENSSL_cleanse(seed, sizeof seed);
	return r ? -1 : 0;
}

/* gs2-header: binding flag, and an authorization identity, which PostgreSQL has none of. */
static enum scram_result read_gs2(struct scram_server *s, struct reader *r)
{
	const uint8_t *head;
	const size_t endpoint_len = sizeof endpoint_header - 2; /* up to its first comma */

	s->flag = (char)reader_u8(r);
	switch (s->flag) {
	case 'n':
	case 'y':
		if (s->plus)
			return malformed(s);
		if (s->flag == 'y' && s->cb_len)
			return no(s, SCRAM_UNBOUND, "SCRAM channel binding negotiation error");
		head = reader_bytes(r, 1);
		if (!head || *head != ',')
			return malformed(s);
		break;
	case 'p':
		if (!s->plus)
			return malformed(s);
		head = reader_bytes(r, endpoint_len - 1);
		if (!head || memcmp(head, endpoint_header + 1, endpoint_len - 1))
			return no(s, SCRAM_MALFORMED, "unsupported SCRAM channel-binding type");
		break;
	default:
		return malformed(s);
	}
	head = reader_bytes(r, 1);
	if (head && *head == 'a')
		return no(s, SCRAM_MALFORMED, "client uses authorization identity, but it is not supported");
	return head && *head == ',' ? SCRAM_OK : malformed(s);
}

static enum scram_result read_first(struct scram_server *s, const uint8_t *msg, size_t len)
{
	struct reader r = reader_of(msg, len);
	struct scram_attr user, nonce;
	const uint8_t *bare;
	enum scram_result result;

	if (len > SCRAM_CLIENT_MAX)
		return malformed(s);
	result = read_gs2(s, &r);
	if (result)
		return result;
	bare = r.at;
	if (reader_left(&r) > 1 && bare[0] == 'm' && bare[1] == '=')
		return no(s, SCRAM_MALFORMED, "client requires an unsupported SCRAM extension");
	if (!scram_attr_named(&r, 'n', &user) || !scram_attr_named(&r, 'r', &nonce) || !scram_attr_rest(&r))
		return malformed(s);
	if (!scram_nonce_valid(nonce.value, nonce.len))
		return no(s, SCRAM_MALFORMED, "non-printable characters in SCRAM nonce");
	buf_add(&s->both_nonce, nonce.value, nonce.len);
	buf_text(&s->both_nonce, s->nonce);
	buf_add(&s->transcript, bare, (size_t)(msg + len - bare));
	return SCRAM_OK;
}

enum scram_result scram_server_first(struct scram_server *s, const uint8_t *msg, size_t len, struct buf *out)
{
	char salt[BASE64_LEN(SCRAM_SALT_MAX) + 1];
	enum scram_result result;
	size_t at = buf_len(out);

	if (s->state != SCRAM_SERVER_NEW)
		return malformed(s);
	result = read_first(s, msg, len);
	if (result)
		return result;
	base64_encode(s->verifier.salt, s->verifier.salt_len, salt);
	buf_text(out, "r=");
	buf_add(out, buf_head(&s->both_nonce), buf_len(&s->both_nonce));
	buf_printf(out, ",s=%s,i=%u", salt, (unsigned)s->verifier.iterations);
	buf_text(&s->transcript, ",");
	buf_add(&s->transcript, buf_head(out) + at, buf_len(out) - at);
	buf_text(&s->transcript, ",");
	s->state = SCRAM_SERVER_FIRST;
	return SCRAM_OK;
}

/* c= repeats the gs2 header, so that nobody on the way can have changed it, and carries the binding. */
static enum scram_result check_binding(struct scram_server *s, const struct scram_attr *c)
{
	uint8_t said[sizeof endpoint_header - 1 + SCRAM_BINDING_MAX];
	const char header[] = { s->flag, ',', ',' };
	size_t n, head_len = sizeof endpoint_header - 1;

	if (s->flag != 'p') {
		if (base64_decode(c->value, c->len, said, sizeof said, &n) || n != sizeof header ||
		    memcmp(said, header, n))
			return no(s, SCRAM_MALFORMED, "unexpected SCRAM channel-binding attribute in client-final-message");
		return SCRAM_OK;
	}
	if (base64_decode(c->value, c->len, said, sizeof said, &n) || n != head_len + s->cb_len ||
	    memcmp(said, endpoint_header, head_len) || CRYPTO_memcmp(said + head_len, s->cb_data, s->cb_len))
		return no(s, SCRAM_UNBOUND, "SCRAM channel binding check failed");
	return SCRAM_OK;
}

static enum scram_result read_final(struct scram_server *s, const uint8_t *msg, size_t len,
				    uint8_t proof[SCRAM_KEY_LEN])
{
	struct reader r = reader_of(msg, len);
	struct scram_attr c, nonce, a;
	const uint8_t *proof_at;
	enum scram_result result;
	size_t n;

	if (len > SCRAM_CLIENT_MAX || !scram_attr_named(&r, 'c', &c) || !scram_attr_named(&r, 'r', &nonce))
		return malformed(s);
	do {
		proof_at = r.at;
		if (!scram_attr_next(&r, &a))
			return malformed(s);
	} while (a.name != 'p');
	if (reader_left(&r) || base64_decode(a.value, a.len, proof, SCRAM_KEY_LEN, &n) || n != SCRAM_KEY_LEN)
		return malformed(s);
	result = check_binding(s, &c);
	if (result)
		return result;
	if (nonce.len != buf_len(&s->both_nonce) || memcmp(nonce.value, buf_head(&s->both_nonce), nonce.len))
		return no(s, SCRAM_MALFORMED, "SCRAM nonce does not match");
	buf_add(&s->transcript, msg, (size_t)(proof_at - msg) - 1); /* without the comma before p= */
	return SCRAM_OK;
}

/* ClientKey = ClientProof XOR ClientSignature, and its hash must be the stored key. */
static enum scram_result check_proof(struct scram_server *s, const uint8_t proof[SCRAM_KEY_LEN],
				     uint8_t signature[SCRAM_KEY_LEN])
{
	const void *said = buf_head(&s->transcript);
	size_t len = buf_len(&s->transcript);
	uint8_t key[SCRAM_KEY_LEN], stored[SCRAM_KEY_LEN];
	bool right;

	right = !scram_hmac(s->verifier.stored_key, said, len, key);
	for (int i = 0; i < SCRAM_KEY_LEN; i++)
		key[i] ^= proof[i];
	right = right && !scram_stored_key(key, stored) && !scram_hmac(s->verifier.server_key, said, len, signature) &&
		!CRYPTO_memcmp(stored, s->verifier.stored_key, SCRAM_KEY_LEN);
	if (right && !s->mock) {
		memcpy(s->verifier.client_key, key, SCRAM_KEY_LEN);
		s->verifier.have_client_key = true;
	}
	OPENSSL_cleanse(key, sizeof key);
	OPENSSL_cleanse(stored, sizeof stored);
	return right && !s->mock ? SCRAM_OK : no(s, SCRAM_WRONG, NULL);
}

enum scram_result scram_server_final(struct scram_server *s, const uint8_t *msg, size_t len, struct buf *out)
{
	uint8_t proof[SCRAM_KEY_LEN], signature[SCRAM_KEY_LEN];
	char text[BASE64_LEN(SCRAM_KEY_LEN) + 1];
	enum scram_result result;

	if (s->state != SCRAM_SERVER_FIRST)
		return malformed(s);
	s->state = SCRAM_SERVER_DONE; /* one guess an exchange */
	result = read_final(s, msg, len, proof);
	if (!result)
		result = check_proof(s, proof, signature);
	OPENSSL_cleanse(proof, sizeof proof);
	if (result)
		return result;
	base64_encode(signature, sizeof signature, text);
	buf_text(out, "v=");
	buf_text(out, text);
	return SCRAM_OK;
}

void scram_server_release(struct scram_server *s)
{
	buf_release(&s->both_nonce);
	buf_release(&s->transcript);
	explicit_bzero(s, sizeof *s);
}
