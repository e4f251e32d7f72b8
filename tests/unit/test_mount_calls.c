/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kernel is told about a mount, call by call: its own mount calls are replaced here. */
/* needs: agent/methods/worker/mounts_mount.c agent/methods/worker/mount_options.c */
/* needs: agent/methods/worker/disk_serial.c agent/methods/worker/disk_bus.c proto/copy/open.c */
/* needs: agent/methods/worker/mount_remote.c agent/methods/worker/mount_source.c */
/* needs: agent/methods/worker/place.c agent/methods/mount_path.c agent/methods/mount_text.c */
/* needs: agent/methods/mount_entry.c agent/methods/call.c agent/row.c kmod-helpers/types.c */
/* libs: mount */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent/methods/kmod_client.h"
#include "agent/methods/mount_call.h"
#include "agent/methods/mount_options.h"
#include "agent/methods/mount_remote.h"
#include "agent/methods/mount_source.h"
#include "agent/methods/prototypes.h"
#include "agent/worker/worker.h"

static struct arena arena;
static char said[2048];     /* one line a call */
static int create_fails[4]; /* errno of each FSCONFIG_CMD_CREATE, in order */
static size_t creates;
static const char *missing; /* type whose module is not there */
static dev_t touched;       /* the device that was named last */
static dev_t touched_at_create;
static dev_t hung; /* one that somebody hangs on */
static char dir[] = "/tmp/postern-unit-XXXXXX";

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
	size_t len = strlen(said);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(said + len, sizeof(said) - len, format, args);
	va_end(args);
}

/* ---- in place of the kernel ---- */

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): the C library's are its own. */

