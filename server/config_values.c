/* Readers of single values, and what the other server/config_*.c files need of the C library. */
#include "server/config_rows.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct config_word pool_mode_words[] = {
	{ "session", POOL_SESSION, NULL },
	{ "transaction", POOL_TRANSACTION, NULL },
	{ "statement", POOL_STATEMENT, NULL },
	{ NULL, 0, NULL },
};

bool config_say(struct config_why *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why->text, sizeof why->text, fmt, ap);
	va_end(ap);
	return false;
}

void *config_alloc(size_t size)
{
	void *p = calloc(1, size);

	if (!p)
		abort();
	return p;
}

char *config_strdup(const char *s)
{
	char *copy;

	if (!s)
		return NULL;
	copy = strdup(s);
	if (!copy)
		abort();
	return copy;
}

void config_wipe_free(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

void config_warn(struct config *c, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	c->warnings = realloc(c->warnings, (c->n_warnings + 1) * sizeof *c->warnings);
	if (n < 0 || !c->warnings)
		abort();
	c->warnings[c->n_warnings++] = text;
}

bool config_read_int(const char *what, const char *text, int min, int max, int *out, struct config_why *why)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(text, &end, 0);
	if (end == text || *end)
		return config_say(why, "\"%.100s\" is no value for %s; write a whole number from %d to %d", text, what, min, max);
	if (errno || v < min || v > max)
		return config_say(why, "%.100s is out of range for %s; write a whole number from %d to %d", text, what, min, max);
	*out = (int)v;
	return true;
}

bool config_read_time(const char *what, const char *text, int min, int64_t *out_us, struct config_why *why)
{
	const double longest = 1e11; /* thousands of years, and far from the end of int64_t in microseconds */
	char *end;
	double v;

	v = strtod(text, &end);
	if (end == text || *end || !isfinite(v))
		return config_say(why, "\"%.100s\" is no value for %s; write seconds as a number without a unit, as in 30 or 0.5", text, what);
	if (v < min || v > longest)
		return config_say(why, "%.100s is out of range for %s; write seconds from %d to %.0f", text, what, min, longest);
	*out_us = (int64_t)(v * 1e6 + (v < 0 ? -0.5 : 0.5));
	return true;
}

static void list_words(const struct config_word *words, char *buf, size_t cap)
{
	size_t n = 0;

	buf[0] = 0;
	for (; words->word && n < cap; words++)
		if (!words->refusal)
			n += (size_t)snprintf(buf + n, cap - n, "%s%s", n ? ", " : "", words->word);
}

bool config_read_word(const char *what, const char *text, const struct config_word *words, int *out, struct config_why *why)
{
	char known[200];

	for (const struct config_word *w = words; w->word; w++) {
		if (strcasecmp(w->word, text))
			continue;
		if (w->refusal)
			return config_say(why, "%s = %s: %s", what, w->word, w->refusal);
		*out = w->value;
		return true;
	}
	list_words(words, known, sizeof known);
	return config_say(why, "\"%.100s\" is no value for %s; write one of %s", text, what, known);
}

static int least(int a, int b, int c)
{
	a = a < b ? a : b;
	return a < c ? a : c;
}

/* Letters put in, left out or changed to make b of a; at most `long enough to be far`. */
static int distance(const char *a, const char *b)
{
	enum { LONGEST = 63 };
	int row[LONGEST + 1];
	size_t la = strlen(a), lb = strlen(b);

	if (la > LONGEST || lb > LONGEST)
		return INT_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (int)j;
	for (size_t i = 1; i <= la; i++) {
		int corner = row[0];

		row[0] = (int)i;
		for (size_t j = 1; j <= lb; j++) {
			int old = row[j], same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);

			row[j] = least(old + 1, row[j - 1] + 1, corner + !same);
			corner = old;
		}
	}
	return row[lb];
}

const char *config_nearest(const char *word, const void *rows, size_t n, size_t size)
{
	int best = 1 + (int)(strlen(word) / 4);
	const char *found = NULL;

	for (size_t i = 0; i < n; i++) {
		const char *name = *(const char *const *)((const char *)rows + i * size);
		int d = distance(word, name);

		if (d < best || (d == best && !found)) {
			best = d;
			found = name;
		}
	}
	return found;
}

char *config_read_file(const char *path, size_t max, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
	size_t n = 0, cap = 0;
	char *text = NULL;
	ssize_t got = 1;

	if (fd < 0)
		return NULL;
	while (got > 0) {
		if (cap - n < 2) {
			/* Not realloc(): it may leave a copy of secrets behind. */
			char *larger = config_alloc(cap = cap ? cap * 2 : 16384);

			if (text)
				memcpy(larger, text, n);
			if (text)
				explicit_bzero(text, n);
			free(text);
			text = larger;
		}
		got = read(fd, text + n, cap - n - 1);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			n += (size_t)got;
		if (n > max) {
			errno = EFBIG;
			got = -1;
		}
	}
	error = errno;
	close(fd);
	if (got < 0) {
		explicit_bzero(text, n);
		free(text);
		errno = error;
		return NULL;
	}
	text[n] = 0;
	*len = n;
	return text;
}
