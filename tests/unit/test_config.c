/* links: server/config_load.c server/config_options.c server/config_lists.c server/config_rules.c server/config_secrets.c server/config_values.c parser/ini.c auth/secret.c auth/scram.c auth/base64.c auth/md5.c -lcrypto */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <unistd.h>

#include "server/config.h"

static char dir[] = "/tmp/pgporter_config_XXXXXX";
static char made[64][128];
static size_t n_made;

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	while (n_made)
		unlink(made[--n_made]);
	return rmdir(dir);
}

/* Writes a file of that name and returns its path. */
static const char *file(const char *name, const char *text)
{
	static char path[128];
	size_t known = 0;
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
	while (known < n_made && strcmp(made[known], path))
		known++;
	if (known == n_made)
		strcpy(made[n_made++], path);
	return path;
}

static char why[1024];

static struct config *load(const char *text)
{
	return config_load(file("a.ini", text), why, sizeof why);
}

static struct config *must_load(const char *text)
{
	struct config *c = load(text);

	if (!c)
		fail_msg("%s", why);
	return c;
}

/* The text is refused, and the explanation begins with file and line and holds `part`. */
static void assert_refused(const char *text, int line, const char *part)
{
	struct config *c = load(text);
	char head[160];

	if (c)
		fail_msg("loaded: %s", text);
	snprintf(head, sizeof head, "%s/a.ini:%d: ", dir, line);
	if (strncmp(why, head, strlen(head)) || !strstr(why, part))
		fail_msg("%s: %s (wanted %s… %s)", text, why, head, part);
}

static bool warned(const struct config *c, const char *part)
{
	for (size_t i = 0; i < c->n_warnings; i++)
		if (strstr(c->warnings[i], part))
			return true;
	return false;
}

static void defaults_are_pgbouncers(void **state)
{
	struct config *c = must_load("");

	assert_int_equal(c->pool_mode, POOL_SESSION);
	assert_int_equal(c->auth_type, AUTH_MD5);
	assert_int_equal(c->default_pool_size, 20);
	assert_int_equal(c->max_packet_size, INT32_MAX);
	assert_int_equal(c->unix_socket_mode, 0777);
	assert_int_equal(c->query_wait_timeout_us, 120000000);
	assert_int_equal(c->server_login_retry_us, -1000000);
	assert_int_equal(c->server_tls_sslmode, SSLMODE_PREFER);
	assert_int_equal(c->client_tls_sslmode, SSLMODE_DISABLE);
	assert_string_equal(c->server_check_query, "<empty>");
	assert_string_equal(c->server_reset_query, "DISCARD ALL");
	assert_string_equal(c->unix_socket_dir, "/tmp");
	assert_string_equal(c->listen_addr, "");
	assert_int_equal(c->state_preset, PRESET_PGPORTER);
	assert_true(c->log_connections);
	assert_int_equal(c->n_warnings, 0);
	assert_null(c->databases);
	assert_null(config_find_secret(c, "anna"));
	config_free(c);
}

static void values_are_read_by_their_types(void **state)
{
	struct config *c = must_load("[pgbouncer]\r\n"
				     "pool_mode = TRANSACTION\r\n"
				     "auth_type=Scram-SHA-256\n"
				     "unix_socket_mode = 0700\n"
				     "default_pool_size = 0x10\n"
				     "server_idle_timeout = 0.25\n"
				     "server_login_retry = 15\n"
				     "syslog = 1\n"
				     "service_name = x\n"
				     "admin_users = a, b\n"
				     "server_check_query =\n"
				     "max_client_conn = 5\n"
				     "max_client_conn = 7\n");

	assert_int_equal(c->pool_mode, POOL_TRANSACTION);
	assert_int_equal(c->auth_type, AUTH_SCRAM);
	assert_int_equal(c->unix_socket_mode, 0700);
	assert_int_equal(c->default_pool_size, 16);
	assert_int_equal(c->server_idle_timeout_us, 250000);
	assert_int_equal(c->server_login_retry_us, 15000000);
	assert_true(c->syslog);
	assert_string_equal(c->job_name, "x");
	assert_string_equal(c->admin_users, "a, b");
	assert_string_equal(c->server_check_query, "");
	assert_int_equal(c->max_client_conn, 7);
	config_free(c);
}

