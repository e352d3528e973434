#include "server/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 8192 };

struct level {
	const char *name;
	int priority;
};

static const struct level levels[] = {
	[LOG_LEVEL_FATAL] = { "FATAL", LOG_CRIT },    [LOG_LEVEL_ERROR] = { "ERROR", LOG_ERR },
	[LOG_LEVEL_WARNING] = { "WARNING", LOG_WARNING }, [LOG_LEVEL_LOG] = { "LOG", LOG_INFO },
	[LOG_LEVEL_DEBUG] = { "DEBUG", LOG_DEBUG },   [LOG_LEVEL_NOISE] = { "NOISE", LOG_DEBUG },
};

static const struct {
	const char *name;
	int code;
} facilities[] = {
	{ "auth", LOG_AUTH },	  { "authpriv", LOG_AUTHPRIV }, { "daemon", LOG_DAEMON }, { "user", LOG_USER },
	{ "local0", LOG_LOCAL0 }, { "local1", LOG_LOCAL1 },	{ "local2", LOG_LOCAL2 }, { "local3", LOG_LOCAL3 },
	{ "local4", LOG_LOCAL4 }, { "local5", LOG_LOCAL5 },	{ "local6", LOG_LOCAL6 }, { "local7", LOG_LOCAL7 },
};

/* One file number for the life of the process: dup2() exchanges the file behind it, so a line being written meanwhile
 * goes whole to the old one or to the new one. */
static struct {
	pthread_mutex_t lock;
	int fd; /* -1: none */
	bool quiet, syslog;
	char ident[64]; /* openlog() keeps the pointer */
	int highest;	/* level; read without the lock */
} sink = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1, .highest = LOG_LEVEL_LOG };

/* Returns 0, or an errno; the file in use stays then. */
static int open_file(const char *path)
{
	int fd;

	if (!path || !*path) {
		if (sink.fd >= 0)
			close(sink.fd);
		sink.fd = -1;
		return 0;
	}
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0)
		return errno;
	if (sink.fd >= 0) {
		dup3(fd, sink.fd, O_CLOEXEC);
		close(fd);
	} else {
		sink.fd = fd;
	}
	return 0;
}

static int facility_code(const char *name)
{
	for (size_t i = 0; name && i < sizeof facilities / sizeof *facilities; i++)
		if (!strcasecmp(facilities[i].name, name))
			return facilities[i].code;
	return LOG_DAEMON;
}

static void open_syslog(const struct log_options *o)
{
	if (sink.syslog)
		closelog();
	sink.syslog = o->syslog;
	if (!o->syslog)
		return;
	snprintf(sink.ident, sizeof sink.ident, "%s", o->syslog_ident && *o->syslog_ident ? o->syslog_ident : "pgporter");
	openlog(sink.ident, LOG_PID, facility_code(o->syslog_facility));
}

int log_configure(const struct log_options *o)
{
	int highest = o->verbose <= 0 ? LOG_LEVEL_LOG : o->verbose == 1 ? LOG_LEVEL_DEBUG : LOG_LEVEL_NOISE;
	int error;

	pthread_mutex_lock(&sink.lock);
	error = open_file(o->logfile);
	open_syslog(o);
	sink.quiet = o->quiet;
	__atomic_store_n(&sink.highest, highest, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&sink.lock);
	errno = error;
	return error ? -1 : 0;
}

bool log_wants(enum log_level level)
{
	return (int)level <= __atomic_load_n(&sink.highest, __ATOMIC_RELAXED);
}

/* Names and texts of peers end up here: no byte of theirs may begin a line of its own or move a terminal's cursor. */
static void blank_controls(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = ' ';
}

static size_t line_head(char *line, size_t cap, enum log_level level)
{
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	n = strftime(line, cap, "%Y-%m-%d %H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, cap - n, ".%03ld ", now.tv_nsec / 1000000);
	n += strftime(line + n, cap - n, "%Z", &tm);
	return n + (size_t)snprintf(line + n, cap - n, " [%ld] %s ", (long)getpid(), levels[level].name);
}

static void write_all(int fd, const char *line, size_t n)
{
	ssize_t done;

	while (n > 0) {
		done = write(fd, line, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return; /* a full disk must not stop the traffic */
		line += done;
		n -= (size_t)done;
	}
}

static void write_line(enum log_level level, char *line, size_t head, size_t n)
{
	pthread_mutex_lock(&sink.lock);
	if (sink.syslog)
		syslog(levels[level].priority, "%s %s", levels[level].name, line + head);
	line[n++] = '\n';
	if (!sink.quiet)
		write_all(STDERR_FILENO, line, n);
	if (sink.fd >= 0)
		write_all(sink.fd, line, n);
	pthread_mutex_unlock(&sink.lock);
}

void log_vline(enum log_level level, const char *prefix, const char *fmt, va_list ap)
{
	int error = errno, len;
	char line[LINE_MAX_BYTES];
	const size_t cap = sizeof line - 1; /* the newline has its place */
	size_t head, n;

	if (!log_wants(level))
		return;
	head = n = line_head(line, cap, level);
	len = snprintf(line + n, cap - n, "%s", prefix ? prefix : "");
	n = len < 0 || (size_t)len >= cap - n ? cap - 1 : n + (size_t)len;
	len = vsnprintf(line + n, cap - n, fmt, ap);
	if (len < 0 || (size_t)len >= cap - n) {
		memcpy(line + cap - 4, "...", 4);
		n = cap - 1;
	} else {
		n += (size_t)len;
	}
	blank_controls(line + head);
	write_line(level, line, head, n);
	errno = error;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vline(level, NULL, fmt, ap);
	va_end(ap);
}
