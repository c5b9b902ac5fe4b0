# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2094,SC2164
# The made-up kernel tree, the made-up repository, and what the checks share. Sourced.

G=(git -c user.name=Tester -c user.email=tester@localhost -c commit.gpgsign=false)

lines() { # lines WORD N: a file of N lines that all differ
	seq -f "$1 line %g" 1 "$2"
}

linux_files() { # linux_files SUBLEVEL: into the current folder
	mkdir -p fs virt/kvm net/ipv4 net/ipv6 tools/testing scripts Documentation
	printf 'VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = %s\n' "$1" > Makefile
	echo 'mainmenu "Linux"' > Kconfig
	# As the kernel's: a text, then entries whose F: lines are sorted, or nearly.
	printf '%s\n' 'List of maintainers' '' 'M: is no entry here, it is indented:' '	M: Mail' '' \
		ALPHA 'M:	Somebody' 'S:	Maintained' '' \
		'EVENT FILES' 'M:	Somebody' 'L:	list@localhost' 'F:	fs/' 'F:	include/linux/fs.h' 'X:	fs/x' '' \
		NETWORK 'L:	list@localhost' 'F:	net/ipv4/' 'F:	include/net/' 'F:	net/ipv6/' 'N:	mroute' > MAINTAINERS
	lines eventfd 60 > fs/eventfd.c
	lines irqfd 90 > virt/kvm/eventfd.c
	echo old > virt/kvm/old.h
	lines ipmr 60 > net/ipv4/ipmr.c
	lines ip6mr 60 > net/ipv6/ip6mr.c
	lines mk 10 > tools/testing/Makefile
	printf '#!/bin/sh\n' > scripts/tool
	chmod 755 scripts/tool
	ln -sf ../Makefile scripts/link
	printf '*.o\n.*\n!.gitignore\n' > .gitignore
	echo "a space" > "Documentation/with space.rst"
}

make_linux() { # $W/linux: the base; $W/linux-shifted: the same with lines before the hunks
	git init -q -b master "$W/linux"
	( cd "$W/linux"; linux_files 1; git add -A -f; "${G[@]}" commit -q -m "Linux 6.12.1" )
	git clone -q "$W/linux" "$W/linux-shifted"
	( cd "$W/linux-shifted"
	  printf 'new %s\n' 1 2 3 | cat - virt/kvm/eventfd.c > x; mv x virt/kvm/eventfd.c
	  "${G[@]}" commit -q -a -m "Linux 6.12.2" )
}

start_patch() { # start_patch: a scratch tree in which a change is made
	git -C "$W/scratch" add -A
	"${G[@]}" -C "$W/scratch" commit -q --allow-empty -m x
}

end_patch() { # end_patch FILE SUBJECT [ADDED...]: what changed in the scratch tree, as a .patch, by plain git
	local file=$1 subject=$2 path
	shift 2
	mkdir -p "$(dirname "$file")"
	git -C "$W/scratch" add -A -f
	{
		printf 'Subject: %s\n\nThe reason for %s.\n\n' "$subject" "$subject"
		for path; do echo "Adds: $path"; done
		echo ---
		git -C "$W/scratch" diff --cached --no-renames --diff-filter=a HEAD | sed '/^index [0-9a-f]*\.\./d'
	} > "$file"
	for path; do
		mkdir -p "$(dirname "$path")"
		cp "$W/scratch/$path" "$path"
	done
	start_patch
}

