/* RESET ALL passes over settings that are at their default already (PostgreSQL's guc.c, ResetAllOptions), also where only
 * SET LOCAL … TO DEFAULT has brought them there: when the transaction is over they are again what the session had SET. */
#include <string.h>

#include "state/session_internal.h"

bool defaulted_now(const struct session *s, const char *name)
{
	return s->txn.defaulted && settings_get(s->txn.defaulted, name);
}

static void add(struct session *s, const char *name)
{
	if (!strcmp(name, "role") || !strcmp(name, "session_authorization"))
		return;
	if (!s->txn.defaulted)
		s->txn.defaulted = settings_empty(s->store->settings);
	settings_set(&s->txn.defaulted, name, "");
}

/* The value of a set_config(): is it a plain NULL, and nothing else? */
static bool is_null(const struct stmt_effects *row, const struct touched_setting *t)
{
	return t->name && t->local && t->surely && row->n_touched == 1 && row->n_places == 1 && row->places[0].what == PLACE_NULL &&
	       row->places[0].name && !strcmp(row->places[0].name, t->name);
}

void defaulted_note(struct session *s, const struct stmt_effects *row)
{
	if (row->kind == STMT_RESET_LOCAL && row->name)
		add(s, row->name);
	else if (s->txn.defaulted && row->name && row->kind >= STMT_SET && row->kind <= STMT_RESET)
		settings_set(&s->txn.defaulted, row->name, NULL);
	for (size_t i = 0; i < row->n_touched; i++) {
		const struct touched_setting *t = &row->touched[i];

		if (is_null(row, t))
			add(s, t->name);
		else if (s->txn.defaulted && t->name)
			settings_set(&s->txn.defaulted, t->name, NULL);
	}
}

void defaulted_forget(struct session *s)
{
	settings_release(s->txn.defaulted);
	s->txn.defaulted = NULL;
}

/* What the client wants of it, and whether it is at its default, when a row of a text is going to run. */
struct then {
	const char *want;
	bool defaulted;
};

static void after(struct session *s, const struct stmt_effects *row, const char *name, struct then *t)
{
	bool same = row->name && !strcmp(row->name, name);

	if (row->kind == STMT_COMMIT || row->kind == STMT_ROLLBACK || row->kind == STMT_ROLLBACK_TO) {
		t->defaulted = false;
		if (row->kind == STMT_ROLLBACK)
			t->want = settings_get(s->settings, name);
	} else if (same && row->kind >= STMT_SET && row->kind <= STMT_RESET_LOCAL) {
		t->defaulted = row->kind == STMT_RESET_LOCAL;
		if (row->kind == STMT_SET)
			t->want = row->value;
		else if (row->kind == STMT_RESET)
			t->want = settings_get(s->base, name);
	} else if (row->kind == STMT_RESET_ALL && !t->defaulted) {
		t->want = settings_get(s->base, name);
	}
	for (size_t i = 0; i < row->n_touched; i++)
		if (row->touched[i].name && !strcmp(row->touched[i].name, name))
			t->defaulted = is_null(row, &row->touched[i]);
}

const char *defaulted_value(struct session *s, const struct effects *e, const struct stmt_effects *row, const char *name)
{
	struct then t = { .want = settings_get(s->want, name), .defaulted = defaulted_now(s, name) };

	for (const struct stmt_effects *before = e->stmts; before < row; before++)
		after(s, before, name, &t);
	return t.defaulted ? t.want : NULL;
}

void defaulted_kept(struct session *s, const struct settings *want, const struct settings *have, bool given_back)
{
	for (size_t i = 0; s->txn.defaulted && i < settings_size(s->txn.defaulted); i++) {
		const char *name = settings_name_at(s->txn.defaulted, i);
		/* What stands for the client's default was SET, for PostgreSQL, and is gone with the rest. */
		bool gone = settings_get(s->base, name) && !given_back;

		settings_set(&s->want, name, settings_get(want, name));
		settings_set(&s->backend->have, name, gone ? NULL : settings_get(have, name));
	}
}

void defaulted_again(struct session *s, const struct settings *from, const struct settings *to)
{
	struct buf sql = { 0 };

	for (size_t i = 0; s->txn.defaulted && i < settings_size(s->txn.defaulted); i++) {
		const char *name = settings_name_at(s->txn.defaulted, i), *base = settings_get(s->base, name);

		if (!base || settings_get(from, name) || !settings_get(to, name))
			continue;
		buf_reset(&sql);
		if (!put_set_local(&sql, name, base))
			put_set_config(&sql, name, base, true);
		send_own(s, (const char *)buf_head(&sql), buf_len(&sql));
	}
	buf_release(&sql);
}
