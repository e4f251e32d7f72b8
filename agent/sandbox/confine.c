/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/sandbox/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/row.h"
#include "agent/sandbox/families.h"
#include "proto/cleanup.h"
#include "proto/log.h"

static const char *const role_names[] = {
	[ROLE_BROKER] = "broker",
	[ROLE_SESSION] = "session",
	[ROLE_WATCH] = "watch",
	[ROLE_READER] = "reader",
	[ROLE_WORKER] = "worker",
	[ROLE_JOB] = "job",
	[ROLE_KMOD] = "kmod",
};

const char *role_name(enum role role)
{
	return role_names[role];
}

/* Sets permitted and effective; what is inheritable is always empty. */
static int set_caps(uint64_t permitted, uint64_t effective)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {
		{.permitted = (uint32_t)permitted, .effective = (uint32_t)effective},
		{.permitted = (uint32_t)(permitted >> 32),
			.effective = (uint32_t)(effective >> 32)},
	};

	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

static int get_permitted(uint64_t *ret)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	*ret = data[0].permitted | (uint64_t)data[1].permitted << 32;
	return 0;
}

/* No program run from here on can gain what keep does not hold. */
static int drop_bounding(uint64_t keep)
{
	for (int cap = 0; cap <= 63; cap++) {
		if (keep >> cap & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL) /* the kernel's last capability is behind us */
				break;
			return -errno;
		}
	}
	return 0;
}

/* The id of the first mount in a table: mount ids are the kernel's, so two tables that begin with
 * the same one are of the same namespace. -1 where it cannot be read. */
static int first_mount_id(const char *path)
{
	AUTO_FILE FILE *file = fopen(path, "re");
	int id;

	return file && fscanf(file, "%d", &id) == 1 ? id : -1;
}

/* Joins the mount namespace of process 1, where mounts are seen by all. */
static int join_mounts_of_init(void)
{
	AUTO_CLOSE int theirs = -EBADF;
	int own = first_mount_id("/proc/self/mountinfo");

	if (own >= 0 && own == first_mount_id("/proc/1/mountinfo"))
		return 0;
	theirs = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (theirs < 0 || setns(theirs, CLONE_NEWNS) < 0)
		return -errno;
	return 0;
}

static int become_unprivileged(const struct confinement *c)
{
	int r = drop_bounding(0);

	if (r < 0)
		return r;
	if (setgroups(0, NULL) < 0 || setresgid(c->gid, c->gid, c->gid) < 0 ||
		setresuid(c->uid, c->uid, c->uid) < 0)
		return -errno;
	return set_caps(0, 0);
}

/* Which row it will be is not known yet: what any of them has, and what cutting it down needs. */
static uint64_t most_of_workers(void)
{
	uint64_t caps = UINT64_C(1) << CAP_SETPCAP;

	for (int i = 0; i < METHOD_COUNT; i++)
		caps |= method_rows[i].caps;
	return caps;
}

static int become_worker(void)
{
	uint64_t permitted = 0, most = most_of_workers();
	int r = get_permitted(&permitted);

	if (r == 0)
		r = drop_bounding(most);
	if (r < 0)
		return r;
	if (prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0) < 0)
		return -errno;
	if (setgroups(0, NULL) < 0)
		return -errno;
	return set_caps(permitted & most, 0);
}

static int become_job(void)
{
	uint64_t permitted = 0;
	int r = get_permitted(&permitted);

	if (r == 0 && setgroups(0, NULL) < 0)
		r = -errno;
	return r < 0 ? r : set_caps(permitted, 0);
}

