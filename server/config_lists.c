/* Lines of [databases] and [users]. */
#include "server/config_rows.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "parser/ini.h"

enum key_type { KEY_STRING, KEY_COUNT, KEY_PORT, KEY_TIME, KEY_MODE, KEY_BALANCE, KEY_WORD, KEY_FUNCTIONS };

/* zero_inherits: 0 is written by people who mean "as configured globally", as PgBouncer reads it. */
struct line_key {
	const char *name; /* first: config_nearest() */
	enum key_type type;
	size_t at;
	bool zero_inherits;
	const struct config_word *words; /* KEY_WORD */
};

/* Of session state and pins, in both kinds of line. */
#define RULE_KEYS(line)                                                                                  \
	{ "state_preset", KEY_WORD, offsetof(line, rules.preset), false, preset_words },                 \
	STATE_KEY(line, "state_settings", SETTINGS, carried_words), STATE_KEY(line, "state_role", ROLE, carried_words), \
	STATE_KEY(line, "state_custom_unset", CUSTOM_UNSET, unset_words), \
	STATE_KEY(line, "state_prepared", PREPARED, carried_words), STATE_KEY(line, "state_cursor", CURSOR, pinned_words), \
	STATE_KEY(line, "state_lock", LOCK, pinned_words), STATE_KEY(line, "state_temp", TEMP, pinned_words), \
	STATE_KEY(line, "state_listen", LISTEN, shared_words), STATE_KEY(line, "state_sequence", SEQUENCE, pinned_words), \
	STATE_KEY(line, "state_opaque", OPAQUE, carried_words), STATE_KEY(line, "state_session_state", SESSION, pinned_words), \
	{ "state_functions", KEY_FUNCTIONS, offsetof(line, rules.state_functions), false, NULL },        \
	{ "stateless_functions", KEY_FUNCTIONS, offsetof(line, rules.stateless_functions), false, NULL }, \
	{ "max_pins", KEY_COUNT, offsetof(line, rules.max_pins), false, NULL },                          \
	{ "pin_pool_size", KEY_COUNT, offsetof(line, rules.pin_pool_size), false, NULL },                \
	{ "pin_idle_timeout", KEY_TIME, offsetof(line, rules.pin_idle_timeout_us), false, NULL },        \
	{ "pin_max_age", KEY_TIME, offsetof(line, rules.pin_max_age_us), false, NULL },                  \
	{ "pin_log_after", KEY_TIME, offsetof(line, rules.pin_log_after_us), false, NULL },              \
	{ "pin_application_names", KEY_STRING, offsetof(line, rules.pin_application_names), false, NULL }
#define STATE_KEY(line, name, kind, words) { name, KEY_WORD, offsetof(line, rules.action[RULE_##kind]), false, words }

#define DATABASE(name, type, field, zero) { name, type, offsetof(struct config_database, field), zero, NULL }
static const struct line_key database_keys[] = {
	DATABASE("dbname", KEY_STRING, dbname, false),
	DATABASE("host", KEY_STRING, host, false),
	DATABASE("port", KEY_PORT, port, false),
	DATABASE("user", KEY_STRING, user, false),
	DATABASE("password", KEY_STRING, password, false),
	DATABASE("auth_user", KEY_STRING, auth_user, false),
	DATABASE("auth_query", KEY_STRING, auth_query, false),
	DATABASE("auth_dbname", KEY_STRING, auth_dbname, false),
	DATABASE("connect_query", KEY_STRING, connect_query, false),
	DATABASE("client_encoding", KEY_STRING, client_encoding, false),
	DATABASE("datestyle", KEY_STRING, datestyle, false),
	DATABASE("timezone", KEY_STRING, timezone, false),
	DATABASE("application_name", KEY_STRING, application_name, false),
	DATABASE("pool_size", KEY_COUNT, pool_size, false),
	DATABASE("min_pool_size", KEY_COUNT, min_pool_size, false),
	DATABASE("reserve_pool_size", KEY_COUNT, reserve_pool_size, false),
	DATABASE("reserve_pool", KEY_COUNT, reserve_pool_size, false),
	DATABASE("max_db_connections", KEY_COUNT, max_db_connections, true),
	DATABASE("max_db_client_connections", KEY_COUNT, max_db_client_connections, false),
	DATABASE("server_lifetime", KEY_TIME, server_lifetime_us, true),
	DATABASE("query_wait_timeout", KEY_TIME, query_wait_timeout_us, false),
	DATABASE("pool_mode", KEY_MODE, pool_mode, false),
	DATABASE("load_balance_hosts", KEY_BALANCE, load_balance, false),
	RULE_KEYS(struct config_database),
	DATABASE("pin_users", KEY_STRING, rules.pin_users, false),
};

