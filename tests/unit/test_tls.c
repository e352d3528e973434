/* links: server/tls.c server/stream.c parser/buf.c -levent -lssl -lcrypto */
#include "tests/unit/ends.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>

#include "server/tls.h"

/* Certificates, made once a run into a temporary directory */

static char dir[64];
static char ca_crt[96], other_crt[96];
static char server_crt[96], server_key[96], rsa_crt[96], rsa_key[96], ed_crt[96], ed_key[96];
static char client_crt[96], client_key[96], stranger_crt[96], stranger_key[96], locked_key[96];

struct identity {
	EVP_PKEY *key;
	X509 *cert;
};

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
}

/* Signed by issuer, or by itself. md NULL: the key's own way (Ed25519). */
static struct identity make_identity(EVP_PKEY *key, const char *name, const char *alt, const struct identity *issuer,
				     const EVP_MD *md)
{
	static long serial;
	struct identity id = {key, X509_new()};
	X509_NAME *subject = X509_get_subject_name(id.cert);
	X509 *by = issuer ? issuer->cert : id.cert;

	assert_non_null(key);
	X509_set_version(id.cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(id.cert), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(id.cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(id.cert), 3600);
	X509_set_pubkey(id.cert, key);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(id.cert, X509_get_subject_name(by));
	add_extension(id.cert, by, NID_basic_constraints, issuer ? "CA:FALSE" : "critical,CA:TRUE");
	if (alt)
		add_extension(id.cert, by, NID_subject_alt_name, alt);
	assert_true(X509_sign(id.cert, issuer ? issuer->key : key, md) > 0);
	return id;
}

static const char *path_of(char path[96], const char *name)
{
	snprintf(path, 96, "%s/%s", dir, name);
	return path;
}

static void save(struct identity *id, char crt[96], char key[96], const char *name)
{
	char file[24];
	FILE *f;

	snprintf(file, sizeof file, "%s.crt", name);
	f = fopen(path_of(crt, file), "w");
	assert_non_null(f);
	assert_true(PEM_write_X509(f, id->cert));
	fclose(f);
	if (!key)
		return;
	snprintf(file, sizeof file, "%s.key", name);
	f = fopen(path_of(key, file), "w");
	assert_non_null(f);
	assert_true(PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL));
	fclose(f);
}

static void discard(struct identity *id)
{
	X509_free(id->cert);
	EVP_PKEY_free(id->key);
}

static int make_certificates(void **state)
{
	struct identity ca, other, id;
	const char *here = "DNS:localhost,IP:127.0.0.1";
	FILE *f;

	snprintf(dir, sizeof dir, "/tmp/pgporter-tls-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	ca = make_identity(EVP_EC_gen("P-256"), "test authority", NULL, NULL, EVP_sha256());
	save(&ca, ca_crt, NULL, "ca");
	other = make_identity(EVP_EC_gen("P-256"), "another authority", NULL, NULL, EVP_sha256());
	save(&other, other_crt, NULL, "other");

	id = make_identity(EVP_EC_gen("P-256"), "server", here, &ca, EVP_sha384());
	save(&id, server_crt, server_key, "server");
	f = fopen(path_of(locked_key, "locked.key"), "w");
	assert_true(PEM_write_PrivateKey(f, id.key, EVP_aes_128_cbc(), (unsigned char *)"secret", 6, NULL, NULL));
	fclose(f);
	discard(&id);
	id = make_identity(EVP_RSA_gen(2048), "rsa", here, &ca, EVP_sha256());
	save(&id, rsa_crt, rsa_key, "rsa");
	discard(&id);
	id = make_identity(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), "ed", here, NULL, NULL);
	save(&id, ed_crt, ed_key, "ed");
	discard(&id);
	id = make_identity(EVP_EC_gen("P-256"), "client", NULL, &ca, EVP_sha256());
	save(&id, client_crt, client_key, "client");
	discard(&id);
	id = make_identity(EVP_EC_gen("P-256"), "stranger", NULL, &other, EVP_sha256());
	save(&id, stranger_crt, stranger_key, "stranger");
	discard(&id);
	discard(&ca);
	discard(&other);
	return 0;
}