static int confine(const struct confinement *c)
{
	int r = 0;

	if (c->role == ROLE_READER || c->role == ROLE_WORKER || c->role == ROLE_JOB)
		r = join_mounts_of_init();
	if (r < 0)
		return r;
	if (c->role == ROLE_SESSION && (chroot(c->empty_dir) < 0 || chdir("/") < 0))
		return -errno;
	if (c->role == ROLE_JOB)
		r = become_job();
	else if (c->role == ROLE_WORKER)
		r = become_worker();
	else
		r = become_unprivileged(c);
	if (r < 0)
		return r;
	/* A program that is run for somebody may be setuid; it is nobody's part of the agent. */
	if (c->role != ROLE_JOB && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	/* A worker's row may be about the network: worker_keep(). */
	return c->role == ROLE_JOB || c->role == ROLE_WORKER ? 0 : families_keep_local();
}

int confine_end_with(pid_t parent)
{
	/* One that died before this line leaves us to another. */
	return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent ? -ESRCH : 0;
}

int confine_from_args(int argc, char **argv, struct confinement *ret)
{
	pid_t parent = getppid();
	int r = -EINVAL;

	*ret = (struct confinement){0};
	if (confine_end_with(parent) < 0)
		return -ESRCH;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(0022);
	if (argc != 5)
		goto fail;
	for (int i = ROLE_SESSION; i <= ROLE_JOB; i++)
		if (strcmp(argv[1], role_names[i]) == 0)
			ret->role = (enum role)i;
	ret->uid = (uid_t)strtoul(argv[2], NULL, 10);
	ret->gid = (gid_t)strtoul(argv[3], NULL, 10);
	ret->empty_dir = argv[4];
	if (ret->role == ROLE_BROKER || ret->uid == 0 || ret->gid == 0)
		goto fail;
	r = confine(ret);
	/* Changing credentials clears it. */
	if (r == 0)
		r = confine_end_with(parent);
	if (r == 0)
		return 0;
fail:
	log_error("this program is started by posternd only (%s)", strerror(-r));
	return r;
}

int confine_unit_job(void)
{
	struct confinement c = {.role = ROLE_JOB};
	int r;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(0022);
	r = geteuid() == 0 ? confine(&c) : -EPERM;
	if (r < 0)
		log_error("postern-job: %s", strerror(-r));
	return r;
}

bool confine_has(uint64_t caps)
{
	uint64_t permitted = 0;

	return get_permitted(&permitted) == 0 && (permitted & caps) == caps;
}

int confine_give_up(uint64_t caps)
{
	uint64_t permitted = 0;
	int r = get_permitted(&permitted);

	if (r == 0)
		r = drop_bounding(~caps);
	return r < 0 ? r : set_caps(permitted & ~caps, permitted & ~caps);
}

int confine_keeper(uint64_t caps)
{
	pid_t parent = getppid();
	int r = drop_bounding(caps);

	if (confine_end_with(parent) < 0)
		return -ESRCH;
	if (r == 0)
		r = set_caps(caps, 0);
	if (r == 0 && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
			      prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0))
		r = -errno;
	return r;
}

int worker_keep(uint64_t caps, bool network)
{
	int r;

	/* Dropping from the bounding set needs CAP_SETPCAP for a moment. */
	r = set_caps(caps | (UINT64_C(1) << CAP_SETPCAP), UINT64_C(1) << CAP_SETPCAP);
	if (r == 0)
		r = drop_bounding(caps);
	if (r == 0)
		r = set_caps(caps, 0);
	if (r == 0 && !network)
		r = families_keep_local();
	return r;
}

int worker_raise(uint64_t caps)
{
	return set_caps(caps, caps);
}

int worker_lower(uint64_t caps)
{
	return set_caps(caps, 0);
}

int job_raise(void)
{
	uint64_t permitted = 0;
	int r = get_permitted(&permitted);

	return r < 0 ? r : set_caps(permitted, permitted);
}

int job_keep(uint64_t caps)
{
	uint64_t permitted = 0;
	int r = get_permitted(&permitted);

	if (r == 0)
		r = drop_bounding(caps);
	if (r < 0)
		return r;
	/* The program has its rights; what this process might be made to run has none. */
	if (prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0) < 0 ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return set_caps(permitted & caps, permitted & caps);
}
