#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The main job in front of the reader: a real guest, and every command with what it really prints.
set -u

B=${B:-build}
PATH=$(cd "$B" && pwd):$PATH
VM=demo
work=$(mktemp -d /tmp/postern-demo.XXXXXX)
export POSTERN_RUNTIME_DIR="$work/run"
mkdir -m 700 "$POSTERN_RUNTIME_DIR"
failed=0
started=$(date +%s)

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$(printf '\033[1m') dim=$(printf '\033[2m') plain=$(printf '\033[0m')
else
	bold='' dim='' plain=''
fi

clean_up() {
	stop_events
	[ -z "${forward:-}" ] || kill "$forward" 2>/dev/null
	postern stop -f $VM >/dev/null 2>&1
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# start_events WORD...: events in this terminal while the commands go on, a mark before each. Of the
# snapshot the mounts are left out: they have just been listed.
start_events() {
	mkfifo "$work/pipe"
	sed -u -e '/notify.*\[snapshot\]/d' -e "s/^/    ${dim}event >${plain} /" <"$work/pipe" |
		tee "$work/events" &
	printer=$!
	postern events "$@" >"$work/pipe" &
	events=$!
}

stop_events() {
	[ -n "${events:-}" ] || return 0
	kill "$events" 2>/dev/null
	wait "$events" "$printer" 2>/dev/null
	events=
}

# happened TEXT: until an event with it was printed, for at most ten seconds.
happened() {
	tries=0
	until grep -qs "$1" "$work/events"; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || { echo "no event says: $1"; failed=$((failed + 1)); return 1; }
		sleep 0.1
	done
}

# step "what it shows"
step() {
	printf '\n%s# %s%s\n' "$dim" "$1" "$plain"
}

show() {
	printf '%s$ %s%s\n' "$bold" "$*" "$plain"
}

# run COMMAND...: shown, then run; it must succeed.
run() {
	show "$@"
	"$@"
	got=$?
	if [ $got != 0 ]; then
		failed=$((failed + 1))
		printf '%s! exit code %d%s\n' "$bold" $got "$plain"
	fi
}

# refused CODE COMMAND...: shown, then run; it must fail with this exit code.
refused() {
	want=$1
	shift
	show "$@"
	"$@"
	got=$?
	printf '(exit code %d)\n' $got
	[ $got = "$want" ] || failed=$((failed + 1))
}

# wait_for FILE: until it is there, for at most ten seconds.
wait_for() {
	tries=0
	until [ -e "$1" ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || { echo "$1 did not appear"; failed=$((failed + 1)); return 1; }
		sleep 0.1
	done
}

step "A guest starts. Its agent tells the host that it is ready, and is asked then; launch returns
# with its answer. Nobody sleeps, nobody polls.
# (--add puts busybox and a small program of the demo into the guest.)"
run postern launch $VM --cmdline-add postern.sample_interval=1 \
	--add "$(command -v busybox)":/usr/bin/busybox \
	--add "$(dirname "$0")/workload":/etc/postern/start.d/workload
[ $failed = 0 ] || exit 1

step "Which machines run here."
run postern list

step "What guest and agent say of themselves."
run postern info $VM

step "The guest's mount table, with usage."
run postern mounts list $VM --usage

step "What happens in the guest, and to its machine, is printed as it happens: from here on such lines
# come in between, by a command in the background."
show "postern events $VM 'notify.mounts.*' 'notify.shares.*' 'vm.*' --snapshot &"
start_events $VM 'notify.mounts.*' 'notify.shares.*' 'vm.*' --snapshot
happened "vm.state"

step "A folder of this machine comes into the running guest by one command: a virtiofs device is
# plugged in through QMP, then the agent mounts it."
mkdir "$work/share"
echo "written on the host" >"$work/share/from-host"
run postern shares add $VM "$work/share" /mnt/data
happened "notify.shares.mount.*/mnt/data"
run postern shares list $VM

step "A program of the guest reads the host's file and writes one back."
run cat "$work/share/from-host"
wait_for "$work/share/from-guest" && run cat "$work/share/from-guest"

step "Another mount comes and goes."
run postern mounts mount $VM /mnt/scratch --type tmpfs --option size=1m --create
happened "notify.mounts.mount.*/mnt/scratch"
run postern mounts unmount $VM /mnt/scratch
happened "notify.mounts.unmount.*/mnt/scratch"

step "That program now holds a file open. The unmount is refused, and says who, and with what."
: >"$work/share/please-hold"
wait_for "$work/share/held"
refused 1 postern mounts unmount $VM /mnt/data

step "It lets go, and the share can be taken away: unmounted in the guest, then unplugged."
rm "$work/share/please-hold"
wait_for "$work/share/let-go"
run postern shares remove $VM /mnt/data
happened "vm.share.*removed"

step "The load, now and over time (sampled each second for this demo)."
run postern load $VM
run postern load $VM --history --show cpu_percent

step "A kernel module is loaded by postern-kmod, the only program of the agent that may."
run postern modules load $VM dummy

step "One that is not on its list is refused."
refused 1 postern modules load $VM floppy

step "The balloon takes 16,384 pages (64 MiB) of the guest's 256 MiB, and gives them back."
run postern balloon-stats $VM
run postern balloon $VM 16384
run postern balloon-stats $VM
run postern balloon $VM 0
run postern balloon-stats $VM

step "The guest's vsock sockets, and whose they are."
run postern ports $VM

step "Programs and files are not for the host, unless the guest's policy says so."
refused 3 postern exec $VM -- busybox uname -a

step "The guest is asked to go down, and nothing is left behind."
run postern stop $VM
happened "vm.state *ended"
stop_events
run postern list

step "Another guest has one line of policy more."
echo "allow host exec.* copy.* forward.*" >"$work/exec.policy"
run cat "$work/exec.policy"
run postern launch $VM --add "$(command -v busybox)":/usr/bin/busybox \
	--add "$work/exec.policy":/etc/postern/policy.d/60-exec.policy

step "A program: its input and output are ours, and so is its exit code."
echo 'from the host' | refused 3 postern exec $VM -- busybox sh -c 'busybox tr a-z A-Z; exit 3'

step "A shell, here in a pipe; at a terminal it has one of the guest's."
show "echo 'busybox id; busybox tty' | postern vsh $VM -- busybox sh"
echo 'busybox id; busybox tty' | postern vsh $VM -- busybox sh

step "A program that goes on without us, and what became of it."
run postern exec $VM --detach -- busybox sh -c 'echo done; exit 5'
refused 5 postern jobs attach $VM 3
run postern jobs list $VM

step "A folder goes into the guest, and comes back. Nothing but what was sent may be there."
mkdir "$work/tree"
busybox seq 1 100000 >"$work/tree/numbers"
ln -s numbers "$work/tree/link"
run postern cp -r "$work/tree" $VM:/tmp
run postern cp -r $VM:/tmp/tree "$work/back"
run diff -r "$work/tree" "$work/back"

step "A server of a guest without a network, as if it were here; the end tells what went through."
run postern exec $VM --detach -- busybox nc -ll -p 7000 -e busybox cat
show "postern forward $VM tcp:0=tcp:7000 &"
postern forward $VM tcp:0=tcp:7000 >"$work/forward" &
forward=$!
until [ -s "$work/forward" ]; do sleep 0.1; done
cat "$work/forward"
port=$(sed -n 's/^tcp:127.0.0.1:\([0-9]*\) .*/\1/p' "$work/forward")
show "echo 'there and back' | busybox nc 127.0.0.1 $port"
echo 'there and back' | busybox nc 127.0.0.1 "$port" | tee "$work/echo"
grep -q 'there and back' "$work/echo" || { echo "nothing came back"; failed=$((failed + 1)); }
show "kill %1"
kill "$forward"
wait "$forward"
forward=

step "What the guest's kernel has to say."
run postern logs $VM -n 3
run postern stop $VM

printf '\n'
if [ $failed = 0 ]; then
	printf 'demo: all as it should be, in %d s\n' $(($(date +%s) - started))
else
	printf 'demo: %d step(s) went wrong\n' $failed
	exit 1
fi
