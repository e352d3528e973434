/* parser/must.h — memory, or the end: without it there is nothing left to trust. */
#ifndef PGPORTER_PARSER_MUST_H
#define PGPORTER_PARSER_MUST_H

#include <stdlib.h>

static inline void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

#endif
