/* SQL's PREPARE reads the literals of its statement when it runs, not when it is parsed or sent: under the settings of that moment the
 * statement is to be prepared elsewhere. Where others stand ahead of it in its text, that moment is not here yet when the text is sent. */
#include <stdio.h>

#include "state/session_internal.h"

/* A setting that nobody has, with a value that comes once: a statement whose settings are to be known is nobody else's. */
#define LATE "pgporter.late"

static bool moves_settings(const struct stmt_effects *row)
{
	switch (row->kind) {
	case STMT_SET:
	case STMT_SET_LOCAL:
	case STMT_RESET:
	case STMT_RESET_LOCAL:
	case STMT_RESET_ALL:
	case STMT_COMMIT:
	case STMT_ROLLBACK:
	case STMT_ROLLBACK_TO:
	case STMT_EXECUTE:
		return true;
	default:
		return row->flags & (TOUCH_SETTINGS | TOUCH_SETTINGS_UNKNOWN | TOUCH_LOCAL | TOUCH_OPAQUE | TOUCH_LISTED);
	}
}

struct stmt *prepare_stmt(struct session *s, const char *text, const struct effects *e, const struct stmt_effects *row)
{
	const struct settings *at_parse = settings_retain(s->effective);
	char once[32];
	struct stmt *st;

	for (const struct stmt_effects *before = e->stmts; before < row; before++)
		if (moves_settings(before)) {
			snprintf(once, sizeof once, "%llu", (unsigned long long)++s->store->last_serial);
			settings_set(&at_parse, LATE, once);
			break;
		}
	st = sql_stmt_new(s, text, e, row, at_parse);
	settings_release(at_parse);
	return st;
}

bool prepare_is_late(const struct stmt *st)
{
	return settings_get(st->at_parse, LATE);
}

struct stmt *prepare_again(struct session *s, const struct stmt *st, const void *tail, size_t tail_len, const struct settings *at_parse)
{
	struct stmt_key key = { .from_sql = true, .tail = tail, .tail_len = tail_len, .name_at = st->name_at, .name_len = st->name_len,
				.at_parse = at_parse, .generation = st->generation, .owner = st->owner, .pool = st->pool, .given = st->given, .given_len = st->given_len };
	struct stmt *now = stmt_intern(s->store->stmts, &key, st->effects);

	if (!now->watched)
		now->watched = st->watched;
	return now;
}

void prepare_apply(struct session *s, const char *name, enum substitute sub, struct stmt *st, const struct portal *p)
{
	bool own = p && p->own == st, ran = sub != SUB_PREPARED && sub != SUB_LAID; /* else it was there, perhaps on another backend */
	struct stmt *now;

	if (prepare_is_late(st))
		settings_assign(&st->at_parse, s->effective); /* its key can't be met again */
	if (own && settings_meaning(st->at_parse) != settings_meaning(s->effective)) {
		now = prepare_again(s, st, st->tail, st->tail_len, s->effective);
		names_put(&s->names, name, now);
		stmt_release(now);
		return;
	}
	names_put(&s->names, name, st);
	if (ran)
		set_add(&s->backend->prepared, st);
}

void prepare_undo(struct session *s, const struct portal *p)
{
	if (p->substitute == SUB_RENAMED && !set_has(&s->backend->prepared, p->own))
		close_again(s, p->own);
}
