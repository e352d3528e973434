/* What lies under a client's own settings. */
#include "state/session_internal.h"

static void fill_in(const struct settings **var, const struct settings *under)
{
	for (size_t i = 0; i < settings_size(under); i++)
		if (!settings_get(*var, settings_name_at(under, i)))
			settings_set(var, settings_name_at(under, i), settings_value_at(under, i));
}

void session_starts_alone(struct session *s)
{
	while (settings_size(s->base))
		session_start_with(s, settings_name_at(s->base, 0), NULL);
	if (s->through)
		return;
	s->pins |= PIN_START;
	s->pins_settled |= PIN_START;
	session_pinned_by(s, "startup packet");
}

void session_base_under(struct session *s, const struct settings *under)
{
	fill_in(&s->base, under);
	fill_in(&s->settings, under);
	fill_in(&s->want, under);
	fill_in(&s->effective, under);
}

/* Its key can't be met again: the generation is another. */
static void kept_at_parse(void *under, struct stmt *st)
{
	fill_in(&st->at_parse, under);
}

void session_base_kept(struct session *s, const struct settings *under)
{
	session_base_under(s, under);
	names_each(&s->names, kept_at_parse, (void *)under);
	if (s->unnamed.at_parse)
		fill_in(&s->unnamed.at_parse, under);
	if (!s->backend)
		return;
	fill_in(&s->backend->applied, under);
	fill_in(&s->backend->have, under);
}
