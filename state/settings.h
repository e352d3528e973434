/* state/settings.h — a session's settings as an immutable, interned value.
 *
 * Two sessions with the same settings hold the same pointer, so "does this backend already have what the client wants"
 * is one comparison, and a savepoint or a transaction's start is a saved pointer. Used for GUCs (names lower-cased by
 * the caller) and for what ParameterStatus has reported (names as PostgreSQL writes them).
 *
 * Ownership: every function that returns a settings pointer gives the caller one reference, except settings_meaning(),
 * whose result lives as long as its argument. settings_set() is the ordinary way to change a variable that holds one. */
#ifndef PGPORTER_STATE_SETTINGS_H
#define PGPORTER_STATE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct settings_store;
struct settings;

struct settings_store *settings_store_new(void);
void settings_store_free(struct settings_store *st); /* all settings must have been given back */
size_t settings_store_count(const struct settings_store *st);

const struct settings *settings_empty(struct settings_store *st);
const struct settings *settings_retain(const struct settings *s);
void settings_release(const struct settings *s); /* NULL is fine */

/* s with one value changed; NULL removes the name. s stays the caller's. */
const struct settings *settings_with(const struct settings *s, const char *name, const char *value);
/* *var = *var with one value changed; the old reference is given back. */
void settings_set(const struct settings **var, const char *name, const char *value);
/* *var = s, taking a new reference and giving the old back. */
void settings_assign(const struct settings **var, const struct settings *s);

size_t settings_size(const struct settings *s);
const char *settings_name_at(const struct settings *s, size_t i);  /* sorted by name */
const char *settings_value_at(const struct settings *s, size_t i);
const char *settings_get(const struct settings *s, const char *name);	   /* NULL: not in it */
const char *settings_get_nocase(const struct settings *s, const char *name); /* the same, whatever case the name has */

/* Calls each(arg, name, old, new) for every name whose value differs; NULL stands for "not in it". */
void settings_diff(const struct settings *from, const struct settings *to,
		   void (*each)(void *arg, const char *name, const char *was, const char *now), void *arg);

/* True if every name in a is in b, whatever their values: settings serve as sets of names too, with empty values. */
bool settings_within(const struct settings *a, const struct settings *b);

/* s without the settings that cannot change what a statement means when it is parsed (application_name, timeouts,
 * logging). Borrowed: lives as long as s. */
const struct settings *settings_meaning(const struct settings *s);

uint64_t settings_id(const struct settings *s); /* stable while s lives; for console and logs */

#endif
