# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2016,SC2154,SC2164
# The checks of tree, refresh, series, apply and src. Each runs in a copy of the repository. Sourced.

t_tree_is_what_plain_git_made() { is "$(tree_of set)" "$full_tree"; }

t_tree_hash_depends_on_the_input_alone() {
	local first
	first=$(git -C build/git rev-parse set)
	rm -rf build
	is "$(TZ=Asia/Tokyo GIT_AUTHOR_NAME=x series/series commits)" "$first"
}

t_refresh_without_a_change_writes_nothing() {
	local before
	before=$(find . -path ./build -prune -o -type f -printf '%p %T@ %s\n' | sort)
	series/series refresh
	is "$(find . -path ./build -prune -o -type f -printf '%p %T@ %s\n' | sort)" "$before"
	is "$(status)" ""
}

t_refresh_edit_by_amend() {
	edit net/ipv6/ip6mr.c 40 amended
	git -C build/tree commit -q -a --amend --no-edit
	series/series refresh
	is "$(status)" " M net/ipv6/rcu.patch;"
	says net/ipv6/rcu.patch "+amended"
	inverse
}

t_refresh_edit_by_rebase() {
	rebase '/Use it/s/^pick/edit/'
	edit virt/kvm/eventfd.c 26 deeper
	git -C build/tree commit -q -a --amend -m "KVM: irqfd: Use it well" -m "Another reason."
	git -C build/tree rebase --continue
	series/series refresh
	is "$(status)" " M virt/kvm/use-it.patch;"
	says virt/kvm/use-it.patch "Subject: KVM: irqfd: Use it well" "+deeper" "Another reason."
	inverse
}

t_refresh_new_commit() {
	edit net/ipv4/ipmr.c 50 "more"
	git -C build/tree commit -q -a -m "ipmr: Do More, and better!" -m "Because."
	series/series refresh
	is "$(status)" "?? net/ipv4/do-more-and-better.patch; M series/6.12/ipmr-rcu.order;"
	is "$(tail -n 1 series/6.12/ipmr-rcu.order)" net/ipv4/do-more-and-better.patch
	inverse
}

t_refresh_new_commit_goes_where_most_lines_change() {
	rebase '/Drop the old/a break'
	edit virt/kvm/eventfd.c 80 "one"
	edit fs/eventfd.c 50 "one"
	edit fs/eventfd.c 52 "two"
	git -C build/tree commit -q -a -m "KVM: irqfd: Touch both"
	git -C build/tree rebase --continue
	series/series refresh
	is "$(status)" "?? fs/touch-both.patch; M series/6.12/kvm-irqfd.order;"
	inverse
}

t_refresh_reorder() {
	rebase '/Add a test/{h;d};/Drop the old/G'
	series/series refresh
	is "$(status)" " M series/6.12/kvm-irqfd.order;"
	is "$(tr '\n' ';' < series/6.12/kvm-irqfd.order)" "# SPDX-License-Identifier: GPL-2.0;;fs/locked.patch;# about use-it;virt/kvm/use-it.patch;virt/kvm/drop-old.patch # beside;tools/testing/t.patch;# the end;"
	inverse
}

t_refresh_dropped_commit() {
	rebase '/Add a test/d'
	series/series refresh
	is "$(status)" " M series/6.12/kvm-irqfd.order; D tools/testing/t.c; D tools/testing/t.patch;"
	says series/6.12/kvm-irqfd.order "# about use-it" "drop-old.patch # beside" "# the end"
	inverse
}

t_refresh_renamed_subject_keeps_its_file() {
	git -C build/tree commit -q --amend -m "ip6mr: Quite another subject" -m "Why."
	series/series refresh
	is "$(status)" " M net/ipv6/rcu.patch;"
	says net/ipv6/rcu.patch "Subject: ip6mr: Quite another subject"
	inverse
}

t_refresh_squash_keeps_the_first_file() {
	rebase '/Drop the old/s/^pick/fixup/;/Add a test/{h;d};/Drop the old/G'
	series/series refresh
	is "$(status)" " M series/6.12/kvm-irqfd.order; D virt/kvm/drop-old.patch; M virt/kvm/use-it.patch;"
	inverse
}

t_refresh_finds_the_file_by_subject_without_a_note() {
	git --git-dir=build/git update-ref -d refs/notes/patch
	edit net/ipv6/ip6mr.c 41 amended
	git -C build/tree commit -q -a --amend --no-edit
	series/series refresh
	is "$(status)" " M net/ipv6/rcu.patch;"
	inverse
}

t_refresh_new_file_by_a_new_commit() {
	mkdir -p build/tree/tools/testing/net
	lines net 7 > build/tree/tools/testing/net/n.c
	git -C build/tree add -A
	git -C build/tree commit -q -m "selftests: net: Add n"
	series/series refresh
	is "$(status)" " M series/6.12/ipmr-rcu.order;?? tools/testing/net/add-n.patch;?? tools/testing/net/n.c;"
	is "$(grep -c '^Adds: tools/testing/net/n.c$' tools/testing/net/add-n.patch)" 1
	cmp tools/testing/net/n.c build/tree/tools/testing/net/n.c
	inverse
}

t_refresh_executable_and_link_and_empty_files() {
	printf '#!/bin/sh\n' > build/tree/tools/testing/x.sh
	chmod 755 build/tree/tools/testing/x.sh
	ln -s x.sh build/tree/tools/testing/l.sh
	: > build/tree/tools/testing/empty
	git -C build/tree add -A
	git -C build/tree commit -q -m "selftests: net: Add scripts"
	series/series refresh
	[[ -x tools/testing/x.sh && -L tools/testing/l.sh && -f tools/testing/empty && ! -x tools/testing/empty ]]
	inverse
	chmod 644 build/tree/tools/testing/x.sh
	git -C build/tree commit -q -a --amend --no-edit
	series/series refresh
	[[ ! -x tools/testing/x.sh ]]
	inverse
}

