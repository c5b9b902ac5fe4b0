# SPDX-License-Identifier: GPL-2.0
# Sourced by testbed/bin/check-mail: mails that are spoiled in one way each, and senders that
# are none. Uses its temp, base, git, own, check.
# shellcheck shell=bash disable=SC2154

# Each finds a copy of the mails in $mails, patch 2 in $two, and what arrived in $box.
first() { sed -i "0,/$1/{/$1/$2}" "$two"; }
f_unsigned() { sed -i '/^Signed-off-by: /d' "$two"; }
f_signed_twice() { first '^Signed-off-by: ' '{p;s/:.*/: Another <another@mail.test>/}'; }
f_other_sender() { sed -i 's/check@mail\.test/another@mail.test/' "$two"; }
f_wrong_prefix() { sed -i 's/^Subject: \[PATCH [^]]* /Subject: [PATCH /' "$two"; }
f_wrong_subject() { first '^Subject: ' 's/\] /] Re-/'; }
f_changelog() { first '^$' '{n;s/^[^ ]* /Well, /}'; }
f_latin_1() { LC_ALL=C sed -i '/^Signed-off-by: /s/\xc3\xbc/\xfc/' "$two"; }
f_replacement_character() { sed -i $'/^Signed-off-by: /i \xef\xbf\xbd' "$two"; }
f_undeclared() { sed -i '/^Content-T/d' "$two"; }
f_spaces_for_tabs() { sed -i 's/^+\t/+        /' "$two"; }
f_trailing_space() { first '^+\t.*;' 's/$/ /'; }
f_carriage_returns() { sed -i '/^diff --git/,$s/$/\r/' "$two"; }
# The context farthest from the change: patch -F takes it, git apply does not.
f_fuzz() { first '^@@ ' '{n;s/$/ moved/}'; }
f_list_missing() { sed -i '/^    linux-kernel@vger\.kernel\.org,*$/d' "$two"; }
f_somebody_more() { sed -i '0,/^Cc: /s//Cc: another@mail.test, /' "$two"; }
f_mail_missing() { rm "$two"; }
f_no_mail() { rm "$mails"/*; }
f_no_base() { sed -i '/^base-commit: /d' "$mails"/0000-*; }
f_diffstat() { sed -i 's/ files changed, / files changed, 1/' "$mails"/0000-*; }
f_thread() { sed -i '0,/^In-Reply-To: </s//&x/' "$box"; }
f_same_message_id() { sed -i '/^Message-I[Dd]: /s/-[0-9]*-check@/-1-check@/' "$box"; }
f_envelope() { sed -i '0,/^X-RcptTo: [^,]*, */s//X-RcptTo: /' "$box"; }

# fault: the checks that must fail, and no others.
faults=(
	"unsigned: signed off|checkpatch"
	"signed_twice: signed off|messages are the commits"
	"other_sender: one sender|signed off"
	"wrong_prefix: subject prefix"
	"wrong_subject: subjects are the commits"
	"changelog: messages are the commits"
	"latin_1: encoding|signed off|checkpatch"
	"replacement_character: encoding|messages are the commits"
	"undeclared: encoding"
	"spaces_for_tabs: diffs are the commits|apply without fuzz|checkpatch"
	"trailing_space: diffs are the commits|apply without fuzz|checkpatch"
	"carriage_returns: encoding|diffs are the commits|apply without fuzz|checkpatch"
	"fuzz: diffs are the commits|apply without fuzz"
	"list_missing: recipients"
	"somebody_more: recipients"
	"mail_missing: numbering complete|apply without fuzz"
	"no_mail: all"
	"no_base: cover letter"
	"diffstat: cover letter"
	"thread: thread"
	"same_message_id: thread"
	"envelope: envelope"
)

# place FAULT: where the spoiled copy stands. The last part is what check-mails calls it.
place() {
	case $1 in
	thread | same_message_id | envelope) echo "$temp/faults/arrived/$1" ;;
	*) echo "$temp/faults/$1" ;;
	esac
}
# spoil TOPIC FAULT
spoil() {
	local from=$temp/out/$1 mails box two
	mails=$(place "$2") box=$mails
	mkdir -p "$temp/faults/arrived"
	[[ $mails != */arrived/* ]] || from=$temp/$1.mbox
	cp -r "$from" "$mails"
	two=$(echo "$mails"/0002-*)
	"f_$2"
	! diff -rq "$from" "$mails" >/dev/null || { echo "nothing was spoiled"; return 1; }
}
# found FAULT CHECKS: what fails, held against what must.
found() {
	local fault=$1 want=$2 got
	got=$(sed -n "s/^not ok [0-9]* - [^:]*: $fault: //p" "$temp/faults.tap")
	[ "$want" != all ] || want=$(sed -n "s/^\(not \)*ok [0-9]* - [^:]*: $fault: //p" "$temp/faults.tap" | paste -sd'|')
	[ -n "$got" ] && [ "$(sort <<< "$got")" = "$(tr '|' '\n' <<< "$want" | sort)" ] && return
	grep -A 5 "^not ok [0-9]* - [^:]*: $fault: " "$temp/faults.tap" || echo "check-mails finds nothing"
	return 1
}

# takes_fuzz TOPIC: that the fuzz is such that patch(1) takes it, so that it is git apply that is strict.
takes_fuzz() {
	local before mail folder=$temp/fuzz
	before=$("${git[@]}" rev-list --reverse "set/$base/base..set/$base/$1" | head -n 1)
	mkdir "$folder"
	"${git[@]}" diff --name-only --diff-filter=d "$before" "$("${git[@]}" rev-list --reverse "$before..set/$base/$1" | head -n 1)" |
		xargs "${git[@]}" archive "$before" -- | tar -x -C "$folder"
	mail=$(echo "$temp/faults/fuzz"/0002-*)
	! patch -p1 -F0 --dry-run -f -d "$folder" <"$mail" || { echo "patch -F0 takes it"; return 1; }
	patch -p1 -F2 --dry-run -f -d "$folder" <"$mail"
}

all_faults() {
	local topic=$1 row fault prepared=() arrived=()
	for row in "${faults[@]}"; do
		fault=${row%%:*}
		check "spoiled mails: ${fault//_/ }: spoiled" spoil "$topic" "$fault"
		if [[ $(place "$fault") == */arrived/* ]]; then
			arrived+=("$(place "$fault")")
		else
			prepared+=("$(place "$fault")")
		fi
	done
	series/bin/check-mails --topic "$topic" "${prepared[@]}" >"$temp/faults.tap" || true
	series/bin/check-mails --topic "$topic" --received "${arrived[@]}" >>"$temp/faults.tap" || true
	for row in "${faults[@]}"; do
		fault=${row%%:*}
		check "spoiled mails: ${fault//_/ }: found by ${row#*: } alone" found "$fault" "${row#*: }"
	done
	check "spoiled mails: the fuzz is one that patch -F2 takes, and -F0 does not" takes_fuzz "$topic"
}

# refused TEXT COMMAND...: fails, and says so.
refused() {
	local text=$1 said
	shift
	! said=$("$@" 2>&1) || { echo "not refused"; return 1; }
	[[ $said == *"your git identity"*"$text"*"git config --global user.name"* ]] || { printf '%s\n' "$said"; return 1; }
}
all_identities() {
	local row name address text
	while IFS='|' read -r name address text; do
		check "identity: $name <$address> is refused" refused "$text" \
			env GIT_AUTHOR_NAME="$name" GIT_AUTHOR_EMAIL="$address" series/bin/mail --topic "$1" --check
	done <<-'END'
	linux patch set|patch-set@localhost|nobody's
	Your Name|person@mail.test|nobody's
	root|person@mail.test|nobody's
	A Person|you@example.com|where no mail arrives
	A Person|person@mail.example|where no mail arrives
	A Person|person@host.invalid|where no mail arrives
	A Person|person@localhost|where no mail arrives
	A Person|person@machine|no domain
	A Person|person@machine.(none)|where no mail arrives
	A Person|you@mail.test|placeholder
	A Person|person|no mail address
	END
	if [ -n "$own" ]; then
		result 0 "identity: none is refused # SKIP the repository has one of its own"
	else
		check "identity: none is refused" refused "is not set" env GIT_CONFIG_GLOBAL=/dev/null series/bin/mail --topic "$1" --check
	fi
	check "identity: the test's own is let through" series/bin/mail --topic "$1" --check
}
