#include "auth/md5.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

enum { MD5_LEN = 16 };

static int md5_of_two(const void *a, size_t a_len, const void *b, size_t b_len, char out[MD5_TEXT + 1])
{
	static const char hex[] = "0123456789abcdef";
	EVP_MD *md = EVP_MD_fetch(NULL, "MD5", NULL);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t sum[EVP_MAX_MD_SIZE];
	int ok = md && ctx && EVP_DigestInit_ex2(ctx, md, NULL) && EVP_DigestUpdate(ctx, a, a_len) &&
		 EVP_DigestUpdate(ctx, b, b_len) && EVP_DigestFinal_ex(ctx, sum, NULL);

	EVP_MD_CTX_free(ctx);
	EVP_MD_free(md);
	if (!ok)
		return -1;
	memcpy(out, "md5", 3);
	for (int i = 0; i < MD5_LEN; i++) {
		out[3 + 2 * i] = hex[sum[i] >> 4];
		out[4 + 2 * i] = hex[sum[i] & 15];
	}
	out[MD5_TEXT] = 0;
	OPENSSL_cleanse(sum, sizeof sum);
	return 0;
}

int md5_stored(const char *password, const char *user, char out[MD5_TEXT + 1])
{
	return md5_of_two(password, strlen(password), user, strlen(user), out);
}

int md5_salted(const char *stored, const uint8_t salt[MD5_SALT], char out[MD5_TEXT + 1])
{
	return md5_of_two(stored + 3, MD5_TEXT - 3, salt, MD5_SALT, out);
}

int md5_answer(const struct secret *secret, const char *user, const uint8_t salt[MD5_SALT], char out[MD5_TEXT + 1])
{
	char stored[MD5_TEXT + 1];
	int r;

	if (secret->kind == SECRET_MD5)
		return md5_salted(secret->text, salt, out);
	if (secret->kind != SECRET_PLAIN || md5_stored(secret->text, user, stored))
		return -1;
	r = md5_salted(stored, salt, out);
	OPENSSL_cleanse(stored, sizeof stored);
	return r;
}
