#include "server/catalogue.h"

#include <stdlib.h>
#include <string.h>

#include "parser/effects.h"
#include "parser/reader.h"
#include "parser/report.h"
#include "parser/watch_items.h"
#include "server/backend_internal.h"
#include "server/client.h"
#include "server/log.h"

enum {
	LOSSES_MAX = 2,		      /* connections that may go before the first reading is given up */
	TIMEOUT_MS = 5000,	      /* of each query, by PostgreSQL */
	PATIENCE_US = 10 * 1000 * 1000, /* until a connection that says nothing is closed */
	SOON_US = 200 * 1000,	      /* from a change to the next reading */
	SHARE = 20,		      /* readings take no more than one part of the time in so many */
	ROWS_MAX = 20000,
	BYTES_MAX = 16 << 20,
	ROUNDS_MAX = 8,
};

enum catalogue_state { CATALOGUE_UNREAD, CATALOGUE_CLEANING, CATALOGUE_FUNCTIONS, CATALOGUE_REACHED, CATALOGUE_AT_REST };

struct catalogue {
	struct worker *worker;
	struct database *db;
	struct watch *watch;
	enum catalogue_state state;
	struct backend_conn *conn;
	struct line_place line;
	bool first_done, failed;
	int losses, rounds;
	size_t n_reached; /* functions with effects, as of the last round */
	size_t n_functions, n_rows, n_bytes;
	int64_t began_us, took_us, due_us; /* due_us 0: nothing has changed */
	struct watch_items *items;
	struct watch *next;
};

struct catalogue *catalogue_new(struct worker *w, struct database *db)
{
	struct catalogue *c = calloc(1, sizeof *c);

	if (!c)
		abort();
	c->worker = w;
	c->db = db;
	c->line.catalogue = c;
	c->watch = watch_new(&w->store.last_serial);
	return c;
}

void catalogue_leave_line(struct catalogue *c)
{
	pool_unwait(&c->line.waiter);
}

void catalogue_free(struct catalogue *c)
{
	watch_items_free(c->items);
	watch_free(c->next);
	watch_free(c->watch);
	free(c);
}

struct watch *catalogue_watch(struct catalogue *c)
{
	return c->watch;
}

static bool wanted(const struct db_pool *p)
{
	return p->mode != POOL_SESSION && !p->listening;
}

/* --- rules --- */

static uint32_t touched_kinds(uint32_t kinds)
{
	static const uint32_t flags[RULE_KINDS] = {
		[RULE_SETTINGS] = TOUCH_OPAQUE, /* whichever */
		[RULE_PREPARED] = TOUCH_OPAQUE, [RULE_CURSOR] = TOUCH_CURSOR,	  [RULE_LOCK] = TOUCH_LOCK,
		[RULE_TEMP] = TOUCH_TEMP,	[RULE_LISTEN] = TOUCH_LISTEN,	  [RULE_SEQUENCE] = TOUCH_SEQUENCE,
		[RULE_OPAQUE] = TOUCH_OPAQUE,	[RULE_SESSION] = TOUCH_SESSION,
	};
	uint32_t touched = 0;

	for (int kind = 0; kind < RULE_KINDS; kind++)
		touched |= kinds >> kind & 1 ? flags[kind] : 0;
	return touched;
}

static void add_touching(struct watch *w, const struct rule_functions *f)
{
	for (size_t i = 0; i < f->n; i++) {
		struct watch_effect e = { .flags = touched_kinds(f->list[i].kinds) };

		if (f->list[i].kinds >> RULE_ROLE & 1) {
			watch_effect_setting(&e, "role", 0, 0, false);
			watch_effect_setting(&e, "session_authorization", 0, 0, false);
		}
		watch_add(w, f->list[i].name, WATCH_CALLED, &e);
		watch_effect_release(&e);
	}
}

static const struct rule_functions *list_of(const struct rule_functions *database, const struct rule_functions *global)
{
	return database && database->n ? database : global;
}

