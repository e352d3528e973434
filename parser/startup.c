#include "parser/startup.h"

#include <string.h>

#include "parser/reader.h"

enum {
	CODE_MAJOR = 1234, /* no protocol: marks the three requests below */
	CODE_CANCEL = 5678,
	CODE_SSL = 5679,
	CODE_GSSENC = 5680,
	PACKET_HEAD = 8, /* length and version */
	CANCEL_KEY_MIN = 4,
	CANCEL_KEY_MAX = 256,
};

/* Pairs of strings, names not empty, up to and without the last byte, which has to be the closing NUL. */
static bool params_hold(const uint8_t *body, size_t len)
{
	struct reader r;
	size_t name_len;

	if (!len || body[len - 1])
		return false;
	r = reader_of(body, len - 1);
	while (reader_left(&r) && !r.bad) {
		if (!reader_str(&r, &name_len) || !name_len)
			return false;
		reader_str(&r, NULL);
	}
	return !r.bad;
}

static enum wire_result read_cancel(const uint8_t *body, size_t len, struct startup *out)
{
	if (len < 4 + CANCEL_KEY_MIN || len > 4 + CANCEL_KEY_MAX)
		return WIRE_BAD;
	out->kind = STARTUP_CANCEL;
	out->cancel_pid = be32(body);
	out->cancel_key = body + 4;
	out->cancel_key_len = len - 4;
	return WIRE_OK;
}

static enum wire_result read_version(const uint8_t *body, size_t len, struct startup *out)
{
	if (out->major == CODE_MAJOR) {
		switch (out->minor) {
		case CODE_SSL:
			out->kind = STARTUP_SSL;
			return len ? WIRE_BAD : WIRE_OK;
		case CODE_GSSENC:
			out->kind = STARTUP_GSSENC;
			return len ? WIRE_BAD : WIRE_OK;
		case CODE_CANCEL:
			return read_cancel(body, len, out);
		}
	}
	out->kind = out->major == 3 ? STARTUP_SESSION : STARTUP_OLD;
	if (out->major >= 3 && params_hold(body, len)) {
		out->params = body;
		out->params_len = len - 1;
		return WIRE_OK;
	}
	return out->kind == STARTUP_OLD ? WIRE_OK : WIRE_BAD;
}

enum wire_result startup_read(const uint8_t *buf, size_t len, struct startup *out)
{
	uint32_t claim;

	*out = (struct startup){ 0 };
	if (len < 4)
		return WIRE_MORE;
	claim = be32(buf);
	/* As postgres counts: the limit is for what follows the length. */
	if (claim < PACKET_HEAD || claim - 4 > STARTUP_MAX)
		return WIRE_BAD;
	if (len < claim)
		return WIRE_MORE;
	out->packet_len = claim;
	out->major = (uint16_t)(buf[4] << 8 | buf[5]);
	out->minor = (uint16_t)(buf[6] << 8 | buf[7]);
	return read_version(buf + PACKET_HEAD, claim - PACKET_HEAD, out);
}

bool startup_param(const struct startup *s, size_t *at, const char **name, const char **value)
{
	struct reader r;

	if (*at >= s->params_len)
		return false;
	r = reader_of(s->params + *at, s->params_len - *at);
	*name = reader_str(&r, NULL);
	*value = reader_str(&r, NULL);
	*at = s->params_len - reader_left(&r);
	return !r.bad;
}

static bool blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The next word, unescaped. False at the end; *fits is false for a word that was cut to word_cap. */
static bool next_word(const char **at, char *word, size_t word_cap, bool *fits)
{
	const char *s = *at;
	size_t n = 0;
	bool escaped = false;

	while (blank(*s))
		s++;
	*fits = true;
	*at = s;
	if (!*s)
		return false;
	for (; *s && (escaped || !blank(*s)); s++) {
		if (!escaped && *s == '\\') {
			escaped = true;
			continue;
		}
		escaped = false;
		if (n + 1 < word_cap)
			word[n++] = *s;
		else
			*fits = false;
	}
	if (word_cap)
		word[n] = 0;
	*at = s;
	return true;
}

enum options_result options_next(const char **at, char *word, size_t word_cap, const char **name, const char **value)
{
	char *setting, *equals, *dash;
	bool fits;

	if (!word_cap)
		return OPTIONS_BAD;
	word[0] = 0;
	if (!next_word(at, word, word_cap, &fits))
		return OPTIONS_END;
	if (!fits || word[0] != '-' || (word[1] != 'c' && word[1] != '-'))
		return OPTIONS_BAD;
	setting = word + 2;
	if (!*setting) { /* -c and a word of its own; -- alone ends getopt's switches and postgres takes nothing else */
		if (word[1] == '-' || !next_word(at, word, word_cap, &fits) || !fits)
			return OPTIONS_BAD;
		setting = word;
	}
	equals = strchr(setting, '=');
	if (!equals || equals == setting)
		return OPTIONS_BAD;
	*equals = 0;
	for (dash = setting; (dash = strchr(dash, '-')); dash++)
		*dash = '_';
	*name = setting;
	*value = equals + 1;
	return OPTIONS_SETTING;
}
