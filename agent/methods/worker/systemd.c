/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/systemd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <systemd/sd-bus.h>

#include "agent/methods/library.h"
#include "proto/cleanup.h"
#include "proto/clock.h"

#define PRIVATE      "unix:path=/run/systemd/private"
#define DESTINATION  "org.freedesktop.systemd1"
#define UNIT         "org.freedesktop.systemd1.Unit"
#define UNIT_PREFIX  "/org/freedesktop/systemd1/unit"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define MANAGER      "org.freedesktop.systemd1.Manager"

#define START_MS 20000
#define LOOK_NS  20000000 /* between two looks at a unit that is starting */

/* The functions of the library that are used; the header gives their types. */
static struct {
	__typeof__(sd_bus_new) *new;
	__typeof__(sd_bus_set_address) *set_address;
	__typeof__(sd_bus_start) *start;
	__typeof__(sd_bus_call_method) *call_method;
	__typeof__(sd_bus_get_property_string) *get_property_string;
	__typeof__(sd_bus_get_property) *get_property;
	__typeof__(sd_bus_message_read) *message_read;
	__typeof__(sd_bus_message_unref) *message_unref;
	__typeof__(sd_bus_path_encode) *path_encode;
	__typeof__(sd_bus_flush_close_unref) *flush_close_unref;
} bus_library;

static int load(void)
{
	static const struct library_symbol symbols[] = {
		{"sd_bus_new", &bus_library.new},
		{"sd_bus_set_address", &bus_library.set_address},
		{"sd_bus_start", &bus_library.start},
		{"sd_bus_call_method", &bus_library.call_method},
		{"sd_bus_get_property_string", &bus_library.get_property_string},
		{"sd_bus_get_property", &bus_library.get_property},
		{"sd_bus_message_read", &bus_library.message_read},
		{"sd_bus_message_unref", &bus_library.message_unref},
		{"sd_bus_path_encode", &bus_library.path_encode},
		{"sd_bus_flush_close_unref", &bus_library.flush_close_unref},
	};

	return library_load(LIBSYSTEMD, symbols, ARRAY_SIZE(symbols));
}

static int connect_manager(sd_bus **ret_bus)
{
	sd_bus *bus = NULL;
	int r = load();

	if (r == 0)
		r = bus_library.new(&bus);
	if (r >= 0)
		r = bus_library.set_address(bus, PRIVATE);
	if (r >= 0)
		r = bus_library.start(bus);
	if (r < 0) {
		if (bus)
			bus_library.flush_close_unref(bus);
		return r;
	}
	*ret_bus = bus;
	return 0;
}

int systemd_available(void)
{
	sd_bus *bus;
	int r = connect_manager(&bus);

	if (r == 0)
		bus_library.flush_close_unref(bus);
	return r;
}

int systemd_reload(void)
{
	sd_bus *bus;
	int r = connect_manager(&bus);

	if (r < 0)
		return r;
	r = bus_library.call_method(
		bus, DESTINATION, MANAGER_PATH, MANAGER, "Reload", NULL, NULL, "");
	bus_library.flush_close_unref(bus);
	return r < 0 ? r : 0;
}

static int queue(const char *method, const char *name, const char *mode)
{
	sd_bus *bus;
	int r = connect_manager(&bus);

	if (r < 0)
		return r;
	r = bus_library.call_method(
		bus, DESTINATION, MANAGER_PATH, MANAGER, method, NULL, NULL, "ss", name, mode);
	bus_library.flush_close_unref(bus);
	return r < 0 ? r : 0;
}

int systemd_start(const char *name)
{
	return queue("StartUnit", name, "replace");
}

int systemd_stop(const char *name)
{
	return queue("StopUnit", name, "replace");
}

int systemd_start_for_good(const char *name)
{
	/* Not the manager's own PowerOff and the like: these stop no service, they kill all. */
	return queue("StartUnit", name, "replace-irreversibly");
}

