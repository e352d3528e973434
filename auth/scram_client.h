/* auth/scram_client.h — the client's role in SCRAM-SHA-256 (RFC 5802 section 5, RFC 7677), which we play towards
 * servers: messages in, messages out, no state but this struct.
 *
 * Stance: the server is as hostile as anyone until its signature has been checked. It may make us compute no more than
 * iterations_max rounds, and what it says is bounded by SCRAM_SERVER_MAX. */
#ifndef PGPORTER_AUTH_SCRAM_CLIENT_H
#define PGPORTER_AUTH_SCRAM_CLIENT_H

#include "auth/scram.h"
#include "parser/buf.h"

enum scram_binding {
	SCRAM_BIND_NONE,	 /* 'n': we know of no channel binding */
	SCRAM_BIND_NOT_OFFERED, /* 'y': we could, the server did not offer it */
	SCRAM_BIND_ENDPOINT,	 /* 'p': tls-server-end-point (RFC 5929), for SCRAM-SHA-256-PLUS */
};

enum scram_client_state { SCRAM_CLIENT_NEW, SCRAM_CLIENT_FIRST, SCRAM_CLIENT_FINAL, SCRAM_CLIENT_DONE };

struct scram_client {
	enum scram_client_state state;
	char nonce[SCRAM_NONCE_LEN + 1];
	uint32_t iterations_max;
	struct buf binding;    /* gs2 header and binding data: the value of c= */
	struct buf transcript; /* AuthMessage as it grows; holds no secret */
	uint8_t server_signature[SCRAM_KEY_LEN];
	const char *why; /* after anything but SCRAM_OK: a constant sentence */
};

/* The nonce must pass scram_nonce_valid() and be at most SCRAM_NONCE_LEN characters. cb_data is for SCRAM_BIND_ENDPOINT
 * alone, at most SCRAM_BINDING_MAX bytes. iterations_max 0: no bound. */
void scram_client_init(struct scram_client *c, const char *nonce, enum scram_binding binding, const uint8_t *cb_data,
		       size_t cb_len, uint32_t iterations_max);
/* client-first-message. PostgreSQL takes the user from the startup packet: `user` is "" there; "," and "=" are escaped. */
void scram_client_first(struct scram_client *c, const char *user, struct buf *out);
/* What keys server-first-message asks for: its salt (room for SCRAM_SALT_MAX bytes) and iterations. */
enum scram_result scram_client_asked(struct scram_client *c, const uint8_t *msg, size_t len, uint8_t *salt, size_t *salt_len,
				     uint32_t *iterations);
/* Takes server-first-message, writes client-final-message. The secret is a plain one, or SCRAM keys with have_client_key
 * whose salt and iterations must be the server's. Writes nothing unless SCRAM_OK. */
enum scram_result scram_client_final(struct scram_client *c, const uint8_t *msg, size_t len,
				     const struct secret *secret, struct buf *out);
/* Takes server-final-message: SCRAM_OK when the server has proven that it knows the verifier. */
enum scram_result scram_client_verify(struct scram_client *c, const uint8_t *msg, size_t len);
void scram_client_release(struct scram_client *c); /* wipes; a zeroed struct is fine */

#endif
