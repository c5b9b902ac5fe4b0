# SPDX-License-Identifier: GPL-2.0
# The front door. `make help` lists what a person can ask for; the work is done by
# the programs in series/bin (what the set is) and testbed/bin (how it is proven),
# each of which has a --help.

# The base, a folder of series/. LINUX=DIR takes the user's own tree for it.
BASE ?= 6.12
export BASE LINUX ACCEL NO_INSTALL

# Kernels are built with -j of their own; two targets at once would meet in build/.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the targets
	@echo 'Usage: make TARGET [BASE=$(BASE)] [LINUX=DIR] [TOPIC=NAME] [V=N] [ACCEL=tcg|kvm] [NO_INSTALL=1] [ARGS=...]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "  %-10s %s\n", $$1, $$2 }'
	@echo 'BASE is a folder of series/. LINUX is a kernel tree of your own to use instead of the fetched base.'

.PHONY: run
run: ## fetch the base, apply the set, build, boot, run the kselftests, show the verdict
	@testbed/bin/run

.PHONY: test
test: ## everything that CI checks, on top of what run does
	@testbed/bin/test

.PHONY: tree
tree: ## make build/tree: a git tree with the base and one commit per patch, to edit
	@testbed/bin/setup tools
	@series/bin/tree $(ARGS)

.PHONY: refresh
refresh: ## write the commits of build/tree back as .patch files and new files
	@series/bin/refresh $(ARGS)

.PHONY: series
series: ## write out/BASE/TOPIC/*.patch for git am and git send-email
	@testbed/bin/setup tools
	@series/bin/series

.PHONY: mail
mail: ## prepare TOPIC= (V=2) for git send-email, signed off by you; sends nothing
	@testbed/bin/mail --topic "$(TOPIC)" --version $(or $(V),1)

.PHONY: apply
apply: ## apply the set, or TOPIC=, to your own git tree LINUX=DIR, on a new branch
	@series/bin/apply $(if $(TOPIC),--topic $(TOPIC))

.PHONY: broken
broken: ## boot each broken variant RUNS=5 times: its test must fail, with its fingerprint
	@testbed/bin/setup run
	@testbed/bin/broken --runs $(or $(RUNS),5)

.PHONY: docs
docs: ## build the pages of the set, as HTML
	@testbed/bin/setup docs
	@testbed/bin/docs

.PHONY: setup
setup: ## install what run and test need (they do so themselves)
	@testbed/bin/setup test

.PHONY: clean
clean: ## remove out/ and build/, but not build/tree with work that refresh has not written
	@series/bin/tree --check
	@rm -rf out build
