/* links: parser/lex.c parser/screen.c parser/grams.c parser/tree.c parser/effects*.c parser/watch*.c parser/buf.c -lpg_query -lprotobuf-c */
/* Holds the search for watched words against PostgreSQL's scanner: whatever token of a text is a word of the set, the search
 * has found it, and its effects are among the text's; and bodies in any language are read to their end. Input: lex_mode and
 * kind, text. */
#include "parser/effects.h"
#include "parser/screen.h"
#include "parser/tree.h"
#include "parser/watch.h"
#include "parser/watch_internal.h"
#include "tests/lexable.h"

#include <pg_query.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *const words[] = { "f", "held", "Quoted \"name", "sets", "gr\xc3\xb6\xc3\x9f" "e", "#~#", "a1234567890" };

static struct watch *example(void)
{
	static uint64_t serials;
	struct watch *w = watch_new(&serials);

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		struct watch_effect e = { .flags = TOUCH_LOCK };

		watch_add(w, words[i], WATCH_NAMED, &e);
	}
	watch_know(w, true);
	return w;
}

/* By PostgreSQL's own grammar: the names in its tree of the text. */
static bool tree_names(const ProtobufCMessage *m, const char *word, unsigned depth)
{
	for (unsigned i = 0; m && depth < 200 && i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const char *at = (const char *)m + f->offset;
		size_t n = 1;

		if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF && *(const uint32_t *)(const void *)((const char *)m + f->quantifier_offset) != f->id)
			continue;
		if (f->label == PROTOBUF_C_LABEL_REPEATED) {
			n = *(const size_t *)(const void *)((const char *)m + f->quantifier_offset);
			at = *(const char *const *)(const void *)at;
		}
		for (size_t j = 0; j < n; j++) {
			const void *p = f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING ?
						((const void *const *)(const void *)at)[j] : NULL;

			if (p && f->type == PROTOBUF_C_TYPE_MESSAGE && tree_names(p, word, depth + 1))
				return true;
			if (p && f->type == PROTOBUF_C_TYPE_STRING && (!strcmp(f->name, "relname") || !strcmp(f->name, "sval")) &&
			    strcmp(m->descriptor->short_name, "A_Const") && !strcmp(p, word))
				return true;
		}
	}
	return false;
}

/* Names of functions and tables; as the parser says, which knows nothing of our tokens. */
static bool named(const PgQuery__ParseResult *tree, const char *word)
{
	for (size_t i = 0; i < tree->n_stmts; i++) {
		const PgQuery__Node *n = tree->stmts[i]->stmt;

		if (n && n->node_case == PG_QUERY__NODE__NODE_SELECT_STMT)
			for (size_t j = 0; j < n->select_stmt->n_from_clause; j++)
				if (tree_names(&n->select_stmt->from_clause[j]->base, word, 0))
					return true;
	}
	return false;
}

static void what_is_named_is_found(const struct watch *w, const char *text, size_t len, unsigned mode)
{
	static struct tree_parser *parser;
	const PgQuery__ParseResult *tree;

	if (!parser)
		parser = tree_parser_new();
	if (!parser || screen_beyond_bounds(text, len, mode))
		return;
	tree = tree_parse(parser, text, len, mode & LEX_BACKSLASH);
	for (size_t i = 0; tree && i < sizeof words / sizeof words[0]; i++)
		if (named(tree, words[i]) && !(memchr(text, '\'', len) || memchr(text, '$', len))) /* not as a string */
			assert(watch_hits(w, text, len, mode));
	tree_done(parser);
}

static void what_is_found_by_tokens_is_found_at_sight(const struct watch *w, const char *text, size_t len, unsigned mode)
{
	bool exactly = watch_hits_exactly(w, text, len, mode);

	if (lexable(text, len, mode) && !(mode & LEX_UNSAFE_BYTES))
		assert(watch_hits(w, text, len, mode) == exactly);
	else if (lexable(text, len, mode))
		assert(watch_hits(w, text, len, mode) || !exactly);
	assert(watch_hits(w, text, len, mode) || !watch_names(w, text, len, mode));
}

/* A hit is one whose effects are told, but where it only looked like one. */
static void effects_follow(const struct watch *w, const char *text, size_t len, unsigned mode)
{
	static struct effects_memory *m;
	const struct effects *with, *without;

	if (!m)
		m = effects_memory_new(20000);
	with = effects_watched(m, w, text, len, mode);
	without = effects_of(m, text, len, mode);
	if (!watch_hits(w, text, len, mode))
		assert(with->flags == without->flags && with->n == without->n);
	for (size_t i = 0; i < with->n; i++)
		for (size_t j = 0; j < with->stmts[i].n_defined; j++)
			assert(*with->stmts[i].defined[j].word);
	effects_release(with);
	effects_release(without);
}

static void a_body_is_read(const struct watch *w, const char *text, size_t len, unsigned mode, enum watch_kind kind)
{
	static const char *const params[] = { "n", NULL };
	struct watch_text t = { .kind = kind, .text = text, .len = len, .lex_mode = mode, .params = params, .n_params = 2 };
	struct watch_effect with = { 0 }, without = { 0 }, written = { 0 };

	watch_read(w, &t, &with, &written);
	watch_read(NULL, &t, &without, NULL);
	assert(!(without.flags & ~with.flags)); /* a set only adds */
	watch_effect_release(&with);
	watch_effect_release(&without);
	watch_effect_release(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct watch *w;
	const char *text = (const char *)data + 1;
	unsigned mode;

	if (!len || len > 4096)
		return 0;
	if (!w)
		w = example();
	mode = data[0] & (LEX_BACKSLASH | LEX_UNSAFE_BYTES);
	len--;
	a_body_is_read(w, text, len, mode, (enum watch_kind)(data[0] >> 2 & 7) % (WATCH_FOREIGN + 1));
	if (memchr(text, 0, len))
		return 0;
	what_is_named_is_found(w, text, len, mode);
	what_is_found_by_tokens_is_found_at_sight(w, text, len, mode);
	effects_follow(w, text, len, mode);
	return 0;
}
