/* Options of [pgbouncer]: the table made of server/options.inc, and what walks it. */
#include "server/config_rows.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_type { TYPE_STRING, TYPE_INT, TYPE_BOOL, TYPE_TIME, TYPE_ENUM };
enum effect_kind { EFFECT_DONE, EFFECT_COSMETIC, EFFECT_GUARD };

struct option_effect {
	enum effect_kind kind;
	const char *why;
};

struct option {
	const char *name; /* first: config_nearest() */
	enum option_type type;
	const char *fallback;
	bool changeable;
	struct option_effect effect;
	size_t at; /* of the field in struct config */
	int min, max;
	const struct config_word *words;
};

static const struct config_word auth_words[] = {
	{ "any", AUTH_ANY, NULL },
	{ "trust", AUTH_TRUST, NULL },
	{ "plain", AUTH_PLAIN, NULL },
	{ "md5", AUTH_MD5, NULL },
	{ "scram-sha-256", AUTH_SCRAM, NULL },
	{ "cert", 0, "pgporter does not take a certificate for a name; use scram-sha-256, with client_tls_sslmode = verify-full to ask for "
		     "certificates besides" },
	{ "hba", 0, "pgporter does not read HBA files; use scram-sha-256 and keep strangers out by listen_addr or a firewall" },
	{ "ldap", 0, "pgporter does not ask LDAP servers; use scram-sha-256 with auth_file or auth_query" },
	{ "pam", 0, "pgporter does not use PAM; use scram-sha-256 with auth_file or auth_query" },
	{ NULL, 0, NULL },
};

static const struct config_word sslmode_words[] = {
	{ "disable", SSLMODE_DISABLE, NULL },
	{ "allow", SSLMODE_ALLOW, NULL },
	{ "prefer", SSLMODE_PREFER, NULL },
	{ "require", SSLMODE_REQUIRE, NULL },
	{ "verify-ca", SSLMODE_VERIFY_CA, NULL },
	{ "verify-full", SSLMODE_VERIFY_FULL, NULL },
	{ NULL, 0, NULL },
};