static const struct rule_functions *stateless_of(const struct catalogue *c)
{
	return list_of(c->db->conf ? &c->db->conf->rules.stateless : NULL, &c->worker->config->stateless);
}

/* What operators say of functions. Lists of users count for all: the set is the database's. */
static void apply_rules(const struct catalogue *c, struct watch *w)
{
	const struct config *conf = c->worker->config;
	const struct rule_functions *stateless = stateless_of(c);

	for (size_t i = 0; i < stateless->n; i++)
		if (!stateless->list[i].schema)
			watch_exempt(w, stateless->list[i].name);
	add_touching(w, list_of(c->db->conf ? &c->db->conf->rules.touching : NULL, &conf->touching));
	for (const struct config_user *u = conf->users; u; u = u->next)
		add_touching(w, &u->rules.touching);
}

static bool called_stateless(const struct catalogue *c, const char *schema, const char *name)
{
	const struct rule_functions *f = stateless_of(c);

	for (size_t i = 0; i < f->n; i++)
		if (!strcmp(f->list[i].name, name) && (!f->list[i].schema || !strcmp(f->list[i].schema, schema)))
			return true;
	return false;
}

/* --- asking --- */

static int server_major(const struct backend_conn *b)
{
	const char *version = settings_get_nocase(b->facts.reported, "server_version");

	return version ? atoi(version) : 0;
}

/* In server encoding, whatever the connection's: what doesn't convert must not make it fail. */
static void put_frame(struct buf *out)
{
	buf_printf(out,
		   "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;SET LOCAL search_path=pg_catalog,pg_temp;SET LOCAL statement_timeout=%d;"
		   "SET LOCAL client_encoding='SQL_ASCII';SET LOCAL standard_conforming_strings=on;",
		   TIMEOUT_MS);
}

static void ask_functions(struct catalogue *c)
{
	struct buf *out = stream_out(&c->conn->stream);
	bool sql_bodies = server_major(c->conn) >= 14;
	size_t mark = msg_begin(out, 'Q');

	c->state = CATALOGUE_FUNCTIONS;
	put_frame(out);
	buf_printf(out,
		   "SELECT p.oid,p.proname,p.prokind,l.lanname,n.nspname,"
		   "CASE WHEN p.proargnames IS NULL THEN repeat(chr(1),p.pronargs) ELSE"
		   " (SELECT string_agg(coalesce(a.n,'')||chr(1),'' ORDER BY a.o)"
		   " FROM unnest(p.proargnames,p.proargmodes) WITH ORDINALITY AS a(n,m,o) WHERE a.m IS NULL OR a.m IN ('i','b','v')) END,"
		   "CASE WHEN octet_length(p.prosrc)>200000 THEN NULL %s ELSE p.prosrc END"
		   " FROM pg_proc p JOIN pg_language l ON l.oid=p.prolang JOIN pg_namespace n ON n.oid=p.pronamespace"
		   " WHERE p.oid>=16384 AND l.lanname NOT IN ('c','internal') AND p.prokind IN ('f','p') ORDER BY p.oid LIMIT %d;COMMIT",
		   sql_bodies ? "WHEN p.prosqlbody IS NOT NULL THEN (SELECT CASE WHEN octet_length(q)<=200000 THEN q END"
			      " FROM pg_get_function_sqlbody(p.oid) AS q)" : "", ROWS_MAX + 1);
	buf_u8(out, 0);
	msg_end(out, mark);
	worker_dirty(c->worker, &c->conn->stream);
}

/* Objects that depend on functions with effects, or call PostgreSQL's own such functions (on which no dependency is kept), and
 * what reaches those: the table of a trigger, a view over a view, the parent of a partition. */
