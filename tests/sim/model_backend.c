#include "tests/sim/model_sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser/reader.h"
#include "parser/wire.h"

/* How a statement is run. */
struct run {
	bool simple;
	const char *order, *path; /* when it was analysed */
	const char *const *bound;
	size_t n_bound;
	struct model_portal *portal; /* for row limits */
	int max;
};

static void complain(struct model *m, const char *what, const char *text)
{
	if (!*m->complaint)
		snprintf(m->complaint, sizeof m->complaint, "%s: %.200s", what, text);
}

/* ---- settings ---- */

static const char *default_of(enum model_var v)
{
	static const char *kept[VARS];
	static const char *const defaults[VARS] = {
		"\"$user\", public", "UTC", "ISO, MDY", "", "on", "4MB", "0", "read committed", "origin", "none", "app", "", "",
	};

	if (!v && (!kept[0] || model_word(defaults[0]) != kept[0])) /* texts were forgotten */
		for (int i = 0; i < VARS; i++)
			kept[i] = model_word(defaults[i]);
	return kept[v];
}

static const char *reset_value(const struct model *m, enum model_var v)
{
	return m->base[v] ? m->base[v] : default_of(v);
}

static const char *show(const struct model *m, enum model_var v)
{
	const char *value = m->now.local[v] ? m->now.local[v] : m->now.session[v];

	return value ? value : reset_value(m, v);
}

static bool is_custom(int v)
{
	return v >= VAR_APP_X;
}

static bool is_superuser(const struct model *m)
{
	return !strcmp(show(m, VAR_ROLE), "none") ? !strcmp(show(m, VAR_AUTHORIZATION), "app") : !strcmp(show(m, VAR_ROLE), "app");
}

static bool one_of(const char *value, const char *const *list)
{
	while (*list && strcmp(value, *list))
		list++;
	return *list;
}

/* DateStyle has two halves, and what isn't said stays. */
static const char *date_style(const char *value, const char *was)
{
	static const char *const styles[] = { "ISO", "SQL", NULL }, *const orders[] = { "MDY", "DMY", "YMD", NULL };
	char style[8], order[8], copy[64], *at = copy, *part, text[32];

	snprintf(style, sizeof style, "%.*s", (int)strcspn(was, ","), was);
	snprintf(order, sizeof order, "%s", strchr(was, ' ') + 1);
	if (strlen(value) >= sizeof copy)
		return NULL;
	strcpy(copy, value);
	while ((part = strsep(&at, ", "))) {
		if (one_of(part, styles))
			strcpy(style, part);
		else if (one_of(part, orders))
			strcpy(order, part);
		else if (*part)
			return NULL;
	}
	snprintf(text, sizeof text, "%s, %s", style, order);
	return model_word(text);
}

struct spelling {
	const char *given, *canonical;
};

static const char *spelled(const struct spelling *s, const char *value)
{
	for (; s->given; s++)
		if (!strcmp(s->given, value))
			return model_word(s->canonical);
	return NULL;
}

static bool role_exists(const struct model *m, const char *name)
{
	unsigned n = name[0] == 'r' ? (unsigned)strtoul(name + 1, NULL, 10) : MODEL_ROLES;

	if (strlen(name) > 3) /* pgporter's word for a role that is no more */
		n = MODEL_ROLES;
	return !strcmp(name, "app") || (n < MODEL_ROLES && !((m->cluster->roles_gone | m->now.roles_gone) >> n & 1));
}

/* As SHOW will write it; NULL: not a value of that setting. */
static const char *canonical(const struct model *m, enum model_var v, const char *value)
{
	static const struct spelling zones[] = { { "UTC", "UTC" }, { "utc", "UTC" }, { "Europe/Berlin", "Europe/Berlin" }, { "Asia/Tokyo", "Asia/Tokyo" }, { 0 } };
	static const struct spelling memory[] = { { "4MB", "4MB" }, { "4096kB", "4MB" }, { "65536", "64MB" }, { "64MB", "64MB" }, { 0 } };
	static const struct spelling times[] = { { "0", "0" }, { "1000", "1s" }, { "1s", "1s" }, { "1min", "1min" }, { 0 } };
	static const struct spelling switches[] = { { "on", "on" }, { "true", "on" }, { "off", "off" }, { 0 } };
	static const struct spelling levels[] = { { "read committed", "read committed" }, { "serializable", "serializable" }, { "repeatable read", "repeatable read" }, { 0 } };
	static const struct spelling replication[] = { { "origin", "origin" }, { "replica", "replica" }, { "local", "local" }, { 0 } };

	switch (v) {
	case VAR_TIMEZONE:
		return spelled(zones, value);
	case VAR_DATESTYLE:
		return date_style(value, show(m, v));
	case VAR_CONFORMING:
		return spelled(switches, value);
	case VAR_WORK_MEM:
		return spelled(memory, value);
	case VAR_STATEMENT_TIMEOUT:
		return spelled(times, value);
	case VAR_ISOLATION:
		return spelled(levels, value);
	case VAR_REPLICATION:
		return spelled(replication, value);
	case VAR_ROLE:
		return !strcmp(value, "none") || role_exists(m, value) ? value : NULL;
	case VAR_AUTHORIZATION:
		return !strcmp(value, "app") || value[0] == 'u' ? value : NULL;
	default:
		return value;
	}
}

static void tell(struct model *m, const char *name, const char *value)
{
	size_t mark = msg_begin(&m->out, 'S');

	buf_str(&m->out, name);
	buf_str(&m->out, value);
	msg_end(&m->out, mark);
}

static const struct { enum model_var v; const char *name; } reported[] = {
	{ VAR_TIMEZONE, "TimeZone" }, { VAR_DATESTYLE, "DateStyle" }, { VAR_APPLICATION_NAME, "application_name" },
	{ VAR_CONFORMING, "standard_conforming_strings" }, { VAR_AUTHORIZATION, "session_authorization" },
};

static void report(struct model *m)
{
	bool super = is_superuser(m);

	for (size_t i = 0; i < sizeof reported / sizeof *reported; i++) {
		const char *now = show(m, reported[i].v);

		if (now == m->told[reported[i].v])
			continue;
		m->told[reported[i].v] = now;
		tell(m, reported[i].name, now);
	}
	if (super == m->superuser_told)
		return;
	m->superuser_told = super;
	tell(m, "is_superuser", super ? "on" : "off");
}

/* PostgreSQL 13 reports as it goes. */
static void report_at_once(struct model *m)
{
	if (m->cluster->reports_at_once)
		report(m);
}

void model_greet(struct model *m)
{
	memset(m->told, 0, sizeof m->told);
	m->superuser_told = !is_superuser(m);
	report(m);
}

/* ---- transactions ---- */

static void portal_drop(struct model_portal *p)
{
	p->name = NULL;
}

