/* One statement is run. */
#include "tests/sim/model_internal.h"

#include <stdio.h>
#include <string.h>

int model_locks_held(const struct model *m)
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
		model_describe(m, q);
	if (!had) {
		model_warning(m, "01000", "you don't own a lock of type ExclusiveLock");
		model_row(m, "f");
		model_tag(m, "SELECT 1");
		return true;
	}
	--*lock;
	return model_one_row(m, r, q, "t");
}

static bool run_temp(struct model *m, const struct model_sql *q)
{
	uint32_t bit = 1u << q->n;

	if (m->now.temps & bit)
		return model_error(m, "42P07", "relation \"%s\" already exists", "t");
	m->now.temps |= bit;
	m->now.temp_schema = true;
	if (q->on_commit_drop)
		m->now.temps_dropped_at_commit |= bit;
	model_tag(m, "CREATE TABLE");
	return true;
}

static bool run_temp_drop(struct model *m, const struct model_sql *q)
{
	uint32_t bit = 1u << q->n;

	if (!(m->now.temps & bit))
		return model_error(m, "42P01", "table \"%s\" does not exist", "t");
	m->now.temps &= ~bit;
	m->now.temps_dropped_at_commit &= ~bit;
	model_tag(m, "DROP TABLE");
	return true;
}

static bool run_drop_role(struct model *m, const struct model_sql *q)
{
	uint32_t bit = 1u << q->n;

	if (!model_is_superuser(m))
		return model_error(m, "42501", "permission denied to drop %s", "role");
	if ((m->cluster->roles_gone | m->now.roles_gone) & bit)
		return model_error(m, "42704", "role \"%s\" does not exist", "r");
	m->now.roles_gone |= bit;
	model_tag(m, "DROP ROLE");
	return true;
}

static bool run_listen(struct model *m, const struct model_sql *q)
{
	uint32_t bit = q->name ? 1u << model_channel(q->name) : 0;

	if (q->op == OP_LISTEN)
		m->now.channels |= bit;
	else if (q->op == OP_UNLISTEN_ALL)
		m->now.channels = 0;
	else if (strcmp(q->name, "pgporter"))
		m->now.channels &= ~bit;
	model_tag(m, q->op == OP_LISTEN ? "LISTEN" : "UNLISTEN");
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
	model_tag(m, "COPY 2");
	return true;
}

static void plans_forgotten(struct model *m)
{
	for (struct model_stmt *st = m->stmts; st < m->stmts + MODEL_STMTS; st++)
		st->path = NULL;
}

void model_forget_numbers(struct model *m)
{
	memset(m->numbers, 0, sizeof m->numbers);
	m->last_number = 0;
}

static bool run_discard(struct model *m, const struct model_sql *q)
{
	switch (q->op) {
	case OP_DISCARD_PLANS:
		plans_forgotten(m);
		model_tag(m, "DISCARD PLANS");
		return true;
	case OP_DISCARD_SEQUENCES:
		model_forget_numbers(m);
		model_tag(m, "DISCARD SEQUENCES");
		return true;
	case OP_DISCARD_TEMP:
		m->now.temps = m->now.temps_dropped_at_commit = 0;
		model_tag(m, "DISCARD TEMP");
		return true;
	default:
		break;
	}
	if (m->explicit_ || m->several)
		return model_error(m, "25001", "%s cannot run inside a transaction block", "DISCARD ALL");
	if (m->executed)
		return model_error(m, "25001", "%s cannot be executed within a pipeline", "DISCARD ALL");
	model_portals_close_all(m);
	model_set(m, VAR_AUTHORIZATION, NULL, false);
	model_reset_all(m);
	model_stmts_drop_named(m);
	plans_forgotten(m);
	memset(m->locks, 0, sizeof m->locks);
	m->now.channels = 0;
	model_forget_numbers(m);
	m->now.temps = m->now.temps_dropped_at_commit = 0;
	model_tag(m, "DISCARD ALL");
	return true;
}

