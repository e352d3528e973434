/* fuzz/replay.c — feeds files to a harness without libFuzzer: what a crash left behind, and the corpus as a test.
 * Arguments are files or directories of files; without any, fuzz/corpus/<name of the program>. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static unsigned long fed;

static void feed(const char *path, const struct stat *st)
{
	size_t len = (size_t)st->st_size;
	uint8_t *data = malloc(len ? len : 1); /* of this very size: an overrun is seen */
	FILE *f = fopen(path, "rb");

	if (!f || !data || fread(data, 1, len, f) != len) {
		perror(path);
		exit(1);
	}
	fclose(f);
	LLVMFuzzerTestOneInput(data, len);
	free(data);
	fed++;
}

static void feed_path(const char *path)
{
	struct dirent *entry;
	struct stat st;
	char *inner;
	DIR *dir;

	if (stat(path, &st)) {
		perror(path);
		exit(1);
	}
	if (!S_ISDIR(st.st_mode)) {
		feed(path, &st);
		return;
	}
	dir = opendir(path);
	if (!dir) {
		perror(path);
		exit(1);
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (asprintf(&inner, "%s/%s", path, entry->d_name) < 0)
			exit(1);
		feed_path(inner);
		free(inner);
	}
	closedir(dir);
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *name = slash ? slash + 1 : argv[0];
	char *corpus;

	for (int i = 1; i < argc; i++)
		feed_path(argv[i]);
	if (argc == 1) {
		if (asprintf(&corpus, "fuzz/corpus/%s", name) < 0)
			return 1;
		feed_path(corpus);
		free(corpus);
	}
	printf("%s: %lu inputs\n", name, fed);
	return fed == 0;
}
