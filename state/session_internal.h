/* state/session_internal.h — what the files of the session module share, and nobody else includes. */
#ifndef PGPORTER_STATE_SESSION_INTERNAL_H
#define PGPORTER_STATE_SESSION_INTERNAL_H

#include <string.h>

#include "state/session.h"

/* What was sent in place of a client's statement. */
enum substitute {
	SUB_NONE,
	SUB_RENAMED,	    /* the statement with a backend's name in it */
	SUB_PREPARED,	    /* a no-op: the backend has what PREPARE defines */
	SUB_DEALLOCATE,	    /* a no-op: the name is the client's alone */
	SUB_DEALLOCATE_ALL, /* likewise */
	SUB_DISCARD_ALL,    /* a no-op: what the client holds is not on the backend */
	SUB_DISCARD_PLANS,  /* a no-op: done ahead of the client's next message, wherever that runs */
	SUB_RESET,	    /* set_config() to the client's startup value */
	SUB_SET_DEFAULT,    /* likewise, for SET … TO DEFAULT: its tag is another */
	SUB_RESET_ALL,	    /* itself, and set_config() for each startup value */
	SUB_LISTEN,	    /* a marker (state/channels.h) */
	SUB_UNLISTEN,	    /* likewise, or a no-op */
	SUB_EDITED,	    /* the statement, with startup values and channels of the client's in it (state/session_edit.c) */
	SUB_LAID,	    /* PREPARE under the client's own name, where its statements are laid out (state/session_views.c) */
};

/* A statement without any effect that is allowed in and out of transactions and fails in failed ones. */
#define NOTHING_SQL "UNLISTEN pgporter"

/* It takes a snapshot, as they don't; its rows are nobody's. */
#define SNAPSHOT_SQL "SELECT"

/* Begins the value, in session->effective, of a setting that was changed to what only PostgreSQL knows. */
#define VALUE_UNKNOWN "\x01"

/* What a client calls by one of our names, and is not its own, is called this: there is never such a statement. */
#define NO_STMT STMT_PREFIX "none"
/* A name that is taken on the backend, where that is all that matters of it. */
#define TAKEN_STMT STMT_PREFIX "taken"
static inline bool names_ours(const char *name)
{
	return !strncmp(name, STMT_PREFIX, sizeof STMT_PREFIX - 1);
}

enum { EXECUTES_DEEP = 6 }; /* EXECUTEs in EXECUTEs, at most; what is deeper is not found */

/* What a statement that is an EXECUTE itself executes; NULL: it is none. */
static inline struct stmt *stmt_executes(const struct stmt *st)
{
	return !st->from_sql && st->effects->n == 1 && st->effects->stmts[0].kind == STMT_EXECUTE ? st->target : NULL;
}

/* How many it needs on the backend besides itself. */
static inline size_t stmt_depth(const struct stmt *st)
{
	size_t n = 0;

	for (; stmt_executes(st); st = stmt_executes(st))
		n++;
	return n + (!st->from_sql && st->target); /* a PREPARE: what has its name */
}

/* What it comes to in the end. */
static inline const struct stmt *stmt_executed(const struct stmt *st)
{
	for (const struct stmt *inner; (inner = stmt_executes(st));)
		st = inner;
	return st;
}

/* session.c */
void session_remember_text(struct session *s, const char *text, size_t len); /* of its backend's */
void session_pinned_by(struct session *s, const char *text); /* which is the statement that did it; empty: not known */
void session_touch(struct session *s, const char *name); /* a setting for the session */
void session_touch_local(struct session *s, const char *name); /* for the transaction */
void session_txn_reset(struct session *s);
struct portal *portal_find(struct session *s, const char *name);
struct portal *portal_put(struct session *s, const char *name);
void portal_drop(struct session *s, const char *name);
void portals_clear(struct session *s);
void owed_portal(struct owed *o, struct portal *p); /* o is to Execute p, which may be NULL */
void owed_pop(struct session *s); /* the head, with its portal */
void unnamed_forget(struct session *s);
/* The unnamed statement makes way for what is sent next. Where an error in an earlier message may make PostgreSQL skip that, what
 * was there is set aside, for the ledger's entry (`before`). */
