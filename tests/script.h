/* tests/script.h — what clients say, as text: messages parted by '|', fields by ':' —
 * Q:text, P:name:text, B:portal:statement:value…, D:S:name, D:P:name, E:portal:rows, C:S:name, S, H, d, c, f, X. */
#ifndef PGPORTER_TESTS_SCRIPT_H
#define PGPORTER_TESTS_SCRIPT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser/buf.h"

enum { SCRIPT_FIELDS = 12, SCRIPT_MAX = 16384 };

static inline void script_put_bind(struct buf *out, char **field, size_t n)
{
	buf_str(out, field[1]);
	buf_str(out, field[2] ? field[2] : "");
	buf_u16(out, 0);
	buf_u16(out, (uint16_t)(n > 3 ? n - 3 : 0));
	for (size_t i = 3; i < n; i++) {
		buf_u32(out, (uint32_t)strlen(field[i]));
		buf_text(out, field[i]);
	}
	buf_u16(out, 0);
}

/* One message; the text is taken apart. */
static inline void script_put_message(struct buf *out, char *text)
{
	char *field[SCRIPT_FIELDS] = { 0 }, *at = text;
	size_t n = 0, mark;

	while (at && n < SCRIPT_FIELDS)
		field[n++] = strsep(&at, ":");
	mark = msg_begin(out, *text);
	switch (*text) {
	case 'Q':
		buf_str(out, field[1]);
		break;
	case 'P':
		buf_str(out, field[1]);
		buf_str(out, field[2]);
		buf_u16(out, 0);
		break;
	case 'B':
		script_put_bind(out, field, n);
		break;
	case 'D':
	case 'C':
		buf_u8(out, (uint8_t)*field[1]);
		buf_str(out, field[2]);
		break;
	case 'E':
		buf_str(out, field[1]);
		buf_u32(out, field[2] ? (uint32_t)strtoul(field[2], NULL, 10) : 0);
		break;
	case 'd':
		buf_text(out, "data\n");
		break;
	case 'f':
		buf_str(out, "no");
		break;
	default:
		break;
	}
	msg_end(out, mark);
}

static inline void script_put(struct buf *out, const char *script)
{
	char copy[SCRIPT_MAX], *at = copy, *m;

	if (strlen(script) >= sizeof copy)
		abort();
	strcpy(copy, script);
	while ((m = strsep(&at, "|")))
		script_put_message(out, m);
}

#endif