static void what_is_wrong_is_told_with_file_line_and_remedy(void **state)
{
	assert_refused("[pgbouncer]\n\npool_mod = session\n", 3, "did you mean pool_mode");
	assert_refused("[pgbouncer]\nzzzzzz = 1\n", 2, "docs/options.md");
	assert_refused("[pgbouncr]\n", 1, "did you mean [pgbouncer]");
	assert_refused("[zzz]\n", 1, "[databases], [users] and [pgbouncer]");
	assert_refused("pool_mode = session\n", 1, "before any section");
	assert_refused("[pgbouncer]\nconffile\n", 2, "key = value");
	assert_refused("[pgbouncer]\npool_mode = none\n", 2, "session, transaction, statement");
	assert_refused("[pgbouncer]\nlisten_port = 0\n", 2, "from 1 to 65535");
	assert_refused("[pgbouncer]\nlisten_port = 6432x\n", 2, "from 1 to 65535");
	assert_refused("[pgbouncer]\nlisten_port =\n", 2, "whole number");
	assert_refused("[pgbouncer]\nlisten_port = 99999999999999999999\n", 2, "out of range");
	assert_refused("[pgbouncer]\nmin_pool_size = -1\n", 2, "out of range");
	assert_refused("[pgbouncer]\nlog_stats = on\n", 2, "1 or 0");
	assert_refused("[pgbouncer]\nlog_stats = 2\n", 2, "1 or 0");
	assert_refused("[pgbouncer]\nquery_timeout = 5s\n", 2, "without a unit");
	assert_refused("[pgbouncer]\nquery_timeout = -1\n", 2, "out of range");
	assert_refused("[pgbouncer]\nquery_timeout = nan\n", 2, "seconds");
	assert_refused("[pgbouncer]\nquery_timeout = 1e300\n", 2, "out of range");
}

static void what_is_not_done_and_guards_refuses_the_start(void **state)
{
	assert_refused("[pgbouncer]\npeer_id = 1\n", 2, "peers");
	assert_refused("[peers]\n1 = host=a\n", 2, "peers");
	assert_refused("[pgbouncer]\nresolv_conf = /x\n", 2, "/etc/resolv.conf");
	assert_refused("[pgbouncer]\nauth_type = hba\n", 2, "HBA");
	assert_refused("[pgbouncer]\nauth_type = cert\n", 2, "scram-sha-256");
	assert_refused("[pgbouncer]\nauth_type = ldap\n", 2, "LDAP");
	assert_refused("[pgbouncer]\nauth_type = PAM\n", 2, "PAM");
	assert_refused("[pgbouncer]\nauth_dbname = pgbouncer\n", 2, "console");
	config_free(must_load("[pgbouncer]\npeer_id = 0\nresolv_conf =\n[peers]\n"));
}

static void what_is_cosmetic_is_told_once_when_it_is_set(void **state)
{
	struct config *c = must_load("[pgbouncer]\npkt_buf = 8192\ndns_max_ttl = 15.0\nsbuf_loopcnt = 5\nauth_hba_file = /x\n"
				     "track_extra_parameters = IntervalStyle, search_path\nignore_startup_parameters = options,geqo\n");

	assert_true(warned(c, "pkt_buf has no effect"));
	assert_true(warned(c, "auth_hba_file has no effect"));
	assert_true(warned(c, "track_extra_parameters"));
	assert_true(warned(c, "ignore_startup_parameters: options,geqo: carried"));
	assert_int_equal(c->n_warnings, 4);
	config_free(c);
}

static void pgporter_is_a_synonym_and_sections_may_come_again(void **state)
{
	struct config *c = must_load("[databases]\na = host=x\n[pgporter]\nlisten_port=7000\n[databases]\nb = host=y\n[pgbouncer]\nverbose=1\n");

	assert_int_equal(c->listen_port, 7000);
	assert_int_equal(c->verbose, 1);
	assert_non_null(config_find_database(c, "a"));
	assert_non_null(config_find_database(c, "b"));
	config_free(c);
}