/* Whether a job of the unit is waiting or running: until then its state says nothing. */
static bool has_job(sd_bus *bus, const char *path)
{
	sd_bus_message *reply = NULL;
	const char *job_path;
	uint32_t job = 0;

	if (bus_library.get_property(bus, DESTINATION, path, UNIT, "Job", NULL, &reply, "(uo)") >=
		0)
		(void)bus_library.message_read(reply, "(uo)", &job, &job_path);
	bus_library.message_unref(reply);
	return job != 0;
}

int systemd_unit_is_active(const char *name)
{
	AUTO_FREE char *path = NULL, *state = NULL;
	sd_bus *bus;
	int r = connect_manager(&bus);

	if (r < 0)
		return r;
	r = bus_library.path_encode(UNIT_PREFIX, name, &path);
	if (r >= 0)
		r = bus_library.get_property_string(
			bus, DESTINATION, path, UNIT, "ActiveState", NULL, &state);
	bus_library.flush_close_unref(bus);
	return r < 0 ? r : strcmp(state, "active") == 0;
}

/* Waits until nothing is to be done with the unit any more: then it is active, or has failed. */
static int wait_active(sd_bus *bus, const char *name)
{
	uint64_t until = monotonic_ns() + START_MS * NSEC_PER_MSEC;
	AUTO_FREE char *path = NULL;
	int r = bus_library.path_encode(UNIT_PREFIX, name, &path);

	while (r >= 0) {
		AUTO_FREE char *state = NULL;
		bool busy = has_job(bus, path);

		r = bus_library.get_property_string(
			bus, DESTINATION, path, UNIT, "ActiveState", NULL, &state);
		if (r >= 0 && !busy)
			return strcmp(state, "active") == 0 ? 0 : -EIO;
		if (monotonic_ns() >= until)
			return -ETIMEDOUT;
		(void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
	}
	return r;
}

int systemd_restart(const char *name)
{
	int r = systemd_unit_is_active(name);
	sd_bus *bus;

	if (r <= 0)
		return r;
	r = connect_manager(&bus);
	if (r < 0)
		return r;
	r = bus_library.call_method(bus, DESTINATION, MANAGER_PATH, MANAGER, "RestartUnit", NULL,
		NULL, "ss", name, "replace");
	if (r >= 0)
		r = wait_active(bus, name);
	bus_library.flush_close_unref(bus);
	return r;
}

static int start_unit(sd_bus *bus, const struct mount_unit *unit, bool transient)
{
	if (!transient)
		return bus_library.call_method(bus, DESTINATION, MANAGER_PATH, MANAGER, "StartUnit",
			NULL, NULL, "ss", unit->name, "replace");
	return bus_library.call_method(bus, DESTINATION, MANAGER_PATH, MANAGER,
		"StartTransientUnit", NULL, NULL, "ssa(sv)a(sa(sv))", unit->name, "replace", 4,
		"Description", "s", "Share mounted by Postern", "What", "s", unit->what, "Type",
		"s", unit->type, "Options", "s", unit->options ? unit->options : "defaults", 0);
}

int systemd_mount_start(const struct mount_unit *unit, bool transient)
{
	sd_bus *bus;
	int r = connect_manager(&bus);

	if (r < 0)
		return r;
	r = start_unit(bus, unit, transient);
	if (r >= 0)
		r = wait_active(bus, unit->name);
	if (r < 0)
		(void)bus_library.call_method(bus, DESTINATION, MANAGER_PATH, MANAGER,
			"ResetFailedUnit", NULL, NULL, "s", unit->name);
	bus_library.flush_close_unref(bus);
	return r;
}

void systemd_reset_failed(const char *name)
{
	sd_bus *bus;

	if (connect_manager(&bus) < 0)
		return;
	(void)bus_library.call_method(
		bus, DESTINATION, MANAGER_PATH, MANAGER, "ResetFailedUnit", NULL, NULL, "s", name);
	bus_library.flush_close_unref(bus);
}
