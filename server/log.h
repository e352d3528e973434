/* server/log.h — the log in PgBouncer's line format, which tools parse:
 * `YYYY-MM-DD HH:MM:SS.mmm TZ [pid] LEVEL text`, to stderr, a file and syslog. */
#ifndef PGPORTER_SERVER_LOG_H
#define PGPORTER_SERVER_LOG_H

#include <stdarg.h>
#include <stdbool.h>

enum log_level { LOG_LEVEL_FATAL, LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_LOG, LOG_LEVEL_DEBUG, LOG_LEVEL_NOISE };

struct log_options {
	const char *logfile; /* "" : none */
	bool syslog, quiet;  /* quiet: not to stderr */
	const char *syslog_ident, *syslog_facility;
	int verbose; /* 0: up to LOG; 1: DEBUG; 2 and more: NOISE */
};

/* The one thing in the program that a process has one of: where its lines go. Reopens the file on each call; keeps the
 * old one when the new can't be opened (returns -1, errno set). */
int log_configure(const struct log_options *o);
bool log_wants(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_vline(enum log_level level, const char *prefix, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

#endif
