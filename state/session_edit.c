/* Texts in which the client would hear of its backend what only its session can tell: set_config(…, NULL, …) goes back to the
 * client's startup value, and pg_listening_channels() are those that it listens to. They are written otherwise; what
 * PostgreSQL answers then is what it would have answered on a connection of its own. */
#include <stdlib.h>
#include <string.h>

#include "parser/reader.h"
#include "state/session_internal.h"

static bool listens(const struct session *s)
{
	return s->carry && s->listens && subscriber_channel(s->listens, 0);
}

static bool applies(const struct session *s, const struct text_place *p)
{
	return p->name ? settings_get(s->base, p->name) != NULL : listens(s);
}

bool edit_wanted(const struct session *s, const struct stmt_effects *row)
{
	for (size_t i = 0; i < row->n_places; i++)
		if (applies(s, &row->places[i]))
			return true;
	return false;
}

bool edit_varies(const struct effects *e)
{
	for (size_t i = 0; i < e->n; i++)
		for (size_t j = 0; j < e->stmts[i].n_places; j++)
			if (e->stmts[i].places[j].what == PLACE_CHANNELS)
				return true;
	return false;
}

static void put_channels(const struct session *s, struct buf *out)
{
	const char *sep = "", *name;

	buf_text(out, "pg_catalog.unnest(ARRAY[");
	for (size_t i = 0; (name = subscriber_channel(s->listens, i)); i++) {
		buf_text(out, sep);
		sql_put_literal(out, name);
		sep = ",";
	}
	buf_text(out, "]::pg_catalog.text[]");
	if (s->pins & PIN_LISTEN)
		buf_text(out, " OPERATOR(pg_catalog.||) ARRAY(SELECT pg_catalog.pg_listening_channels())");
	buf_u8(out, ')');
}

/* COALESCE() takes no function that returns a set. */
static void put_place(const struct session *s, const struct text_place *p, struct buf *out)
{
	switch (p->what) {
	case PLACE_VALUE:
		buf_text(out, "(pg_catalog.array_remove(ARRAY[");
		break;
	case PLACE_VALUE_END:
		buf_u8(out, ',');
		sql_put_literal(out, settings_get(s->base, p->name));
		buf_text(out, "::pg_catalog.text],NULL))[1]");
		break;
	case PLACE_NULL:
		sql_put_literal(out, settings_get(s->base, p->name));
		break;
	case PLACE_CHANNELS:
		put_channels(s, out);
		break;
	case PLACE_CHANNELS_NAME:
		buf_text(out, " AS pg_listening_channels");
		break;
	}
}

/* A text from byte `done` on, written anew as far as there is something to replace. */
struct writing {
	struct session *s;
	const char *text;
	struct buf *out;
	size_t done;
	bool note;
};

static void begin_place(struct writing *w, size_t at)
{
	buf_add(w->out, w->text + w->done, at - w->done);
}

static void end_place(struct writing *w, size_t at, size_t len, size_t began)
{
	if (w->note)
		note_shift(w->s, (uint32_t)buf_len(w->out), (int32_t)(buf_len(w->out) - began) - (int32_t)len);
	w->done = at + len;
}

static void put_name(struct writing *w, const struct stmt_effects *row, const struct stmt *st)
{
	char name[STMT_NAME_MAX];
	size_t began;

	begin_place(w, row->name_at);
	began = buf_len(w->out);
	if (st)
		stmt_name(st, name);
	buf_text(w->out, st ? name : NO_STMT);
	end_place(w, row->name_at, row->name_len, began);
}

void edit_put(struct session *s, const char *text, size_t from, size_t to, const struct stmt_effects *row, const struct edit *how, struct buf *out)
{
	struct writing w = { .s = s, .text = text, .out = out, .done = from, .note = how->note };
	bool named = how->rename;

	for (size_t i = 0; i < row->n_places; i++) {
		const struct text_place *p = &row->places[i];
		size_t began;

		if (!applies(s, p))
			continue;
		if (named && row->name_at < p->at) {
			put_name(&w, row, how->name);
			named = false;
		}
		begin_place(&w, p->at);
		began = buf_len(out);
		put_place(s, p, out);
		end_place(&w, p->at, p->len, began);
	}
	if (named)
		put_name(&w, row, how->name);
	buf_add(out, text + w.done, to - w.done);
}

static size_t place_len(const struct session *s, const struct text_place *p)
{
	struct buf out = { 0 };
	size_t len;

	put_place(s, p, &out);
	len = buf_len(&out);
	buf_release(&out);
	return len;
}

struct back {
	long position; /* of what was sent, less what was put in before it */
};