t_refresh_new_file_edited_by_its_own_commit() {
	rebase '/Add a test/s/^pick/edit/'
	echo more >> build/tree/tools/testing/t.c
	git -C build/tree commit -q -a --amend --no-edit
	git -C build/tree rebase --continue
	series/series refresh
	is "$(status)" " M tools/testing/t.c;"
	inverse
}

t_refresh_deleted_new_file() {
	git -C build/tree rm -q tools/testing/run.sh
	git -C build/tree commit -q --amend --no-edit
	series/series refresh
	is "$(status)" " M net/ipv6/rcu.patch; D tools/testing/run.sh;"
	inverse
}

t_refresh_deleting_a_file_of_the_base_and_its_mode() {
	git -C build/tree rm -q net/ipv4/ipmr.c
	chmod 644 build/tree/scripts/tool
	chmod 755 build/tree/fs/eventfd.c
	git -C build/tree commit -q -a -m "ipmr: Remove it"
	series/series refresh
	says net/ipv4/remove-it.patch "deleted file mode 100644" "old mode 100755" "new mode 100755"
	inverse
}

t_refresh_content_that_looks_like_a_patch() {
	printf '%s\n' '--- a/x' '+++ b/x' '@@ -1 +1 @@' 'diff --git a/x b/x' '---' 'index 1..2' '-- ' >> build/tree/net/ipv4/ipmr.c
	printf 'no newline at the end' >> build/tree/net/ipv6/ip6mr.c
	printf 'carriage\r\nreturn\t \r\n\f\xff\xfe latin\n' >> build/tree/Documentation/with\ space.rst
	git -C build/tree commit -q -a -m "ipmr: Look like a patch" -m "A changelog with ünicode.

  --- indented
and	a tab"
	series/series refresh
	inverse
	series/series format > /dev/null
	git clone -q "$W/linux" "$PWD-am"
	"${G[@]}" -C "$PWD-am" am -q --keep-cr --empty=drop "$PWD"/out/6.12/*/*.patch
	is "$(git -C "$PWD-am" rev-parse 'HEAD^{tree}')" "$(tree_of set)"
}

t_refresh_refuses_an_edit_of_an_added_file() {
	echo more >> build/tree/tools/testing/t.c
	git -C build/tree commit -q -a -m "selftests: net: Edit t"
	fails series/series refresh
	says "$(said)" "tools/testing/t.c" "Add a test" squash
	is "$(status)" ""
}

t_refresh_refuses_what_cannot_be_a_patch() {
	local start
	start=$(git -C build/tree rev-parse set)
	try() { # try TEXT: must be refused with TEXT, the repository untouched
		fails series/series refresh
		says "$(said)" "$@"
		is "$(status)" ""
		git -C build/tree reset -q --hard "$start"
	}
	printf 'a\0b' > build/tree/fs/bin
	git -C build/tree add -A
	git -C build/tree commit -q -m "eventfd: Binary"
	try binary
	git -C build/tree commit -q --allow-empty -m "ipmr: Nothing"
	try "changes nothing" drop
	git -C build/tree switch -q -c side HEAD~1
	edit fs/eventfd.c 50 x
	git -C build/tree commit -q -a -m "eventfd: Side"
	git -C build/tree switch -q set
	git -C build/tree merge -q --no-edit side
	try "is a merge"
	edit fs/eventfd.c 50 x
	git -C build/tree commit -q -a -m "bpf: No topic of ours"
	try "no topic" "reword"
	edit fs/eventfd.c 50 x
	git -C build/tree commit -q -a -m "ipmr: Break git am" -m "text" -m "---" -m "more text"
	try "git am ends a changelog"
	mkdir build/tree/series
	echo > build/tree/series/x
	git -C build/tree add -A
	git -C build/tree commit -q -m "ipmr: In the way"
	try "means something else"
	edit fs/eventfd.c 50 x
	try "not committed"
	echo > build/tree/new.c
	fails series/series refresh
	says "$(said)" "new.c"
	rm build/tree/new.c
	git -C build/tree switch -q --detach
	try "not on its branch"
}

t_refresh_refuses_topics_that_need_each_other() {
	sed -i '10s/.*/again/' build/tree/fs/eventfd.c
	git -C build/tree commit -q -a -m "ipmr: Build on the other topic"
	fails series/series refresh
	says "$(said)" "topic ipmr-rcu alone" "nothing was written"
	is "$(status)" ""
}

t_refresh_leaves_sign_offs_out_aloud() {
	edit net/ipv6/ip6mr.c 42 x
	git -C build/tree commit -q -a --amend --no-edit -s
	series/series refresh 2> "$W/signoff.said"
	says "$W/signoff.said" "Signed-off-by: Tester" "left out"
	if grep -ri "signed-off" net; then return 1; fi
	inverse
}

t_refresh_refuses_to_overwrite_hand_edits() {
	edit net/ipv6/ip6mr.c 40 amended
	git -C build/tree commit -q -a --amend --no-edit
	sed -i 's/The reason/By hand: the reason/' net/ipv6/rcu.patch
	fails series/series refresh
	says "$(said)" "net/ipv6/rcu.patch" "changed in the repository"
	is "$(status)" " M net/ipv6/rcu.patch;"
	says net/ipv6/rcu.patch "By hand"
	git checkout -q net/ipv6/rcu.patch
	echo other > tools/testing/t.c      # not in the way: this commit did not change
	fails series/series refresh
	says "$(said)" "tools/testing/t.c"
	git checkout -q tools/testing/t.c
	series/series refresh
	series/series tree
	sed -i 's/The reason/By hand: the reason/' net/ipv6/rcu.patch
	series/series tree                     # made from the hand's edit: now it is known
	edit net/ipv6/ip6mr.c 41 amended
	git -C build/tree commit -q -a --amend --no-edit
	series/series refresh
	says net/ipv6/rcu.patch "By hand"
	inverse
}

