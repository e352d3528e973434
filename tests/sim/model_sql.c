#include "tests/sim/model_sql.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- memory that lives until model_forget_texts() ---- */

struct block {
	struct block *next;
	size_t used;
	char bytes[1 << 16];
};

struct word {
	struct word *next;
	size_t len;
	char text[];
};

enum { TABLE = 1 << 13 };

static struct block *blocks;
static struct word *words[TABLE];
static struct model_text *texts[TABLE];

static void *keep(size_t n)
{
	void *p;

	n = (n + 15) & ~(size_t)15;
	if (n > sizeof blocks->bytes)
		abort();
	if (!blocks || blocks->used + n > sizeof blocks->bytes) {
		struct block *b = malloc(sizeof *b);

		if (!b)
			abort();
		b->next = blocks;
		b->used = 0;
		blocks = b;
	}
	p = blocks->bytes + blocks->used;
	blocks->used += n;
	return memset(p, 0, n);
}

size_t model_texts_size(void)
{
	size_t n = 0;

	for (const struct block *b = blocks; b; b = b->next)
		n += sizeof b->bytes;
	return n;
}

void model_forget_texts(void)
{
	while (blocks) {
		struct block *b = blocks;

		blocks = b->next;
		free(b);
	}
	memset(words, 0, sizeof words);
	memset(texts, 0, sizeof texts);
}

static size_t slot_of(const char *text, size_t len)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)text[i]) * 1099511628211u;
	return (h ^ h >> 32) & (TABLE - 1);
}

const char *model_intern(const char *text, size_t len)
{
	struct word **at = &words[slot_of(text, len)], *w;

	for (w = *at; w; w = w->next)
		if (w->len == len && !memcmp(w->text, text, len))
			return w->text;
	w = keep(sizeof *w + len + 1);
	w->len = len;
	memcpy(w->text, text, len);
	w->next = *at;
	*at = w;
	return w->text;
}

const char *model_word(const char *text)
{
	return model_intern(text, strlen(text));
}

/* Indexed by enum model_var. */
static const char *const var_names[VARS] = {
	"search_path", "timezone", "datestyle", "application_name", "standard_conforming_strings", "work_mem", "statement_timeout",
	"default_transaction_isolation", "session_replication_role", "role", "session_authorization", "app.x", "app.y",
};

int model_var_of(const char *name)
{
	for (int i = 0; i < VARS; i++)
		if (!strcasecmp(name, var_names[i]))
			return i;
	return -1;
}

const char *model_var_name(enum model_var v)
{
	return var_names[v];
}

/* ---- reading ---- */

struct scan {
	const char *at;
	bool bad;
};

static void blanks(struct scan *s)
{
	while (*s->at == ' ' || *s->at == '\n')
		s->at++;
}

static bool word_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '"' || c == '$';
}

/* Words and signs, in any case, blanks between them as they come. */
static bool take(struct scan *s, const char *phrase)
{
	const char *p;

	blanks(s);
	for (p = s->at; *phrase; phrase++) {
		if (*phrase == ' ') {
			while (*p == ' ')
				p++;
			continue;
		}
		if (tolower((unsigned char)*p) != tolower((unsigned char)*phrase))
			return false;
		p++;
	}
	if (word_char(p[-1]) && word_char(*p))
		return false;
	s->at = p;
	return true;
}

/* Likewise, but what follows may go on with the word: pg_temp.t1, $2. */
static bool take_part(struct scan *s, const char *part)
{
	blanks(s);
	if (strncasecmp(s->at, part, strlen(part)))
		return false;
	s->at += strlen(part);
	return true;
}

static void need(struct scan *s, const char *phrase)
{
	if (!take(s, phrase))
		s->bad = true;
}

static bool at_end(struct scan *s)
{
	blanks(s);
	return !*s->at || *s->at == ';';
}

/* A name or number, quotes taken off. */
static const char *name_of(struct scan *s)
{
	const char *from;
	size_t n;

	blanks(s);
	if (*s->at == '"') {
		from = s->at + 1;
		n = strcspn(from, "\"");
		s->at = from + n + (from[n] == '"');
		return model_intern(from, n);
	}
	from = s->at;
	while (word_char(*s->at) && *s->at != '"')
		s->at++;
	if (s->at == from)
		s->bad = true;
	return model_intern(from, (size_t)(s->at - from));
}

