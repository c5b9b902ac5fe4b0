# SPDX-License-Identifier: GPL-2.0
# Sourced: which commits check-patches has passed, so that `make mail` after `make test`
# does not build each patch again. Uses root.
# shellcheck shell=bash disable=SC2154

# checked_file TOPIC CONFIG: the file that is there when the topic's commits have passed. Its
# name is of the last of them, which stands for all before it, and of what checks them.
checked_file() {
	local tip program
	tip=$(git --git-dir="$root/build/git" rev-parse --verify -q "refs/set/${BASE:-6.12}/$1^{commit}") || return
	program=$(cd "$root" && LC_ALL=C find testbed/bin/check-patches testbed/bin/kernel testbed/bin/warnings \
		testbed/bin/selftests testbed/lib/patch.sh testbed/checks testbed/configs series/topics -type f -print0 |
		LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16) || return
	echo "$root/build/checked/$tip.$1.$2.$program"
}

# checked_passed TOPIC CONFIG: notes that it has.
checked_passed() {
	local file
	file=$(checked_file "$1" "$2") || return
	mkdir -p "$root/build/checked"
	: >"$file"
}
