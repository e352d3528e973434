/* server/tls.h — OpenSSL contexts from the client_tls_* and server_tls_* options, with PgBouncer's meanings
 * (protocols: secure, all, legacy or a list; ciphers: default, secure, fast, normal, all or OpenSSL's own words). */
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
 * unless mode is disable; verify-ca and verify-full ask clients for a certificate. TLS 1.2 at least unless the
 * protocols say otherwise; renegotiation off. The caller frees with SSL_CTX_free(). */
SSL_CTX *tls_server_context(const struct tls_options *o, char *why, size_t why_cap);
SSL_CTX *tls_client_context(const struct tls_options *o, char *why, size_t why_cap);

#endif
