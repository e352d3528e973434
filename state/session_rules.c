/* The operator's rules (state/rules.h) applied: which statements are refused before they run, what is left alone, which
 * pins come of what a session has, and how many there may be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "state/session_internal.h"

#define BIT(kind) (1u << RULE_##kind)
#define PIN_SETTING_NAME "pgporter.pin"

enum { PINS_BY_RULE = PIN_SETTING | PIN_ROLE | PIN_PREPARED | PIN_HAND | PIN_WHOLE };
enum { PINS_UNASKED = BIT(COMPUTED) | BIT(HAND) | BIT(STATEMENT) }; /* kinds that have no option of their own */

static const struct state_rules normal_rules = {
	.preset = PRESET_PGPORTER,
#define ACTION(kind, name, normal, strict) .action[RULE_##kind] = RULE_##normal,
	RULE_KINDS_EACH(ACTION)
#undef ACTION
#define IGNORED(kind, name, normal, strict) | (RULE_##normal == RULE_IGNORE ? BIT(kind) : 0)
	.ignore = 0 RULE_KINDS_EACH(IGNORED),
#undef IGNORED
#define PINNED(kind, name, normal, strict) | (RULE_##normal == RULE_PIN ? BIT(kind) : 0)
	.pin = 0 RULE_KINDS_EACH(PINNED),
#undef PINNED
};

const struct state_rules *rules_normal(void)
{
	return &normal_rules;
}

void session_rules_set(struct session *s, const struct state_rules *rules, struct pin_limit *limit, bool carry)
{
	if (s->pin_limit != limit)
		rules_uncount(s);
	s->rules = rules;
	s->pin_limit = limit;
	s->carry_next = carry;
	s->ruled_settings = 0;
	s->ready = false;
	if (!s->backend)
		s->carry = carry;
}

/* ---- kinds of state ---- */

