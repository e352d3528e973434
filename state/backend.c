#include "state/backend.h"

#include <string.h>

#include "state/rules.h"

void backend_init(struct backend *b, struct settings_store *st, struct buf *out)
{
	memset(b, 0, sizeof *b);
	b->out = out;
	b->applied = settings_empty(st);
	b->have = settings_empty(st);
	b->reported = settings_empty(st);
	b->seen = settings_empty(st);
	b->status = 'I';
}

void backend_release(struct backend *b)
{
	settings_release(b->applied);
	settings_release(b->have);
	settings_release(b->reported);
	settings_release(b->seen);
	b->applied = b->have = b->reported = b->seen = NULL;
	set_clear(&b->prepared);
	ledger_release(&b->owed);
}

void backend_reported(struct backend *b, const char *name, const char *value)
{
	settings_set(&b->reported, name, value);
}

static void forget_settings(const struct settings **var)
{
	while (settings_size(*var))
		settings_set(var, settings_name_at(*var, 0), NULL);
}

void backend_wiped(struct backend *b)
{
	forget_settings(&b->applied);
	forget_settings(&b->have);
	set_clear(&b->prepared);
	b->kept = 0;
	b->unnamed = 0;
	b->sequences = 0;
	b->left &= 1u << RULE_OPAQUE | 1u << RULE_SESSION;
}
