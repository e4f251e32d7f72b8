# SPDX-License-Identifier: LGPL-2.1-or-later
"""What was measured: samples by name, the figures that are wished for, the table and the file."""

import json
import os
import statistics

# Name, what it is, and what is to be reached: ("<=", 1.2), (">=", 2.2), or None for a figure that is
# only reported. Where there are samples without a line here, the file has them and the table has not.
FIGURES = [
    ("ping_over_raw_ratio", "system.ping p50 / raw echo p50", ("<=", 1.20)),
    ("qga_ping_over_ping_ratio", "qemu-ga guest-ping p50 / system.ping p50", (">=", 2.2)),
    ("mounts_list_over_qga_fsinfo_ratio", "mounts.list p50 / qemu-ga guest-get-fsinfo p50", ("<=", 0.6)),
    ("mounts_mount_over_raw_ratio", "mounts.mount of a tmpfs p50 / raw echo p50", None),
    ("exec_over_forkexec_ratio", "exec of true to its exit record / fork, exec, wait in the guest", ("<=", 1.5)),
    ("exec_over_qga_ratio", "... / qemu-ga guest-exec with polling", ("<=", 0.8)),
    ("key_over_raw_ratio", "a key and its echo through vsh p50 / raw echo p50", ("<=", 1.6)),
    ("key_over_least_ratio", "... / a relay that does nothing else", None),
    ("list_files_over_find_ratio", "disks.list_files of 10,000 files / find in the guest", ("<=", 1.5)),
    ("footprint_over_sha256sum_ratio", "disks.get_file_footprint of 256 MiB / sha256sum in the guest", ("<=", 1.1)),
    ("disk_mounted_over_detected_ratio", "disks attach to mounted / disks add to the kernel's word of it", ("<=", 1.3)),
    *[(f"qga_{command}_ratio", f"{method} p50 / qemu-ga guest-{command.replace('_', '-')} p50", ("<=", 0.6))
      for command, method in (
          ("get_time", "time.get"), ("get_timezone", "time.zone"), ("get_host_name", "identity.get"),
          ("get_osinfo", "identity.get"), ("get_users", "users.list"), ("get_vcpus", "cpus.list"),
          ("get_memory_blocks", "memory.blocks"), ("get_memory_block_info", "memory.blocks"),
          ("network_get_interfaces", "network.interfaces"), ("get_disks", "disks.list_disks"),
          ("get_diskstats", "disks.stats"), ("fsfreeze_status", "filesystems.status"),
          ("ssh_get_authorized_keys", "users.get_keys"), ("file_read", "files.read"))],
    *[(f"qga_{command}_{kind}", f"{text} / {under}", wanted)
      for command, text in (
          ("set_time", "time.set"), ("fsfreeze", "filesystems.freeze and thaw"), ("fstrim", "filesystems.trim"),
          ("set_vcpus", "cpus.set of what is so"), ("ssh_keys", "users.add_keys and remove_keys"))
      for kind, under, wanted in (("ratio", "qemu-ga's", None),
                                  ("bound_ratio", "... and a spare worker's each", ("<=", 1.0)))],
    ("copy_to_guest_over_raw_ratio", "cp of 64 MiB to the guest / raw stream", (">=", 0.90)),
    ("copy_from_guest_over_raw_ratio", "cp of 64 MiB from the guest / raw stream", (">=", 0.90)),
    ("copy_over_qga_read_ratio", "cp from the guest / qemu-ga guest-file-read", (">=", 7)),
    ("copy_over_qga_write_ratio", "cp to the guest / qemu-ga guest-file-write", (">=", 20)),
    ("copy_to_guest_cpu_over_socat_ratio", "processor time of cp to the guest, both sides / socat", ("<=", 1.1)),
    ("copy_from_guest_cpu_over_socat_ratio", "... from the guest", ("<=", 1.1)),
    ("forward_from_guest_over_raw_ratio", "one TCP connection through forward, from the guest / raw stream", (">=", 0.85)),
    ("forward_to_guest_over_raw_ratio", "... to the guest", (">=", 0.85)),
    ("forward_from_guest_over_least_ratio", "... from the guest / a relay that does nothing else", None),
    ("forward_to_guest_over_least_ratio", "... to the guest", None),
    ("copy_to_guest_more_pss_kib", "agent's Pss during 1 GiB to the guest, minus before, KiB", ("<=", 256)),
    ("copy_from_guest_more_pss_kib", "... from the guest, KiB", ("<=", 256)),
    ("idle_pss_over_qga_ratio", "idle Pss / qemu-ga's, after the boot", ("<=", 1.0)),
    ("idle_private_dirty_over_qga_ratio", "idle Private_Dirty / qemu-ga's, after the boot", ("<=", 1.0)),
    ("used_pss_over_qga_ratio", "idle Pss / qemu-ga's, after the round trips", None),
    ("used_private_dirty_over_qga_ratio", "idle Private_Dirty / qemu-ga's, after the round trips", None),
    ("connection_pss_kib", "Pss of each further open connection, KiB", ("<=", 250)),
    ("idle_wakeups_besides_sampler", "wake-ups in 60 s idle, besides the sampler's own 6", ("<=", 0)),
    ("ready_over_bare_boot_ratio", "launch to ready / bare kernel's boot to init", ("<=", 1.35)),
    ("vsockd_over_peer_rtt_ratio", "postern-vsockd / vhost-device-vsock, round trip", ("<=", 1.0)),
    ("vsockd_over_peer_to_guest_4k_ratio", "... to the guest, 4 KiB", (">=", 1.5)),
    ("vsockd_over_peer_to_guest_64k_ratio", "... to the guest, 64 KiB", (">=", 1.0)),
    ("vsockd_over_peer_to_guest_256k_ratio", "... to the guest, 256 KiB", (">=", 1.0)),
    ("vsockd_over_peer_from_guest_4k_ratio", "... from the guest, 4 KiB", (">=", 1.5)),
    ("vsockd_over_peer_from_guest_64k_ratio", "... from the guest, 64 KiB", (">=", 1.0)),
    ("vsockd_over_peer_from_guest_256k_ratio", "... from the guest, 256 KiB", (">=", 1.0)),
]


