/* server/config.h — the configuration as read from a pgbouncer.ini: one immutable value, replaced whole by RELOAD.
 *
 * Every option is one row of server/options.inc, from which the fields below, the parser, SHOW CONFIG, `make check`'s
 * comparison with the documentation and the messages come. A row that has no effect so far and guards nothing is
 * accepted and told once at load; one that guards or limits something and isn't done refuses the start when set to
 * anything but its default. */
#ifndef PGPORTER_SERVER_CONFIG_H
#define PGPORTER_SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/exchange.h"
#include "server/tls.h"
#include "state/rules.h"

enum pool_mode { POOL_SESSION, POOL_TRANSACTION, POOL_STATEMENT, POOL_MODE_INHERIT = -1 };

/* What a line of [databases] or [users] says about session state and pins; -1, NULL, RULE_DEFAULT, PRESET_INHERIT: inherit. */
struct config_rules {
	int preset;		/* enum rule_preset */
	int action[RULE_KINDS]; /* enum rule_action */
	int max_pins, pin_pool_size;
	int64_t pin_idle_timeout_us, pin_max_age_us, pin_log_after_us;
	char *pin_users, *pin_application_names; /* parted by commas */
	char *state_functions, *stateless_functions; /* as written… */
	struct rule_functions touching, stateless; /* …and read */
};

/* Linked into lists and looked up by name; all strings belong to the config. -1 (or NULL) means: inherit. */
struct config_database {
	char *name; /* "*" for the fallback */
	char *dbname; /* NULL: the name the client asked for */
	char *host;   /* NULL: unix socket in unix_socket_dir; a comma list; '/dir' */
	int port;
	char *user, *password; /* forced server user */
	char *auth_user, *auth_query, *auth_dbname;
	char *connect_query;
	char *client_encoding, *datestyle, *timezone, *application_name;
	int pool_size, min_pool_size, reserve_pool_size, max_db_connections, max_db_client_connections;
	int64_t server_lifetime_us, query_wait_timeout_us; /* -1: inherit */
	int pool_mode;
	bool load_balance; /* load_balance_hosts: round-robin (default) or disable */
	struct config_rules rules;
	struct config_database *next;
};

struct config_user { /* a line of [users] */
	char *name;
	int pool_mode, pool_size, reserve_pool_size, max_user_connections, max_user_client_connections; /* -1: inherit */
	int64_t query_timeout_us, query_wait_timeout_us, idle_transaction_timeout_us, transaction_timeout_us, client_idle_timeout_us;
	struct config_rules rules; /* without pin_users */
	struct config_user *next;
};

struct config_secret { /* a line of auth_file */
	char *user, *text;
};

struct config {
	char *path;		   /* of the file given on the command line */
	struct config_database *databases; /* in file order */
	struct config_user *users;
	struct config_secret *secrets; /* sorted by user */
	size_t n_secrets;
	char **warnings; /* told at load: no effect so far, carried all the same, … */
	size_t n_warnings;
	struct rule_functions touching, stateless; /* state_functions, stateless_functions, read */
	/* Options: one field each, named as in the file; times in microseconds (int64_t name_us), booleans bool, sizes and counts int,
	 * strings char * ("" when empty, never NULL), lists as the string they were written as. */
#define OPTION_STRING(name, ...) char *name;
#define OPTION_LIST(name, ...) char *name;
#define OPTION_INT(name, ...) int name;
#define OPTION_BOOL(name, ...) bool name;
#define OPTION_TIME(name, ...) int64_t name##_us;
#define OPTION_ENUM(name, ...) int name; /* auth_type: enum auth_method; pool_mode: enum pool_mode; *_sslmode: enum sslmode */
#include "server/options.inc"
};

/* Reads the file and what it includes, and its auth_file. Returns NULL with one line of explanation (file:line, what is
 * wrong, what would be right) in why. Nothing is logged here. */
struct config *config_load(const char *path, char *why, size_t why_cap);
/* RELOAD: reads running's conffile, or its path where that is empty. Options that can't change at run time keep running's
 * values, and a warning says so where the file has others. running is left as it was. */
struct config *config_reload(const struct config *running, char *why, size_t why_cap);
void config_free(struct config *c);

const struct config_database *config_find_database(const struct config *c, const char *name); /* exact; NULL: try "*" */
const struct config_user *config_find_user(const struct config *c, const char *name);
const char *config_find_secret(const struct config *c, const char *user); /* auth_file's text or NULL */
bool config_list_has(const char *list, const char *word); /* comma or blank separated, exact match; "*" in admin_users is a name like another */

/* SHOW CONFIG: calls row() for each option in the documented order. */
void config_each(const struct config *c,
		 void (*row)(void *arg, const char *name, const char *value, const char *fallback, bool changeable), void *arg);
/* Console SET: a copy of c with one option changed, or NULL with why. Options that are not changeable at run time are left and `ignored` is set. */
struct config *config_with(const struct config *c, const char *name, const char *value, bool *ignored, char *why, size_t why_cap);

#endif