static void back_over(struct back *b, long at, long was, long is)
{
	if (b->position - 1 >= at + is)
		b->position -= is - was;
	else if (b->position - 1 > at)
		b->position = at + 1;
}

long edit_position(const struct session *s, const struct stmt_effects *row, const struct edit *how, long position)
{
	char name[STMT_NAME_MAX];
	struct back b = { .position = position };
	bool named = how->rename;

	if (how->name)
		stmt_name(how->name, name);
	for (size_t i = 0; i <= row->n_places; i++) {
		const struct text_place *p = i < row->n_places ? &row->places[i] : NULL;

		if (named && (!p || row->name_at < p->at)) {
			back_over(&b, row->name_at, row->name_len, (long)strlen(how->name ? name : NO_STMT));
			named = false;
		}
		if (p && applies(s, p))
			back_over(&b, p->at, p->len, (long)place_len(s, p));
	}
	return b.position;
}

/* ---- SQL PREPARE: kept as it is to be sent, with the client's own text beside it ---- */

struct stmt *edit_of_today(struct session *s, const char *name, struct stmt *st)
{
	static const struct edit plainly;
	struct buf tail = { 0 };
	struct stmt *now;

	if (!st || !st->from_sql || !st->given)
		return st;
	edit_put(s, (const char *)st->given, 0, st->given_len, &st->effects->stmts[0], &plainly, &tail);
	if (buf_len(&tail) != st->tail_len || memcmp(buf_head(&tail), st->tail, st->tail_len)) {
		now = prepare_again(s, st, buf_head(&tail), buf_len(&tail), st->at_parse);
		names_put(&s->names, name, now);
		stmt_release(now);
		st = now;
	}
	buf_release(&tail);
	return st;
}

/* ---- Bind: a name that is a parameter, and a value that is NULL ---- */

/* Value number n (from 1); NULL where there is none or it is NULL. */
static const uint8_t *value_at(struct reader r, int n, uint32_t *len)
{
	uint16_t n_formats = reader_u16(&r), n_values;

	reader_bytes(&r, (size_t)n_formats * 2);
	n_values = reader_u16(&r);
	for (int i = 1; i <= n_values && !r.bad; i++) {
		*len = reader_u32(&r);
		if (i == n)
			return *len == UINT32_MAX ? NULL : reader_bytes(&r, *len);
		if (*len != UINT32_MAX)
			reader_bytes(&r, *len);
	}
	return NULL;
}

/* The startup value that stands for a NULL, which the statement has nothing else to do with. */
static const char *startup_value(const struct session *s, const struct touched_setting *t, struct reader values)
{
	char name[64];
	uint32_t len;
	const uint8_t *value = t->surely && !t->name ? value_at(values, t->param, &len) : NULL;

	if (!value || len >= sizeof name || memchr(value, 0, len))
		return NULL;
	for (size_t i = 0; i < len; i++)
		name[i] = value[i] >= 'A' && value[i] <= 'Z' ? (char)(value[i] + 32) : (char)value[i];
	name[len] = 0;
	return settings_get(s->base, name);
}

static const char *stands_for(const struct session *s, const struct stmt_effects *row, int param, struct reader values)
{
	const char *value = NULL;

	for (size_t i = 0; i < row->n_touched; i++) {
		if (!row->touched[i].name && row->touched[i].param == param)
			return NULL;
		if (!value && row->touched[i].value_param == param)
			value = startup_value(s, &row->touched[i], values);
	}
	return value;
}

bool edit_bind(const struct session *s, const struct effects *e, const struct client_message *m, struct reader values, struct buf *body)
{
	const uint8_t *copied = m->body;
	struct reader r = values;
	uint16_t n;

	if (!e || e->n != 1 || !e->stmts[0].n_touched || !settings_size(s->base) || m->have < m->len)
		return false;
	reader_bytes(&r, (size_t)reader_u16(&r) * 2);
	n = reader_u16(&r);
	for (int i = 1; i <= n && !r.bad; i++) {
		uint32_t len = reader_u32(&r);
		const char *value = len == UINT32_MAX ? stands_for(s, &e->stmts[0], i, values) : NULL;

		if (len != UINT32_MAX)
			reader_bytes(&r, len);
		if (!value || r.bad)
			continue;
		buf_add(body, copied, (size_t)(r.at - 4 - copied));
		buf_u32(body, (uint32_t)strlen(value));
		buf_text(body, value);
		copied = r.at;
	}
	if (copied == m->body)
		return false;
	buf_add(body, copied, (size_t)(m->body + m->len - copied));
	return true;
}
