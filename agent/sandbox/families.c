/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/sandbox/families.h"

#include <endian.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "proto/cleanup.h"

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define OUR_ARCH AUDIT_ARCH_RISCV64
#else
#error "which architecture the kernel's filters call this one stands in linux/audit.h"
#endif

/* Of an argument, 64 bits wide, the half that holds a small number. */
#if __BYTE_ORDER == __LITTLE_ENDIAN
#define LOW_HALF 0
#else
#define LOW_HALF 4
#endif

#define X32_BIT 0x40000000u /* x86-64's other set of system calls */

#define LOAD(field)           BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (field))
#define ANSWER(what)          BPF_STMT(BPF_RET | BPF_K, (what))
#define SKIP_IF(op, k, n)     BPF_JUMP(BPF_JMP | (op) | BPF_K, (k), (n), 0)
#define SKIP_UNLESS(op, k, n) BPF_JUMP(BPF_JMP | (op) | BPF_K, (k), 0, (n))

int families_keep_local(void)
{
	/* A jump counts the instructions that it skips. */
	struct sock_filter rules[] = {
		LOAD(offsetof(struct seccomp_data, arch)),
		SKIP_IF(BPF_JEQ, OUR_ARCH, 1),
		ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
		LOAD(offsetof(struct seccomp_data, nr)),
		/* It opens sockets too, past filters (IORING_OP_SOCKET, Linux 5.19). */
		SKIP_IF(BPF_JEQ, SYS_io_uring_setup, 1),
		SKIP_UNLESS(BPF_JGE, X32_BIT, 1),
		ANSWER(SECCOMP_RET_ERRNO | ENOSYS),
		SKIP_IF(BPF_JEQ, SYS_socket, 1),
		ANSWER(SECCOMP_RET_ALLOW),
		LOAD(offsetof(struct seccomp_data, args[0]) + LOW_HALF),
		SKIP_IF(BPF_JEQ, AF_UNIX, 3),
		SKIP_IF(BPF_JEQ, AF_VSOCK, 2),
		SKIP_IF(BPF_JEQ, AF_NETLINK, 1),
		ANSWER(SECCOMP_RET_ERRNO | EAFNOSUPPORT),
		ANSWER(SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = ARRAY_SIZE(rules), .filter = rules};

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0 || errno == EINVAL)
		return 0;
	return -errno;
}
