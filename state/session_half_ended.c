/* PostgreSQL 18 can end a transaction by half. Behind Parse, Bind and Execute that no Sync follows, a simple Query is a statement of
 * their transaction, and its ReadyForQuery says T. A Sync straight after that says I and commits nothing: the next statement, whatever
 * it is, fails with XX000, and with it is rolled back what came before.
 *
 * That error is the client's whose transaction it was. No other is to meet it, nor is the backend to be kept for it: a statement of
 * ours takes it, and the client is told when its own next one comes, wherever that would have run. */
#include <stdio.h>
#include <string.h>

#include "parser/report.h"
#include "state/session_internal.h"

/* Where something was begun since, Sync would have committed it, or an error have taken it back. */
char half_ended_status(struct backend *b, bool sync, char said)
{
	b->half_ended = sync && said == 'I' && b->status == 'T' && !b->answered;
	b->joined = !sync && said == 'T' && (b->joined || (b->status == 'I' && b->batch));
	b->answered = false;
	return b->half_ended ? 'T' : said;
}

void half_ended_end(struct session *s)
{
	const struct buf nothing = { 0 };

	task_query(s, TASK_HALF_ENDED, &nothing);
	s->backend->unnamed = UNNAMED_UNKNOWN; /* it goes where that succeeds */
}

/* The client's Parse is answered without one, and by it Sync would have committed. */
void joined_begin(struct session *s)
{
	if (s->backend->joined)
		send_own(s, NOTHING_SQL, strlen(NOTHING_SQL));
}

/* Not failed: a PostgreSQL that says the same, and commits. */
void half_ended_done(struct session *s, bool failed, uint32_t *events)
{
	if (failed) {
		buf_reset(&s->lost.error);
		buf_add(&s->lost.error, buf_head(&s->task_error), buf_len(&s->task_error));
		lost_forget(s);
		s->lost.reported = settings_retain(s->backend->reported);
	}
	transaction_looked_at(s, events);
}

void lost_tell(struct session *s)
{
	msg_add(s->to_client, 'E', buf_head(&s->lost.error), buf_len(&s->lost.error));
	buf_release(&s->lost.error);
}

void lost_raise(struct session *s, bool alone)
{
	const struct buf *error = &s->lost.error;
	const char *code = report_field(buf_head(error), buf_len(error), 'C'), *message = report_field(buf_head(error), buf_len(error), 'M');
	struct buf sql = { 0 };
	char text[200];

	snprintf(text, sizeof text, "%s", message ? message : "?");
	for (char *at = text; (at = strpbrk(at, "'\\%$"));)
		*at = '?';
	task_raise_sql(s, &sql, code && strlen(code) == 5 ? code : "XX000", text);
	if (alone)
		query_instead(s, (const char *)buf_head(&sql), buf_len(&sql));
	else
		task_raise_text(s, (const char *)buf_head(&sql), buf_len(&sql));
	buf_release(&sql);
	buf_release(&s->lost.error);
}

void lost_report(struct session *s)
{
	if (!s->lost.reported || buf_len(&s->lost.error))
		return;
	session_tell_reported(s, s->lost.reported);
	lost_forget(s);
}

void lost_forget(struct session *s)
{
	if (s->lost.reported)
		settings_release(s->lost.reported);
	s->lost.reported = NULL;
}