make_repo() { # make_repo SERIES: $W/repo with 6 patches in 2 topics, build/tree made
	local s=$W/scratch
	mkdir -p "$W/repo/series/6.12"
	cp -r "$W/linux" "$s"
	cd "$W/repo"
	cp -r "$1/series" "$1/patchset" series/
	printf 'PACKAGE=linux-source-6.12\nVERSION=6.12.1\nPREFIX=PATCH 6.12\nPREFIX.ipmr-rcu=PATCH net-next # tree\n' > series/6.12/base
	printf 'kvm-irqfd eventfd: | KVM: irqfd: | KVM: selftests: | MAINTAINERS:\nipmr-rcu ipmr: | ip6mr: | selftests: net: | MAINTAINERS:\n' > series/topics
	printf 'KVM: irqfd: A cover\n\nThe whole story.\n' > series/kvm-irqfd.cover
	printf 'ipmr: Another cover\n\nAnother story.\n' > series/ipmr-rcu.cover
	printf 'build/\nout/\n' > .gitignore

	sed -i '10s/.*/locked removal/' "$s/fs/eventfd.c"
	end_patch fs/locked.patch "eventfd: Add a locked removal"
	sed -i '20s/.*/use it/' "$s/virt/kvm/eventfd.c"
	end_patch virt/kvm/use-it.patch "KVM: irqfd: Use it"
	lines test 5 > "$s/tools/testing/t.c"
	sed -i '5a test t' "$s/tools/testing/Makefile"
	end_patch tools/testing/t.patch "KVM: selftests: Add a test" tools/testing/t.c
	sed -i '60s/.*/dropped/' "$s/virt/kvm/eventfd.c"
	rm "$s/virt/kvm/old.h"
	end_patch virt/kvm/drop-old.patch "KVM: irqfd: Drop the old"
	sed -i '30s/.*/rcu/' "$s/net/ipv4/ipmr.c"
	end_patch net/ipv4/rcu.patch "ipmr: Look up under RCU"
	sed -i '30s/.*/rcu/' "$s/net/ipv6/ip6mr.c"
	printf '#!/bin/sh\nexit 0\n' > "$s/tools/testing/run.sh"
	chmod 755 "$s/tools/testing/run.sh"
	end_patch net/ipv6/rcu.patch "ip6mr: Look up under RCU" tools/testing/run.sh

	printf '%s\n' '# SPDX-License-Identifier: GPL-2.0' '' fs/locked.patch '# about use-it' virt/kvm/use-it.patch \
		tools/testing/t.patch 'virt/kvm/drop-old.patch # beside' '# the end' > series/6.12/kvm-irqfd.order
	printf '%s\n' net/ipv4/rcu.patch net/ipv6/rcu.patch > series/6.12/ipmr-rcu.order
	git init -q -b main .
	git add -A
	"${G[@]}" commit -q -m "The set"
	LINUX=$W/linux series/series tree
	# shellcheck disable=SC2034 # for the checks
	full_tree=$(git -C "$s" rev-parse 'HEAD^{tree}')
	export LINUX=$W/linux
	git -C build/tree config user.name Tester
	git -C build/tree config user.email tester@localhost
}

status() { # what changed in the repository, sorted, in one line
	git status --porcelain --untracked-files=all | sort -k 2 | tr '\n' ';'
}

is() { # is WHAT EXPECTED
	[[ $1 == "$2" ]] || { printf 'got:      %s\nexpected: %s\n' "$1" "$2" >&2; return 1; }
}

says() { # says FILE TEXT...: the file has each text
	local file=$1 text
	shift
	for text; do
		grep -qF -- "$text" "$file" || { echo "missing: $text"; cat "$file"; return 1; } >&2
	done
}

fails() { # fails COMMAND...: it must fail, by its own error; what it says goes to ./said
	local status=0
	"$@" > said 2>&1 || status=$?
	[[ $status == 1 ]] || { echo "exit $status, not 1: $*"; cat said; return 1; } >&2
	if grep -q Traceback said; then cat said; return 1; fi
	rm -f said.old
	cp said "$W/$(basename "$PWD").said"
	rm said
}

said() { echo "$W/$(basename "$PWD").said"; }

tree_of() { git -C build/git rev-parse "$1^{tree}"; }

edit() { # edit FILE LINE TEXT: in build/tree
	sed -i "$2s/.*/$3/" "build/tree/$1"
}

rebase() { # rebase SED [BASE]: edits the todo list of a rebase -i onto the base
	GIT_SEQUENCE_EDITOR="sed -i -e '$1'" GIT_EDITOR=true git -C build/tree rebase -q -i "set/${2:-6.12}/base"
}

inverse() { # a clone of the repository alone gives the tree of the branch; a second refresh writes nothing
	local want got before
	want=$(git -C build/tree rev-parse 'set^{tree}')
	rm -rf "$PWD-clone"
	mkdir "$PWD-clone"
	git ls-files -co --exclude-standard -z | while IFS= read -r -d '' f; do
		[[ ! -e $f && ! -L $f ]] || cp --parents -P "$f" "$PWD-clone/"
	done
	got=$("$PWD-clone/series/series" commits)
	is "$(git -C "$PWD-clone/build/git" rev-parse "$got^{tree}")" "$want"
	before=$(find . -name build -prune -o -name .git -prune -o -type f -print0 | sort -z | xargs -0 sha256sum)
	series/series tree
	series/series refresh
	is "$(find . -name build -prune -o -name .git -prune -o -type f -print0 | sort -z | xargs -0 sha256sum)" "$before"
	is "$(git -C build/tree rev-parse 'set^{tree}')" "$want"
}
