/* server/console_rows.h — writes the console's tables: RowDescription, DataRows in text format. Cells are given in the
 * order of the columns; a table with a cell too few or too many is our own bug. */
#ifndef PGPORTER_SERVER_CONSOLE_ROWS_H
#define PGPORTER_SERVER_CONSOLE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parser/buf.h"

struct table {
	struct buf *out;
	unsigned columns, filled;
	size_t row; /* mark of the open row */
	bool open;
};

/* columns: names with their types, "database:s user:s cl_active:i": s text, i int4, q int8, N numeric. */
void table_begin(struct table *t, struct buf *out, const char *columns);
void table_row(struct table *t); /* begins one, ends the one before */
void table_end(struct table *t); /* CommandComplete is the caller's */
void cell_text(struct table *t, const char *s); /* NULL: null; as utf8_add() */
void cell_int(struct table *t, int64_t v);
void cell_format(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Text as the console's client_encoding has it: every byte that is not part of a UTF-8 character becomes '?' (names and
 * statements come in any encoding, and cut short). No NUL. */
void utf8_add(struct buf *out, const char *s);

#endif
