# SPDX-License-Identifier: GPL-2.0
# The front door. `make help` lists what a person can ask for; series/series (what the set
# is), checks/ (what must hold without a boot) and testbed/bin (what must hold in a machine)
# do the work. Each program has a --help.

# The base is a folder of series/; `make test` without BASE= takes 6.12, and of the others the
# checks that build no kernel.
# LINUX=DIR builds on your own tree instead.
export BASE LINUX ACCEL QEMU NO_INSTALL ALL QUICK

# Kernels are built with -j of their own; two targets at once would meet in build/.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

series = series/series
tools = testbed/bin/setup tools
# These programs start the set-up themselves, but are Python, which a small Debian lacks.
python = command -v python3 >/dev/null || testbed/bin/setup

.PHONY: help
help: ## list the targets
	@echo 'Usage: make TARGET [BASE=6.12|7.3] [LINUX=DIR] [TOPIC=NAME] [ACCEL=tcg|kvm] [QEMU=FILE] [NO_INSTALL=1] [ARGS=...]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "  %-10s %s\n", $$1, $$2 }'
	@echo 'BASE is a folder of series/. LINUX is a kernel tree of your own to use instead of the fetched base.'

.PHONY: run
run: ## fetch the base, apply the set, build, boot, run the kselftests, show the verdict
	@$(python) run
	@testbed/bin/run $(ARGS)

.PHONY: test
test: ## run everything that CI checks; ALL=1 adds what takes hours
	@$(python) test
	@testbed/bin/test $(ARGS)

.PHONY: check
check: ## run one check, NAME=docs for instance, or list them
	@$(python) test
	@testbed/bin/check $(if $(TOPIC),--topic $(TOPIC)) $(or $(NAME),--list)

.PHONY: broken
broken: ## boot each broken variant RUNS=5 times: its test must fail, with its fingerprint
	@$(python) run
	@testbed/bin/broken $(if $(RUNS),--runs $(RUNS)) $(ARGS)

.PHONY: bench
bench: ## compare the set with the base: what irqfds cost; QUICK=1 boots each only twice
	@$(python) bench
	@testbed/bin/bench $(ARGS)

.PHONY: tree
tree: ## make build/tree: a git tree with the base and one commit per patch, to edit
	@$(tools)
	@$(series) tree $(ARGS)

.PHONY: refresh
refresh: ## write the commits of build/tree back as .patch files and new files
	@$(tools)
	@$(series) refresh $(ARGS)

.PHONY: series
series: ## write out/BASE/TOPIC/*.patch for git am, of all topics or of TOPIC=
	@$(tools)
	@$(series) format $(if $(TOPIC),--topic $(TOPIC)) $(ARGS)

.PHONY: apply
apply: ## apply the set, or TOPIC=, to your git tree LINUX= (needed), on a new branch, BRANCH=
	@$(tools)
	@$(series) apply $(if $(TOPIC),--topic $(TOPIC)) $(ARGS)

.PHONY: mail
mail: ## prepare TOPIC= (needed) for git send-email, signed off by you; sends nothing
	@$(tools)
	@testbed/bin/mail --topic "$(TOPIC)" $(ARGS)

.PHONY: docs
docs: ## build the pages of the set, as HTML
	@testbed/bin/setup docs
	@testbed/bin/check docs

.PHONY: setup
setup: ## install what run and test need (they do so themselves)
	@testbed/bin/setup test

.PHONY: clean
clean: ## remove out/ and build/, but not build/tree with work that refresh has not written
	@$(tools)
	@bash -ec '. testbed/lib/common.sh; one_at_a_time build; $(series) tree --check; rm -rf out build' clean
