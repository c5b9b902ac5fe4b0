# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2016,SC2154,SC2164
# The checks of mail and check-mails, with a pretended get_maintainer.pl and checkpatch.pl
# in the base. Sourced.

mail_base() { # $LINUX gets the two scripts; the user gets an identity, the topics their prefixes
	git clone -q "$W/linux" "$PWD-linux"
	cat > "$PWD-linux/scripts/get_maintainer.pl" <<-'END'
	my $which = join " ", grep /^--no-[mrl]$/, @ARGV;
	-f $_ or die "no patch: $_" for grep !/^--/, @ARGV;
	print "Ann Maintainer <ann\@kernel.test>\n\"Bob (two) M.\" <Bob\@kernel.test>\nGr\xc3\xbc\xc3\x9fe <g\@kernel.test>\nA Person <person\@kernel.test>\n" unless $which =~ /--no-m/;
	print "Bob again <bob\@KERNEL.test>\nRita <rita\@kernel.test>\n" unless $which =~ /--no-r/;
	print "list\@kernel.test\nLIST\@kernel.test\n" unless $which =~ /--no-l/;
	END
	cat > "$PWD-linux/scripts/checkpatch.pl" <<-'END'
	for my $file (grep !/^--/ && -f, @ARGV) {
		local $/; open my $f, "<", $file; my $text = <$f>;
		print "$file:1: ERROR:MISSING_SIGN_OFF: none\n" unless $text =~ /^Signed-off-by: /m;
	}
	END
	git -C "$PWD-linux" add -A -f
	"${G[@]}" -C "$PWD-linux" commit -q -m "Linux 6.12.1 with scripts"
	export LINUX=$PWD-linux
	git config user.name "A Person"
	git config user.email person@kernel.test
}