static void portals_after(struct model *m, bool commit)
{
	for (struct model_portal *p = m->portals; p < m->portals + MODEL_PORTALS; p++) {
		if (!p->name || p->held)
			continue;
		if (commit && p->hold)
			p->held = true;
		else
			portal_drop(p);
	}
}

static void transaction_ends(struct model *m, bool commit)
{
	if (!commit)
		m->now = m->at_begin;
	memset(m->now.local, 0, sizeof m->now.local);
	m->now.temps &= ~m->now.temps_dropped_at_commit;
	m->now.temps_dropped_at_commit = 0;
	m->cluster->roles_gone |= m->now.roles_gone;
	m->now.roles_gone = 0;
	m->implicit = m->explicit_ = m->failed = m->doomed = m->snapshot = m->executed = false;
	m->n_saves = 0;
	portals_after(m, commit);
	report_at_once(m);
}

static void transaction_starts(struct model *m)
{
	if (m->implicit || m->explicit_)
		return;
	m->implicit = true;
	m->snapshot = false;
	m->at_begin = m->now;
	m->isolation = show(m, VAR_ISOLATION);
}

static void said(struct model *m, char type, const char *severity, const char *code, const char *fmt, const char *arg)
{
	char text[400];

	snprintf(text, sizeof text, fmt, arg);
	msg_report(&m->out, type, severity, code, text, NULL, NULL);
}

static bool error(struct model *m, const char *code, const char *fmt, const char *arg)
{
	said(m, 'E', "ERROR", code, fmt, arg);
	m->copying = false;
	if (m->explicit_)
		m->failed = true;
	else if (m->implicit)
		transaction_ends(m, false);
	return false;
}

static void warning(struct model *m, const char *code, const char *text)
{
	said(m, 'N', "WARNING", code, "%s", text);
}

/* False: it was rolled back instead, and the error told. */
static bool commits(struct model *m)
{
	if (m->doomed) {
		said(m, 'E', "ERROR", "23503", "%s violates foreign key constraint", "insert or update on table \"deferred\"");
		transaction_ends(m, false);
		return false;
	}
	transaction_ends(m, true);
	return true;
}

static void tag(struct model *m, const char *text)
{
	snprintf(m->tag, sizeof m->tag, "%s", text);
}

/* A value for a setting, for the session or the transaction; NULL: its RESET value. */
static bool set(struct model *m, enum model_var v, const char *value, bool local)
{
	if (is_custom(v))
		m->custom_known |= 1u << v;
	if (v == VAR_REPLICATION && !is_superuser(m))
		return error(m, "42501", "permission denied to set parameter \"%s\"", model_var_name(v));
	if (value) {
		const char *good = canonical(m, v, value);

		if (!good && v == VAR_ROLE)
			return error(m, "22023", "role \"%s\" does not exist", value);
		if (!good)
			return error(m, "22023", "invalid value for parameter \"%s\"", model_var_name(v));
		value = good;
	}
	if (local) {
		m->now.local[v] = value ? value : reset_value(m, v);
	} else {
		m->now.local[v] = NULL;
		m->now.session[v] = value;
	}
	if (v == VAR_AUTHORIZATION)
		m->now.session[VAR_ROLE] = m->now.local[VAR_ROLE] = NULL;
	report_at_once(m);
	return true;
}

static void reset_all(struct model *m)
{
	for (int v = 0; v < VARS; v++)
		if (v != VAR_ROLE && v != VAR_AUTHORIZATION)
			m->now.session[v] = m->now.local[v] = NULL;
	report_at_once(m);
}

static bool set_isolation(struct model *m, const char *level)
{
	if (level != m->isolation && m->n_saves)
		return error(m, "25001", "%s must not be called in a subtransaction", "SET TRANSACTION ISOLATION LEVEL");
	if (level != m->isolation && m->snapshot)
		return error(m, "25001", "%s must be called before any query", "SET TRANSACTION ISOLATION LEVEL");
	m->isolation = level;
	return true;
}

static bool run_begin(struct model *m, const struct model_sql *q)
{
	if (m->explicit_)
		warning(m, "25001", "there is already a transaction in progress");
	m->implicit = false;
	m->explicit_ = true;
	if (q->value && !set_isolation(m, q->value))
		return false;
	tag(m, "BEGIN");
	return true;
}

static bool run_end(struct model *m, const struct model_sql *q)
{
	bool commit = q->op == OP_COMMIT && !m->failed;
	const char *isolation = m->isolation;

	if (!m->explicit_ && q->chain)
		return error(m, "25P01", "%s AND CHAIN can only be used in transaction blocks", q->op == OP_COMMIT ? "COMMIT" : "ROLLBACK");
	if (!m->explicit_)
		warning(m, "25P01", "there is no transaction in progress");
	tag(m, commit ? "COMMIT" : "ROLLBACK");
	if (!commit)
		transaction_ends(m, false);
	else if (!commits(m))
		return false;
	if (q->chain) {
		transaction_starts(m);
		m->implicit = false;
		m->explicit_ = true;
		m->isolation = isolation;
	}
	return true;
}

static bool run_savepoint(struct model *m, const struct model_sql *q)
{
	const char *what = q->op == OP_SAVEPOINT ? "SAVEPOINT" : q->op == OP_RELEASE ? "RELEASE SAVEPOINT" : "ROLLBACK TO SAVEPOINT";
	size_t i = m->n_saves;

	if (!m->explicit_)
		return error(m, "25P01", "%s can only be used in transaction blocks", what);
	if (q->op == OP_SAVEPOINT) {
		if (i == MODEL_SAVES) {
			complain(m, "too many savepoints", q->name);
			return error(m, "54000", "%s", "too many savepoints");
		}
		m->saves[i].name = q->name;
		m->saves[m->n_saves++].state = m->now;
		tag(m, "SAVEPOINT");
		return true;
	}
	while (i && m->saves[i - 1].name != q->name)
		i--;
	if (!i)
		return error(m, "3B001", "savepoint \"%s\" does not exist", q->name);
	m->n_saves = q->op == OP_RELEASE ? i - 1 : i;
	for (struct model_portal *p = m->portals; p < m->portals + MODEL_PORTALS; p++)
		if (p->name && !p->held && p->level >= i) {
			if (q->op == OP_RELEASE)
				p->level = i - 1;
			else
				portal_drop(p);
		}
	if (q->op == OP_RELEASE) {
		tag(m, "RELEASE");
		return true;
	}
	m->now = m->saves[i - 1].state;
	m->failed = false;
	report_at_once(m);
	tag(m, "ROLLBACK");
	return true;
}

/* ---- results ---- */

enum { TYPE_BOOL = 16, TYPE_INT8 = 20, TYPE_INT4 = 23, TYPE_TEXT = 25, TYPE_DATE = 1082, TYPE_VOID = 2278 };