static void a_database_line_fills_all_its_keys(void **state)
{
	struct config *c = must_load("[databases]\n"
				     "shop = dbname=s host='a, b' port=6000 user=u password='it''s' auth_user=au auth_query='select $1' auth_dbname=ad "
				     "client_encoding=UTF8 datestyle=ISO timezone=UTC application_name=app pool_size=3 min_pool_size=0 reserve_pool=2 "
				     "max_db_connections=9 max_db_client_connections=8 server_lifetime=60 pool_mode=statement query_wait_timeout=0 "
				     "load_balance_hosts=disable connect_query='set a = ''b'''\n");
	const struct config_database *d = config_find_database(c, "shop");

	assert_string_equal(d->dbname, "s");
	assert_string_equal(d->host, "a, b");
	assert_int_equal(d->port, 6000);
	assert_string_equal(d->user, "u");
	assert_string_equal(d->password, "it's");
	assert_string_equal(d->auth_user, "au");
	assert_string_equal(d->auth_query, "select $1");
	assert_string_equal(d->auth_dbname, "ad");
	assert_string_equal(d->client_encoding, "UTF8");
	assert_string_equal(d->datestyle, "ISO");
	assert_string_equal(d->timezone, "UTC");
	assert_string_equal(d->application_name, "app");
	assert_string_equal(d->connect_query, "set a = 'b'");
	assert_int_equal(d->pool_size, 3);
	assert_int_equal(d->min_pool_size, 0);
	assert_int_equal(d->reserve_pool_size, 2);
	assert_int_equal(d->max_db_connections, 9);
	assert_int_equal(d->max_db_client_connections, 8);
	assert_int_equal(d->server_lifetime_us, 60000000);
	assert_int_equal(d->query_wait_timeout_us, 0);
	assert_int_equal(d->pool_mode, POOL_STATEMENT);
	assert_false(d->load_balance);
	config_free(c);
}

static void a_bare_database_line_inherits_everything(void **state)
{
	struct config *c = must_load("[databases]\n* =\nb = max_db_connections=0 server_lifetime=0\n'my db' = host=x\n");
	const struct config_database *d = config_find_database(c, "*");

	assert_ptr_equal(c->databases, d);
	assert_null(d->dbname);
	assert_null(d->host);
	assert_int_equal(d->port, 5432);
	assert_int_equal(d->pool_size, -1);
	assert_int_equal(d->pool_mode, POOL_MODE_INHERIT);
	assert_int_equal(d->server_lifetime_us, -1);
	assert_int_equal(d->query_wait_timeout_us, -1);
	assert_true(d->load_balance);
	d = config_find_database(c, "b");
	assert_int_equal(d->max_db_connections, -1);
	assert_int_equal(d->server_lifetime_us, -1);
	assert_non_null(config_find_database(c, "my db"));
	assert_null(config_find_database(c, "nothing"));
	config_free(c);
}

static void the_last_line_of_a_name_counts_in_the_place_of_the_first(void **state)
{
	struct config *c = must_load("[databases]\na = host=x pool_size=3\nb = host=y\na = host=z\n[users]\nu = pool_size=1\nu = pool_size=2\n");

	assert_string_equal(c->databases->name, "a");
	assert_string_equal(c->databases->host, "z");
	assert_int_equal(c->databases->pool_size, -1);
	assert_string_equal(c->databases->next->name, "b");
	assert_null(c->databases->next->next);
	assert_int_equal(c->users->pool_size, 2);
	assert_null(c->users->next);
	config_free(c);
}

static void broken_database_and_user_lines_are_refused_without_their_text(void **state)
{
	assert_refused("[databases]\na = hots=x\n", 2, "did you mean host");
	assert_refused("[databases]\na = host=x port=0\n", 2, "from 1 to 65535");
	assert_refused("[databases]\na = pool_mode=no\n", 2, "database a: ");
	assert_refused("[databases]\na = load_balance_hosts=no\n", 2, "round-robin, disable");
	assert_refused("[databases]\npgbouncer = host=x\n", 2, "console");
	assert_refused("[databases]\npgporter = host=x\n", 2, "console");
	assert_refused("[databases]\na = auth_dbname=pgbouncer\n", 2, "console");
	assert_refused("[databases]\na = password=sesame host=\n", 2, "syntax error");
	assert_null(strstr(why, "sesame"));
	assert_refused("[users]\nu = host=x\n", 2, "no key of a user line");
	assert_refused("[users]\nu = pool_size=-2\n", 2, "user u: ");
}

