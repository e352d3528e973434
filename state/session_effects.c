/* What statements have left behind: taken over when PostgreSQL says they succeeded, kept or rolled back when it says the
 * transaction is over, and asked of it where neither text nor replies can tell. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "parser/reader.h"
#include "state/session_internal.h"

enum { ASKED_ABOUT = TOUCH_CURSOR | TOUCH_LOCK | TOUCH_TEMP | TOUCH_LISTEN | TOUCH_OPAQUE | TOUCH_LISTED | TOUCH_DROP |
		    TOUCH_SETTINGS_UNKNOWN };

bool effects_barrier(const struct effects *e)
{
	if (e->flags & (TOUCH_SETTINGS | TOUCH_SETTINGS_UNKNOWN | TOUCH_LOCAL | TOUCH_COPY_IN | TOUCH_OPAQUE | TOUCH_LISTED |
			TOUCH_DDL))
		return true;
	for (size_t i = 0; i < e->n; i++)
		switch (e->stmts[i].kind) {
		case STMT_PLAIN:
		case STMT_BEGIN:
		case STMT_COMMIT:
		case STMT_ROLLBACK:
		case STMT_SAVEPOINT:
		case STMT_RELEASE:
		case STMT_ROLLBACK_TO:
		case STMT_CLOSE:
		case STMT_CLOSE_ALL:
		case STMT_LISTEN:
		case STMT_UNLISTEN:
		case STMT_UNLISTEN_ALL:
		case STMT_UNLOCK_ALL:
			break;
		default:
			return true;
		}
	return false;
}

/* What may be asked about once the statement was sent: even one that fails may have taken a lock. */
static uint32_t asked_of(const struct effects *e, const struct stmt *target)
{
	uint32_t flags = e->flags;

	for (size_t i = 0; i < e->n; i++)
		if (e->stmts[i].kind == STMT_PREPARE && target && target->from_sql)
			flags |= e->stmts[i].inner_flags;
	return flags & ASKED_ABOUT;
}

/* A plain CREATE makes a temporary object where search_path says so. */
static void temp_by_path(struct session *s)
{
	const char *path = settings_get(s->effective, "search_path");

	if (path && (*path == *VALUE_UNKNOWN || strstr(path, "pg_temp")))
		s->txn.observe |= TOUCH_TEMP;
}

/* In a function or DO, by no statement that could be replaced. */
static bool listens_inside(const struct effects *e)
{
	for (size_t i = 0; i < e->n; i++)
		if (e->stmts[i].flags & TOUCH_LISTEN && e->stmts[i].kind != STMT_LISTEN)
			return true;
	return false;
}

void effects_sent(struct session *s, const struct effects *e, const struct stmt *target, bool executes)
{
	uint32_t left = s->rules->ignore ? rules_kinds(s, e) & s->rules->ignore : 0;
	uint32_t asked = asked_of(e, NULL);

	s->ready = false;
	if (left) {
		s->counters->ignored++;
		s->backend->left |= left;
	}
	if (asked & TOUCH_LISTEN && listen_is_shared(s) && !listens_inside(e)) /* who sends it as it is says so */
		asked &= ~(uint32_t)TOUCH_LISTEN;
	for (const struct stmt *st = executes ? target : NULL; st; st = stmt_executes(st))
		asked |= asked_of(st->effects, st);
	s->txn.observe |= asked;
	if (asked & (TOUCH_OPAQUE | TOUCH_LISTED) & ~rules_ignored_touches(s))
		reset_possible(s);
	if (e->flags & TOUCH_DDL)
		temp_by_path(s);
	for (size_t i = 0; e->flags & TOUCH_COMMITS && i < e->n; i++)
		watch_sent(s, &e->stmts[i]);
}

/* Ends with its transaction whatever SET says, or can't be set. */
static bool setting_not_carried(const char *name)
{
	return !strcmp(name, "transaction_isolation") || !strcmp(name, "transaction_read_only") ||
	       !strcmp(name, "transaction_deferrable") || !strcmp(name, "is_superuser");
}

static void pin(struct session *s, uint32_t reason, uint32_t *events)
{
	if (s->pins & reason)
		return;
	s->counters->pins++;
	s->pins |= reason;
	session_pinned_by(s, s->backend->last_text);
	*events |= EVENT_PINS;
}

