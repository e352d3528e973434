/* NOTIFY: kept until the commit, folded, then heard by everybody who listens and is in no transaction (async.c). */
#include "tests/sim/model_internal.h"

#include <stdio.h>
#include <string.h>

bool model_notify(struct model *m, const struct run *r, const struct model_sql *q)
{
	const char *channel = q->name ? q->name : r->bound[0], *payload = q->name ? q->value : r->bound[1];
	bool selected = q->hold || !q->name;
	size_t i = 0;

	if (selected)
		m->snapshot = true;
	while (i < m->now.n_notes && (m->notes[i].channel != channel || m->notes[i].payload != payload))
		i++;
	if (i == MODEL_NOTES)
		model_complain(m, "too many notifications", channel);
	else if (i == m->now.n_notes)
		m->notes[m->now.n_notes++] = (struct model_note){ m->pid, channel, payload };
	if (selected)
		return model_one_row(m, r, q, "");
	model_tag(m, "NOTIFY");
	return true;
}

/* The first LISTEN begins behind all that was committed before. */
void model_notes_committed(struct model *m)
{
	struct model_cluster *c = m->cluster;

	if (m->now.channels && !m->at_begin.channels)
		m->heard = c->n_log;
	for (size_t i = 0; i < m->now.n_notes; i++) {
		if (c->n_log == MODEL_LOG)
			model_complain(m, "too many notifications", m->notes[i].channel);
		else
			c->log[c->n_log++] = m->notes[i];
	}
	m->channels_any |= m->now.channels;
	m->channels_all &= m->now.channels;
}

static void tell(struct model *m, size_t at)
{
	const struct model_note *n = &m->cluster->log[at];
	size_t mark = msg_begin(&m->out, 'A');

	buf_u32(&m->out, n->pid);
	buf_str(&m->out, n->channel);
	if (strlen(n->channel) > 1) { /* pgporter's own */
		buf_str(&m->out, n->payload);
	} else {
		buf_printf(&m->out, "%s#%06zu", n->payload, at);
		buf_u8(&m->out, 0);
	}
	msg_end(&m->out, mark);
}

bool model_hears(struct model *m)
{
	bool any = false;

	if (m->implicit || m->explicit_ || m->failed || m->copying || m->skip || m->batch) /* between COMMIT and Sync it may or may not tell */
		return false;
	for (; m->heard < m->cluster->n_log; m->heard++)
		if (m->now.channels >> model_channel(m->cluster->log[m->heard].channel) & 1) {
			tell(m, m->heard);
			any = true;
		}
	return any;
}

unsigned model_channel(const char *name)
{
	return name[0] & 15;
}
