#include "parser/watch.h"

#include "parser/effects.h"
#include "parser/grams.h"
#include "parser/watch_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SLOTS_AT_FIRST = 64, SETTINGS_MAX = 64 };

struct watch {
	struct watched **slots; /* open hash, at most half full */
	size_t n_slots, n_words, n_with_effect;
	uint64_t *serials, version;
	uint32_t lengths[256]; /* by first byte: lengths of words with an effect, 31 and above as 31 */
	struct grams grams;    /* of words with an effect, and of those that a statement begins with which may define some */
	size_t longest_operator;
	bool known, relations;
	struct watch *fresh, *aging; /* what statements have defined: since the catalogue was last read, and before */
	unsigned holds;
};

/* --- effects --- */

void watch_effect_release(struct watch_effect *e)
{
	for (size_t i = 0; i < e->n_settings; i++)
		free(e->settings[i].name);
	free(e->settings);
	*e = (struct watch_effect){ 0 };
}

bool watch_effect_none(const struct watch_effect *e)
{
	return !e->flags && !e->n_settings;
}

static bool same_setting(const struct watch_setting *s, const char *name, int arg, int param, bool local)
{
	if (s->local != local || s->arg != arg || s->param != param || !s->name != !name)
		return false;
	return !name || !strcasecmp(s->name, name);
}

void watch_effect_setting(struct watch_effect *e, const char *name, int arg, int param, bool local)
{
	struct watch_setting *s;

	e->flags |= local ? TOUCH_LOCAL : TOUCH_SETTINGS;
	for (size_t i = 0; i < e->n_settings; i++)
		if (same_setting(&e->settings[i], name, arg, param, local))
			return;
	if (e->n_settings == SETTINGS_MAX) { /* any may be */
		e->flags |= TOUCH_SETTINGS_UNKNOWN;
		return;
	}
	e->settings = reallocarray(e->settings, e->n_settings + 1, sizeof *s);
	if (!e->settings)
		abort();
	s = &e->settings[e->n_settings++];
	*s = (struct watch_setting){ .name = name ? strdup(name) : NULL, .arg = arg, .param = param, .local = local };
	if (name && !s->name)
		abort();
	for (char *p = s->name; p && *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p |= 0x20;
	if (name && !strcmp(s->name, "seed"))
		e->flags |= TOUCH_SESSION;
}

void watch_effect_merge(struct watch_effect *to, const struct watch_effect *from)
{
	to->flags |= from->flags;
	for (size_t i = 0; i < from->n_settings; i++) {
		const struct watch_setting *s = &from->settings[i];

		watch_effect_setting(to, s->name, s->arg, s->param, s->local);
	}
}

/* --- words --- */

struct watch_word watch_fold(const char *text, size_t len, bool quoted)
{
	struct watch_word w = { .len = 0 };

	for (size_t i = 0; i < len && w.len < WATCH_WORD_MAX && !w.cut; i++) {
		char c = text[i];

		if (quoted && c == '"' && i + 1 < len && text[i + 1] == '"')
			i++;
		w.cut = (uint8_t)c >= 0x80;
		if (w.cut)
			c = (char)0x80;
		else if (!quoted && c >= 'A' && c <= 'Z')
			c |= 0x20;
		w.text[w.len++] = c;
	}
	w.text[w.len] = 0;
	return w;
}

struct watch_word watch_fold_token(const struct lex *l, enum tok t)
{
	if (t == TOK_QUOTED)
		return watch_fold(l->tok + 1, (size_t)(l->tok_end - l->tok) - 2, true);
	return watch_fold(l->tok, (size_t)(l->tok_end - l->tok), false);
}

static int hex(const char *p, int digits, const char *end)
{
	int n = 0;

	for (; digits--; p++) {
		int d = p == end ? -1 : *p >= '0' && *p <= '9' ? *p - '0' : (*p | 0x20) >= 'a' && (*p | 0x20) <= 'f' ? (*p | 0x20) - 'a' + 10 : -1;

		if (d < 0)
			return -1;
		n = n << 4 | d;
	}
	return n;
}

bool watch_fold_unicode(const struct lex *l, struct watch_word *word)
{
	const char *p = l->tok + 3, *end = l->tok_end - 1;
	char text[WATCH_WORD_MAX + 2] = { 0 };
	struct lex next = *l;
	size_t n = 0;

	if (lex_is(&next, lex_next(&next), "uescape"))
		return false;
	for (; p < end && n <= WATCH_WORD_MAX; p++) {
		int code = (uint8_t)*p;

		if (*p == '\\' && end - p > 1 && p[1] == '\\') {
			p++;
		} else if (*p == '\\') {
			bool six = end - p > 1 && p[1] == '+';

			code = hex(p + 1 + six, six ? 6 : 4, end);
			if (code < 0)
				return false;
			p += six ? 7 : 4;
		} else if (*p == '"') {
			p++;
		}
		text[n++] = code >= 0x80 ? (char)0x80 : (char)code;
	}
	*word = watch_fold(text, n, false);
	for (size_t i = 0; i < n && i < word->len; i++) /* as it stands there */
		word->text[i] = text[i];
	return true;
}

static uint64_t hash_of(const struct watch_word *w)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < w->len; i++)
		h = (h ^ (uint8_t)w->text[i]) * 0x100000001b3u;
	return h ^ h >> 29;
}

