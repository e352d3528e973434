/* state/rules.h — what an operator has decided about each kind of session state: carried, pinned, refused, left as
 * PgBouncer would leave it; how many pins there may be; which clients are pinned for their whole session.
 *
 * Plain values. The owner works them out of its configuration for each client and keeps them for as long as a session
 * points to them; replacing them between two messages is fine: what comes after is judged by the new ones, and what a
 * session has already stays as it is. The texts they point to are the configuration's. */
#ifndef PGPORTER_STATE_RULES_H
#define PGPORTER_STATE_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rule_action {
	RULE_DEFAULT, /* as the preset says */
	RULE_CARRY,   /* remembered and made again; opaque statements: the backend is asked what they have left; LISTEN: shared;
		       * custom settings that were never set: NULL, by backends that have not seen them */
	RULE_PIN,     /* the client keeps its backend while it has such state */
	RULE_REFUSE,  /* an error instead of the statement */
	RULE_IGNORE,  /* left where it happens, as PgBouncer would */
};

/* enum's name, option's name after state_, what it does by default and what under the preset strict. Under pgbouncer
 * everything is ignored. */
#define RULE_KINDS_EACH(K)                 \
	K(SETTINGS, settings, CARRY, CARRY)          \
	K(CUSTOM_UNSET, custom_unset, CARRY, CARRY)  \
	K(ROLE, role, CARRY, CARRY)              \
	K(PREPARED, prepared, CARRY, CARRY)          \
	K(CURSOR, cursor, PIN, REFUSE)             \
	K(LOCK, lock, PIN, REFUSE)               \
	K(TEMP, temp, PIN, REFUSE)               \
	K(LISTEN, listen, CARRY, CARRY)            \
	K(SEQUENCE, sequence, PIN, REFUSE)        \
	K(OPAQUE, opaque, CARRY, CARRY)            \
	K(SESSION, session_state, PIN, REFUSE)

enum rule_kind {
#define RULE_KIND(kind, name, normal, strict) RULE_##kind,
	RULE_KINDS_EACH(RULE_KIND)
#undef RULE_KIND
	RULE_KINDS,
	RULE_COMPUTED = RULE_KINDS, /* set_config() of a computed name: pins wherever settings are carried */
	RULE_HAND,		    /* SET pgporter.pin = on */
	RULE_STATEMENT,		    /* an unnamed statement too long to be remembered: pins until the next */
	RULE_WHOLE,		    /* pinned for the whole session, by user or application_name */
};

enum rule_preset { PRESET_INHERIT, PRESET_PGPORTER, PRESET_STRICT, PRESET_PGBOUNCER };

/* Whose word a rule is: the broadest first. */
enum rule_from { FROM_NOBODY, FROM_GLOBAL, FROM_DATABASE, FROM_USER };

/* One function of an operator's list. */
struct rule_function {
	char *schema; /* NULL: any */
	char *name;
	uint32_t kinds; /* 1 << enum rule_kind: what it may touch; RULE_OPAQUE: anything; 0: none */
};

struct rule_functions {
	struct rule_function *list;
	size_t n;
};

struct state_rules {
	uint8_t action[RULE_KINDS];	/* enum rule_action, never RULE_DEFAULT */
	uint8_t from[RULE_KINDS];	/* enum rule_from */
	bool by_preset[RULE_KINDS];	/* a preset said so, not the kind's own option */
	uint8_t preset, preset_from;	/* the narrowest */
	uint32_t refuse, ignore, pin;	/* bits 1 << kind, made by rules_complete() */
	bool no_pins;			/* strict: what would pin for any other reason is refused too */
	bool whole_session;		/* pinned from the first statement on, by user… */
	const char *applications;	/* …or where application_name is in this list, parted by commas */
	const char *database, *user;	/* for error texts */
};

/* How many sessions of a pool may be pinned at a time. */
struct pin_limit {
	int max;   /* 0: no limit */
	int count; /* sessions that are pinned, or whose statement under way may pin them */
};

/* The masks, after action[] was filled in. */
static inline void rules_complete(struct state_rules *r)
{
	r->refuse = r->ignore = r->pin = 0;
	for (int i = 0; i < RULE_KINDS; i++) {
		r->refuse |= r->action[i] == RULE_REFUSE ? 1u << i : 0;
		r->ignore |= r->action[i] == RULE_IGNORE ? 1u << i : 0;
		r->pin |= r->action[i] == RULE_PIN ? 1u << i : 0;
	}
}

/* Is word one of a list's, parted by commas, blanks around them not counted? NULL: no. */
bool rules_list_has(const char *list, const char *word);

/* Nothing is carried, pinned or refused at all: nothing need be read. */
static inline bool rules_ignore_all(const struct state_rules *r)
{
	return r->ignore == (1u << RULE_KINDS) - 1;
}

#endif
