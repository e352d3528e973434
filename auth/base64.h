/* auth/base64.h — base64 in the one spelling SCRAM messages and verifiers use (RFC 4648 section 4): standard alphabet,
 * padded. Decoding is strict: no blanks, no missing padding, no stray bits behind the last byte, so that a value has
 * exactly one text and a changed text is a changed value. */
#ifndef PGPORTER_AUTH_BASE64_H
#define PGPORTER_AUTH_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Characters that n bytes take, without a NUL. */
#define BASE64_LEN(n) (((size_t)(n) + 2) / 3 * 4)

/* Writes BASE64_LEN(n) characters and a NUL. */
void base64_encode(const uint8_t *in, size_t n, char *out);
/* Fills out with at most cap bytes and *len with how many; -1 if the text is not base64 or yields more than cap. */
int base64_decode(const uint8_t *in, size_t n, uint8_t *out, size_t cap, size_t *len);

#endif