static struct watched **slot_of(struct watched **slots, size_t n, const struct watch_word *word, uint64_t hash)
{
	size_t i = hash & (n - 1);

	while (slots[i] && (slots[i]->hash != hash || slots[i]->word.len != word->len ||
			    memcmp(slots[i]->word.text, word->text, word->len)))
		i = (i + 1) & (n - 1);
	return &slots[i];
}

const struct watched *watch_lookup(const struct watch *w, const struct watch_word *word)
{
	return *slot_of(w->slots, w->n_slots, word, hash_of(word));
}

static void grow(struct watch *w)
{
	size_t n = 2 * w->n_slots;
	struct watched **slots = calloc(n, sizeof *slots);

	if (!slots)
		abort();
	for (size_t i = 0; i < w->n_slots; i++)
		if (w->slots[i])
			*slot_of(slots, n, &w->slots[i]->word, w->slots[i]->hash) = w->slots[i];
	free(w->slots);
	w->slots = slots;
	w->n_slots = n;
}

static struct watched *word_of(struct watch *w, const struct watch_word *word)
{
	uint64_t hash = hash_of(word);
	struct watched **slot;

	if (2 * w->n_words >= w->n_slots)
		grow(w);
	slot = slot_of(w->slots, w->n_slots, word, hash);
	if (*slot)
		return *slot;
	*slot = calloc(1, sizeof **slot);
	if (!*slot)
		abort();
	(*slot)->word = *word;
	(*slot)->hash = hash;
	w->n_words++;
	return *slot;
}

/* --- the set --- */

/* Statements whose effects lie in what they call, run or define. */
static const char *const first_words[] = { "do", "call", "create", "alter" };
enum { FIRST_WORDS = sizeof first_words / sizeof first_words[0] };

struct watch *watch_new(uint64_t *serials)
{
	struct watch *w = calloc(1, sizeof *w);

	if (!w)
		abort();
	w->n_slots = SLOTS_AT_FIRST;
	w->slots = calloc(w->n_slots, sizeof *w->slots);
	if (!w->slots)
		abort();
	w->serials = serials;
	w->version = ++*serials;
	for (size_t i = 0; i < FIRST_WORDS; i++)
		grams_add(&w->grams, first_words[i], strlen(first_words[i]));
	grams_add(&w->grams, "u&\"", 3);
	return w;
}

static void words_free(struct watch *w)
{
	for (size_t i = 0; i < w->n_slots; i++) {
		for (int when = 0; w->slots[i] && when < WATCH_WHENS; when++)
			watch_effect_release(&w->slots[i]->does[when]);
		free(w->slots[i]);
	}
	free(w->slots);
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	watch_free(w->fresh);
	watch_free(w->aging);
	words_free(w);
	free(w);
}

uint64_t watch_version(const struct watch *w)
{
	return w->version;
}

bool watch_known(const struct watch *w)
{
	return w->known;
}

void watch_know(struct watch *w, bool known)
{
	if (w->known != known)
		w->version = ++*w->serials;
	w->known = known;
}

size_t watch_count(const struct watch *w)
{
	return w->n_with_effect;
}

size_t watch_longest_operator(const struct watch *w)
{
	return w->longest_operator;
}

bool watch_reaches_relations(const struct watch *w)
{
	return w->relations;
}

static bool has_effect(const struct watched *e)
{
	for (int when = 0; when < WATCH_WHENS; when++)
		if (!watch_effect_none(&e->does[when]))
			return true;
	return false;
}

