/* What PostgreSQL does with settings (guc.c), and what it reports of them. */
#include "tests/sim/model_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *model_default(enum model_var v)
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

const char *model_reset_value(const struct model *m, enum model_var v)
{
	return m->base[v] ? m->base[v] : model_default(v);
}

const char *model_show(const struct model *m, enum model_var v)
{
	const char *value = m->now.local[v] ? m->now.local[v] : m->now.session[v];

	return value ? value : model_reset_value(m, v);
}

bool model_is_custom(int v)
{
	return v >= VAR_APP_X;
}

bool model_is_superuser(const struct model *m)
{
	return !strcmp(model_show(m, VAR_ROLE), "none") ? !strcmp(model_show(m, VAR_AUTHORIZATION), "app") : !strcmp(model_show(m, VAR_ROLE), "app");
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
const char *model_canonical(const struct model *m, enum model_var v, const char *value)
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
		return date_style(value, model_show(m, v));
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

/* Never changed here. */
static const struct { const char *name, *value; } fixed[] = {
	{ "server_encoding", "UTF8" }, { "client_encoding", "UTF8" }, { "in_hot_standby", "off" },
};

void model_report(struct model *m)
{
	bool super = model_is_superuser(m);

	for (size_t i = 0; i < sizeof reported / sizeof *reported; i++) {
		const char *now = model_show(m, reported[i].v);

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
void model_report_at_once(struct model *m)
{
	if (m->cluster->reports_at_once)
		model_report(m);
}

void model_greet(struct model *m)
{
	memset(m->told, 0, sizeof m->told);
	m->superuser_told = !model_is_superuser(m);
	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
		tell(m, fixed[i].name, fixed[i].value);
	model_report(m);
}

const char *model_setting(enum model_var v)
{
	return model_var_name(v);
}

bool model_has_heard_of(const struct model *m, enum model_var v)
{
	return model_is_custom(v) && m->custom_known >> v & 1;
}

bool model_carries(const struct model *m, const char *name, const char *value)
{
	int v = model_var_of(name);

	if (v < 0)
		return false;
	if (!value)
		return model_show(m, (enum model_var)v) == model_reset_value(m, (enum model_var)v);
	return model_show(m, (enum model_var)v) == model_canonical(m, (enum model_var)v, model_word(value));
}

const char *model_reported(const struct model *m, const char *name)
{
	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
		if (!strcmp(fixed[i].name, name))
			return fixed[i].value;
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
	m->base[v] = model_canonical(m, (enum model_var)v, model_word(value));
	if (model_is_custom(v))
		m->custom_known |= 1u << v;
	return m->base[v];
}

/* A value for a setting, for the session or the transaction; NULL: its RESET value. */
bool model_set(struct model *m, enum model_var v, const char *value, bool local)
{
	if (model_is_custom(v))
		m->custom_known |= 1u << v;
	if (v == VAR_REPLICATION && !model_is_superuser(m))
		return model_error(m, "42501", "permission denied to set parameter \"%s\"", model_var_name(v));
	if (value) {
		const char *good = model_canonical(m, v, value);

		if (!good && v == VAR_ROLE)
			return model_error(m, "22023", "role \"%s\" does not exist", value);
		if (!good)
			return model_error(m, "22023", "invalid value for parameter \"%s\"", model_var_name(v));
		value = good;
	}
	if (local) {
		m->now.local[v] = value ? value : model_reset_value(m, v);
	} else {
		m->now.local[v] = NULL;
		m->now.session[v] = value;
	}
	if (v == VAR_AUTHORIZATION)
		m->now.session[VAR_ROLE] = m->now.local[VAR_ROLE] = NULL;
	model_report_at_once(m);
	return true;
}

void model_reset_all(struct model *m)
{
	for (int v = 0; v < VARS; v++)
		if (v != VAR_ROLE && v != VAR_AUTHORIZATION)
			m->now.session[v] = m->now.local[v] = NULL;
	model_report_at_once(m);
}

/* ---- set_config(), SHOW ---- */

static bool change(struct model *m, const struct run *r, const struct model_change *c)
{
	int v = c->var;
	const char *value = c->value, *name;

	if (c->name_param) {
		name = c->name_param <= r->n_bound ? r->bound[c->name_param - 1] : NULL;
		v = name ? model_var_of(name) : -1;
		if (v < 0) {
			model_complain(m, "set_config() of", name ? name : "nothing");
			return model_error(m, "42704", "unrecognized configuration parameter \"%s\"", "?");
		}
	}
	if (c->value_param)
		value = c->value_param <= r->n_bound ? r->bound[c->value_param - 1] : NULL;
	return model_set(m, (enum model_var)v, value, c->local);
}

static int var_of_change(const struct run *r, const struct model_change *c)
{
	return c->name_param ? model_var_of(r->bound[c->name_param - 1]) : c->var;
}

bool model_set_config(struct model *m, const struct run *r, const struct model_sql *q)
{
	size_t mark;

	if (r->simple && q->op == OP_SET_CONFIG)
		model_describe(m, q);
	for (size_t i = 0; i < q->n_changes; i++)
		if (!change(m, r, &q->changes[i]))
			return false;
	if (q->op == OP_DO) {
		model_tag(m, "DO");
		return true;
	}
	mark = msg_begin(&m->out, 'D');
	buf_u16(&m->out, (uint16_t)q->n_changes);
	for (size_t i = 0; i < q->n_changes; i++)
		model_put_value(m, model_show(m, (enum model_var)var_of_change(r, &q->changes[i])));
	msg_end(&m->out, mark);
	model_tag(m, "SELECT 1");
	return true;
}

bool model_show_setting(struct model *m, const struct run *r, const struct model_sql *q)
{
	bool unknown = model_is_custom(q->var) && !(m->custom_known >> q->var & 1);
	const char *value = unknown ? NULL : q->var < 0 ? m->isolation : model_show(m, (enum model_var)q->var);

	if (unknown && q->op == OP_SHOW)
		return model_error(m, "42704", "unrecognized configuration parameter \"%s\"", model_var_name((enum model_var)q->var));
	if (q->op == OP_SETTING_OR_NOTHING && value && !*value)
		value = NULL;
	return model_one_row(m, r, q, value);
}