t_refresh_refuses_to_remove_hand_edits_and_foreign_files() {
	rebase '/Add a test/d'
	echo by hand >> tools/testing/t.c
	fails series/series refresh
	says "$(said)" "tools/testing/t.c"
	says tools/testing/t.c "by hand"
	git checkout -q tools/testing/t.c
	lines mine 3 > build/tree/tools/testing/m.c
	git -C build/tree add -A
	git -C build/tree commit -q -m "selftests: net: Add m"
	echo foreign > tools/testing/m.c
	fails series/series refresh
	says "$(said)" "tools/testing/m.c"
	is "$(cat tools/testing/m.c)" foreign
}

t_refresh_cut_off_anywhere_is_completed_by_the_next() {
	local n=0 old new wrote cut=0 f log=$PWD.wrote
	files() { git ls-files -co --exclude-standard -z | sort -zu | xargs -0 sha256sum 2> /dev/null || true; }
	rebase '/Add a test/d'
	edit net/ipv6/ip6mr.c 40 amended
	git -C build/tree commit -q -a --amend --no-edit
	edit net/ipv4/ipmr.c 50 more
	git -C build/tree commit -q -a -m "ipmr: Do more"
	cp -r . "$PWD-done"
	cp -r build "$PWD-start"
	old=$(files)
	new=$(cd "$PWD-done" && series/series refresh 2> "$log" && files)
	[[ $old != "$new" ]]
	mkdir "$PWD-bin"
	# a git that kills its caller at its Nth call: nothing is written yet
	printf '#!/bin/bash\necho >> "$COUNT"; [[ $(wc -l < "$COUNT") != "$N" ]] || kill -9 $PPID\nexec %s "$@"\n' "$(command -v git)" > "$PWD-bin/git"
	chmod 755 "$PWD-bin/git"
	export COUNT=$PWD-count
	while [[ $(files) == "$old" ]]; do
		n=$((n + 23))
		rm -f "$COUNT"
		if N=$n PATH="$PWD-bin:$PATH" series/series refresh; then break; fi
		cut=$((cut + 1))
	done
	(( cut > 3 ))
	series/series refresh
	is "$(files)" "$new"
	# after the first file, the second, ...
	mapfile -t wrote < <(sed -n 's/^\(wrote\|removed\) //p' "$log")
	is "${wrote[*]}" "net/ipv6/rcu.patch net/ipv4/do-more.patch series/6.12/kvm-irqfd.order series/6.12/ipmr-rcu.order tools/testing/t.c tools/testing/t.patch"
	for (( n = 1; n <= ${#wrote[@]}; n++ )); do
		git clean -q -d -f .
		git checkout -q .
		rm -rf build
		cp -r "$PWD-start" build
		for f in "${wrote[@]:0:n}"; do
			if [[ -e $PWD-done/$f ]]; then cp "$PWD-done/$f" "$f"; else rm "$f"; fi
		done
		# refresh notes which file is whose before it writes the first one
		git --git-dir=build/git fetch -q "$PWD-done/build/git" '+refs/notes/patch:refs/notes/patch'
		touch build/git/patch-set-refresh-unfinished
		fails series/series commits
		says "$(said)" "a refresh, which was cut off" "make refresh"
		series/series refresh
		is "$(files)" "$new"
		[[ ! -e build/git/patch-set-refresh-unfinished ]]
	done
	inverse
}

t_refresh_on_another_base_leaves_line_numbers() {
	export LINUX=$W/linux-shifted
	series/series tree 2> "$PWD-said"
	says "$PWD-said" "virt/kvm/use-it.patch: hunk 1 of 1 in virt/kvm/eventfd.c applies at line 20, offset 3"
	series/series refresh
	is "$(status)" ""
	# lines that the contributor moved move in the later patch, by as much
	rebase '/Use it/s/^pick/edit/'
	sed -i '23a two\nlines' build/tree/virt/kvm/eventfd.c
	git -C build/tree commit -q -a --amend --no-edit
	git -C build/tree rebase --continue
	series/series refresh
	is "$(git diff -U0 virt/kvm/drop-old.patch | grep -c '^[-+]@@')" 2
	says virt/kvm/drop-old.patch "@@ -59,7 +59,7 @@"
	inverse
}

t_refresh_renumber_puts_line_numbers_right() {
	LINUX=$W/linux-shifted series/series tree
	series/series refresh --renumber
	is "$(status)" " M virt/kvm/drop-old.patch; M virt/kvm/use-it.patch;"
	LINUX=$W/linux-shifted series/series tree 2> "$PWD-said"
	if grep offset "$PWD-said"; then return 1; fi
}

t_refresh_after_a_rebase_onto_another_base() {
	local new
	new=$(LINUX=$W/linux-shifted series/series base)
	git -C build/tree rebase -q --onto "$new" set/6.12/base set
	series/series refresh
	is "$(status)" ""
	LINUX=$W/linux-shifted inverse
}

two_bases() { # two_bases TOPIC...: base 7.3 shares the patches of these topics; build/tree is made for it
	local topic
	mkdir series/7.3
	sed 's/6\.12/7.3/' series/6.12/base > series/7.3/base
	for topic; do cp "series/6.12/$topic.order" series/7.3/; done
	git add -A
	"${G[@]}" commit -q -m "Two bases"
	BASE=7.3 series/series tree
}

amend_shared() { # a change of the last patch, which both bases have
	edit net/ipv6/ip6mr.c 40 amended
	git -C build/tree commit -q -a --amend --no-edit
}

t_bases_refresh_refuses_to_change_a_shared_patch_unasked() {
	two_bases kvm-irqfd ipmr-rcu
	series/series refresh
	is "$(status)" ""
	amend_shared
	fails env BASE=6.12 series/series refresh
	says "$(said)" "build/tree was made for 7.3" "BASE=7.3"
	fails series/series refresh
	says "$(said)" "net/ipv6/rcu.patch: would change for 6.12 too" "nothing was written" "--this-base" "--all-bases"
	is "$(status)" ""
	is "$(git --git-dir=build/git rev-parse refs/tree/made)" "$(git --git-dir=build/git rev-parse set/7.3/all)"
}

t_bases_this_base_alone_gets_its_own_patch() {
	two_bases kvm-irqfd ipmr-rcu
	sed -i 's/^net.ipv6.*/# about it\n& # beside/' series/7.3/ipmr-rcu.order
	"${G[@]}" commit -q -a -m x
	BASE=7.3 series/series tree
	amend_shared
	series/series refresh --this-base
	is "$(status)" "?? net/ipv6/rcu@7.3.patch; M series/7.3/ipmr-rcu.order;"
	is "$(tail -n 2 series/7.3/ipmr-rcu.order | tr '\n' ';')" "# about it;net/ipv6/rcu@7.3.patch # beside;"
	says net/ipv6/rcu@7.3.patch "+amended"
	is "$(git --git-dir=build/git rev-parse "$(BASE=7.3 series/series commits)^{tree}")" "$(tree_of set)"
	is "$(git --git-dir=build/git rev-parse "$(series/series commits)^{tree}")" "$full_tree"
	# from now on it is 7.3's own
	edit net/ipv6/ip6mr.c 41 again
	git -C build/tree commit -q -a --amend --no-edit
	series/series refresh
	says net/ipv6/rcu@7.3.patch "+again"
	sed -i 's/rcu.patch$/rcu@7.3.patch/' series/6.12/ipmr-rcu.order
	BASE=6.12 fails series/series commits
	says "$(said)" "series/6.12/ipmr-rcu.order" "rcu@7.3.patch, which is another base's"
}

t_bases_an_added_file_differs_too() {
	two_bases kvm-irqfd ipmr-rcu
	rebase '/Add a test/s/^pick/edit/' 7.3
	echo more >> build/tree/tools/testing/t.c
	git -C build/tree commit -q -a --amend --no-edit
	git -C build/tree rebase --continue
	fails series/series refresh
	says "$(said)" "tools/testing/t.c: would change for 6.12 too"
	series/series refresh --this-base
	is "$(status)" "?? tools/testing/t@7.3.c;"
	is "$(git --git-dir=build/git rev-parse "$(BASE=7.3 series/series commits)^{tree}")" "$(tree_of set)"
	is "$(git --git-dir=build/git rev-parse "$(series/series commits)^{tree}")" "$full_tree"
}

t_bases_a_change_for_all_must_apply_to_all() {
	two_bases ipmr-rcu
	amend_shared
	series/series refresh --all-bases
	is "$(status)" " M net/ipv6/rcu.patch;"
	is "$(git --git-dir=build/git show "$(series/series commits):net/ipv6/ip6mr.c" | sed -n 40p)" amended
	# 6.12 has a patch of its own that this does not fit
	"${G[@]}" commit -q -a -m x
	series/series tree
	edit net/ipv6/ip6mr.c 50 "of 6.12"
	git -C build/tree commit -q -a -m "ip6mr: For 6.12"
	series/series refresh
	git add -A
	"${G[@]}" commit -q -m y
	BASE=7.3 series/series tree
	edit net/ipv6/ip6mr.c 50 "of both"
	git -C build/tree commit -q -a --amend --no-edit
	fails series/series refresh --all-bases
	says "$(said)" "base 6.12: with this change the set no longer applies" "for-6-12.patch" "hunk 1"
	is "$(status)" ""
}

t_bases_a_cherry_pick_is_shared_while_it_is_the_same() {
	two_bases
	is "$(BASE=7.3 series/series commits)" "$(git -C "$W/linux" rev-parse HEAD)"
	git -C build/tree cherry-pick set/6.12/base..set/6.12/ipmr-rcu
	series/series refresh
	is "$(status)" "?? series/7.3/ipmr-rcu.order;"
	git add -A
	"${G[@]}" commit -q -m x
	git -C build/tree reset -q --hard set/7.3/base
	git -C build/tree cherry-pick set/6.12/kvm-irqfd~3
	edit fs/eventfd.c 12 "of 7.3"
	git -C build/tree commit -q -a --amend --no-edit
	git -C build/tree cherry-pick set/6.12/base..set/6.12/ipmr-rcu
	series/series refresh
	is "$(status)" "?? fs/locked@7.3.patch;?? series/7.3/kvm-irqfd.order;"
	is "$(tail -n 1 series/7.3/kvm-irqfd.order)" fs/locked@7.3.patch
	is "$(git --git-dir=build/git rev-parse "$(BASE=7.3 series/series commits)^{tree}")" "$(tree_of set)"
}

t_bases_without_topics_work_with_every_verb() {
	two_bases
	export BASE=7.3
	series/series show > "$PWD-show"
	says "$PWD-show" '"base": "7.3"' '"topics": []' '"6.12"'
	is "$(series/series checkout set/7.3/all)" "$(git -C "$W/linux" rev-parse HEAD)"
	[[ -e build/7.3/src/Makefile ]]
	series/series refresh
	series/series format 2> "$PWD-said"
	says "$PWD-said" "no patches for base 7.3"
	fails series/series apply
	says "$(said)" "no patches for base 7.3"
	fails series/series mail --topic kvm-irqfd
	says "$(said)" "TOPIC=kvm-irqfd: has no patches for base 7.3" "6.12"
	fails series/series commits --topic kvm-irqfd
	is "$(status)" ""
}

t_bases_nonsense_is_refused_by_every_verb() {
	local verb
	for verb in base show commits "checkout set" tree format apply "mail --topic kvm-irqfd"; do
		# shellcheck disable=SC2086 # words
		BASE=nonsense fails series/series $verb
		is "$(cat "$(said)")" "series ${verb%% *}: error: BASE=nonsense: is no base of this set
  what to do: give one of: 6.12"
	done
}

t_bases_switch_wants_the_work_refreshed() {
	two_bases ipmr-rcu
	edit net/ipv6/ip6mr.c 40 amended
	fails env BASE=6.12 series/series tree
	says "$(said)" "uncommitted changes, made for base 7.3" "make refresh BASE=7.3" "reset --hard"
	git -C build/tree commit -q -a --amend --no-edit
	fails env BASE=6.12 series/series tree
	says "$(said)" "commits for base 7.3" "make refresh BASE=7.3"
	is "$(sed -n 40p build/tree/net/ipv6/ip6mr.c)" amended
	series/series refresh --this-base
	BASE=6.12 series/series tree
	is "$(tree_of set)" "$full_tree"
	fails env BASE=7.3 series/series refresh
	says "$(said)" "made for 6.12"
}

front_door() { # front_door ARGUMENT...: make, with a set-up that installs nothing
	mkdir -p testbed/bin
	printf '#!/bin/sh\n' > testbed/bin/setup
	chmod 755 testbed/bin/setup
	make --no-print-directory -f "$here/../../Makefile" "$@"
}

t_make_without_base_takes_that_of_the_tree() {
	two_bases ipmr-rcu
	edit net/ipv6/ip6mr.c 40 amended
	git -C build/tree commit -q -a --amend --no-edit
	unset BASE
	front_door refresh ARGS=--this-base
	[[ -e net/ipv6/rcu@7.3.patch ]]
}

t_show_is_the_set() {
	series/series show > "$PWD-show"
	is "$(python3 -c 'import json, sys; d = json.load(sys.stdin); print(d["base"], d["package"], d["version"], [(t["name"], t["subject_prefix"], t["cover"], len(t["patches"])) for t in d["topics"]], d["topics"][0]["patches"][2])' < "$PWD-show")" \
		"6.12 linux-source-6.12 6.12.1 [('kvm-irqfd', 'PATCH 6.12', 'series/kvm-irqfd.cover', 4), ('ipmr-rcu', 'PATCH net-next', 'series/ipmr-rcu.cover', 2)] {'path': 'tools/testing/t.patch', 'subject': 'KVM: selftests: Add a test', 'adds': ['tools/testing/t.c'], 'touches': ['tools/testing/Makefile'], 'maintains': [], 'selftest': False}"
}

t_tree_refuses_to_lose_work() {
	edit net/ipv6/ip6mr.c 40 amended
	fails series/series tree
	says "$(said)" "uncommitted" "make refresh"
	fails series/series tree --check
	is "$(sed -n 40p build/tree/net/ipv6/ip6mr.c)" amended
	git -C build/tree commit -q -a --amend --no-edit
	for other in "$W/linux" "$W/linux-shifted"; do
		LINUX=$other fails series/series tree
		says "$(said)" "not written"
	done
	rm -rf build/tree                   # even then: the commit is on the branch
	fails series/series tree
	says "$(said)" "not written"
	git --git-dir=build/git worktree prune
	git --git-dir=build/git worktree add -q build/tree set
	series/series refresh
	says net/ipv6/rcu.patch "+amended"
	series/series tree --check
	series/series tree
	git -C build/tree switch -q --detach
	fails series/series tree
	git -C build/tree switch -q set
	GIT_SEQUENCE_EDITOR="sed -i '1i break'" git -C build/tree rebase -i HEAD~1
	fails series/series tree
	says "$(said)" rebase
}

t_tree_finishes_an_interrupted_checkout_and_keeps_edits() {
	local real
	real=$(command -v git)
	mkdir "$PWD-bin"
	# a git that is cut off in the middle of a checkout: some files done, no index, no HEAD
	printf '#!/bin/bash\nif [[ "$*" == *" checkout "* ]]; then cp "%s/tools/testing/t.c" build/tree/tools/testing/; cp "%s/virt/kvm/eventfd.c" build/tree/virt/kvm/; kill -9 $PPID; exit 1; fi\nexec %s "$@"\n' \
		"$W/scratch" "$W/linux-shifted" "$real" > "$PWD-bin/git"
	chmod 755 "$PWD-bin/git"
	cp -r . "$PWD-2"
	if LINUX=$W/linux-shifted PATH="$PWD-bin:$PATH" series/series tree; then return 1; fi
	sed -i 's/.*/mine/' build/tree/virt/kvm/eventfd.c
	fails series/series tree
	says "$(said)" "virt/kvm/eventfd.c" "interrupted"
	says build/tree/virt/kvm/eventfd.c mine
	git -C build/tree checkout -q -- virt/kvm/eventfd.c
	series/series tree
	is "$(git -C build/tree status --porcelain)" ""
	is "$(tree_of set)" "$full_tree"
}

t_tree_names_a_failing_hunk_and_the_way_out() {
	git clone -q "$W/linux" "$PWD-linux"
	sed -i '59s/.*/moved on/' "$PWD-linux/virt/kvm/eventfd.c"
	"${G[@]}" -C "$PWD-linux" commit -q -a -m "Linux 6.12.3"
	export LINUX=$PWD-linux
	fails series/series tree
	says "$(said)" "virt/kvm/drop-old.patch" "hunk 1 of 1 in virt/kvm/eventfd.c" "+dropped" "-irqfd line 60" "--reject"
	is "$(tree_of set)" "$full_tree"
	fails series/series tree --reject
	says "$(said)" "stopped before virt/kvm/drop-old.patch" "git commit -F" "ARGS=--continue"
	[[ -f build/tree/virt/kvm/eventfd.c.rej && ! -e build/tree/virt/kvm/old.h ]]
	fails series/series refresh
	says "$(said)" "not complete"
	edit virt/kvm/eventfd.c 60 dropped
	rm build/tree/virt/kvm/eventfd.c.rej
	fails series/series tree --continue
	git -C build/tree commit -q -a -F ../git/patch-set-message
	series/series tree --continue
	fails series/series tree
	series/series refresh
	is "$(status)" " M virt/kvm/drop-old.patch;"
	inverse
}

t_a_patch_that_the_base_has_is_left_out() {
	git clone -q "$W/linux" "$PWD-linux"
	sed -i '30s/.*/rcu/' "$PWD-linux/net/ipv4/ipmr.c"
	"${G[@]}" -C "$PWD-linux" commit -q -a -m "Linux 6.12.5"
	export LINUX=$PWD-linux
	"${G[@]}" -C "$LINUX" config user.name Tester
	"${G[@]}" -C "$LINUX" config user.email tester@localhost
	series/series commits 2> "$PWD-said"
	says "$PWD-said" "net/ipv4/rcu.patch: left out, as this base has the same change already"
	is "$(git --git-dir=build/git rev-parse 'refs/set/6.12/all^{tree}')" "$full_tree"
	series/series apply 2> "$PWD-said"
	says "$PWD-said" "5 patches on the new branch patch-set-6.12"
	is "$(git -C "$LINUX" rev-parse 'patch-set-6.12^{tree}')" "$full_tree"
	git -C "$LINUX" checkout -q master
	# In a tree to edit, it would be gone, and refresh would remove it.
	fails series/series tree
	says "$(said)" "net/ipv4/rcu.patch: this base has the same change already"
	is "$(tree_of set)" "$full_tree"
	is "$(status)" ""
	# Half of it is a conflict.
	sed -i '31s/.*/more/' "$PWD-linux/net/ipv4/ipmr.c"
	"${G[@]}" -C "$PWD-linux" commit -q -a -m "Linux 6.12.6"
	fails series/series commits
	says "$(said)" "hunk 1 of 1 in net/ipv4/ipmr.c does not apply"
	# The base has all of a topic.
	sed -i '31s/.*/ipmr line 31/' "$PWD-linux/net/ipv4/ipmr.c"
	"${G[@]}" -C "$PWD-linux" commit -q -a -m "Linux 6.12.7"
	echo net/ipv4/rcu.patch > series/6.12/ipmr-rcu.order
	series/series commits
	fails series/series apply --topic ipmr-rcu
	says "$(said)" "there is nothing to apply"
}

t_commits_refuses_fuzz_and_bad_patches() {
	bad() { # bad SED FILE TEXT...
		sed -i "$1" "$2"
		fails series/series commits
		says "$(said)" "$2" "${@:3}"
		git checkout -q .
	}
	bad 's/^ irqfd line 19$/ irqfd line nineteen/' virt/kvm/use-it.patch "hunk 1 of 1 in virt/kvm/eventfd.c does not apply"
	bad 's/^ irqfd line 17$/ irqfd line seventeen/' virt/kvm/use-it.patch "does not apply"
	bad '/^ irqfd line 1[789]$/d; s/@@ -17,7 +17,7 @@/@@ -20,4 +20,4 @@/' virt/kvm/use-it.patch "0 lines of context"
	bad 's/@@ -17,7/@@ -17,8/' virt/kvm/use-it.patch "number of lines"
	bad 's/^---$/Adds: fs\/eventfd.c\n---/' virt/kvm/use-it.patch "adds fs/eventfd.c" "already"
	bad 's/^Adds: .*/Adds: tools\/testing\/gone.c/' tools/testing/t.patch "tools/testing/gone.c" "not in the repository"
	bad 's/^Adds: .*/Adds: ..\/..\/etc\/passwd/' tools/testing/t.patch "bad path"
	bad 's/^The reason/Signed-off-by: x\n\nThe reason/' virt/kvm/use-it.patch "a person signs"
	bad 's/^Subject/Title/' virt/kvm/use-it.patch "Subject"
	bad '/^---$/,$d' virt/kvm/use-it.patch "---"
	bad '/^---$/,$ { /^---$/!d }' virt/kvm/use-it.patch "changes nothing"
	sed -i '1a net/ipv4/gone.patch' series/6.12/ipmr-rcu.order
	fails series/series commits
	says "$(said)" "net/ipv4/gone.patch" "not there"
}

t_commits_onto_takes_one_more_patch() {
	local tip
	mkdir testbed
	sed -n '1,/^---$/p' virt/kvm/use-it.patch > testbed/broken.patch
	{
		printf 'diff --git a/fs/eventfd.c b/fs/eventfd.c\n--- a/fs/eventfd.c\n+++ b/fs/eventfd.c\n@@ -7,7 +7,7 @@\n'
		printf ' eventfd line %s\n' 7 8 9
		printf -- '-locked removal\n+broken\n eventfd line 11\n eventfd line 12\n eventfd line 13\n'
	} >> testbed/broken.patch
	tip=$(series/series commits --onto set testbed/broken.patch)
	is "$(git --git-dir=build/git show "$tip:fs/eventfd.c" | sed -n 10p)" broken
	is "$(git --git-dir=build/git rev-parse "$tip~1")" "$(git --git-dir=build/git rev-parse set)"
}

t_series_is_what_git_am_takes() {
	local topic
	series/series format > /dev/null
	git config user.name "A Person"
	git config user.email person@localhost
	for topic in kvm-irqfd ipmr-rcu; do
		git clone -q "$W/linux" "$PWD-$topic"
		"${G[@]}" -C "$PWD-$topic" am -q --empty=drop "$PWD/out/6.12/$topic"/*.patch
		is "$(git -C "$PWD-$topic" rev-parse 'HEAD^{tree}')" "$(tree_of "set/6.12/$topic")"
	done
	"${G[@]}" -C "$PWD-kvm-irqfd" am -q --empty=drop "$PWD"/out/6.12/ipmr-rcu/*.patch
	is "$(git -C "$PWD-kvm-irqfd" rev-parse 'HEAD^{tree}')" "$full_tree"
	is "$(cd out/6.12/kvm-irqfd && echo ./*)" "./0000-cover-letter.patch ./0001-eventfd-Add-a-locked-removal.patch ./0002-KVM-irqfd-Use-it.patch ./0003-KVM-selftests-Add-a-test.patch ./0004-KVM-irqfd-Drop-the-old.patch"
	says out/6.12/kvm-irqfd/0000-cover-letter.patch "Subject: [PATCH 0/4] KVM: irqfd: A cover" "The whole story." "5 files changed" \
		"base-commit: $(git -C "$W/linux" rev-parse HEAD)" "base: Linux 6.12.1" "KVM: selftests: Add a test" "From: linux patch set <patch-set@localhost>"
	if grep -r '\*\*\*\|Signed-off-by' out; then return 1; fi
	echo stale > out/6.12/kvm-irqfd/0005-stale.patch
	series/series format --topic kvm-irqfd --prefix "PATCH v2" > /dev/null
	[[ ! -e out/6.12/kvm-irqfd/0005-stale.patch ]]
	says out/6.12/kvm-irqfd/0002-KVM-irqfd-Use-it.patch "From: A Person <person@localhost>" "Subject: [PATCH v2 2/4]"
	says out/6.12/kvm-irqfd/0000-cover-letter.patch "From: A Person <person@localhost>"
	cp -r out "$PWD-out"
	rm series/kvm-irqfd.cover
	fails series/series format
	says "$(said)" "series/kvm-irqfd.cover"
	diff -r out "$PWD-out"
}

t_apply_makes_a_branch() {
	git clone -q "$W/linux-shifted" "$PWD-linux"
	export LINUX=$PWD-linux
	git -C "$LINUX" config user.name Me
	git -C "$LINUX" config user.email me@localhost
	series/series apply 2> "$PWD-said"
	says "$PWD-said" "6 patches on the new branch patch-set-6.12" "offset 3"
	is "$(git -C "$LINUX" symbolic-ref --short HEAD)" patch-set-6.12
	is "$(git -C "$LINUX" rev-parse 'HEAD^{tree}')" "$(git --git-dir=build/git rev-parse "$(LINUX=$W/linux-shifted series/series commits)^{tree}")"
	is "$(git -C "$LINUX" status --porcelain)" ""
	git -C "$LINUX" switch -q master
	fails series/series apply
	says "$(said)" "has a branch patch-set-6.12"
	TOPIC=ipmr-rcu series/series apply
	is "$(git -C "$LINUX" diff --name-only master | tr '\n' ' ')" "net/ipv4/ipmr.c net/ipv6/ip6mr.c tools/testing/run.sh "
	fails series/series apply --topic nonsense
}

t_apply_leaves_the_tree_alone_when_it_refuses() {
	local before
	git clone -q "$W/linux" "$PWD-linux"
	export LINUX=$PWD-linux
	git -C "$LINUX" config user.name Me
	git -C "$LINUX" config user.email me@localhost
	state() { git -C "$LINUX" rev-parse HEAD; git -C "$LINUX" symbolic-ref HEAD; git -C "$LINUX" branch; git -C "$LINUX" status --porcelain; }
	refuses() { # refuses TEXT...
		before=$(state)
		fails series/series apply
		says "$(said)" "$@"
		is "$(state)" "$before"
	}
	echo dirty >> "$LINUX/Makefile"
	refuses "uncommitted changes"
	git -C "$LINUX" checkout -q .
	echo mine > "$LINUX/tools/testing/t.c"
	refuses "tools/testing/t.c" "in the way"
	rm "$LINUX/tools/testing/t.c"
	mkdir "$LINUX/.git/rebase-merge"
	refuses rebase
	rmdir "$LINUX/.git/rebase-merge"
	printf '#!/bin/sh\n! grep -q "Add a test" "$1"\n' > "$LINUX/.git/hooks/applypatch-msg"
	chmod 755 "$LINUX/.git/hooks/applypatch-msg"
	refuses "git am" "is back on master"
	rm "$LINUX/.git/hooks/applypatch-msg"
	sed -i '59s/.*/moved on/' "$LINUX/virt/kvm/eventfd.c"
	git -C "$LINUX" commit -q -a -m "moved on"
	refuses "virt/kvm/drop-old.patch" "hunk 1"
	unset LINUX
	fails series/series apply
	says "$(said)" "LINUX"
	mkdir "$PWD-plain"
	( cd "$PWD-plain"; linux_files 1 )
	LINUX=$PWD-plain fails series/series apply
	says "$(said)" "not a git tree"
}

t_src_touches_only_what_differs() {
	local before
	is "$(series/series checkout set/6.12/base)" "$(git -C "$W/linux" rev-parse HEAD)"
	before=$(stat -c %Y.%i build/6.12/src/Kconfig build/6.12/src/net/ipv4/ipmr.c build/6.12/src/fs/eventfd.c)
	series/series checkout set/6.12/kvm-irqfd
	is "$(git -C build/6.12/src rev-parse 'HEAD^{tree}')" "$(tree_of set/6.12/kvm-irqfd)"
	is "$(stat -c %Y.%i build/6.12/src/Kconfig build/6.12/src/net/ipv4/ipmr.c)" "$(head -n 2 <<< "$before")"
	echo > build/6.12/src/built.o
	echo x >> build/6.12/src/Makefile
	fails series/series checkout set
	says "$(said)" "Makefile" "reset --hard"
	git -C build/6.12/src reset -q --hard
	series/series checkout set
	is "$(git -C build/6.12/src rev-parse 'HEAD^{tree}')" "$full_tree"
	fails series/series checkout nonsense
	series/series tree       # both worktrees side by side
}

t_an_error_of_the_system_is_no_traceback() {
	rm build/series.lock
	mkdir build/series.lock
	fails series/series commits
	says "$(said)" "error: $PWD/build/series.lock: Is a directory" "what to do: see that $PWD is yours"
}

t_two_runs_at_once_wait_for_each_other() {
	# The holder lets go when the run has said that it waits, or when it has not waited at all.
	(
		flock 9
		: > "$PWD-held"
		until grep -qs "waiting for" "$PWD-said" || [[ -e $PWD-ended ]]; do sleep 0.1; done
		[[ -e $PWD-ended ]] || : > "$PWD-released"
	) 9> build/series.lock &
	until [[ -e $PWD-held ]]; do sleep 0.1; done
	series/series tree 2> "$PWD-said"
	: > "$PWD-ended"
	says "$PWD-said" "waiting for"
	[[ -e $PWD-released ]]
	for _ in 1 2 3; do series/series tree & series/series refresh & series/series format & done > /dev/null
	for job in $(jobs -p); do wait "$job"; done
	is "$(status)" ""
	is "$(tree_of set)" "$full_tree"
}

t_every_verb_has_help() {
	local verb
	for verb in $(series/series --help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
		series/series "$verb" --help > "$PWD-help"
		says "$PWD-help" usage: "series $verb"
	done
	[[ $verb == mail ]]
}

maintainers() { # maintainers: our MAINTAINERS, and a patch of the first topic that takes it
	printf '%s\n' 'SPDX-License-Identifier: GPL-2.0' '' 'EVENT FILES' 'F:	include/linux/eventfd.h' 'F:	a/first' 'F:	virt/last' > MAINTAINERS
	printf '%s\n' 'Subject: MAINTAINERS: Add headers' '' 'So that mail arrives.' '' 'Maintains: EVENT FILES' --- > maintainers.patch
	echo maintainers.patch >> series/6.12/kvm-irqfd.order
}

t_maintainers_lines_go_to_their_sorted_place() {
	maintainers
	series/series tree
	is "$(git -C build/tree diff set/6.12/base set --unified=0 -- MAINTAINERS | grep '^[+-][^+-]' | tr '\n' ';')" \
		"+F:	a/first;+F:	include/linux/eventfd.h;+F:	virt/last;"
	is "$(sed -n '/^EVENT/,/^X/p' build/tree/MAINTAINERS | cut -f2 | tr '\n' ' ')" \
		"EVENT FILES Somebody list@localhost a/first fs/ include/linux/eventfd.h include/linux/fs.h virt/last fs/x "
	series/series refresh
	is "$(git diff --name-only; tr '\n' ';' < MAINTAINERS)" \
		"series/6.12/kvm-irqfd.order
SPDX-License-Identifier: GPL-2.0;;EVENT FILES;F:	a/first;F:	include/linux/eventfd.h;F:	virt/last;"
	inverse
}

t_maintainers_commit_becomes_lines() {
	sed -i 's/^F:	net\/ipv4/F:	net\/core\/\n&/' build/tree/MAINTAINERS
	git -C build/tree commit -q -a -m "MAINTAINERS: Add the core" -m "It is the network's."
	series/series refresh
	is "$(status)" "?? MAINTAINERS;?? add-the-core.patch; M series/6.12/ipmr-rcu.order;"
	says MAINTAINERS "SPDX-License-Identifier: GPL-2.0" NETWORK "F:	net/core/"
	is "$(tr '\n' ';' < add-the-core.patch)" "Subject: MAINTAINERS: Add the core;;It is the network's.;;Maintains: NETWORK;---;"
	inverse
	git add -A
	"${G[@]}" commit -q -m x
	git -C build/tree reset -q --hard HEAD^
	series/series refresh
	is "$(status)" " D MAINTAINERS; D add-the-core.patch; M series/6.12/ipmr-rcu.order;"
}

t_maintainers_only_lines_of_entries_that_are_there() {
	local change
	for change in 's/^S:.*/S:	Orphan/' '$aNEW ENTRY\nF:	new/' '/^NETWORK/,$s/^F:	net\/ipv6.*/&\nF:	a\/first/' '/^M:	Somebody/d'; do
		sed -i "$change" build/tree/MAINTAINERS
		git -C build/tree commit -q -a -m "MAINTAINERS: Change it"
		fails series/series refresh
		says "$(said)" "(MAINTAINERS: Change it): changes MAINTAINERS otherwise than by F: lines"
		git -C build/tree reset -q --hard HEAD^
	done
}

t_maintainers_errors_name_the_entry() {
	maintainers
	sed -i 's/EVENT FILES/EVENTS/' MAINTAINERS maintainers.patch
	fails series/series tree
	says "$(said)" "maintainers.patch: MAINTAINERS has no entry 'EVENTS'" "put the line under another entry"
	sed -i 's/EVENTS/EVENT FILES/; s/a\/first/fs\//' MAINTAINERS maintainers.patch
	fails series/series tree
	says "$(said)" "'EVENT FILES' has 'F:\\tfs/' already"
	sed -i 's/^Maintains: .*/Maintains: NETWORK/' maintainers.patch
	fails series/series tree
	says "$(said)" "maintainers.patch: takes the lines of 'NETWORK', of which MAINTAINERS has none"
	printf '%s\n' '' NETWORK 'F:	net/core/' >> MAINTAINERS
	fails series/series tree
	says "$(said)" "MAINTAINERS: no patch takes the lines of 'EVENT FILES'"
	sed -i 's/^Maintains: .*/&\nMaintains: EVENT FILES/; ' maintainers.patch
	sed -i 's/^F:	fs\//M:	Nobody/' MAINTAINERS
	fails series/series tree
	says "$(said)" "MAINTAINERS, EVENT FILES: holds 'M:\\tNobody'; only lines F:"
}

t_format_of_a_topic_that_stands_after_another() {
	local start
	sed -i 's/^ipmr-rcu /ipmr-rcu after kvm-irqfd /' series/topics
	series/series commits > /dev/null
	start=$(git --git-dir=build/git rev-parse refs/set/6.12/kvm-irqfd)
	is "$(git --git-dir=build/git rev-parse refs/set/6.12/ipmr-rcu~2)" "$start"
	series/series format --topic ipmr-rcu > /dev/null
	says out/6.12/ipmr-rcu/0000-cover-letter.patch "base: Linux 6.12.1, git tree at commit" "with topic kvm-irqfd" "PATCH 0/2"
	series/series show > shown
	says shown '"kvm-irqfd"' '"below": ['
	# It goes onto a tree only with what it stands on.
	git clone -q "$W/linux" "$PWD-linux"
	git -C "$PWD-linux" config user.name Me
	git -C "$PWD-linux" config user.email me@localhost
	LINUX=$PWD-linux TOPIC=ipmr-rcu series/series apply 2> "$PWD-said"
	says "$PWD-said" "6 patches on the new branch"
	sed -i 's/^ipmr-rcu after kvm-irqfd /ipmr-rcu after nobody /' series/topics
	fails series/series commits
	says "$(said)" "nobody"
}
