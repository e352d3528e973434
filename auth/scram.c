#include "auth/scram.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "auth/base64.h"

static const char verifier_head[] = SCRAM_MECHANISM "$";

enum { SHA256_BLOCK = 64, INNER_PAD = 0x36, OUTER_PAD = 0x5c };

static EVP_MD *fetched;

static void fetch(void)
{
	fetched = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/* EVP_sha256() would be looked up anew by every use, and HMAC() looks up more: that costs several times the hashing.
 * NULL, which every use refuses, if there is none. */
static const EVP_MD *sha256(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, fetch);
	return fetched;
}

int scram_sha256(const void *in, size_t len, uint8_t out[SCRAM_KEY_LEN])
{
	return EVP_Digest(in, len, out, NULL, sha256(), NULL) ? 0 : -1;
}

/* The hash's state behind the key's two blocks, where every use of the key begins. */
struct scram_hmac_key {
	EVP_MD_CTX *inner, *outer, *work;
};

static bool begin_with(EVP_MD_CTX *ctx, uint8_t block[SHA256_BLOCK], uint8_t pad)
{
	for (int i = 0; i < SHA256_BLOCK; i++)
		block[i] ^= pad;
	return sha256() && EVP_DigestInit_ex(ctx, sha256(), NULL) && EVP_DigestUpdate(ctx, block, SHA256_BLOCK);
}

struct scram_hmac_key *scram_hmac_key_new(const void *key, size_t len)
{
	struct scram_hmac_key *k = calloc(1, sizeof *k);
	uint8_t block[SHA256_BLOCK] = { 0 };
	bool fine;

	if (!k || !(k->inner = EVP_MD_CTX_new()) || !(k->outer = EVP_MD_CTX_new()) || !(k->work = EVP_MD_CTX_new()))
		abort();
	fine = len <= sizeof block || !scram_sha256(key, len, block);
	if (len <= sizeof block)
		memcpy(block, key, len);
	fine = fine && begin_with(k->inner, block, INNER_PAD) && begin_with(k->outer, block, INNER_PAD ^ OUTER_PAD);
	OPENSSL_cleanse(block, sizeof block);
	if (fine)
		return k;
	scram_hmac_key_free(k);
	return NULL;
}

int scram_hmac_with(struct scram_hmac_key *k, const void *in, size_t len, uint8_t out[SCRAM_KEY_LEN])
{
	return EVP_MD_CTX_copy_ex(k->work, k->inner) && EVP_DigestUpdate(k->work, in, len) && EVP_DigestFinal_ex(k->work, out, NULL) &&
			       EVP_MD_CTX_copy_ex(k->work, k->outer) && EVP_DigestUpdate(k->work, out, SCRAM_KEY_LEN) &&
			       EVP_DigestFinal_ex(k->work, out, NULL)
		       ? 0
		       : -1;
}

/* Each of the contexts is wiped by its provider. */
void scram_hmac_key_free(struct scram_hmac_key *k)
{
	if (!k)
		return;
	EVP_MD_CTX_free(k->inner);
	EVP_MD_CTX_free(k->outer);
	EVP_MD_CTX_free(k->work);
	free(k);
}

/* Used once, so one context will do. */
int scram_hmac(const uint8_t key[SCRAM_KEY_LEN], const void *in, size_t len, uint8_t out[SCRAM_KEY_LEN])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t block[SHA256_BLOCK] = { 0 }, inner[SCRAM_KEY_LEN];
	bool done;

	if (!ctx)
		abort();
	memcpy(block, key, SCRAM_KEY_LEN);
	done = begin_with(ctx, block, INNER_PAD) && EVP_DigestUpdate(ctx, in, len) && EVP_DigestFinal_ex(ctx, inner, NULL) &&
	       begin_with(ctx, block, INNER_PAD ^ OUTER_PAD) && EVP_DigestUpdate(ctx, inner, sizeof inner) &&
	       EVP_DigestFinal_ex(ctx, out, NULL);
	OPENSSL_cleanse(block, sizeof block);
	OPENSSL_cleanse(inner, sizeof inner);
	EVP_MD_CTX_free(ctx);
	return done ? 0 : -1;
}