static const char reach_sql[] =
	"WITH RECURSIVE b(re) AS MATERIALIZED (SELECT ':funcid ('||string_agg(oid::text,'|')||') ' FROM pg_proc"
	" WHERE pronamespace='pg_catalog'::regnamespace AND (proname IN ('set_config','setseed','currval','lastval','ts_stat','ts_rewrite',"
	"'pg_backup_start','pg_start_backup','pg_create_physical_replication_slot','pg_create_logical_replication_slot',"
	"'pg_copy_physical_replication_slot','pg_copy_logical_replication_slot') OR proname ~ '^(query_to_xml|pg_replication_origin_)'"
	" OR (proname ~ 'advisory' AND proname !~ 'advisory_xact'))),"
	"d(c,o) AS (SELECT classid,objid FROM pg_depend WHERE refclassid='pg_proc'::regclass AND refobjid=ANY(s.x)"
	" UNION SELECT 'pg_rewrite'::regclass,r.oid FROM pg_rewrite r,b WHERE r.oid>=16384 AND (r.ev_action::text ~ re OR r.ev_qual::text ~ re)"
	" UNION SELECT 'pg_attrdef'::regclass,oid FROM pg_attrdef,b WHERE oid>=16384 AND adbin::text ~ re"
	" UNION SELECT 'pg_policy'::regclass,oid FROM pg_policy,b WHERE polqual::text ~ re OR polwithcheck::text ~ re"
	" UNION SELECT 'pg_constraint'::regclass,oid FROM pg_constraint,b WHERE oid>=16384 AND conbin::text ~ re"
	" UNION SELECT 'pg_trigger'::regclass,oid FROM pg_trigger,b WHERE tgqual::text ~ re"
	" UNION SELECT 'pg_class'::regclass,indexrelid FROM pg_index,b WHERE indexrelid>=16384 AND (indexprs::text ~ re OR indpred::text ~ re)),"
	"r(c,o) AS (SELECT c,o FROM d UNION SELECT n.c,n.o FROM r CROSS JOIN LATERAL ("
	"SELECT refclassid,refobjid FROM pg_depend WHERE classid=r.c AND objid=r.o AND deptype IN ('a','i')"
	" AND r.c IN ('pg_rewrite'::regclass,'pg_attrdef'::regclass,'pg_policy'::regclass,'pg_constraint'::regclass,'pg_trigger'::regclass)"
	" AND refclassid IN ('pg_class'::regclass,'pg_type'::regclass)"
	" UNION ALL SELECT 'pg_class'::regclass,indrelid FROM pg_index WHERE r.c='pg_class'::regclass AND indexrelid=r.o"
	" UNION ALL SELECT e.classid,e.objid FROM pg_depend e WHERE e.refclassid=r.c AND e.refobjid=r.o AND e.deptype IN ('n','a')"
	" AND r.c IN ('pg_class'::regclass,'pg_type'::regclass,'pg_operator'::regclass,'pg_proc'::regclass)"
	" AND (e.deptype='n' OR r.c<>'pg_class'::regclass)"
	" AND NOT (e.classid='pg_constraint'::regclass AND EXISTS (SELECT FROM pg_constraint k WHERE k.oid=e.objid AND k.contype='f'))"
	" AND NOT (r.c='pg_type'::regclass AND e.classid='pg_proc'::regclass)"
	" UNION ALL SELECT 'pg_class'::regclass,inhparent FROM pg_inherits WHERE r.c='pg_class'::regclass AND inhrelid=r.o"
	" UNION ALL SELECT 'pg_class'::regclass,confrelid FROM pg_constraint WHERE r.c='pg_class'::regclass AND conrelid=r.o AND contype='f'"
	" AND (confdeltype IN ('c','n','d') OR confupdtype IN ('c','n','d'))) AS n(c,o))"
	"SELECT x.w,x.word,CASE WHEN octet_length(x.def)<=200000 THEN x.def END FROM ("
	"SELECT CASE WHEN w.ev_type='1' AND t.relkind='v' THEN 'n' ELSE 'w' END,t.relname,pg_get_ruledef(w.oid)"
	" FROM r JOIN pg_rewrite w ON r.c='pg_rewrite'::regclass AND r.o=w.oid JOIN pg_class t ON t.oid=w.ev_class"
	" UNION ALL SELECT 'w',t.relname,pg_get_expr(a.adbin,a.adrelid)"
	" FROM r JOIN pg_attrdef a ON r.c='pg_attrdef'::regclass AND r.o=a.oid JOIN pg_class t ON t.oid=a.adrelid"
	" UNION ALL SELECT 'n',t.relname,concat_ws(' , ',pg_get_expr(p.polqual,p.polrelid),pg_get_expr(p.polwithcheck,p.polrelid))"
	" FROM r JOIN pg_policy p ON r.c='pg_policy'::regclass AND r.o=p.oid JOIN pg_class t ON t.oid=p.polrelid"
	" UNION ALL SELECT 'w',t.relname,pg_get_constraintdef(k.oid)"
	" FROM r JOIN pg_constraint k ON r.c='pg_constraint'::regclass AND r.o=k.oid JOIN pg_class t ON t.oid=k.conrelid"
	" UNION ALL SELECT 'n',y.typname,pg_get_constraintdef(k.oid)"
	" FROM r JOIN pg_constraint k ON r.c='pg_constraint'::regclass AND r.o=k.oid JOIN pg_type y ON y.oid=k.contypid"
	" UNION ALL SELECT 'w',t.relname,pg_get_triggerdef(g.oid)"
	" FROM r JOIN pg_trigger g ON r.c='pg_trigger'::regclass AND r.o=g.oid JOIN pg_class t ON t.oid=g.tgrelid"
	" UNION ALL SELECT 'w',t.relname,pg_get_indexdef(i.indexrelid)"
	" FROM r JOIN pg_index i ON r.c='pg_class'::regclass AND r.o=i.indexrelid JOIN pg_class t ON t.oid=i.indrelid"
	" UNION ALL SELECT 'w',t.relname,pg_get_partkeydef(t.oid)"
	" FROM r JOIN pg_class t ON r.c='pg_class'::regclass AND r.o=t.oid AND t.relkind='p'"
	" UNION ALL SELECT 'n',p.relname,quote_ident(t.relname)"
	" FROM r JOIN pg_inherits i ON r.c='pg_class'::regclass AND r.o=i.inhrelid JOIN pg_class p ON p.oid=i.inhparent"
	" JOIN pg_class t ON t.oid=i.inhrelid"
	" UNION ALL SELECT 'w',p.relname,quote_ident(t.relname)"
	" FROM r JOIN pg_constraint k ON r.c='pg_class'::regclass AND r.o=k.conrelid AND k.contype='f'"
	" JOIN pg_class p ON p.oid=k.confrelid JOIN pg_class t ON t.oid=k.conrelid"
	" UNION ALL SELECT 'w',t.relname,quote_ident(y.typname)"
	" FROM r JOIN pg_type y ON r.c='pg_type'::regclass AND r.o=y.oid AND y.typtype='d'"
	" JOIN pg_attribute a ON a.atttypid=y.oid JOIN pg_class t ON t.oid=a.attrelid"
	" UNION ALL SELECT 'n',o.oprname,quote_ident(p.proname)||'()'"
	" FROM r JOIN pg_operator o ON r.c='pg_operator'::regclass AND r.o=o.oid JOIN pg_proc p ON p.oid=o.oprcode"
	" UNION ALL SELECT 'c',g.proname,(SELECT string_agg(quote_ident(p.proname)||'()',' ') FROM pg_proc p"
	" WHERE p.oid IN (a.aggtransfn,a.aggfinalfn,a.aggcombinefn,a.aggmtransfn,a.aggminvtransfn,a.aggmfinalfn))"
	" FROM r JOIN pg_aggregate a ON r.c='pg_proc'::regclass AND r.o=a.aggfnoid::oid JOIN pg_proc g ON g.oid=a.aggfnoid::oid"
	" UNION ALL SELECT 'n',y.typname,quote_ident(p.proname)||'()'"
	" FROM r JOIN pg_cast x ON r.c='pg_cast'::regclass AND r.o=x.oid JOIN pg_proc p ON p.oid=x.castfunc"
	" JOIN pg_type y ON y.oid IN (x.castsource,x.casttarget)"
	" UNION ALL SELECT 'v','',quote_ident(p.proname)||'()'"
	" FROM r JOIN pg_event_trigger v ON r.c='pg_event_trigger'::regclass AND r.o=v.oid JOIN pg_proc p ON p.oid=v.evtfoid"
	" WHERE v.evtenabled<>'D') AS x(w,word,def)";

