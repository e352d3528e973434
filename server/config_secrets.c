/* The auth_file: read whole, sorted by user, the last of a user's lines counting. */
#include "server/config_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "auth/secret.h"

enum { AUTH_FILE_MAX = 64 << 20, USER_MAX = 1024 };

struct numbered {
	struct config_secret secret;
	size_t line;
};

static int by_user_and_line(const void *a, const void *b)
{
	const struct numbered *x = a, *y = b;
	int r = strcmp(x->secret.user, y->secret.user);

	return r ? r : x->line < y->line ? -1 : x->line > y->line;
}

static void free_secret(struct config_secret *s)
{
	free(s->user);
	config_wipe_free(s->text);
}

/* Sorts, keeps the last of equals and hands over to c. */
static void take_secrets(struct config *c, struct numbered *all, size_t n)
{
	if (n)
		qsort(all, n, sizeof *all, by_user_and_line);
	c->secrets = config_alloc((n + 1) * sizeof *c->secrets);
	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && !strcmp(all[i].secret.user, all[i + 1].secret.user))
			free_secret(&all[i].secret);
		else
			c->secrets[c->n_secrets++] = all[i].secret;
	}
}

static size_t count_lines(const char *text)
{
	size_t n = 1;

	while ((text = strchr(text, '\n'))) {
		text++;
		n++;
	}
	return n;
}

/* Returns the number of the first broken line, 0 if there is none. */
static size_t read_lines(const char *text, struct numbered *all, size_t *n)
{
	char user[USER_MAX], secret[SECRET_TEXT_MAX];
	size_t broken = 0;

	for (size_t line = 1; *text && !broken; line++) {
		size_t len = strcspn(text, "\n"), shown = len;
		int r;

		if (shown && text[shown - 1] == '\r')
			shown--;
		r = auth_file_line(text, shown, user, sizeof user, secret, sizeof secret);
		if (r < 0)
			broken = line;
		if (r > 0)
			all[(*n)++] = (struct numbered){ { config_strdup(user), config_strdup(secret) }, line };
		text += len + (text[len] == '\n');
	}
	explicit_bzero(secret, sizeof secret);
	return broken;
}

bool config_secrets_load(struct config *c, struct config_why *why)
{
	struct numbered *all;
	size_t len, n = 0, broken;
	char *text;

	config_secrets_free(c);
	if (!*c->auth_file)
		return true;
	text = config_read_file(c->auth_file, AUTH_FILE_MAX, &len);
	if (!text) {
		config_warn(c, "auth_file %s can't be read: %s; no user is known from it", c->auth_file, strerror(errno));
		return true;
	}
	if (strlen(text) != len) {
		explicit_bzero(text, len);
		free(text);
		return config_say(why, "auth_file %.300s holds a NUL byte; it is no text file", c->auth_file);
	}
	all = config_alloc(count_lines(text) * sizeof *all);
	broken = read_lines(text, all, &n);
	take_secrets(c, all, n);
	free(all);
	config_wipe_free(text);
	if (broken)
		return config_say(why, "auth_file %.300s:%zu: broken line; write \"user\" \"secret\", a secret of at most %d bytes, "
				       "quotes inside doubled", c->auth_file, broken, SECRET_TEXT_MAX - 1);
	return true;
}

void config_secrets_copy(struct config *to, const struct config *from)
{
	to->secrets = config_alloc((from->n_secrets + 1) * sizeof *to->secrets);
	for (size_t i = 0; i < from->n_secrets; i++) {
		to->secrets[i].user = config_strdup(from->secrets[i].user);
		to->secrets[i].text = config_strdup(from->secrets[i].text);
	}
	to->n_secrets = from->n_secrets;
}

void config_secrets_free(struct config *c)
{
	for (size_t i = 0; i < c->n_secrets; i++)
		free_secret(&c->secrets[i]);
	free(c->secrets);
	c->secrets = NULL;
	c->n_secrets = 0;
}

static int by_name(const void *key, const void *row)
{
	return strcmp(key, ((const struct config_secret *)row)->user);
}

const char *config_find_secret(const struct config *c, const char *user)
{
	const struct config_secret *s = NULL;

	if (c->n_secrets)
		s = bsearch(user, c->secrets, c->n_secrets, sizeof *s, by_name);
	return s ? s->text : NULL;
}
