/* links: parser/ini.c */
/* Any line is judged, results lie in the line, and a pair written again with its key quoted reads back the same. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser/ini.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds)
{
	if (!holds)
		abort();
}

static void read_back(const char *name, const char *value)
{
	char *text = malloc(2 * strlen(name) + strlen(value) + 8), *to = text;
	struct ini_line again;

	*to++ = '\'';
	for (const char *s = name; *s; s++) {
		if (*s == '\'')
			*to++ = '\'';
		*to++ = *s;
	}
	sprintf(to, "' = %s", value);
	must(ini_line(text, &again) == INI_PAIR);
	must(!strcmp(again.name, name) && !strcmp(again.value, value));
	free(text);
}

static void one_line(const uint8_t *data, size_t size)
{
	char *line = malloc(size + 1);
	const char *end = line + size;
	struct ini_line l;

	memcpy(line, data, size);
	line[size] = 0;
	must(ini_line(line, &l) == l.kind);
	must(!l.name || (l.name >= line && l.name <= end && *l.name));
	must(!l.value || (l.value >= line && l.value <= end));
	must((l.kind == INI_BAD) == (l.error != NULL));
	switch (l.kind) {
	case INI_PAIR:
		read_back(l.name, l.value);
		break;
	case INI_SECTION:
		must(l.name && !l.value);
		break;
	case INI_INCLUDE:
		must(l.value && *l.value);
		break;
	default:
		must(!l.name && !l.value);
	}
	free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	while (size) {
		const uint8_t *newline = memchr(data, '\n', size);
		size_t len = newline ? (size_t)(newline - data) : size;

		one_line(data, len);
		len += newline != NULL;
		data += len;
		size -= len;
	}
	return 0;
}