static struct model_stmt *stmt_find(struct model *m, const char *name)
{
	for (struct model_stmt *st = m->stmts; st < m->stmts + MODEL_STMTS; st++)
		if (st->name && st->name == name)
			return st;
	return NULL;
}

static struct model_portal *portal_find(struct model *m, const char *name)
{
	for (struct model_portal *p = m->portals; p < m->portals + MODEL_PORTALS; p++)
		if (p->name && p->name == name)
			return p;
	return NULL;
}

/* The column a statement returns; 0: none. FETCH and EXECUTE by what they name. */
static uint32_t result_of(struct model *m, const struct model_sql *q, const char **name)
{
	const struct model_stmt *st;

	switch (q->op) {
	case OP_VALUE:
	case OP_DIVISION:
		*name = "?column?";
		return TYPE_TEXT;
	case OP_ORDER:
		*name = "date";
		return TYPE_DATE;
	case OP_TABLE:
		*name = "c";
		return !strncmp(show(m, VAR_SEARCH_PATH), "a", 1) ? TYPE_INT4 : TYPE_TEXT;
	case OP_SERIES:
	case OP_FETCH:
		*name = "generate_series";
		return q->op == OP_FETCH && !portal_find(m, q->name) ? 0 : TYPE_INT4;
	case OP_SHOW:
		*name = q->var < 0 ? "transaction_isolation" : model_var_name((enum model_var)q->var);
		return TYPE_TEXT;
	case OP_CURRENT_SETTING:
		*name = "current_setting";
		return TYPE_TEXT;
	case OP_SETTING_OR_NOTHING:
		*name = "nullif";
		return TYPE_TEXT;
	case OP_SET_CONFIG:
		*name = "set_config";
		return TYPE_TEXT;
	case OP_LOCK:
	case OP_LOCK_IN_TRANSACTION:
		*name = "pg_advisory_lock";
		return TYPE_VOID;
	case OP_UNLOCK:
		*name = "pg_advisory_unlock";
		return TYPE_BOOL;
	case OP_UNLOCK_ALL:
		*name = "pg_advisory_unlock_all";
		return TYPE_VOID;
	case OP_MY_LOCKS:
	case OP_TEMP_READ:
		*name = "count";
		return TYPE_INT8;
	case OP_EXECUTE:
		st = stmt_find(m, q->name);
		return st && st->sql ? result_of(m, st->sql, name) : 0;
	default:
		return 0;
	}
}

static uint16_t type_len(uint32_t type)
{
	return type == TYPE_BOOL ? 1 : type == TYPE_INT8 ? 8 : type == TYPE_TEXT ? UINT16_MAX : 4;
}

static void describe(struct model *m, const struct model_sql *q)
{
	const char *name;
	uint32_t type = q ? result_of(m, q, &name) : 0;
	size_t n = q && q->op == OP_SET_CONFIG ? q->n_changes : 1, mark;

	if (!type) {
		msg_add(&m->out, 'n', NULL, 0);
		return;
	}
	mark = msg_begin(&m->out, 'T');
	buf_u16(&m->out, (uint16_t)n);
	while (n--) {
		buf_str(&m->out, name);
		buf_add(&m->out, "\0\0\0\0\0", 6);
		buf_u32(&m->out, type);
		buf_u16(&m->out, type_len(type));
		buf_add(&m->out, "\377\377\377\377\0", 6);
	}
	msg_end(&m->out, mark);
}

static void put_value(struct model *m, const char *value)
{
	buf_u32(&m->out, value ? (uint32_t)strlen(value) : UINT32_MAX);
	if (value)
		buf_text(&m->out, value);
}

static void row(struct model *m, const char *value)
{
	size_t mark = msg_begin(&m->out, 'D');

	buf_u16(&m->out, 1);
	put_value(m, value);
	msg_end(&m->out, mark);
}

static void row_of_number(struct model *m, int n)
{
	char text[16];

	snprintf(text, sizeof text, "%d", n);
	row(m, text);
}

static bool one_row(struct model *m, const struct run *r, const struct model_sql *q, const char *value)
{
	if (r->simple)
		describe(m, q);
	row(m, value);
	tag(m, q->op == OP_SHOW ? "SHOW" : "SELECT 1");
	return true;
}

static bool one_number(struct model *m, const struct run *r, const struct model_sql *q, int n)
{
	char text[16];

	snprintf(text, sizeof text, "%d", n);
	return one_row(m, r, q, text);
}

/* Rows from `at` to `n`, `max` at most (0: all). Returns false where the limit came first. */
static bool series(struct model *m, int *at, int n, int max, int *given)
{
	*given = 0;
	while (*at < n && (!max || *given < max)) {
		++*at;
		++*given;
		row_of_number(m, *at);
	}
	return !max || *given < max;
}

/* ---- statements that name others ---- */

/* Analysed: what its tables and literals mean under the settings of now. */
static bool analyse(struct model *m, struct model_stmt *st, const struct model_sql *q)
{
	const char *path = show(m, VAR_SEARCH_PATH), *name;

	if (q && q->op == OP_TABLE && path[0] != 'a' && path[0] != 'b')
		return error(m, "42P01", "relation \"%s\" does not exist", "t");
	if (q && q->op == OP_TEMP_READ && !(m->now.temps >> q->n & 1))
		return error(m, "42P01", "relation \"%s\" does not exist", "pg_temp.t");
	st->path = path;
	st->order = show(m, VAR_DATESTYLE);
	st->temp_schema = m->now.temp_schema;
	if (!st->type && q && q->op != OP_EXECUTE && q->op != OP_FETCH)
		st->type = result_of(m, q, &name);
	return true;
}

/* plancache.c: another search_path, or none left that it was analysed under. */
static bool revalidate(struct model *m, struct model_stmt *st)
{
	const struct model_sql *q = st->sql;
	const char *name;

	if (q && q->op == OP_TEMP_READ && !(m->now.temps >> q->n & 1))
		return error(m, "42P01", "relation \"%s\" does not exist", "pg_temp.t");
	if (!q || (st->path == show(m, VAR_SEARCH_PATH) && st->temp_schema == m->now.temp_schema))
		return true;
	if (!analyse(m, st, q))
		return false;
	if (q->op == OP_TABLE && result_of(m, q, &name) != st->type) {
		st->path = NULL;
		return error(m, "0A000", "%s must not change result type", "cached plan");
	}
	return true;
}

static struct model_stmt *stmt_put(struct model *m, const char *name, const struct model_text *t, const struct model_sql *q)
{
	for (struct model_stmt *st = m->stmts; st < m->stmts + MODEL_STMTS; st++)
		if (!st->name) {
			*st = (struct model_stmt){ .name = name, .text = t, .sql = q };
			return st;
		}
	complain(m, "too many statements", name);
	return NULL;
}

static void stmts_drop_named(struct model *m)
{
	for (struct model_stmt *st = m->stmts; st < m->stmts + MODEL_STMTS; st++)
		if (st->name && *st->name)
			st->name = NULL;
}