int fsopen(const char *type, unsigned int flags)
{
	(void)flags;
	say("fsopen %s\n", type);
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int fsconfig(int fd, unsigned int command, const char *key, const void *value, int aux)
{
	(void)fd;
	(void)aux;
	if (command == FSCONFIG_SET_FLAG)
		say("%s\n", key);
	else if (command == FSCONFIG_SET_STRING)
		say("%s=%s\n", key, (const char *)value);
	else {
		say("create\n");
		touched_at_create = touched;
	}
	if (command != FSCONFIG_CMD_CREATE || create_fails[creates] == 0)
		return 0;
	errno = create_fails[creates++];
	return -1;
}

int fsmount(int fd, unsigned int flags, unsigned int attributes)
{
	(void)fd;
	(void)flags;
	say("fsmount %x\n", attributes);
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int move_mount(int from, const char *from_path, int to, const char *to_path, unsigned int flags)
{
	(void)from;
	(void)from_path;
	(void)to;
	(void)to_path;
	(void)flags;
	say("move_mount\n");
	return 0;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

/* The table shows what was moved there. */
int mount_look(struct call *call, const char *target, Postern__V1__MountEntry **ret_entry)
{
	static Postern__V1__MountEntry entry = POSTERN__V1__MOUNT_ENTRY__INIT;

	(void)call;
	(void)target;
	*ret_entry = strstr(said, "move_mount") ? &entry : NULL;
	return 0;
}

int mount_look_id(struct call *call, int id, Postern__V1__MountEntry **ret_entry, bool *ret_upon)
{
	(void)id;
	*ret_upon = false;
	return mount_look(call, dir, ret_entry);
}

int mount_settle(struct call *call, bool has, const ProtobufCBinaryData *bytes, bool mounted,
	Postern__V1__Outcome *ret)
{
	(void)call;
	(void)has;
	(void)bytes;
	(void)mounted;
	(void)ret;
	return 0;
}

int kmod_need(struct call *call, const struct fs_type *type)
{
	if (missing && strcmp(type->name, missing) == 0)
		return call_fail(call, POSTERN__V1__CODE__NOT_FOUND, ENOENT, "no module");
	return 0;
}

/* ---- in place of the broker ---- */

void worker_touch(struct call *call, dev_t device, enum touch how)
{
	(void)call;
	(void)how;
	/* The last one named, by what is mounted there. */
	touched = device;
}

void worker_touch_done(struct call *call)
{
	worker_touch(call, 0, TOUCH_LOOK);
}

void worker_changing(struct call *call)
{
	(void)call;
	say("changing\n");
}

bool worker_is_quarantined(struct call *call, dev_t device, enum touch how)
{
	(void)call;
	(void)how;
	return hung != 0 && device == hung;
}

/* ---- asking for one ---- */

/* Options as "key=value" words; the error's message, NULL: it was mounted. */
static const char *mount_it(
	const char *type, const char *source, const char *secret, const char *const words[])
{
	static struct call call;
	static Postern__V1__MountOption options[16];
	static Postern__V1__MountOption *list[16];
	struct mount_wish wish = {.target = dir, .options = list, .secret = secret};
	ProtobufCBinaryData bytes = {.data = (uint8_t *)source, .len = strlen(source)};
	Postern__V1__MountEntry *entry;
	int r;

	arena_done(&arena);
	arena_init(&arena, 1 << 20);
	call = (struct call){.arena = &arena};
	said[0] = '\0';
	creates = 0;
	for (; words && words[wish.n_options]; wish.n_options++) {
		const char *equals = strchr(words[wish.n_options], '=');
		Postern__V1__MountOption *option = list[wish.n_options] = &options[wish.n_options];

		postern__v1__mount_option__init(option);
		option->key = arena_copy(&arena, words[wish.n_options],
			equals ? (size_t)(equals - words[wish.n_options])
			       : strlen(words[wish.n_options]));
		option->has_value = equals != NULL;
		if (equals)
			option->value = (ProtobufCBinaryData){
				.data = (uint8_t *)equals + 1, .len = strlen(equals + 1)};
	}
	r = mount_type_check(&call, type, &wish.type);
	if (r == 0)
		r = mount_source_check(&call, true, &bytes, &wish);
	if (r == 0)
		r = mount_options_check(&call, wish.type, wish.options, wish.n_options);
	if (r == 0)
		r = mount_remote_check(&call, &wish);
	if (r == 0)
		r = mount_do(&call, &wish, &entry);
	memset(create_fails, 0, sizeof(create_fails));
	if (r == 0)
		return NULL;
	assert_non_null(call.error);
	return call.error->message;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

UNIT(ceph_gets_source_name_and_secret)
{
	assert_null(mount_it("ceph", "192.0.2.1:6789,[2001:db8::1]:3300,192.0.2.2:/data", "a2V5",
		WORDS("name=guest", "mds_namespace=main", "ro", "nodcache")));
	assert_string_equal(said, "fsopen ceph\n"
				  "source=192.0.2.1:6789,[2001:db8::1]:3300,192.0.2.2:/data\n"
				  "name=guest\n"
				  "mds_namespace=main\n"
				  "nodcache\n"
				  "ro\n"
				  "secret=a2V5\n"
				  "create\n"
				  "fsmount 7\n" /* RDONLY, NOSUID, NODEV */
				  "changing\nmove_mount\n");
}

UNIT(ceph_takes_the_newer_form_of_a_source)
{
	assert_null(mount_it("ceph", "guest@6a5b.main=/", NULL,
		WORDS("mon_addr=192.0.2.1:6789/[2001:db8::1]:6789")));
	assert_string_equal(said, "fsopen ceph\nsource=guest@6a5b.main=/\n"
				  "mon_addr=192.0.2.1:6789/[2001:db8::1]:6789\n"
				  "create\nfsmount 6\nchanging\nmove_mount\n");
}

UNIT(a_missing_module_comes_first)
{
	missing = "ceph";
	assert_string_equal(mount_it("ceph", "192.0.2.1:/", NULL, NULL), "no module");
	assert_string_equal(said, "");
	missing = NULL;
}

UNIT(ceph_errors_are_the_kernels)
{
	create_fails[0] = ECONNREFUSED;
	assert_string_equal(
		mount_it("ceph", "192.0.2.1:/", "a2V5", NULL), "192.0.2.1:/: Connection refused");
	assert_null(strstr(said, "fsmount"));
}

UNIT(nfs_gets_address_and_the_newest_version)
{
	assert_null(mount_it("nfs4", "192.0.2.1:/export", NULL, WORDS("soft", "timeo=50")));
	assert_string_equal(said,
		"fsopen nfs4\nsource=192.0.2.1:/export\nsoft\ntimeo=50\n"
		"addr=192.0.2.1\nvers=4.2\ncreate\nfsmount 6\nchanging\nmove_mount\n");
	assert_null(mount_it("nfs4", "[2001:db8::1]:/", NULL, NULL));
	assert_non_null(strstr(said, "source=[2001:db8::1]:/\naddr=2001:db8::1\n"));
}

UNIT(nfs_falls_back_by_version)
{
	create_fails[0] = create_fails[1] = EPROTONOSUPPORT;
	assert_null(mount_it("nfs4", "192.0.2.1:/e", NULL, WORDS("vers=4")));
	assert_non_null(strstr(said, "vers=4.2\ncreate\n"));
	assert_non_null(strstr(said, "vers=4.1\ncreate\n"));
	assert_non_null(strstr(said, "vers=4.0\ncreate\nfsmount"));
	create_fails[0] = create_fails[1] = create_fails[2] = EPROTONOSUPPORT;
	assert_string_equal(mount_it("nfs4", "192.0.2.1:/e", NULL, NULL),
		"192.0.2.1:/e: Protocol not supported");
	/* Another error is an answer. */
	create_fails[0] = EACCES;
	assert_string_equal(mount_it("nfs4", "192.0.2.1:/e", NULL, NULL),
		"192.0.2.1:/e: the server refuses it: the user, the secret, or what this guest may "
		"have");
	assert_null(strstr(said, "vers=4.1"));
}

UNIT(a_version_that_was_asked_for_is_the_only_one)
{
	create_fails[0] = EPROTONOSUPPORT;
	assert_non_null(mount_it("nfs4", "192.0.2.1:/e", NULL, WORDS("vers=4.1")));
	assert_string_equal(said, "fsopen nfs4\nsource=192.0.2.1:/e\nvers=4.1\naddr=192.0.2.1\n"
				  "create\n");
}

UNIT(a_name_needs_the_address_beside_it)
{
	assert_null(mount_it("nfs4", "nas:/e", NULL, WORDS("addr=192.0.2.1")));
	assert_string_equal(said, "fsopen nfs4\nsource=nas:/e\naddr=192.0.2.1\nvers=4.2\ncreate\n"
				  "fsmount 6\nchanging\nmove_mount\n");
	assert_null(mount_it("cifs", "//nas/data", NULL, WORDS("ip=2001:db8::1")));
	assert_string_equal(said, "fsopen cifs\nsource=//nas/data\nip=2001:db8::1\ncreate\n"
				  "fsmount 6\nchanging\nmove_mount\n");
}

UNIT(cifs_gets_address_and_password)
{
	assert_null(mount_it("cifs", "//192.0.2.1/data/sub", "pa,ss=", WORDS("username=guest")));
	assert_string_equal(said,
		"fsopen cifs\nsource=//192.0.2.1/data/sub\nusername=guest\n"
		"ip=192.0.2.1\npass=pa,ss=\ncreate\nfsmount 6\nchanging\nmove_mount\n");
}

UNIT(ninep_is_always_virtio)
{
	assert_null(mount_it("9p", "tag", NULL, WORDS("msize=131072")));
	assert_string_equal(said, "fsopen 9p\nsource=tag\nmsize=131072\ntrans=virtio\ncreate\n"
				  "fsmount 6\nchanging\nmove_mount\n");
	assert_string_equal(mount_it("9p", "192.0.2.1", NULL, WORDS("trans=tcp")),
		"options: trans is not an option that 9p may be mounted with");
}

UNIT(what_no_server_can_be_is_refused_before_the_kernel)
{
	static const struct {
		const char *type, *source, *option, *words;
	} refused[] = {
		{"nfs4", "nas:/e", NULL, "nas is no address"},
		{"nfs4", "nas:/e", "addr=other", "addr is no address"},
		{"nfs4", "192.0.2.1", NULL, "expected HOST:/PATH"},
		{"nfs4", ":/e", NULL, "expected HOST:/PATH"},
		{"nfs4", "2001:db8::1:/e", NULL, "expected HOST:/PATH"},
		{"nfs4", "192.0.2.1:/e", "vers=3", "vers of nfs4"},
		{"nfs4", "192.0.2.1:/e", "vers=4.20", "vers of nfs4"},
		{"nfs4", "192.0.2.1:/e", "minorversion=1", "minorversion is not an option"},
		{"nfs4", "192.0.2.1:/e", "sloppy", "sloppy is not an option"},
		{"cifs", "192.0.2.1", NULL, "expected //HOST/SHARE"},
		{"cifs", "//192.0.2.1", NULL, "expected //HOST/SHARE"},
		{"cifs", "//192.0.2.1/", NULL, "expected //HOST/SHARE"},
		{"cifs", "///data", NULL, "expected //HOST/SHARE"},
		{"cifs", "//nas/data", NULL, "nas is no address"},
		{"cifs", "//192.0.2.1/d", "unc=//192.0.2.2/d", "unc is not an option"},
		{"cifs", "//192.0.2.1/d", "pass=x", "pass is a secret"},
		{"cifs", "//192.0.2.1/d", "password=x", "password is a secret"},
		{"ceph", "192.0.2.1", NULL, "expected MON,MON:/PATH"},
		{"ceph", "192.0.2.1/data", NULL, "expected MON,MON:/PATH"},
		{"ceph", "mon1:/data", NULL, "mon1 is no address"},
		{"ceph", "192.0.2.1,mon2:6789:/data", NULL, "mon2:6789 is no address"},
		{"ceph", "192.0.2.1:x:/data", NULL, "192.0.2.1:x is no address"},
		{"ceph", "a@b.c=/", NULL, "mon_addr must be given"},
		{"ceph", "a@b.c=/", "mon_addr=mon1", "mon_addr: mon1 is no address"},
		{"ceph", "192.0.2.1:/", "secret=x", "secret is a secret"},
	};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		const char *words[] = {refused[i].option, NULL};
		const char *why = mount_it(refused[i].type, refused[i].source, NULL, words);

		assert_non_null(why);
		if (!strstr(why, refused[i].words))
			fail_msg("%s %s: %s", refused[i].type, refused[i].source, why);
		assert_string_equal(said, "");
	}
}

static dev_t device_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_dev;
}

UNIT(a_target_where_somebody_hangs_is_not_touched)
{
	hung = device_of("/tmp");
	assert_non_null(strstr(mount_it("tmpfs", "", NULL, NULL), "does not respond"));
	assert_string_equal(said, "");
	hung = 0;
	assert_null(mount_it("tmpfs", "", NULL, NULL));
	/* Should it hang while the file system is made, the target is not to blame. */
	assert_int_equal(touched_at_create, 0);
	assert_int_equal(touched, 0);
}

UNIT(a_type_whose_mounts_hang_is_not_mounted_again)
{
	size_t n;

	assert_null(mount_it("virtiofs", "tag", NULL, NULL));
	hung = touched_at_create;
	assert_true(hung == DEVICE_OF_NEW(fs_type_find("virtiofs") - fs_types(&n)));
	assert_non_null(strstr(mount_it("virtiofs", "tag", NULL, NULL), "somebody hangs"));
	assert_string_equal(said, "");
	assert_null(mount_it("9p", "tag", NULL, NULL));
	hung = 0;
}

UNIT(layers_are_looked_at_before_the_overlay_is_made)
{
	assert_null(mount_it("overlay", "", NULL, WORDS("lowerdir=/proc:/sys")));
	assert_int_equal(touched_at_create, device_of("/sys"));
	assert_null(mount_it("overlay", "", NULL,
		WORDS("upperdir=/proc", "workdir=/sys", "lowerdir=/sys::/dev")));
	assert_int_equal(touched_at_create, device_of("/proc"));
	hung = device_of("/sys");
	assert_non_null(strstr(mount_it("overlay", "", NULL, WORDS("lowerdir=/proc:/sys/kernel")),
		"/sys/kernel: the file system at /sys does not respond"));
	assert_string_equal(said, "");
	hung = 0;
}

UNIT(layers_are_absolute_paths_without_links)
{
	static const struct {
		const char *option, *words;
	} refused[] = {
		{"lowerdir=proc", "lowerdir: "},
		{"lowerdir=/proc:", "lowerdir: "},
		{"lowerdir=/proc/../sys", "lowerdir: "},
		{"upperdir=/proc/self/fd", "a symbolic link"},
		{"lowerdir=/proc/no\\:such", "/proc/no:such: no such folder"},
	};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		const char *why = mount_it("overlay", "", NULL, WORDS(refused[i].option));

		assert_non_null(why);
		if (!strstr(why, refused[i].words))
			fail_msg("%s: %s", refused[i].option, why);
		assert_string_equal(said, "");
	}
}

static int set_up(void **state)
{
	(void)state;
	arena_init(&arena, 1 << 20);
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	arena_done(&arena);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ceph_gets_source_name_and_secret),
		cmocka_unit_test(test_ceph_takes_the_newer_form_of_a_source),
		cmocka_unit_test(test_a_missing_module_comes_first),
		cmocka_unit_test(test_ceph_errors_are_the_kernels),
		cmocka_unit_test(test_nfs_gets_address_and_the_newest_version),
		cmocka_unit_test(test_nfs_falls_back_by_version),
		cmocka_unit_test(test_a_version_that_was_asked_for_is_the_only_one),
		cmocka_unit_test(test_a_name_needs_the_address_beside_it),
		cmocka_unit_test(test_cifs_gets_address_and_password),
		cmocka_unit_test(test_ninep_is_always_virtio),
		cmocka_unit_test(test_what_no_server_can_be_is_refused_before_the_kernel),
		cmocka_unit_test(test_a_target_where_somebody_hangs_is_not_touched),
		cmocka_unit_test(test_a_type_whose_mounts_hang_is_not_mounted_again),
		cmocka_unit_test(test_layers_are_looked_at_before_the_overlay_is_made),
		cmocka_unit_test(test_layers_are_absolute_paths_without_links),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
