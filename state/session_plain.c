/* The way of messages that take no thought: a batch of the unnamed statement where that has no effect, and the replies to
 * any such, a whole run at a time. What is left to session_from_client() and session_from_backend() is everything else;
 * what is done here must be what they would do. */
#include "parser/wire.h"
#include "state/session_internal.h"

/* CommandComplete of such a statement. NOTIFY's is looked at by who forwards it. */
static bool plain_tag(const uint8_t *body, size_t len)
{
	return len && !body[len - 1] && *body != 'N';
}

/* Is this the whole answer (ANSWERED), a part of it (PART), or something to be looked at (OTHER)? */
enum plain { OTHER, PART, ANSWERED };

static enum plain plain_query(const struct session *s, char type, const uint8_t *body, size_t len)
{
	if (s->query.effects || s->query.steps)
		return OTHER;
	switch (type) {
	case 'D':
	case 'T':
	case 'I':
		return PART;
	case 'C':
		return !effects_tags_matter(s) && plain_tag(body, len) ? PART : OTHER;
	default:
		return OTHER;
	}
}

static enum plain plain_execute(const struct session *s, const struct owed *o, char type, const uint8_t *body, size_t len)
{
	switch (type) {
	case 'D':
		return PART;
	case 'C':
		if (!plain_tag(body, len))
			return OTHER;
		/* fall through */
	case 'I':
	case 's':
		return o->portal || s->await_reply || s->await_copy_end || s->backend->copy_in || s->backend->copy_both ||
		       effects_tags_matter(s) ? OTHER : ANSWERED;
	default:
		return OTHER;
	}
}

static enum plain plain_reply(const struct session *s, const struct owed *o, char type, const uint8_t *body, size_t len)
{
	switch ((enum owed_kind)o->kind) {
	case OWED_PARSE:
		return type == '1' ? ANSWERED : OTHER;
	case OWED_BIND:
		return type == '2' ? ANSWERED : OTHER;
	case OWED_CLOSE:
		return type == '3' ? ANSWERED : OTHER;
	case OWED_DESCRIBE_STMT:
	case OWED_DESCRIBE_PORTAL:
		if (o->stmt)
			return OTHER;
		return type == 'T' || type == 'n' ? ANSWERED : type == 't' && o->kind == OWED_DESCRIBE_STMT ? PART : OTHER;
	case OWED_EXECUTE:
		return plain_execute(s, o, type, body, len);
	case OWED_QUERY:
		return plain_query(s, type, body, len);
	default:
		return OTHER;
	}
}

size_t session_plain_replies(struct session *s, const uint8_t *bytes, size_t len, uint32_t body_max)
{
	struct ledger *l = &s->backend->owed;
	struct wire_head head;
	size_t at = 0;

	if (s->through || s->task)
		return 0;
	while (l->count && wire_whole(bytes + at, len - at, body_max, &head)) {
		struct owed *o = ledger_head(l);
		enum plain plain = o->ours || o->flight ? OTHER : plain_reply(s, o, head.type, bytes + at + WIRE_HEAD, head.body_len);

		if (plain == OTHER)
			break;
		at += WIRE_HEAD + head.body_len;
		if (plain == ANSWERED)
			owed_pop(s);
	}
	return at;
}

/* ---- the client's ---- */

static bool unnamed_is_plain(const struct session *s)
{
	const struct unnamed_stmt *u = &s->unnamed;

	return u->serial && s->backend->unnamed == u->serial && effects_none(u->effects) && !u->substitute && !u->target && !u->own &&
	       u->watched == watch_seen(s) && !(s->channels && channels_in_use(s->channels));
}

/* Of the unnamed statement, portal and all; what it says is done here but for sending it. */
static bool plain_message(struct session *s, char type, const uint8_t *body, size_t len)
{
	struct ledger *l = &s->backend->owed;

	switch (type) {
	case 'B':
		if (len < 2 || body[0] || body[1] || !unnamed_is_plain(s))
			return false;
		s->counters->binds++;
		s->bound_ends = ends_text(buf_head(&s->unnamed.tail), buf_len(&s->unnamed.tail));
		ledger_push(l, OWED_BIND, false);
		return true;
	case 'D':
		if (len != 2 || body[0] != 'P' || body[1])
			return false;
		ledger_push(l, OWED_DESCRIBE_PORTAL, false);
		return true;
	case 'E':
		if (len != 5 || body[0] || (s->bound_ends && settings_moved(s)))
			return false;
		s->listen.behind = true;
		ledger_push(l, OWED_EXECUTE, false);
		return true;
	case 'S':
		ledger_push(l, OWED_SYNC, false);
		s->await_ready = true;
		return true;
	default:
		return false;
	}
}

size_t session_plain_messages(struct session *s, const uint8_t *bytes, size_t len, uint32_t body_max)
{
	struct backend *b = s->backend;
	struct wire_head head;
	size_t at = 0;

	if (!b || !b->batch || !s->carry || s->bound || s->portals || !session_goes_on(s))
		return 0;
	while (!s->await_ready && wire_whole(bytes + at, len - at, body_max, &head) &&
	       plain_message(s, head.type, bytes + at + WIRE_HEAD, head.body_len))
		at += WIRE_HEAD + head.body_len;
	buf_add(b->out, bytes, at);
	return at;
}