static void ask_reached(struct catalogue *c)
{
	struct buf *out = stream_out(&c->conn->stream), oids = { 0 };
	const char *at = strstr(reach_sql, "s.x");
	size_t mark = msg_begin(out, 'Q');

	c->state = CATALOGUE_REACHED;
	watch_items_oids(c->items, &oids);
	put_frame(out);
	buf_add(out, reach_sql, (size_t)(at - reach_sql));
	buf_text(out, "'{");
	buf_add(out, buf_head(&oids), buf_len(&oids));
	buf_text(out, "}'::oid[]");
	buf_text(out, at + 3);
	buf_printf(out, " LIMIT %d;COMMIT", ROWS_MAX + 1);
	buf_u8(out, 0);
	msg_end(out, mark);
	buf_release(&oids);
	worker_dirty(c->worker, &c->conn->stream);
}

static void begin(struct catalogue *c, struct backend_conn *b)
{
	c->conn = b;
	c->failed = false;
	c->rounds = 0;
	c->n_reached = c->n_functions = c->n_rows = c->n_bytes = 0;
	c->began_us = c->worker->now_us;
	c->due_us = 0;
	watch_items_free(c->items);
	watch_free(c->next);
	c->items = watch_items_new();
	c->next = watch_new(&c->worker->store.last_serial);
	apply_rules(c, c->next);
	watch_renew_begin(c->watch);
	conn_enter_state(b, CONN_CATALOGUE);
	b->request_us = c->worker->now_us;
	b->facts.unnamed = 0;
}