struct unnamed_stmt *unnamed_replaced(struct session *s);
void unnamed_restore(struct session *s, struct owed *o); /* PostgreSQL has skipped it */
void query_clear(struct session *s);
unsigned session_lex_mode(struct session *s);
/* The effects of a text of this client's, with what the database's catalogue tells. */
const struct effects *session_effects_of(struct session *s, const char *text, size_t len);

/* Whatever a message behind others in a batch could be held or refused for was seen to with the first of them, and they
 * have brought nothing new. */
static inline bool session_goes_on(const struct session *s)
{
	const struct backend *b = s->backend;

	return s->ready && !s->not_plain && !b->skipping && !b->copy_in && !b->copy_both && s->want == b->have;
}

/* For another DISCARD ALL, the batch is where one has left it. Had PostgreSQL run what stands for that, it would refuse to. */
static inline bool session_discarded(const struct session *s)
{
	return s->discarded || (s->discarded_here && !s->listen.behind);
}

/* session_extended.c: Parse, Bind, Describe, Execute, Close */
enum session_verdict session_extended(struct session *s, const struct client_message *m);
/* Copies what is there of a message to the backend; NEXT or STREAM. */
enum session_verdict forward_raw(struct session *s, const struct client_message *m);
/* The statement is on the backend when the next message gets there (NEXT), or will be after a task (HOLD). With alone,
 * nothing may be under way when the next message is sent. */
enum session_verdict ensure_stmt(struct session *s, struct stmt *st, bool alone);
/* The same for what an EXECUTE names, and what that EXECUTEs. */
enum session_verdict ensure_executed(struct session *s, struct stmt *st, bool alone);
/* Before it is executed: where that comes to a PREPARE of a name that is taken, perhaps by itself, what has the name is there for
 * PostgreSQL to say so. */
enum session_verdict ensure_taken(struct session *s, struct stmt *st, bool alone);
/* A text that EXECUTEs a name is bound anew to what the name means now. Borrowed. */
struct stmt *stmt_of_today(struct session *s, const char *name, struct stmt *st);
void send_parse(struct session *s, const char *name, const uint8_t *tail, size_t tail_len);
void close_again(struct session *s, struct stmt *st); /* on the backend; the client's name stays */
void send_close_stmt(struct session *s, const char *name);
/* Room for one more in the backend's set, which holds two at least; with spare, for as many more that the same message needs. */
void make_room(struct session *s, size_t spare);

/* session_query.c: the simple Query */
enum session_verdict session_query(struct session *s, const struct client_message *m);
/* Sends this text in place of the client's Query or FunctionCall. */
void query_instead(struct session *s, const char *sql, size_t len);
/* A new text with a backend's name at a token. */
void put_renamed(struct buf *out, const char *text, size_t len, uint32_t name_at, uint32_t name_len, const struct stmt *st);
/* SET LOCAL to a value; false, and nothing written, where that has no SET (sql_put_set()). */
bool put_set_local(struct buf *out, const char *name, const char *value);
/* Where that has none: as a statement that gives no rows. It takes a snapshot. */
void put_set_config(struct buf *out, const char *name, const char *value, bool local);
void tell_truncated(struct session *s, const char *token, uint32_t len, const char *name);
void note_shift(struct session *s, uint32_t at, int32_t delta);
struct stmt *sql_stmt_new(struct session *s, const char *text, const struct effects *e, const struct stmt_effects *row,
			  const struct settings *at_parse);

