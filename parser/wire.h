/* parser/wire.h — finds message boundaries in a PostgreSQL byte stream (protocol 3, "Message Formats").
 * Knows type bytes and lengths, nothing else: whether a message is welcome now is for state/ to say. */
#ifndef PGPORTER_PARSER_WIRE_H
#define PGPORTER_PARSER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parser/reader.h"

enum wire_result {
	WIRE_OK,   /* *head is filled in */
	WIRE_MORE, /* too few bytes yet: read on and ask again */
	WIRE_BAD,  /* no further byte can save it: close */
};

enum { WIRE_HEAD = 5 }; /* bytes of type and length before a body */

struct wire_head {
	char type;
	uint32_t body_len; /* as claimed; believed only as far as bytes arrive */
};

static inline bool wire_type_known(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Judges the head at buf[0..len). Bodies longer than body_max bytes are WIRE_BAD, and so is a type byte that is not
 * a letter or digit (PostgreSQL uses no other). */
static inline enum wire_result wire_head(const uint8_t *buf, size_t len, uint32_t body_max, struct wire_head *head)
{
	uint32_t claim;

	if (len && !wire_type_known(buf[0]))
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

/* The same where only a message that is whole is of use: one is at the beginning, and its body behind its head. Of any type. */
static inline bool wire_whole(const uint8_t *buf, size_t len, uint32_t body_max, struct wire_head *head)
{
	uint32_t claim;

	if (len < WIRE_HEAD)
		return false;
	claim = be32(buf + 1);
	if (claim < 4 || claim - 4 > body_max || claim > len - 1)
		return false;
	head->type = (char)buf[0];
	head->body_len = claim - 4;
	return true;
}

#endif
