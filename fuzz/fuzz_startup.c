/* links: parser/startup.c */
/* A packet that is whole has no shorter whole prefix, needs nothing behind it, and its parameters cover it; the words
 * of `options` stay in their room. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "parser/startup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
	if (!holds)
		abort();
}

static enum wire_result judge_prefix(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	struct startup s;
	enum wire_result r;

	memcpy(copy, data, size);
	r = startup_read(copy, size, &s);
	free(copy);
	return r;
}

static void walk_options(const char *text, size_t cap)
{
	const char *at = text, *end = text + strlen(text), *name, *value, *before = NULL;
	char *word = malloc(cap);
	enum options_result r;

	while ((r = options_next(&at, word, cap, &name, &value)) != OPTIONS_END) {
		must(at > text && at <= end && at != before && memchr(word, 0, cap));
		before = at;
		if (r == OPTIONS_BAD)
			continue;
		must(name >= word && *name && !strpbrk(name, "-=") && value > name && value < word + cap);
		must(value[-1] == 0 && memchr(value, 0, (size_t)(word + cap - value)));
	}
	must(!*at);
	free(word);
}

static void walk_params(const struct startup *s)
{
	const char *name, *value;
	size_t at = 0, covered = 0;

	while (startup_param(s, &at, &name, &value)) {
		must(*name && (const uint8_t *)name == s->params + covered);
		must(value == name + strlen(name) + 1);
		covered += strlen(name) + strlen(value) + 2;
		must(at == covered);
		walk_options(value, 16);
		walk_options(value, 4096);
	}
	must(covered == s->params_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	enum wire_result r;
	struct startup s;

	memcpy(copy, data, size);
	r = startup_read(copy, size, &s);
	if (r == WIRE_MORE)
		must(size <= 4 + STARTUP_MAX);
	if (r == WIRE_OK) {
		must(s.packet_len >= 8 && s.packet_len <= size && s.packet_len <= 4 + STARTUP_MAX);
		must(judge_prefix(data, s.packet_len) == WIRE_OK);
		for (size_t n = s.packet_len; n-- > 0 && s.packet_len - n < 64;)
			must(judge_prefix(data, n) == WIRE_MORE);
		if (s.kind == STARTUP_SESSION || (s.kind == STARTUP_OLD && s.params))
			walk_params(&s);
		if (s.kind == STARTUP_CANCEL)
			must(s.cancel_key_len >= 4 && s.cancel_key_len <= 256 && s.cancel_key + s.cancel_key_len == copy + s.packet_len);
	}
	free(copy);
	return 0;
}