static bool run_prepare(struct model *m, const struct model_sql *q)
{
	struct model_stmt *st, judged = { 0 };

	if (!analyse(m, &judged, q->inner))
		return false;
	if (stmt_find(m, q->name))
		return error(m, "42P05", "prepared statement \"%s\" already exists", q->name);
	st = stmt_put(m, q->name, NULL, q->inner);
	if (!st)
		return error(m, "54000", "%s", "too many statements");
	judged.name = st->name;
	judged.sql = q->inner;
	*st = judged;
	st->from_sql = true;
	tag(m, "PREPARE");
	return true;
}

static bool run_sql(struct model *m, const struct run *r, const struct model_sql *q);

static bool run_execute(struct model *m, const struct run *r, const struct model_sql *q)
{
	struct model_stmt *st = stmt_find(m, q->name);
	struct run inner = *r;

	if (!st || !*q->name)
		return error(m, "26000", "prepared statement \"%s\" does not exist", q->name);
	if (st->text && st->text->n_params)
		return error(m, "42601", "wrong number of parameters for prepared statement \"%s\"", q->name);
	if (!revalidate(m, st))
		return false;
	inner.order = st->order;
	inner.path = st->path;
	if (!st->sql) {
		tag(m, "");
		return true;
	}
	return run_sql(m, &inner, st->sql);
}

static bool run_deallocate(struct model *m, const struct model_sql *q)
{
	struct model_stmt *st = stmt_find(m, q->name);

	if (!st)
		return error(m, "26000", "prepared statement \"%s\" does not exist", q->name);
	st->name = NULL;
	tag(m, "DEALLOCATE");
	return true;
}

/* ---- cursors ---- */

static struct model_portal *portal_put(struct model *m, const char *name)
{
	for (struct model_portal *p = m->portals; p < m->portals + MODEL_PORTALS; p++)
		if (!p->name) {
			memset(p, 0, offsetof(struct model_portal, bound));
			p->at = 0;
			p->cursor = p->hold = p->held = p->done = false;
			p->level = m->n_saves;
			p->name = name;
			return p;
		}
	complain(m, "too many portals", name);
	return NULL;
}

static bool run_declare(struct model *m, const struct model_sql *q)
{
	struct model_portal *p;

	if (!q->hold && !m->explicit_ && !m->several)
		return error(m, "25P01", "%s can only be used in transaction blocks", "DECLARE CURSOR");
	if (portal_find(m, q->name))
		return error(m, "42P03", "cursor \"%s\" already exists", q->name);
	p = portal_put(m, q->name);
	if (!p)
		return error(m, "54000", "%s", "too many portals");
	p->sql = q;
	p->cursor = true;
	p->hold = q->hold;
	tag(m, "DECLARE CURSOR");
	return true;
}

static bool run_fetch(struct model *m, const struct run *r, const struct model_sql *q)
{
	struct model_portal *p = portal_find(m, q->name);
	int given = 0;
	char text[32];

	if (!p || !p->cursor)
		return error(m, "34000", "cursor \"%s\" does not exist", q->name);
	if (q->op == OP_MOVE) {
		given = p->sql->n - p->at < q->n ? p->sql->n - p->at : q->n;
		p->at += given;
	} else {
		if (r->simple)
			describe(m, q);
		series(m, &p->at, p->sql->n, q->n, &given);
	}
	snprintf(text, sizeof text, "%s %d", q->op == OP_MOVE ? "MOVE" : "FETCH", given);
	tag(m, text);
	return true;
}

static bool run_close(struct model *m, const struct model_sql *q)
{
	struct model_portal *p = portal_find(m, q->name);

	if (!p)
		return error(m, "34000", "cursor \"%s\" does not exist", q->name);
	portal_drop(p);
	tag(m, "CLOSE CURSOR");
	return true;
}

static void portals_close_all(struct model *m)
{
	for (struct model_portal *p = m->portals; p < m->portals + MODEL_PORTALS; p++)
		p->name = NULL;
}

/* ---- set_config() ---- */

static bool change(struct model *m, const struct run *r, const struct model_change *c)
{
	int v = c->var;
	const char *value = c->value, *name;

	if (c->name_param) {
		name = c->name_param <= r->n_bound ? r->bound[c->name_param - 1] : NULL;
		v = name ? model_var_of(name) : -1;
		if (v < 0) {
			complain(m, "set_config() of", name ? name : "nothing");
			return error(m, "42704", "unrecognized configuration parameter \"%s\"", "?");
		}
	}
	if (c->value_param)
		value = c->value_param <= r->n_bound ? r->bound[c->value_param - 1] : NULL;
	return set(m, (enum model_var)v, value, c->local);
}

static int var_of_change(const struct run *r, const struct model_change *c)
{
	return c->name_param ? model_var_of(r->bound[c->name_param - 1]) : c->var;
}

static bool run_set_config(struct model *m, const struct run *r, const struct model_sql *q)
{
	size_t mark;

	if (r->simple && q->op == OP_SET_CONFIG)
		describe(m, q);
	for (size_t i = 0; i < q->n_changes; i++)
		if (!change(m, r, &q->changes[i]))
			return false;
	if (q->op == OP_DO) {
		tag(m, "DO");
		return true;
	}
	mark = msg_begin(&m->out, 'D');
	buf_u16(&m->out, (uint16_t)q->n_changes);
	for (size_t i = 0; i < q->n_changes; i++)
		put_value(m, show(m, (enum model_var)var_of_change(r, &q->changes[i])));
	msg_end(&m->out, mark);
	tag(m, "SELECT 1");
	return true;
}

static bool run_setting(struct model *m, const struct run *r, const struct model_sql *q)
{
	bool unknown = is_custom(q->var) && !(m->custom_known >> q->var & 1);
	const char *value = unknown ? NULL : q->var < 0 ? m->isolation : show(m, (enum model_var)q->var);

	if (unknown && q->op == OP_SHOW)
		return error(m, "42704", "unrecognized configuration parameter \"%s\"", model_var_name((enum model_var)q->var));
	if (q->op == OP_SETTING_OR_NOTHING && value && !*value)
		value = NULL;
	return one_row(m, r, q, value);
}

/* ---- the rest ---- */

static int locks_held(const struct model *m)
{
	int n = 0;

	for (int i = 0; i < MODEL_LOCKS; i++)
		n += m->locks[i] > 0;
	return n;
}

static bool run_unlock(struct model *m, const struct run *r, const struct model_sql *q)
{
	int *lock = &m->locks[q->n % MODEL_LOCKS];
	bool had = *lock > 0;

	if (!had && r->simple)
		describe(m, q);
	if (!had) {
		warning(m, "01000", "you don't own a lock of type ExclusiveLock");
		row(m, "f");
		tag(m, "SELECT 1");
		return true;
	}
	--*lock;
	return one_row(m, r, q, "t");
}

