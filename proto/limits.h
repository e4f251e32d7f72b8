/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every limit of the wire, in one place. */
#pragma once

#define POSTERN_MAJOR 1
#define POSTERN_MINOR 0

#define POSTERN_PORT       767  /* below 1024: no unprivileged guest process can take it first */
#define POSTERN_READY_PORT 7670 /* on the host: where the agent says that it is ready */

/* Frames, in bytes without the length itself. */
#define FRAME_HEADER_MAX   5
#define FRAME_HELLO_MAX    (4u << 10) /* until the hello is through */
#define FRAME_DEFAULT_MAX  (1u << 20) /* what the agent accepts, and sends unless told more */
#define FRAME_CEILING      (16u << 20)
#define FRAME_HOST_MAX     (4u << 20) /* what the host's library accepts unless told more */
#define FRAME_DEADLINE_MS  10000      /* from a frame's first byte to its last */
#define FRAME_MIN_MAX_SIZE 4096       /* the least that a caller may ask answers to fit in */

/* One message, before it is decoded. */
#define VERIFY_DEPTH            16    /* nested messages */
#define VERIFY_ELEMENTS         4096  /* of one repeated field, from a caller */
#define VERIFY_ELEMENTS_TOTAL   16384 /* of all fields of a body together */
#define VERIFY_HOST_ELEMENTS    65536 /* the same, from the agent */
#define VERIFY_UNKNOWN          64    /* unknown fields of a body */
#define VERIFY_SINGULAR_REPEATS 16    /* occurrences of a number or text that should come once */
#define VERIFY_FIELDS           64    /* fields of one message of ours; a test holds us to it */

/* Decoded messages: their structures need up to 80 times the bytes of the wire. */
#define ARENA_REQUEST_MAX (4u << 20)
#define ARENA_HOST_MAX    (64u << 20)

/* A connection to the agent. */
#define HELLO_DEADLINE_MS     5000 /* from accept to the first byte, and then to the hello */
#define OPEN_REQUESTS_MAX     32
#define OUTPUT_PAUSE          (1u << 20) /* bytes not taken yet: no new request is read */
#define OUTPUT_STALLED_MS     30000      /* ... for so long: the connection ends */
#define SUBSCRIPTIONS_MAX     16
#define HOST_CLIENT_NAME_MAX  128
#define CHANNEL_PREAMBLE_SIZE 20
#define CHANNEL_TOKEN_MS      10000 /* from the answer that granted it to its use */

/* The agent as a whole. */
#define PENDING_MAX          128 /* connections that have not said a byte */
#define SESSIONS_MAX         64
#define SESSIONS_EACH_MAX    48 /* of one identity, so that nobody locks the others out */
#define SESSIONS_REFUSED_MAX 4  /* of an identity that no rule lets do anything */
#define SESSIONS_USERS_MAX   16 /* of all users of the guest but root, who may have many ids */
#define SESSIONS_USER_MAX    8  /* of one of them */
#define WORKERS_MAX          16
#define WORKERS_EACH_MAX     12 /* of one connection */
#define LANES_MAX            16 /* processes that serve one request after another */
#define LANES_WAITING_MAX    64 /* for one of them */
#define LANES_EACH_MAX       12 /* of one connection */
#define JOBS_MAX             64 /* programs that run, and records of those that ended */
#define JOBS_RUNNING_MAX     32
#define JOBS_RUNNING_EACH    24           /* of one identity */
#define CHANNELS_MAX         128          /* open, and granted */
#define CHANNELS_EACH_MAX    96           /* of one identity */
#define RIDES_MAX            8            /* channels inside the frames of a connection */
#define RIDE_WINDOW          (256u << 10) /* bytes of one that are held for who does not read */
#define FREEZE_MOST          256          /* file systems */
#define FREEZE_LEAST_MS      100          /* lease of frozen file systems */
#define FREEZE_MOST_MS       900000       /* ... so long, then they thaw */
#define STUCK_MANY           16 /* processes that do not end: only what may help them is begun */
#define STUCK_MAX            64 /* ... that are listed: also what was under way by then */
#define EVENT_RING_ENTRIES   4096
#define EVENT_RING_BYTES     (1u << 20)

/* Properties, and who has promised signs of life. */
#define PROPERTY_KEY_MAX     255
#define PROPERTY_VALUE_MAX   (32u << 10)
#define PROPERTY_TOLD_MAX    256 /* bytes of a value that are told with an event */
#define PROPERTIES_MAX       512 /* the host's; as many of root, and of all other users together */
#define PROPERTIES_BYTES     (1u << 20) /* the same */
#define PROPERTIES_USER_MAX  64         /* one user's who is not root */
#define PROPERTIES_USER_SIZE (128u << 10)
#define PROPERTY_USERS_MAX   64 /* such users that have some */
#define PROPERTY_TTL_MS      UINT64_C(31536000000)
#define HEARTBEAT_NAME_MAX   64
#define HEARTBEATS_MAX       64 /* programs */
#define HEARTBEATS_USERS_MAX 48 /* ... of all users but root */
#define HEARTBEATS_USER_MAX  16 /* ... of one user */
#define HEARTBEAT_LEAST_MS   100
#define HEARTBEAT_MOST_MS    86400000

/* The channel of logs.read, which carries frames. */
#define LOG_RECORD_MAX (32u << 10)

/* The channel of files.watch, which does so too: two paths and little besides. */
#define WATCH_RECORD_MAX (16u << 10)
