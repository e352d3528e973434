/* Messages for people. */
#include "tests/sim/sim_internal.h"

#include "parser/reader.h"
#include "parser/report.h"
#include "parser/wire.h"

static void print_field(FILE *f, const uint8_t *at, uint32_t len)
{
	if (len == UINT32_MAX)
		fputs("NULL", f);
	else
		fprintf(f, "%.*s", (int)len, (const char *)at);
}

static void print_values(FILE *f, struct reader *r)
{
	for (uint16_t n = reader_u16(r); n && !r->bad; n--) {
		uint32_t len = reader_u32(r);
		const uint8_t *at = len == UINT32_MAX ? NULL : reader_bytes(r, len);

		fputc(' ', f);
		print_field(f, at, len);
	}
}

void words_told(FILE *f, char type, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	const char *name;

	fprintf(f, "%c", type);
	if (type == 'Z')
		fprintf(f, " %c", body[0]);
	else if (type == 'C')
		fprintf(f, " %s", (const char *)body);
	else if (type == 'S' && (name = reader_str(&r, NULL)))
		fprintf(f, " %s=%s", name, reader_str(&r, NULL));
	else if (type == 'E' || type == 'N')
		fprintf(f, " %s %s", report_field(body, len, 'C'), report_field(body, len, 'M'));
	else if (type == 'D')
		print_values(f, &r);
	fputc('\n', f);
}

void words_said(FILE *f, char type, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	const char *a;

	fprintf(f, "%c", type);
	if (type == 'Q') {
		fprintf(f, " %s", (const char *)body);
	} else if (type == 'P' || type == 'B') {
		a = reader_str(&r, NULL);
		fprintf(f, " %s: %s", a, reader_str(&r, NULL));
		if (type == 'B') {
			reader_bytes(&r, 2 * (size_t)reader_u16(&r));
			print_values(f, &r);
		}
	} else if (type == 'E') {
		fprintf(f, " %s", (const char *)body);
	} else if (type == 'D' || type == 'C') {
		fprintf(f, " %c %s", body[0], (const char *)body + 1);
	}
	fputc('\n', f);
}

void words_all(FILE *f, const struct buf *b, void (*print)(FILE *, char, const uint8_t *, size_t), const char *before)
{
	for (size_t at = 0; at + WIRE_HEAD <= buf_len(b);) {
		const uint8_t *m = buf_head(b) + at;
		size_t len = be32(m + 1) - 4;

		fputs(before, f);
		if (at + WIRE_HEAD + len > buf_len(b)) {
			fputs("(in the middle of a message)\n", f);
			return;
		}
		print(f, (char)m[0], m + WIRE_HEAD, len);
		at += WIRE_HEAD + len;
	}
}