static int remove_certificates(void **state)
{
	const char *all[] = {ca_crt, other_crt, server_crt, server_key, rsa_crt, rsa_key, ed_crt, ed_key,
			     client_crt, client_key, stranger_crt, stranger_key, locked_key};

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i][0])
			unlink(all[i]);
	return rmdir(dir);
}

/* w->a is the client, w->b the server */

static struct tls_options server_options(void)
{
	return (struct tls_options){.mode = SSLMODE_REQUIRE, .cert_file = server_crt, .key_file = server_key};
}

static struct tls_options client_options(void)
{
	return (struct tls_options){.mode = SSLMODE_VERIFY_FULL, .ca_file = ca_crt};
}

static void begin(struct world *w, struct tls_options so, struct tls_options co, const char *host)
{
	char why[200] = "";
	SSL_CTX *server = tls_server_context(&so, why, sizeof why), *client = tls_client_context(&co, why, sizeof why);

	assert_string_equal(why, "");
	make_pair(w);
	w->a.on_readable = w->b.on_readable = NULL;
	assert_true(stream_start_tls_server(&w->b.s, server));
	assert_true(stream_start_tls_client(&w->a.s, client, host, co.mode == SSLMODE_VERIFY_FULL));
	assert_false(stream_is_tls(&w->a.s));
	SSL_CTX_free(server); /* the streams hold it */
	SSL_CTX_free(client);
}

static void shake(struct world *w)
{
	for (int i = 0; i < 1000 && !(w->a.readies + w->a.closeds && w->b.readies + w->b.closeds); i++)
		event_base_loop(w->base, EVLOOP_ONCE);
	assert_false(w->late);
}

static void assert_shaken(struct world *w)
{
	shake(w);
	assert_string_equal(w->a.reason, "");
	assert_string_equal(w->b.reason, "");
	assert_true(stream_is_tls(&w->a.s) && stream_is_tls(&w->b.s));
}

static void over(struct world *w)
{
	stream_release(&w->a.s);
	stream_release(&w->b.s);
	memset(&w->a, 0, sizeof w->a);
	memset(&w->b, 0, sizeof w->b);
	w->a.w = w->b.w = w;
}

static void bytes_come_through_both_ways(void **state)
{
	struct world *w = *state;
	char name[100] = "?";

	make_pair(w);
	stream_tls_name(&w->a.s, name, sizeof name);
	assert_string_equal(name, "");
	over(w);
	begin(w, server_options(), client_options(), "localhost");
	assert_shaken(w);
	say(&w->a, "from the client");
	say(&w->b, "from the server");
	settle(w);
	assert_in(&w->b, "from the client");
	assert_in(&w->a, "from the server");
	assert_int_equal(w->a.readies, 1);
	assert_int_equal(w->b.s.read_bytes, 15);
	assert_int_equal(w->b.s.written_bytes, 15);
	stream_tls_name(&w->b.s, name, sizeof name);
	assert_string_equal(name, "TLSv1.3/TLS_AES_256_GCM_SHA384");
}

static void bytes_flushed_before_the_handshake_go_encrypted_after_it(void **state)
{
	struct world *w = *state;

	begin(w, server_options(), client_options(), "localhost");
	say(&w->a, "early");
	settle(w);
	assert_in(&w->b, "early");
	assert_int_equal(w->b.readies, 1);
}

static void a_server_of_another_authority_is_refused(void **state)
{
	struct world *w = *state;
	struct tls_options co = client_options();

	for (co.mode = SSLMODE_VERIFY_CA; co.mode <= SSLMODE_VERIFY_FULL; co.mode++) {
		co.ca_file = other_crt;
		begin(w, server_options(), co, "localhost");
		shake(w);
		assert_int_equal(w->a.readies, 0);
		assert_string_equal(w->a.reason, "TLS handshake failed: unable to get local issuer certificate");
		settle(w);
		assert_int_equal(w->b.closeds, 1);
		over(w);
	}
	co.mode = SSLMODE_REQUIRE; /* encrypts, trusts anyone */
	begin(w, server_options(), co, "localhost");
	assert_shaken(w);
}