int scram_salted_password(const char *password, const uint8_t *salt, size_t salt_len, uint32_t iterations,
			  uint8_t out[SCRAM_KEY_LEN])
{
	size_t len = strlen(password);

	if (!salt_len || salt_len > SCRAM_SALT_MAX || !iterations || iterations > SCRAM_ITERATIONS_MAX || len > INT32_MAX)
		return -1;
	return PKCS5_PBKDF2_HMAC(password, (int)len, salt, (int)salt_len, (int)iterations, sha256(),
				 SCRAM_KEY_LEN, out)
		       ? 0
		       : -1;
}

int scram_client_key(const uint8_t salted[SCRAM_KEY_LEN], uint8_t out[SCRAM_KEY_LEN])
{
	return scram_hmac(salted, "Client Key", 10, out);
}

int scram_server_key(const uint8_t salted[SCRAM_KEY_LEN], uint8_t out[SCRAM_KEY_LEN])
{
	return scram_hmac(salted, "Server Key", 10, out);
}

int scram_stored_key(const uint8_t client_key[SCRAM_KEY_LEN], uint8_t out[SCRAM_KEY_LEN])
{
	return scram_sha256(client_key, SCRAM_KEY_LEN, out);
}

int scram_verifier_of(const uint8_t salted[SCRAM_KEY_LEN], const uint8_t *salt, size_t salt_len, uint32_t iterations,
		      struct scram_verifier *out)
{
	memset(out, 0, sizeof *out);
	out->iterations = iterations;
	memcpy(out->salt, salt, salt_len);
	out->salt_len = salt_len;
	out->have_client_key = !scram_client_key(salted, out->client_key) && !scram_stored_key(out->client_key, out->stored_key) &&
			       !scram_server_key(salted, out->server_key);
	return out->have_client_key ? 0 : -1;
}

int scram_verifier_make(const char *password, const uint8_t *salt, size_t salt_len, uint32_t iterations,
			struct scram_verifier *out)
{
	uint8_t salted[SCRAM_KEY_LEN];
	int r = scram_salted_password(password, salt, salt_len, iterations, salted);

	if (!r)
		r = scram_verifier_of(salted, salt, salt_len, iterations, out);
	OPENSSL_cleanse(salted, sizeof salted);
	return r ? -1 : 0;
}

bool scram_verifier_matches(const struct scram_verifier *v, const char *password)
{
	struct scram_verifier mine;
	bool same = !scram_verifier_make(password, v->salt, v->salt_len, v->iterations, &mine) &&
		    !CRYPTO_memcmp(mine.stored_key, v->stored_key, SCRAM_KEY_LEN);

	OPENSSL_cleanse(&mine, sizeof mine);
	return same;
}

/* The text up to the next `stop` (0: the end of the text), and the place behind it. */
static const char *piece(const char *text, char stop, size_t *len)
{
	const char *end = strchr(text, stop);

	if (!end)
		return NULL;
	*len = (size_t)(end - text);
	return end + (stop ? 1 : 0);
}

static int key_parse(const char *text, size_t len, uint8_t out[SCRAM_KEY_LEN])
{
	size_t n;

	return base64_decode((const uint8_t *)text, len, out, SCRAM_KEY_LEN, &n) || n != SCRAM_KEY_LEN ? -1 : 0;
}

