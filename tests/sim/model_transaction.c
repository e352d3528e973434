/* Transactions, savepoints, errors. */
#include "tests/sim/model_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void portals_after(struct model *m, bool commit)
{
	for (struct model_portal *p = m->portals; p < m->portals + MODEL_PORTALS; p++) {
		if (!p->name || p->held)
			continue;
		if (commit && p->hold)
			p->held = true;
		else
			model_portal_drop(p);
	}
}

void model_transaction_ends(struct model *m, bool commit)
{
	if (commit)
		model_notes_committed(m);
	else
		m->now = m->at_begin;
	m->now.n_notes = 0;
	memset(m->now.local, 0, sizeof m->now.local);
	m->now.temps &= ~m->now.temps_dropped_at_commit;
	m->now.temps_dropped_at_commit = 0;
	m->cluster->roles_gone |= m->now.roles_gone;
	m->now.roles_gone = 0;
	m->implicit = m->explicit_ = m->failed = m->doomed = m->snapshot = m->executed = false;
	m->n_saves = 0;
	portals_after(m, commit);
	model_report_at_once(m);
}

void model_transaction_starts(struct model *m)
{
	if (m->implicit || m->explicit_)
		return;
	m->implicit = true;
	m->snapshot = false;
	m->at_begin = m->now;
	m->isolation = model_show(m, VAR_ISOLATION);
}

void model_said(struct model *m, char type, const char *severity, const char *code, const char *fmt, const char *arg)
{
	char text[400];

	snprintf(text, sizeof text, fmt, arg);
	msg_report(&m->out, type, severity, code, text, NULL, NULL);
}

static bool fails(struct model *m)
{
	m->copying = false;
	if (m->explicit_)
		m->failed = true;
	else if (m->implicit)
		model_transaction_ends(m, false);
	return false;
}

bool model_error(struct model *m, const char *code, const char *fmt, const char *arg)
{
	model_said(m, 'E', "ERROR", code, fmt, arg);
	return fails(m);
}

bool model_error_as(struct model *m, const uint8_t *body, size_t len)
{
	msg_add(&m->out, 'E', body, len);
	return fails(m);
}

void model_warning(struct model *m, const char *code, const char *text)
{
	model_said(m, 'N', "WARNING", code, "%s", text);
}

/* False: it was rolled back instead, and the error told. */
bool model_commits(struct model *m)
{
	if (m->doomed) {
		model_said(m, 'E', "ERROR", "23503", "%s violates foreign key constraint", "insert or update on table \"deferred\"");
		model_transaction_ends(m, false);
		return false;
	}
	model_transaction_ends(m, true);
	return true;
}

void model_tag(struct model *m, const char *text)
{
	snprintf(m->tag, sizeof m->tag, "%s", text);
}

bool model_set_isolation(struct model *m, const char *level)
{
	if (level != m->isolation && m->n_saves)
		return model_error(m, "25001", "%s must not be called in a subtransaction", "SET TRANSACTION ISOLATION LEVEL");
	if (level != m->isolation && m->snapshot)
		return model_error(m, "25001", "%s must be called before any query", "SET TRANSACTION ISOLATION LEVEL");
	m->isolation = level;
	return true;
}

bool model_begin(struct model *m, const struct model_sql *q)
{
	if (m->explicit_)
		model_warning(m, "25001", "there is already a transaction in progress");
	m->implicit = false;
	m->explicit_ = true;
	if (q->value && !model_set_isolation(m, q->value))
		return false;
	model_tag(m, "BEGIN");
	return true;
}

bool model_end(struct model *m, const struct model_sql *q)
{
	bool commit = q->op == OP_COMMIT && !m->failed;
	const char *isolation = m->isolation;

	if (!m->explicit_ && q->chain)
		return model_error(m, "25P01", "%s AND CHAIN can only be used in transaction blocks", q->op == OP_COMMIT ? "COMMIT" : "ROLLBACK");
	if (!m->explicit_)
		model_warning(m, "25P01", "there is no transaction in progress");
	model_tag(m, commit ? "COMMIT" : "ROLLBACK");
	if (!commit)
		model_transaction_ends(m, false);
	else if (!model_commits(m))
		return false;
	if (q->chain) {
		model_transaction_starts(m);
		m->implicit = false;
		m->explicit_ = true;
		m->isolation = isolation;
	}
	return true;
}

bool model_savepoint(struct model *m, const struct model_sql *q)
{
	const char *what = q->op == OP_SAVEPOINT ? "SAVEPOINT" : q->op == OP_RELEASE ? "RELEASE SAVEPOINT" : "ROLLBACK TO SAVEPOINT";
	size_t i = m->n_saves;

	if (!m->explicit_)
		return model_error(m, "25P01", "%s can only be used in transaction blocks", what);
	if (q->op == OP_SAVEPOINT) {
		if (i == MODEL_SAVES) {
			model_complain(m, "too many savepoints", q->name);
			return model_error(m, "54000", "%s", "too many savepoints");
		}
		m->saves[i].name = q->name;
		m->saves[m->n_saves++].state = m->now;
		model_tag(m, "SAVEPOINT");
		return true;
	}
	while (i && m->saves[i - 1].name != q->name)
		i--;
	if (!i)
		return model_error(m, "3B001", "savepoint \"%s\" does not exist", q->name);
	m->n_saves = q->op == OP_RELEASE ? i - 1 : i;
	for (struct model_portal *p = m->portals; p < m->portals + MODEL_PORTALS; p++)
		if (p->name && !p->held && p->level >= i) {
			if (q->op == OP_RELEASE)
				p->level = i - 1;
			else
				model_portal_drop(p);
		}
	if (q->op == OP_RELEASE) {
		model_tag(m, "RELEASE");
		return true;
	}
	m->now = m->saves[i - 1].state;
	m->failed = false;
	model_report_at_once(m);
	model_tag(m, "ROLLBACK");
	return true;
}