static bool string_of(struct scan *s, const char **out)
{
	char text[512];
	size_t n = 0;
	bool escapes;

	blanks(s);
	escapes = (*s->at == 'E' || *s->at == 'e') && s->at[1] == '\'';
	if (!escapes && *s->at != '\'')
		return false;
	for (s->at += 1 + escapes; *s->at; s->at++) {
		if (*s->at == '\'' && s->at[1] != '\'')
			break;
		if (*s->at == '\'' || (*s->at == '\\' && escapes))
			s->at++;
		if (n < sizeof text)
			text[n++] = *s->at;
	}
	if (*s->at != '\'' || n == sizeof text)
		s->bad = true;
	else
		s->at++;
	*out = model_intern(text, n);
	return true;
}

static int number_of(struct scan *s)
{
	char *end;
	long n;

	blanks(s);
	n = strtol(s->at, &end, 10);
	if (end == s->at)
		s->bad = true;
	s->at = end;
	return (int)n;
}

static int var_named(struct scan *s)
{
	const char *name;
	char both[100];
	int v;

	if (take(s, "TIME ZONE"))
		return VAR_TIMEZONE;
	if (take(s, "SESSION AUTHORIZATION"))
		return VAR_AUTHORIZATION;
	name = name_of(s);
	if (take_part(s, ".")) { /* "app"."x" */
		snprintf(both, sizeof both, "%s.%s", name, name_of(s));
		name = both;
	}
	v = model_var_of(name);
	if (v < 0)
		s->bad = true;
	return v;
}

/* One element of a list, quoted as quote_identifier() would. */
static void list_element(char *out, size_t size, const char *word)
{
	bool safe = islower((unsigned char)*word) || *word == '_';

	for (const char *p = word; *p; p++)
		if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '_')
			safe = false;
	snprintf(out, size, safe ? "%s" : "\"%s\"", word);
}

static const char *list_of(struct scan *s)
{
	char all[256] = "", one[100];
	const char *word;

	do {
		if (!string_of(s, &word))
			word = name_of(s);
		list_element(one, sizeof one, word);
		if (strlen(all) + strlen(one) + 3 > sizeof all)
			abort();
		if (*all)
			strcat(all, ", ");
		strcat(all, one);
	} while (take(s, ","));
	return model_word(all);
}

static void read_set(struct scan *s, struct model_sql *q)
{
	q->op = OP_SET;
	if (take(s, "TRANSACTION ISOLATION LEVEL") || (take(s, "LOCAL TRANSACTION ISOLATION LEVEL"))) {
		q->op = OP_SET_ISOLATION;
		q->value = take(s, "REPEATABLE READ") ? model_word("repeatable read") : take(s, "SERIALIZABLE") ? model_word("serializable") : NULL;
		s->bad |= !q->value;
		return;
	}
	q->local = take(s, "LOCAL");
	if (!q->local)
		take(s, "SESSION ");
	if (take(s, "CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL")) {
		q->var = VAR_ISOLATION;
		q->value = take(s, "REPEATABLE READ") ? model_word("repeatable read") : take(s, "SERIALIZABLE") ? model_word("serializable") : NULL;
		s->bad |= !q->value;
		return;
	}
	q->var = take(s, "AUTHORIZATION") ? VAR_AUTHORIZATION : (int8_t)var_named(s);
	if (!take(s, "=") && !take(s, "TO") && q->var != VAR_ROLE && q->var != VAR_AUTHORIZATION && q->var != VAR_TIMEZONE)
		s->bad = true;
	if (take(s, "DEFAULT"))
		return;
	if (q->var == VAR_SEARCH_PATH)
		q->value = list_of(s);
	else if (!string_of(s, &q->value))
		q->value = name_of(s);
}

/* set_config(…), … */
static void read_set_configs(struct scan *s, struct model_sql *q)
{
	do {
		struct model_change *c = &q->changes[q->n_changes++];
		const char *name;

		if (q->n_changes == SQL_CHANGES)
			abort();
		take_part(s, "pg_catalog.");
		need(s, "set_config(");
		c->var = -1;
		if (take_part(s, "$"))
			c->name_param = (uint8_t)number_of(s);
		else if (string_of(s, &name))
			c->var = (int8_t)model_var_of(name);
		s->bad |= c->var < 0 && !c->name_param;
		need(s, ",");
		if (take(s, "NULL"))
			c->is_null = true;
		else if (take_part(s, "$"))
			c->value_param = (uint8_t)number_of(s);
		else if (!string_of(s, &c->value))
			s->bad = true;
		need(s, ",");
		c->local = take(s, "true");
		if (!c->local)
			need(s, "false");
		need(s, ")");
	} while (take(s, ","));
}