static void verify_full_checks_the_host_and_verify_ca_does_not(void **state)
{
	static const struct {
		const char *host, *reason;
	} cases[] = {
		{"localhost", ""},
		{"127.0.0.1", ""},
		{"db.example.org", "TLS handshake failed: hostname mismatch"},
		{"127.0.0.2", "TLS handshake failed: IP address mismatch"},
		{"::1", "TLS handshake failed: IP address mismatch"},
	};
	struct world *w = *state;
	struct tls_options co = client_options();

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		co.mode = SSLMODE_VERIFY_FULL;
		begin(w, server_options(), co, cases[i].host);
		shake(w);
		assert_string_equal(w->a.reason, cases[i].reason);
		over(w);
		co.mode = SSLMODE_VERIFY_CA;
		begin(w, server_options(), co, cases[i].host);
		assert_shaken(w);
		over(w);
	}
}

static void a_host_to_verify_has_to_be_named(void **state)
{
	struct world *w = *state;
	struct tls_options co = client_options();
	SSL_CTX *ctx = tls_client_context(&co, (char[200]){0}, 200);

	make_pair(w);
	assert_false(stream_start_tls_client(&w->a.s, ctx, NULL, true));
	assert_false(stream_start_tls_client(&w->a.s, ctx, "", true));
	assert_true(stream_start_tls_client(&w->a.s, ctx, NULL, false));
	assert_false(stream_start_tls_client(&w->a.s, ctx, NULL, false)); /* already */
	SSL_CTX_free(ctx);
}

static void bytes_in_the_clear_ahead_of_the_handshake_are_refused(void **state)
{
	struct world *w = *state;
	struct tls_options so = server_options(), co = client_options();
	SSL_CTX *server = tls_server_context(&so, (char[200]){0}, 200), *client = tls_client_context(&co, (char[200]){0}, 200);

	make_pair(w);
	say(&w->a, "smuggled");
	say(&w->b, "injected");
	settle(w);
	assert_false(stream_start_tls_server(&w->b.s, server));
	assert_false(stream_start_tls_client(&w->a.s, client, "localhost", true));
	consume_all(&w->a);
	consume_all(&w->b);
	buf_text(stream_out(&w->b.s), "S");
	assert_false(stream_start_tls_server(&w->b.s, server)); /* still to be sent in the clear */
	SSL_CTX_free(server);
	SSL_CTX_free(client);
}

static void bytes_in_the_clear_instead_of_the_handshake_end_it(void **state)
{
	struct world *w = *state;
	struct tls_options so = server_options();
	SSL_CTX *server = tls_server_context(&so, (char[200]){0}, 200);

	make_pair(w);
	assert_true(stream_start_tls_server(&w->b.s, server));
	SSL_CTX_free(server);
	say(&w->a, "Q select 1; this is no handshake at all");
	settle(w);
	assert_int_equal(w->b.closeds, 1);
	assert_string_equal(w->b.reason, "TLS handshake failed: wrong version number");
	assert_int_equal(w->b.readables + w->b.readies, 0);
}

static void a_peer_that_leaves_in_the_handshake_is_reported(void **state)
{
	struct world *w = *state;

	begin(w, server_options(), client_options(), "localhost");
	stream_release(&w->a.s);
	settle(w);
	assert_int_equal(w->b.closeds, 1);
	assert_string_equal(w->b.reason, "TLS handshake failed: end of file");
}

/* Large transfers */

struct flow {
	size_t sent, seen, total;
};

static struct flow flows[2]; /* from client, from server */

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 31 + (i >> 8));
}

