/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "agent/methods/disk_facts.h"
#include "agent/methods/disk_table.h"
#include "agent/methods/mount_entry.h"
#include "agent/methods/prototypes.h"
#include "proto/cleanup.h"

int disks_list_disks(struct call *call, const Postern__V1__DisksListDisksRequest *request,
	Postern__V1__DisksListDisksReply *reply)
{
	static struct disk_memo memo; /* a reader answers with it one after the other */
	struct libmnt_table *mounts = NULL;
	int r = mount_table_own(&mounts);

	(void)request;
	if (r < 0)
		return call_fail_errno(call, r, "the mount table");
	r = disk_table_read(call, &memo, mounts, &reply->disks, &reply->n_disks);
	mnt_unref_table(mounts);
	return r;
}