static void rules_for_state_are_read_in_all_three_places(void **state)
{
	struct config *c = must_load("[databases]\na = state_preset=strict state_lock=pin max_pins=3 pin_pool_size=2 pin_idle_timeout=1.5 "
				     "pin_users='x, y' pin_application_names='Flyway by Redgate'\nb =\n"
				     "[users]\nu = state_settings=ignore state_session_state=refuse pin_max_age=0 pin_log_after=4\n"
				     "[pgbouncer]\nstate_preset = pgbouncer\nstate_listen = Refuse\nmax_pins = 9\n");
	const struct config_rules *a = &config_find_database(c, "a")->rules, *b = &config_find_database(c, "b")->rules;
	const struct config_rules *u = &config_find_user(c, "u")->rules;

	assert_int_equal(a->preset, PRESET_STRICT);
	assert_int_equal(a->action[RULE_LOCK], RULE_PIN);
	assert_int_equal(a->action[RULE_TEMP], RULE_DEFAULT);
	assert_int_equal(a->max_pins, 3);
	assert_int_equal(a->pin_pool_size, 2);
	assert_int_equal(a->pin_idle_timeout_us, 1500000);
	assert_string_equal(a->pin_users, "x, y");
	assert_string_equal(a->pin_application_names, "Flyway by Redgate");
	assert_int_equal(b->preset, PRESET_INHERIT);
	assert_int_equal(b->max_pins, -1);
	assert_int_equal(b->pin_idle_timeout_us, -1);
	assert_null(b->pin_users);
	assert_int_equal(u->action[RULE_SETTINGS], RULE_IGNORE);
	assert_int_equal(u->action[RULE_SESSION], RULE_REFUSE);
	assert_int_equal(u->pin_max_age_us, 0);
	assert_int_equal(u->pin_log_after_us, 4000000);
	assert_int_equal(c->state_preset, PRESET_PGBOUNCER);
	assert_int_equal(c->state_listen, RULE_REFUSE);
	assert_int_equal(c->state_lock, RULE_DEFAULT);
	assert_int_equal(c->max_pins, 9);
	config_free(c);
}

static void bad_rules_are_refused_with_what_would_be_right(void **state)
{
	assert_refused("[pgbouncer]\nstate_lock = carry\n", 2, "write pin, refuse or ignore");
	assert_refused("[pgbouncer]\nstate_lock = never\n", 2, "write one of default, pin, refuse, ignore");
	assert_refused("[pgbouncer]\nstate_custom_unset = pin\n", 2, "write carry or ignore");
	assert_refused("[users]\nu = state_functions='f:custom_unset'\n", 2, "is no kind of state");
	assert_refused("[pgbouncer]\nstate_sequence = carry\n", 2, "write pin, refuse or ignore");
	assert_refused("[pgbouncer]\nstate_preset = loose\n", 2, "pgporter, strict, pgbouncer");
	assert_refused("[pgbouncer]\npin_idle_timeout = -1\n", 2, "out of range");
	assert_refused("[databases]\na = state_tmp=pin\n", 2, "did you mean state_temp");
	assert_refused("[users]\nu = pin_users=x\n", 2, "no key of a user line");
}