/* session_local.c: answers without a backend */
bool session_answer_locally(struct session *s, const struct effects *e, const char *text);
void session_tell_reported(struct session *s, const struct settings *now);
void session_forget_all(struct session *s); /* DISCARD ALL, as far as the client's own state goes */
void session_settings_to_base(struct session *s, bool role_too);

/* session_watch.c: what statements reach by way of the catalogue */
void watch_sent(struct session *s, const struct stmt_effects *row); /* it may commit though it fails */
void watch_defined(struct session *s, const struct stmt_effects *row); /* CREATE or ALTER has succeeded */
void watch_settled(struct session *s, uint32_t *events);
void watch_let_go(struct session *s); /* the transaction is over, or the backend gone */
uint64_t watch_seen(const struct session *s); /* the version in force */
/* What is known of the catalogue may be more than when the statement was parsed. st may be NULL. */
void watch_refresh(struct session *s, struct stmt *st);
void watch_refresh_unnamed(struct session *s);

/* The transaction has settings that its end, or a savepoint's, may take back. They may be the session's own values just now, and what
 * is taken back then was another. */
static inline bool settings_moved(const struct session *s)
{
	return s->txn.dirty || s->txn.locals;
}

/* session_effects.c */
/* One statement has succeeded: take over what it did. */
void effects_apply(struct session *s, const struct stmt_effects *row, enum substitute sub, struct stmt *target,
		   const struct portal *p, uint32_t *events);
/* The statement is on its way: what has to be asked about afterwards, whether it succeeds or not. target: the statement it
 * names; executes: it is an EXECUTE of it. */
void effects_sent(struct session *s, const struct effects *e, const struct stmt *target, bool executes);
/* True if messages after the statement depend on its outcome. */
bool effects_barrier(const struct effects *e);
void effects_tag(struct session *s, const char *tag); /* CommandComplete, where it matters: */
static inline bool effects_tags_matter(const struct session *s)
{
	return settings_moved(s) || s->txn.outcome || s->txn.error || s->n_roles_gone;
}
/* Part of the transaction was taken back, or all of it: which of its settings are left is PostgreSQL's to say. */
void effects_unsure(struct session *s);
/* ReadyForQuery in idle: decide what the transaction has left. Starts a task where PostgreSQL has to be asked. */
void effects_settle(struct session *s, uint32_t *events);
void effects_reported(struct session *s); /* ReadyForQuery in a transaction */
void effects_reported_only(struct session *s); /* nothing is read: what PostgreSQL reports is carried, as PgBouncer does */
void effects_observed(struct session *s, uint32_t *events); /* the answer to that */

/* session_defaulted.c: SET LOCAL … TO DEFAULT, and RESET ALL behind it in the same transaction */
void defaulted_note(struct session *s, const struct stmt_effects *row); /* has succeeded */
bool defaulted_now(const struct session *s, const char *name); /* the setting is, until the transaction is over */
void defaulted_forget(struct session *s); /* the transaction, or a part of it, is over */
/* For a RESET ALL in a text: the session's value that it leaves to this setting, which is at its default until the transaction is
 * over. NULL: it resets it, or that value is not known. Borrowed. */
const char *defaulted_value(struct session *s, const struct effects *e, const struct stmt_effects *row, const char *name);
/* RESET ALL has succeeded; want and have: before it. given_back: by a text in which defaulted_value() was written. */
void defaulted_kept(struct session *s, const struct settings *want, const struct settings *have, bool given_back);
/* In a task that makes what is there `from` what is to be there `to`, behind RESET ALL. */
void defaulted_again(struct session *s, const struct settings *from, const struct settings *to);

