/* A function, a DO or a computed NULL may RESET a setting to the backend's value, where the client is to have what came with
 * its startup packet. In a transaction that stays open it is given back before the client hears that the statement is done;
 * where none is open PostgreSQL is asked anyway, and what it has reported by itself is told with the answer. */
#include <string.h>
#include <strings.h>

#include "parser/reader.h"
#include "state/session_internal.h"

/* PostgreSQL does not say of custom settings where their value is from; roles are not in pg_settings. */
static bool can_be_asked(const char *name)
{
	return !strchr(name, '.') && strcmp(name, "role") && strcmp(name, "session_authorization");
}

void reset_possible(struct session *s)
{
	for (size_t i = 0; i < settings_size(s->base) && !s->may_reset; i++)
		s->may_reset = can_be_asked(settings_name_at(s->base, i));
}

bool reset_reported(const struct session *s, const char *name)
{
	return s->may_reset && settings_get_nocase(s->base, name);
}

/* Of what came with the startup packet the backend has something else to say. */
static bool reported_otherwise(const struct session *s)
{
	for (size_t i = 0; i < settings_size(s->base); i++) {
		const char *name = settings_name_at(s->base, i);
		const char *now = settings_get_nocase(s->backend->reported, name), *then = settings_get_nocase(s->base_reported, name);

		if (now && then && strcmp(now, then))
			return true;
	}
	return false;
}

static void give_back(struct session *s)
{
	const char *sep = "SELECT v.name,CASE WHEN pg_catalog.current_setting(v.name) OPERATOR(pg_catalog.<>) v.value AND NOT EXISTS (SELECT FROM"
			  " pg_catalog.pg_settings AS s WHERE pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) v.name AND s.source OPERATOR(pg_catalog.=)"
			  " 'session') THEN pg_catalog.set_config(v.name,v.value,false) END FROM (VALUES (";
	struct buf sql = { 0 };

	for (size_t i = 0; i < settings_size(s->base); i++) {
		const char *name = settings_name_at(s->base, i);

		if (!can_be_asked(name))
			continue;
		buf_text(&sql, sep);
		sql_put_literal(&sql, name);
		buf_text(&sql, "::pg_catalog.text,");
		sql_put_literal(&sql, settings_value_at(s->base, i));
		sep = "::pg_catalog.text),(";
	}
	buf_text(&sql, "::pg_catalog.text)) AS v(name,value)");
	task_begin(s, TASK_RESET);
	send_own(s, (const char *)buf_head(&sql), buf_len(&sql));
	task_sent(s);
	buf_release(&sql);
}

bool reset_look(struct session *s)
{
	bool possible = s->may_reset;

	s->may_reset = false;
	if (possible && s->backend->status == 'T' && !s->backend->half_ended)
		give_back(s);
	return possible && (s->task == TASK_RESET || (s->task == TASK_OBSERVE && reported_otherwise(s)));
}

void reset_done(struct session *s)
{
	struct reader r = reader_of(buf_head(&s->task_rows), buf_len(&s->task_rows));

	while (reader_left(&r) && reader_u16(&r) == 2) {
		uint32_t name_len = reader_u32(&r);
		const uint8_t *name = reader_bytes(&r, name_len);
		uint32_t value_len = reader_u32(&r);

		if (r.bad)
			return;
		if (value_len == UINT32_MAX)
			continue;
		reader_bytes(&r, value_len);
		for (size_t i = 0; i < settings_size(s->base); i++) {
			const char *base = settings_name_at(s->base, i);

			if (strlen(base) == name_len && !memcmp(base, name, name_len)) {
				session_touch(s, base);
				s->txn.uncertain = s->txn.base_unknown = true;
				settings_set(&s->effective, base, settings_value_at(s->base, i));
			}
		}
	}
}