/* PortalRunUtility(): what takes no snapshot, and so leaves SET TRANSACTION possible. */
bool model_takes_snapshot(enum model_op op)
{
	switch (op) {
	case OP_NOTIFY: /* but by a SELECT */
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

bool model_run_series(struct model *m, const struct run *r, const struct model_sql *q)
{
	int at = 0, given;
	char text[32];

	if (r->simple)
		model_describe(m, q);
	if (!model_series(m, r->portal ? &r->portal->at : &at, q->n, r->max, &given)) {
		*m->tag = 0; /* suspended */
		return true;
	}
	snprintf(text, sizeof text, "SELECT %d", given);
	model_tag(m, text);
	return true;
}

static bool run_sequence(struct model *m, const struct run *r, const struct model_sql *q)
{
	int *number = q->op == OP_LASTVAL ? &m->last_number : &m->numbers[q->n % MODEL_SEQUENCES];

	if (q->op == OP_NEXTVAL)
		*number = m->last_number = ++m->cluster->sequences[q->n % MODEL_SEQUENCES];
	if (!*number && r->simple)
		model_describe(m, q);
	if (!*number)
		return model_error(m, "55000", "%s is not yet defined in this session", q->op == OP_LASTVAL ? "lastval" : "currval of sequence");
	return model_one_number(m, r, q, *number);
}

static bool run_select(struct model *m, const struct run *r, const struct model_sql *q)
{
	char text[64];

	switch (q->op) {
	case OP_NOTHING:
		if (r->simple)
			model_describe(m, q);
		msg_add(&m->out, 'D', "\0\0", 2);
		model_tag(m, "SELECT 1");
		return true;
	case OP_VALUE:
		return model_one_row(m, r, q, q->value ? q->value : r->n_bound ? r->bound[0] : NULL);
	case OP_DIVISION:
		if (r->simple)
			model_describe(m, q);
		return model_error(m, "22012", "%s by zero", "division");
	case OP_ORDER:
		snprintf(text, sizeof text, "%s read, %s written", strchr(r->order, ' ') + 1, model_show(m, VAR_DATESTYLE));
		return model_one_row(m, r, q, text);
	case OP_TABLE:
		if (r->path[0] != 'a' && r->path[0] != 'b')
			return model_error(m, "42P01", "relation \"%s\" does not exist", "t");
		return model_one_row(m, r, q, r->path);
	case OP_SERIES:
		return model_run_series(m, r, q);
	case OP_SHOW:
	case OP_CURRENT_SETTING:
	case OP_SETTING_OR_NOTHING:
		return model_show_setting(m, r, q);
	case OP_LOCK:
		m->locks[q->n % MODEL_LOCKS]++;
		return model_one_row(m, r, q, "");
	case OP_LOCK_IN_TRANSACTION:
		return model_one_row(m, r, q, "");
	case OP_UNLOCK:
		return run_unlock(m, r, q);
	case OP_UNLOCK_ALL:
		memset(m->locks, 0, sizeof m->locks);
		return model_one_row(m, r, q, "");
	case OP_NEXTVAL:
	case OP_CURRVAL:
	case OP_LASTVAL:
		return run_sequence(m, r, q);
	case OP_MY_LOCKS:
		return model_one_number(m, r, q, model_locks_held(m));
	case OP_TEMP_READ:
		if (!(m->now.temps >> q->n & 1))
			return model_error(m, "42P01", "relation \"%s\" does not exist", "pg_temp.t");
		return model_one_number(m, r, q, 0);
	default:
		model_complain(m, "selected", "?");
		return false;
	}
}

static bool run_set(struct model *m, const struct model_sql *q)
{
	if (q->local && !m->explicit_ && !m->several)
		model_warning(m, "25P01", "SET LOCAL can only be used in transaction blocks");
	if (!model_set(m, (enum model_var)q->var, q->value, q->local))
		return false;
	model_tag(m, "SET");
	return true;
}

/* Those of transactions that are over. */
static bool run_my_channels(struct model *m, const struct run *r, const struct model_sql *q)
{
	uint32_t channels = (uint32_t)q->n | (q->hold ? m->at_begin.channels : 0);
	char text[64];
	size_t n = 0;

	for (char c = 'a'; c <= 'b'; c++)
		if (channels >> model_channel((char[]){ c, 0 }) & 1)
			n += (size_t)sprintf(text + n, "%s%c", n ? "," : "", c);
	return model_one_row(m, r, q, n ? text : NULL);
}

bool model_run(struct model *m, const struct run *r, const struct model_sql *q)
{
	m->statements++;
	if (m->failed && q->op != OP_COMMIT && q->op != OP_ROLLBACK && q->op != OP_ROLLBACK_TO)
		return model_error(m, "25P02", "current transaction is aborted, commands ignored until end of transaction %s", "block");
	if (model_takes_snapshot(q->op))
		m->snapshot = true;
	switch (q->op) {
	case OP_BEGIN:
		return model_begin(m, q);
	case OP_COMMIT:
	case OP_ROLLBACK:
		return model_end(m, q);
	case OP_SAVEPOINT:
	case OP_RELEASE:
	case OP_ROLLBACK_TO:
		return model_savepoint(m, q);
	case OP_SET:
		return run_set(m, q);
	case OP_SET_ISOLATION:
		if (!m->explicit_ && !m->several)
			model_warning(m, "25P01", "SET TRANSACTION can only be used in transaction blocks");
		model_tag(m, "SET");
		return model_set_isolation(m, q->value);
	case OP_RESET:
		model_tag(m, "RESET");
		return model_set(m, (enum model_var)q->var, NULL, false);
	case OP_RESET_ALL:
		model_reset_all(m);
		model_tag(m, "RESET");
		return true;
	case OP_SET_CONFIG:
	case OP_DO:
		return model_set_config(m, r, q);
	case OP_DEFERRED:
		m->doomed = true;
		model_tag(m, "INSERT 0 1");
		return true;
	case OP_PREPARE:
		return model_prepare(m, q);
	case OP_EXECUTE:
		return model_execute(m, r, q);
	case OP_DEALLOCATE:
		return model_deallocate(m, q);
	case OP_DEALLOCATE_ALL:
		model_stmts_drop_named(m);
		model_tag(m, "DEALLOCATE ALL");
		return true;
	case OP_DECLARE:
		return model_declare(m, q);
	case OP_FETCH:
	case OP_MOVE:
		return model_fetch(m, r, q);
	case OP_CLOSE:
		return model_close(m, q);
	case OP_CLOSE_ALL:
		model_portals_close_all(m);
		model_tag(m, "CLOSE CURSOR ALL");
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
	case OP_MY_STATEMENTS:
		return model_my_statements(m, r, q);
	case OP_MY_CHANNELS:
		return run_my_channels(m, r, q);
	case OP_NOTIFY:
		return model_notify(m, r, q);
	case OP_COPY_IN:
	case OP_COPY_OUT:
		return run_copy(m, r, q);
	case OP_DISCARD_ALL:
	case OP_DISCARD_PLANS:
	case OP_DISCARD_SEQUENCES:
	case OP_DISCARD_TEMP:
		return run_discard(m, q);
	case OP_RAISE:
		return model_error(m, q->value, "%s", q->name);
	case OP_ASKED:
		model_asked(m, q);
		return true;
	case OP_GIVE_BACK:
		return model_given_back(m, q);
	case OP_LEARNED:
		return model_learned(m, q);
	case OP_SYNTAX:
	case OP_EMPTY:
		model_complain(m, "run", "nothing");
		return false;
	default:
		return run_select(m, r, q);
	}
}
