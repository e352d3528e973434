/* tests/unit/wiped.h — what is given back to the heap is looked at first: wiped_seen counts blocks with the bytes sought in
 * them. Included by one file of a test program; without effect under sanitizers, whose free() is their own. */
#ifndef PGPORTER_TESTS_WIPED_H
#define PGPORTER_TESTS_WIPED_H

#include <malloc.h>
#include <string.h>

/* volatile: compilers know that free() changes nothing of anybody's. */
static const void *volatile wiped_sought;
static volatile size_t wiped_len, wiped_seen;

#ifndef __SANITIZE_ADDRESS__
void __libc_free(void *p);

void free(void *p)
{
	if (p && wiped_len && memmem(p, malloc_usable_size(p), wiped_sought, wiped_len))
		wiped_seen++;
	__libc_free(p);
}
#endif

static void wiped_look_for(const void *bytes, size_t len)
{
	wiped_sought = bytes;
	wiped_len = len;
	wiped_seen = 0;
}

#endif
