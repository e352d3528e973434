/* links: */
/* A stream gives the same messages whole or byte by byte, and an answer other than "more" is final. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "parser/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
	if (!holds)
		abort();
}

/* Judges data[0..len) from a block of that size. */
static enum wire_result judge(const uint8_t *data, size_t len, uint32_t body_max, struct wire_head *head)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum wire_result r;

	memcpy(copy, data, len);
	r = wire_head(copy, len, body_max, head);
	free(copy);
	return r;
}

static enum wire_result judge_every_prefix(const uint8_t *data, size_t len, uint32_t body_max, struct wire_head *head)
{
	enum wire_result r = WIRE_MORE;
	size_t most = len < WIRE_HEAD + 2 ? len : WIRE_HEAD + 2;

	for (size_t n = 0; n <= most; n++) {
		struct wire_head now = { 0 };
		enum wire_result next = judge(data, n, body_max, &now);

		must(r == WIRE_MORE || next == r);
		must(r != WIRE_OK || (now.type == head->type && now.body_len == head->body_len));
		must(next != WIRE_OK || (n >= WIRE_HEAD && now.body_len <= body_max));
		must(next != WIRE_MORE || n < WIRE_HEAD);
		r = next;
		*head = now;
	}
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t limits[] = { 0, 100, 1 << 20, INT32_MAX, UINT32_MAX };
	struct wire_head head;
	uint32_t body_max;

	if (!size)
		return 0;
	body_max = limits[data[0] % (sizeof limits / sizeof *limits)];
	data++;
	size--;
	while (judge_every_prefix(data, size, body_max, &head) == WIRE_OK && size - WIRE_HEAD >= head.body_len) {
		data += WIRE_HEAD + head.body_len;
		size -= WIRE_HEAD + head.body_len;
	}
	return 0;
}
