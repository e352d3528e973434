#include "auth/scram_client.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "auth/base64.h"

static enum scram_result no(struct scram_client *c, enum scram_result result, const char *why)
{
	c->why = why;
	return result;
}

void scram_client_init(struct scram_client *c, const char *nonce, enum scram_binding binding, const uint8_t *cb_data,
		       size_t cb_len, uint32_t iterations_max)
{
	size_t len = strlen(nonce);

	memset(c, 0, sizeof *c);
	if (len > SCRAM_NONCE_LEN || !scram_nonce_valid((const uint8_t *)nonce, len) || cb_len > SCRAM_BINDING_MAX)
		abort();
	memcpy(c->nonce, nonce, len);
	c->iterations_max = iterations_max;
	buf_text(&c->binding, binding == SCRAM_BIND_ENDPOINT ? "p=" SCRAM_BINDING_TYPE ",,"
			      : binding == SCRAM_BIND_NONE   ? "n,,"
							     : "y,,");
	if (binding == SCRAM_BIND_ENDPOINT)
		buf_add(&c->binding, cb_data, cb_len);
}

static const char *gs2_header(struct scram_client *c, size_t *len)
{
	const char *head = (const char *)buf_head(&c->binding);

	*len = head[0] == 'p' ? strlen("p=" SCRAM_BINDING_TYPE ",,") : 3;
	return head;
}

void scram_client_first(struct scram_client *c, const char *user, struct buf *out)
{
	size_t len;
	const char *head = gs2_header(c, &len);

	buf_add(out, head, len);
	buf_text(&c->transcript, "n=");
	for (; *user; user++) {
		if (*user == ',' || *user == '=')
			buf_text(&c->transcript, *user == ',' ? "=2C" : "=3D");
		else
			buf_u8(&c->transcript, (uint8_t)*user);
	}
	buf_printf(&c->transcript, ",r=%s", c->nonce);
	buf_add(out, buf_head(&c->transcript), buf_len(&c->transcript));
	c->state = SCRAM_CLIENT_FIRST;
}

struct server_first {
	struct scram_attr nonce;
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_len;
	uint32_t iterations;
};

static enum scram_result read_server_first(struct scram_client *c, const uint8_t *msg, size_t len,
					   struct server_first *f)
{
	struct reader r = reader_of(msg, len);
	struct scram_attr salt, iterations;
	size_t mine = strlen(c->nonce);

	if (len > 1 && msg[0] == 'm' && msg[1] == '=')
		return no(c, SCRAM_MALFORMED, "server requires an unsupported SCRAM extension");
	if (len > SCRAM_SERVER_MAX || !scram_attr_named(&r, 'r', &f->nonce) || !scram_attr_named(&r, 's', &salt) ||
	    !scram_attr_named(&r, 'i', &iterations) || !scram_attr_rest(&r))
		return no(c, SCRAM_MALFORMED, "malformed SCRAM message from server");
	if (!scram_nonce_valid(f->nonce.value, f->nonce.len) || f->nonce.len <= mine ||
	    memcmp(f->nonce.value, c->nonce, mine))
		return no(c, SCRAM_MALFORMED, "server's SCRAM nonce does not extend ours");
	if (base64_decode(salt.value, salt.len, f->salt, sizeof f->salt, &f->salt_len) || !f->salt_len)
		return no(c, SCRAM_MALFORMED, "malformed SCRAM salt from server");
	f->iterations = scram_iterations(iterations.value, iterations.len);
	if (!f->iterations)
		return no(c, SCRAM_MALFORMED, "malformed SCRAM iteration count from server");
	if (c->iterations_max && f->iterations > c->iterations_max)
		return no(c, SCRAM_MALFORMED, "server asks for more SCRAM iterations than allowed");
	return SCRAM_OK;
}

enum scram_result scram_client_asked(struct scram_client *c, const uint8_t *msg, size_t len, uint8_t *salt, size_t *salt_len,
				     uint32_t *iterations)
{
	struct server_first f;
	enum scram_result result;

	if (c->state != SCRAM_CLIENT_FIRST)
		return no(c, SCRAM_MALFORMED, "unexpected SCRAM message from server");
	result = read_server_first(c, msg, len, &f);
	if (result)
		return result;
	memcpy(salt, f.salt, f.salt_len);
	*salt_len = f.salt_len;
	*iterations = f.iterations;
	return SCRAM_OK;
}