class Results:
    """Samples of each figure. A ratio is of values of one round, never of medians of many."""

    def __init__(self):
        self.samples = {}
        self.skipped = {}

    def add(self, name, value):
        self.samples.setdefault(name, []).append(value)

    def ratio(self, name, over, under):
        """The ratio of what was added last under two names."""
        self.add(name, self.samples[over][-1] / self.samples[under][-1])

    def skip(self, part, why):
        self.skipped[part] = why

    def flat(self):
        out = {}
        for name, values in self.samples.items():
            out[f"{name}_median"] = statistics.median(values)
            out[f"{name}_lowest"] = min(values)
            out[f"{name}_highest"] = max(values)
            out[f"{name}_samples"] = len(values)
        for part, why in self.skipped.items():
            out[f"{part}_skipped"] = why
        return out

    def write(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            json.dump(self.flat(), file, indent=1, sort_keys=True)
            file.write("\n")

    def table(self):
        lines = [("figure", "median", "lowest", "highest", "n", "to reach", "")]
        for name, text, wanted in FIGURES:
            values = self.samples.get(name)
            if not values:
                continue
            middle = statistics.median(values)
            verdict = ""
            if wanted:
                reached = middle <= wanted[1] if wanted[0] == "<=" else middle >= wanted[1]
                verdict = "reached" if reached else "NOT REACHED"
            lines.append((text, *(f"{value:.2f}" for value in (middle, min(values), max(values))),
                          str(len(values)), f"{wanted[0]} {wanted[1]}" if wanted else "report", verdict))
        widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
        text = "\n".join("  ".join(cell.ljust(width) if column in (0, 6) else cell.rjust(width)
                                   for column, (cell, width) in enumerate(zip(line, widths))).rstrip()
                         for line in lines)
        for name, values in sorted(self.samples.items()):
            if not any(name == figure[0] for figure in FIGURES):
                text += f"\n  {name}: {statistics.median(values):.1f} " \
                        f"({min(values):.1f} to {max(values):.1f})"
        for part, why in self.skipped.items():
            text += f"\nSKIPPED {part}: {why}"
        return text