/* pg_catalog.current_setting(…,true), … (state/session_learn.c) */
static void read_learned(struct scan *s, struct model_sql *q)
{
	do {
		struct model_change *c = &q->changes[q->n_changes++];
		const char *name;

		if (q->n_changes == SQL_CHANGES)
			abort();
		need(s, "pg_catalog.current_setting(");
		if (!string_of(s, &name) || (c->var = (int8_t)model_var_of(name)) < 0)
			s->bad = true;
		need(s, ",true)");
	} while (take(s, ","));
}

/* Names and values (state/session_reset.c). */
static void read_given_back(struct scan *s, struct model_sql *q)
{
	const char *from = strstr(s->at, " FROM (VALUES ");

	q->op = OP_GIVE_BACK;
	if (!from) {
		s->bad = true;
		return;
	}
	s->at = from + strlen(" FROM (VALUES ");
	do {
		struct model_change *c = &q->changes[q->n_changes++];
		const char *name = "";

		if (q->n_changes == SQL_CHANGES)
			abort();
		need(s, "(");
		s->bad |= !string_of(s, &name) || (c->var = (int8_t)model_var_of(name)) < 0;
		need(s, "::pg_catalog.text,");
		s->bad |= !string_of(s, &c->value);
		need(s, "::pg_catalog.text)");
	} while (!s->bad && take(s, ","));
	need(s, ") AS v(name,value)");
}

static void read_lock(struct scan *s, struct model_sql *q, enum model_op op)
{
	q->op = op;
	q->n = number_of(s);
	need(s, ")");
}

/* As the client says it, or as pgporter has written it anew. */
static void read_channels(struct scan *s, struct model_sql *q)
{
	const char *name;

	q->op = OP_MY_CHANNELS;
	if (take(s, "pg_listening_channels() AS c")) {
		q->hold = true;
		return;
	}
	need(s, "pg_catalog.unnest(ARRAY[");
	while (string_of(s, &name)) {
		q->n |= 1 << model_channel(name);
		take(s, ",");
	}
	need(s, "]::pg_catalog.text[]");
	q->hold = take(s, "OPERATOR(pg_catalog.||) ARRAY(SELECT pg_catalog.pg_listening_channels())");
	need(s, ") AS c");
}

static void read_select(struct scan *s, struct model_sql *q)
{
	const char *name;

	if (at_end(s)) {
		q->op = OP_NOTHING;
	} else if (take(s, "1/0")) {
		q->op = OP_DIVISION;
	} else if (take(s, "date '02/01/2024'")) {
		q->op = OP_ORDER;
	} else if (take(s, "* FROM t")) {
		q->op = OP_TABLE;
	} else if (take(s, "* FROM generate_series(1,")) {
		read_lock(s, q, OP_SERIES);
	} else if (take_part(s, "count(*) FROM pg_temp.t")) {
		q->op = OP_TEMP_READ;
		q->n = number_of(s);
	} else if (take(s, "count(*) FROM my_advisory_locks")) {
		q->op = OP_MY_LOCKS;
	} else if (take(s, "string_agg(concat(name, from_sql), ',' ORDER BY name) FROM pg_prepared_statements")) {
		q->op = OP_MY_STATEMENTS;
	} else if (take(s, "string_agg(c, ',' ORDER BY c) FROM")) {
		read_channels(s, q);
	} else if (take(s, "NULLIF(current_setting(") || take(s, "current_setting(")) {
		q->op = s->at[-strlen("current_setting(") - 1] == '(' ? OP_SETTING_OR_NOTHING : OP_CURRENT_SETTING;
		if (!string_of(s, &name) || (q->var = (int8_t)model_var_of(name)) < 0)
			s->bad = true;
		need(s, ", true)");
		if (q->op == OP_SETTING_OR_NOTHING)
			need(s, ", '')");
	} else if (take(s, "pg_advisory_lock(") || take(s, "pg_try_advisory_lock(") || take(s, "pg_advisory_lock_shared(")) {
		read_lock(s, q, OP_LOCK);
	} else if (take(s, "pg_advisory_xact_lock(")) {
		read_lock(s, q, OP_LOCK_IN_TRANSACTION);
	} else if (take(s, "pg_advisory_unlock(")) {
		read_lock(s, q, OP_UNLOCK);
	} else if (take(s, "pg_advisory_unlock_all()") || take(s, "pg_catalog.pg_advisory_unlock_all()")) {
		q->op = OP_UNLOCK_ALL;
	} else if (take(s, "lastval()")) {
		q->op = OP_LASTVAL;
	} else if (take_part(s, "nextval('q")) {
		q->op = OP_NEXTVAL;
		q->n = number_of(s);
		need(s, "')");
	} else if (take_part(s, "currval('q")) {
		q->op = OP_CURRVAL;
		q->n = number_of(s);
		need(s, "')");
	} else if (take(s, "pg_catalog.pg_notify($1,$2)")) {
		q->op = OP_NOTIFY;
	} else if (take(s, "pg_notify(") || take(s, "pg_catalog.pg_notify(")) {
		q->op = OP_NOTIFY;
		q->hold = true; /* by a SELECT */
		s->bad |= !string_of(s, &q->name);
		need(s, ",");
		s->bad |= !string_of(s, &q->value);
		need(s, ")");
	} else if (!strncasecmp(s->at, "set_config(", 11) || !strncasecmp(s->at, "pg_catalog.set_config(", 22)) {
		q->op = OP_SET_CONFIG;
		read_set_configs(s, q);
	} else if (!strncmp(s->at, "v.name,CASE WHEN ", 17)) {
		read_given_back(s, q);
	} else if (!strncmp(s->at, "pg_catalog.current_setting(E", 28)) {
		q->op = OP_LEARNED;
		read_learned(s, q);
	} else if (string_of(s, &q->value)) {
		q->op = OP_VALUE;
	} else if (take(s, "$1")) {
		q->op = OP_VALUE;
	} else {
		q->op = OP_VALUE;
		q->value = name_of(s);
	}
}

