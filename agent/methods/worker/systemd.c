/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/systemd.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include <systemd/sd-bus.h>


#define LIBRARY      "libsystemd.so.0"
#define PRIVATE      "unix:path=/run/systemd/private"
#define DESTINATION  "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define MANAGER      "org.freedesktop.systemd1.Manager"

/* The functions of the library that are used; the header gives their types. */
static struct {
	__typeof__(sd_bus_new) *new;
	__typeof__(sd_bus_set_address) *set_address;
	__typeof__(sd_bus_start) *start;
	__typeof__(sd_bus_call_method) *call_method;
	__typeof__(sd_bus_flush_close_unref) *flush_close_unref;
} bus_library;

static int load(void)
{
	static const struct {
		const char *name;
		void *at;
	} symbols[] = {
		{"sd_bus_new", &bus_library.new},
		{"sd_bus_set_address", &bus_library.set_address},
		{"sd_bus_start", &bus_library.start},
		{"sd_bus_call_method", &bus_library.call_method},
		{"sd_bus_flush_close_unref", &bus_library.flush_close_unref},
	};
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (!library)
		return -ENOPKG;
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *symbol = dlsym(library, symbols[i].name);

		if (!symbol)
			return -ENOPKG;
		memcpy(symbols[i].at, &symbol, sizeof(symbol));
	}
	return 0;
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

int systemd_manager_call(const char *method)
{
	sd_bus *bus;
	int r = connect_manager(&bus);

	if (r < 0)
		return r;
	r = bus_library.call_method(bus, DESTINATION, MANAGER_PATH, MANAGER, method, NULL, NULL, "");
	bus_library.flush_close_unref(bus);
	return r < 0 ? r : 0;
}