static void functions_are_read_with_what_they_touch(void **state)
{
	struct config *c = must_load("[databases]\na = state_functions='f:lock'\nb =\n"
				     "[pgbouncer]\nstate_functions = App.Take_Lock : lock + temp ,\"Odd Name\", other:settings,\n"
				     "stateless_functions = app.price, note\n");
	const struct rule_function *f = c->touching.list;
	struct config *d;
	bool ignored;

	assert_int_equal(c->touching.n, 3);
	assert_string_equal(f[0].schema, "app");
	assert_string_equal(f[0].name, "take_lock");
	assert_int_equal(f[0].kinds, 1u << RULE_LOCK | 1u << RULE_TEMP);
	assert_null(f[1].schema);
	assert_string_equal(f[1].name, "Odd Name");
	assert_int_equal(f[1].kinds, 1u << RULE_OPAQUE);
	assert_int_equal(f[2].kinds, 1u << RULE_SETTINGS);
	assert_int_equal(c->stateless.n, 2);
	assert_int_equal(c->stateless.list[0].kinds, 0);
	assert_int_equal(config_find_database(c, "a")->rules.touching.n, 1);
	assert_int_equal(config_find_database(c, "b")->rules.touching.n, 0);
	d = config_with(c, "state_functions", "g", &ignored, why, sizeof why); /* a copy has lists of its own */
	assert_non_null(d);
	assert_null(config_with(c, "state_functions", "g(", &ignored, why, sizeof why));
	config_free(c);
	assert_int_equal(d->touching.n, 1);
	assert_string_equal(config_find_database(d, "a")->rules.touching.list[0].name, "f");
	config_free(d);
	assert_refused("[pgbouncer]\nstate_functions = f(int)\n", 2, "without arguments");
	assert_refused("[pgbouncer]\nstate_functions = f:locks\n", 2, "did you mean lock");
	assert_refused("[pgbouncer]\nstate_functions = f,, g\n", 2, "name is missing");
	assert_refused("[pgbouncer]\nstate_functions = \"f\n", 2, "name is missing");
	assert_refused("[pgbouncer]\nstateless_functions = g:lock\n", 2, "takes names only");
	assert_refused("[databases]\na = state_functions='f g'\n", 2, "parted by commas");
}

static void a_user_line_fills_all_its_keys(void **state)
{
	struct config *c = must_load("[users]\nu = pool_mode=transaction pool_size=1 reserve_pool_size=2 max_user_connections=3 "
				     "max_user_client_connections=4 query_timeout=5 query_wait_timeout=0 idle_transaction_timeout=7 "
				     "transaction_timeout=8 client_idle_timeout=0\n");
	const struct config_user *u = config_find_user(c, "u");

	assert_int_equal(u->pool_mode, POOL_TRANSACTION);
	assert_int_equal(u->pool_size, 1);
	assert_int_equal(u->reserve_pool_size, 2);
	assert_int_equal(u->max_user_connections, 3);
	assert_int_equal(u->max_user_client_connections, 4);
	assert_int_equal(u->query_timeout_us, 5000000);
	assert_int_equal(u->query_wait_timeout_us, 0);
	assert_int_equal(u->idle_transaction_timeout_us, 7000000);
	assert_int_equal(u->transaction_timeout_us, 8000000);
	assert_int_equal(u->client_idle_timeout_us, -1);
	assert_null(config_find_user(c, "v"));
	config_free(c);
}

static void includes_go_on_in_the_section_they_stand_in(void **state)
{
	char text[512];
	struct config *c;

	file("more.ini", "listen_port = 7001\n[databases]\nx = host=a\n");
	snprintf(text, sizeof text, "[pgbouncer]\n%%include %s/more.ini\ny = host=b\n", dir);
	c = must_load(text);
	assert_int_equal(c->listen_port, 7001);
	assert_non_null(config_find_database(c, "x"));
	assert_non_null(config_find_database(c, "y"));
	config_free(c);
}

static void errors_in_an_included_file_name_that_file(void **state)
{
	char text[512], head[160];

	file("more.ini", "\nbroken\n");
	snprintf(text, sizeof text, "[pgbouncer]\n%%include %s/more.ini\n", dir);
	assert_null(load(text));
	snprintf(head, sizeof head, "%s/more.ini:2: ", dir);
	assert_memory_equal(why, head, strlen(head));
	assert_refused("\n%include /nowhere/at/all\n", 2, "/nowhere/at/all can't be read");
}

static void a_file_that_includes_itself_is_refused(void **state)
{
	char text[256];

	snprintf(text, sizeof text, "%%include %s/a.ini\n", dir);
	assert_refused(text, 1, "deeper");
}

static void files_that_are_not_there_or_not_text_are_refused(void **state)
{
	const char *path;
	FILE *f;

	assert_null(config_load("/nowhere/at/all", why, sizeof why));
	assert_non_null(strstr(why, "/nowhere/at/all can't be read"));
	assert_null(config_load("/tmp", why, sizeof why));
	path = file("a.ini", "");
	f = fopen(path, "w");
	assert_non_null(f);
	fwrite("[pgbouncer]\0\n", 1, 13, f);
	fclose(f);
	assert_null(config_load(path, why, sizeof why));
	assert_non_null(strstr(why, "NUL"));
}