bool catalogue_claims(struct backend_conn *b)
{
	struct catalogue *c = b->pool->database->catalogue;

	if (c->first_done || !wanted(b->pool))
		return false;
	conn_enter_state(b, CONN_CATALOGUE);
	b->request_us = c->worker->now_us;
	if (c->state == CATALOGUE_UNREAD) {
		begin(c, b);
		ask_functions(c);
	}
	return true;
}

void catalogue_linked(struct catalogue *c, struct backend_conn *b)
{
	bool clean = !settings_size(b->facts.applied);

	begin(c, b);
	if (clean) {
		ask_functions(c);
		return;
	}
	c->state = CATALOGUE_CLEANING;
	backend_wiped(&b->facts);
	conn_send_query(b, "DISCARD ALL");
}

/* --- the end of a reading --- */

/* Who had to wait for the first reading. */
static void let_go(struct catalogue *c)
{
	struct backend_conn *b, *next;

	for (b = TAILQ_FIRST(&c->worker->backends); b; b = next) {
		next = TAILQ_NEXT(b, in);
		if (b->pool->database == c->db && b->state == CONN_CATALOGUE)
			conn_opened(b);
	}
}

static void rest(struct catalogue *c)
{
	watch_items_free(c->items);
	watch_free(c->next);
	c->items = NULL;
	c->next = NULL;
	c->conn = NULL;
	c->state = CATALOGUE_AT_REST;
}