static void read_cursor(struct scan *s, struct model_sql *q)
{
	q->op = OP_DECLARE;
	q->name = name_of(s);
	need(s, "CURSOR");
	q->hold = take(s, "WITH HOLD");
	need(s, "FOR SELECT * FROM generate_series(1,");
	q->n = number_of(s);
	need(s, ")");
}

static void read_temp(struct scan *s, struct model_sql *q)
{
	q->op = OP_TEMP;
	s->bad |= !take_part(s, "t");
	q->n = number_of(s);
	need(s, "(i int)");
	q->on_commit_drop = take(s, "ON COMMIT DROP");
}

/* A rule's refusal: MESSAGE=…,DETAIL=…,HINT=…,ERRCODE=… */
static void read_raised(struct scan *s, struct model_sql *q)
{
	static const char *const more[] = { ",DETAIL=", ",HINT=", ",ERRCODE=" };

	s->bad |= !string_of(s, &q->name);
	for (size_t i = 0; i < sizeof more / sizeof *more; i++)
		if (take_part(s, more[i]))
			s->bad |= !string_of(s, &q->value);
	need(s, ";END$pgporter$");
}

static void read_do(struct scan *s, struct model_sql *q)
{
	if (take_part(s, "$pgporter$BEGIN RAISE EXCEPTION ")) {
		q->op = OP_RAISE;
		if (take_part(s, "USING MESSAGE=")) {
			read_raised(s, q);
			return;
		}
		string_of(s, &q->name);
		q->value = model_word("P0001");
		if (take(s, "USING ERRCODE="))
			string_of(s, &q->value);
		need(s, "; END$pgporter$");
		return;
	}
	q->op = OP_DO;
	s->bad |= !take_part(s, "$$BEGIN PERFORM ");
	read_set_configs(s, q);
	need(s, "; END$$");
}

static bool read_transaction(struct scan *s, struct model_sql *q)
{
	if (take(s, "BEGIN")) {
		q->op = OP_BEGIN;
		if (take(s, "ISOLATION LEVEL REPEATABLE READ"))
			q->value = model_word("repeatable read");
		else if (take(s, "ISOLATION LEVEL SERIALIZABLE"))
			q->value = model_word("serializable");
		else if (take(s, "ISOLATION LEVEL READ COMMITTED"))
			q->value = model_word("read committed");
	} else if (take(s, "COMMIT")) {
		q->op = OP_COMMIT;
		q->chain = take(s, "AND CHAIN");
	} else if (take(s, "ROLLBACK TO")) {
		q->op = OP_ROLLBACK_TO;
		take(s, "SAVEPOINT");
		q->name = name_of(s);
	} else if (take(s, "ROLLBACK")) {
		q->op = OP_ROLLBACK;
		q->chain = take(s, "AND CHAIN");
	} else if (take(s, "SAVEPOINT")) {
		q->op = OP_SAVEPOINT;
		q->name = name_of(s);
	} else if (take(s, "RELEASE")) {
		q->op = OP_RELEASE;
		take(s, "SAVEPOINT");
		q->name = name_of(s);
	} else {
		return false;
	}
	return true;
}

