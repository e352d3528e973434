/* parser/startup.h — the first packets of a connection, which carry no type byte (protocol 3, "StartupMessage",
 * "SSLRequest", "GSSENCRequest", "CancelRequest"), and the `options` parameter in them as postgres reads it
 * (pg_split_opts and `-c name=value`, `--name=value` of the postgres command line). Results point into the packet. */
#ifndef PGPORTER_PARSER_STARTUP_H
#define PGPORTER_PARSER_STARTUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parser/wire.h"

enum { STARTUP_MAX = 10000 }; /* bytes, as in PostgreSQL's MAX_STARTUP_PACKET_LENGTH */

enum startup_kind {
	STARTUP_SSL,
	STARTUP_GSSENC,
	STARTUP_CANCEL,
	STARTUP_SESSION, /* protocol 3.x: parameters follow */
	STARTUP_OLD,	 /* protocol 2 or another major version: no session can come of it */
};

struct startup {
	enum startup_kind kind;
	size_t packet_len;		 /* bytes to consume, length field included */
	uint16_t major, minor;		 /* SESSION and OLD */
	const uint8_t *params;		 /* name NUL value NUL …; ends before the final NUL. SESSION; OLD above 3 where it looks like that */
	size_t params_len;
	uint32_t cancel_pid;		 /* CANCEL */
	const uint8_t *cancel_key;	 /* CANCEL: 4 to 256 bytes */
	size_t cancel_key_len;
};

/* One whole packet at buf[0..len): OK, MORE or BAD (too long, too short, cancel key of a wrong size, parameters
 * that are not pairs of strings closed by one NUL which is the packet's last byte). */
enum wire_result startup_read(const uint8_t *buf, size_t len, struct startup *out);

/* Steps through the parameters: starts with *at = 0, returns false after the last one. The layout was checked by
 * startup_read(), so the strings are whole. */
bool startup_param(const struct startup *s, size_t *at, const char **name, const char **value);

enum options_result {
	OPTIONS_SETTING, /* name and value are filled in */
	OPTIONS_END,
	OPTIONS_BAD, /* something other than -c name=value or --name=value; word is filled in */
};

/* Steps through the words of an `options` string: blanks separate, a backslash takes the next byte as it is. Each
 * call fills word with the next whole word, unescaped, and for `-c name=value`, `-cname=value`, `--name=value` name and value point
 * into it (dashes in a name become underscores, as postgres does). -c without an equals sign, and any other switch, are BAD.
 * word holds at most word_cap bytes with its NUL; a longer word is BAD. */
enum options_result options_next(const char **at, char *word, size_t word_cap, const char **name, const char **value);

#endif
