/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files of a VM's directory. */
#pragma once

#define VM_FILE_CONFIG  "vm.json"        /* what it is made of (vm_config.h) */
#define VM_FILE_LOCK    "lock"           /* locked for as long as its supervisor lives */
#define VM_FILE_CONTROL "control.sock"   /* the supervisor's control socket */
#define VM_FILE_VSOCK   "vsock.sock"     /* hybrid socket of postern-vsockd */
#define VM_FILE_END     "end.json"       /* how the last VM of this name ended */
#define VM_FILE_LOG     "supervisor.log" /* of the supervisor and its helpers */
#define VM_FILE_SHARES  "shares.json"    /* persistent shares, for the next VM of this name */
#define VM_FILE_SHARE   "share-%u.sock"  /* the virtiofsd of a slot, until the VMM has connected */
#define VM_FILE_API     "api.sock"       /* of a VMM that is driven over HTTP */
#define VM_FILE_RESTORE "restore"        /* folder: what a restored VMM reads */

/* Descriptors that a supervisor is started with. */
#define SUPERVISOR_FD_LOCK    3 /* holds the lock of VM_FILE_LOCK */
#define SUPERVISOR_FD_CONTROL 4 /* listens at VM_FILE_CONTROL */
#define SUPERVISOR_FD_LEASE   5 /* holds the lease of the CID */
#define SUPERVISOR_FD_VHOST   6 /* /dev/vhost-vsock with the CID set, where the kernel's is used */