/* session_ends.c: what ends a transaction, or a part of one, in the middle of a batch */
bool ends_by_word(const char *text, size_t len);
/* tail: as in struct stmt. A letter tells of most. */
static inline bool ends_text(const uint8_t *tail, size_t len)
{
	unsigned letter = len ? (tail[0] | 0x20u) - 'a' : 26;
	unsigned first = 1u << ('a' - 'a') | 1u << ('c' - 'a') | 1u << ('e' - 'a') | 1u << ('p' - 'a') | 1u << ('r' - 'a');

	return len && (letter >= 26 || first >> letter & 1) && ends_by_word((const char *)tail, len);
}
void ends_sent(struct session *s); /* Execute of such a one, where settings have moved */
/* Before the next message: its tag is there, and what it has taken back is not presumed. False: not yet. */
bool ends_known(struct session *s);

/* session_sequence.c */
void sequence_linked(struct session *s);
/* Before a message: numbers of others are gone from the backend of a client that is known to ask for them. Returns false
 * while that is under way. */
bool sequence_ready(struct session *s);
/* Before a text with these kinds of state, which rules have allowed; likewise. */
bool sequence_asked(struct session *s, uint32_t found);
bool sequence_holds(struct session *s, const struct effects *e); /* it will hold this one */
bool sequence_function(uint32_t oid); /* that a function-call message calls */
void sequence_discarded(struct session *s, bool failed);
/* DISCARD SEQUENCES has succeeded. elsewhere: was answered, and did not run where the numbers are. */
void sequence_given_up(struct session *s, bool elsewhere);
uint32_t sequence_settled(struct session *s, uint32_t pins); /* the pins that remain */

/* session_through.c */
void through_note(struct session *s, const struct client_message *m); /* a message of the client's goes by */
void through_forget(struct session *s);
void through_done(struct session *s, const char *tag);
bool through_ready(struct session *s);
void through_restored(struct session *s, uint32_t *events);

/* session_roles.c */
void roles_note(struct session *s, const struct stmt_effects *row);

/* session_vacate.c */
/* Before a statement is sent: NEXT, or VACATE until session_vacated(). */
enum session_verdict vacate_first(struct session *s, const struct effects *e);
void vacate_forget(struct session *s);

/* session_apply.c */
void send_own(struct session *s, const char *sql, size_t len); /* a statement of ours, inside a task or among the client's */
void send_own_unnamed(struct session *s, const char *sql, size_t len); /* and leaves the unnamed statement and portal there */
void send_own_closed(struct session *s); /* nothing of it is left to be seen */
void send_own_with(struct session *s, const char *sql, const char *first, const char *second); /* two text parameters */
void send_difference(struct session *s, const struct settings *from, const struct settings *to, bool local);
/* The settings go out ahead of the client's next message, as a transaction of their own, and are presumed to be there. */
void flight_send(struct session *s, const struct settings *target);
void flight_error(struct session *s, const struct client_message *m, uint32_t *events);
/* ReadyForQuery. Returns true where the flight failed and is now rolled back: another one follows. */
bool flight_roll_back(struct session *s, bool ours);
void flight_undone(struct session *s, uint32_t *events);
/* session_custom.c: custom settings, and the BEGIN that waits */
void custom_init(struct session *s);
void custom_release(struct session *s);
void custom_start_with(struct session *s, const char *name);
/* A statement is sent: its names are seen there from now on. executed: e is what an EXECUTE runs. */
void custom_sent(struct session *s, const struct effects *e, const struct portal *p, bool executed);
void custom_not_sent(struct session *s); /* nothing that was sent since the last transaction was over has run */
void custom_done(struct session *s, const struct stmt_effects *row, const struct portal *p); /* …and has succeeded */
bool custom_pending(const struct session *s); /* names to ask about when the transaction is over */
void custom_observed(struct session *s, const char *name, const char *value); /* the answer */
void custom_settled(struct session *s);
/* What reads '' to this client does so on its backend. Returns false while that is under way. */
bool custom_ready(struct session *s);
void custom_applying(struct session *s, const struct settings *settings); /* those settings are sent */
/* A statement of ours has failed. Where it was to make names up, some may be there and some not: they are made again, and the backend is
 * nobody else's. */
