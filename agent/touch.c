/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/touch.h"

#include <sys/mman.h>
#include <unistd.h>

#include "agent/inner.h"
#include "proto/cleanup.h"

struct touched *touch_open(int broker)
{
	struct inner_message message = {.kind = INNER_TOUCH};
	AUTO_CLOSE int fd = memfd_create("touch", MFD_CLOEXEC);
	void *at;

	if (fd < 0 || ftruncate(fd, sizeof(struct touched)) < 0)
		return NULL;
	at = mmap(NULL, sizeof(struct touched), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return NULL;
	(void)inner_send(broker, &message, NULL, &fd, 1);
	return at;
}

void touch_set(struct touched *touch, uint64_t device, enum touch how)
{
	if (!touch)
		return;
	/* Whoever reads it does so when this process has stopped. */
	__atomic_store_n(&touch->how, how, __ATOMIC_RELAXED);
	__atomic_store_n(&touch->device, device, __ATOMIC_RELEASE);
}

void touch_close(struct touched *touch, int broker)
{
	struct inner_message message = {.kind = INNER_TOUCH};

	if (!touch)
		return;
	(void)munmap(touch, sizeof(*touch));
	(void)inner_send(broker, &message, NULL, NULL, 0);
}

struct touched touch_read(int fd)
{
	struct touched touch;

	if (fd < 0 || pread(fd, &touch, sizeof(touch), 0) != (ssize_t)sizeof(touch))
		return (struct touched){0};
	return touch;
}
