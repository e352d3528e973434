/* Roles that are dropped or renamed while clients hold them. A direct session keeps the role's number, which is nobody's
 * then; by its name another role may be found some day, which must never be given to who held the old one. */
#include <stdio.h>
#include <stdlib.h>

#include "state/session_internal.h"

void roles_note(struct session *s, const struct stmt_effects *row)
{
	for (size_t i = 0; i < row->n_touched; i++) {
		s->roles_gone = realloc(s->roles_gone, (s->n_roles_gone + 1) * sizeof *s->roles_gone);
		if (!s->roles_gone || !(s->roles_gone[s->n_roles_gone++] = strdup(row->touched[i].name)))
			abort();
	}
}

void session_roles_told(struct session *s)
{
	for (size_t i = 0; i < s->n_roles_gone; i++)
		free(s->roles_gone[i]);
	free(s->roles_gone);
	s->roles_gone = NULL;
	s->n_roles_gone = 0;
}

/* Longer than any role's name can be: PostgreSQL's refusal says it to the client. */
static void name_of_none(const char *name, char out[200])
{
	snprintf(out, 200, "%.63s, which was dropped or renamed while this session had it: RESET ROLE or SET another", name);
}

static bool replace(const struct settings **var, const char *name)
{
	static const char *const held[] = { "role", "session_authorization" };
	char none[200];
	bool found = false;

	name_of_none(name, none);
	for (size_t i = 0; i < sizeof held / sizeof *held; i++) {
		const char *value = settings_get(*var, held[i]);

		if (!value || (strcmp(value, name) && strcmp(value, none)))
			continue;
		settings_set(var, held[i], none);
		found = true;
	}
	return found;
}

void session_role_gone(struct session *s, const char *name)
{
	replace(&s->base, name);
	replace(&s->settings, name);
	replace(&s->want, name);
	replace(&s->effective, name);
}

bool backend_role_gone(struct backend *b, const char *name)
{
	bool applied = replace(&b->applied, name), have = replace(&b->have, name);

	return applied || have;
}
