/* parser/report.h — the fields of an ErrorResponse or NoticeResponse (protocol 3, "Error and Notice Message Fields"). */
#ifndef PGPORTER_PARSER_REPORT_H
#define PGPORTER_PARSER_REPORT_H

#include <stddef.h>
#include <stdint.h>

/* One field of the body, by its letter: 'M' the message, 'C' the SQLSTATE, 'V' the severity… Points into the body; NULL
 * where it is missing or the body is malformed before it. */
const char *report_field(const uint8_t *body, size_t len, char field);

#endif
