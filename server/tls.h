/* server/tls.h — OpenSSL contexts from the client_tls_* and server_tls_* options, with PgBouncer's meanings:
 * protocols: secure (1.2 and 1.3; the default), all or legacy (from 1.0), or a list of tlsv1.0 … tlsv1.3, "!" takes one away;
 * ciphers (up to TLS 1.2): default, secure, normal and fast are OpenSSL's own choice, compat and legacy go wider, all and
 *   insecure everything that authenticates and encrypts; else OpenSSL's words;
 * ecdhcurve: auto (OpenSSL's choice), none, or a curve, or curves separated by ":";
 * dheparams: auto (as strong as the certificate's key), none, or legacy (1024 bits, as far as OpenSSL's security level lets). */
#ifndef PGPORTER_SERVER_TLS_H
#define PGPORTER_SERVER_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

enum sslmode { SSLMODE_DISABLE, SSLMODE_ALLOW, SSLMODE_PREFER, SSLMODE_REQUIRE, SSLMODE_VERIFY_CA, SSLMODE_VERIFY_FULL };

struct tls_options {
	enum sslmode mode;
	const char *ca_file, *cert_file, *key_file, *ciphers, *tls13_ciphers, *protocols, *dheparams, *ecdhcurve; /* "" or NULL: unset */
};

/* A context, or NULL with the reason (which option, what is wrong, OpenSSL's words) in why. Server: cert and key are required
 * unless mode is disable; verify-ca and verify-full ask clients for a certificate and need a ca_file. Client: without a
 * ca_file they trust the system's authorities; verify-full's host name is given to stream_start_tls_client().
 * TLS 1.2 at least unless the protocols say otherwise; renegotiation off. The caller frees with SSL_CTX_free(): streams
 * hold the context as long as they need it. */
SSL_CTX *tls_server_context(const struct tls_options *o, char *why, size_t why_cap);
SSL_CTX *tls_client_context(const struct tls_options *o, char *why, size_t why_cap);

#endif