t_mail_is_signed_addressed_and_applies() {
	mail_base
	git config user.name "Ä. Person, Jr"
	series/series mail --topic kvm-irqfd > "$PWD-said" 2> "$PWD-err"
	says "$PWD-said" "Nothing was sent" "git send-email --confirm=always" "out/6.12/mail/kvm-irqfd/*.patch" "To: Ann Maintainer <ann@kernel.test>" "Cc: list@kernel.test"
	if grep -i 'bob again\|person@\|NOTE' <(sed 1d "$PWD-said") "$PWD-err"; then return 1; fi
	is "$(grep -ic 'bob@kernel.test' "$PWD-said")" 1
	is "$(grep -lri '^ *\(To: \|Cc: \)*.*rita@kernel.test' out/6.12/mail/kvm-irqfd | wc -l)" 5
	is "$(grep -il 'list@kernel.test' out/6.12/mail/kvm-irqfd/* | wc -l)" 5
	is "$(grep -rhio 'list@kernel.test' out/6.12/mail/kvm-irqfd | wc -l)" 5
	is "$(grep -l '^Signed-off-by: Ä. Person, Jr <person@kernel.test>' out/6.12/mail/kvm-irqfd/* | wc -l)" 4
	says out/6.12/mail/kvm-irqfd/0000-cover-letter.patch "Subject: [PATCH 6.12 0/4] KVM: irqfd: A cover" "base-commit: $(git -C "$LINUX" rev-parse HEAD)"
	if grep -rP '[^\x00-\x7f]' <(for f in out/6.12/mail/kvm-irqfd/*; do sed '/^$/q' "$f"; done); then return 1; fi
	git clone -q "$LINUX" "$PWD-am"
	"${G[@]}" -C "$PWD-am" am -q --empty=drop "$PWD"/out/6.12/mail/kvm-irqfd/*.patch
	is "$(git -C "$PWD-am" rev-parse 'HEAD^{tree}')" "$(tree_of set/6.12/kvm-irqfd)"
	is "$(git -C "$PWD-am" log -1 --format='%an <%ae>')" "Ä. Person, Jr <person@kernel.test>"
	series/series mail --topic ipmr-rcu > /dev/null
	says out/6.12/mail/ipmr-rcu/0001-*.patch "Subject: [PATCH net-next 1/2] ipmr: Look up under RCU"
	is "$(status)" ""
}

t_mail_refuses_who_is_nobody() {
	local name address
	mail_base
	while IFS='|' read -r name address; do
		fails env GIT_AUTHOR_NAME="$name" GIT_AUTHOR_EMAIL="$address" series/series mail --topic kvm-irqfd
		says "$(said)" "your git identity $name <$address>" "git config --global user.name"
	done <<-'END'
	linux patch set|patch-set@localhost
	Your Name|a@kernel.test
	root|a@kernel.test
	test|a@kernel.test
	A Person|a@localhost
	A Person|a@host
	A Person|a@host.(none)
	A Person|a@example.com
	A Person|a@mail.example
	A Person|a@x.invalid
	A Person|you@kernel.test
	A Person|1+a@users.noreply.github.com
	END
	git config --unset user.email
	fails series/series mail --topic kvm-irqfd
	says "$(said)" "user.name or user.email is not set" "git config --global"
	[[ ! -e out/6.12/mail ]]
}

t_mail_version_wants_its_changes() {
	mail_base
	fails series/series mail --topic kvm-irqfd --version 2
	says "$(said)" "series/kvm-irqfd.changes" "is not there" "v2:" "differs from v1"
	printf 'v2:\n- A new lock, which\n  goes on here.\n' > series/kvm-irqfd.changes
	fails series/series mail --topic kvm-irqfd --version 3
	says "$(said)" "has no section v3"
	series/series mail --topic kvm-irqfd --version 2 > "$PWD-said"
	says out/6.12/mail/kvm-irqfd-v2/v2-0000-cover-letter.patch "Subject: [PATCH 6.12 v2 0/4]" "The whole story." "Changes in v2:" "- A new lock, which"
	says "$PWD-said" "mail/kvm-irqfd-v2/*.patch"
	series/series mail --topic kvm-irqfd > /dev/null 2> "$PWD-err"
	says "$PWD-err" "has a section v2, this is v1"
	printf 'v3:\n- Three.\n\nv2:\n- Two.\n' > series/kvm-irqfd.changes
	series/series mail --topic kvm-irqfd --version 3 > /dev/null
	is "$(grep -A 1 '^Changes in v\|^- ' out/6.12/mail/kvm-irqfd-v3/v3-0000* | grep -v '^--' | tr '\n' ';' | sed 's/;;*/;/g')" "Changes in v3:;- Three.;Changes in v2:;- Two.;"
	for bad in 'v2:\n- Two.\nv3:\n- Three.\n' 'v2:\nTwo.\n' '- Two.\n' "v2:\n- $(printf 'x%.0s' {1..80})\n" 'v2:\n'; do
		# shellcheck disable=SC2059 # a format is what it is
		printf -- "$bad" > series/kvm-irqfd.changes
		fails series/series mail --topic kvm-irqfd --version 2
		says "$(said)" series/kvm-irqfd.changes
	done
}

t_mail_remembers_what_was_sent() {
	mail_base
	fails series/series mail --topic kvm-irqfd --sent
	says "$(said)" "not those that mails were last prepared of"
	BASE=6.12 series/series mail --topic kvm-irqfd > "$PWD-said"
	says "$PWD-said" "make mail BASE=6.12 LINUX=$LINUX TOPIC=kvm-irqfd ARGS=--sent"
	series/series mail --topic kvm-irqfd --sent
	is "$(tail -n 1 series/6.12/kvm-irqfd.sent)" "v1 $(git rev-parse HEAD) $(git -C "$LINUX" rev-parse HEAD)"
	fails series/series mail --topic kvm-irqfd --sent       # once
	git add -A
	"${G[@]}" commit -q -m "v1 was sent"
	fails series/series mail --topic kvm-irqfd
	says "$(said)" "series/kvm-irqfd.changes" "v2 wants its changes told"
	printf 'v2:\n- Use it more.\n' > series/kvm-irqfd.changes
	series/series tree
	rebase '/Use it/s/^pick/edit/'
	edit virt/kvm/eventfd.c 21 more
	git -C build/tree commit -q -a --amend --no-edit
	git -C build/tree rebase --continue
	series/series refresh
	series/series mail --topic kvm-irqfd > /dev/null
	says out/6.12/mail/kvm-irqfd-v2/v2-0000-cover-letter.patch "[PATCH 6.12 v2 0/4]" "- Use it more." "Range-diff against v1:" "++more"
	is "$(grep -c '^[0-9]:' out/6.12/mail/kvm-irqfd-v2/v2-0000*)" 4
	fails series/series mail --topic kvm-irqfd --sent
	says "$(said)" "not committed" "virt/kvm/use-it.patch"
	echo v3 >> series/6.12/kvm-irqfd.sent
	fails series/series mail --topic kvm-irqfd
	says "$(said)" "kvm-irqfd.sent: cannot be read"
}

t_mail_wants_a_prefix_and_a_topic() {
	mail_base
	sed -i '/^PREFIX=/d; s/^PREFIX\.ipmr.*/PREFIX.ipmr-rcu=[x]/' series/6.12/base
	fails series/series mail --topic ipmr-rcu
	says "$(said)" "series/6.12/base" "cannot stand in a subject's brackets"
	fails series/series mail --topic kvm-irqfd
	says "$(said)" "series/6.12/base" "no PREFIX for topic kvm-irqfd"
	echo nonsense >> series/6.12/base
	fails series/series mail --topic kvm-irqfd
	says "$(said)" "series/6.12/base: cannot be read: 'nonsense'"
	git checkout -q series
	fails series/series mail --topic nonsense
	fails series/series mail --topic kvm-irqfd --version 0
}

t_mail_replaces_a_folder_only_by_a_complete_one() {
	local real n
	mail_base
	series/series mail --topic kvm-irqfd > /dev/null
	echo stale > out/6.12/mail/kvm-irqfd/0009-stale.patch
	cp -r out "$PWD-out"
	cp -r "$LINUX" "$PWD-linux2"
	printf 'exit 3;\n' > "$PWD-linux2/scripts/get_maintainer.pl"
	"${G[@]}" -C "$PWD-linux2" commit -q -a -m broken
	LINUX=$PWD-linux2 fails series/series mail --topic kvm-irqfd
	says "$(said)" get_maintainer.pl
	diff -r out "$PWD-out"
	# a git that signs off nothing, as a broken git of ours would
	real=$(command -v git)
	mkdir "$PWD-bin"
	printf '#!/bin/bash\na=("$@"); for i in "${!a[@]}"; do [[ ${a[i]} != --signoff ]] || unset "a[i]"; done; exec %s "${a[@]}"\n' "$real" > "$PWD-bin/git"
	chmod 755 "$PWD-bin/git"
	PATH="$PWD-bin:$PATH" fails series/series mail --topic kvm-irqfd
	says "$(said)" "not written" "signed off" "MISSING_SIGN_OFF"
	diff -r -x .kvm-irqfd.bad out "$PWD-out"
	# and one that is interrupted as it writes
	printf '#!/bin/bash\n[[ "$*" != *--signoff* ]] || kill -INT $PPID\nexec %s "$@"\n' "$real" > "$PWD-bin/git"
	n=0
	( trap - INT; PATH="$PWD-bin:$PATH" exec python3 -c 'import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")' \
		series/series mail --topic kvm-irqfd ) 2> "$PWD-said" || n=$?
	is "$n" 130
	says "$PWD-said" interrupted
	diff -r -x .kvm-irqfd.bad out "$PWD-out"
	[[ -z $(ls -d build/mail-* 2> /dev/null) ]]
	series/series mail --topic kvm-irqfd > /dev/null
	is "$(ls -A out/6.12/mail)" kvm-irqfd
	[[ ! -e out/6.12/mail/kvm-irqfd/0009-stale.patch ]]
}

t_check_mails_finds_what_was_changed() {
	local f
	mail_base
	series/series mail --topic kvm-irqfd > /dev/null
	f=out/6.12/mail/kvm-irqfd
	python3 "$tool" mails kvm-irqfd "$f" > "$PWD-tap"
	is "$(grep -c '^ok' "$PWD-tap")" 12
	changed() { # changed SED FILE TEXT
		rm -rf "$PWD-copy"
		cp -r "$f" "$PWD-copy"
		# shellcheck disable=SC2086 # $2 is a pattern
		sed -i "$1" "$PWD-copy"/$2
		fails python3 "$tool" mails kvm-irqfd "$PWD-copy"
		says "$(said)" "kvm-irqfd: $3"
		is "$(grep -c '^not ok' "$(said)")" "${4:-1}"
	}
	changed '/rita@/d;s/, *$/,/' '0002-*' recipients
	changed 's/irqfd line 19$/& /' '0002-*' "diffs are the commits" 2
	changed 's/^The reason/Some reason/' '0002-*' "messages are the commits"
	changed 's/6\.12 2/6.13 2/' '0002-*' "subject prefix"
	fails python3 "$tool" mails kvm-irqfd series
	is "$(grep -c '^not ok' "$(said)")" 12
	fails python3 "$tool" mails kvm-irqfd nowhere
	fails python3 "$tool" mails nonsense "$f"
}
