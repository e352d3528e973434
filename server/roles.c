#include "server/roles.h"

#include <string.h>

#include "server/backend_conn.h"
#include "server/client.h"
#include "server/vacate.h"

/* Who is linked goes on as on a direct connection: its backend knows the role by number. */
static void tell_clients(struct client *by, const char *name)
{
	struct client *c;

	TAILQ_FOREACH (c, &by->worker->clients, in) {
		if (!c->have_session || !vacate_same_server(by->worker, by, c->database))
			continue;
		session_role_gone(&c->session, name);
		if (c->line.waiter.pool)
			c->line.waiter.want = c->session.want;
		if (c->state == CLIENT_ACTIVE && !strcmp(c->pool->user->name, name))
			c->login_gone = true;
	}
}

static void renew_backends(struct client *by, const char *name)
{
	struct worker *w = by->worker;
	struct backend_conn *b, *next;

	for (b = TAILQ_FIRST(&w->backends); b; b = next) {
		next = TAILQ_NEXT(b, in);
		if (!vacate_same_server(w, by, b->pool->database))
			continue;
		if (!backend_role_gone(&b->facts, name) && strcmp(b->pool->user->name, name))
			continue;
		b->close_needed = true;
		if (b->node.place == PLACE_IDLE)
			conn_close(b, "its role was dropped or renamed");
	}
}

static void forget_welcomes(struct client *by)
{
	struct database *d;
	struct pool *p;

	TAILQ_FOREACH (d, &by->worker->databases, in)
		if (vacate_same_server(by->worker, by, d))
			TAILQ_FOREACH (p, &d->pools, in_database)
				pools_welcome_clear((struct db_pool *)p);
}

void roles_gone(struct client *c)
{
	for (size_t i = 0; i < c->session.n_roles_gone; i++) {
		tell_clients(c, c->session.roles_gone[i]);
		renew_backends(c, c->session.roles_gone[i]);
	}
	session_roles_told(&c->session);
	forget_welcomes(c);
}