#define USER(name, type, field, zero) { name, type, offsetof(struct config_user, field), zero, NULL }
static const struct line_key user_keys[] = {
	USER("pool_mode", KEY_MODE, pool_mode, false),
	USER("pool_size", KEY_COUNT, pool_size, true),
	USER("reserve_pool_size", KEY_COUNT, reserve_pool_size, true),
	USER("max_user_connections", KEY_COUNT, max_user_connections, true),
	USER("max_user_client_connections", KEY_COUNT, max_user_client_connections, true),
	USER("query_timeout", KEY_TIME, query_timeout_us, true),
	USER("query_wait_timeout", KEY_TIME, query_wait_timeout_us, false),
	USER("idle_transaction_timeout", KEY_TIME, idle_transaction_timeout_us, true),
	USER("transaction_timeout", KEY_TIME, transaction_timeout_us, true),
	USER("client_idle_timeout", KEY_TIME, client_idle_timeout_us, true),
	RULE_KEYS(struct config_user),
};

enum { N_DATABASE_KEYS = sizeof database_keys / sizeof *database_keys, N_USER_KEYS = sizeof user_keys / sizeof *user_keys };

static const struct config_word balance_words[] = {
	{ "round-robin", true, NULL },
	{ "disable", false, NULL },
	{ NULL, 0, NULL },
};

static bool is_text(const struct line_key *k)
{
	return k->type == KEY_STRING || k->type == KEY_FUNCTIONS;
}

static bool set_key(void *to, const struct line_key *k, const char *value, struct config_why *why)
{
	void *field = (char *)to + k->at;
	int number;

	switch (k->type) {
	case KEY_WORD:
		return config_read_word(k->name, value, k->words, field, why);
	case KEY_FUNCTIONS:
		if (!config_functions_check(k->name, value, why))
			return false;
		/* fall through */
	case KEY_STRING:
		config_wipe_free(*(char **)field);
		*(char **)field = *value ? config_strdup(value) : NULL;
		return true;
	case KEY_PORT:
		return config_read_int(k->name, value, 1, 65535, field, why);
	case KEY_COUNT:
		if (!config_read_int(k->name, value, -1, INT_MAX, field, why))
			return false;
		if (k->zero_inherits && !*(int *)field)
			*(int *)field = -1;
		return true;
	case KEY_TIME:
		if (!config_read_time(k->name, value, -1, field, why))
			return false;
		if (*(int64_t *)field < 0 || (k->zero_inherits && !*(int64_t *)field))
			*(int64_t *)field = -1;
		return true;
	case KEY_MODE:
		return config_read_word(k->name, value, pool_mode_words, field, why);
	case KEY_BALANCE:
		if (!config_read_word(k->name, value, balance_words, &number, why))
			return false;
		*(bool *)field = number;
		return true;
	}
	abort();
}

static const struct line_key *find_key(const struct line_key *keys, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

/* kind: "database" or "user", for messages, which name keys but never a line's text: it may hold a password. */
static bool read_pairs(void *to, const char *kind, const char *name, const struct line_key *keys, size_t n, char *text,
		       struct config_why *why)
{
	const struct line_key *k;
	const char *near;
	struct config_why inner;
	char *key, *value;
	int r;

	while ((r = ini_pairs(&text, &key, &value)) > 0) {
		k = find_key(keys, n, key);
		if (!k) {
			near = config_nearest(key, keys, n, sizeof *keys);
			return config_say(why, "%s %.100s: \"%.100s\" is no key of a %s line%s%s", kind, name, key, kind,
					  near ? "; did you mean " : "", near ? near : "");
		}
		if (!set_key(to, k, value, &inner))
			return config_say(why, "%s %.64s: %.400s", kind, name, inner.text);
	}
	if (r < 0)
		return config_say(why, "syntax error in %s %.100s; write key=value pairs with blanks between, values with blanks as 'a b', "
				       "quotes inside doubled", kind, name);
	return true;
}

bool config_reserved_name(const char *name)
{
	return !strcmp(name, "pgbouncer") || !strcmp(name, "pgporter");
}

static void free_keys(void *of, const struct line_key *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_text(&keys[i]))
			config_wipe_free(*(char **)((char *)of + keys[i].at));
}

static void free_database(struct config_database *d)
{
	free_keys(d, database_keys, N_DATABASE_KEYS);
	config_functions_free(&d->rules.touching);
	config_functions_free(&d->rules.stateless);
	free(d->name);
	free(d);
}

static void free_user(struct config_user *u)
{
	free_keys(u, user_keys, N_USER_KEYS);
	config_functions_free(&u->rules.touching);
	config_functions_free(&u->rules.stateless);
	free(u->name);
	free(u);
}