static void done_with(struct catalogue *c)
{
	struct backend_conn *b = c->conn;
	bool first = !c->first_done;

	rest(c);
	c->first_done = true;
	if (first) {
		let_go(c);
	} else {
		conn_enter_state(b, CONN_READY);
		conn_release(b, true);
	}
}

static void put_in_place(struct catalogue *c)
{
	int64_t took_us = c->worker->now_us - c->began_us;

	c->took_us = took_us;
	watch_know(c->next, true);
	watch_renew(c->watch, c->next);
	c->next = NULL;
	log_line(LOG_LEVEL_LOG, "database %s: catalogue read in %lld ms: %zu of %zu functions touch session state, %zu words are watched",
		 c->db->name, (long long)(took_us / 1000), c->n_reached, c->n_functions, watch_count(c->watch));
	done_with(c);
}

static void give_up(struct catalogue *c, const char *why)
{
	log_line(LOG_LEVEL_WARNING, "database %s: catalogue not read: %s; %s", c->db->name, why,
		 c->first_done ? "what was known of functions stays" :
				 "what functions do to their session is not seen, and each DO and CALL costs a server connection");
	if (!c->first_done)
		apply_rules(c, c->watch);
	done_with(c);
}

static void round_over(struct catalogue *c)
{
	size_t n = watch_items_solve(c->items, c->next);

	if (c->state == CATALOGUE_FUNCTIONS)
		c->n_functions = c->n_rows;
	if (c->state == CATALOGUE_REACHED && n == c->n_reached) {
		put_in_place(c);
		return;
	}
	c->n_reached = n;
	if (++c->rounds > ROUNDS_MAX)
		give_up(c, "functions and views that reach each other are nested too deeply");
	else
		ask_reached(c);
}

/* --- what comes back --- */

static char *column(struct reader *r)
{
	uint32_t len = reader_u32(r);
	const uint8_t *p = len == UINT32_MAX ? NULL : reader_bytes(r, len);

	return p ? strndup((const char *)p, len) : NULL;
}

enum { FUNCTION_COLUMNS = 7, REACHED_COLUMNS = 3 };

static void take_object(struct catalogue *c, char *const *col)
{
	if (!col[0] || !col[1])
		return;
	if (*col[0] == 'v')
		watch_items_event_trigger(c->items, col[2]);
	else
		watch_items_object(c->items, *col[0] == 'n' ? WATCH_NAMED : *col[0] == 'c' ? WATCH_CALLED : WATCH_WRITTEN, col[1], col[2]);
}

static void take_function(struct catalogue *c, char *const *col)
{
	if (!col[0] || !col[1] || !col[2] || !col[3] || !col[4])
		return;
	watch_items_function(c->items, (uint32_t)strtoul(col[0], NULL, 10), col[1], *col[2] == 'p', col[3], col[5],
			     called_stateless(c, col[4], col[1]) ? "" : col[6]);
}

static void on_row(struct catalogue *c, const uint8_t *body, size_t len)
{
	struct reader r = reader_of(body, len);
	char *col[FUNCTION_COLUMNS] = { 0 };
	unsigned n = reader_u16(&r), want = c->state == CATALOGUE_FUNCTIONS ? FUNCTION_COLUMNS : REACHED_COLUMNS;

	c->n_rows++;
	c->n_bytes += len;
	if (n != want || c->n_bytes > BYTES_MAX || c->n_rows > ROWS_MAX)
		return;
	for (unsigned i = 0; i < want; i++)
		col[i] = column(&r);
	if (r.bad)
		c->failed = true;
	else if (want == REACHED_COLUMNS)
		take_object(c, col);
	else
		take_function(c, col);
	for (unsigned i = 0; i < want; i++)
		free(col[i]);
}

