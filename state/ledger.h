/* state/ledger.h — the replies a backend owes, in order, and to whom each goes: the client, or pgporter itself.
 *
 * One entry for each message sent that PostgreSQL answers, and one for each answer that pgporter invents, so that an
 * invented reply comes exactly where PostgreSQL's own would. An entry dropped because PostgreSQL skipped its message
 * (an error earlier in the batch) undoes what its message had presumed. */
#ifndef PGPORTER_STATE_LEDGER_H
#define PGPORTER_STATE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct stmt;
struct portal;
struct unnamed_stmt;

enum owed_kind {
	OWED_PARSE,	/* 1 */
	OWED_BIND,	/* 2 */
	OWED_DESCRIBE_STMT, /* t, then T or n */
	OWED_DESCRIBE_PORTAL, /* T or n */
	OWED_EXECUTE,	/* …, then C, I or s */
	OWED_CLOSE,	/* 3 */
	OWED_SYNC,	/* Z */
	OWED_QUERY,	/* …, then Z */
	OWED_CALL,	/* function call: V, then Z */
	OWED_INVENTED,	/* nothing comes: `reply` is written when its turn is there */
};

struct owed {
	uint8_t kind;	/* enum owed_kind */
	bool ours;	/* the reply is pgporter's: swallow it */
	bool flight;	/* of settings on their way ahead of the client's message */
	char reply;	/* INVENTED: '1' or '3' */
	bool on_set;	/* PARSE: stmt was put in the backend's set; CLOSE: it was taken out */
	bool unnamed;	/* PARSE, CLOSE of the unnamed statement */
	bool part;	/* QUERY: the beginning of the client's, which goes on behind it */
	bool taken;	/* PARSE of a name that `stmt` has: PostgreSQL will refuse it */
	struct stmt *stmt; /* PARSE, BIND, CLOSE, DESCRIBE_STMT, INVENTED: which; a reference */
	struct unnamed_stmt *before; /* PARSE, CLOSE, QUERY: what the unnamed statement was; owned; NULL: there was none, or nothing can skip this */
	uint64_t unnamed_was; /* likewise: the backend's (struct backend), to be again if this is skipped; 0: not known */
	uint32_t shift_at;   /* PARSE: from this byte of what was sent on… */
	int32_t shift_delta; /* …everything stands so many bytes further than the client wrote it */
	char *name;	/* PARSE, BIND, INVENTED: what the client calls it; owned */
	struct portal *portal; /* EXECUTE: a reference, the session's to count; NULL when it has no effects */
};

struct ledger {
	struct owed *ring;
	size_t cap, first, count;
};

void ledger_grow(struct ledger *l); /* ledger_push()'s slow half */
struct owed *ledger_at(struct ledger *l, size_t i);    /* i-th from the head; i < count */
struct owed *ledger_last(struct ledger *l);	       /* NULL when nothing is owed */
void ledger_give_back(struct owed *o);		       /* what the entry holds, but for its portal */
void ledger_drop_last(struct ledger *l);	       /* likewise, at the other end */
void ledger_release(struct ledger *l);

static inline struct owed *ledger_head(struct ledger *l) /* NULL when nothing is owed */
{
	return l->count ? &l->ring[l->first] : NULL;
}

/* Zeroed but for these; can't fail. */
static inline struct owed *ledger_push(struct ledger *l, enum owed_kind kind, bool ours)
{
	struct owed *o;

	if (l->count == l->cap)
		ledger_grow(l);
	o = &l->ring[(l->first + l->count++) & (l->cap - 1)];
	*o = (struct owed){ .kind = (uint8_t)kind, .ours = ours };
	return o;
}

/* And gives back what the entry holds; something must be owed. */
static inline void ledger_pop(struct ledger *l)
{
	struct owed *o = &l->ring[l->first];

	if (!l->count)
		abort();
	if (o->stmt || o->name || o->before)
		ledger_give_back(o);
	l->first = (l->first + 1) & (l->cap - 1);
	l->count--;
}

#endif
