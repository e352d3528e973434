#include "parser/watch_items.h"

#include "parser/effects.h"

#include <stdlib.h>
#include <string.h>

enum { PASSES = 64, PARAMS_MAX = 100 };

struct item {
	struct item *next;
	uint32_t oid; /* of a function; 0: something else */
	enum watch_when when;
	enum watch_kind kind;
	bool procedure, has_effect, unreadable;
	char *word, *params, *text;
};

struct watch_items {
	struct item *first, **last;
};

/* SQL commands that fire event triggers, by their first words. */
static const char *const event_words[] = { "create",  "alter",	 "drop",   "comment",  "grant",	  "revoke",
					   "refresh", "reindex", "import", "security", "reassign" };

struct watch_items *watch_items_new(void)
{
	struct watch_items *items = calloc(1, sizeof *items);

	if (!items)
		abort();
	items->last = &items->first;
	return items;
}

void watch_items_free(struct watch_items *items)
{
	struct item *next;

	for (struct item *i = items ? items->first : NULL; i; i = next) {
		next = i->next;
		free(i->word);
		free(i->params);
		free(i->text);
		free(i);
	}
	free(items);
}

static char *copy(const char *s)
{
	char *c = s ? strdup(s) : NULL;

	if (s && !c)
		abort();
	return c;
}

static struct item *add(struct watch_items *items, const char *word, const char *text)
{
	struct item *i = calloc(1, sizeof *i);

	if (!i)
		abort();
	i->word = copy(word);
	i->text = copy(text ? text : "");
	i->unreadable = !text;
	*items->last = i;
	items->last = &i->next;
	return i;
}

void watch_items_function(struct watch_items *items, uint32_t oid, const char *name, bool procedure, const char *language,
			  const char *params, const char *body)
{
	struct item *i = add(items, name, body);

	i->oid = oid;
	i->procedure = procedure;
	i->kind = watch_language(language);
	i->when = WATCH_CALLED;
	i->params = copy(params);
}

void watch_items_object(struct watch_items *items, enum watch_when when, const char *word, const char *definition)
{
	struct item *i = add(items, word, definition);

	i->kind = WATCH_DEFINITION;
	i->when = when;
}

void watch_items_event_trigger(struct watch_items *items, const char *definition)
{
	for (size_t i = 0; i < sizeof event_words / sizeof event_words[0]; i++)
		watch_items_object(items, WATCH_NAMED, event_words[i], definition);
}

/* Cuts them where they stand. */
static size_t split_params(char *params, const char *names[static PARAMS_MAX])
{
	size_t n = 0;

	for (char *end; params && n < PARAMS_MAX && (end = strchr(params, 1)); params = end + 1) {
		*end = 0;
		names[n++] = *params ? params : NULL;
	}
	return n;
}

static void read_item(struct item *i, const struct watch *w, struct watch_effect *always, struct watch_effect *written)
{
	const char *names[PARAMS_MAX];
	char *params = copy(i->params);
	struct watch_text t = { .kind = i->kind, .text = i->text, .len = strlen(i->text), .params = names };

	if (i->unreadable)
		always->flags |= TOUCH_OPAQUE;
	t.n_params = split_params(params, names);
	watch_read(w, &t, always, i->oid ? NULL : written);
	free(params);
}

static void solve_item(struct item *i, struct watch *w)
{
	struct watch_effect always = { 0 }, written = { 0 };

	read_item(i, w, &always, &written);
	if (i->when == WATCH_WRITTEN)
		watch_effect_merge(&written, &always);
	else if (i->procedure || !watch_effect_none(&always))
		watch_add(w, i->word, i->when, &always);
	if (!watch_effect_none(&written))
		watch_add(w, i->word, WATCH_WRITTEN, &written);
	i->has_effect = !watch_effect_none(&always);
	watch_effect_release(&always);
	watch_effect_release(&written);
}

size_t watch_items_solve(struct watch_items *items, struct watch *w)
{
	uint64_t was = 0;
	size_t n = 0;

	for (int pass = 0; pass < PASSES && was != watch_version(w); pass++) {
		was = watch_version(w);
		for (struct item *i = items->first; i; i = i->next)
			solve_item(i, w);
	}
	for (struct item *i = items->first; i; i = i->next)
		n += i->oid && i->has_effect;
	return n;
}

void watch_items_oids(const struct watch_items *items, struct buf *out)
{
	const char *comma = "";

	for (struct item *i = items->first; i; i = i->next)
		if (i->oid && i->has_effect) {
			buf_printf(out, "%s%u", comma, i->oid);
			comma = ",";
		}
}