static struct config *load_with_secrets(const char *secrets)
{
	char text[256];

	snprintf(text, sizeof text, "[pgbouncer]\nauth_file = %s\n", file("users.txt", secrets));
	return load(text);
}

static void secrets_are_found_and_the_last_of_a_user_counts(void **state)
{
	struct config *c = load_with_secrets("; comment\n\"mona\" \"one\"\n\"anna\" \"two\" more\r\n\n\"mona\" \"three\"\n\"it\"\"s\" \"a\"\"b\"");

	if (!c)
		fail_msg("%s", why);
	assert_int_equal(c->n_secrets, 3);
	assert_string_equal(config_find_secret(c, "mona"), "three");
	assert_string_equal(config_find_secret(c, "anna"), "two");
	assert_string_equal(config_find_secret(c, "it\"s"), "a\"b");
	assert_null(config_find_secret(c, "otto"));
	config_free(c);
}

static void a_missing_auth_file_is_a_warning_and_a_broken_one_an_error(void **state)
{
	struct config *c = must_load("[pgbouncer]\nauth_file = /nowhere/at/all\n");

	assert_true(warned(c, "auth_file /nowhere/at/all"));
	assert_int_equal(c->n_secrets, 0);
	config_free(c);
	assert_null(load_with_secrets("\"anna\" \"one\"\n\"otto\" \"sesame\n"));
	assert_non_null(strstr(why, "users.txt:2: broken line"));
	assert_null(strstr(why, "sesame"));
	c = load_with_secrets("");
	assert_non_null(c);
	assert_int_equal(c->n_secrets, 0);
	config_free(c);
}

static void lists_are_searched_for_whole_words(void **state)
{
	assert_true(config_list_has("a, bb,c d", "a"));
	assert_true(config_list_has("a, bb,c d", "bb"));
	assert_true(config_list_has("a, bb,c d", "d"));
	assert_false(config_list_has("a, bb,c d", "b"));
	assert_false(config_list_has("a, bb,c d", "bbb"));
	assert_false(config_list_has("a, bb,c d", ""));
	assert_false(config_list_has("", "a"));
	assert_false(config_list_has("*", "a"));
	assert_true(config_list_has(" *", "*"));
}

struct shown {
	size_t n;
	char first[64], last[64], mode[32], mode_default[32], retry[32], socket_mode[32], timeout[32];
	bool port_changeable, mode_changeable;
};

static void show(void *arg, const char *name, const char *value, const char *fallback, bool changeable)
{
	struct shown *s = arg;

	snprintf(s->n++ ? s->last : s->first, sizeof s->first, "%s", name);
	if (!strcmp(name, "pool_mode")) {
		snprintf(s->mode, sizeof s->mode, "%s", value);
		snprintf(s->mode_default, sizeof s->mode_default, "%s", fallback);
		s->mode_changeable = changeable;
	}
	if (!strcmp(name, "server_login_retry"))
		snprintf(s->retry, sizeof s->retry, "%s", value);
	if (!strcmp(name, "unix_socket_mode"))
		snprintf(s->socket_mode, sizeof s->socket_mode, "%s", value);
	if (!strcmp(name, "query_timeout"))
		snprintf(s->timeout, sizeof s->timeout, "%s", value);
	if (!strcmp(name, "listen_port"))
		s->port_changeable = changeable;
}

/* Rows of the table, counted. */
enum {
	OPTIONS = 0
#define OPTION_STRING(name, ...) +1
#define OPTION_LIST(name, ...) +1
#define OPTION_INT(name, ...) +1
#define OPTION_BOOL(name, ...) +1
#define OPTION_TIME(name, ...) +1
#define OPTION_ENUM(name, ...) +1
#include "server/options.inc"
};

