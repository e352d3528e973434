/* parser/hash.h — xxHash (XXH3, 64 bits) behind one function, so that its symbols and the copy inside libpg_query never
 * meet. Not for secrets and no proof of equality: whoever looks something up by hash compares it too. */
#ifndef PGPORTER_PARSER_HASH_H
#define PGPORTER_PARSER_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *bytes, size_t len, uint64_t seed);

#endif
