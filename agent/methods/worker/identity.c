/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent/methods/place.h"
#include "agent/methods/prototypes.h"
#include "agent/methods/replace_alike.h"
#include "agent/methods/sysfs.h"
#include "agent/worker/worker.h"
#include "proto/cleanup.h"

#define HOST_NAME_MAX_ 64
#define LINE_MAX_      256
#define DMI            "/sys/class/dmi/id/"

/* The first line of a small file, without white space at its end; empty where there is none. */
static const char *first_line(char line[LINE_MAX_], const char *path)
{
	size_t len;

	if (sysfs_text(line, LINE_MAX_, "%s", path) < 0)
		line[0] = '\0';
	len = strcspn(line, "\n");
	while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t'))
		len--;
	line[len] = '\0';
	return line;
}

static void put_text(
	struct call *call, const char *text, protobuf_c_boolean *has, ProtobufCBinaryData *field)
{
	*has = *text != '\0';
	if (*has)
		*field = call_text(call, text);
}

static void read_line(
	struct call *call, const char *path, protobuf_c_boolean *has, ProtobufCBinaryData *field)
{
	char line[LINE_MAX_];

	put_text(call, first_line(line, path), has, field);
}

/* KEY="value" of machine-info(5). */
static void read_pretty(struct call *call, Postern__V1__IdentityGetReply *reply)
{
	AUTO_FILE FILE *file = fopen("/etc/machine-info", "re");
	static const char key[] = "PRETTY_HOSTNAME=";
	char line[512];

	while (file && fgets(line, sizeof(line), file)) {
		char *value = line + strlen(key);
		size_t len;

		if (strncmp(line, key, strlen(key)) != 0)
			continue;
		value += *value == '"';
		len = strcspn(value, "\"\n");
		reply->has_pretty_host_name = len > 0;
		reply->pretty_host_name = call_bytes(call, value, len);
	}
}

/* It stays as it is while the guest runs: a reader asks for it once. */
static void read_firmware(struct call *call, Postern__V1__IdentityGetReply *reply)
{
	static char vendor[LINE_MAX_], product[LINE_MAX_], version[LINE_MAX_], bios[LINE_MAX_];
	static bool known;
	Postern__V1__Firmware *firmware = arena_alloc(call->arena, sizeof(*firmware));

	if (!firmware)
		return;
	if (!known) {
		(void)first_line(vendor, DMI "sys_vendor");
		(void)first_line(product, DMI "product_name");
		(void)first_line(version, DMI "product_version");
		(void)first_line(bios, DMI "bios_version");
		known = true;
	}
	postern__v1__firmware__init(firmware);
	put_text(call, vendor, &firmware->has_vendor, &firmware->vendor);
	put_text(call, product, &firmware->has_product, &firmware->product);
	put_text(call, version, &firmware->has_version, &firmware->version);
	put_text(call, bios, &firmware->has_bios, &firmware->bios);
	if (firmware->has_vendor || firmware->has_product)
		reply->firmware = firmware;
}

static void read_cloud(struct call *call, Postern__V1__IdentityGetReply *reply)
{
	Postern__V1__Cloud *cloud = arena_alloc(call->arena, sizeof(*cloud));

	if (!cloud)
		return;
	postern__v1__cloud__init(cloud);
	read_line(call, "/run/cloud-init/cloud-id", &cloud->has_name, &cloud->name);
	read_line(call, "/var/lib/cloud/data/instance-id", &cloud->has_instance_id,
		&cloud->instance_id);
	if (cloud->has_name || cloud->has_instance_id)
		reply->cloud = cloud;
}

int identity_get(struct call *call, const Postern__V1__IdentityGetRequest *request,
	Postern__V1__IdentityGetReply *reply)
{
	struct utsname uts;

	(void)request;
	if (uname(&uts) < 0)
		return -errno;
	reply->has_host_name = true;
	reply->host_name = call_text(call, uts.nodename);
	read_line(call, "/etc/hostname", &reply->has_static_host_name, &reply->static_host_name);
	read_line(call, "/etc/machine-id", &reply->has_machine_id, &reply->machine_id);
	if (reply->has_machine_id && reply->machine_id.len != 32)
		reply->has_machine_id = false; /* "uninitialized" (machine-id(5)) */
	read_pretty(call, reply);
	read_firmware(call, reply);
	read_cloud(call, reply);
	return 0;
}

static bool is_label(const char *text, size_t len)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";

	return len > 0 && strspn(text, good) >= len && text[0] != '-' && text[len - 1] != '-';
}

/* hostname(7): labels with dots between them. */
static int check_name(struct call *call, const char *name)
{
	for (const char *at = name;;) {
		size_t len = strcspn(at, ".");

		if (!is_label(at, len))
			return call_fail(call, POSTERN__V1__CODE__INVALID_ARGUMENT, 0,
				"host_name: letters, digits and dashes, with single dots between "
				"(hostname(7))");
		if (at[len] == '\0')
			return 0;
		at += len + 1;
	}
}

static int write_static(struct call *call, const char *name)
{
	AUTO_CLOSE int dir = open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *line = arena_printf(call->arena, "%s\n", name);

	if (!line)
		return -ENOMEM;
	return dir < 0 ? -errno : alike_replace(dir, "hostname", 0644, line, strlen(line));
}

int identity_set_host_name(struct call *call,
	const Postern__V1__IdentitySetHostNameRequest *request,
	Postern__V1__IdentitySetHostNameReply *reply)
{
	char *name = call_string(
		call, request->has_host_name, &request->host_name, HOST_NAME_MAX_, "host_name");
	struct utsname uts;
	int r = name ? check_name(call, name) : -EINVAL;

	if (r == 0 && !request->transient)
		r = place_check(call, "/etc/hostname", TOUCH_WRITE);
	if (r < 0)
		return r;
	if (uname(&uts) < 0)
		return -errno;
	reply->has_before = true;
	reply->before = call_text(call, uts.nodename);
	worker_changing(call);
	/* The one that may fail first. */
	r = request->transient ? 0 : write_static(call, name);
	worker_touch_done(call);
	if (r < 0)
		return call_fail_errno(call, r, "/etc/hostname");
	if (sethostname(name, strlen(name)) < 0)
		return call_fail_errno(call, -errno, "the host name");
	return 0;
}
