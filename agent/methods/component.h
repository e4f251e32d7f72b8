/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A list of components that grows, in the call's arena. */
#pragma once

#include "agent/methods/call.h"
#include "messages.h"

#define COMPONENTS_MAX 2048 /* further ones are left out */

struct components {
	struct call *call;
	Postern__V1__Component **list;
	size_t n;
};

/* One more, with an id and a label of format's making: "module/ext4" is the module ext4. NULL: it
 * is one too many, or there is no memory. */
Postern__V1__Component *component_add(struct components *components,
	Postern__V1__ComponentType type, Postern__V1__ComponentState state, const char *kind,
	const char *name);

/* Texts of it; NULL and empty: it has none. */
void component_set_label(
	struct components *components, Postern__V1__Component *component, const char *text);
void component_set_version(
	struct components *components, Postern__V1__Component *component, const char *text);
void component_describe(
	struct components *components, Postern__V1__Component *component, const char *text);

/* components_kernel.c: modules, and virtio devices. */
void components_add_modules(struct components *components);
void components_add_devices(struct components *components);
