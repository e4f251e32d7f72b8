/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the other programs and the guest's files are. The caller frees what it gets. */
#pragma once

/* The folder of libpostern.so, or where this is in no library that of the running program. NULL:
 * not known. */
char *tool_self_dir(void);

/* A program of ours (postern-supervisor, posternd): in $POSTERN_LIBEXEC_DIR, in
 * tool_self_dir() (a build tree), in ../libexec/postern or ../sbin from there, or where it was to
 * be installed. NULL: nowhere. */
char *tool_own(const char *name);

/* virtiofsd; $POSTERN_VIRTIOFSD wins. */
char *tool_virtiofsd(void);

/* $XDG_CACHE_HOME/postern, /var/cache/postern for root, ~/.cache/postern. NULL: nowhere. */
char *tool_cache_dir(void);