/* Changed to what only PostgreSQL knows: a value like no other stands for it, so that nothing parsed now is taken to be
 * the same as anything parsed under other settings. */
static void value_unknown(struct session *s, const char *name)
{
	char value[32];

	snprintf(value, sizeof value, VALUE_UNKNOWN "%llu", (unsigned long long)++s->store->last_serial);
	settings_set(&s->effective, name, value);
}

void effects_unsure(struct session *s)
{
	s->txn.local_unknown = true;
	defaulted_forget(s);
	for (size_t i = 0; s->txn.locals && i < settings_size(s->txn.locals); i++)
		value_unknown(s, settings_name_at(s->txn.locals, i));
	for (size_t i = 0; i < s->txn.n_names; i++)
		value_unknown(s, s->txn.names[i]);
}

static void setting_changed(struct session *s, const struct stmt_effects *row)
{
	const char *name = row->name;

	if (!name || setting_not_carried(name) || rules_ignore_setting(s, name))
		return;
	session_touch(s, name);
	if (!strcmp(name, "session_authorization")) { /* resets the role */
		session_touch(s, "role");
		settings_set(&s->want, "role", NULL);
		settings_set(&s->backend->have, "role", NULL);
	}
	if (!row->value) {
		s->txn.uncertain = true;
		value_unknown(s, name);
		return;
	}
	settings_set(&s->want, name, row->value);
	settings_set(&s->backend->have, name, row->value);
	settings_set(&s->effective, name, row->value);
}

static void setting_reset(struct session *s, const struct stmt_effects *row, enum substitute sub)
{
	const char *base = row->name ? settings_get(s->base, row->name) : NULL;

	if (!row->name || setting_not_carried(row->name))
		return;
	session_touch(s, row->name);
	if (!strcmp(row->name, "idle_session_timeout")) {
		s->idle_session_timeout[0] = 0;
		s->idle_timeout_changed = true;
	}
	if (!strcmp(row->name, "session_authorization")) {
		session_touch(s, "role");
		settings_set(&s->backend->have, "role", NULL);
		settings_set(&s->want, "role", NULL);
		settings_set(&s->effective, "role", NULL);
	}
	settings_set(&s->backend->have, row->name, sub == SUB_RESET || sub == SUB_SET_DEFAULT ? base : NULL);
	settings_set(&s->want, row->name, base);
	settings_set(&s->effective, row->name, base);
}

static void touch_all(struct session *s, const struct settings *set)
{
	for (size_t i = 0; i < settings_size(set); i++)
		session_touch(s, settings_name_at(set, i));
}

static void all_settings_reset(struct session *s, enum substitute sub)
{
	const struct settings *have = settings_retain(s->backend->have), *want = settings_retain(s->want);

	touch_all(s, s->want);
	for (size_t i = 0; i < settings_size(have); i++) {
		const char *name = settings_name_at(have, i);

		if (strcmp(name, "role") && strcmp(name, "session_authorization"))
			settings_set(&s->backend->have, name, NULL);
	}
	session_settings_to_base(s, false);
	if (sub == SUB_RESET_ALL)
		settings_assign(&s->backend->have, s->want);
	defaulted_kept(s, want, have, sub == SUB_RESET_ALL);
	settings_release(have);
	settings_release(want);
}

static void setting_local(struct session *s, const struct stmt_effects *row)
{
	if (row->name)
		session_touch_local(s, row->name);
	if (row->kind == STMT_SET_LOCAL && row->name && row->value)
		settings_set(&s->effective, row->name, row->value);
	else if (row->kind == STMT_RESET_LOCAL && row->name && settings_get(s->base, row->name))
		settings_set(&s->effective, row->name, settings_get(s->base, row->name));
	else if (row->name)
		value_unknown(s, row->name);
}

