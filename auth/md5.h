/* auth/md5.h — PostgreSQL's md5 passwords (protocol 3, "AuthenticationMD5Password"; pg_authid.rolpassword):
 *   stored   "md5" hex(md5(password user))
 *   on wire  "md5" hex(md5(hex of the stored form, 4 bytes of salt))
 * Results are MD5_TEXT characters and a NUL. All return -1 where the crypto library has MD5 switched off (FIPS). */
#ifndef PGPORTER_AUTH_MD5_H
#define PGPORTER_AUTH_MD5_H

#include <stddef.h>
#include <stdint.h>

#include "auth/secret.h"

enum { MD5_TEXT = 35, MD5_SALT = 4 };

int md5_stored(const char *password, const char *user, char out[MD5_TEXT + 1]) __attribute__((warn_unused_result));
/* `stored` is MD5_TEXT characters long. */
int md5_salted(const char *stored, const uint8_t salt[MD5_SALT], char out[MD5_TEXT + 1])
	__attribute__((warn_unused_result));
/* From a plain or md5 secret; -1 for any other. */
int md5_answer(const struct secret *secret, const char *user, const uint8_t salt[MD5_SALT], char out[MD5_TEXT + 1])
	__attribute__((warn_unused_result));

#endif
