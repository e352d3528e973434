#include "parser/report.h"

#include "parser/reader.h"

const char *report_field(const uint8_t *body, size_t len, char field)
{
	struct reader r = reader_of(body, len);

	while (!r.bad && reader_left(&r)) {
		char f = (char)reader_u8(&r);
		const char *value = f ? reader_str(&r, NULL) : NULL;

		if (!f || !value)
			break;
		if (f == field)
			return value;
	}
	return NULL;
}