static void settings_touched(struct session *s, const struct stmt_effects *row, const struct portal *p, uint32_t *events)
{
	for (size_t i = 0; i < row->n_touched; i++) {
		const struct touched_setting *t = &row->touched[i];
		const char *name = t->name;
		char lower[64];

		if (!name && p && t->param > 0 && (size_t)t->param <= p->n_bound)
			name = p->bound[t->param - 1];
		if (!name || strlen(name) >= sizeof lower) {
			s->txn.local_unknown = true;
			if (t->local || rules_ignored_touches(s) & TOUCH_SETTINGS_UNKNOWN)
				continue;
			pin(s, PIN_OPAQUE, events);
			s->backend->spoilt = true;
			continue;
		}
		for (size_t c = 0; c <= strlen(name); c++)
			lower[c] = name[c] >= 'A' && name[c] <= 'Z' ? (char)(name[c] + 32) : name[c];
		if (setting_not_carried(lower) || (!t->local && rules_ignore_setting(s, lower)))
			continue;
		value_unknown(s, lower);
		if (t->local) {
			session_touch_local(s, lower);
			continue;
		}
		session_touch(s, lower);
		s->txn.uncertain = true;
		s->txn.unsure |= !t->surely;
		if (!t->surely && settings_get(s->base, lower)) {
			s->txn.base_unknown = true;
			reset_possible(s);
		}
	}
}

static void discarded_all(struct session *s)
{
	uint64_t unnamed;

	touch_all(s, s->want);
	touch_all(s, s->backend->have);
	unnamed = s->backend->unnamed; /* PostgreSQL leaves it alone */
	backend_wiped(s->backend);
	s->backend->unnamed = unnamed;
	listen_discarded(s);
	session_forget_all(s);
	settings_assign(&s->settings, s->want);
	s->pins &= ~(uint32_t)(PIN_OPAQUE | PIN_SEQUENCE);
	s->sequence.looked = false;
	/* It has committed by itself, and with it whatever was uncertain of what came before. */
	s->txn.uncertain = s->txn.base_unknown = false;
	s->txn.outcome = 0;
}

static void flags_apply(struct session *s, const struct stmt_effects *row, uint32_t flags, const struct portal *p,
			uint32_t *events)
{
	flags &= ~rules_ignored_touches(s);
	if (flags & (TOUCH_SETTINGS | TOUCH_LOCAL))
		settings_touched(s, row, p, events);
	if (flags & TOUCH_SETTINGS_UNKNOWN) {
		pin(s, PIN_OPAQUE, events);
		s->backend->spoilt = true;
	}
	if (flags & TOUCH_OPAQUE) {
		/* What can be asked is asked. A custom setting that no text names can't be: nobody else may get to see it. */
		s->txn.local_unknown = true;
		s->backend->spoilt = true;
		if (s->rules->pin & 1u << RULE_OPAQUE)
			pin(s, PIN_OPAQUE, events);
	}
	if (flags & TOUCH_SESSION) {
		pin(s, PIN_SESSION, events);
		s->backend->spoilt = true;
	}
	if (flags & TOUCH_LISTED)
		s->txn.local_unknown = true;
	if (flags & TOUCH_CATALOGUE)
		watch_defined(s, row);
	if (flags & TOUCH_DDL) {
		++*s->generation;
		temp_by_path(s); /* which may have been set by the same text */
	}
	if (flags & TOUCH_ROLE)
		roles_note(s, row);
	if (flags & TOUCH_ROLE_DEFAULTS)
		s->txn.defaults = true;
}

static void substitute_apply(struct session *s, const struct stmt_effects *row, enum substitute sub)
{
	switch (sub) {
	case SUB_DEALLOCATE:
		names_remove(&s->names, row->name);
		break;
	case SUB_DEALLOCATE_ALL:
		names_clear(&s->names);
		break;
	case SUB_DISCARD_ALL:
		listen_discarded(s);
		session_forget_all(s);
		sequence_given_up(s, true);
		settings_assign(&s->settings, s->want);
		break;
	case SUB_DISCARD_PLANS:
		s->plans = ++s->store->last_serial;
		break;
	default:
		break;
	}
}

/* What was prepared has been executed; all but queries EXPLAIN and CREATE TABLE AS leave alone. */
static void execute_apply(struct session *s, const struct stmt_effects *row, struct stmt *st, uint32_t *events)
{
	const struct effects *e = st->effects;

	if (st->from_sql && e->n) {
		custom_done(s, &e->stmts[0], NULL);
		flags_apply(s, &e->stmts[0], e->stmts[0].inner_flags, NULL, events);
		return;
	}
	for (size_t i = 0; i < e->n; i++)
		if (row->inner_kind == STMT_EXECUTE || e->stmts[i].kind == STMT_PLAIN)
			effects_apply(s, &e->stmts[i], (enum substitute)st->substitute, st->target, NULL, events);
}

