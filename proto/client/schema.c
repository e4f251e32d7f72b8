/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which messages a method takes: from the .proto's own descriptors. */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "proto/client/json.h"
#include "proto/client/services.h"

#define NAME_MAX_ 128

/* "SystemLoad" to "system_load"; between the words separator. */
static size_t to_snake(const char *camel, char separator, char *out, size_t size)
{
	size_t n = 0;

	for (const char *at = camel; *at && n + 2 < size; at++) {
		if (isupper((unsigned char)*at) && at != camel)
			out[n++] = separator;
		out[n++] = (char)tolower((unsigned char)*at);
	}
	out[n] = '\0';
	return n;
}

/* "mounts.list" of an rpc; "notify.mounts.mount" of a topic. */
static void name_of(const ProtobufCServiceDescriptor *service, const ProtobufCMethodDescriptor *rpc,
	char name[NAME_MAX_])
{
	bool topic = strncmp(service->short_name, "Notify", 6) == 0;
	size_t n = to_snake(service->short_name, topic ? '.' : '_', name, NAME_MAX_ / 2);

	name[n++] = '.';
	to_snake(rpc->name, '_', name + n, NAME_MAX_ - n);
}

int schema_find(const char *method, struct method_schema *ret_schema)
{
	for (size_t i = 0; postern_services[i]; i++)
		for (unsigned int j = 0; j < postern_services[i]->n_methods; j++) {
			const ProtobufCMethodDescriptor *rpc = &postern_services[i]->methods[j];
			char name[NAME_MAX_];

			name_of(postern_services[i], rpc, name);
			if (strcmp(name, method) != 0)
				continue;
			*ret_schema = (struct method_schema){rpc->input, rpc->output};
			return 0;
		}
	return -ENOENT;
}