#define DONE { EFFECT_DONE, NULL }
#define COSMETIC(why) { EFFECT_COSMETIC, why }
#define GUARD(why) { EFFECT_GUARD, why }
#define OPTION_STRING(name, fallback, changeable, effect, doc) \
	{ #name, TYPE_STRING, fallback, changeable, effect, offsetof(struct config, name), 0, 0, NULL },
#define OPTION_LIST OPTION_STRING
#define OPTION_INT(name, fallback, changeable, effect, min, max, doc) \
	{ #name, TYPE_INT, fallback, changeable, effect, offsetof(struct config, name), min, max, NULL },
#define OPTION_BOOL(name, fallback, changeable, effect, doc) \
	{ #name, TYPE_BOOL, fallback, changeable, effect, offsetof(struct config, name), 0, 1, NULL },
#define OPTION_TIME(name, fallback, changeable, effect, min, doc) \
	{ #name, TYPE_TIME, fallback, changeable, effect, offsetof(struct config, name##_us), min, 0, NULL },
#define OPTION_ENUM(name, fallback, changeable, effect, words, doc) \
	{ #name, TYPE_ENUM, fallback, changeable, effect, offsetof(struct config, name), 0, 0, words },
static const struct option options[] = {
#include "server/options.inc"
};
#undef DONE
#undef COSMETIC
#undef GUARD

enum { N_OPTIONS = sizeof options / sizeof *options };

static void *field(const struct config *c, const struct option *o)
{
	return (char *)(uintptr_t)c + o->at;
}

static const struct option *find_option(const char *name)
{
	if (!strcasecmp(name, "service_name"))
		name = "job_name";
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (!strcasecmp(options[i].name, name))
			return &options[i];
	return NULL;
}

static void set_string(char **to, const char *value)
{
	char *copy = config_strdup(value); /* first: value may be *to */

	free(*to);
	*to = copy;
}

static bool read_value(struct config *c, const struct option *o, const char *value, struct config_why *why)
{
	int number;

	switch (o->type) {
	case TYPE_STRING:
		set_string(field(c, o), value);
		return true;
	case TYPE_INT:
		return config_read_int(o->name, value, o->min, o->max, field(c, o), why);
	case TYPE_BOOL:
		if (!config_read_int(o->name, value, 0, 1, &number, why))
			return config_say(why, "\"%.100s\" is no value for %s; write 1 or 0", value, o->name);
		*(bool *)field(c, o) = number;
		return true;
	case TYPE_TIME:
		return config_read_time(o->name, value, o->min, field(c, o), why);
	case TYPE_ENUM:
		return config_read_word(o->name, value, o->words, field(c, o), why);
	}
	abort();
}

static const char *word_of(const struct config_word *words, int value)
{
	while (words->word && (words->value != value || words->refusal))
		words++;
	return words->word ? words->word : "";
}

static const char *time_text(int64_t us, char *buf, size_t cap)
{
	size_t n = (size_t)snprintf(buf, cap, "%s%lld.%06lld", us < 0 ? "-" : "", llabs(us) / 1000000, llabs(us) % 1000000);

	while (buf[n - 1] == '0')
		buf[--n] = 0;
	if (buf[n - 1] == '.')
		buf[--n] = 0;
	return buf;
}

/* The value as it would be written; points into c, into buf or to a constant. */
static const char *value_text(const struct config *c, const struct option *o, char *buf, size_t cap)
{
	switch (o->type) {
	case TYPE_STRING:
		return *(char **)field(c, o);
	case TYPE_INT:
		snprintf(buf, cap, "%d", *(int *)field(c, o));
		return buf;
	case TYPE_BOOL:
		return *(bool *)field(c, o) ? "1" : "0";
	case TYPE_TIME:
		return time_text(*(int64_t *)field(c, o), buf, cap);
	case TYPE_ENUM:
		return word_of(o->words, *(int *)field(c, o));
	}
	abort();
}

static bool at_default(const struct config *c, const struct option *o)
{
	char value[64], fallback[64];
	struct config *plain = config_alloc(sizeof *plain);
	struct config_why why;
	bool same;

	if (!read_value(plain, o, o->fallback, &why))
		abort();
	same = !strcmp(value_text(c, o, value, sizeof value), value_text(plain, o, fallback, sizeof fallback));
	if (o->type == TYPE_STRING)
		free(*(char **)field(plain, o));
	free(plain);
	return same;
}

void config_options_init(struct config *c)
{
	struct config_why why;

	for (size_t i = 0; i < N_OPTIONS; i++)
		if (!read_value(c, &options[i], options[i].fallback, &why))
			abort(); /* a default that its own row refuses */
}

static void copy_value(struct config *to, const struct config *from, const struct option *o)
{
	static const size_t sizes[] = {
		[TYPE_INT] = sizeof(int), [TYPE_BOOL] = sizeof(bool), [TYPE_TIME] = sizeof(int64_t), [TYPE_ENUM] = sizeof(int),
	};

	if (o->type == TYPE_STRING)
		set_string(field(to, o), *(char **)field(from, o));
	else
		memcpy(field(to, o), field(from, o), sizes[o->type]);
}

void config_options_copy(struct config *to, const struct config *from)
{
	for (const struct option *o = options; o < options + N_OPTIONS; o++)
		copy_value(to, from, o);
}

void config_options_keep(struct config *c, const struct config *running)
{
	char now[64], then[64];

	for (const struct option *o = options; o < options + N_OPTIONS; o++) {
		const char *value = value_text(running, o, now, sizeof now);

		if (o->changeable || !strcmp(value, value_text(c, o, then, sizeof then)))
			continue;
		config_warn(c, "%s can't change at run time and stays \"%s\"; restart to change it", o->name, value);
		copy_value(c, running, o);
	}
}

void config_options_free(struct config *c)
{
	for (const struct option *o = options; o < options + N_OPTIONS; o++)
		if (o->type == TYPE_STRING)
			free(*(char **)field(c, o));
}

bool config_option_set(struct config *c, const char *name, const char *value, struct config_why *why)
{
	const struct option *o = find_option(name);
	const char *near;

	if (!o) {
		near = config_nearest(name, options, N_OPTIONS, sizeof *options);
		return config_say(why, "\"%.100s\" is no option of [pgbouncer]; %s%s", name, near ? "did you mean " : "docs/options.md lists them",
				  near ? near : "");
	}
	if (!read_value(c, o, value, why))
		return false;
	if (o->effect.kind == EFFECT_GUARD && !at_default(c, o))
		return config_say(why, "%s = %.100s: %s", o->name, value, o->effect.why);
	if (!strcmp(o->name, "state_functions") || !strcmp(o->name, "stateless_functions"))
		return config_functions_check(o->name, value, why);
	if (!strcmp(o->name, "auth_dbname") && config_reserved_name(value))
		return config_say(why, "auth_dbname = %s is the console; write the name of a database", value);
	return true;
}

bool config_option_changeable(const char *name)
{
	const struct option *o = find_option(name);

	return !o || o->changeable;
}

void config_options_warn(struct config *c)
{
	for (const struct option *o = options; o < options + N_OPTIONS; o++)
		if (o->effect.kind == EFFECT_COSMETIC && !at_default(c, o))
			config_warn(c, "%s has no effect: %s", o->name, o->effect.why);
}

void config_each(const struct config *c,
		 void (*row)(void *arg, const char *name, const char *value, const char *fallback, bool changeable), void *arg)
{
	char buf[64];

	for (const struct option *o = options; o < options + N_OPTIONS; o++)
		row(arg, o->name, value_text(c, o, buf, sizeof buf), o->fallback, o->changeable);
}