static bool run_temp(struct model *m, const struct model_sql *q)
{
	uint32_t bit = 1u << q->n;

	if (m->now.temps & bit)
		return error(m, "42P07", "relation \"%s\" already exists", "t");
	m->now.temps |= bit;
	m->now.temp_schema = true;
	if (q->on_commit_drop)
		m->now.temps_dropped_at_commit |= bit;
	tag(m, "CREATE TABLE");
	return true;
}

static bool run_temp_drop(struct model *m, const struct model_sql *q)
{
	uint32_t bit = 1u << q->n;

	if (!(m->now.temps & bit))
		return error(m, "42P01", "table \"%s\" does not exist", "t");
	m->now.temps &= ~bit;
	m->now.temps_dropped_at_commit &= ~bit;
	tag(m, "DROP TABLE");
	return true;
}

static bool run_drop_role(struct model *m, const struct model_sql *q)
{
	uint32_t bit = 1u << q->n;

	if (!is_superuser(m))
		return error(m, "42501", "permission denied to drop %s", "role");
	if ((m->cluster->roles_gone | m->now.roles_gone) & bit)
		return error(m, "42704", "role \"%s\" does not exist", "r");
	m->now.roles_gone |= bit;
	tag(m, "DROP ROLE");
	return true;
}

static bool run_listen(struct model *m, const struct model_sql *q)
{
	uint32_t bit = q->name ? 1u << (q->name[0] & 15) : 0;

	if (q->op == OP_LISTEN)
		m->now.channels |= bit;
	else if (q->op == OP_UNLISTEN_ALL)
		m->now.channels = 0;
	else if (strcmp(q->name, "pgporter"))
		m->now.channels &= ~bit;
	tag(m, q->op == OP_LISTEN ? "LISTEN" : "UNLISTEN");
	return true;
}

static bool run_copy(struct model *m, const struct run *r, const struct model_sql *q)
{
	if (q->op == OP_COPY_IN) {
		msg_add(&m->out, 'G', "\0\0\0", 3);
		m->copying = true;
		m->copy_simple = r->simple;
		return true;
	}
	msg_add(&m->out, 'H', "\0\0\0", 3);
	msg_add(&m->out, 'd', "1\n", 2);
	msg_add(&m->out, 'd', "2\n", 2);
	msg_add(&m->out, 'c', NULL, 0);
	tag(m, "COPY 2");
	return true;
}

static void plans_forgotten(struct model *m)
{
	for (struct model_stmt *st = m->stmts; st < m->stmts + MODEL_STMTS; st++)
		st->path = NULL;
}

static bool run_discard(struct model *m, const struct model_sql *q)
{
	switch (q->op) {
	case OP_DISCARD_PLANS:
		plans_forgotten(m);
		tag(m, "DISCARD PLANS");
		return true;
	case OP_DISCARD_SEQUENCES:
		tag(m, "DISCARD SEQUENCES");
		return true;
	case OP_DISCARD_TEMP:
		m->now.temps = m->now.temps_dropped_at_commit = 0;
		tag(m, "DISCARD TEMP");
		return true;
	default:
		break;
	}
	if (m->explicit_ || m->several)
		return error(m, "25001", "%s cannot run inside a transaction block", "DISCARD ALL");
	if (m->executed)
		return error(m, "25001", "%s cannot be executed within a pipeline", "DISCARD ALL");
	portals_close_all(m);
	set(m, VAR_AUTHORIZATION, NULL, false);
	reset_all(m);
	stmts_drop_named(m);
	plans_forgotten(m);
	memset(m->locks, 0, sizeof m->locks);
	m->now.channels = 0;
	m->now.temps = m->now.temps_dropped_at_commit = 0;
	tag(m, "DISCARD ALL");
	return true;
}

/* The rows of one of pgporter's questions. */
static void answer(struct model *m, const char *kind, const char *name, const char *value)
{
	size_t mark = msg_begin(&m->out, 'D');

	buf_u16(&m->out, 3);
	put_value(m, kind);
	put_value(m, name);
	put_value(m, value);
	msg_end(&m->out, mark);
}

static void answer_count(struct model *m, const char *kind, int n)
{
	char text[16];

	snprintf(text, sizeof text, "%d", n);
	answer(m, kind, "", text);
}

static int cursors_held(const struct model *m)
{
	int n = 0;

	for (const struct model_portal *p = m->portals; p < m->portals + MODEL_PORTALS; p++)
		n += p->name && p->cursor && p->hold;
	return n;
}

static int prepared_by_sql(const struct model *m)
{
	int n = 0;

	for (const struct model_stmt *st = m->stmts; st < m->stmts + MODEL_STMTS; st++)
		n += st->name && st->from_sql && strncmp(st->name, "pgporter_", 9);
	return n;
}

static void answer_settings(struct model *m)
{
	for (int v = 0; v < VARS; v++)
		if (m->now.session[v] && !is_custom(v) && v != VAR_ROLE && v != VAR_AUTHORIZATION)
			answer(m, "a", model_var_name((enum model_var)v), show(m, (enum model_var)v));
}

static void run_asked(struct model *m, const struct model_sql *q)
{
	for (size_t i = 0; i < q->n_changes; i++) {
		const struct model_change *c = &q->changes[i];

		switch (c->asks) {
		case 'g':
			answer(m, "g", model_var_name((enum model_var)c->var),
			       is_custom(c->var) && !(m->custom_known >> c->var & 1) ? NULL : show(m, (enum model_var)c->var));
			break;
		case 'a':
			answer_settings(m);
			break;
		case 'r':
			answer(m, "g", "role", show(m, VAR_ROLE));
			break;
		case 'l':
			answer_count(m, "l", locks_held(m));
			break;
		case 'c':
			answer_count(m, "c", cursors_held(m));
			break;
		case 'n':
			answer_count(m, "n", __builtin_popcount(m->now.channels));
			break;
		case 'm':
			answer(m, "m", "", m->now.temp_schema ? "16400" : "0");
			break;
		case 't':
			answer_count(m, "t", __builtin_popcount(m->now.temps));
			break;
		case 'f':
			answer_count(m, "t", 0);
			break;
		case 'y':
			answer_count(m, "t", 2 * __builtin_popcount(m->now.temps));
			break;
		case 'p':
			answer_count(m, "p", prepared_by_sql(m));
			break;
		default:
			complain(m, "asked", "?");
		}
	}
	tag(m, "SELECT 1");
}

static bool run_learned(struct model *m, const struct model_sql *q)
{
	size_t mark = msg_begin(&m->out, 'D');

	buf_u16(&m->out, (uint16_t)q->n_changes);
	for (size_t i = 0; i < q->n_changes; i++) {
		int v = q->changes[i].var;

		put_value(m, is_custom(v) && !(m->custom_known >> v & 1) ? NULL : show(m, (enum model_var)v));
	}
	msg_end(&m->out, mark);
	tag(m, "SELECT 1");
	return true;
}

