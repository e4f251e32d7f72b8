/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Starts, once, every executable of /etc/postern/start.d in the order of their names: what a small
 * guest is there for. They are reaped like everything else, and not started again. */
void start_programs(void);