static void on_ready(struct catalogue *c)
{
	if (c->state == CATALOGUE_CLEANING && !c->failed)
		ask_functions(c);
	else if (c->failed)
		give_up(c, "the query failed");
	else if (c->n_rows > ROWS_MAX || c->n_bytes > BYTES_MAX)
		give_up(c, "it has more functions than are looked through");
	else
		round_over(c);
	if (c->state == CATALOGUE_REACHED)
		c->n_rows = 0;
}

void catalogue_message(struct backend_conn *b, char type, const uint8_t *body, size_t len)
{
	struct catalogue *c = b->pool->database->catalogue;
	const char *message;

	if (type == 'S') {
		conn_parameter(b, body, len);
		return;
	}
	if (b != c->conn) { /* waits for another's reading, and has nothing to say */
		if (type == 'E')
			conn_close(b, "server error while idle");
		return;
	}
	if (type == 'D') {
		on_row(c, body, len);
	} else if (type == 'E') {
		c->failed = true;
		message = report_field(body, len, 'M');
		conn_log(b, LOG_LEVEL_WARNING, "reading the catalogue failed: %s", message ? message : "?");
	} else if (type == 'Z') {
		b->facts.status = len ? (char)body[0] : 'I';
		if (b->facts.status != 'I')
			conn_close(b, "a transaction of our own was left open");
		else
			on_ready(c);
	}
}

void catalogue_lost(struct backend_conn *b)
{
	struct catalogue *c = b->pool->database->catalogue;

	if (c->conn != b)
		return;
	rest(c);
	if (c->first_done) {
		c->due_us = c->worker->now_us + SOON_US;
	} else if (++c->losses <= LOSSES_MAX) {
		c->state = CATALOGUE_UNREAD;
		TAILQ_FOREACH (b, &c->worker->backends, in)
			if (b->pool->database == c->db && b->state == CONN_CATALOGUE) {
				catalogue_claims(b);
				return;
			}
	} else {
		log_line(LOG_LEVEL_WARNING,
			 "database %s: catalogue not read: connections were lost over it; what functions do to their session is not seen",
			 c->db->name);
		apply_rules(c, c->watch);
		c->first_done = true;
		let_go(c);
	}
}

/* --- when --- */

void catalogue_changed(struct database *db)
{
	struct catalogue *c = db->catalogue;

	if (c->due_us || !c->first_done)
		return;
	c->due_us = c->worker->now_us + SOON_US;
	if (c->due_us < c->began_us + SHARE * c->took_us)
		c->due_us = c->began_us + SHARE * c->took_us;
}

void catalogue_reload(struct worker *w)
{
	struct database *d;

	TAILQ_FOREACH (d, &w->databases, in)
		catalogue_changed(d);
}

static void read_again(struct catalogue *c)
{
	struct worker *w = c->worker;
	const struct settings *nothing = settings_empty(w->store.settings);
	struct db_pool *any = NULL;
	struct pool_backend *node;
	struct pool *p;

	settings_release(nothing); /* the store keeps it */
	TAILQ_FOREACH (p, &c->db->pools, in_database) {
		if (!wanted((struct db_pool *)p) || !pool_backends(p))
			continue;
		any = (struct db_pool *)p;
		node = pool_take(p, nothing, NULL, w->now_us);
		if (node) {
			catalogue_linked(c, conn_of(node));
			return;
		}
	}
	if (any) {
		pool_wait(&any->pool, &c->line.waiter, nothing, NULL, w->now_us);
		pools_serve(any);
	}
}

void catalogue_tick(struct worker *w)
{
	struct database *d;

	TAILQ_FOREACH (d, &w->databases, in) {
		struct catalogue *c = d->catalogue;

		if (c->conn && w->now_us - c->conn->request_us > PATIENCE_US) {
			c->conn->unheard = true;
			conn_close(c->conn, "the catalogue was not read in time");
		}
		if (c->due_us && c->due_us <= w->now_us && c->state == CATALOGUE_AT_REST && !c->line.waiter.pool && d->conf &&
		    !w->shutdown)
			read_again(c);
	}
}
