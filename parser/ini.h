/* parser/ini.h — lines of a pgbouncer.ini, and the libpq-like key=value strings in [databases] and [users].
 * Bytes in, facts out; files and %include are for server/config.c to follow. */
#ifndef PGPORTER_PARSER_INI_H
#define PGPORTER_PARSER_INI_H

#include <stdbool.h>
#include <stddef.h>

enum ini_kind {
	INI_BLANK,   /* blank or comment */
	INI_SECTION, /* name */
	INI_PAIR,    /* name, value */
	INI_INCLUDE, /* value: the file */
	INI_BAD,     /* error says what is wrong and what would be right */
};

struct ini_line {
	enum ini_kind kind;
	char *name, *value; /* NUL-ended, point into the line, which is changed */
	const char *error;
};

/* Reads one line (NUL-ended, without its newline), writing into it. Syntax: shared notes on PgBouncer's cfparser: comments only
 * where ; or # is the first non-blank; keys [A-Za-z0-9_.*-]+ or 'quoted', '' for a quote; the value to the end of the line, blanks cut. */
enum ini_kind ini_line(char *line, struct ini_line *out);

/* Steps through key=value pairs; value may be '…' with '' for a quote; an empty unquoted value is an error. Writes into the string. Returns 1 and
 * sets key and value, 0 at the end, -1 on a syntax error. */
int ini_pairs(char **at, char **key, char **value);

#endif
