/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands of the guest's own command line: posternd COMMAND. Each returns an exit code. */
#pragma once

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include "agent/config/config.h"
#include "proto/client/client.h"

struct ctl_command {
	const char *name;
	const char *arguments;
	const char *summary;
	bool has_settings; /* it reads the settings: --config means something */
	/* settings is the file of --config, NULL where none was given; argv[0] is the command. */
	int (*run)(const char *settings, int argc, char **argv);
};

int ctl_property(const char *settings, int argc, char **argv);
int ctl_heartbeat(const char *settings, int argc, char **argv);
int ctl_call(const char *settings, int argc, char **argv);
int ctl_remount(const char *settings, int argc, char **argv);
int ctl_methods(const char *settings, int argc, char **argv);
int ctl_check_config(const char *settings, int argc, char **argv);
int ctl_explain(const char *settings, int argc, char **argv);
int ctl_install(const char *settings, int argc, char **argv);
int ctl_uninstall(const char *settings, int argc, char **argv);

/* Settings of the file (NULL: the default one, which need not exist) and the kernel command line.
 * 0, or an exit code with the reason in the log. */
int ctl_settings(const char *file, struct config *ret);

/* Connects to the agent of the settings. 0, or an exit code after saying why. */
int ctl_connect(const char *settings, struct postern_client **ret_client);

/* Logs the error, clears it, and returns its exit code. */
int ctl_report(struct postern_error *error);

/* One call, on a connection of its own, to its answer, which is of one part. take (NULL: it is of
 * no interest) is given the reply. 0, or an exit code after saying why. */
int ctl_ask(const char *settings, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *reply,
	int (*take)(void *ctx, const ProtobufCMessage *reply), void *ctx);

/* Seconds, as "30" or "0.5", in milliseconds. 0 or -EINVAL. */
int ctl_seconds(const char *text, uint64_t *ret_ms);
