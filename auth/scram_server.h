/* auth/scram_server.h — the server's role in SCRAM-SHA-256 (RFC 5802 section 5, RFC 7677), which we play towards
 * clients: messages in, messages out, no state but this struct.
 *
 * Stance: the client is unknown until its proof holds. Messages are bounded by SCRAM_CLIENT_MAX, their user name is
 * ignored (PostgreSQL takes the startup packet's), an authorization identity is refused. A mock verifier runs the same
 * steps and fails where a wrong password fails. */
#ifndef PGPORTER_AUTH_SCRAM_SERVER_H
#define PGPORTER_AUTH_SCRAM_SERVER_H

#include "auth/scram.h"
#include "parser/buf.h"

enum scram_server_state { SCRAM_SERVER_NEW, SCRAM_SERVER_FIRST, SCRAM_SERVER_DONE };

struct scram_server {
	enum scram_server_state state;
	struct scram_verifier verifier; /* after SCRAM_OK with the client key that the proof has yielded */
	bool mock;
	char nonce[SCRAM_NONCE_LEN + 1];
	uint8_t cb_data[SCRAM_BINDING_MAX];
	size_t cb_len;
	bool plus;	       /* set by the caller once SCRAM-SHA-256-PLUS was chosen */
	char flag;	       /* 'n', 'y' or 'p', as the client said */
	struct buf both_nonce; /* the client's and ours */
	struct buf transcript; /* AuthMessage as it grows; holds no secret */
	const char *why;       /* after anything but SCRAM_OK: a constant sentence; NULL for a wrong proof */
};

/* Copies the verifier; with `mock` it never lets anyone in. cb_len > 0 says that SCRAM-SHA-256-PLUS was offered. The
 * nonce must pass scram_nonce_valid() and be at most SCRAM_NONCE_LEN characters. */
void scram_server_init(struct scram_server *s, const struct scram_verifier *v, bool mock, const char *nonce,
		       const uint8_t *cb_data, size_t cb_len);
/* The verifier of users we don't know: its salt is made of the key and the name, so it is the same each time. */
int scram_server_mock(const uint8_t mock_key[SCRAM_KEY_LEN], const char *user, uint32_t iterations,
		      struct scram_verifier *out) __attribute__((warn_unused_result));
/* Takes client-first-message, writes server-first-message. */
enum scram_result scram_server_first(struct scram_server *s, const uint8_t *msg, size_t len, struct buf *out);
/* Takes client-final-message; writes server-final-message only if the client is who it says. */
enum scram_result scram_server_final(struct scram_server *s, const uint8_t *msg, size_t len, struct buf *out);
void scram_server_release(struct scram_server *s); /* wipes; a zeroed struct is fine */

#endif
