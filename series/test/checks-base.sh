# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2016,SC2154,SC2164
# The checks of base and applies: LINUX=DIR, and a pretended apt archive. Sourced.

deb() { # deb VERSION FOLDER: a .deb in $PWD-archive whose tarball holds FOLDER
	local root=$PWD-deb version=$1
	rm -rf "$root"
	mkdir -p "$root/DEBIAN" "$root/usr/src" "$PWD-archive"
	printf 'Package: linux-source-6.12\nVersion: %s\nArchitecture: all\nMaintainer: x <x@localhost>\nDescription: x\n' "$version" > "$root/DEBIAN/control"
	tar -C "$(dirname "$2")" --sort=name --mtime=@1700000000 --owner=0 --group=0 --exclude=.git --transform="s,^$(basename "$2"),linux-source-6.12," \
		-cJf "$root/usr/src/linux-source-6.12.tar.xz" "$(basename "$2")"
	dpkg-deb -Zxz -z0 --root-owner-group -b "$root" "$PWD-archive/linux-source-6.12_${version}_all.deb" > /dev/null
}

archive() { # a pretended apt whose archive is $PWD-archive
	export ARCHIVE=$PWD-archive PATH=$PWD-apt:$PATH
	unset LINUX
	mkdir -p "$PWD-apt" "$ARCHIVE"
	cat > "$PWD-apt/apt-cache" <<-'END'
	#!/bin/bash
	cd "$ARCHIVE"
	if [[ $1 == madison ]]; then
		for f in *.deb; do [[ ! -e $f ]] || { v=${f#*_}; echo " $2 | ${v%_*} | a/archive main Packages"; }; done
	else
		echo "Size: 1000"
	fi
	END
	cat > "$PWD-apt/apt-get" <<-'END'
	#!/bin/bash
	echo "apt-get $*" >> "$ARCHIVE/log"
	[[ $1 == download ]] || exit 0
	[[ ! -e $ARCHIVE/down ]] || { echo "E: no network" >&2; exit 100; }
	what=${*: -1}
	cp "$ARCHIVE/linux-source-6.12_${what##*=}_all.deb" .
	END
	printf '#!/bin/sh\necho "D='"'%s'"'"\n' "$ARCHIVE/lists" > "$PWD-apt/apt-config"
	mkdir -p "$ARCHIVE/lists"
	touch "$ARCHIVE/lists/Release"
	chmod 755 "$PWD-apt"/*
}

t_base_linux_git_tree_is_not_touched() {
	local before
	rm -rf build
	git clone -q --depth 1 "file://$W/linux-shifted" "$PWD-linux"
	git -C "$PWD-linux" worktree add -q "$PWD-wt"
	before=$(cd "$PWD-linux" && find . -type f -printf '%p %T@ %s\n' | sort | sha256sum)
	is "$(LINUX=$PWD-linux series/series base)" "$(git -C "$PWD-linux" rev-parse HEAD)"
	is "$(LINUX=$PWD-wt series/series base)" "$(git -C "$PWD-linux" rev-parse HEAD)"
	LINUX=$PWD-linux series/series tree
	git -C build/tree log --oneline > /dev/null     # shallow: the history ends, without an error
	git --git-dir=build/git fsck --connectivity-only 2>&1 | tee "$PWD-fsck"
	if grep -q 'missing\|broken' "$PWD-fsck"; then return 1; fi
	LINUX=$PWD-linux series/series format
	is "$(cd "$PWD-linux" && find . -type f -printf '%p %T@ %s\n' | sort | sha256sum)" "$before"
	echo x >> "$PWD-wt/Makefile"
	LINUX=$PWD-wt series/series base 2> "$PWD-said"
	says "$PWD-said" "uncommitted changes" "NOT used"
	git clone -q --shared "$PWD-linux" "$PWD-borrowed"   # alternates of alternates
	mv build "$PWD-build"
	is "$(LINUX=$PWD-borrowed series/series base)" "$(git -C "$PWD-linux" rev-parse HEAD)"
}

t_base_linux_folder() {
	local commit
	mkdir "$PWD-linux"
	( cd "$PWD-linux"; linux_files 1; : > empty; mkdir emptydir; lines built 3 > x.o )
	commit=$(LINUX=$PWD-linux series/series base)
	[[ ! -e $PWD-linux/.git ]]
	is "$(git --git-dir=build/git ls-tree -r "$commit" | grep -c '120000.*scripts/link\|100755.*scripts/tool\|100644.*\.gitignore\|x\.o\|empty$')" 5
	is "$(LINUX=$PWD-linux series/series base)" "$commit"
	LINUX=$PWD-linux series/series tree
	LINUX=$PWD-linux series/series refresh
	is "$(status)" ""
	sed -i '30s/.*/changed/' "$PWD-linux/fs/eventfd.c"
	commit=$(LINUX=$PWD-linux series/series base)
	is "$(git --git-dir=build/git show "$commit:fs/eventfd.c" | sed -n 30p)" changed
	printf 'crlf\r\n' > "$PWD-linux/crlf.txt"      # no attribute changes what is imported
	echo '*.txt text eol=lf' > "$PWD-linux/.gitattributes"
	commit=$(LINUX=$PWD-linux series/series base)
	is "$(git --git-dir=build/git show "$commit:crlf.txt" | od -c)" "$(od -c "$PWD-linux/crlf.txt")"
	touch "$PWD-linux/.config"
	LINUX=$PWD-linux fails series/series base
	says "$(said)" ".config" "mrproper"
	series/series tree     # back on the git tree
	is "$(tree_of set)" "$full_tree"
}

t_base_linux_wrong_folder() {
	LINUX=$PWD-none fails series/series base
	says "$(said)" "no such folder"
	mkdir "$PWD-linux"
	LINUX=$PWD-linux fails series/series base
	says "$(said)" "no Makefile, Kconfig, MAINTAINERS"
	touch "$PWD-linux"/{Makefile,Kconfig,MAINTAINERS}
	LINUX=$PWD-linux fails series/series base
	says "$(said)" "VERSION"
	LINUX=$PWD fails series/series base
	says "$(said)" "no Makefile, Kconfig, MAINTAINERS"
	LINUX=build/tree fails series/series base
	says "$(said)" "build/"
	git init -q "$PWD-empty"
	LINUX=$PWD-empty fails series/series base
	says "$(said)" "finds no commit"
	printf 'VERSION = 7\nPATCHLEVEL = 3\n' > "$PWD-linux/Makefile"
	LINUX=$PWD-linux series/series base 2> "$PWD-said"
	says "$PWD-said" "Linux 7.3" "6.12"
	BASE=9.9 fails series/series base
	says "$(said)" "BASE=9.9: is no base of this set" "give one of: 6.12"
}

t_base_package_is_imported_once_and_right() {
	local commit index=$PWD-index
	cp -r "$W/linux" "$PWD-linux"
	mkdir -p "$PWD-linux/sub"
	ln "$PWD-linux/fs/eventfd.c" "$PWD-linux/sub/hard.c"
	deb 6.12.1-1 "$PWD-linux"
	deb 6.12.1-2~deb12u1 "$PWD-linux"
	archive
	commit=$(series/series base)
	is "$(git --git-dir=build/git show -s --format=%s "$commit")" "linux-source-6.12 6.12.1-2~deb12u1"
	is "$(git --git-dir=build/git show -s --format=%ct "$commit")" 1700000000
	rm -rf "$PWD-linux/.git"
	GIT_INDEX_FILE=$index git --git-dir=build/git --work-tree="$PWD-linux" -c core.bare=false add -A -f "$PWD-linux"
	is "$(git --git-dir=build/git rev-parse "$commit^{tree}")" "$(GIT_INDEX_FILE=$index git --git-dir=build/git write-tree)"
	touch "$PWD-archive/down"
	is "$(series/series base)" "$commit"
	rm "$PWD-archive/down"
	mv build "$PWD-build"
	is "$(series/series base)" "$commit"
	is "$(find build -name 'download-*' -o -name 'tmp_*' -o -name '*.deb')" ""
	series/series format > /dev/null
	says out/6.12/ipmr-rcu/0000-cover-letter.patch "base-commit: $commit" "base: Debian's linux-source-6.12 6.12.1-2~deb12u1"
	is "$(series/series base --list | tr '\n' ';')" "oldest 6.12.1-1;pinned 6.12.1-2~deb12u1;newest 6.12.1-2~deb12u1;"
}

t_base_package_pinned_gone() {
	deb 6.12.4-1 "$W/linux"
	deb 6.12.10-1 "$W/linux-shifted"
	archive
	series/series tree 2> "$PWD-said"
	says "$PWD-said" "pinned linux-source-6.12 6.12.1 is gone" "6.12.10-1"
	is "$(git -C build/tree rev-parse 'set~6^{tree}')" "$(git -C "$W/linux-shifted" rev-parse 'HEAD^{tree}')"
	series/series base --version 6.12.4 > "$PWD-old"
	fails series/series base --version 6.12.99
	says "$(said)" "there is: 6.12.4-1, 6.12.10-1"
	rm "$PWD-archive"/*.deb
	series/series base 2> "$PWD-said"
	says "$PWD-said" "which is here already"
}

t_base_package_errors_are_clear_and_leave_nothing() {
	deb 6.12.1-1 "$W/linux"
	archive
	touch "$PWD-archive/down"
	fails series/series base
	says "$(said)" "no network" "LINUX=DIR"
	rm "$PWD-archive/down"
	for size in 2000 900 10; do
		cp "$PWD-archive/linux-source-6.12_6.12.1-1_all.deb" "$PWD-good"
		truncate -s "-$size" "$PWD-archive/linux-source-6.12_6.12.1-1_all.deb"
		fails series/series base
		says "$(said)" "broken and removed" "run again"
		is "$(git --git-dir=build/git for-each-ref refs/base/linux-source-6.12)" ""
		is "$(find build -name 'download-*' -o -name 'tmp_*' -o -name '*.deb')" ""
		mv "$PWD-good" "$PWD-archive/linux-source-6.12_6.12.1-1_all.deb"
	done
	series/series base
	# a tarball inside that is whole for tar, but not for xz
	deb 6.12.1-3 "$W/linux"
	truncate -s -4 "$PWD-deb/usr/src/linux-source-6.12.tar.xz"
	dpkg-deb -Zxz -z0 --root-owner-group -b "$PWD-deb" "$PWD-archive/linux-source-6.12_6.12.1-3_all.deb" > /dev/null
	fails series/series base --version 6.12.1-3
	says "$(said)" "xz:" "broken and removed"
	rm "$PWD-archive"/*.deb
	mv build "$PWD-build"
	fails series/series base
	says "$(said)" "no such package"
	says "$PWD-archive/log" "apt-get update"
	rm "$PWD-archive/log"
	NO_INSTALL=yes fails series/series base
	says "$(said)" "apt-get update"
	[[ ! -e $PWD-archive/log ]] || ! grep update "$PWD-archive/log"
	NO_INSTALL=0 fails series/series base
	says "$PWD-archive/log" "apt-get update"
}

t_base_package_import_cut_off() {
	local signal pid
	cp -r "$W/linux" "$PWD-linux"
	head -c 20000000 /dev/urandom > "$PWD-linux/big"
	deb 6.12.1-1 "$PWD-linux"
	archive
	printf '#!/bin/bash\ntouch "%s"; %s "$@"; sleep 2\n' "$PWD-started" "$(command -v xz)" > "$PWD-apt/xz"
	chmod 755 "$PWD-apt/xz"
	for signal in TERM INT KILL; do
		rm -f "$PWD-started"
		# python leaves SIGINT ignored in a background job: start it with its default
		env --default-signal=INT series/series base & pid=$!
		for _ in {1..200}; do [[ ! -e $PWD-started ]] || break; sleep 0.05; done
		sleep 0.3
		kill -s "$signal" "$pid"
		if wait "$pid"; then return 1; fi
		is "$(git --git-dir=build/git for-each-ref refs/base/linux-source-6.12)" ""
		[[ $signal == KILL ]] || is "$(find build -name 'download-*' -o -name 'tmp_*')" ""
	done
	rm "$PWD-apt/xz"
	series/series base
	is "$(find build -name 'download-*' -o -name 'tmp_*' -o -name 'fast_import_crash*')" ""
}

t_base_says_how_much_disk_is_needed() {
	archive
	deb 6.12.1-1 "$W/linux"
	sed -i 's/Size: 1000/Size: 900000000000000/' "$PWD-apt/apt-cache"
	fails series/series base
	says "$(said)" "needs 3150000.0 GB of disk" "free"
}

t_applies_to_oldest_pinned_and_newest() {
	git clone -q "$W/linux" "$PWD-linux"
	deb 6.12.0-1 "$W/linux-shifted"
	deb 6.12.1-1 "$W/linux"
	deb 6.12.3-1 "$PWD-linux"
	archive
	python3 "$tool" applies > "$PWD-tap" 2> "$PWD-said"
	is "$(grep -c '^ok 6 patches apply to linux-source-6.12' "$PWD-tap")" 3
	says "$PWD-tap" "6.12.0-1 (oldest)" "6.12.1-1 (pinned)" "6.12.3-1 (newest)"
	says "$PWD-said" "offset 3"
	is "$(git --git-dir=build/git ls-tree -r --name-only "$(git --git-dir=build/git for-each-ref --format='%(objectname)' refs/part | head -n 1)" | wc -l)" 7
	sed -i '59s/.*/moved on/' "$PWD-linux/virt/kvm/eventfd.c"
	lines x 3 > "$PWD-linux/tools/testing/run.sh"
	rm "$PWD-archive"/*_6.12.3-1_*
	deb 6.12.4-1 "$PWD-linux"
	if python3 "$tool" applies > "$PWD-tap"; then return 1; fi
	says "$PWD-tap" "not ok apply to linux-source-6.12 6.12.4-1 (newest)" "drop-old.patch" "hunk 1 of 1"
	sed -i '59s/.*/irqfd line 59/' "$PWD-linux/virt/kvm/eventfd.c"
	deb 6.12.5-1 "$PWD-linux"
	if python3 "$tool" applies > "$PWD-tap"; then return 1; fi
	says "$PWD-tap" "adds tools/testing/run.sh, which the base"
}
