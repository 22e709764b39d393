# The menu. `make help` shows it.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# A build needs no database: the query metadata is committed in .sqlx.
export SQLX_OFFLINE := true
# What is given to `make sandbox` and `make faults`, such as ARGS=--once.
ARGS ?=

.PHONY: help setup sandbox test check generate faults planted cluster-up cluster-down image bench docs

help: ## Show this menu.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is missing on this machine (Git, PostgreSQL, a C compiler), or say how.
	@.ci/setup

sandbox: setup ## Run the whole platform against an embedded world (ARGS="--once --agent codex": one run of it, then exit).
	@case " $(ARGS) " in \
	*" --agent codex "* | *" --agent claude "*) PATH="$$(manifests/images/agents/install):$$PATH" ;; \
	esac; \
	cargo run -- sandbox $(ARGS)

test: setup ## Run all tests that this machine can run, and say what was left out.
	@.ci/test

check: setup ## Format, lints, documentation, dependencies, query metadata, generated pages.
	@.ci/check

generate: ## Write the generated pages under docs/reference anew.
	UPDATE_DOCS=1 cargo test --quiet --test it docs

faults: setup ## Crash at every edge, and play seeds (ARGS="--seeds N --start S"); takes long.
	@tests/faults/run $(ARGS)

planted: setup ## Break each invariant on purpose and see its test fail.
	@tests/planted/run

cluster-up: setup ## Start a real Kubernetes for the tests on this host, or mend the one that is up.
	@tests/cluster/up

cluster-down: ## End it; nothing of it stays.
	@tests/cluster/down

image: ## Build the images of platform and runner, without a registry (PROFILE=release).
	@manifests/images/build

bench: setup ## Run the benchmarks; the one of launching needs make cluster-up.
	cargo bench --bench plan --bench polling --bench pass --bench launch

docs: ## Build the book into target/book (needs mdbook).
	@command -v mdbook >/dev/null || { echo "mdbook is missing: cargo install --locked mdbook" >&2; exit 1; }
	mdbook build docs