static const struct {
	uint32_t touch, kind, pin;
	const char *what;
} kinds[] = {
	{ 0, BIT(SETTINGS), PIN_SETTING, "settings of the session" },
	{ 0, BIT(CUSTOM_UNSET), 0, "custom settings that were never set" },
	{ 0, BIT(ROLE), PIN_ROLE, "SET ROLE and SET SESSION AUTHORIZATION" },
	{ 0, BIT(PREPARED), PIN_PREPARED, "named prepared statements" },
	{ TOUCH_CURSOR, BIT(CURSOR), PIN_CURSOR, "cursors WITH HOLD" },
	{ TOUCH_LOCK, BIT(LOCK), PIN_LOCK, "session advisory locks" },
	{ TOUCH_TEMP, BIT(TEMP), PIN_TEMP, "temporary objects" },
	{ TOUCH_LISTEN, BIT(LISTEN), PIN_LISTEN, "LISTEN" },
	{ TOUCH_SEQUENCE, BIT(SEQUENCE), PIN_SEQUENCE, "currval() and lastval()" },
	{ TOUCH_OPAQUE, BIT(OPAQUE), PIN_OPAQUE, "DO, CALL and statements that can't be read" },
	{ TOUCH_SESSION, BIT(SESSION), PIN_SESSION, "state that only the session's end undoes (LOAD, setseed() and the like)" },
	{ TOUCH_SETTINGS_UNKNOWN, BIT(COMPUTED), PIN_OPAQUE, "set_config() of a computed name" },
	{ 0, BIT(HAND), PIN_HAND, "SET " PIN_SETTING_NAME },
	{ 0, BIT(STATEMENT), PIN_STATEMENT, "unnamed statements too long to be remembered" },
	{ 0, BIT(WHOLE), PIN_WHOLE, "sessions pinned by pin_users or pin_application_names" },
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static uint32_t kind_of_setting(const char *name)
{
	if (!strcmp(name, "role") || !strcmp(name, "session_authorization"))
		return BIT(ROLE);
	return strcmp(name, PIN_SETTING_NAME) ? BIT(SETTINGS) : 0;
}

bool rules_ignore_setting(const struct session *s, const char *name)
{
	return s->rules->ignore && s->rules->ignore & kind_of_setting(name);
}

uint32_t rules_ignored_touches(const struct session *s)
{
	uint32_t touches = 0;

	if (!s->rules->ignore)
		return 0;
	for (size_t i = 0; i < N_KINDS; i++)
		if (s->rules->ignore & kinds[i].kind)
			touches |= kinds[i].touch;
	return s->rules->ignore & BIT(SETTINGS) ? touches | TOUCH_SETTINGS_UNKNOWN : touches;
}

uint32_t rules_ignored_pins(const struct session *s)
{
	uint32_t pins = 0;

	for (size_t i = 0; s->rules->ignore && i < N_KINDS; i++)
		if (s->rules->ignore & kinds[i].kind && kinds[i].touch)
			pins |= kinds[i].pin;
	return pins;
}

/* PostgreSQL's parse_bool(): on, true, yes, 1 and what they may be cut down to. 0, 1, or -1 for neither. */
static int boolean(const char *text)
{
	static const struct { const char *word; size_t least; int value; } words[] = {
		{ "on", 2, 1 }, { "off", 2, 0 }, { "true", 1, 1 }, { "false", 1, 0 }, { "yes", 1, 1 }, { "no", 1, 0 },
		{ "1", 1, 1 }, { "0", 1, 0 },
	};
	size_t len = strlen(text);

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (len >= words[i].least && len <= strlen(words[i].word) && !strncasecmp(text, words[i].word, len))
			return words[i].value;
	return -1;
}

static uint32_t flags_kinds(const struct stmt_effects *row, uint32_t flags)
{
	uint32_t found = 0;

	for (size_t i = 0; i < N_KINDS; i++)
		if (flags & kinds[i].touch)
			found |= kinds[i].kind;
	if (flags & TOUCH_SETTINGS_UNKNOWN)
		found |= BIT(SETTINGS);
	for (size_t i = 0; flags & TOUCH_SETTINGS && i < row->n_touched; i++)
		if (!row->touched[i].local)
			found |= row->touched[i].name ? kind_of_setting(row->touched[i].name) : BIT(SETTINGS);
	return found;
}

static uint32_t row_kinds(const struct stmt_effects *row)
{
	switch (row->kind) {
	case STMT_UNLOCK_ALL: /* gives up, takes nothing */
		return 0;
	case STMT_SET:
		if (row->name && !strcmp(row->name, PIN_SETTING_NAME))
			return row->value && boolean(row->value) ? BIT(HAND) : 0;
		return row->name ? kind_of_setting(row->name) : BIT(SETTINGS);
	case STMT_PREPARE:
		return BIT(PREPARED) | flags_kinds(row, row->inner_flags);
	default:
		return flags_kinds(row, row->flags);
	}
}

uint32_t rules_kinds(struct session *s, const struct effects *e)
{
	uint32_t found = 0;

	for (size_t i = 0; i < e->n; i++) {
		const struct stmt_effects *row = &e->stmts[i];
		const struct stmt *target = row->kind == STMT_EXECUTE && row->name ? names_find(&s->names, row->name) : NULL;

		found |= row_kinds(row);
		for (size_t j = 0; target && j < target->effects->n; j++) /* rules may have changed since it was prepared */
			found |= row_kinds(&target->effects->stmts[j]) & ~BIT(PREPARED);
	}
	return found;
}

/* ---- refusing ---- */

static const char *const option_names[] = {
#define NAME(kind, name, normal, strict) [RULE_##kind] = "state_" #name,
	RULE_KINDS_EACH(NAME)
#undef NAME
};

static const char *preset_name(const struct state_rules *r)
{
	return r->preset == PRESET_STRICT ? "strict" : r->preset == PRESET_PGBOUNCER ? "pgbouncer" : "pgporter";
}

/* Bytes that mean the same in any encoding and any quoting. */
static void put_safely(char *out, size_t cap, const char *text)
{
	size_t n = 0;

	for (; text && *text && n + 1 < cap; text++)
		out[n++] = *text < 0x20 || *text > 0x7e || strchr("'\"\\$%", *text) ? '?' : *text;
	out[n] = 0;
}

static void put_place(char *out, size_t cap, const struct state_rules *r, int from)
{
	char name[64];

	put_safely(name, sizeof name, from == FROM_USER ? r->user : r->database);
	if (from == FROM_USER)
		snprintf(out, cap, "user %s", name);
	else if (from == FROM_DATABASE)
		snprintf(out, cap, "database %s", name);
	else
		snprintf(out, cap, "all databases");
}

void rules_option(const struct state_rules *r, int kind, char *out, size_t cap)
{
	static const char *const actions[] = { "default", "carry", "pin", "refuse", "ignore" };
	char place[96];

	put_place(place, sizeof place, r, r->by_preset[kind] ? r->preset_from : r->from[kind]);
	if (r->by_preset[kind])
		snprintf(out, cap, "state_preset = %s (%s)", preset_name(r), place);
	else
		snprintf(out, cap, "%s = %s (%s)", option_names[kind],
			 kind == RULE_LISTEN && r->action[kind] == RULE_CARRY ? "share" : actions[r->action[kind]], place);
}

int rules_kind_of_pin(enum pin_reason reason)
{
	for (int i = 0; i < RULE_KINDS; i++)
		if (kinds[i].pin == reason)
			return i;
	return -1;
}

/* The kind a set of bits is told as: the lowest. */
static size_t told_kind(uint32_t bits)
{
	size_t i = 0;

	while (i < N_KINDS - 1 && !(bits & kinds[i].kind))
		i++;
	return i;
}

static void say_refused(const struct session *s, uint32_t bad, struct rule_refusal *why)
{
	size_t i = told_kind(bad);
	char option[160], place[96];

	why->code = "0A000";
	snprintf(why->message, sizeof why->message, "%s: not allowed here", kinds[i].what);
	if (i < RULE_KINDS && bad & s->rules->refuse) {
		rules_option(s->rules, (int)i, option, sizeof option);
	} else {
		put_place(place, sizeof place, s->rules, s->rules->preset_from);
		snprintf(option, sizeof option, "state_preset = %s (%s)", preset_name(s->rules), place);
	}
	snprintf(why->detail, sizeof why->detail, "pgporter refuses it by the rule %s.", option);
	if (i < RULE_KINDS)
		snprintf(why->hint, sizeof why->hint, "An operator can allow it by %s in the configuration, for all, one database or one user.",
			 option_names[i]);
	else
		snprintf(why->hint, sizeof why->hint, "An operator can allow it by another state_preset, for all, one database or one user.");
}

static void say_too_many(const struct session *s, uint32_t pins, struct rule_refusal *why)
{
	why->code = "53400";
	snprintf(why->message, sizeof why->message, "too many pinned sessions");
	snprintf(why->detail, sizeof why->detail, "%s would keep a server connection for this session, and max_pins = %d of this pool are held already.",
		 kinds[told_kind(pins)].what, s->pin_limit->max);
	snprintf(why->hint, sizeof why->hint, "Try again when another session has ended its own. An operator can see them by SHOW PINS and raise max_pins.");
}

static uint32_t would_pin(const struct state_rules *r, uint32_t found)
{
	uint32_t pins = found & (r->pin | BIT(HAND) | BIT(STATEMENT) | BIT(WHOLE));

	return r->ignore & BIT(SETTINGS) ? pins : pins | (found & BIT(COMPUTED));
}

static bool limit_reached(const struct session *s)
{
	const struct pin_limit *l = s->pin_limit;

	return l && !s->pin_counted && l->max > 0 && l->count >= l->max;
}

static void count_pin(struct session *s)
{
	if (s->pin_counted || !s->pin_limit)
		return;
	s->pin_counted = true;
	s->pin_limit->count++;
}

void rules_uncount(struct session *s)
{
	if (!s->pin_counted)
		return;
	s->pin_counted = false;
	s->pin_limit->count--;
}

/* unshared: kinds that are shared by rule, and can't be. */
static bool judge(const struct session *s, uint32_t found, uint32_t unshared, struct rule_refusal *why)
{
	const struct state_rules *r = s->rules;
	uint32_t bad = found & r->refuse, pins = would_pin(r, found) | unshared;

	if (r->no_pins)
		bad |= (pins & PINS_UNASKED) | unshared;
	if (bad)
		say_refused(s, bad, why);
	else if (pins && limit_reached(s))
		say_too_many(s, pins, why);
	else
		return true;
	return false;
}

static bool allow(struct session *s, uint32_t found, uint32_t unshared, struct rule_refusal *why)
{
	if (!judge(s, found, unshared, why))
		return false;
	if (unshared || would_pin(s->rules, found))
		count_pin(s); /* now: another could come in between before it is known to be pinned */
	return true;
}

bool rules_allow(struct session *s, uint32_t found, struct rule_refusal *why)
{
	return allow(s, found, 0, why);
}

bool rules_allow_unshared(struct session *s, struct rule_refusal *why)
{
	return allow(s, 0, BIT(LISTEN), why);
}

bool rules_watch(const struct session *s)
{
	return s->rules->refuse || s->rules->no_pins || limit_reached(s);
}

static bool bad_pin_value(const struct effects *e)
{
	for (size_t i = 0; i < e->n; i++) {
		const struct stmt_effects *row = &e->stmts[i];

		if ((row->kind == STMT_SET || row->kind == STMT_SET_LOCAL) && row->name && row->value &&
		    !strcmp(row->name, PIN_SETTING_NAME) && boolean(row->value) < 0)
			return true;
	}
	return false;
}

bool rules_allow_text(struct session *s, const struct effects *e, bool named, bool peek, struct rule_refusal *why)
{
	uint32_t found, unshared = 0;

	if (effects_none(e) && !named)
		return true;
	if (bad_pin_value(e)) {
		why->code = "22023";
		snprintf(why->message, sizeof why->message, "parameter \"" PIN_SETTING_NAME "\" requires a Boolean value");
		*why->detail = 0;
		snprintf(why->hint, sizeof why->hint, "Write on or off.");
		return false;
	}
	found = rules_kinds(s, e) | (named ? BIT(PREPARED) : 0);
	for (size_t i = 0; found & BIT(LISTEN) && i < e->n; i++)
		if (listen_unshared(s, &e->stmts[i]))
			unshared = BIT(LISTEN);
	return peek ? judge(s, found, unshared, why) : allow(s, found, unshared, why);
}

static void put_field(struct buf *sql, const char *name, const char *text)
{
	if (!*text)
		return;
	buf_printf(sql, "%s=E'", name);
	for (; *text; text++) {
		if (*text == '\'')
			buf_u8(sql, '\'');
		buf_u8(sql, (uint8_t)*text);
	}
	buf_text(sql, "',");
}

/* Texts of ours, with names that went through put_safely(): no backslash, no dollar. */
static void raise_sql(struct buf *sql, const struct rule_refusal *why)
{
	buf_text(sql, "DO $pgporter$BEGIN RAISE EXCEPTION USING ");
	put_field(sql, "MESSAGE", why->message);
	put_field(sql, "DETAIL", why->detail);
	put_field(sql, "HINT", why->hint);
	buf_printf(sql, "ERRCODE='%s';END$pgporter$", why->code);
}

static void remember_refusal(struct session *s, const struct rule_refusal *why)
{
	if (!s->refused && !(s->refused = malloc(sizeof *s->refused)))
		abort();
	*s->refused = *why;
}

/* Nothing is open on a backend that the error would have to end. */
static bool answer_here(const struct session *s)
{
	const struct backend *b = s->backend;

	return !b || (b->status == 'I' && !b->batch && !b->skipping && !b->owed.count);
}

enum session_verdict rules_refuse(struct session *s, const struct client_message *m, const struct rule_refusal *why)
{
	struct buf sql = { 0 };
	bool alone = m->type == 'Q' || m->type == 'F';

	s->counters->refused++;
	remember_refusal(s, why);
	s->refused_now = true;
	if (answer_here(s)) {
		msg_report(s->to_client, 'E', "ERROR", why->code, why->message, *why->detail ? why->detail : NULL,
			   *why->hint ? why->hint : NULL);
		if (m->type == 'Q')
			unnamed_forget(s);
		if (alone)
			msg_add(s->to_client, 'Z', "I", 1);
		else
			s->skip = true;
		return SESSION_DROP;
	}
	/* PostgreSQL raises it, and ends the transaction as after any other error. */
	raise_sql(&sql, why);
	s->raising = true;
	if (alone)
		query_instead(s, (const char *)buf_head(&sql), buf_len(&sql));
	else
		task_raise_text(s, (const char *)buf_head(&sql), buf_len(&sql));
	buf_release(&sql);
	return SESSION_DROP;
}

/* SHOW pgporter.pin, and nothing else? */
static bool shows_pin(const struct client_message *m)
{
	static const char *const words[] = { "show", PIN_SETTING_NAME };
	const char *at = (const char *)m->body;

	if (m->type != 'Q' || m->have < m->len || m->len < 16 || m->len > 64 || m->body[m->len - 1] ||
	    ((*at | 0x20) == 's' ? (at[1] | 0x20) != 'h' : !strchr(" \t\r\n", *at)) || !memchr(m->body, '.', m->len))
		return false;
	for (size_t i = 0; i < 2; i++) {
		size_t len = strlen(words[i]);

		at += strspn(at, " \t\r\n");
		if (strncasecmp(at, words[i], len))
			return false;
		at += len;
		if (!i && !strchr(" \t\r\n", *at))
			return false;
	}
	return !at[strspn(at, "; \t\r\n")];
}

bool rules_show_pin(struct session *s, const struct client_message *m)
{
	const struct backend *b = s->backend;
	struct buf *out = s->to_client;
	char status = b ? b->status : 'I';
	size_t mark;

	if (!s->carry || s->begin.held || !shows_pin(m) || settings_get(s->effective, PIN_SETTING_NAME))
		return false;
	if (b && (b->batch || b->skipping || b->owed.count || status == 'E'))
		return false;
	unnamed_forget(s);
	mark = msg_begin(out, 'T');
	buf_u16(out, 1);
	buf_str(out, PIN_SETTING_NAME);
	buf_u32(out, 0);
	buf_u16(out, 0);
	buf_u32(out, 25); /* text */
	buf_u16(out, UINT16_MAX);
	buf_u32(out, UINT32_MAX);
	buf_u16(out, 0);
	msg_end(out, mark);
	mark = msg_begin(out, 'D');
	buf_u16(out, 1);
	buf_u32(out, 3);
	buf_text(out, "off");
	msg_end(out, mark);
	msg_add(out, 'C', "SHOW", 5);
	msg_add(out, 'Z', &status, 1);
	s->counters->queries++;
	return true;
}

/* ---- pins that rules bring about ---- */

bool rules_list_has(const char *list, const char *word)
{
	size_t len = strlen(word);

	while (list && *list) {
		size_t n = strcspn(list, ","), from = strspn(list, " \t"), to = n;

		while (to > from && strchr(" \t", list[to - 1]))
			to--;
		if (len && to > from && to - from == len && !memcmp(list + from, word, len))
			return true;
		list += n + (list[n] == ',');
	}
	return false;
}

bool rules_whole_session(const struct session *s)
{
	const char *name;

	if (s->rules->whole_session || s->pins & PIN_WHOLE)
		return true;
	if (!s->rules->applications || !*s->rules->applications)
		return false;
	name = settings_get(s->want, "application_name");
	return name && rules_list_has(s->rules->applications, name);
}

static void other_setting(void *arg, const char *name, const char *was, const char *now)
{
	*(uint32_t *)arg |= kind_of_setting(name);
}

static uint32_t pins_of_settings(const struct session *s)
{
	const char *by_hand = settings_get(s->settings, PIN_SETTING_NAME);
	uint32_t found = 0, pins = by_hand && boolean(by_hand) == 1 ? PIN_HAND : 0;

	if (s->rules->pin & (BIT(SETTINGS) | BIT(ROLE)))
		settings_diff(s->base, s->settings, other_setting, &found);
	found &= s->rules->pin;
	return pins | (found & BIT(SETTINGS) ? PIN_SETTING : 0) | (found & BIT(ROLE) ? PIN_ROLE : 0);
}

static void broken(struct session *s, const struct rule_refusal *why, uint32_t *events)
{
	remember_refusal(s, why);
	s->refusal_code = s->refused->code;
	s->refusal = s->refused->message;
	s->counters->refused++;
	*events |= EVENT_BROKEN;
}

/* Pins that no rule allows, found only now: kinds as bits. */
static uint32_t forbidden(const struct session *s, uint32_t pins)
{
	uint32_t found = 0, refused = s->rules->refuse;

	if (s->rules->no_pins)
		refused |= s->rules->pin & BIT(OPAQUE) ? BIT(HAND) : PINS_UNASKED;
	if (s->rules->no_pins && s->rules->action[RULE_LISTEN] == RULE_CARRY) /* where it could not be shared */
		refused |= BIT(LISTEN);
	for (size_t i = 0; i < N_KINDS; i++)
		if (pins & kinds[i].pin & ~(uint32_t)(PIN_SETTING | PIN_ROLE | PIN_PREPARED) && refused & kinds[i].kind)
			found |= kinds[i].kind;
	return found;
}

static void settle_pins(struct session *s, uint32_t *events)
{
	uint32_t was = s->pins, pins = s->pins, told = s->pins_settled, fresh;
	struct rule_refusal why = { 0 };
	if (s->ruled_settings != settings_id(s->settings)) {
		pins = (pins & ~(uint32_t)(PIN_HAND | PIN_SETTING | PIN_ROLE)) | pins_of_settings(s);
		s->ruled_settings = settings_id(s->settings);
	}
	if (s->rules->pin & BIT(PREPARED) || pins & PIN_PREPARED)
		pins = s->rules->pin & BIT(PREPARED) && s->names.count ? pins | PIN_PREPARED : pins & ~(uint32_t)PIN_PREPARED;
	if (rules_whole_session(s))
		pins |= PIN_WHOLE;
	pins = sequence_settled(s, pins);
	fresh = pins & ~told;
	if (pins != was && !was && pins & PINS_BY_RULE)
		session_pinned_by(s, s->backend->last_text);
	for (uint32_t bit = 1; bit < 1u << PIN_REASONS; bit <<= 1)
		s->counters->pins += bit & pins & ~was ? 1 : 0;
	s->pins = s->pins_settled = pins;
	if (pins != told)
		*events |= EVENT_PINS;
	if (!pins)
		rules_uncount(s);
	else if (fresh && forbidden(s, fresh))
		say_refused(s, forbidden(s, fresh), &why), broken(s, &why, events);
	else if (limit_reached(s))
		say_too_many(s, 0, &why), broken(s, &why, events);
	else
		count_pin(s);
}

bool rules_room(struct session *s)
{
	if (limit_reached(s))
		return false;
	count_pin(s);
	return true;
}

/* Most transactions leave nothing, and had nothing. */
void rules_settle(struct session *s, uint32_t *events)
{
	if ((s->pins | s->pins_settled) || s->pin_counted || s->ruled_settings != settings_id(s->settings) || s->rules->pin & BIT(PREPARED) ||
	    rules_whole_session(s))
		settle_pins(s, events);
}
