/* tests/sim/model_internal.h — what the files of the model of a backend share, and nobody else includes. Those that return
 * bool return false where an error was told. */
#ifndef PGPORTER_TESTS_SIM_MODEL_INTERNAL_H
#define PGPORTER_TESTS_SIM_MODEL_INTERNAL_H

#include "tests/sim/model_sql.h"

/* How a statement is run. */
struct run {
	bool simple;
	const char *order, *path; /* when it was analysed */
	const char *const *bound;
	size_t n_bound;
	struct model_portal *portal; /* for row limits */
	int max;
};

enum { TYPE_BOOL = 16, TYPE_INT8 = 20, TYPE_INT4 = 23, TYPE_TEXT = 25, TYPE_DATE = 1082, TYPE_VOID = 2278 };

void model_complain(struct model *m, const char *what, const char *text); /* the model does not know, or pgporter must not do this */

/* model_settings.c */
const char *model_default(enum model_var v);
const char *model_reset_value(const struct model *m, enum model_var v);
const char *model_show(const struct model *m, enum model_var v);
bool model_is_custom(int v);
bool model_is_superuser(const struct model *m);
const char *model_canonical(const struct model *m, enum model_var v, const char *value);
void model_report(struct model *m);
void model_report_at_once(struct model *m);
bool model_set(struct model *m, enum model_var v, const char *value, bool local);
void model_reset_all(struct model *m);
bool model_set_config(struct model *m, const struct run *r, const struct model_sql *q);
bool model_show_setting(struct model *m, const struct run *r, const struct model_sql *q);

/* model_transaction.c */
void model_transaction_starts(struct model *m);
void model_transaction_ends(struct model *m, bool commit);
bool model_commits(struct model *m);
void model_said(struct model *m, char type, const char *severity, const char *code, const char *fmt, const char *arg);
bool model_error_as(struct model *m, const uint8_t *body, size_t len); /* an ErrorResponse */
bool model_error(struct model *m, const char *code, const char *fmt, const char *arg);
void model_warning(struct model *m, const char *code, const char *text);
void model_tag(struct model *m, const char *text);
bool model_set_isolation(struct model *m, const char *level);
bool model_begin(struct model *m, const struct model_sql *q);
bool model_end(struct model *m, const struct model_sql *q);
bool model_savepoint(struct model *m, const struct model_sql *q);

/* model_results.c */
uint32_t model_result_of(struct model *m, const struct model_sql *q, const char **name);
void model_describe(struct model *m, const struct model_sql *q);
void model_put_value(struct model *m, const char *value);
void model_row(struct model *m, const char *value);
bool model_one_row(struct model *m, const struct run *r, const struct model_sql *q, const char *value);
bool model_one_number(struct model *m, const struct run *r, const struct model_sql *q, int n);
bool model_series(struct model *m, int *at, int n, int max, int *given);

/* model_named.c */
struct model_stmt *model_stmt_find(struct model *m, const char *name);
struct model_stmt *model_stmt_put(struct model *m, const char *name, const struct model_text *t, const struct model_sql *q);
void model_stmts_drop_named(struct model *m);
bool model_analyse(struct model *m, struct model_stmt *st, const struct model_sql *q);
bool model_revalidate(struct model *m, struct model_stmt *st);
bool model_prepare(struct model *m, const struct model_sql *q);
bool model_execute(struct model *m, const struct run *r, const struct model_sql *q);
bool model_deallocate(struct model *m, const struct model_sql *q);
bool model_my_statements(struct model *m, const struct run *r, const struct model_sql *q);
struct model_portal *model_portal_find(struct model *m, const char *name);
struct model_portal *model_portal_put(struct model *m, const char *name);
void model_portal_drop(struct model_portal *p);
void model_portals_close_all(struct model *m);
bool model_declare(struct model *m, const struct model_sql *q);
bool model_fetch(struct model *m, const struct run *r, const struct model_sql *q);
bool model_close(struct model *m, const struct model_sql *q);

/* model_run.c */
bool model_run(struct model *m, const struct run *r, const struct model_sql *q);
bool model_run_series(struct model *m, const struct run *r, const struct model_sql *q);
bool model_takes_snapshot(enum model_op op);
int model_locks_held(const struct model *m);

/* model_notify.c */
bool model_notify(struct model *m, const struct run *r, const struct model_sql *q);
void model_notes_committed(struct model *m);

/* model_asked.c */
void model_asked(struct model *m, const struct model_sql *q);
bool model_learned(struct model *m, const struct model_sql *q);
bool model_given_back(struct model *m, const struct model_sql *q);
int model_cursors_held(const struct model *m);
int model_prepared_by_sql(const struct model *m);

#endif