/* A word that texts have to be looked through for. Quotes in it are doubled there. */
static void looked_for(struct watch *w, const struct watched *e)
{
	uint8_t first = (uint8_t)*e->word.text;
	const char *quote = memchr(e->word.text, '"', e->word.len);

	w->n_with_effect++;
	grams_add(&w->grams, e->word.text, quote ? (size_t)(quote - e->word.text) : e->word.len);
	if (e->word.cut)
		w->lengths[first] = ~0u;
	else
		w->lengths[first] |= 1u << (e->word.len < 31 ? e->word.len : 31);
	if (lex_class[first] == TOK_OP || first == '-' || first == '/')
		w->longest_operator = e->word.len > w->longest_operator ? e->word.len : w->longest_operator;
}

static void add_folded(struct watch *w, const struct watch_word *word, enum watch_when when, const struct watch_effect *effect)
{
	struct watched *e = word_of(w, word);
	bool had;
	uint32_t flags;
	size_t n;

	if (e->exempt)
		return;
	had = has_effect(e);
	flags = e->does[when].flags;
	n = e->does[when].n_settings;
	watch_effect_merge(&e->does[when], effect);
	if (!e->knows[when] || flags != e->does[when].flags || n != e->does[when].n_settings)
		w->version = ++*w->serials;
	e->knows[when] = true;
	if (!had && has_effect(e))
		looked_for(w, e);
	w->relations |= when != WATCH_CALLED && has_effect(e);
}

void watch_add(struct watch *w, const char *text, enum watch_when when, const struct watch_effect *effect)
{
	struct watch_word word = watch_fold(text, strlen(text), true); /* catalogues have names as they are */

	if (word.len)
		add_folded(w, &word, when, effect);
}

void watch_define(struct watch *w, const char *word, enum watch_when when, const struct watch_effect *e)
{
	watch_add(w, word, when, e);
	if (!w->fresh)
		w->fresh = watch_new(w->serials);
	watch_add(w->fresh, word, when, e);
}

void watch_hold(struct watch *w)
{
	w->holds++;
}

void watch_unhold(struct watch *w)
{
	w->holds--;
}

static void add_all(struct watch *to, const struct watch *from)
{
	for (size_t i = 0; from && i < from->n_slots; i++)
		for (int when = 0; from->slots[i] && when < WATCH_WHENS; when++)
			if (from->slots[i]->knows[when])
				add_folded(to, &from->slots[i]->word, (enum watch_when)when, &from->slots[i]->does[when]);
}

/* What is defined in open transactions isn't in the catalogue yet. */
void watch_renew_begin(struct watch *w)
{
	if (w->holds || !w->fresh)
		return;
	if (w->aging)
		add_all(w->aging, w->fresh), watch_free(w->fresh);
	else
		w->aging = w->fresh;
	w->fresh = NULL;
}

void watch_renew(struct watch *w, struct watch *by)
{
	add_all(by, w->fresh);
	watch_free(w->aging);
	words_free(w);
	by->fresh = w->fresh;
	by->aging = NULL;
	by->holds = w->holds;
	by->serials = w->serials;
	by->version = ++*w->serials;
	*w = *by;
	free(by);
}

void watch_exempt(struct watch *w, const char *text)
{
	struct watch_word word = watch_fold(text, strlen(text), true);
	struct watched *e = word_of(w, &word);

	for (int when = 0; when < WATCH_WHENS; when++)
		watch_effect_release(&e->does[when]);
	e->exempt = true;
	e->knows[WATCH_CALLED] = true;
	w->version = ++*w->serials;
}

const struct watch_effect *watch_find(const struct watch *w, const char *text, enum watch_when when)
{
	struct watch_word word = watch_fold(text, strlen(text), true);
	const struct watched *e = watch_lookup(w, &word);

	return e && e->knows[when] ? &e->does[when] : NULL;
}

/* --- is there any in a text? --- */

static bool hit(const struct watch *w, const struct watch_word *word)
{
	const struct watched *e = watch_lookup(w, word);

	return e && has_effect(e);
}

static bool hit_plain(const struct watch *w, const char *text, size_t len)
{
	uint8_t first = (uint8_t)*text;
	struct watch_word word;

	if (first >= 'A' && first <= 'Z')
		first |= 0x20;
	if (first >= 0x80)
		first = 0x80;
	if (!(w->lengths[first] >> (len < 31 ? len : 31) & 1))
		return false;
	word = watch_fold(text, len, false);
	return hit(w, &word);
}

