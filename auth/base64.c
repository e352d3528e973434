#include "auth/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(const uint8_t *in, size_t n, char *out)
{
	uint32_t v;

	for (; n >= 3; n -= 3, in += 3) {
		v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
		*out++ = alphabet[v >> 18];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = alphabet[v >> 6 & 63];
		*out++ = alphabet[v & 63];
	}
	if (n) {
		v = (uint32_t)in[0] << 16 | (n == 2 ? (uint32_t)in[1] << 8 : 0);
		*out++ = alphabet[v >> 18];
		*out++ = alphabet[v >> 12 & 63];
		*out++ = n == 2 ? alphabet[v >> 6 & 63] : '=';
		*out++ = '=';
	}
	*out = 0;
}

static int sextet(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(const uint8_t *in, size_t n, uint8_t *out, size_t cap, size_t *len)
{
	size_t pad = 0, bytes, at = 0;
	uint32_t v = 0;

	if (n % 4)
		return -1;
	if (n && in[n - 1] == '=')
		pad = in[n - 2] == '=' ? 2 : 1;
	bytes = n / 4 * 3 - pad;
	if (bytes > cap)
		return -1;
	for (size_t i = 0; i < n; i++) {
		int s = i >= n - pad ? 0 : sextet(in[i]);

		if (s < 0)
			return -1;
		v = v << 6 | (uint32_t)s;
		if (i % 4 != 3)
			continue;
		for (int shift = 16; shift >= 0; shift -= 8) {
			uint8_t b = (uint8_t)(v >> shift);

			if (at < bytes)
				out[at++] = b;
			else if (b) /* bits that no byte carries */
				return -1;
		}
		v = 0;
	}
	*len = bytes;
	return 0;
}