static void feed(struct end *e, struct flow *f)
{
	while (f->sent < f->total && !stream_full(&e->s)) {
		size_t n = f->total - f->sent < 50000 ? f->total - f->sent : 50000;
		uint8_t *room = buf_room(stream_out(&e->s), n);

		for (size_t i = 0; i < n; i++)
			room[i] = byte_at(f->sent + i);
		buf_commit(&e->s.out, n);
		f->sent += n;
		assert_true(stream_flush(&e->s));
	}
}

static void compare(struct end *e, struct flow *f)
{
	size_t n = buf_len(&e->s.in);

	for (size_t i = 0; i < n; i++)
		if (buf_head(&e->s.in)[i] != byte_at(f->seen + i))
			fail_msg("byte %zu differs", f->seen + i);
	buf_consume(&e->s.in, n);
	f->seen += n;
	if (flows[0].seen == flows[0].total && flows[1].seen == flows[1].total)
		stop(e);
}

static void client_drained(struct end *e) { feed(e, &flows[0]); }
static void server_drained(struct end *e) { feed(e, &flows[1]); }
static void client_readable(struct end *e) { compare(e, &flows[1]); }
static void server_readable(struct end *e) { compare(e, &flows[0]); }

static void large_transfers_both_ways_with_partial_writes(void **state)
{
	struct world *w = *state;
	const char *protocols[] = {"tlsv1.2", "tlsv1.3"};

	for (size_t i = 0; i < 2; i++) {
		struct tls_options so = server_options();
		int small = 4096;

		so.protocols = protocols[i];
		begin(w, so, client_options(), "localhost");
		setsockopt(w->a.s.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
		setsockopt(w->b.s.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
		assert_shaken(w);
		flows[0] = flows[1] = (struct flow){.total = 1500000};
		w->a.on_drained = client_drained;
		w->b.on_drained = server_drained;
		w->a.on_readable = client_readable;
		w->b.on_readable = server_readable;
		if (i) /* both sides change keys on the way */
			assert_true(SSL_key_update(w->a.s.ssl, SSL_KEY_UPDATE_REQUESTED));
		feed(&w->a, &flows[0]);
		feed(&w->b, &flows[1]);
		assert_true(stream_full(&w->a.s) && stream_full(&w->b.s));
		run(w);
		assert_int_equal(flows[0].seen, flows[0].total);
		assert_int_equal(flows[1].seen, flows[1].total);
		assert_true(w->a.draineds > 1);
		settle(w);
		assert_null(w->a.s.out.data);
		assert_null(w->a.s.in.data);
		over(w);
	}
}

static void pause_it(struct end *e)
{
	consume_all(e);
	stream_pause(&e->s);
}

static void bytes_left_inside_tls_come_after_a_resume(void **state)
{
	struct world *w = *state;
	size_t before;

	begin(w, server_options(), client_options(), "localhost");
	assert_shaken(w);
	w->b.on_readable = pause_it;
	fill(&w->a, 60000);
	assert_true(stream_flush(&w->a.s));
	for (int i = 0; i < 100 && w->b.swallowed < 60000; i++) {
		settle(w);
		before = w->b.swallowed;
		settle(w);
		assert_int_equal(w->b.swallowed, before);
		stream_resume(&w->b.s);
	}
	assert_int_equal(w->b.swallowed, 60000);
	assert_true(w->b.readables > 1);
}

static void a_rewake_works_over_tls(void **state)
{
	struct world *w = *state;

	begin(w, server_options(), client_options(), "localhost");
	assert_shaken(w);
	say(&w->a, "held");
	settle(w);
	stream_rewake(&w->b.s);
	settle(w);
	assert_int_equal(w->b.readables, 2);
	assert_in(&w->b, "held");
}

/* Ends */

static void a_close_notify_is_an_end_of_file(void **state)
{
	struct world *w = *state;

	begin(w, server_options(), client_options(), "localhost");
	assert_shaken(w);
	say(&w->a, "last");
	stream_release(&w->a.s);
	settle(w);
	assert_in(&w->b, "last");
	assert_int_equal(w->b.closeds, 1);
	assert_true(w->b.s.eof);
	assert_string_equal(w->b.reason, "end of file");
}

static void an_end_without_close_notify_is_an_end_of_file(void **state)
{
	struct world *w = *state;

	begin(w, server_options(), client_options(), "localhost");
	assert_shaken(w);
	say(&w->a, "last");
	shutdown(w->a.s.fd, SHUT_WR);
	settle(w);
	assert_in(&w->b, "last");
	assert_int_equal(w->b.closeds, 1);
	assert_true(w->b.s.eof);
	assert_string_equal(w->b.reason, "end of file");
}

static void a_failed_write_is_reported_from_the_loop(void **state)
{
	struct world *w = *state;

	begin(w, server_options(), client_options(), "localhost");
	assert_shaken(w);
	stream_release(&w->a.s);
	w->b.entered = true;
	buf_text(stream_out(&w->b.s), "reply");
	assert_false(stream_flush(&w->b.s));
	w->b.entered = false;
	settle(w);
	assert_int_equal(w->b.closeds, 1);
	assert_string_equal(w->b.reason, "TLS error: Broken pipe");
}

static void release_inside_callbacks(void **state)
{
	struct world *w = *state;

	begin(w, server_options(), client_options(), "localhost");
	w->a.on_ready = release_it;
	settle(w);
	assert_int_equal(w->a.readies, 1);
	assert_int_equal(w->b.closeds, 1);
	over(w);
	begin(w, server_options(), client_options(), "localhost");
	assert_shaken(w);
	w->b.on_readable = release_it;
	fill(&w->a, 100000);
	stream_flush(&w->a.s);
	settle(w);
	assert_int_equal(w->b.readables, 1);
	assert_int_equal(w->a.closeds, 1);
}

/* Client certificates */

static void verify_ca_requires_a_client_certificate_of_the_authority(void **state)
{
	struct world *w = *state;
	struct tls_options so = server_options(), co = client_options();

	so.mode = SSLMODE_VERIFY_CA;
	so.ca_file = ca_crt;
	begin(w, so, co, "localhost");
	settle(w);
	assert_int_equal(w->b.readies, 0);
	assert_string_equal(w->b.reason, "TLS handshake failed: peer did not return a certificate");
	assert_int_equal(w->a.closeds, 1);
	assert_non_null(strstr(w->a.reason, "certificate required"));
	over(w);

	co.cert_file = stranger_crt;
	co.key_file = stranger_key;
	begin(w, so, co, "localhost");
	settle(w);
	assert_int_equal(w->b.readies, 0);
	assert_string_equal(w->b.reason, "TLS handshake failed: unable to get local issuer certificate");
	over(w);

	co.cert_file = client_crt;
	co.key_file = client_key;
	begin(w, so, co, "localhost");
	assert_shaken(w);
	over(w);

	so.mode = SSLMODE_REQUIRE; /* below verify-ca nobody asks */
	co.cert_file = co.key_file = NULL;
	begin(w, so, co, "localhost");
	assert_shaken(w);
}

/* What the connection says of itself */

static void both_sides_bind_to_the_server_certificate(void **state)
{
	struct world *w = *state;
	struct tls_options so = server_options(), co = client_options();
	uint8_t ours[64], theirs[64], want[64];
	unsigned want_len = 0;
	FILE *f;
	X509 *cert;

	begin(w, so, co, "localhost");
	assert_int_equal(stream_tls_binding(&w->b.s, ours), 0); /* not yet */
	assert_shaken(w);
	f = fopen(server_crt, "r");
	cert = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	assert_true(X509_digest(cert, EVP_sha384(), want, &want_len));
	X509_free(cert);
	assert_int_equal(stream_tls_binding(&w->b.s, ours), 48);
	assert_int_equal(stream_tls_binding(&w->a.s, theirs), 48);
	assert_memory_equal(ours, want, 48);
	assert_memory_equal(theirs, want, 48);
	over(w);

	so.cert_file = rsa_crt;
	so.key_file = rsa_key;
	begin(w, so, co, "localhost");
	assert_shaken(w);
	assert_int_equal(stream_tls_binding(&w->b.s, ours), 32);
	over(w);

	so.cert_file = ed_crt; /* a signature without a digest of its own: no binding is defined */
	so.key_file = ed_key;
	co.mode = SSLMODE_REQUIRE;
	begin(w, so, co, "localhost");
	assert_shaken(w);
	assert_int_equal(stream_tls_binding(&w->b.s, ours), 0);
}

static void protocols_ciphers_and_curves_mean_what_pgbouncer_means(void **state)
{
	static const struct {
		const char *server, *client, *ciphers, *tls13, *curve, *dh, *name; /* name NULL: refused */
	} cases[] = {
		{"secure", "secure", "", "", "", "", "TLSv1.3/TLS_AES_256_GCM_SHA384"},
		{"", " tlsv1.2 , tlsv1.3", "fast", "", "auto", "auto", "TLSv1.3/TLS_AES_256_GCM_SHA384"},
		{"secure", "all", "secure", "TLS_AES_128_GCM_SHA256", "", "", "TLSv1.3/TLS_AES_128_GCM_SHA256"},
		{"TLSv1.2", "legacy", "normal", "", "prime256v1", "", "TLSv1.2/ECDHE-RSA-AES256-GCM-SHA384/ECDH=prime256v1"},
		{"!tlsv1.3", "", "compat", "", "secp384r1", "", "TLSv1.2/ECDHE-RSA-AES256-GCM-SHA384/ECDH=secp384r1"},
		{"tlsv1.2", "", "AES128-GCM-SHA256", "", "", "", "TLSv1.2/AES128-GCM-SHA256"},
		{"tlsv1.2", "", "", "", "none", "auto", "TLSv1.2/DHE-RSA-AES256-GCM-SHA384/DH=?"},
		{"tlsv1.2", "", "", "", "none", "none", "TLSv1.2/AES256-GCM-SHA384"},
		{"tlsv1.3", "", "", "", "none", "none", "TLSv1.3/TLS_AES_256_GCM_SHA384"},
		{"tlsv1.3", "tlsv1.2", "", "", "", "", NULL},
		{"secure", "tlsv1.0:tlsv1.1", "", "", "", "", NULL},
		{"tlsv1.0,tlsv1.1", "secure", "", "", "", "", NULL},
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct tls_options so = server_options(), co = client_options();
		char name[100];

		so.cert_file = rsa_crt;
		so.key_file = rsa_key;
		so.protocols = cases[i].server;
		so.ciphers = cases[i].ciphers;
		so.tls13_ciphers = cases[i].tls13;
		so.ecdhcurve = cases[i].curve;
		so.dheparams = cases[i].dh;
		co.protocols = cases[i].client;
		begin(w, so, co, "localhost");
		if (cases[i].name) {
			assert_shaken(w);
			stream_tls_name(&w->b.s, name, sizeof name);
			assert_string_equal(name, cases[i].name);
			stream_tls_name(&w->a.s, name, sizeof name);
			if (strstr(cases[i].name, "/DH="))
				assert_non_null(strstr(name, "/DH=2048"));
			else
				assert_string_equal(name, cases[i].name);
		} else {
			settle(w);
			assert_int_equal(w->a.readies + w->b.readies, 0);
			assert_int_equal(w->a.closeds, 1);
			assert_int_equal(w->b.closeds, 1);
		}
		over(w);
	}
}

/* Options */

static void refused(bool server, struct tls_options o, const char *start)
{
	char why[200] = "";

	assert_null((server ? tls_server_context : tls_client_context)(&o, why, sizeof why));
	if (strncmp(why, start, strlen(start)))
		fail_msg("got '%s', want '%s…'", why, start);
	assert_int_equal(ERR_peek_error(), 0);
}

#define WITH(base, ...) ({ struct tls_options o_ = base(); __VA_ARGS__; o_; })

static void errors_name_the_option(void **state)
{
	refused(true, WITH(server_options, o_.protocols = "tlsv1.4"), "client_tls_protocols: \"tlsv1.4\": must be ");
	refused(false, WITH(client_options, o_.protocols = "secure,"), "server_tls_protocols: \"secure,\": must be ");
	refused(false, WITH(client_options, o_.protocols = "!all"), "server_tls_protocols: ");
	refused(true, WITH(server_options, o_.ciphers = "nonsense"), "client_tls_ciphers: \"nonsense\": no cipher match");
	refused(true, WITH(server_options, o_.tls13_ciphers = "nonsense"), "client_tls13_ciphers: \"nonsense\": ");
	refused(true, WITH(server_options, o_.ecdhcurve = "nonsense"), "client_tls_ecdhcurve: \"nonsense\": ");
	refused(true, WITH(server_options, o_.dheparams = "nonsense"), "client_tls_dheparams: \"nonsense\": must be ");
	refused(true, WITH(server_options, o_.cert_file = ""), "client_tls_cert_file: ");
	refused(true, WITH(server_options, o_.key_file = NULL), "client_tls_key_file: ");
	refused(true, WITH(server_options, o_.cert_file = "/nowhere/at.all"),
		"client_tls_cert_file: \"/nowhere/at.all\": No such file or directory");
	refused(true, WITH(server_options, o_.cert_file = server_key), "client_tls_cert_file: ");
	refused(true, WITH(server_options, o_.key_file = client_key), "client_tls_key_file: ");
	refused(true, WITH(server_options, o_.key_file = locked_key), "client_tls_key_file: ");
	refused(true, WITH(server_options, o_.mode = SSLMODE_VERIFY_CA), "client_tls_ca_file: ");
	refused(true, WITH(server_options, o_.mode = SSLMODE_VERIFY_FULL; o_.ca_file = server_key), "client_tls_ca_file: ");
	refused(false, WITH(client_options, o_.ca_file = "/nowhere/at.all"), "server_tls_ca_file: \"/nowhere/at.all\": ");
	refused(false, WITH(client_options, o_.cert_file = client_crt), "server_tls_key_file: ");
	refused(false, WITH(client_options, o_.key_file = client_key), "server_tls_cert_file: ");
}

static void defaults_need_nothing(void **state)
{
	struct tls_options o = {.mode = SSLMODE_DISABLE};
	char why[200] = "";
	SSL_CTX *ctx = tls_server_context(&o, why, sizeof why);

	assert_non_null(ctx);
	SSL_CTX_free(ctx);
	for (o.mode = SSLMODE_DISABLE; o.mode <= SSLMODE_VERIFY_FULL; o.mode++) {
		ctx = tls_client_context(&o, why, sizeof why);
		assert_non_null(ctx);
		SSL_CTX_free(ctx);
	}
	assert_string_equal(why, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(bytes_come_through_both_ways),
		T(bytes_flushed_before_the_handshake_go_encrypted_after_it),
		T(a_server_of_another_authority_is_refused),
		T(verify_full_checks_the_host_and_verify_ca_does_not),
		T(a_host_to_verify_has_to_be_named),
		T(bytes_in_the_clear_ahead_of_the_handshake_are_refused),
		T(bytes_in_the_clear_instead_of_the_handshake_end_it),
		T(a_peer_that_leaves_in_the_handshake_is_reported),
		T(large_transfers_both_ways_with_partial_writes),
		T(bytes_left_inside_tls_come_after_a_resume),
		T(a_rewake_works_over_tls),
		T(a_close_notify_is_an_end_of_file),
		T(an_end_without_close_notify_is_an_end_of_file),
		T(a_failed_write_is_reported_from_the_loop),
		T(release_inside_callbacks),
		T(verify_ca_requires_a_client_certificate_of_the_authority),
		T(both_sides_bind_to_the_server_certificate),
		T(protocols_ciphers_and_curves_mean_what_pgbouncer_means),
		cmocka_unit_test(errors_name_the_option),
		cmocka_unit_test(defaults_need_nothing),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