static void every_option_is_shown_in_order(void **state)
{
	struct config *c = must_load("[pgbouncer]\npool_mode = Transaction\nquery_timeout = 1800.50\n");
	struct shown s = { 0 };

	config_each(c, show, &s);
	assert_int_equal(s.n, OPTIONS);
	assert_string_equal(s.first, "admin_users");
	assert_string_equal(s.last, "pin_application_names");
	assert_string_equal(s.mode, "transaction");
	assert_string_equal(s.mode_default, "session");
	assert_string_equal(s.retry, "-1");
	assert_string_equal(s.socket_mode, "511");
	assert_string_equal(s.timeout, "1800.5");
	assert_false(s.port_changeable);
	assert_true(s.mode_changeable);
	config_free(c);
}

static void a_changed_copy_leaves_the_original_as_it_was(void **state)
{
	struct config *c = load_with_secrets("\"anna\" \"one\"\n"), *d;
	char path[160];
	bool ignored;

	assert_non_null(c);
	d = config_with(c, "pool_mode", "transaction", &ignored, why, sizeof why);
	assert_non_null(d);
	assert_false(ignored);
	assert_int_equal(d->pool_mode, POOL_TRANSACTION);
	assert_int_equal(c->pool_mode, POOL_SESSION);
	assert_string_equal(d->auth_file, c->auth_file);
	config_free(c);
	assert_string_equal(config_find_secret(d, "anna"), "one");
	snprintf(path, sizeof path, "%s", file("others.txt", "\"otto\" \"two\"\n"));
	c = config_with(d, "auth_file", path, &ignored, why, sizeof why);
	assert_non_null(c);
	assert_null(config_find_secret(c, "anna"));
	assert_string_equal(config_find_secret(c, "otto"), "two");
	config_free(c);
	config_free(d);
}

static void a_copy_keeps_databases_and_users(void **state)
{
	struct config *c = must_load("[databases]\na = host=x password=y\nb =\n[users]\nu = pool_size=3\n[pgbouncer]\npkt_buf=8192\n"), *d;
	bool ignored;

	d = config_with(c, "verbose", "2", &ignored, why, sizeof why);
	assert_non_null(d);
	config_free(c);
	assert_string_equal(config_find_database(d, "a")->password, "y");
	assert_ptr_equal(d->databases->next, config_find_database(d, "b"));
	assert_int_equal(config_find_user(d, "u")->pool_size, 3);
	assert_int_equal(d->n_warnings, 1);
	config_free(d);
}

static void changes_that_cannot_be_are_ignored_or_refused(void **state)
{
	struct config *c = must_load(""), *d;
	bool ignored;

	d = config_with(c, "listen_port", "7000", &ignored, why, sizeof why);
	assert_non_null(d);
	assert_true(ignored);
	assert_int_equal(d->listen_port, 6432);
	config_free(d);
	assert_null(config_with(c, "pool_mode", "none", &ignored, why, sizeof why));
	assert_non_null(strstr(why, "session, transaction, statement"));
	assert_null(config_with(c, "peer_id", "3", &ignored, why, sizeof why));
	assert_null(config_with(c, "pool_mod", "x", &ignored, why, sizeof why));
	assert_non_null(strstr(why, "pool_mode"));
	config_free(c);
}

static void a_reload_keeps_what_cannot_change_and_says_so(void **state)
{
	struct config *c = must_load("[pgbouncer]\nlisten_port = 7000\nunix_socket_dir = /run\npool_mode = session\n"), *d;

	file("a.ini", "[pgbouncer]\nlisten_port = 7001\nunix_socket_dir = /run\npool_mode = transaction\n");
	d = config_reload(c, why, sizeof why);
	assert_non_null(d);
	assert_int_equal(d->listen_port, 7000);
	assert_int_equal(d->pool_mode, POOL_TRANSACTION);
	assert_true(warned(d, "listen_port can't change at run time and stays \"7000\""));
	assert_int_equal(d->n_warnings, 1);
	config_free(d);
	file("a.ini", "broken\n");
	assert_null(config_reload(c, why, sizeof why));
	assert_int_equal(c->listen_port, 7000);
	config_free(c);
}