static void read_names(struct scan *s, struct model_sql *q, enum model_op op)
{
	q->op = op;
	q->name = name_of(s);
}

static bool plain(struct scan *s, struct model_sql *q, const char *phrase, enum model_op op)
{
	if (!take(s, phrase))
		return false;
	q->op = op;
	return true;
}

static struct model_sql *read_statement(struct scan *s);

static void read_prepare(struct scan *s, struct model_sql *q)
{
	read_names(s, q, OP_PREPARE);
	need(s, "AS");
	if (!s->bad)
		q->inner = read_statement(s);
}

static bool read_cursor_words(struct scan *s, struct model_sql *q)
{
	if (take(s, "DECLARE")) {
		read_cursor(s, q);
	} else if (take(s, "FETCH") || take(s, "MOVE")) {
		bool move = tolower((unsigned char)s->at[-1]) == 'e';

		q->n = number_of(s);
		take(s, "FROM");
		read_names(s, q, move ? OP_MOVE : OP_FETCH);
	} else if (!plain(s, q, "CLOSE ALL", OP_CLOSE_ALL)) {
		if (!take(s, "CLOSE"))
			return false;
		read_names(s, q, OP_CLOSE);
	}
	return true;
}

static void read_notify(struct scan *s, struct model_sql *q)
{
	read_names(s, q, OP_NOTIFY);
	q->value = model_word("");
	if (take(s, ","))
		s->bad |= !string_of(s, &q->value);
}

static void read_rest(struct scan *s, struct model_sql *q)
{
	if (take(s, "PREPARE"))
		read_prepare(s, q);
	else if (take(s, "EXECUTE"))
		read_names(s, q, OP_EXECUTE);
	else if (plain(s, q, "DEALLOCATE ALL", OP_DEALLOCATE_ALL))
		;
	else if (take(s, "DEALLOCATE"))
		read_names(s, q, OP_DEALLOCATE);
	else if (take(s, "CREATE TEMP TABLE"))
		read_temp(s, q);
	else if (take_part(s, "DROP TABLE pg_temp.t"))
		q->op = OP_TEMP_DROP, q->n = number_of(s);
	else if (take_part(s, "DROP ROLE r"))
		q->op = OP_DROP_ROLE, q->n = number_of(s);
	else if (plain(s, q, "UNLISTEN *", OP_UNLISTEN_ALL))
		;
	else if (take(s, "UNLISTEN"))
		read_names(s, q, OP_UNLISTEN);
	else if (take(s, "NOTIFY"))
		read_notify(s, q);
	else if (take(s, "LISTEN"))
		read_names(s, q, OP_LISTEN);
	else if (plain(s, q, "COPY copied FROM STDIN", OP_COPY_IN) || plain(s, q, "COPY copied TO STDOUT", OP_COPY_OUT))
		;
	else if (plain(s, q, "DISCARD ALL", OP_DISCARD_ALL) || plain(s, q, "DISCARD PLANS", OP_DISCARD_PLANS) ||
		 plain(s, q, "DISCARD SEQUENCES", OP_DISCARD_SEQUENCES) || plain(s, q, "DISCARD TEMP", OP_DISCARD_TEMP))
		;
	else if (take(s, "DO"))
		read_do(s, q);
	else if (plain(s, q, "INSERT INTO deferred VALUES (1)", OP_DEFERRED) || plain(s, q, "SYNTAX ERROR", OP_SYNTAX))
		;
	else
		s->bad = true;
}

static struct model_sql *read_statement(struct scan *s)
{
	struct model_sql *q = keep(sizeof *q);

	q->var = -1;
	if (read_transaction(s, q) || read_cursor_words(s, q))
		return q;
	if (take(s, "SELECT")) {
		blanks(s);
		read_select(s, q);
	} else if (take(s, "SHOW transaction_isolation")) {
		q->op = OP_SHOW;
	} else if (take(s, "SHOW")) {
		q->op = OP_SHOW;
		q->var = (int8_t)var_named(s);
	} else if (take(s, "SET")) {
		read_set(s, q);
	} else if (take(s, "RESET ALL")) {
		q->op = OP_RESET_ALL;
	} else if (take(s, "RESET")) {
		q->op = OP_RESET;
		q->var = (int8_t)var_named(s);
	} else {
		read_rest(s, q);
	}
	return q;
}