void custom_failed(struct session *s);
bool begin_ready(struct session *s); /* likewise, for a BEGIN that was held back */
bool begin_done(struct session *s);  /* false: PostgreSQL has not begun what the client believes */
void begin_fails(struct session *s); /* an error was told in a transaction whose BEGIN is held back, if it is */
char session_status(const struct session *s); /* I, T or E, as the client was told */

/* session_task.c */
/* A task of one simple Query. */
void task_query(struct session *s, enum task_kind kind, const struct buf *sql);
/* The backend has these custom settings from now on, at their default. */
void task_names(struct session *s, const struct settings *names);
void task_apply(struct session *s, const struct settings *target, enum task_kind kind);
void task_begin(struct session *s, enum task_kind kind); /* and after what it sends: */
void task_sent(struct session *s);
void task_prepare(struct session *s, struct stmt *st); /* NULL: the unnamed one */
void task_observe(struct session *s, uint32_t observe);
bool plans_stale(const struct session *s); /* plans are kept here from before the client's DISCARD PLANS, and can be discarded now */
void task_discard_plans(struct session *s);
void task_raise_sql(struct session *s, struct buf *sql, const char *sqlstate, const char *message); /* the text of one */
void task_raise(struct session *s, const char *sqlstate, const char *message); /* an error that PostgreSQL raises for us */
void task_raise_text(struct session *s, const char *sql, size_t len);		/* by this statement */
void task_finish(struct session *s, uint32_t *events); /* all its replies are there */
void task_tell_error(struct session *s); /* the failed task's error, as the client's */

/* session_rules.c */
bool rules_ignore_setting(const struct session *s, const char *name);
uint32_t rules_ignored_touches(const struct session *s); /* TOUCH_… that are left where they happen */
uint32_t rules_ignored_pins(const struct session *s);	 /* PIN_… */
uint32_t rules_kinds(struct session *s, const struct effects *e); /* kinds of state a text has to do with, as bits */
/* May a statement that has to do with these kinds be sent? A pin that it may bring about is counted at once. False: why
 * says it all. */
bool rules_allow(struct session *s, uint32_t found, struct rule_refusal *why);
/* The same for a text; named: it is a Parse with a name. With peek, nothing is counted: it does not run yet. */
bool rules_allow_text(struct session *s, const struct effects *e, bool named, bool peek, struct rule_refusal *why);
/* And for a LISTEN of which only now, about to run, it is known that it can't be shared. */
bool rules_allow_unshared(struct session *s, struct rule_refusal *why);
/* False: there is nothing that would be refused now. */
bool rules_watch(const struct session *s);
/* The client gets the error in place of its message, and the transaction fails as by any other. SESSION_DROP. */
enum session_verdict rules_refuse(struct session *s, const struct client_message *m, const struct rule_refusal *why);
/* SHOW pgporter.pin of a client that has never set it, where PostgreSQL knows no such parameter: answered here. */
bool rules_show_pin(struct session *s, const struct client_message *m);
bool rules_whole_session(const struct session *s);
bool rules_room(struct session *s); /* for one more pin, which is then taken */
/* What SQL calls prepared statements is left on the backend it happens on. */
static inline bool rules_leave_prepared(const struct session *s)
{
	return s->rules->ignore & 1u << RULE_PREPARED;
}
/* A transaction is over, and its outcome known: pins by rule come and go, what no rule allows is EVENT_BROKEN. */
void rules_settle(struct session *s, uint32_t *events);
void rules_uncount(struct session *s);
void task_notify(struct session *s, const char *channel, const char *payload);

