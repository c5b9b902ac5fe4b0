# SPDX-License-Identifier: GPL-2.0
# Sourced by testbed/bin/check-patches: what is looked at in a patch without the kernel's
# build, and in the selftests that it touches. Uses its $git, $src, $root, $here, $out.
# shellcheck shell=bash disable=SC2154

# Rules of both trees that checkpatch does not know.
look_at_message() {
	local commit=$1 subject prefixes found=''
	subject=$("${git[@]}" log -1 --format=%s "$commit")
	[ ${#subject} -le 75 ] || { echo "the subject has ${#subject} columns, 75 are allowed"; return 1; }
	[[ $subject != *. ]] || { echo "the subject ends in a full stop"; return 1; }
	prefixes=$(sed -n "s/^$2  *//p" "$root/series/topics")
	while read -r prefix; do
		[[ $subject != "$prefix "[A-Z]* ]] || found=1
	done < <(tr '|' '\n' <<< "$prefixes" | sed 's/^ *//; s/ *$//')
	[ -n "$found" ] || { echo "the subject is not PREFIX: Capitalised, with a prefix of $2 ($prefixes)"; return 1; }
	! "${git[@]}" log -1 --format=%b "$commit" | grep -nE '^.{76,}' ||
		{ echo "the lines above have more than 75 columns"; return 1; }
	! "${git[@]}" log -1 --format=%b "$commit" |
		grep -nE '^(Signed-off-by|Assisted-by|Co-developed-by|Change-Id):|(^|[^A-Za-z/])([Ww]e|I|[Oo]ur)([^A-Za-z/]|$)' ||
		{ echo "a sign-off belongs to the sender; no pronouns"; return 1; }
}

# MISSING_SIGN_OFF: the sender signs. FILE_PATH_CHANGES comes with every new file;
# whether the file has a maintainer is asked for each one instead.
style() {
	local commit=$1 file
	(cd "$src" && "${git[@]}" format-patch -1 --stdout "$commit" |
		scripts/checkpatch.pl --strict --terse --no-summary --show-types \
			--ignore MISSING_SIGN_OFF,FILE_PATH_CHANGES \
			--codespell --codespellfile "$dictionary" -) || return 1
	while read -r file; do
		(cd "$src" && scripts/get_maintainer.pl --no-tree --no-rolestats --nogit --nogit-fallback \
			-f "$file" | grep -qv '^linux-kernel@vger') ||
			{ echo "$file: no entry of MAINTAINERS covers it"; return 1; }
	done < <("${git[@]}" diff --diff-filter=A --name-only "$commit^" "$commit")
}

kernel_doc() {
	(cd "$src" && for file; do
		[ ! -e "$file" ] || scripts/kernel-doc -none -Wall "$file" 2>&1 || true
	done) | grep -iE 'warning|error' | normal | LC_ALL=C sort -u || true
}

selftests=tools/testing/selftests

# selftest_programs COMMIT: the programs that its files go into, as COLLECTION:TEST.
selftest_programs() {
	local commit=$1 file part program
	"${git[@]}" diff --diff-filter=d --name-only "$commit^" "$commit" -- "$selftests/*.c" "$selftests/*.h" |
	while read -r file; do
		part=${file#"$selftests"/}
		case $part in
		*/lib/*) ;;
		*.c) echo "$file" ;;
		*.h) "${git[@]}" grep -lE "^#include \"([^\"]*/)?${part##*/}\"" "$commit" -- "$selftests/${part%%/*}/*.c" | sed 's/^[^:]*://' ;;
		esac
	done | LC_ALL=C sort -u | while read -r program; do
		program=${program#"$selftests"/}
		[[ $program == */lib/* ]] || echo "${program%%/*}:$(sed 's/\.c$//' <<< "${program#*/}")"
	done
}

# selftest_warnings CC PROGRAM...: what the compiler says of the files that match $touched,
# in building those of the programs that this commit has.
selftest_warnings() {
	local cc=$1 program built=() o=$root/build/o/check-$1/selftests log=$out/selftests.$1.log
	shift
	for program; do
		[ -e "$src/$selftests/${program/://}.c" ] || continue
		built+=("$program")
		rm -f "$o/obj/${program/://}" "$o/obj/${program/://}.o"
	done
	[ ${#built[@]} -gt 0 ] || return 0
	# LLVM=1 is clang for lib.mk. The collections add their own -Wall, or not.
	CFLAGS=-Wall LLVM=$([ "$cc" = gcc ] || echo 1) "$here/selftests" --src "$src" --headers "$root/build/o/$config" \
		--out "$o" --log "$log" "${built[@]}" >"$log.err" 2>&1 || { cat "$log.err" >&2; return 1; }
	grep -E '(warning|error): ' "$log" | grep -E "(^|/)($touched):" | normal | LC_ALL=C sort -u || true
}
selftests_compile() {
	local tool=$1
	shift
	selftest_warnings "$tool" "$@" >"$out/now.selftests-$tool" && no_new "selftests-$tool"
}

# Built by name each, so that it must be asked whether "make" builds them as well.
selftests_listed() {
	local program file status=0
	for program; do
		file=$selftests/${program/://}
		grep -qE "(^|[[:space:]/])${file##*/}([[:space:]]|$)" "$src/$selftests/${program%%:*}/Makefile" ||
			{ echo "$file is not in the Makefile of ${program%%:*}"; status=1; }
		git -C "$src" check-ignore -q "$file" ||
			{ echo "$file, the program, is not in .gitignore"; status=1; }
	done
	return "$status"
}