/* PortalRunUtility(): what takes no snapshot, and so leaves SET TRANSACTION possible. */
static bool takes_snapshot(enum model_op op)
{
	switch (op) {
	case OP_BEGIN:
	case OP_COMMIT:
	case OP_ROLLBACK:
	case OP_SAVEPOINT:
	case OP_RELEASE:
	case OP_ROLLBACK_TO:
	case OP_SET:
	case OP_SET_ISOLATION:
	case OP_RESET:
	case OP_RESET_ALL:
	case OP_SHOW:
	case OP_FETCH:
	case OP_MOVE:
	case OP_LISTEN:
	case OP_UNLISTEN:
	case OP_UNLISTEN_ALL:
		return false;
	default:
		return true;
	}
}

static bool run_series(struct model *m, const struct run *r, const struct model_sql *q)
{
	int at = 0, given;
	char text[32];

	if (r->simple)
		describe(m, q);
	if (!series(m, r->portal ? &r->portal->at : &at, q->n, r->max, &given)) {
		*m->tag = 0; /* suspended */
		return true;
	}
	snprintf(text, sizeof text, "SELECT %d", given);
	tag(m, text);
	return true;
}

static bool run_select(struct model *m, const struct run *r, const struct model_sql *q)
{
	char text[64];

	switch (q->op) {
	case OP_VALUE:
		return one_row(m, r, q, q->value ? q->value : r->n_bound ? r->bound[0] : NULL);
	case OP_DIVISION:
		if (r->simple)
			describe(m, q);
		return error(m, "22012", "%s by zero", "division");
	case OP_ORDER:
		snprintf(text, sizeof text, "%s read, %s written", strchr(r->order, ' ') + 1, show(m, VAR_DATESTYLE));
		return one_row(m, r, q, text);
	case OP_TABLE:
		if (r->path[0] != 'a' && r->path[0] != 'b')
			return error(m, "42P01", "relation \"%s\" does not exist", "t");
		return one_row(m, r, q, r->path);
	case OP_SERIES:
		return run_series(m, r, q);
	case OP_SHOW:
	case OP_CURRENT_SETTING:
	case OP_SETTING_OR_NOTHING:
		return run_setting(m, r, q);
	case OP_LOCK:
		m->locks[q->n % MODEL_LOCKS]++;
		return one_row(m, r, q, "");
	case OP_LOCK_IN_TRANSACTION:
		return one_row(m, r, q, "");
	case OP_UNLOCK:
		return run_unlock(m, r, q);
	case OP_UNLOCK_ALL:
		memset(m->locks, 0, sizeof m->locks);
		return one_row(m, r, q, "");
	case OP_MY_LOCKS:
		return one_number(m, r, q, locks_held(m));
	case OP_TEMP_READ:
		if (!(m->now.temps >> q->n & 1))
			return error(m, "42P01", "relation \"%s\" does not exist", "pg_temp.t");
		return one_number(m, r, q, 0);
	default:
		complain(m, "selected", "?");
		return false;
	}
}

static bool run_set(struct model *m, const struct model_sql *q)
{
	if (q->local && !m->explicit_ && !m->several)
		warning(m, "25P01", "SET LOCAL can only be used in transaction blocks");
	if (!set(m, (enum model_var)q->var, q->value, q->local))
		return false;
	tag(m, "SET");
	return true;
}

static bool run_sql(struct model *m, const struct run *r, const struct model_sql *q)
{
	m->statements++;
	if (m->failed && q->op != OP_COMMIT && q->op != OP_ROLLBACK && q->op != OP_ROLLBACK_TO)
		return error(m, "25P02", "current transaction is aborted, commands ignored until end of transaction %s", "block");
	if (takes_snapshot(q->op))
		m->snapshot = true;
	switch (q->op) {
	case OP_BEGIN:
		return run_begin(m, q);
	case OP_COMMIT:
	case OP_ROLLBACK:
		return run_end(m, q);
	case OP_SAVEPOINT:
	case OP_RELEASE:
	case OP_ROLLBACK_TO:
		return run_savepoint(m, q);
	case OP_SET:
		return run_set(m, q);
	case OP_SET_ISOLATION:
		if (!m->explicit_ && !m->several)
			warning(m, "25P01", "SET TRANSACTION can only be used in transaction blocks");
		tag(m, "SET");
		return set_isolation(m, q->value);
	case OP_RESET:
		tag(m, "RESET");
		return set(m, (enum model_var)q->var, NULL, false);
	case OP_RESET_ALL:
		reset_all(m);
		tag(m, "RESET");
		return true;
	case OP_SET_CONFIG:
	case OP_DO:
		return run_set_config(m, r, q);
	case OP_DEFERRED:
		m->doomed = true;
		tag(m, "INSERT 0 1");
		return true;
	case OP_PREPARE:
		return run_prepare(m, q);
	case OP_EXECUTE:
		return run_execute(m, r, q);
	case OP_DEALLOCATE:
		return run_deallocate(m, q);
	case OP_DEALLOCATE_ALL:
		stmts_drop_named(m);
		tag(m, "DEALLOCATE ALL");
		return true;
	case OP_DECLARE:
		return run_declare(m, q);
	case OP_FETCH:
	case OP_MOVE:
		return run_fetch(m, r, q);
	case OP_CLOSE:
		return run_close(m, q);
	case OP_CLOSE_ALL:
		portals_close_all(m);
		tag(m, "CLOSE CURSOR ALL");
		return true;
	case OP_TEMP:
		return run_temp(m, q);
	case OP_TEMP_DROP:
		return run_temp_drop(m, q);
	case OP_DROP_ROLE:
		return run_drop_role(m, q);
	case OP_LISTEN:
	case OP_UNLISTEN:
	case OP_UNLISTEN_ALL:
		return run_listen(m, q);
	case OP_COPY_IN:
	case OP_COPY_OUT:
		return run_copy(m, r, q);
	case OP_DISCARD_ALL:
	case OP_DISCARD_PLANS:
	case OP_DISCARD_SEQUENCES:
	case OP_DISCARD_TEMP:
		return run_discard(m, q);
	case OP_RAISE:
		return error(m, q->value, "%s", q->name);
	case OP_ASKED:
		run_asked(m, q);
		return true;
	case OP_LEARNED:
		return run_learned(m, q);
	case OP_SYNTAX:
	case OP_EMPTY:
		complain(m, "run", "nothing");
		return false;
	default:
		return run_select(m, r, q);
	}
}

/* ---- simple queries ---- */

static void ready(struct model *m)
{
	char status;

	if (m->implicit)
		commits(m);
	m->executed = false;
	status = m->failed ? 'E' : m->explicit_ ? 'T' : 'I';
	report(m);
	msg_add(&m->out, 'Z', &status, 1);
}