/* session_listen.c */
bool listen_is_shared(const struct session *s);
/* This LISTEN or UNLISTEN need not be PostgreSQL's own, as far as is known before it is sent. */
bool listen_may_share(const struct session *s, const struct stmt_effects *row);
bool listen_may_wait(const struct session *s, const struct stmt_effects *row); /* such a statement of a simple Query, for the listening backend */
/* A LISTEN, or an EXECUTE of one, that would be shared by rule and has to be PostgreSQL's own. */
bool listen_unshared(const struct session *s, const struct stmt_effects *row);
enum listen_way {
	LISTEN_MARKED, /* a marker is sent for it */
	LISTEN_PLAIN,  /* it goes as it is */
	LISTEN_WAIT,   /* ask again when woken: the listening backend has to listen first */
};
/* behind: something has run before it in its transaction. */
enum listen_way listen_way(struct session *s, const struct stmt_effects *row, bool behind);
/* Writes the marker's statement; alone: the text is that statement, in a transaction of its own. Returns true if it
 * gives rows. */
bool listen_write(struct session *s, const struct stmt_effects *row, bool alone, struct buf *out);
/* By extended protocol, where a no-op was parsed in its stead: what goes ahead of m, its Execute. NEXT, HOLD to wait, or DROP: refused. */
enum session_verdict listen_execute(struct session *s, const struct client_message *m, const struct effects *e);
void listen_send_unsent(struct session *s, const struct client_message *m); /* ahead of m, which is about to be sent */
void listen_forget_unsent(struct session *s); /* PostgreSQL skips to Sync, or the backend is gone */
void listen_discarded(struct session *s); /* DISCARD ALL has succeeded */
/* ReadyForQuery in idle has come for a session that listens. True: it is written later, by listen_go_on(). */
bool listen_holds_ready(struct session *s);
void listen_go_on(struct session *s, bool failed, uint32_t *events);
void listen_look(struct session *s, const void *text, size_t len); /* does a statement that is sent name NOTIFY? */
bool listen_begin(struct session *s); /* the marker that session_mark_first() promised is on its way: hold */
void listen_flush(struct session *s); /* the client may read now */

/* session_views.c: views of one's own session */
/* A text like this shows them, itself or by what it EXECUTEs. */
bool views_shown(const struct session *s, const struct effects *e);
bool views_shown_by(const struct portal *p); /* where it is no EXECUTE */
/* Before such a text is sent: the backend has what the client has made, under the client's own names. False: not yet, a task is
 * under way. True: what is sent next has to be that text. */
bool views_ready(struct session *s);
/* What is laid out is there for the message at hand, or not at all. */
static inline bool views_laid(const struct session *s)
{
	return s->views == VIEWS_OLD && s->backend->status != 'E';
}
bool views_gone(struct session *s); /* ahead of any other message; false: not yet, a task is under way */
void views_end(struct session *s);  /* likewise, with the transaction over */
bool views_done(struct session *s, enum task_kind kind, bool failed); /* false: nobody knows what is left there */

/* session_edit.c: what the client would hear of its backend */
struct reader;
bool edit_wanted(const struct session *s, const struct stmt_effects *row); /* edit_put() would write something else */
bool edit_varies(const struct effects *e); /* and may do so at another time, where it doesn't now */
struct edit {
	bool rename; /* the token that is the row's name becomes */
	const struct stmt *name; /* this one's on backends; NULL: one that is never there */
	bool note; /* note_shift() of all that moves: out is the text that is sent */
};
/* Writes text[from..to), in which the row's statement is. */
void edit_put(struct session *s, const char *text, size_t from, size_t to, const struct stmt_effects *row, const struct edit *how, struct buf *out);
/* In the client's text, where something is at `position` (from 1) of what edit_put() writes for all of it. */
long edit_position(const struct session *s, const struct stmt_effects *row, const struct edit *how, long position);
/* A statement of SQL's PREPARE as it has to be now; names follow. Borrowed; st may be NULL. */
struct stmt *edit_of_today(struct session *s, const char *name, struct stmt *st);
/* values: behind the names of a Bind. Returns true where body is the Bind that is to be sent instead. */
bool edit_bind(const struct session *s, const struct effects *e, const struct client_message *m, struct reader values, struct buf *body);

