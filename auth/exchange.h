/* auth/exchange.h — authentication as bytes in, bytes out, verdict (protocol 3, "Authentication Request Messages";
 * SCRAM-SHA-256: RFC 5802, RFC 7677; PostgreSQL docs "SASL Authentication"). Both roles: towards clients we ask,
 * towards servers we answer. Owns no socket, clock or entropy: random bytes are handed in.
 *
 * Stance: every byte is hostile. An exchange of the wrong order or form ends in AUTH_FAIL; comparisons of secrets take
 * constant time; keys are wiped when an exchange ends. Unknown users run the same exchange against a mock verifier
 * that is stable for a name, so that they cannot be told from known ones. */
#ifndef PGPORTER_AUTH_EXCHANGE_H
#define PGPORTER_AUTH_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/derive.h"
#include "auth/secret.h"
#include "parser/buf.h"

enum auth_method { AUTH_ANY, AUTH_TRUST, AUTH_PLAIN, AUTH_MD5, AUTH_SCRAM }; /* as auth_type; AUTH_ANY behaves as trust */

/* The number an AuthenticationRequest ('R') begins with; only those that are written or answered here. */
enum auth_request {
	AUTH_REQ_OK = 0,
	AUTH_REQ_PLAIN = 3,
	AUTH_REQ_MD5 = 5,
	AUTH_REQ_SASL = 10,
	AUTH_REQ_SASL_CONTINUE = 11,
	AUTH_REQ_SASL_FINAL = 12,
};

enum auth_verdict {
	AUTH_MORE, /* out holds what to send; wait for the peer's next message */
	AUTH_OK,
	AUTH_FAIL, /* error_* below say what to tell */
	AUTH_DERIVE, /* keys are needed: hand in those of auth_*_wanted() with auth_*_derived(), no message before */
};

/* ---- towards a client ---- */

struct auth_client; /* exchange with one client */

/* The method asked for and the user's secret decide: auth_type md5 with a SCRAM secret uses SCRAM, as PgBouncer and
 * PostgreSQL do; scram-sha-256 with a plain secret makes an ad-hoc verifier with `iterations`; scram-sha-256 with an
 * md5 secret must fail. secret NULL or of SECRET_NONE: unknown user or no password, a mock exchange that fails.
 * `mock_key` (32 bytes, per process) seeds mock salts; an ad-hoc verifier has the salt the mock would have. `entropy`
 * is 64 random bytes used for nonce and md5 salt. Copies what it needs. With TLS, cb_data/cb_len (at most 64 bytes) is
 * the tls-server-end-point binding (RFC 5929) and SCRAM-SHA-256-PLUS is offered too; NULL without TLS.
 *
 * What a mock can't hide: for a plain secret keys are derived at the client's proof, where they are not known from an
 * earlier login; for verifiers and mocks never; and a mock of auth_type md5 asks for md5, so where secrets are mostly SCRAM verifiers pass AUTH_SCRAM for unknown users. */
struct auth_client *auth_client_new(enum auth_method method, const char *user, const struct secret *secret,
				    uint32_t iterations, const uint8_t mock_key[32], const uint8_t entropy[64],
				    const uint8_t *cb_data, size_t cb_len);
/* First call: writes the AuthenticationRequest ('R' message, whole) to out and returns AUTH_MORE, or AUTH_OK for trust
 * (writes nothing; AuthenticationOk itself is the caller's to write). */
enum auth_verdict auth_client_start(struct auth_client *a, struct buf *out);
/* Body of a 'p' message. AUTH_OK may have written to out (SASLFinal); AUTH_FAIL writes nothing. Passwords of
 * SECRET_TEXT_MAX bytes or more could not be kept and are wrong ones. */
enum auth_verdict auth_client_feed(struct auth_client *a, const uint8_t *body, size_t len, struct buf *out);
/* After AUTH_DERIVE: what of; then the keys, NULL if there can't be any, with which the message goes on as if fed now. */
const struct auth_wanted *auth_client_wanted(const struct auth_client *a);
enum auth_verdict auth_client_derived(struct auth_client *a, const struct scram_verifier *keys, struct buf *out);
/* After AUTH_OK: what the exchange has learnt for logging in to servers: the plain password (auth_type plain), the
 * SCRAM keys (verifier with have_client_key), else the secret given. Fills *out; SECRET_NONE before AUTH_OK. */
void auth_client_learned(const struct auth_client *a, struct secret *out);
/* After AUTH_FAIL: SQLSTATE and message; constant strings. "28P01" and PostgreSQL's wording with the user name is the
 * caller's to compose when this is NULL; protocol violations ("08P01") have their own message. */
const char *auth_client_error(const struct auth_client *a, const char **sqlstate);
void auth_client_free(struct auth_client *a); /* wipes; NULL is fine */

/* ---- towards a server ---- */

struct auth_server; /* exchange with one server */

/* Answers a server's requests for `user` with `secret`: plain text serves all methods, md5 serves md5 only, SCRAM keys
 * serve SCRAM only (salt and iterations must then be the verifier's, else the proof would not hold). `entropy` is 32
 * random bytes for the nonce. iterations_max bounds what a server may ask us to compute (0: no bound). */
struct auth_server *auth_server_new(const char *user, const struct secret *secret, const uint8_t entropy[32],
				    uint32_t iterations_max);
/* Body of an 'R' message. Writes whole 'p' messages to out. AUTH_OK at AuthenticationOk, and for SCRAM only after the
 * server has proven itself. Unknown methods (GSS, SSPI, Kerberos) are AUTH_FAIL. */
enum auth_verdict auth_server_feed(struct auth_server *a, const uint8_t *body, size_t len, struct buf *out);
const struct auth_wanted *auth_server_wanted(const struct auth_server *a); /* as auth_client_wanted()… */
enum auth_verdict auth_server_derived(struct auth_server *a, const struct scram_verifier *keys, struct buf *out);
const char *auth_server_error(const struct auth_server *a); /* after AUTH_FAIL: what went wrong, a constant string */
void auth_server_free(struct auth_server *a); /* wipes; NULL is fine */

#endif
