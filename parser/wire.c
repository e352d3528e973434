#include "parser/wire.h"

#include "parser/reader.h"

static int type_known(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

enum wire_result wire_head(const uint8_t *buf, size_t len, uint32_t body_max, struct wire_head *head)
{
	uint32_t claim;

	if (len && !type_known(buf[0]))
		return WIRE_BAD;
	if (len < WIRE_HEAD)
		return WIRE_MORE;
	/* Judge the claim before subtracting: below 4 it would wrap to a huge body. */
	claim = be32(buf + 1);
	if (claim < 4 || claim - 4 > body_max)
		return WIRE_BAD;
	head->type = (char)buf[0];
	head->body_len = claim - 4;
	return WIRE_OK;
}
