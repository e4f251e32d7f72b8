# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian guests, with systemd or OpenRC, and the agent installed as an administrator would."""

import contextlib
import glob
import lzma
import os
import shutil
import subprocess
import tempfile

import qemu
from wire import BUILD

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.abspath(BUILD)
TREE = f"{BUILD}/debian/root"
OPENRC_TREE = f"{BUILD}/openrc/root"

# What the kernel starts first, and only finds the root: Debian's own initramfs looks for the drivers of a whole
# PC, which takes longer than all the rest of a boot.
INITRD = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs devtmpfs /dev
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
init=/sbin/init
for word in $($b cat /proc/cmdline); do
	case $word in
	root=*) root=${word#*=} ;;
	init=*) init=${word#*=} ;;
	resume=*) resume=${word#*=} ;;
	esac
done
$b insmod /virtio_blk.ko
# Does not return where somebody sleeps there; where in it, the kernel has of its own command line.
[ -z "$resume" ] || $b cat "/sys/block/${resume#/dev/}/dev" >/sys/power/resume
$b mount -t ext4 "$root" /root
for dir in dev proc sys run; do $b mount -o move /$dir /root/$dir; done
exec $b switch_root /root "$init"
"""

CMDLINE = "rw console=ttyS0 quiet systemd.show_status=0"
# Nobody breaks into these guests, and the kernel's tests of its own ciphers are not ours.
FAST = "mitigations=off cryptomgr.notests lsm=capability audit=0"

SYSTEMD_WITNESS = """[Unit]
DefaultDependencies=no
After=systemd-modules-load.service
[Service]
ExecStart=/usr/bin/witness
Restart=always
[Install]
WantedBy=sysinit.target
"""

OPENRC_WITNESS = """#!/sbin/openrc-run
command=/usr/bin/witness
command_background=yes
pidfile=/run/witness.pid
"""


# What systemd would start at each boot of a guest that has no terminal and lives for a minute. Without
# hardware virtualisation each of them takes its tenths of a second, and so does the agent behind them.
UNUSED_UNITS = """
getty.target timers.target e2scrub_reap.service systemd-pstore.service systemd-repart.service
systemd-random-seed.service systemd-update-utmp.service systemd-update-utmp-runlevel.service
systemd-user-sessions.service systemd-journal-flush.service systemd-journald-audit.socket
systemd-ask-password-console.path systemd-ask-password-wall.path systemd-sysctl.service
kmod-static-nodes.service systemd-tmpfiles-setup-dev.service dev-hugepages.mount dev-mqueue.mount
sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount
proc-sys-fs-binfmt_misc.automount
""".split()

# Run at each boot, and at each daemon-reload.
UNUSED_GENERATORS = """cryptsetup debug getty gpt-auto hibernate-resume integritysetup rc-local run
system-update sysv veritysetup""".split()

# The drivers of a whole PC are not looked for, only those of the devices that the guest has.
UDEV_TRIGGER = """[Service]
ExecStart=
ExecStart=udevadm trigger --type=devices --action=add --subsystem-match=virtio --subsystem-match=block
"""


def chroot(tree, *command):
    return subprocess.run(["chroot", tree, *command], check=True, capture_output=True, text=True,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


def write(path, text, mode=0o644):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def prepare_systemd(tree):
    chroot(tree, "systemd-sysusers")
    chroot(tree, "systemctl", "mask", *UNUSED_UNITS)
    os.mkdir(f"{tree}/etc/systemd/system-generators")
    for name in UNUSED_GENERATORS:
        os.symlink("/dev/null", f"{tree}/etc/systemd/system-generators/systemd-{name}-generator")
    os.mkdir(f"{tree}/etc/systemd/system/systemd-udev-trigger.service.d")
    write(f"{tree}/etc/systemd/system/systemd-udev-trigger.service.d/less.conf", UDEV_TRIGGER)
    write(f"{tree}/etc/modules-load.d/witness.conf", "vmw_vsock_virtio_transport\n")
    write(f"{tree}/etc/systemd/system/witness.service", SYSTEMD_WITNESS)
    chroot(tree, "systemctl", "enable", "witness.service")


def prepare_openrc(tree):
    subprocess.run(["cp", "-a", f"{TREE}/usr/lib/modules", f"{tree}/usr/lib"], check=True)
    write(f"{tree}/etc/modules", "vmw_vsock_virtio_transport\n")
    write(f"{tree}/etc/fstab", "/dev/vda / ext4 defaults 0 0\n")
    write(f"{tree}/etc/init.d/witness", OPENRC_WITNESS, 0o755)
    # Debian's other scripts do what the initramfs has done and the kernel does at the end, and without
    # hardware virtualisation they take their time, even to be looked at.
    kept = {"rc", "rcS", "halt", "reboot", "kmod", "umountroot", "witness", "posternd"}
    for folder in ("init.d", "runlevels/sysinit", "runlevels/default", "runlevels/recovery", "runlevels/off"):
        for name in set(os.listdir(f"{tree}/etc/{folder}")) - kept:
            os.unlink(f"{tree}/etc/{folder}/{name}")
    chroot(tree, "rc-update", "add", "witness", "default")
    # There is no terminal but the console.
    with open(f"{tree}/etc/inittab") as table:
        lines = [line for line in table if "getty" not in line]
    write(f"{tree}/etc/inittab", "".join(lines))


@contextlib.contextmanager
def filled_tree(source=TREE):
    """A copy of the source tree with the agent and the witness in it, gone afterwards."""
    tree = tempfile.mkdtemp(prefix="postern-test-")
    try:
        subprocess.run(["cp", "-a", f"{source}/.", tree], check=True)
        subprocess.run(["make", "-s", "install-agent", f"DESTDIR={tree}", f"B={BUILD}"], cwd=ROOT, check=True,
                       capture_output=True)
        shutil.copy(f"{BUILD}/tests/witness", f"{tree}/usr/bin/witness")
        (prepare_openrc if source == OPENRC_TREE else prepare_systemd)(tree)
        yield tree
    finally:
        shutil.rmtree(tree)


def make_initrd(path):
    with tempfile.TemporaryDirectory(prefix="postern-test-") as tree:
        for folder in ("bin", "dev", "proc", "sys", "run", "root"):
            os.mkdir(f"{tree}/{folder}")
        shutil.copy("/usr/bin/busybox", f"{tree}/bin/busybox")
        write(f"{tree}/init", INITRD, 0o755)
        driver, = glob.glob(f"{TREE}/usr/lib/modules/*/kernel/drivers/block/virtio_blk.ko.xz")
        with lzma.open(driver) as packed, open(f"{tree}/virtio_blk.ko", "wb") as file:
            shutil.copyfileobj(packed, file)
        names = subprocess.run(["find", "."], cwd=tree, check=True, capture_output=True).stdout
        with open(path, "wb") as file:
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=tree, input=names, stdout=file, check=True)


def make_image(path, extra=None, source=TREE, install=True):
    """Writes a filled tree as an ext4 image, and PATH.initrd that finds it. install: with the agent's service,
    by `posternd install`. extra(tree) may add to it."""
    make_initrd(f"{path}.initrd")
    with filled_tree(source) as tree:
        if install:
            chroot(tree, "posternd", "install", "--no-start")
        if extra:
            extra(tree)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, path, "1200M"], check=True)


GRUB_MENU = f"""set root=(hd0,msdos1)
linux /vmlinuz root=/dev/vda1 {CMDLINE} {FAST}
initrd /initrd.img
boot
"""


def make_disk(path):
    """A disk of the systemd guest with a partition and a boot loader: nothing is told from outside. Its kernel and
    its initramfs are Debian's.
    As grub-install(8) lays it out: the boot sector, and behind it the rest up to the partition."""
    start, sectors = 2048, 1200 << 11
    image = f"{path}.part"
    make_image(image)
    write(f"{path}.grub", GRUB_MENU)
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-c", f"{path}.grub",
                    "-o", f"{path}.core", "biosdisk", "part_msdos", "ext2", "linux"], check=True)
    with open("/usr/lib/grub/i386-pc/boot.img", "rb") as file:
        boot = file.read()[:440]
    with open(f"{path}.core", "rb") as file:
        core = file.read()
    assert len(core) < (start - 1) * 512
    with open(path, "wb") as disk:
        disk.truncate((start + sectors) * 512)
        disk.write(boot)
        disk.seek(512)
        disk.write(core)
    subprocess.run(["sfdisk", "-q", path], input=f"{start},{sectors},L,*\n", text=True, check=True)
    subprocess.run(["dd", "status=none", f"if={image}", f"of={path}", "bs=1M", "seek=1",
                    "conv=notrunc,sparse"], check=True)
    os.unlink(image)


def launch_options(image, *words, fast=True):
    """For `postern launch`; words go to the kernel's command line. fast: with what makes emulation quicker."""
    return ["--kernel", f"{BUILD}/debian/vmlinuz", "--initrd", f"{image}.initrd", "--image", image,
            *(qemu.ROOMY if fast else ("--memory", "512M")), "--timeout", "300",
            "--cmdline-add", " ".join(["root=/dev/vda", CMDLINE, *([FAST] if fast else []), *words])]