static struct config_database *new_database(const char *name)
{
	struct config_database *d = config_alloc(sizeof *d);

	d->name = config_strdup(name);
	d->port = 5432;
	d->pool_size = d->min_pool_size = d->reserve_pool_size = d->max_db_connections = d->max_db_client_connections = -1;
	d->server_lifetime_us = d->query_wait_timeout_us = -1;
	d->pool_mode = POOL_MODE_INHERIT;
	d->load_balance = true;
	config_rules_init(&d->rules);
	return d;
}

bool config_database_line(struct config *c, const char *name, char *text, struct config_why *why)
{
	struct config_database **at = &c->databases, *d, *old;

	if (config_reserved_name(name))
		return config_say(why, "database %s is the console; give this one another name", name);
	d = new_database(name);
	if (!read_pairs(d, "database", name, database_keys, N_DATABASE_KEYS, text, why)) {
		free_database(d);
		return false;
	}
	if (d->auth_dbname && config_reserved_name(d->auth_dbname)) {
		config_say(why, "database %.100s: auth_dbname=%s is the console; write the name of a database", name, d->auth_dbname);
		free_database(d);
		return false;
	}
	while (*at && strcmp((*at)->name, name))
		at = &(*at)->next;
	old = *at;
	if (old) {
		d->next = old->next;
		free_database(old);
	}
	*at = d;
	return true;
}

static struct config_user *new_user(const char *name)
{
	struct config_user *u = config_alloc(sizeof *u);

	u->name = config_strdup(name);
	u->pool_mode = POOL_MODE_INHERIT;
	u->pool_size = u->reserve_pool_size = u->max_user_connections = u->max_user_client_connections = -1;
	u->query_timeout_us = u->query_wait_timeout_us = u->idle_transaction_timeout_us = -1;
	u->transaction_timeout_us = u->client_idle_timeout_us = -1;
	config_rules_init(&u->rules);
	return u;
}

bool config_user_line(struct config *c, const char *name, char *text, struct config_why *why)
{
	struct config_user **at = &c->users, *u = new_user(name), *old;

	if (!read_pairs(u, "user", name, user_keys, N_USER_KEYS, text, why)) {
		free_user(u);
		return false;
	}
	while (*at && strcmp((*at)->name, name))
		at = &(*at)->next;
	old = *at;
	if (old) {
		u->next = old->next;
		free_user(old);
	}
	*at = u;
	return true;
}

/* Texts of a line that was copied as it stands become its own; the lists of functions are made anew from them. */
static void own_texts(void *line, struct config_rules *rules, const struct line_key *keys, size_t n)
{
	rules->touching = rules->stateless = (struct rule_functions){ 0 };
	for (const struct line_key *k = keys; k < keys + n; k++)
		if (is_text(k))
			*(char **)((char *)line + k->at) = config_strdup(*(char **)((char *)line + k->at));
}

void config_lists_copy(struct config *to, const struct config *from)
{
	struct config_database **d_at = &to->databases;
	struct config_user **u_at = &to->users;

	for (const struct config_database *d = from->databases; d; d = d->next) {
		struct config_database *copy = config_alloc(sizeof *copy);

		*copy = *d;
		copy->name = config_strdup(d->name);
		copy->next = NULL;
		own_texts(copy, &copy->rules, database_keys, N_DATABASE_KEYS);
		*d_at = copy;
		d_at = &copy->next;
	}
	for (const struct config_user *u = from->users; u; u = u->next) {
		struct config_user *copy = config_alloc(sizeof *copy);

		*copy = *u;
		copy->name = config_strdup(u->name);
		copy->next = NULL;
		own_texts(copy, &copy->rules, user_keys, N_USER_KEYS);
		*u_at = copy;
		u_at = &copy->next;
	}
}

void config_lists_free(struct config *c)
{
	while (c->databases) {
		struct config_database *d = c->databases;

		c->databases = d->next;
		free_database(d);
	}
	while (c->users) {
		struct config_user *u = c->users;

		c->users = u->next;
		free_user(u);
	}
}

const struct config_database *config_find_database(const struct config *c, const char *name)
{
	const struct config_database *d = c->databases;

	while (d && strcmp(d->name, name))
		d = d->next;
	return d;
}

const struct config_user *config_find_user(const struct config *c, const char *name)
{
	const struct config_user *u = c->users;

	while (u && strcmp(u->name, name))
		u = u->next;
	return u;
}

bool config_list_has(const char *list, const char *word)
{
	static const char between[] = ", \t\r\n";
	size_t len = strlen(word);

	while (len && *list) {
		size_t n = strcspn(list, between);

		if (n == len && !memcmp(list, word, n))
			return true;
		list += n;
		list += strspn(list, between);
	}
	return false;
}
