#include "server/tls.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* One context in the making: whose options they are, and where to say what is wrong with them. */
struct making {
	const struct tls_options *o;
	SSL_CTX *ctx;
	const char *side; /* "client" or "server", as the options are named */
	char *why;
	size_t why_cap;
};

static bool is_set(const char *value)
{
	return value && value[0];
}

static bool is_word(const char *value, const char *word)
{
	return strcasecmp(value, word) == 0;
}

/* The first error is the cause, later ones say who was told. System errors have no text in OpenSSL 3. */
static const char *openssl_words(void)
{
	unsigned long code = ERR_peek_error();
	const char *words = code ? ERR_reason_error_string(code) : NULL;

	if (words)
		return words;
	return code && ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : "not accepted by OpenSSL";
}

static bool wrong(const struct making *m, const char *option, const char *value, const char *words)
{
	snprintf(m->why, m->why_cap, "%s_%s: \"%s\": %s", m->side, option, value ? value : "", words);
	return false;
}

/* Protocols */

enum { V1_0 = 1, V1_1 = 2, V1_2 = 4, V1_3 = 8, V_ALL = 15, V_SECURE = V1_2 | V1_3 };

static const struct {
	const char *name;
	unsigned set;
} protocol_names[] = {
	{"all", V_ALL},	   {"legacy", V_ALL}, {"default", V_SECURE}, {"secure", V_SECURE}, {"tlsv1", V_ALL},
	{"tlsv1.0", V1_0}, {"tlsv1.1", V1_1}, {"tlsv1.2", V1_2},     {"tlsv1.3", V1_3},
};

static unsigned protocol_set(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof protocol_names / sizeof *protocol_names; i++)
		if (strlen(protocol_names[i].name) == len && !strncasecmp(protocol_names[i].name, name, len))
			return protocol_names[i].set;
	return 0;
}

/* 0 when a word is unknown or nothing is left. */
static unsigned parse_protocols(const char *list)
{
	unsigned set = 0;
	bool first = true;

	for (const char *p = list;; first = false) {
		size_t len, word;
		unsigned named;
		bool minus;

		p += strspn(p, " \t");
		minus = *p == '!';
		p += minus;
		len = strcspn(p, ",:");
		for (word = len; word && strchr(" \t", p[word - 1]); word--)
			;
		named = protocol_set(p, word);
		if (!named)
			return 0;
		if (minus && first)
			set = V_ALL;
		set = minus ? set & ~named : set | named;
		p += len;
		if (!*p)
			return set;
		p++;
	}
}

static bool set_protocols(const struct making *m)
{
	static const struct {
		unsigned version;
		uint64_t off;
	} switches[] = {
		{V1_0, SSL_OP_NO_TLSv1}, {V1_1, SSL_OP_NO_TLSv1_1}, {V1_2, SSL_OP_NO_TLSv1_2}, {V1_3, SSL_OP_NO_TLSv1_3}};
	const char *value = is_set(m->o->protocols) ? m->o->protocols : "secure";
	unsigned set = parse_protocols(value);

	if (!set)
		return wrong(m, "tls_protocols", value,
			     "must be secure, all, legacy or a list of tlsv1.0, tlsv1.1, tlsv1.2 and tlsv1.3");
	/* The system's configuration may have narrowed the range: the ini decides. */
	SSL_CTX_set_min_proto_version(m->ctx, set & V1_0   ? TLS1_VERSION
					      : set & V1_1 ? TLS1_1_VERSION
					      : set & V1_2 ? TLS1_2_VERSION
							   : TLS1_3_VERSION);
	SSL_CTX_set_max_proto_version(m->ctx, 0);
	for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
		if (!(set & switches[i].version))
			SSL_CTX_set_options(m->ctx, switches[i].off);
	return true;
}

/* Ciphers and key exchange */

static bool set_ciphers(const struct making *m)
{
	const char *value = is_set(m->o->ciphers) ? m->o->ciphers : "default", *list = value;

	if (is_set(m->o->tls13_ciphers) && !SSL_CTX_set_ciphersuites(m->ctx, m->o->tls13_ciphers))
		return wrong(m, "tls13_ciphers", m->o->tls13_ciphers, openssl_words());
	if (is_word(value, "default") || is_word(value, "secure") || is_word(value, "normal") || is_word(value, "fast"))
		return true;
	if (is_word(value, "compat") || is_word(value, "legacy"))
		list = "HIGH:MEDIUM:!aNULL:!eNULL";
	else if (is_word(value, "all") || is_word(value, "insecure"))
		list = "ALL:!aNULL:!eNULL";
	if (!SSL_CTX_set_cipher_list(m->ctx, list))
		return wrong(m, "tls_ciphers", value, openssl_words());
	return true;
}