void effects_apply(struct session *s, const struct stmt_effects *row, enum substitute sub, struct stmt *target,
		   const struct portal *p, uint32_t *events)
{
	if (sub == SUB_DEALLOCATE || sub == SUB_DEALLOCATE_ALL || sub == SUB_DISCARD_ALL || sub == SUB_DISCARD_PLANS ||
	    sub == SUB_LISTEN || sub == SUB_UNLISTEN) {
		substitute_apply(s, row, sub);
		return;
	}
	if (row->kind == STMT_PREPARE && p && !p->own && target) { /* bound from what SQL has prepared */
		execute_apply(s, row, target, events);
		return;
	}
	if (row->kind != STMT_PREPARE)
		custom_done(s, row, p);
	flags_apply(s, row, row->kind == STMT_PREPARE ? 0 : row->flags, p, events);
	if (s->txn.defaulted || row->kind == STMT_RESET_LOCAL || row->flags & TOUCH_LOCAL)
		defaulted_note(s, row);
	switch (row->kind) {
	case STMT_SET:
		setting_changed(s, row);
		break;
	case STMT_SET_LOCAL:
	case STMT_RESET_LOCAL:
		setting_local(s, row);
		break;
	case STMT_RESET:
		setting_reset(s, row, sub);
		break;
	case STMT_RESET_ALL:
		all_settings_reset(s, sub);
		break;
	case STMT_DISCARD_ALL:
		discarded_all(s);
		break;
	case STMT_DISCARD_SEQUENCES:
		sequence_given_up(s, s->query.effects && s->query.effects->n > 1);
		break;
	case STMT_PREPARE:
		if (target)
			prepare_apply(s, row->name, sub, target, p);
		break;
	case STMT_EXECUTE:
		if (target)
			execute_apply(s, row, target, events);
		break;
	default:
		break;
	}
}

static bool begins(const char *tag, const char *word)
{
	return !strncmp(tag, word, strlen(word));
}

void effects_tag(struct session *s, const char *tag)
{
	char outcome = begins(tag, "COMMIT") ? 'C' : begins(tag, "ROLLBACK") ? 'R' : begins(tag, "PREPARE TRANSACTION") ? 'P' : 0;

	if (!outcome)
		return;
	if (s->txn.outcome || outcome == 'P')
		s->txn.uncertain = true;
	defaulted_forget(s);
	s->txn.outcome = outcome;
	s->txn.ended = true;
}

/* ---- ReadyForQuery in idle ---- */

struct surprise {
	struct session *s;
	bool any;
};

static bool is_touched(const struct session *s, const char *name)
{
	for (size_t i = 0; i < s->txn.n_names; i++)
		if (!strcasecmp(s->txn.names[i], name))
			return true;
	return false;
}

/* RESET or DISCARD has given the client back a startup value that the backend gets with the next statement. */
static bool pending_between(const struct session *s, const struct settings *wanted, const struct settings *had, const char *name)
{
	const char *want = settings_get(wanted, name), *have = settings_get(had, name);

	return !s->txn.uncertain && (want && have ? strcmp(want, have) != 0 : want != have);
}

static bool pending(const struct session *s, const char *name)
{
	return pending_between(s, s->want, s->backend->have, name);
}

static void set_everywhere(struct session *s, const char *name, const char *value)
{
	if (!pending(s, name))
		settings_set(&s->want, name, value);
	settings_set(&s->backend->have, name, value);
}

/* A reported setting that changed though no statement said so: a function did it. */
static void reported_change(void *arg, const char *name, const char *was, const char *now)
{
	static const char *const facts[] = { "is_superuser", "session_authorization", "server_version", "server_encoding",
					     "integer_datetimes", "in_hot_standby" };
	struct session *s = arg;
	char lower[64];
	size_t i;

	for (i = 0; i < sizeof facts / sizeof *facts; i++)
		if (!strcmp(facts[i], name))
			return;
	if (!now || is_touched(s, name) || strlen(name) >= sizeof lower)
		return;
	for (i = 0; name[i]; i++)
		lower[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] + 32) : name[i];
	lower[i] = 0;
	set_everywhere(s, lower, now);
}