static void told_tag(struct model *m)
{
	msg_add(&m->out, 'C', m->tag, strlen(m->tag) + 1);
}

static const struct model_text *text_of(struct model *m, const char *text)
{
	const struct model_text *t = model_read(text);

	if (t->unread)
		complain(m, "not in the model's grammar", text);
	return t;
}

static bool has_syntax_error(const struct model_text *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->statements[i]->op == OP_SYNTAX)
			return true;
	return false;
}

static void run_query(struct model *m, const struct model_text *t)
{
	struct run r = { .simple = true };

	m->several = t->n > 1;
	for (size_t i = 0; i < t->n; i++) {
		transaction_starts(m);
		r.order = show(m, VAR_DATESTYLE);
		r.path = show(m, VAR_SEARCH_PATH);
		if (!run_sql(m, &r, t->statements[i]))
			break;
		if (m->copying) {
			m->several = false;
			return;
		}
		if (i + 1 == t->n && m->implicit && !commits(m))
			break;
		told_tag(m);
	}
	m->several = false;
	ready(m);
}

static void on_query(struct model *m, const char *text)
{
	const struct model_text *t = text_of(m, text);
	struct model_stmt *unnamed = stmt_find(m, model_word(""));

	if (unnamed)
		unnamed->name = NULL;
	if (t->ours && (m->explicit_ || m->implicit))
		complain(m, "asked in a transaction", text);
	if (t->unread || has_syntax_error(t)) {
		transaction_starts(m);
		error(m, "42601", "%s", "syntax error");
		ready(m);
		return;
	}
	if (!t->n)
		msg_add(&m->out, 'I', NULL, 0);
	run_query(m, t);
}

/* ---- extended ---- */

static bool ends_transaction(const struct model_sql *q)
{
	return q && (q->op == OP_COMMIT || q->op == OP_ROLLBACK || q->op == OP_ROLLBACK_TO);
}

static bool refused(struct model *m)
{
	return error(m, "25P02", "current transaction is aborted, commands ignored until end of transaction %s", "block");
}

static bool on_parse(struct model *m, struct reader *r)
{
	const char *name = reader_str(r, NULL), *text = reader_str(r, NULL);
	const struct model_text *t;
	const struct model_sql *q;
	struct model_stmt *st, judged = { 0 };

	if (!text)
		abort();
	t = text_of(m, text);
	q = t->n ? t->statements[0] : NULL;
	name = model_word(name);
	st = stmt_find(m, name);
	if (!*name && st)
		st->name = NULL;
	transaction_starts(m);
	if (t->unread || has_syntax_error(t))
		return error(m, "42601", "%s", "syntax error");
	if (t->n > 1)
		return error(m, "42601", "cannot insert multiple commands into a %s", "prepared statement");
	if (m->failed && q && !ends_transaction(q))
		return refused(m);
	if (!analyse(m, &judged, q))
		return false;
	if (q && takes_snapshot(q->op) && judged.type)
		m->snapshot = true;
	if (*name && st)
		return error(m, "42P05", "prepared statement \"%s\" already exists", name);
	st = stmt_put(m, name, t, q);
	if (!st)
		return error(m, "54000", "%s", "too many statements");
	st->path = judged.path;
	st->order = judged.order;
	st->type = judged.type;
	st->temp_schema = judged.temp_schema;
	msg_add(&m->out, '1', NULL, 0);
	return true;
}

static bool no_stmt(struct model *m, const char *name)
{
	return error(m, "26000", *name ? "prepared statement \"%s\" does not exist" : "unnamed prepared statement does not exist%s", name);
}

static void read_bound(struct model_portal *p, struct reader *r)
{
	uint16_t n = reader_u16(r);

	reader_bytes(r, 2 * (size_t)n);
	n = reader_u16(r);
	for (p->n_bound = 0; p->n_bound < n && p->n_bound < MODEL_BOUND;) {
		uint32_t len = reader_u32(r);
		const uint8_t *bytes = len == UINT32_MAX ? NULL : reader_bytes(r, len);

		p->bound[p->n_bound++] = bytes ? model_intern((const char *)bytes, len) : NULL;
	}
	if (r->bad || p->n_bound < n)
		abort();
}

static bool on_bind(struct model *m, struct reader *r)
{
	const char *portal = reader_str(r, NULL), *name = reader_str(r, NULL);
	struct model_portal *p;
	struct model_stmt *st;

	if (!name)
		abort();
	portal = model_word(portal);
	name = model_word(name);
	st = stmt_find(m, name);
	transaction_starts(m);
	if (!st)
		return no_stmt(m, name);
	if (m->failed && (!ends_transaction(st->sql) || st->text->n_params))
		return refused(m);
	p = portal_find(m, portal);
	if (p && *portal)
		return error(m, "42P03", "cursor \"%s\" already exists", portal);
	if (!revalidate(m, st))
		return false;
	if (p)
		portal_drop(p);
	p = portal_put(m, portal);
	if (!p)
		return error(m, "54000", "%s", "too many portals");
	if (st->sql && takes_snapshot(st->sql->op))
		m->snapshot = true;
	p->text = st->text;
	p->sql = st->sql;
	p->order = st->order;
	p->path = st->path;
	read_bound(p, r);
	if (p->n_bound != (st->text ? st->text->n_params : 0)) {
		portal_drop(p);
		return error(m, "08P01", "bind message does not fit prepared statement \"%s\"", name);
	}
	msg_add(&m->out, '2', NULL, 0);
	return true;
}

static bool on_describe(struct model *m, struct reader *r)
{
	char what = (char)reader_u8(r);
	const char *name = model_word(reader_str(r, NULL)), *column;
	struct model_stmt *st = what == 'S' ? stmt_find(m, name) : NULL;
	struct model_portal *p = what == 'P' ? portal_find(m, name) : NULL;
	const struct model_sql *q = st ? st->sql : p ? p->sql : NULL;

	transaction_starts(m);
	if (what == 'S' && !st)
		return no_stmt(m, name);
	if (!st && !p)
		return error(m, "34000", "portal \"%s\" does not exist", name);
	if (m->failed && q && (result_of(m, q, &column) || (p && p->cursor)))
		return refused(m);
	if (st && !m->failed && !revalidate(m, st))
		return false;
	if (st) {
		size_t mark = msg_begin(&m->out, 't');

		buf_u16(&m->out, st->text ? (uint16_t)st->text->n_params : 0);
		for (size_t i = 0; st->text && i < st->text->n_params; i++)
			buf_u32(&m->out, TYPE_TEXT);
		msg_end(&m->out, mark);
	}
	describe(m, p && p->cursor ? &(struct model_sql){ .op = OP_SERIES } : q);
	return true;
}