int scram_verifier_parse(const char *text, struct scram_verifier *out)
{
	const char *iterations, *salt, *stored, *server;
	size_t iterations_len, salt_len, stored_len, server_len;

	memset(out, 0, sizeof *out);
	if (strncmp(text, verifier_head, sizeof verifier_head - 1))
		return -1;
	iterations = text + sizeof verifier_head - 1;
	if (!(salt = piece(iterations, ':', &iterations_len)) || !(stored = piece(salt, '$', &salt_len)) ||
	    !(server = piece(stored, ':', &stored_len)) || !piece(server, 0, &server_len))
		return -1;
	out->iterations = scram_iterations((const uint8_t *)iterations, iterations_len);
	if (!out->iterations ||
	    base64_decode((const uint8_t *)salt, salt_len, out->salt, sizeof out->salt, &out->salt_len) ||
	    !out->salt_len || key_parse(stored, stored_len, out->stored_key) ||
	    key_parse(server, server_len, out->server_key))
		return -1;
	return 0;
}

int scram_verifier_text(const struct scram_verifier *v, char out[SECRET_TEXT_MAX])
{
	char salt[BASE64_LEN(SCRAM_SALT_MAX) + 1], stored[BASE64_LEN(SCRAM_KEY_LEN) + 1],
		server[BASE64_LEN(SCRAM_KEY_LEN) + 1];
	int n;

	if (!v->salt_len || v->salt_len > SCRAM_SALT_MAX)
		return -1;
	base64_encode(v->salt, v->salt_len, salt);
	base64_encode(v->stored_key, SCRAM_KEY_LEN, stored);
	base64_encode(v->server_key, SCRAM_KEY_LEN, server);
	n = snprintf(out, SECRET_TEXT_MAX, "%s%u:%s$%s:%s", verifier_head, (unsigned)v->iterations, salt, stored, server);
	OPENSSL_cleanse(stored, sizeof stored);
	OPENSSL_cleanse(server, sizeof server);
	return n > 0 && n < SECRET_TEXT_MAX ? 0 : -1;
}

int scram_verifier_build(const char *password, const uint8_t *salt, size_t salt_len, uint32_t iterations,
			 char out[SECRET_TEXT_MAX])
{
	struct scram_verifier v;
	int r = scram_verifier_make(password, salt, salt_len, iterations, &v) || scram_verifier_text(&v, out);

	OPENSSL_cleanse(&v, sizeof v);
	return r ? -1 : 0;
}

void scram_nonce(const uint8_t raw[SCRAM_NONCE_RAW], char out[SCRAM_NONCE_LEN + 1])
{
	base64_encode(raw, SCRAM_NONCE_RAW, out);
}

bool scram_nonce_valid(const uint8_t *nonce, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (nonce[i] < 0x21 || nonce[i] > 0x7e || nonce[i] == ',')
			return false;
	return len > 0;
}

uint32_t scram_iterations(const uint8_t *text, size_t len)
{
	uint64_t v = 0;

	if (!len || len > 10 || text[0] == '0')
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 0;
		v = v * 10 + (text[i] - '0');
	}
	return v > SCRAM_ITERATIONS_MAX ? 0 : (uint32_t)v;
}

bool scram_attr_next(struct reader *r, struct scram_attr *a)
{
	const uint8_t *head = reader_bytes(r, 2), *comma;

	if (!head || head[1] != '=' || !((head[0] >= 'a' && head[0] <= 'z') || (head[0] >= 'A' && head[0] <= 'Z'))) {
		r->bad = true;
		return false;
	}
	comma = memchr(r->at, ',', reader_left(r));
	a->name = (char)head[0];
	a->value = r->at;
	a->len = comma ? (size_t)(comma - r->at) : reader_left(r);
	r->at += a->len + (comma ? 1 : 0);
	if (memchr(a->value, 0, a->len) || (comma && r->at == r->end))
		r->bad = true;
	return !r->bad;
}

bool scram_attr_named(struct reader *r, char name, struct scram_attr *a)
{
	if (scram_attr_next(r, a) && a->name != name)
		r->bad = true;
	return !r->bad;
}

bool scram_attr_rest(struct reader *r)
{
	struct scram_attr a;

	while (!r->bad && reader_left(r))
		scram_attr_next(r, &a);
	return !r->bad;
}
