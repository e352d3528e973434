/* parser/watch.h — words of one database that stand for more than a text shows: functions whose bodies touch session state,
 * and the tables, views, operators and types through which they are reached.
 *
 * A word is an identifier's last part as PostgreSQL folds it, whatever schema it is in, or an operator's name. What is
 * said of one may be more than the thing does, never less. Bodies are read as text: settings they name, locks, temporary
 * objects, and functions of the same set that they call. SQL that a body puts together from parts it computes is opaque.
 *
 * One set a database, for one thread. */
#ifndef PGPORTER_PARSER_WATCH_H
#define PGPORTER_PARSER_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A setting that something touches: by name, or by its argument number `arg` (from 1) of a call; at a call site `param` is
 * the Bind parameter that is this argument. None of the three: computed (then local; else there is a flag for it). */
struct watch_setting {
	char *name; /* lower case */
	int arg, param;
	bool local; /* ends with the transaction */
};

struct watch_effect {
	uint32_t flags; /* TOUCH_… of parser/effects.h */
	struct watch_setting *settings;
	size_t n_settings;
};

void watch_effect_release(struct watch_effect *e); /* what it points to */
bool watch_effect_none(const struct watch_effect *e);
void watch_effect_merge(struct watch_effect *to, const struct watch_effect *from);
/* name NULL: arg or param. */
void watch_effect_setting(struct watch_effect *e, const char *name, int arg, int param, bool local);

/* When a word has its effect. */
enum watch_when {
	WATCH_CALLED,  /* a bracket follows */
	WATCH_NAMED,   /* wherever it stands */
	WATCH_WRITTEN, /* wherever it stands in a text that writes or defines: INSERT, COPY, ALTER … */
};
enum { WATCH_WHENS = 3 };

struct watch;

/* serials: counts on with every change, so that no two states of any two sets have one version; borrowed. */
struct watch *watch_new(uint64_t *serials);
void watch_free(struct watch *w);
uint64_t watch_version(const struct watch *w);

/* Adds to what is known of a word, which is folded and cut here. With an empty effect it is known to be harmless. */
void watch_add(struct watch *w, const char *word, enum watch_when when, const struct watch_effect *e);
/* The same for what a statement that went by has defined: it outlives watch_renew() until a catalogue is put in place that
 * was read when nobody held the set, after this. */
void watch_define(struct watch *w, const char *word, enum watch_when when, const struct watch_effect *e);
/* Somebody has defined something in a transaction that is still open. */
void watch_hold(struct watch *w);
void watch_unhold(struct watch *w);
void watch_renew_begin(struct watch *w); /* the catalogue is being read from here on */
void watch_renew(struct watch *w, struct watch *by); /* w is what `by` was, with what it has to keep; frees by */
/* The word is called harmless by rule, whatever is added. */
void watch_exempt(struct watch *w, const char *word);
/* NULL: not known. */
const struct watch_effect *watch_find(const struct watch *w, const char *word, enum watch_when when);
size_t watch_count(const struct watch *w); /* words with an effect */

/* The catalogue was read: what is not in the set is harmless. False: so much is not known. */
bool watch_known(const struct watch *w);
void watch_know(struct watch *w, bool known);

/* May the text, as a statement, have effects that only the set knows of, or define something? Linear; false for nearly
 * every text. */
bool watch_hits(const struct watch *w, const char *text, size_t len, unsigned lex_mode);
/* The same of a text that is known to define nothing. */
bool watch_names(const struct watch *w, const char *text, size_t len, unsigned lex_mode);

enum watch_kind {
	WATCH_STATEMENT,  /* only what the set knows: all else is the parser's */
	WATCH_DEFINITION, /* an expression, a view's query, CREATE OPERATOR …: what it names will run */
	WATCH_SQL,	  /* a body */
	WATCH_PLPGSQL,
	WATCH_FOREIGN, /* a body in another language, whose strings may be SQL */
};

struct watch_text {
	enum watch_kind kind;
	const char *text;
	size_t len;
	unsigned lex_mode;
	const char *const *params; /* names of the function's input parameters; NULL where one has none */
	size_t n_params;
};

/* What running the text does, added to *always. written: what it does only where something is written by way of it; NULL:
 * the text itself is what runs, and says whether it writes. */
void watch_read(const struct watch *w, const struct watch_text *t, struct watch_effect *always, struct watch_effect *written);
/* The kind of a body by its language. */
enum watch_kind watch_language(const char *language);

#endif
