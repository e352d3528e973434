/* server/config_rows.h — what the files that make up config.h's module share: reading of values, rows of the tables
 * of options and of [databases] and [users] keys. Private to server/config_*.c.
 *
 * Whatever reads a value says in why what is wrong and what would be right, never the value of a secret. */
#ifndef PGPORTER_SERVER_CONFIG_ROWS_H
#define PGPORTER_SERVER_CONFIG_ROWS_H

#include "server/config.h"

/* Room for "what is wrong; what would be right", without file and line. */
enum { CONFIG_WHY = 512 };
struct config_why {
	char text[CONFIG_WHY];
};
/* Always false, for `return config_say(…)`. */
bool config_say(struct config_why *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Can't fail: no memory ends the process, as in parser/buf.h. */
void *config_alloc(size_t size); /* zeroed */
char *config_strdup(const char *s); /* NULL stays NULL */
void config_wipe_free(char *s); /* overwrites first; NULL is fine */
void config_warn(struct config *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A word of an enum, or one that PgBouncer knows and pgporter refuses, saying why. Tables end with word NULL. */
struct config_word {
	const char *word;
	int value;
	const char *refusal;
};
extern const struct config_word pool_mode_words[];
/* Session state (config_rules.c). */
extern const struct config_word preset_words[], carried_words[], unset_words[], pinned_words[], shared_words[];

/* Values. what: the key, for the message. Integers as strtol() with base 0 reads them; times are seconds, fractions
 * allowed, min in seconds. */
bool config_read_int(const char *what, const char *text, int min, int max, int *out, struct config_why *why);
bool config_read_time(const char *what, const char *text, int min, int64_t *out_us, struct config_why *why);
bool config_read_word(const char *what, const char *text, const struct config_word *words, int *out, struct config_why *why);

/* The known name nearest to word, NULL when none is near. Rows of `size` bytes, each beginning with its name. */
const char *config_nearest(const char *word, const void *rows, size_t n, size_t size);

/* Options (config_options.c). */
void config_options_init(struct config *c);			  /* every option at its default */
void config_options_copy(struct config *to, const struct config *from);
void config_options_free(struct config *c);
/* Refuses unknown options, bad values and guards. An option of the wrong section is the caller's to refuse. */
bool config_option_set(struct config *c, const char *name, const char *value, struct config_why *why);
/* changeable at run time? Unknown options are. */
bool config_option_changeable(const char *name);
void config_options_keep(struct config *c, const struct config *running); /* what can't change at run time, with warnings */
void config_options_warn(struct config *c); /* options without effect that are not at their defaults */

/* Lines of [databases] and [users] (config_lists.c). text is written into. A later line of a name replaces the earlier. */
bool config_database_line(struct config *c, const char *name, char *text, struct config_why *why);
bool config_user_line(struct config *c, const char *name, char *text, struct config_why *why);
/* The names of the console's own database. */
bool config_reserved_name(const char *name);
void config_lists_copy(struct config *to, const struct config *from);
void config_lists_free(struct config *c);

/* Lists of functions: name, name:kind+kind, … (config_rules.c). None can fail after config_functions_check(). */
bool config_functions_check(const char *what, const char *text, struct config_why *why);
void config_functions_make(struct config *c); /* all lists of c, from their texts; for a c that has none yet */
void config_functions_free(struct rule_functions *f);
void config_rules_init(struct config_rules *r); /* inherit all */

/* auth_file (config_secrets.c). A file that can't be read is a warning, a broken one an error. */
bool config_secrets_load(struct config *c, struct config_why *why);
void config_secrets_copy(struct config *to, const struct config *from);
void config_secrets_free(struct config *c);

/* A whole file, NUL-ended, or NULL with errno set (EFBIG beyond max bytes). Give it back to config_wipe_free(). */
char *config_read_file(const char *path, size_t max, size_t *len);

#endif