/* The verifier that answers this server: computed from the password, or the keys at hand if they are of the same salt. */
static enum scram_result find_keys(struct scram_client *c, const struct secret *secret, const struct server_first *f,
				   struct scram_verifier *v)
{
	if (secret->kind == SECRET_PLAIN)
		return scram_verifier_make(secret->text, f->salt, f->salt_len, f->iterations, v)
			       ? no(c, SCRAM_WRONG, "SCRAM keys could not be computed")
			       : SCRAM_OK;
	if (secret->kind != SECRET_SCRAM || !secret->scram.have_client_key)
		return no(c, SCRAM_WRONG, "no password and no SCRAM keys to log in with");
	*v = secret->scram;
	if (v->iterations != f->iterations || v->salt_len != f->salt_len || memcmp(v->salt, f->salt, f->salt_len))
		return no(c, SCRAM_WRONG,
			  "SCRAM keys are of another verifier than the server's (salt or iterations differ)");
	return SCRAM_OK;
}

static int prove(struct scram_client *c, const struct scram_verifier *v, uint8_t proof[SCRAM_KEY_LEN])
{
	const void *said = buf_head(&c->transcript);
	size_t len = buf_len(&c->transcript);

	if (scram_hmac(v->stored_key, said, len, proof) || scram_hmac(v->server_key, said, len, c->server_signature))
		return -1;
	for (int i = 0; i < SCRAM_KEY_LEN; i++)
		proof[i] ^= v->client_key[i];
	return 0;
}

static void write_base64(struct buf *out, const uint8_t *bytes, size_t n)
{
	base64_encode(bytes, n, (char *)buf_room(out, BASE64_LEN(n) + 1));
	buf_commit(out, BASE64_LEN(n));
}

enum scram_result scram_client_final(struct scram_client *c, const uint8_t *msg, size_t len,
				     const struct secret *secret, struct buf *out)
{
	struct server_first f;
	struct scram_verifier v;
	uint8_t proof[SCRAM_KEY_LEN];
	enum scram_result result;
	size_t final_at;

	if (c->state != SCRAM_CLIENT_FIRST)
		return no(c, SCRAM_MALFORMED, "unexpected SCRAM message from server");
	result = read_server_first(c, msg, len, &f);
	if (result)
		return result;
	result = find_keys(c, secret, &f, &v);
	if (result)
		goto out;
	buf_text(&c->transcript, ",");
	buf_add(&c->transcript, msg, len);
	buf_text(&c->transcript, ",");
	final_at = buf_len(&c->transcript);
	buf_text(&c->transcript, "c=");
	write_base64(&c->transcript, buf_head(&c->binding), buf_len(&c->binding));
	buf_text(&c->transcript, ",r=");
	buf_add(&c->transcript, f.nonce.value, f.nonce.len);
	if (prove(c, &v, proof)) {
		result = no(c, SCRAM_WRONG, "SCRAM keys could not be computed");
		goto out;
	}
	buf_add(out, buf_head(&c->transcript) + final_at, buf_len(&c->transcript) - final_at);
	buf_text(out, ",p=");
	write_base64(out, proof, sizeof proof);
	c->state = SCRAM_CLIENT_FINAL;
out:
	explicit_bzero(&v, sizeof v);
	OPENSSL_cleanse(proof, sizeof proof);
	return result;
}

enum scram_result scram_client_verify(struct scram_client *c, const uint8_t *msg, size_t len)
{
	struct reader r = reader_of(msg, len);
	struct scram_attr a;
	uint8_t signature[SCRAM_KEY_LEN];
	size_t n;

	if (c->state != SCRAM_CLIENT_FINAL)
		return no(c, SCRAM_MALFORMED, "unexpected SCRAM message from server");
	if (len > SCRAM_SERVER_MAX || !scram_attr_next(&r, &a) || !scram_attr_rest(&r))
		return no(c, SCRAM_MALFORMED, "malformed SCRAM message from server");
	if (a.name == 'e')
		return no(c, SCRAM_WRONG, "server reports a SCRAM error");
	if (a.name != 'v' || base64_decode(a.value, a.len, signature, sizeof signature, &n) || n != sizeof signature)
		return no(c, SCRAM_MALFORMED, "malformed SCRAM message from server");
	if (CRYPTO_memcmp(signature, c->server_signature, sizeof signature))
		return no(c, SCRAM_WRONG, "server's SCRAM signature is wrong: it does not know the password");
	c->state = SCRAM_CLIENT_DONE;
	return SCRAM_OK;
}

void scram_client_release(struct scram_client *c)
{
	buf_release(&c->binding);
	buf_release(&c->transcript);
	explicit_bzero(c, sizeof *c);
}