/* What PostgreSQL reported is the value; it beats the text. */
static void take_reported(struct session *s)
{
	for (size_t i = 0; i < s->txn.n_names; i++) {
		const char *name = s->txn.names[i], *value;

		if (!strcmp(name, "session_authorization") || !settings_get(s->want, name) || pending(s, name))
			continue;
		value = settings_get_nocase(s->backend->reported, name);
		if (value)
			set_everywhere(s, name, value);
	}
}

static bool all_reported(const struct session *s)
{
	for (size_t i = 0; i < s->txn.n_names; i++)
		if (!strcmp(s->txn.names[i], "session_authorization") ||
		    !settings_get_nocase(s->backend->reported, s->txn.names[i]))
			return false;
	return true;
}

static void roll_back(struct session *s)
{
	settings_assign(&s->want, s->settings);
	settings_assign(&s->backend->have, s->backend->applied);
}

/* Inside a transaction: values that were unknown and have been reported by now. */
void effects_reported(struct session *s)
{
	const struct settings *effective = settings_retain(s->effective);

	for (size_t i = 0; i < settings_size(effective); i++) {
		const char *name = settings_name_at(effective, i), *value;

		if (*settings_value_at(effective, i) != *VALUE_UNKNOWN)
			continue;
		value = settings_get_nocase(s->backend->reported, name);
		if (value && strcmp(name, "session_authorization"))
			settings_set(&s->effective, name, value);
	}
	settings_release(effective);
}

/* A value that only its ParameterStatus tells, in a transaction that otherwise went as the text says. */
static void take_all_reported(struct session *s)
{
	for (size_t i = 0; i < s->txn.n_names; i++)
		set_everywhere(s, s->txn.names[i], settings_get_nocase(s->backend->reported, s->txn.names[i]));
}

/* idle_session_timeout is about the client, whom only the caller can time: an idle backend never has it. */
static void take_idle_timeout(struct session *s)
{
	const char *value = settings_get(s->want, "idle_session_timeout");

	if (!value || !strcmp(value, s->idle_session_timeout))
		return;
	snprintf(s->idle_session_timeout, sizeof s->idle_session_timeout, "%s", value);
	s->idle_timeout_changed = true;
}

static void settled(struct session *s)
{
	take_idle_timeout(s);
	custom_settled(s);
	settings_assign(&s->settings, s->want);
	settings_assign(&s->backend->applied, s->backend->have);
	settings_assign(&s->effective, s->want);
	settings_assign(&s->txn.reported, s->backend->reported);
	session_txn_reset(s);
}

void effects_settle(struct session *s, uint32_t *events)
{
	struct backend *b = s->backend;
	uint32_t observe = s->txn.observe & ~rules_ignored_touches(s);
	bool ask = false;

	watch_settled(s, events);
	if (s->txn.dirty) {
		if (!s->txn.uncertain && (s->txn.outcome == 'R' || (!s->txn.outcome && s->txn.error)))
			roll_back(s);
		else if (s->txn.uncertain && !s->txn.base_unknown && all_reported(s))
			take_all_reported(s);
		else if (s->txn.uncertain)
			ask = true;
		else
			take_reported(s);
	}
	if (b->reported != s->txn.reported)
		settings_diff(s->txn.reported, b->reported, reported_change, s);
	if (!s->pins)
		observe &= ~(uint32_t)TOUCH_DROP;
	if (ask || observe || custom_pending(s)) {
		task_observe(s, observe);
		return;
	}
	settled(s);
}

void effects_reported_only(struct session *s)
{
	if (s->backend->reported != s->txn.reported)
		settings_diff(s->txn.reported, s->backend->reported, reported_change, s);
	settled(s);
}

/* ---- what PostgreSQL answered when asked ---- */

static char *column(struct reader *r)
{
	uint32_t len = reader_u32(r);
	const uint8_t *p = len == UINT32_MAX ? NULL : reader_bytes(r, len);

	return p ? strndup((const char *)p, len) : NULL;
}

/* An answer under way: what was pending before its first row stays so, whatever the rows say of the backend. */
struct observed {
	struct session *s;
	const struct settings *want, *have;
	uint32_t pins;
};

static void take_observed(struct observed *o, const char *name, const char *value)
{
	if (!pending_between(o->s, o->want, o->have, name))
		settings_set(&o->s->want, name, value);
	settings_set(&o->s->backend->have, name, value);
}

