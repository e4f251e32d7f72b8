/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/methods/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

int library_load(const char *name, const struct library_symbol *symbols, size_t n)
{
	void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (!library)
		return -ENOPKG;
	for (size_t i = 0; i < n; i++) {
		void *symbol = dlsym(library, symbols[i].name);

		if (!symbol)
			return -ENOPKG;
		memcpy(symbols[i].at, &symbol, sizeof(symbol));
	}
	return 0;
}