static bool run_portal(struct model *m, struct model_portal *p, int max)
{
	struct run r = { .order = p->order, .path = p->path, .bound = p->bound, .n_bound = p->n_bound, .portal = p, .max = max };
	bool rows = p->sql->op == OP_SERIES || p->cursor;
	struct model_portal held;

	if (p->done && !rows && p->sql->op != OP_FETCH) {
		const char *column;

		if (!result_of(m, p->sql, &column) || p->sql->op == OP_SHOW || p->sql->op == OP_EXECUTE)
			return error(m, "55000", "portal \"%s\" cannot be run", p->name);
		tag(m, "SELECT 0");
		told_tag(m);
		return true;
	}
	p->done = true;
	held = *p; /* while it runs nothing takes it away */
	if (!rows)
		p->name = NULL;
	if (!(p->cursor ? run_series(m, &r, p->sql) : run_sql(m, &r, p->sql)))
		return false;
	if (held.sql->op == OP_DISCARD_ALL) /* XACT_FLAGS_NEEDIMMEDIATECOMMIT */
		transaction_ends(m, true);
	if (!rows && (m->explicit_ || m->implicit) && !ends_transaction(held.sql) && !portal_find(m, held.name)) {
		size_t level = held.level;

		*p = held;
		p->level = level;
	}
	if (m->copying)
		return true;
	if (rows && !*m->tag)
		msg_add(&m->out, 's', NULL, 0);
	else
		told_tag(m);
	return true;
}

static bool on_execute(struct model *m, struct reader *r)
{
	const char *name = model_word(reader_str(r, NULL));
	int max = (int)reader_u32(r);
	struct model_portal *p = portal_find(m, name);

	transaction_starts(m);
	if (!p)
		return error(m, "34000", "portal \"%s\" does not exist", name);
	if (!p->sql) {
		msg_add(&m->out, 'I', NULL, 0);
		return true;
	}
	if (m->failed && !ends_transaction(p->sql))
		return refused(m);
	if (!run_portal(m, p, max))
		return false;
	m->executed = m->implicit; /* XACT_FLAGS_PIPELINING */
	return true;
}

static bool on_close(struct model *m, struct reader *r)
{
	char what = (char)reader_u8(r);
	const char *name = model_word(reader_str(r, NULL));
	struct model_stmt *st = what == 'S' ? stmt_find(m, name) : NULL;
	struct model_portal *p = what == 'P' ? portal_find(m, name) : NULL;

	transaction_starts(m);
	if (st)
		st->name = NULL;
	if (p)
		portal_drop(p);
	msg_add(&m->out, '3', NULL, 0);
	return true;
}

static void on_copy_message(struct model *m, char type)
{
	bool good = type == 'c';

	if (type == 'd' || type == 'S' || type == 'H')
		return;
	m->copying = false;
	if (good && m->copy_simple && m->implicit)
		good = commits(m);
	if (good) {
		tag(m, "COPY 1");
		told_tag(m);
		m->executed = true;
	} else if (type != 'c') {
		error(m, type == 'f' ? "57014" : "08P01", type == 'f' ? "COPY from stdin failed%s" : "unexpected message type%s", "");
		m->skip = !m->copy_simple;
	}
	if (m->copy_simple)
		ready(m);
}

static void on_message(struct model *m, char type, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	bool good = true;

	if (m->copying) {
		on_copy_message(m, type);
		return;
	}
	if (type == 'S') {
		m->skip = false;
		ready(m);
		return;
	}
	if (m->skip || strchr("HdcfX", type))
		return;
	if (m->cancelled) {
		m->cancelled = false;
		error(m, "57014", "canceling statement due to user %s", "request");
		m->skip = type != 'Q';
		if (type == 'Q')
			ready(m);
		return;
	}
	switch (type) {
	case 'Q':
		on_query(m, (const char *)body);
		return;
	case 'P':
		good = on_parse(m, &r);
		break;
	case 'B':
		good = on_bind(m, &r);
		break;
	case 'D':
		good = on_describe(m, &r);
		break;
	case 'E':
		good = on_execute(m, &r);
		break;
	case 'C':
		good = on_close(m, &r);
		break;
	default:
		complain(m, "message of type", (char[]){ type, 0 });
	}
	m->skip = !good;
}

bool model_turn(struct model *m)
{
	struct wire_head head;

	if (wire_head(buf_head(&m->in), buf_len(&m->in), 1u << 30, &head) != WIRE_OK || buf_len(&m->in) < WIRE_HEAD + head.body_len)
		return false;
	on_message(m, head.type, buf_head(&m->in) + WIRE_HEAD, head.body_len);
	buf_consume(&m->in, WIRE_HEAD + head.body_len);
	return true;
}

void model_die(struct model *m)
{
	said(m, 'E', "FATAL", "57P01", "terminating connection due to %s", "administrator command");
}

const char *model_leftover(const struct model *m)
{
	if (m->explicit_ || m->implicit || m->failed)
		return "a transaction";
	if (locks_held(m))
		return "an advisory lock";
	if (cursors_held(m))
		return "a held cursor";
	if (m->now.temps)
		return "a temporary table";
	if (m->now.channels)
		return "a channel listened to";
	if (prepared_by_sql(m))
		return "a client's own prepared statement";
	for (const struct model_stmt *st = m->stmts; st < m->stmts + MODEL_STMTS; st++)
		if (st->name && *st->name && strncmp(st->name, "pgporter_", 9))
			return "a client's own prepared statement";
	return NULL;
}

const char *model_setting(enum model_var v)
{
	return model_var_name(v);
}

bool model_carries(const struct model *m, const char *name, const char *value)
{
	int v = model_var_of(name);

	if (v < 0)
		return false;
	if (!value)
		return show(m, (enum model_var)v) == reset_value(m, (enum model_var)v);
	return show(m, (enum model_var)v) == canonical(m, (enum model_var)v, model_word(value));
}

const char *model_reported(const struct model *m, const char *name)
{
	if (!strcmp(name, "is_superuser"))
		return m->superuser_told ? "on" : "off";
	for (size_t i = 0; i < sizeof reported / sizeof *reported; i++)
		if (!strcmp(reported[i].name, name))
			return m->told[reported[i].v];
	return NULL;
}

bool model_start_with(struct model *m, const char *name, const char *value)
{
	int v = model_var_of(name);

	if (v < 0)
		return false;
	m->base[v] = canonical(m, (enum model_var)v, model_word(value));
	if (is_custom(v))
		m->custom_known |= 1u << v;
	return m->base[v];
}

void model_init(struct model *m, struct model_cluster *cluster)
{
	struct buf in = m->in, out = m->out;

	memset(m, 0, sizeof *m);
	default_of(0);
	m->in = in;
	m->out = out;
	buf_reset(&m->in);
	buf_reset(&m->out);
	m->cluster = cluster;
	m->isolation = default_of(VAR_ISOLATION);
}

void model_release(struct model *m)
{
	buf_release(&m->in);
	buf_release(&m->out);
}