static void a_reload_reads_the_conffile_that_was_named(void **state)
{
	struct config *c = must_load(""), *d, *e;
	char path[160];
	bool ignored;

	snprintf(path, sizeof path, "%s", file("other.ini", "[pgbouncer]\nverbose = 2\n"));
	d = config_with(c, "conffile", path, &ignored, why, sizeof why);
	assert_non_null(d);
	e = config_reload(d, why, sizeof why);
	assert_non_null(e);
	assert_int_equal(e->verbose, 2);
	assert_string_equal(e->path, c->path);
	assert_string_equal(e->conffile, path);
	config_free(c);
	config_free(d);
	config_free(e);
}

/* What a distribution ships: nearly all of it commented out, comments of both widths, sections without a line. */
static void a_distributions_file_loads_unchanged(void **state)
{
	struct config *c = must_load(";;;\n;;; configuration file\n;;;\n\n;; name = connect string\n;;   dbname= host= port=\n[databases]\n\n"
				     ";shop =\n;bardb = host=localhost dbname=bazdb\n; foodb = auth_user=bar\n;* = host=testserver\n\n"
				     ";; User-specific configuration\n[users]\n\n;user1 = pool_mode=transaction\n\n[pgbouncer]\n\n"
				     "logfile = /var/log/postgresql/pgbouncer.log\npidfile = /var/run/postgresql/pgbouncer.pid\n\n"
				     ";; IP address or * which means all IPs\nlisten_addr = localhost\nlisten_port = 6432\n\n"
				     ";unix_socket_dir = /tmp\nunix_socket_dir = /var/run/postgresql\n\n;client_tls_ca_file = <system default>\n\n"
				     "auth_type = md5\nauth_file = /nowhere/userlist.txt\n\n;; a comment that is cut\n; skip the check query.\n"
				     ";conffile\n\n;; Read additional config from other file\n;%include /etc/other.ini\n");

	assert_string_equal(c->listen_addr, "localhost");
	assert_string_equal(c->unix_socket_dir, "/var/run/postgresql");
	assert_string_equal(c->pidfile, "/var/run/postgresql/pgbouncer.pid");
	assert_null(c->databases);
	assert_int_equal(c->n_warnings, 1);
	config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_pgbouncers),
		cmocka_unit_test(values_are_read_by_their_types),
		cmocka_unit_test(what_is_wrong_is_told_with_file_line_and_remedy),
		cmocka_unit_test(what_is_not_done_and_guards_refuses_the_start),
		cmocka_unit_test(what_is_cosmetic_is_told_once_when_it_is_set),
		cmocka_unit_test(pgporter_is_a_synonym_and_sections_may_come_again),
		cmocka_unit_test(a_database_line_fills_all_its_keys),
		cmocka_unit_test(a_bare_database_line_inherits_everything),
		cmocka_unit_test(the_last_line_of_a_name_counts_in_the_place_of_the_first),
		cmocka_unit_test(broken_database_and_user_lines_are_refused_without_their_text),
		cmocka_unit_test(rules_for_state_are_read_in_all_three_places),
		cmocka_unit_test(bad_rules_are_refused_with_what_would_be_right),
		cmocka_unit_test(functions_are_read_with_what_they_touch),
		cmocka_unit_test(a_user_line_fills_all_its_keys),
		cmocka_unit_test(includes_go_on_in_the_section_they_stand_in),
		cmocka_unit_test(errors_in_an_included_file_name_that_file),
		cmocka_unit_test(a_file_that_includes_itself_is_refused),
		cmocka_unit_test(files_that_are_not_there_or_not_text_are_refused),
		cmocka_unit_test(secrets_are_found_and_the_last_of_a_user_counts),
		cmocka_unit_test(a_missing_auth_file_is_a_warning_and_a_broken_one_an_error),
		cmocka_unit_test(lists_are_searched_for_whole_words),
		cmocka_unit_test(every_option_is_shown_in_order),
		cmocka_unit_test(a_changed_copy_leaves_the_original_as_it_was),
		cmocka_unit_test(a_copy_keeps_databases_and_users),
		cmocka_unit_test(changes_that_cannot_be_are_ignored_or_refused),
		cmocka_unit_test(a_reload_keeps_what_cannot_change_and_says_so),
		cmocka_unit_test(a_reload_reads_the_conffile_that_was_named),
		cmocka_unit_test(a_distributions_file_loads_unchanged),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
