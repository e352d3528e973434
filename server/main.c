/* pgporter: the command line, becoming a daemon, and the pid file. Started as PgBouncer is. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <event2/event.h>
#include <openssl/crypto.h>

#include "server/config.h"
#include "server/log.h"
#include "server/worker.h"

static const char usage[] =
	"pgporter carries session state across transaction pooling for PostgreSQL.\n"
	"Usage: pgporter [OPTION]... CONFIG_FILE\n"
	"  -d, --daemon         run in the background (the file has to name a pidfile)\n"
	"  -q, --quiet          no messages to stderr\n"
	"  -u, --user=USERNAME  become this user\n"
	"  -v, --verbose        say more; twice: much more\n"
	"  -V, --version        show the version and exit\n"
	"  -h, --help           show this and exit\n";

struct command_line {
	bool daemon, quiet;
	int verbose;
	const char *user, *file;
};

static void show_version(void)
{
	printf("pgporter %s (compatible with PgBouncer %s)\nlibevent %s\ntls: %s\n", PGPORTER_VERSION, PGBOUNCER_VERSION, event_get_version(),
	       OpenSSL_version(OPENSSL_VERSION));
}

/* Returns -1 to go on, else the exit code. */
static int read_command_line(int argc, char **argv, struct command_line *cl)
{
	static const struct option options[] = {
		{ "daemon", no_argument, NULL, 'd' },	{ "quiet", no_argument, NULL, 'q' },
		{ "reboot", no_argument, NULL, 'R' },	{ "user", required_argument, NULL, 'u' },
		{ "verbose", no_argument, NULL, 'v' },	{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },	{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "dqRu:vVh", options, NULL)) != -1)
		switch (c) {
		case 'd':
			cl->daemon = true;
			break;
		case 'q':
			cl->quiet = true;
			break;
		case 'R':
			fprintf(stderr, "pgporter: -R (online restart) is not there: stop the running process first\n");
			return 1;
		case 'u':
			cl->user = optarg;
			break;
		case 'v':
			cl->verbose++;
			break;
		case 'V':
			show_version();
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("Try --help.\n", stderr);
			return 1;
		}
	if (optind != argc - 1) {
		fputs(usage, stderr);
		return 1;
	}
	cl->file = argv[optind];
	return -1;
}

static bool become(const char *user)
{
	struct passwd *pw = getpwnam(user);

	if (!pw) {
		log_line(LOG_LEVEL_FATAL, "cannot find user \"%s\" to switch to", user);
		return false;
	}
	if (geteuid() == pw->pw_uid)
		return true;
	if (initgroups(user, pw->pw_gid) || setgid(pw->pw_gid) || setuid(pw->pw_uid)) {
		log_line(LOG_LEVEL_FATAL, "cannot switch to user \"%s\": %s", user, strerror(errno));
		return false;
	}
	return true;
}

/* Every client and backend is a file; the soft limit is no more than a default. */
static void raise_file_limit(const struct config *c)
{
	struct rlimit lim;
	long long wanted = c->max_client_conn + 32LL;

	if (getrlimit(RLIMIT_NOFILE, &lim))
		return;
	if (lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
		getrlimit(RLIMIT_NOFILE, &lim);
	}
	for (const struct config_database *d = c->databases; d; d = d->next)
		wanted += d->max_db_connections > 0 ? d->max_db_connections :
			  c->max_db_connections > 0 ? c->max_db_connections :
			  d->pool_size >= 0	    ? d->pool_size :
						      c->default_pool_size;
	log_line(LOG_LEVEL_LOG, "kernel file descriptor limit: %llu (hard: %llu); max_client_conn: %d, max expected fd use: %lld",
		 (unsigned long long)lim.rlim_cur, (unsigned long long)lim.rlim_max, c->max_client_conn, wanted);
	if (wanted > (long long)lim.rlim_cur)
		log_line(LOG_LEVEL_WARNING,
			 "the configured limits may need %lld file descriptors, the system allows %llu: raise LimitNOFILE (ulimit -n) or lower max_client_conn",
			 wanted, (unsigned long long)lim.rlim_cur);
}