/* ---- what pgporter asks (state/session_task.c) ---- */

static char question_kind(const char *q, size_t n)
{
	static const struct { const char *piece; char kind; } known[] = {
		{ "pg_catalog.pg_settings WHERE", 'a' }, { "pg_catalog.pg_settings AS s WHERE", 's' }, { "pg_catalog.current_setting('role')", 'r' }, { "pg_catalog.pg_locks WHERE", 'l' },
		{ "pg_catalog.pg_cursors WHERE is_holdable", 'c' }, { "pg_catalog.pg_listening_channels()", 'n' },
		{ "pg_catalog.pg_my_temp_schema()::pg_catalog.text", 'm' }, { "pg_catalog.pg_class WHERE", 't' },
		{ "pg_catalog.pg_proc WHERE", 'f' }, { "pg_catalog.pg_type WHERE", 'y' },
		{ "pg_catalog.pg_prepared_statements WHERE from_sql AND NOT pg_catalog.starts_with(name, 'pgporter_')", 'p' },
	};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (memmem(q, n, known[i].piece, strlen(known[i].piece)))
			return known[i].kind;
	return memmem(q, n, ",pg_catalog.current_setting(", 28) ? 'g' : 0;
}

static void read_question(struct scan *s, struct model_sql *q, size_t n)
{
	struct model_change *c = &q->changes[q->n_changes++];
	static const char ask[] = ",pg_catalog.current_setting(", if_set[] = "::pg_catalog.text,";
	struct scan name;
	const char *asked, *before;

	if (q->n_changes == SQL_CHANGES)
		abort();
	c->asks = question_kind(s->at, n);
	c->kind = s->at[strlen("SELECT '")];
	if (c->asks == 'g' || c->asks == 's') {
		before = c->asks == 'g' ? ask : if_set;
		name = (struct scan){ .at = (const char *)memmem(s->at, n, before, strlen(before)) + strlen(before) };
		if (!string_of(&name, &asked) || (c->var = (int8_t)model_var_of(asked)) < 0)
			s->bad = true;
	}
	s->bad |= !c->asks;
	s->at += n;
}

/* SELECT … UNION ALL SELECT … */
static struct model_sql *read_questions(struct scan *s)
{
	struct model_sql *q = keep(sizeof *q);
	size_t end = strcspn(s->at, ";");

	q->op = OP_ASKED;
	q->var = -1;
	for (;;) {
		const char *more = memmem(s->at, end, " UNION ALL ", 11);
		size_t n = more ? (size_t)(more - s->at) : end;

		read_question(s, q, n);
		end -= n;
		if (!more)
			return q;
		s->at += 11;
		end -= 11;
	}
}

static struct model_sql *read_any(struct scan *s, bool asking)
{
	blanks(s);
	if (asking && !strncmp(s->at, "SELECT '", 8))
		return read_questions(s);
	return read_statement(s);
}

static size_t params_in(const char *text)
{
	size_t most = 0;

	for (text = strchr(text, '$'); text; text = strchr(text + 1, '$'))
		if (isdigit((unsigned char)text[1]) && strtoul(text + 1, NULL, 10) > most)
			most = strtoul(text + 1, NULL, 10);
	return most;
}

static void read_text(struct model_text *t)
{
	struct scan s = { .at = t->text };

	t->ours = !strncmp(t->text, "BEGIN ISOLATION LEVEL READ COMMITTED;SE", 39);
	t->n_params = params_in(t->text);
	for (;;) {
		while (*s.at == ' ' || *s.at == '\n' || *s.at == ';')
			s.at++;
		if (!*s.at)
			return;
		if (t->n == SQL_STATEMENTS)
			abort();
		t->statements[t->n++] = read_any(&s, t->ours);
		if (s.bad || !at_end(&s)) {
			t->unread = true;
			return;
		}
	}
}

const struct model_text *model_read(const char *text)
{
	struct model_text **at = &texts[slot_of(text, strlen(text))], *t;

	for (t = *at; t; t = t->next)
		if (!strcmp(t->text, text))
			return t;
	t = keep(sizeof *t);
	t->text = model_word(text);
	read_text(t);
	t->next = *at;
	*at = t;
	return t;
}