static bool set_key_exchange(const struct making *m)
{
	const char *dh = is_set(m->o->dheparams) ? m->o->dheparams : "auto";
	const char *curve = is_set(m->o->ecdhcurve) ? m->o->ecdhcurve : "auto";
	bool legacy = is_word(dh, "legacy");

	if (!legacy && !is_word(dh, "auto") && !is_word(dh, "none"))
		return wrong(m, "tls_dheparams", dh, "must be auto, legacy or none");
	SSL_CTX_set_dh_auto(m->ctx, legacy ? 2 : is_word(dh, "auto"));
	if (is_word(curve, "auto"))
		return true;
	/* TLS 1.3 always exchanges over a group: without curves the finite fields are left. */
	if (!SSL_CTX_set1_groups_list(m->ctx, is_word(curve, "none") ? "ffdhe2048:ffdhe3072:ffdhe4096" : curve))
		return wrong(m, "tls_ecdhcurve", curve, "is not a curve that OpenSSL knows");
	return true;
}

/* Certificates */

/* Without it OpenSSL would ask for an encrypted key's password on the terminal. */
static int no_password(char *buf, int size, int rwflag, void *arg)
{
	return -1;
}

static bool load_certificate(const struct making *m, bool required)
{
	const struct tls_options *o = m->o;

	if (!required && !is_set(o->cert_file) && !is_set(o->key_file))
		return true;
	if (!is_set(o->cert_file))
		return wrong(m, "tls_cert_file", "", "a certificate is needed with this sslmode or with a key file");
	if (!is_set(o->key_file))
		return wrong(m, "tls_key_file", "", "the certificate's key is needed");
	if (SSL_CTX_use_certificate_chain_file(m->ctx, o->cert_file) != 1)
		return wrong(m, "tls_cert_file", o->cert_file, openssl_words());
	SSL_CTX_set_default_passwd_cb(m->ctx, no_password);
	if (SSL_CTX_use_PrivateKey_file(m->ctx, o->key_file, SSL_FILETYPE_PEM) != 1)
		return wrong(m, "tls_key_file", o->key_file, openssl_words());
	if (SSL_CTX_check_private_key(m->ctx) != 1)
		return wrong(m, "tls_key_file", o->key_file, openssl_words());
	return true;
}

static bool load_authorities(const struct making *m)
{
	if (SSL_CTX_load_verify_file(m->ctx, m->o->ca_file) != 1)
		return wrong(m, "tls_ca_file", m->o->ca_file, openssl_words());
	return true;
}

static bool verify_clients(const struct making *m)
{
	STACK_OF(X509_NAME) *names;

	if (m->o->mode < SSLMODE_VERIFY_CA)
		return true;
	/* The system's authorities vouch for anyone's certificate: no way to tell who may log in. */
	if (!is_set(m->o->ca_file))
		return wrong(m, "tls_ca_file", "", "the authority of the clients' certificates is needed with this sslmode");
	if (!load_authorities(m))
		return false;
	names = SSL_load_client_CA_file(m->o->ca_file);
	if (!names)
		return wrong(m, "tls_ca_file", m->o->ca_file, openssl_words());
	SSL_CTX_set_client_CA_list(m->ctx, names);
	SSL_CTX_set_verify(m->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return true;
}

static bool verify_servers(const struct making *m)
{
	if (m->o->mode < SSLMODE_VERIFY_CA)
		return true;
	SSL_CTX_set_verify(m->ctx, SSL_VERIFY_PEER, NULL);
	if (is_set(m->o->ca_file))
		return load_authorities(m);
	if (SSL_CTX_set_default_verify_paths(m->ctx) != 1)
		return wrong(m, "tls_ca_file", "", "the system's authorities can't be read");
	return true;
}

/* Contexts */

/* Buffers are released while idle, records read in one go; a write may take part of its bytes and be retried from a
 * buffer that has moved. */
static void set_habits(SSL_CTX *ctx)
{
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_read_ahead(ctx, 1);
}

static bool start_making(struct making *m, const SSL_METHOD *method)
{
	ERR_clear_error();
	m->ctx = SSL_CTX_new(method);
	if (!m->ctx) {
		snprintf(m->why, m->why_cap, "OpenSSL: %s", openssl_words());
		return false;
	}
	set_habits(m->ctx);
	return true;
}

static SSL_CTX *made(struct making *m, bool good)
{
	ERR_clear_error(); /* a later SSL_get_error() must not find our leftovers */
	if (good)
		return m->ctx;
	SSL_CTX_free(m->ctx);
	return NULL;
}

SSL_CTX *tls_server_context(const struct tls_options *o, char *why, size_t why_cap)
{
	struct making m = {.o = o, .side = "client", .why = why, .why_cap = why_cap};

	if (!start_making(&m, TLS_server_method()))
		return NULL;
	return made(&m, set_protocols(&m) && set_ciphers(&m) && set_key_exchange(&m) &&
				load_certificate(&m, o->mode != SSLMODE_DISABLE) && verify_clients(&m));
}

SSL_CTX *tls_client_context(const struct tls_options *o, char *why, size_t why_cap)
{
	struct making m = {.o = o, .side = "server", .why = why, .why_cap = why_cap};

	if (!start_making(&m, TLS_client_method()))
		return NULL;
	return made(&m, set_protocols(&m) && set_ciphers(&m) && set_key_exchange(&m) && load_certificate(&m, false) &&
				verify_servers(&m));
}
