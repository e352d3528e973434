/* auth/secret.h — what is known of a user's password: nothing, the plain text, PostgreSQL's md5 form, a SCRAM-SHA-256
 * verifier (RFC 5803 as pg_authid stores it), or SCRAM keys that a client's own proof yielded.
 *
 * Secrets are plain structs in the owner's memory; secret_wipe() clears one on every path that ends it. */
#ifndef PGPORTER_AUTH_SECRET_H
#define PGPORTER_AUTH_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCRAM_KEY_LEN = 32, SCRAM_SALT_MAX = 1024, SECRET_TEXT_MAX = 2048 };

enum secret_kind {
	SECRET_NONE,
	SECRET_PLAIN, /* text */
	SECRET_MD5,   /* text: "md5" and 32 hex digits */
	SECRET_SCRAM, /* scram verifier; with have_client_key also able to log in elsewhere with the same verifier */
};

struct scram_verifier {
	uint32_t iterations;
	uint8_t salt[SCRAM_SALT_MAX];
	size_t salt_len;
	uint8_t stored_key[SCRAM_KEY_LEN];
	uint8_t server_key[SCRAM_KEY_LEN];
	bool have_client_key;
	uint8_t client_key[SCRAM_KEY_LEN];
};

struct secret {
	enum secret_kind kind;
	char text[SECRET_TEXT_MAX];
	struct scram_verifier scram;
};

/* Reads a secret as auth_file and pg_authid.rolpassword spell it. Returns -1 if it is too long. What looks like a
 * verifier and is not well-formed is a plain password, as in PostgreSQL. The empty string is SECRET_NONE. */
int secret_parse(const char *text, struct secret *out);
void secret_wipe(struct secret *s);

/* One line of an auth_file: "user" "secret", further words ignored, `;` begins a comment line, "" is a quote inside.
 * Returns 1 and fills both (NUL-ended), 0 for blank or comment lines, -1 for a broken or too long line. */
int auth_file_line(const char *line, size_t len, char *user, size_t user_cap, char *text, size_t text_cap);

#endif
