#include "parser/ini.h"

#include <string.h>

static bool blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool key_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("_.*-", c));
}

static char *skip_blanks(char *s)
{
	while (blank(*s))
		s++;
	return s;
}

static char *cut_blanks(char *s)
{
	char *end = s + strlen(s);

	while (end > s && blank(end[-1]))
		end--;
	*end = 0;
	return s;
}

/* Takes '…' whose quote is at s, undoubling quotes in place. Returns what follows the closing quote, NULL without one. */
static char *unquote(char *s, char **out)
{
	char *to = s + 1;

	*out = to;
	for (s++; *s; s++) {
		if (*s == '\'' && *++s != '\'') {
			*to = 0; /* at most on the closing quote itself */
			return s;
		}
		*to++ = *s;
	}
	return NULL;
}

static enum ini_kind bad(struct ini_line *out, const char *error)
{
	*out = (struct ini_line){ .kind = INI_BAD, .error = error };
	return INI_BAD;
}

static enum ini_kind read_section(char *s, struct ini_line *out)
{
	char *end = strchr(s, ']');

	if (!end)
		return bad(out, "a section begins without its closing bracket; write [pgbouncer]");
	if (*skip_blanks(end + 1))
		return bad(out, "text after the closing bracket of a section; comments go on lines of their own");
	*end = 0;
	out->name = cut_blanks(skip_blanks(s + 1));
	if (!*out->name)
		return bad(out, "a section without a name; write [pgbouncer]");
	return out->kind = INI_SECTION;
}

static enum ini_kind read_include(char *s, struct ini_line *out)
{
	static const char word[] = "%include";

	if (strncmp(s, word, sizeof word - 1))
		return bad(out, "unknown directive; only %include FILE begins with a percent sign");
	s += sizeof word - 1;
	if (!blank(*s))
		return bad(out, "%include needs a blank and a file name after it; write %include FILE");
	out->value = cut_blanks(skip_blanks(s));
	if (!*out->value)
		return bad(out, "%include needs a file name; write %include FILE");
	return out->kind = INI_INCLUDE;
}

static enum ini_kind read_pair(char *s, struct ini_line *out)
{
	char *key_end;

	if (*s == '\'') {
		key_end = unquote(s, &out->name);
		if (!key_end)
			return bad(out, "a quoted key without its closing quote; write 'key' = value");
	} else {
		out->name = s;
		while (key_byte(*s))
			s++;
		key_end = s;
	}
	s = skip_blanks(key_end);
	if (*s != '=')
		return bad(out, "expected key = value; keys of other characters than letters, digits and _.*- are written 'key'");
	*key_end = 0;
	if (!*out->name)
		return bad(out, "a value without a key; write key = value");
	out->value = cut_blanks(skip_blanks(s + 1));
	return out->kind = INI_PAIR;
}

enum ini_kind ini_line(char *line, struct ini_line *out)
{
	char *s = skip_blanks(line);

	*out = (struct ini_line){ .kind = INI_BLANK };
	switch (*s) {
	case 0:
	case ';':
	case '#':
		return INI_BLANK;
	case '[':
		return read_section(s, out);
	case '%':
		return read_include(s, out);
	default:
		return read_pair(s, out);
	}
}

int ini_pairs(char **at, char **key, char **value)
{
	char *s = skip_blanks(*at), *key_end;

	*at = s;
	if (!*s)
		return 0;
	*key = s;
	while (*s && *s != '=' && *s != '\'' && !blank(*s))
		s++;
	key_end = s;
	s = skip_blanks(s);
	if (*s != '=' || key_end == *key)
		return -1;
	*key_end = 0;
	s = skip_blanks(s + 1);
	if (*s == '\'') {
		s = unquote(s, value);
		if (!s || (*s && !blank(*s)))
			return -1;
	} else {
		*value = s;
		while (*s && !blank(*s))
			s++;
		if (s == *value)
			return -1;
	}
	if (*s)
		*s++ = 0;
	*at = s;
	return 1;
}