/* Returns the open, locked pid file, -1 if none is wanted, -2 on failure. */
static int claim_pidfile(const char *path)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd;

	if (!*path)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0) {
		log_line(LOG_LEVEL_FATAL, "could not open pidfile %s: %s", path, strerror(errno));
		return -2;
	}
	if (fcntl(fd, F_SETLK, &lock)) {
		log_line(LOG_LEVEL_FATAL, "pidfile %s belongs to a running process, cannot continue", path);
		close(fd);
		return -2;
	}
	return fd;
}

static bool write_pidfile(int fd)
{
	char text[32];
	int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());

	return !ftruncate(fd, 0) && pwrite(fd, text, (size_t)n, 0) == n;
}

static bool go_background(void)
{
	int null;
	pid_t pid = fork();

	if (pid < 0)
		return false;
	if (pid)
		_exit(0);
	if (setsid() < 0)
		return false;
	pid = fork();
	if (pid < 0)
		return false;
	if (pid)
		_exit(0);
	null = open("/dev/null", O_RDWR);
	if (null < 0)
		return false;
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	if (null > 2)
		close(null);
	return true;
}

/* Secrets are in memory: no core dump holds them, no other process of this user reads them. */
static void keep_secrets(void)
{
	prctl(PR_SET_DUMPABLE, 0);
}

/* A unit of Type=notify, as Debian's is, waits for this (sd_notify(3)); without one there is no socket to tell. */
static void tell_systemd(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (!len || len >= sizeof addr.sun_path || (*path != '/' && *path != '@'))
		return;
	memcpy(addr.sun_path, path, len);
	if (*path == '@')
		addr.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		log_line(LOG_LEVEL_WARNING, "could not tell %s to %s: %s", state, path, strerror(errno));
	close(fd);
}

static int run(struct config *config, const struct command_line *cl)
{
	struct worker *w;
	char *pidfile = strdup(config->pidfile);
	int fd;

	if (!pidfile)
		abort();
	if (cl->daemon && !*pidfile) {
		log_line(LOG_LEVEL_FATAL, "daemon needs pidfile configured");
		config_free(config);
		free(pidfile);
		return 1;
	}
	raise_file_limit(config);
	fd = claim_pidfile(pidfile);
	if (cl->daemon && fd >= 0) { /* the lock does not outlive fork(); what is wrong with the file is told before */
		close(fd);
		fd = go_background() ? claim_pidfile(pidfile) : -2;
	}
	if (fd == -2) {
		config_free(config);
		free(pidfile);
		return 1;
	}
	keep_secrets();
	w = worker_new(config, cl->verbose, cl->quiet || cl->daemon);
	if (w) {
		if (fd >= 0 && !write_pidfile(fd))
			log_line(LOG_LEVEL_WARNING, "could not write pidfile %s: %s", pidfile, strerror(errno));
		tell_systemd("READY=1");
		worker_run(w);
		tell_systemd("STOPPING=1");
		worker_free(w);
	}
	if (fd >= 0) {
		unlink(pidfile);
		close(fd);
	}
	free(pidfile);
	log_line(LOG_LEVEL_LOG, w ? "process down" : "start failed");
	return w ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct command_line cl = { 0 };
	struct log_options early = { .logfile = "" };
	struct config *config;
	char why[500];
	const char *user;
	int code = read_command_line(argc, argv, &cl);

	if (code >= 0)
		return code;
	signal(SIGPIPE, SIG_IGN);
	early.verbose = cl.verbose;
	early.quiet = cl.quiet;
	log_configure(&early);
	config = config_load(cl.file, why, sizeof why);
	if (!config) {
		log_line(LOG_LEVEL_FATAL, "cannot load config file: %s", why);
		return 1;
	}
	user = cl.user ? cl.user : config->user;
	if (*user && !become(user)) {
		config_free(config);
		return 1;
	}
	if (!geteuid()) {
		log_line(LOG_LEVEL_FATAL, "pgporter should not run as root; use -u or the option user to name another");
		config_free(config);
		return 1;
	}
	return run(config, &cl);
}