/* session_reset.c: what was RESET out of sight */
void reset_possible(struct session *s); /* by a statement that was sent */
bool reset_reported(const struct session *s, const char *name); /* a ParameterStatus that may tell of it: told with ReadyForQuery */
/* At ReadyForQuery, the transaction looked at. In one that stays open a task is begun that gives it back. True: ReadyForQuery
 * is told by session_tell_held(), when PostgreSQL has answered. */
bool reset_look(struct session *s);
void reset_done(struct session *s);

/* session_learn.c */
/* In the middle of a pipeline, and `now` is not all known: starts a task that asks. False: go on. */
bool learn_first(struct session *s, const struct settings *now, const struct settings *then);
/* The same before a Parse, whose statement is to be known together with the settings that were in force. */
bool learn_parse(struct session *s, const char *text);
/* The same before SQL's PREPARE, by a text that is one or begins with one, or by the EXECUTE of such a text (target). */
bool learn_prepare(struct session *s, const struct effects *e, const struct stmt *target);
bool learn_done(struct session *s); /* false: that was no answer */
/* Writes a SELECT, of one row, that asks for what statements ahead of the row's in its text may change, or earlier ones may have.
 * Returns the names, and a reference. */
const struct settings *learn_written(struct session *s, const struct effects *e, const struct stmt_effects *row, struct buf *out);
void learn_row(struct session *s, const struct settings *asked, const void *row, size_t len); /* the answer */

/* session_prepare.c: SQL's PREPARE, and the settings that its statement's literals are read under */
/* The statement that the text's row is going to define. */
struct stmt *prepare_stmt(struct session *s, const char *text, const struct effects *e, const struct stmt_effects *row);
/* The same statement in other words, or under other settings. */
struct stmt *prepare_again(struct session *s, const struct stmt *st, const void *tail, size_t tail_len, const struct settings *at_parse);
bool prepare_is_late(const struct stmt *st); /* those settings are known only when it has run */
/* It has; p: by that portal. */
void prepare_apply(struct session *s, const char *name, enum substitute sub, struct stmt *st, const struct portal *p);
/* By Execute of a portal that was bound before settings were changed: the backend has another statement than meant. */
void prepare_undo(struct session *s, const struct portal *p);

/* session_half_ended.c: what PostgreSQL says is over, and isn't */
char half_ended_status(struct backend *b, bool sync, char said); /* what a ReadyForQuery makes of the backend's status */
void joined_begin(struct session *s); /* something is begun on the backend, where what began it for the client is answered here */
void half_ended_end(struct session *s); /* the client was told that its transaction is over: a task ends it */
void half_ended_done(struct session *s, bool failed, uint32_t *events); /* it has */
/* Is this message the statement that fails with it? */
static inline bool lost_fails(const struct session *s, char type)
{
	return buf_len(&s->lost.error) && strchr("QFPBDE", type);
}
void lost_tell(struct session *s); /* it does */
void lost_raise(struct session *s, bool alone); /* and PostgreSQL says so, behind what it still owes; alone: it is no part of a batch */
void lost_report(struct session *s); /* ahead of ReadyForQuery, which is told without a backend */
void lost_forget(struct session *s);

/* session_reply.c */
/* ReadyForQuery has come, of the client's message or of a part of it: what was left is settled. */
void transaction_looked_at(struct session *s, uint32_t *events);
bool ledger_skip(struct session *s); /* PostgreSQL skips to the next Sync; true if that was sent already */
void session_tell_ready(struct session *s, uint32_t *events); /* the client's ReadyForQuery has come, and is told now… */
void session_tell_held(struct session *s, uint32_t *events); /* …or, where that waited for a task, here */
void ledger_flush_invented(struct session *s);
void owe_invented(struct session *s, char reply, struct stmt *st, const char *name);

#endif
