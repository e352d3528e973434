/* Who may do what with session state: the user's line beats the database's, that beats [pgbouncer]; on each of them an
 * option of its own beats the preset. */
#include <string.h>

#include "server/worker.h"

/* What one of the three places says. */
struct level {
	enum rule_from from;
	int preset;
	int action[RULE_KINDS];
};

static void level_global(const struct config *c, struct level *l)
{
	*l = (struct level){
		.from = FROM_GLOBAL,
		.preset = c->state_preset,
		.action = {
			[RULE_SETTINGS] = c->state_settings,
			[RULE_CUSTOM_UNSET] = c->state_custom_unset,
			[RULE_ROLE] = c->state_role,
			[RULE_PREPARED] = c->state_prepared,
			[RULE_CURSOR] = c->state_cursor,
			[RULE_LOCK] = c->state_lock,
			[RULE_TEMP] = c->state_temp,
			[RULE_LISTEN] = c->state_listen,
			[RULE_SEQUENCE] = c->state_sequence,
			[RULE_OPAQUE] = c->state_opaque,
			[RULE_SESSION] = c->state_session_state,
		},
	};
}

static void level_line(const struct config_rules *r, enum rule_from from, struct level *l)
{
	*l = (struct level){ .from = from };
	if (!r)
		return;
	l->preset = r->preset;
	memcpy(l->action, r->action, sizeof l->action);
}

static enum rule_action preset_action(int preset, int kind)
{
	static const struct {
		uint8_t normal, strict;
	} rows[] = {
#define ROW(kind, name, normal, strict) [RULE_##kind] = { RULE_##normal, RULE_##strict },
		RULE_KINDS_EACH(ROW)
#undef ROW
	};

	return preset == PRESET_PGBOUNCER ? RULE_IGNORE : preset == PRESET_STRICT ? rows[kind].strict : rows[kind].normal;
}

static void lay_over(struct state_rules *r, const struct level *l)
{
	if (l->preset != PRESET_INHERIT) {
		r->preset = (uint8_t)l->preset;
		r->preset_from = (uint8_t)l->from;
		r->no_pins = l->preset == PRESET_STRICT;
	}
	for (int kind = 0; kind < RULE_KINDS; kind++) {
		if (l->action[kind] != RULE_DEFAULT) {
			r->action[kind] = (uint8_t)l->action[kind];
			r->by_preset[kind] = false;
		} else if (l->preset != PRESET_INHERIT) {
			r->action[kind] = (uint8_t)preset_action(l->preset, kind);
			r->by_preset[kind] = true;
		} else {
			continue;
		}
		r->from[kind] = (uint8_t)l->from;
	}
}

/* The narrowest list there is. */
static const char *list_of(const char *user, const char *database, const char *global)
{
	return user ? user : database ? database : global;
}

void pools_rules(const struct worker *w, const struct database *db, const struct user *user, struct state_rules *r)
{
	const struct config *c = w->config;
	const struct config_rules *of_db = db->conf ? &db->conf->rules : NULL, *of_user = user->conf ? &user->conf->rules : NULL;
	struct level levels[3];

	memset(r, 0, sizeof *r);
	level_global(c, &levels[0]);
	level_line(of_db, FROM_DATABASE, &levels[1]);
	level_line(of_user, FROM_USER, &levels[2]);
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
		lay_over(r, &levels[i]);
	rules_complete(r);
	r->database = db->name;
	r->user = user->name;
	r->whole_session = rules_list_has(list_of(NULL, of_db ? of_db->pin_users : NULL, c->pin_users), user->name);
	r->applications = list_of(of_user ? of_user->pin_application_names : NULL, of_db ? of_db->pin_application_names : NULL,
				  c->pin_application_names);
}

struct kept_rules *rules_keep(struct worker *w, const struct database *db, const struct user *user)
{
	struct kept_rules *kept;
	struct state_rules rules;

	pools_rules(w, db, user, &rules);
	TAILQ_FOREACH (kept, &w->rules, in)
		if (!memcmp(&kept->rules, &rules, sizeof rules))
			break;
	if (!kept) {
		kept = calloc(1, sizeof *kept);
		if (!kept)
			abort();
		kept->rules = rules;
	} else {
		TAILQ_REMOVE(&w->rules, kept, in); /* the last one asked for is found first */
	}
	TAILQ_INSERT_HEAD(&w->rules, kept, in);
	kept->refs++;
	return kept;
}

void rules_drop(struct worker *w, struct kept_rules *kept)
{
	if (!kept || --kept->refs)
		return;
	TAILQ_REMOVE(&w->rules, kept, in);
	free(kept);
}

/* As with other limits: what the user's line, the database's, or [pgbouncer] says first. */
static int64_t first_set(const struct database *db, const struct user *user, size_t at, int64_t global)
{
	int64_t of_user = user->conf ? *(const int64_t *)((const char *)&user->conf->rules + at) : -1;
	int64_t of_db = db->conf ? *(const int64_t *)((const char *)&db->conf->rules + at) : -1;

	return of_user >= 0 ? of_user : of_db >= 0 ? of_db : global;
}

int64_t pools_pin_idle_timeout_us(const struct worker *w, const struct database *db, const struct user *user)
{
	return first_set(db, user, offsetof(struct config_rules, pin_idle_timeout_us), w->config->pin_idle_timeout_us);
}

int64_t pools_pin_max_age_us(const struct worker *w, const struct database *db, const struct user *user)
{
	return first_set(db, user, offsetof(struct config_rules, pin_max_age_us), w->config->pin_max_age_us);
}

int64_t pools_pin_log_after_us(const struct worker *w, const struct database *db, const struct user *user)
{
	return first_set(db, user, offsetof(struct config_rules, pin_log_after_us), w->config->pin_log_after_us);
}
