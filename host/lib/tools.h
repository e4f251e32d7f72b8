/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the other programs and the guest's files are. The caller frees what it gets. */
#pragma once

/* A program of ours (postern-supervisor, postern-vsockd): in $POSTERN_LIBEXEC_DIR, beside the
 * running program (a build tree), or where it is installed. NULL: nowhere. */
char *tool_own(const char *name);

/* QEMU's system emulator of this architecture; $POSTERN_QEMU wins. */
char *tool_qemu(void);

/* virtiofsd; $POSTERN_VIRTIOFSD wins. */
char *tool_virtiofsd(void);

/* $XDG_CACHE_HOME/postern, /var/cache/postern for root, ~/.cache/postern. NULL: nowhere. */
char *tool_cache_dir(void);