/* How much of the run from `at` on is one operator depends on what stands in it: each beginning may be one. */
static bool hit_operator(const struct watch *w, const char *at, const char *end)
{
	for (size_t n = 1; n <= w->longest_operator && n <= (size_t)(end - at); n++) {
		uint8_t class = lex_class[(uint8_t)at[n - 1]];
		struct watch_word word;

		if (class != TOK_OP && class != LEX_DASH && class != LEX_SLASH)
			break;
		word = watch_fold(at, n, true);
		if (hit(w, &word))
			return true;
	}
	return false;
}

static bool hit_token(const struct watch *w, const struct lex *l, enum tok t)
{
	struct watch_word word;

	switch (t) {
	case TOK_WORD:
		return hit_plain(w, l->tok, (size_t)(l->tok_end - l->tok));
	case TOK_QUOTED:
		word = watch_fold_token(l, t);
		return hit(w, &word);
	case TOK_UNICODE:
		return !watch_fold_unicode(l, &word) || hit(w, &word);
	case TOK_OP:
		return hit_operator(w, l->tok, l->end);
	default:
		return false;
	}
}

static bool is_first_word(const char *word, size_t len)
{
	for (size_t i = 0; i < FIRST_WORDS; i++)
		if (lex_same(word, len, first_words[i]))
			return true;
	return false;
}

static bool high_bytes(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)text[i] >= 0x80)
			return true;
	return false;
}

bool watch_hits_exactly(const struct watch *w, const char *text, size_t len, unsigned lex_mode)
{
	struct lex l = lex_of(text, len, lex_mode & LEX_BACKSLASH);
	bool begins = true;
	enum tok t;

	while ((t = lex_next(&l)) != TOK_END) {
		if (t == TOK_BAD)
			return w->n_with_effect;
		if (begins && t == TOK_WORD && is_first_word(l.tok, (size_t)(l.tok_end - l.tok)))
			return true;
		begins = t == TOK_SEMI;
		if (w->n_with_effect && hit_token(w, &l, t))
			return true;
	}
	return false;
}

/* --- the same at sight: does a word begin at this place, whatever it stands in? --- */

struct sight {
	const struct watch *w;
	const char *text, *end;
	bool defines; /* first words of statements count as well */
};

static bool seen_plain(const struct sight *s, const char *at)
{
	size_t n = 0;

	while (n <= WATCH_WORD_MAX && s->end - at > (ptrdiff_t)n && lex_in_ident[(uint8_t)at[n]])
		n++;
	return hit_plain(s->w, at, n) || (s->defines && is_first_word(at, n));
}

static bool seen_quoted(const struct sight *s, const char *at)
{
	struct watch_word word;
	size_t n = 0, left = (size_t)(s->end - at);

	while (n < left && n <= 2 * WATCH_WORD_MAX) {
		bool doubled = left - n > 1 && at[n] == '"' && at[n + 1] == '"';

		if (at[n] == '"' && !doubled)
			break;
		n += doubled ? 2 : 1;
	}
	word = watch_fold(at, n, true);
	return hit(s->w, &word);
}

static bool seen(const void *context, const char *at)
{
	const struct sight *s = context;

	if (lex_class[(uint8_t)*at] == LEX_IDENT && seen_plain(s, at))
		return true;
	if (s->end - at > 2 && (*at | 0x20) == 'u' && at[1] == '&' && at[2] == '"')
		return true;
	return hit_operator(s->w, at, s->end) || (at > s->text && at[-1] == '"' && seen_quoted(s, at));
}

static bool look(const struct watch *w, bool defines, const char *text, size_t len, unsigned lex_mode)
{
	struct sight s = { .w = w, .text = text, .end = text + len, .defines = defines };

	if (w->n_with_effect && (lex_mode & LEX_UNSAFE_BYTES) && high_bytes(text, len))
		return true;
	return grams_any(&w->grams, text, text, s.end, seen, &s) && watch_hits_exactly(w, text, len, lex_mode);
}

bool watch_hits(const struct watch *w, const char *text, size_t len, unsigned lex_mode)
{
	return look(w, true, text, len, lex_mode);
}

bool watch_names(const struct watch *w, const char *text, size_t len, unsigned lex_mode)
{
	return w->n_with_effect && look(w, false, text, len, lex_mode);
}
