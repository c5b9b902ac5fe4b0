# SPDX-License-Identifier: GPL-2.0
# Sourced by the checks that are bash: prints KTAP. testbed/lib/ktap.py has the same for Python.
# shellcheck shell=bash

ktap_done=0 ktap_failed=0 ktap_planned=''

# ktap_begin [PLAN]: give the number of results where it is known.
ktap_begin() {
	echo "KTAP version 1"
	[ $# -eq 0 ] || { ktap_planned=$1; echo "1..$1"; }
}

# ktap_result STATUS NAME [TEXT]: one result, with its diagnostics before it.
ktap_result() {
	local name=${2//$'\n'/ } word=ok
	[ -z "${3:-}" ] || { head -n 40 <<< "$3" || true; } | sed 's/^/# /'
	[ "$1" = 0 ] || { word='not ok'; ktap_failed=$((ktap_failed + 1)); }
	ktap_done=$((ktap_done + 1))
	# "#" would begin a directive.
	echo "$word $ktap_done ${name//#/\\#}"
}

ktap_skip() { # NAME REASON
	ktap_done=$((ktap_done + 1))
	echo "ok $ktap_done ${1//#/\\#} # SKIP $2"
}

# ktap_skip_all REASON: instead of ktap_begin, where there is nothing to look at.
ktap_skip_all() {
	printf 'KTAP version 1\n1..0 # SKIP %s\n' "$1"
}

# ktap_run NAME COMMAND...: passes if the command does; what it says are the diagnostics.
ktap_run() {
	local name=$1 text status=0
	shift
	text=$("$@" 2>&1) || status=$?
	[ "$status" != 0 ] || text=''
	ktap_result "$status" "$name" "$text"
}

# ktap_end: the plan, if it was not first; its status is that of the check.
ktap_end() {
	[ -n "$ktap_planned" ] || { ktap_planned=$ktap_done; echo "1..$ktap_done"; }
	[ "$ktap_failed" = 0 ] && [ "$ktap_planned" = "$ktap_done" ]
}
