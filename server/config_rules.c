/* What the configuration says about session state: words of its options, and lists of functions. */
#include "server/config_rows.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

const struct config_word preset_words[] = {
	{ "pgporter", PRESET_PGPORTER, NULL },
	{ "strict", PRESET_STRICT, NULL },
	{ "pgbouncer", PRESET_PGBOUNCER, NULL },
	{ NULL, 0, NULL },
};

const struct config_word carried_words[] = {
	{ "default", RULE_DEFAULT, NULL },
	{ "carry", RULE_CARRY, NULL },
	{ "pin", RULE_PIN, NULL },
	{ "refuse", RULE_REFUSE, NULL },
	{ "ignore", RULE_IGNORE, NULL },
	{ NULL, 0, NULL },
};

const struct config_word unset_words[] = {
	{ "default", RULE_DEFAULT, NULL },
	{ "carry", RULE_CARRY, NULL },
	{ "ignore", RULE_IGNORE, NULL },
	{ "pin", RULE_PIN, "what was never set can't be pinned; write carry or ignore" },
	{ "refuse", RULE_REFUSE, "what was never set can't be refused; write carry or ignore" },
	{ NULL, 0, NULL },
};

const struct config_word pinned_words[] = {
	{ "default", RULE_DEFAULT, NULL },
	{ "pin", RULE_PIN, NULL },
	{ "refuse", RULE_REFUSE, NULL },
	{ "ignore", RULE_IGNORE, NULL },
	{ "carry", RULE_CARRY, "such state can't be made again on another server connection; write pin, refuse or ignore" },
	{ NULL, 0, NULL },
};

const struct config_word shared_words[] = {
	{ "default", RULE_DEFAULT, NULL },
	{ "share", RULE_CARRY, NULL },
	{ "pin", RULE_PIN, NULL },
	{ "refuse", RULE_REFUSE, NULL },
	{ "ignore", RULE_IGNORE, NULL },
	{ NULL, 0, NULL },
};

static const struct {
	const char *name; /* first: config_nearest() */
	int kind;
} kinds[] = {
#define KIND(kind, name, normal, strict) { #name, RULE_##kind },
	RULE_KINDS_EACH(KIND)
#undef KIND
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

void config_rules_init(struct config_rules *r)
{
	r->max_pins = r->pin_pool_size = -1;
	r->pin_idle_timeout_us = r->pin_max_age_us = r->pin_log_after_us = -1;
}

void config_functions_free(struct rule_functions *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->list[i].schema);
		free(f->list[i].name);
	}
	free(f->list);
	*f = (struct rule_functions){ 0 };
}

static void skip_blanks(const char **at)
{
	*at += strspn(*at, " \t");
}

/* An identifier, folded as PostgreSQL does unless it is in double quotes; NULL if there is none. The caller's to free. */
static char *read_name(const char **at)
{
	bool quoted = **at == '"';
	const char *from = *at + quoted;
	size_t n = quoted ? strcspn(from, "\"") : 0;
	char *name;

	while (!quoted && (isalnum((unsigned char)from[n]) || strchr("_$", from[n] ? from[n] : ' ') || (unsigned char)from[n] >= 0x80))
		n++;
	if (!n || (quoted && !from[n]))
		return NULL;
	name = config_alloc(n + 1);
	for (size_t i = 0; i < n; i++)
		name[i] = !quoted && from[i] >= 'A' && from[i] <= 'Z' ? (char)(from[i] + 32) : from[i];
	*at = from + n + quoted;
	return name;
}

/* kind+kind… */
static bool read_kinds(const char *what, const char **at, uint32_t *found, struct config_why *why)
{
	char word[32];

	do {
		size_t n, i = 0;
		const char *near;

		skip_blanks(at);
		n = strcspn(*at, "+, \t");
		if (n >= sizeof word)
			n = sizeof word - 1;
		memcpy(word, *at, n);
		word[n] = 0;
		while (i < N_KINDS && (kinds[i].kind == RULE_CUSTOM_UNSET || strcmp(kinds[i].name, word)))
			i++;
		if (i == N_KINDS) {
			near = config_nearest(word, kinds, N_KINDS, sizeof *kinds);
			return config_say(why, "%s: \"%s\" is no kind of state%s%s; write name:kind+kind with kinds of settings, role, "
					       "prepared, cursor, lock, temp, listen, sequence, opaque, session_state",
					  what, word, near ? ", did you mean " : "", near ? near : "");
		}
		*found |= 1u << kinds[i].kind;
		*at += n;
		skip_blanks(at);
	} while (**at == '+' && ++*at);
	return true;
}

static bool read_function(const char *what, const char **at, struct rule_function *f, struct config_why *why)
{
	f->name = read_name(at);
	if (f->name && **at == '.') {
		++*at;
		f->schema = f->name;
		f->name = read_name(at);
	}
	if (!f->name)
		return config_say(why, "%s: a function's name is missing at \"%.60s\"; write name or schema.name, without arguments, parted by "
				       "commas", what, *at);
	skip_blanks(at);
	if (**at != ':') {
		f->kinds = 1u << RULE_OPAQUE;
		return true;
	}
	++*at;
	return read_kinds(what, at, &f->kinds, why);
}

static bool read_functions(const char *what, const char *text, struct rule_functions *f, struct config_why *why)
{
	bool stateless = !strcmp(what, "stateless_functions");

	skip_blanks(&text);
	while (*text) {
		struct rule_function *one;

		f->list = realloc(f->list, (f->n + 1) * sizeof *f->list);
		if (!f->list)
			abort();
		one = &f->list[f->n++];
		*one = (struct rule_function){ 0 };
		if (stateless && text[strcspn(text, ":,")] == ':')
			return config_say(why, "%s takes names only: what touches a kind of state belongs into state_functions", what);
		if (!read_function(what, &text, one, why))
			return false;
		if (stateless)
			one->kinds = 0;
		skip_blanks(&text);
		if (*text && *text != ',')
			return config_say(why, "%s: \"%.60s\" is not expected; write name or name:kind+kind, without arguments, parted by commas",
					  what, text);
		text += *text == ',';
		skip_blanks(&text);
	}
	return true;
}

bool config_functions_check(const char *what, const char *text, struct config_why *why)
{
	struct rule_functions f = { 0 };
	bool ok = read_functions(what, text, &f, why);

	config_functions_free(&f);
	return ok;
}

static void make(const char *what, const char *text, struct rule_functions *f)
{
	struct config_why never;

	if (text && !read_functions(what, text, f, &never))
		abort(); /* it was checked when it was read */
}

void config_functions_make(struct config *c)
{
	make("state_functions", c->state_functions, &c->touching);
	make("stateless_functions", c->stateless_functions, &c->stateless);
	for (struct config_database *d = c->databases; d; d = d->next) {
		make("state_functions", d->rules.state_functions, &d->rules.touching);
		make("stateless_functions", d->rules.stateless_functions, &d->rules.stateless);
	}
	for (struct config_user *u = c->users; u; u = u->next) {
		make("state_functions", u->rules.state_functions, &u->rules.touching);
		make("stateless_functions", u->rules.stateless_functions, &u->rules.stateless);
		if (u->rules.stateless.n)
			config_warn(c, "[users] %s: stateless_functions has no effect there: write it into [pgbouncer] or [databases]", u->name);
	}
}
