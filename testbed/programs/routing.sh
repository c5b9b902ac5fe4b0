# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Sourced by the tests of routing daemons, smcrouted and pimd: hosts that are network
# namespaces, a sender S and two receivers D and E, what reached them, and the subtests.
# The caller sets $daemon_name. All waits are bounded.
: "${daemon_name:?}"

# Full paths: busybox would run its own ip and ping, which support neither veth nor a
# multicast hop limit.
host=${HOST_PROGRAMS:-/usr/bin}
ip=$host/ip ping=$host/ping
dir=$(mktemp -d) || exit 1

say() { printf '# %s\n' "$*"; }

# await COMMAND...: repeat it until it succeeds, sleeping 30 s at most in total, or as often
# as $patience says.
patience=1500
await() {
	tries=$patience
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.02
	done
}

# same WHAT WANT GOT
same() {
	[ "$2" = "$3" ] && return
	say "$1: expected $2, got ${3:-nothing}"
	bad=1
}

# must WHAT COMMAND...: wait for it, or fail the subtest. Does not wait if the subtest has
# already failed.
must() {
	what=$1
	shift
	[ "$bad" = 0 ] || return
	await "$@" && return
	say "gave up waiting for $what: $*"
	bad=1
}

in_ns() { pid=$1; shift; nsenter -t "$pid" -n "$@"; }

# hold OPTION...: start a process in new namespaces, by the options of unshare of which one
# is -n, and put its pid in $held.
hold() {
	unshare "$@" sleep 3600 &
	held=$!
	await moved $held || { echo 'Bail out! cannot create a network namespace'; exit 1; }
}
moved() {
	now=$(readlink "/proc/$1/ns/net") && [ "$now" != "$(readlink /proc/self/ns/net)" ] &&
		[ "$(cat "/proc/$1/comm")" = sleep ]
}
ended() { [ ! -e "/proc/$1/exe" ]; }
has_device() { grep -q "^ *$2:" "/proc/$1/net/dev"; }
has_no_device() { ! has_device "$@"; }

# counts HOST GROUP: the echo requests that the host received, which are those for groups
# it joined; for IPv4, also the multicast packets. In these files, a line of names is
# followed by a line of values.
counts() {
	case $2 in
	*:*) awk '$1 == "Icmp6InEchos" { print $2 }' "/proc/$1/net/snmp6" ;;
	*)
		awk '$1 == "Icmp:" || $1 == "IpExt:" { for (i = 2; i <= NF; i++) {
				if ($i ~ /[A-Z]/) name[$1, i] = $i
				else got[name[$1, i]] = $i
			} }
			END { print got["InEchos"], got["InMcastPkts"] }' "/proc/$1/net/snmp" "/proc/$1/net/netstat"
		;;
	esac
}
# has HOST GROUP BEFORE N: the counts are now exactly N above BEFORE.
has() { [ "$(counts "$1" "$2")" = "$(plus "$4" "$3")" ]; }
has_more() { [ "$(counts "$1" "$2" | cut -d ' ' -f 1)" -ge $((${3% *} + $4)) ]; }
plus() { for value in $2; do printf '%s' "${space-}$((value + $1))"; space=' '; done; }

# An IPv4 address in the format of /proc/net/ip_mr_cache on a little-endian machine.
hex4() {
	IFS=. read -r a b c d <<-END
		$1
	END
	printf '%02X%02X%02X%02X' "$d" "$c" "$b" "$a"
}

# batch HOST: run many ip commands at once, because starting a program is slow in the VM.
batch() { in_ns "$1" "$ip" -batch -; }

# send COUNT GROUP: returns when ping has sent all packets.
send() {
	in_ns "$S" "$ping" -q -c "$1" -i 0.002 -W 0.2 -t 8 -I s0 "$2" > "$dir/ping" 2>&1
	grep -q "^$1 packets transmitted" "$dir/ping" || {
		say "ping did not send $1 packets: $(cat "$dir/ping")"
		bad=1
	}
}

# got GROUP TO-D TO-E COMMAND...: run COMMAND. D and E must then have received exactly
# TO-D and TO-E packets.
got() {
	group=$1 to_d=$2 to_e=$3
	shift 3
	at_d=$(counts "$D" "$group") at_e=$(counts "$E" "$group")
	"$@"
	# Excess packets have arrived by now, because ping waits for a moment after the last one.
	await has "$D" "$group" "$at_d" "$to_d"
	await has "$E" "$group" "$at_e" "$to_e"
	same "packets for $group at D" "$(plus "$to_d" "$at_d")" "$(counts "$D" "$group")"
	same "packets for $group at E" "$(plus "$to_e" "$at_e")" "$(counts "$E" "$group")"
}

# run NAME FUNCTION
number=0 failed=0
run() {
	number=$((number + 1)) bad=0
	"$2"
	if [ "$bad" = 0 ]; then
		echo "ok $number $1"
	else
		echo "not ok $number $1"
		failed=1
		sed "s/^/# $daemon_name: /" "$dir/log"
		: > "$dir/log"
		[ "$1" != starts ] || { echo "Bail out! $daemon_name did not start properly"; exit 1; }
	fi
}
end() { exit $failed; }
