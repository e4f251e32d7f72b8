/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/cli/seat.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "host/cli/ending.h"
#include "host/cli/terminal.h"
#include "host/common/fail.h"
#include "proto/cleanup.h"

#define ROWS       24
#define COLUMNS    80
#define INTERRUPTS 3 /* so many: we leave although the program goes on */

void seat_size(uint16_t *ret_rows, uint16_t *ret_columns)
{
	if (terminal_size(STDIN_FILENO, ret_rows, ret_columns) == 0 ||
		terminal_size(STDOUT_FILENO, ret_rows, ret_columns) == 0)
		return;
	*ret_rows = ROWS;
	*ret_columns = COLUMNS;
}

/* What would end us is the program's; at a raw terminal the keys are. */
static int watch_signals(struct seat *seat)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

	(void)signal(SIGPIPE, SIG_IGN);
	seat->signals = ending_open(signals, seat->raw ? 0 : ARRAY_SIZE(signals));
	if (seat->signals < 0)
		return seat->signals;
	return seat->raw ? terminal_watch_size(&seat->sizes) : 0;
}

int seat_take(struct seat *seat, bool terminal)
{
	*seat = (struct seat){.signals = -EBADF, .sizes = -EBADF};
	if (terminal && isatty(STDIN_FILENO))
		seat->raw = terminal_raw(STDIN_FILENO) == 0;
	return watch_signals(seat);
}

void seat_leave(struct seat *seat)
{
	terminal_restore();
	seat->signals = fd_close(seat->signals);
	seat->sizes = fd_close(seat->sizes);
}

struct pollfd seat_signals(const struct seat *seat)
{
	return (struct pollfd){.fd = seat->signals, .events = POLLIN};
}

struct pollfd seat_sizes(const struct seat *seat)
{
	return (struct pollfd){.fd = seat->sizes, .events = POLLIN};
}

uint32_t seat_next_signal(struct seat *seat)
{
	struct signalfd_siginfo info;

	if (read(seat->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return 0;
	seat->left |= ++seat->interrupts >= INTERRUPTS;
	return info.ssi_signo;
}

bool seat_new_size(struct seat *seat, uint16_t *ret_rows, uint16_t *ret_columns)
{
	terminal_size_seen(seat->sizes);
	return terminal_size(STDIN_FILENO, ret_rows, ret_columns) == 0;
}

void seat_read(struct seat *seat, struct flow *in, const struct pollfd *source)
{
	bool waited = flow_is_empty(in);

	if (flow_take(in, source) < 0)
		in->ended = true;
	if (seat->raw && waited && !flow_is_empty(in))
		seat->left |= flow_typed(in, &seat->escape);
}

bool seat_write(struct seat *seat, struct flow *out, const struct pollfd *target)
{
	bool first;
	int r;

	if (seat->unread)
		out->at = out->end;
	r = flow_give(out, target);
	if (r == 0)
		return false;
	if (r != -EPIPE && seat->error == 0)
		seat->error = -r;
	out->at = out->end;
	first = !seat->unread;
	seat->unread = true;
	return first;
}

void seat_check(const struct seat *seat, struct postern_error *error)
{
	if (seat->error != 0 && error->failure == POSTERN_DONE)
		(void)fail_errno(error, POSTERN_ANSWERED, seat->error,
			"standard output, of which something is lost");
}