static void observed_row(struct observed *o, char kind, const char *name, const char *value)
{
	struct session *s = o->s;
	static const struct { char kind; uint32_t pin; } counts[] = {
		{ 'l', PIN_LOCK }, { 'c', PIN_CURSOR }, { 't', PIN_TEMP }, { 'n', PIN_LISTEN }, { 'p', PIN_OPAQUE },
	};

	if ((kind == 'g' || kind == 'a') && name && rules_ignore_setting(s, name))
		return;
	if (kind == 'g' && name) {
		if (value && strchr(name, '.')) /* by whatever statement, on a backend that may have seen it before */
			custom_observed(s, name, value);
		take_observed(o, name, value);
		return;
	}
	if (kind == 'k' && name) {
		custom_observed(s, name, value);
		return;
	}
	if (kind == 'm') {
		s->temp_schema_new = value && strcmp(value, "0") && !s->backend->temp_schema;
		return;
	}
	if (kind == 'a' && name) {
		if (strcmp(name, "role") && strcmp(name, "session_authorization") && !setting_not_carried(name))
			take_observed(o, name, value);
		return;
	}
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
		if (counts[i].kind == kind && value && strcmp(value, "0"))
			o->pins |= counts[i].pin;
}

/* Before all session settings are taken over: those that are no longer set are gone. Custom ones are asked by name. */
static void forget_unlisted(struct observed *o)
{
	for (size_t i = 0; i < settings_size(o->have); i++) {
		const char *name = settings_name_at(o->have, i);

		if (!strchr(name, '.') && strcmp(name, "role") && strcmp(name, "session_authorization"))
			take_observed(o, name, NULL);
	}
}

static uint32_t pins_asked(uint32_t observe, uint32_t pins)
{
	uint32_t asked = 0;

	if (observe & (TOUCH_LOCK | TOUCH_OPAQUE) || pins & PIN_LOCK)
		asked |= PIN_LOCK;
	if (observe & (TOUCH_CURSOR | TOUCH_OPAQUE) || pins & PIN_CURSOR)
		asked |= PIN_CURSOR;
	if (observe & (TOUCH_TEMP | TOUCH_OPAQUE) || pins & PIN_TEMP)
		asked |= PIN_TEMP;
	if (observe & (TOUCH_LISTEN | TOUCH_OPAQUE) || pins & PIN_LISTEN)
		asked |= PIN_LISTEN;
	return asked;
}

/* What no longer is as a session has set it was RESET out of sight: to the backend's value, where the client has its own. */
static void startup_values_back(struct session *s)
{
	for (size_t i = 0; i < settings_size(s->base); i++) {
		const char *name = settings_name_at(s->base, i);

		if (strcmp(name, "role") && strcmp(name, "session_authorization") && !settings_get(s->want, name) &&
		    !settings_get(s->backend->have, name))
			settings_set(&s->want, name, settings_value_at(s->base, i));
	}
}

void effects_observed(struct session *s, uint32_t *events)
{
	struct reader r = reader_of(buf_head(&s->task_rows), buf_len(&s->task_rows));
	struct observed o = { .s = s, .want = settings_retain(s->want), .have = settings_retain(s->backend->have) };
	uint32_t pins, asked = pins_asked(s->task_observe, s->pins), was = s->pins;

	if (s->task_observe & (TOUCH_OPAQUE | TOUCH_LISTED))
		forget_unlisted(&o);
	while (!r.bad && reader_left(&r)) {
		char *kind, *name, *value;

		if (reader_u16(&r) != 3)
			break;
		kind = column(&r);
		name = column(&r);
		value = column(&r);
		if (!r.bad && kind)
			observed_row(&o, kind[0], name, value);
		free(kind);
		free(name);
		free(value);
	}
	settings_release(o.want);
	settings_release(o.have);
	startup_values_back(s);
	s->pins &= ~asked;
	pins = o.pins & ~rules_ignored_pins(s);
	for (uint32_t bit = 1; bit < 1u << PIN_REASONS; bit <<= 1)
		if (pins & bit && !(was & bit))
			pin(s, bit, events);
	s->pins |= pins;
	if (pins & PIN_OPAQUE)
		s->backend->spoilt = true;
	if (was != s->pins)
		*events |= EVENT_PINS;
	settled(s);
}
