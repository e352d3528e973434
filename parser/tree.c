#include "parser/tree.h"

#include <pg_query.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/common_interface_defs.h>
#define FIBER_LEAVE(save, stack, len) __sanitizer_start_switch_fiber(save, stack, len)
#define FIBER_ENTERED(saved, stack, len) __sanitizer_finish_switch_fiber(saved, stack, len)
#else
#define FIBER_LEAVE(save, stack, len) ((void)(save), (void)(stack), (void)(len))
#define FIBER_ENTERED(saved, stack, len) ((void)(saved), (void)(stack), (void)(len))
#endif

enum {
	/* The costliest text of 64 KiB that is known (1+1+1…: 2 kB in three recursions for each level of two bytes)
	 * takes 64 MiB. Pages are there once touched, and given back. */
	STACK_LEN = 128 * 1024 * 1024,
	STACK_KEPT = 256 * 1024,
	GUARD_LEN = 64 * 1024,
	SMALL_TEXT = 2048,
	CHUNK_LEN = 64 * 1024,
};

struct chunk {
	struct chunk *next;
	size_t used, len;
	_Alignas(16) char bytes[];
};

/* Whether '\' escapes in plain strings is told by an option of newer libraries, and in those before by
 * PostgreSQL's own thread-local settings, which the newer ones overwrite. */
#ifdef PG_QUERY_DISABLE_STANDARD_CONFORMING_STRINGS
static PgQueryProtobufParseResult read_backslashes(const char *text)
{
	return pg_query_parse_protobuf_opts(text, PG_QUERY_PARSE_DEFAULT | PG_QUERY_DISABLE_STANDARD_CONFORMING_STRINGS |
							  PG_QUERY_DISABLE_ESCAPE_STRING_WARNING);
}
#else
extern __thread bool standard_conforming_strings, escape_string_warning;

static PgQueryProtobufParseResult read_backslashes(const char *text)
{
	bool conforming = standard_conforming_strings, warning = escape_string_warning;
	PgQueryProtobufParseResult r;

	standard_conforming_strings = escape_string_warning = false;
	r = pg_query_parse_protobuf(text);
	standard_conforming_strings = conforming;
	escape_string_warning = warning;
	return r;
}
#endif

struct tree_parser {
	ucontext_t back, fiber;
	char *stack; /* the guard is below */
	const void *old_stack; /* whoever called, for the address sanitizer */
	size_t old_stack_len;
	struct chunk *chunks; /* the text and the tree; the last in the list is kept */
	char *text;
	bool backslash;		  /* how to read it */
	bool backslash_known;	  /* that this can be done was tried */
	bool backslash_works;
	PgQuery__ParseResult *tree;
};

static struct chunk *chunk_new(size_t len, struct chunk *next)
{
	struct chunk *c = malloc(sizeof *c + len);

	if (!c)
		abort();
	c->next = next;
	c->used = 0;
	c->len = len;
	return c;
}

static void *arena_alloc(void *tree_parser, size_t n)
{
	struct tree_parser *t = tree_parser;
	struct chunk *c = t->chunks;
	void *p;

	n = (n + 15) & ~(size_t)15;
	if (c->len - c->used < n)
		c = t->chunks = chunk_new(n > CHUNK_LEN ? n : CHUNK_LEN, c);
	p = c->bytes + c->used;
	c->used += n;
	return p;
}

static void arena_free(void *tree_parser, void *p)
{
}

struct tree_parser *tree_parser_new(void)
{
	struct tree_parser *t = calloc(1, sizeof *t);
	char *map;

	if (!t)
		abort();
	map = mmap(NULL, GUARD_LEN + STACK_LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (map == MAP_FAILED || mprotect(map + GUARD_LEN, STACK_LEN, PROT_READ | PROT_WRITE)) {
		if (map != MAP_FAILED)
			munmap(map, GUARD_LEN + STACK_LEN);
		free(t);
		return NULL;
	}
	t->stack = map + GUARD_LEN;
	t->chunks = chunk_new(CHUNK_LEN, NULL);
	return t;
}

void tree_parser_free(struct tree_parser *t)
{
	if (!t)
		return;
	tree_done(t);
	free(t->chunks);
	munmap(t->stack - GUARD_LEN, GUARD_LEN + STACK_LEN);
	free(t);
}

static void parse(struct tree_parser *t)
{
	ProtobufCAllocator arena = { .alloc = arena_alloc, .free = arena_free, .allocator_data = t };
	PgQueryProtobufParseResult r = t->backslash ? read_backslashes(t->text) : pg_query_parse_protobuf(t->text);

	if (!r.error)
		t->tree = pg_query__parse_result__unpack(&arena, r.parse_tree.len, (const uint8_t *)r.parse_tree.data);
	pg_query_free_protobuf_parse_result(r);
}

/* makecontext() passes ints. */
static void on_own_stack(unsigned high, unsigned low)
{
	struct tree_parser *t = (struct tree_parser *)((uintptr_t)high << 32 | low);

	FIBER_ENTERED(NULL, &t->old_stack, &t->old_stack_len);
	parse(t);
	FIBER_LEAVE(NULL, t->old_stack, t->old_stack_len);
	setcontext(&t->back);
	abort();
}

static const PgQuery__ParseResult *read_text(struct tree_parser *t, const char *text, size_t len, bool backslash)
{
	uintptr_t self = (uintptr_t)t;
	void *fake = NULL;

	t->tree = NULL;
	t->backslash = backslash;
	t->text = arena_alloc(t, len + 1);
	memcpy(t->text, text, len);
	t->text[len] = 0;
	if (getcontext(&t->fiber))
		return NULL;
	t->fiber.uc_stack.ss_sp = t->stack;
	t->fiber.uc_stack.ss_size = STACK_LEN;
	t->fiber.uc_link = NULL;
	makecontext(&t->fiber, (void (*)(void))on_own_stack, 2, (unsigned)((uint64_t)self >> 32), (unsigned)self);
	FIBER_LEAVE(&fake, t->stack, STACK_LEN);
	swapcontext(&t->back, &t->fiber);
	FIBER_ENTERED(fake, NULL, NULL);
	if (len > SMALL_TEXT)
		madvise(t->stack, STACK_LEN - STACK_KEPT, MADV_DONTNEED);
	return t->tree;
}

/* A library that took no notice would give wrong strings, not errors: it is asked once. */
static bool backslash_works(struct tree_parser *t)
{
	static const char probe[] = "SET a = '\\', b'";
	const PgQuery__ParseResult *r;

	if (t->backslash_known)
		return t->backslash_works;
	r = read_text(t, probe, sizeof probe - 1, true); /* unterminated, where '\' doesn't escape */
	t->backslash_works = r && r->n_stmts == 1;
	t->backslash_known = true;
	tree_done(t);
	return t->backslash_works;
}

const PgQuery__ParseResult *tree_parse(struct tree_parser *t, const char *text, size_t len, bool backslash)
{
	if (!backslash || !memchr(text, '\\', len))
		return read_text(t, text, len, false);
	return backslash_works(t) ? read_text(t, text, len, true) : NULL;
}

void tree_done(struct tree_parser *t)
{
	while (t->chunks->next) {
		struct chunk *c = t->chunks;

		t->chunks = c->next;
		free(c);
	}
	t->chunks->used = 0;
	t->tree = NULL;
}
