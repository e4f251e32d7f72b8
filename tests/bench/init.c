/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole of a bare initramfs: says on the console that the kernel has started it, and waits. */
#include <string.h>
#include <unistd.h>

int main(void)
{
	static const char marker[] = "bare init\n";

	/* The kernel has opened /dev/console for it. Should that fail, the benchmark's wait ends.
	 */
	(void)!write(STDOUT_FILENO, marker, strlen(marker));
	for (;;)
		(void)pause();
}
