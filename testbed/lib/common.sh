# SPDX-License-Identifier: GPL-2.0
# Sourced by the shell programs of the testbed: messages, progress and time.
# shellcheck shell=bash

prog=${0##*/}

# die THING CAUSE WHAT-TO-DO: every error names all three.
die() {
	printf '%s: error: %s: %s\n' "$prog" "$1" "$2" >&2
	[ $# -lt 3 ] || printf '  what to do: %s\n' "$3" >&2
	exit "${die_status:-2}"
}

note() { printf '%s: %s\n' "$prog" "$*" >&2; }

# Where testbed/bin/setup unpacks packages that it does not install.
packages_dir=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)/build/packages

# With older ones, KVM tests have failed that pass with this one, see testbed/bin/setup.
# shellcheck disable=SC2034  # for those who source this
oldest_qemu=11

# find_qemu: sets the array qemu to the command for QEMU: the one that QEMU= names, or the
# unpacked one, with its own data and libraries, down to the loader, or the installed one.
find_qemu() {
	local own=$packages_dir/qemu
	qemu=("${QEMU:-qemu-system-x86_64}")
	[ -z "${QEMU:-}" ] && [ -x "$own/usr/bin/qemu-system-x86_64" ] || return 0
	# shellcheck disable=SC2034  # for the caller
	qemu=("$own/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
		--library-path "$own/usr/lib/x86_64-linux-gnu"
		"$own/usr/bin/qemu-system-x86_64" -L "$own/usr/share/qemu" -L "$own/usr/share/seabios")
}

# qemu_version COMMAND...: "10.0", or nothing if it does not run.
qemu_version() {
	{ "$@" --version 2>/dev/null || true; } | sed -n 's/^QEMU emulator version \([0-9]*\.[0-9]*\).*/\1/p'
}

# usage prints the program's own header comment: from line 3 to the first line
# that is no comment.
usage() {
	sed -n '3,${/^#/!q;s/^# \{0,1\}//;p}' "$0"
}

# Value of an option that must have one.
optarg() {
	[ $# -ge 2 ] || die "$1" "needs a value" "see $prog --help"
	printf '%s\n' "$2"
}

# need_space DIR MIB WHAT: stop before a long work that cannot end.
need_space() {
	local free
	free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$2" ] ||
		die "$1" "$3 needs $2 MiB, $free MiB are free" \
		    "free some space there or choose another folder"
}

# run_logged LABEL LOG COMMAND...: run the command with its output in the log. A terminal
# shows in place how far it is, a log gets a line a minute and one at the end. If the
# caller has set how_far to the name of a function, what that prints is shown too, and is
# in the file $PROGRESS_FILE. The command stays in the foreground, where a Ctrl-C reaches it.
run_logged() {
	local label=$1 log=$2 clock='' status=0 start=$SECONDS
	shift 2
	show_progress "$label" "$start" &
	clock=$!
	"$@" >>"$log" 2>&1 </dev/null || status=$?
	kill "$clock" 2>/dev/null || true
	wait "$clock" 2>/dev/null || true
	[ ! -t 2 ] || printf '\r\033[K' >&2
	printf '%s ... %d s\n' "$label" $((SECONDS - start)) >&2
	return "$status"
}

# show_progress LABEL START: until it is killed, or whoever called run_logged is gone.
show_progress() {
	local said='' last=$SECONDS tick
	# sleep would outlive us, and hold our caller's locks and pipes.
	exec {tick}<> <(:)
	while kill -0 $$ 2>/dev/null; do
		if [ -n "${how_far:-}" ]; then
			said=$("$how_far")
			[ -z "${PROGRESS_FILE:-}" ] || [ -z "$said" ] || printf '%s\n' "$said" > "$PROGRESS_FILE"
		fi
		if [ -t 2 ]; then
			printf '\r\033[K%s ... %s%d s ' "$1" "${said:+$said, }" $((SECONDS - $2)) >&2
		elif [ $((SECONDS - last)) -ge 60 ]; then
			printf '%s ... %s%d s\n' "$1" "${said:+$said, }" $((SECONDS - $2)) >&2
			last=$SECONDS
		fi
		read -rt 1 -u "$tick" || true
	done
}

# one_at_a_time FOLDER: build/ holds one tree and one object folder per config, so
# two runs at once would build each other's commits. The lock is our children's too.
one_at_a_time() {
	[ -z "${TESTBED_LOCKED:-}" ] || return 0
	mkdir -p "$1"
	exec 7>"$1/.lock"
	flock -n 7 || die "$1" "another run is at work there" \
		"wait for it to end, or work in a clone of your own"
	export TESTBED_LOCKED=1
}
