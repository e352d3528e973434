/* links: parser/ini.c parser/buf.c */
/* Pairs that were read, written again with every value quoted, read back the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "parser/buf.h"
#include "parser/ini.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
	if (!holds)
		abort();
}

static void write_pair(struct buf *out, const char *key, const char *value)
{
	buf_printf(out, " %s = '", key);
	for (; *value; value++) {
		if (*value == '\'')
			buf_u8(out, '\'');
		buf_u8(out, (uint8_t)*value);
	}
	buf_u8(out, '\'');
}

/* want: keys and values in turn, each NUL-ended. */
static void read_back(struct buf *again, struct buf *want)
{
	char *at, *key, *value;

	buf_u8(again, 0);
	at = (char *)buf_head(again);
	while (ini_pairs(&at, &key, &value) > 0) {
		must(buf_len(want) && !strcmp(key, (char *)buf_head(want)));
		buf_consume(want, strlen(key) + 1);
		must(buf_len(want) && !strcmp(value, (char *)buf_head(want)));
		buf_consume(want, strlen(value) + 1);
	}
	must(!*at && !buf_len(want));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf again = { 0 }, want = { 0 };
	char *text = malloc(size + 1), *at = text, *key, *value, *before = text;
	int r;

	memcpy(text, data, size);
	text[size] = 0;
	while ((r = ini_pairs(&at, &key, &value)) > 0) {
		must(key >= before && value > key && at > value && at <= text + size);
		must(*key && !strpbrk(key, "=' \t\r\n"));
		before = at;
		write_pair(&again, key, value);
		buf_str(&want, key);
		buf_str(&want, value);
	}
	if (!r)
		must(!*at && !ini_pairs(&at, &key, &value));
	read_back(&again, &want);
	buf_release(&again);
	buf_release(&want);
	free(text);
	return 0;
}
