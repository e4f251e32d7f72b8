/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection to a Postern agent: connect, hello, calls, notifications. Used by libpostern, whose
 * public interface this is, and by the guest's own command line.
 *
 * The core never blocks: it has a descriptor, wants events, and is dispatched, so that it fits into
 * any event loop. The blocking functions at the end run that same core in a poll() of their own.
 *
 * The agent is not trusted: every frame is bounded and checked before it is decoded, an answer with
 * an id that was never used ends the connection (a late or second one is dropped), and text is
 * handed over as it came (use postern_escape() before a terminal sees it).
 *
 * A client belongs to one thread at a time; different clients may be used by different threads at
 * once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* How a call went wrong. The command line's exit codes are these numbers. */
enum postern_failure {
	POSTERN_DONE = 0,
	POSTERN_ANSWERED = 1,  /* the agent or the VMM answered with an error */
	POSTERN_USAGE = 2,     /* the arguments are wrong; nothing was sent */
	POSTERN_REFUSED = 3,   /* denied by policy, not logged in, or turned away */
	POSTERN_ABSENT = 4,    /* no such VM, nobody listens, or the connection was lost */
	POSTERN_TIMED_OUT = 5, /* no answer in time */
	POSTERN_PROTOCOL = 6,  /* the other side broke the protocol */
};

/* Is the change of a failed mutating call in effect? Values as in error.proto. */
enum postern_outcome {
	POSTERN_OUTCOME_NONE = 0,
	POSTERN_NOT_DONE = 1,
	POSTERN_IN_EFFECT = 2,
	POSTERN_UNKNOWN = 3,
};

struct postern_error {
	enum postern_failure failure;
	int code;      /* the agent's canonical code (error.proto), 0 where it did not answer */
	int sys_errno; /* errno of the kernel that failed, there or here; 0: none */
	enum postern_outcome outcome;
	char message[512]; /* one sentence; from the agent it is escaped already */
	char rule[256];    /* of a denial: "FILE:LINE", escaped; else empty */
	/* The agent's Error message, packed, for its details; NULL when there is none. Owned by the
	 * structure: postern_error_clear() frees it. */
	uint8_t *packed;
	size_t packed_len;
	uint64_t reserved[4];
};

/* Frees what the error owns and empties it. NULL is allowed. */
void postern_error_clear(struct postern_error *error);

struct postern_client;

/* Zero means the default, throughout. */
struct postern_options {
	const char *name;       /* of this program, told in the hello; NULL: "libpostern" */
	uint32_t max_frame;     /* highest frame accepted, bytes; 0: 4 MiB; at most 16 MiB */
	uint32_t connect_ms;    /* for connect and hello together; 0: 5000 */
	uint32_t call_grace_ms; /* waited beyond a call's own timeout before giving up; 0: 2000 */
	uint64_t reserved[4];   /* zero */
};

/* What the hello told. Strings are escaped and live as long as the client. */
struct postern_peer {
	uint32_t major, minor;
	const char *agent_version;
	const char *identity; /* what the agent takes us for */
	uint8_t boot_id[16];
	uint64_t generation; /* compare for equality only */
	uint64_t epoch;
};

/*
 * The end, or one part, of a call. error is NULL for a result; more says that further calls of this
 * function follow. result and error are borrowed. Closing the client in here is not allowed.
 */
typedef void (*postern_reply_fn)(void *ctx, const struct postern_error *error,
	const uint8_t *result, size_t result_len, bool more);

/*
 * Starts to connect to an address:
 *   vsock:CID[:PORT]   AF_VSOCK
 *   unix:PATH[:PORT]   hybrid socket of postern-vsockd, Firecracker, Cloud Hypervisor
 *   local:[PATH]       the guest's own socket, /run/postern/agent.sock
 * PORT is 767 unless told. Returns 0, or -errno with *error filled: -EINVAL (address), -ENOMEM,
 * or that of socket() or connect(). options may be NULL. Does not block. The caller frees with
 * postern_client_close().
 */
int postern_client_start(const char *address, const struct postern_options *options,
	struct postern_client **ret_client, struct postern_error *error);

/* Takes a connected stream (fd, owned from now on even on failure) in place of an address. */
int postern_client_start_fd(int fd, const struct postern_options *options,
	struct postern_client **ret_client, struct postern_error *error);

/* Closes; open calls end without their function being called. NULL is allowed. Does not block. */
void postern_client_close(struct postern_client *client);

/* For an event loop: the descriptor, borrowed. It may change until the client is ready. */
int postern_client_fd(const struct postern_client *client);

/* The poll() events that the client waits for: ask again after each dispatch and each call. */
short postern_client_events(const struct postern_client *client);

/* When to dispatch at the latest: CLOCK_MONOTONIC in ns, UINT64_MAX: never. */
uint64_t postern_client_deadline(const struct postern_client *client);

/* Does what can be done without blocking and calls the functions of what happened. Returns 0, or
 * -errno once the connection has ended; *error then tells why, and every open call has been told.
 */
int postern_client_dispatch(struct postern_client *client, struct postern_error *error);

/* True once the hello is through. */
bool postern_client_ready(const struct postern_client *client);

/* What the hello told; NULL before postern_client_ready(). */
const struct postern_peer *postern_client_peer(const struct postern_client *client);

/*
 * Starts a call. params[0..len) is the rpc's request message, packed (copied here). timeout_ms 0
 * is the method's default. Returns 0 and *ret_id, or -errno: -ENOMEM, -EMSGSIZE (over what the
 * agent accepts), -ENOTCONN (before the hello). Does not block.
 */
int postern_call_start(struct postern_client *client, const char *method, const uint8_t *params,
	size_t len, uint32_t timeout_ms, postern_reply_fn fn, void *ctx, uint64_t *ret_id);

/* Asks the agent to end a call; nothing where it has ended already. Its function is still called,
 * with the result or an error. 0, or -errno as postern_call_start() does. Does not block. */
int postern_call_cancel(struct postern_client *client, uint64_t id);

/* ---- Blocking ---- */

/* Connects and says hello, within options->connect_ms. 0 or -errno with *error filled. */
int postern_client_open(const char *address, const struct postern_options *options,
	struct postern_client **ret_client, struct postern_error *error);

/*
 * One call to its end. fn is called for each part of the answer but the error, which comes back in
 * *error. 0, or -errno: -EREMOTEIO when the agent answered with an error.
 */
int postern_call(struct postern_client *client, const char *method, const uint8_t *params,
	size_t len, uint32_t timeout_ms, postern_reply_fn fn, void *ctx,
	struct postern_error *error);

/* Dispatches for at most timeout_ms (-1: for ever), or until fd (-1: none) can be read: then 1.
 * 0 after something was dispatched or the time is over; -errno when the connection has ended. */
int postern_client_wait(
	struct postern_client *client, int timeout_ms, int fd, struct postern_error *error);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
