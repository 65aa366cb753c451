# The commands of this repository. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo
VERSION = $(shell sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

# $(call need,tool,what to do about it): one line about a missing tool instead of a page of errors.
need = @command -v $(1) >/dev/null || { echo "$(1) is missing: $(2)" >&2; exit 1; }

.PHONY: help build image demo demo-cluster test test-fast test-busy pre-commit lint fmt doc generate picture check-generated check-monitoring bench bench-cluster torture fuzz simulate soak deny ci tools go

help: ## list the targets
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

tools:
	$(call need,cargo,install Rust from https://rustup.rs)
	$(call need,cc,install a C compiler (Debian: apt install gcc; Fedora: dnf install gcc; macOS: xcode-select --install))

build: tools ## build the optimised binary, target/release/portolan
	$(CARGO) build --locked --release

image: ## build the container image portolan:VERSION
	$(call need,docker,install it or another builder of Dockerfiles (https://docs.docker.com/engine/install))
	docker build --file deploy/Dockerfile --tag portolan:$(VERSION) .

demo: tools ## watch services register, fail and recover; DEMO_FLAGS="--seconds 30" ends it
	$(CARGO) run --locked -- demo $(DEMO_FLAGS)

# Not needed if KUBEBUILDER_ASSETS names a folder with the programs.
go:
	@test -n "$${KUBEBUILDER_ASSETS:-}" || command -v go >/dev/null || \
		{ echo "go is missing: install Go 1.21 or newer, for the control plane of the tests (https://go.dev/dl)" >&2; exit 1; }

demo-cluster: tools go ## watch the operator in a real control plane on this machine; DEMO_FLAGS="--seconds 90" ends it
	$(CARGO) build --locked --bin portolan --example demo-cluster
	$(CARGO) run --locked --quiet --example demo-cluster -- $(DEMO_FLAGS)

test: tools go ## run every test, including doctests; the first run builds a control plane (10 minutes on two slow cores, cached)
	$(call need,curl,install it (Debian: apt install curl))
	$(call need,go,install Go 1.21 or newer; the node of the tests is built with it (https://go.dev/dl))
	$(CARGO) test --locked --no-fail-fast
	$(CARGO) run --locked --quiet --example interleavings

# Everything but the control plane, simulation, torture, fuzzing, and a few tests that take long: endless answers, the demo, a real terminal.
FAST_TESTS = api cli console house probe prober store
SLOW = hostile:: demo:: pty::
test-fast: tools ## run the quick tests: everything but the control plane, simulation, torture, fuzzing and a few slow ones
	$(CARGO) test --locked --lib $(FAST_TESTS:%=--test %) -- $(SLOW:%=--skip %)

pre-commit: tools ## what a commit must pass: formatting, lints, quick tests; CONTRIBUTING.md shows how to install it as a Git hook
	@$(MAKE) --no-print-directory fmt FMT_FLAGS=--check
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test-fast

test-busy: tools go ## run every test three times under load; RUNS and LOOPS change that
	.ci/busy $(or $(RUNS),3) $(or $(LOOPS),4)

lint: tools ## run clippy; every warning is an error
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: tools ## format the sources; FMT_FLAGS=--check only checks
	$(CARGO) fmt --all -- $(FMT_FLAGS)

doc: tools ## build the code's documentation, with private items; every warning is an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

generate: tools go ## update generated text (the README's tables, docs/cli.md, docs/files.md, openapi.json, crds/, deploy/install.yaml)
	PORTOLAN_GENERATE=1 $(CARGO) test --locked --quiet --test house generated
	PORTOLAN_GENERATE=1 $(CARGO) test --locked --quiet --test cluster generated

picture: tools ## redraw the README's picture of the console, from a real run
	PORTOLAN_PICTURE=1 $(CARGO) test --locked --quiet --test console picture

check-generated: tools go ## fail if generated text is out of date
	$(CARGO) test --locked --quiet --test house --test cluster generated

check-monitoring: ## check and test the alerts with promtool
	$(call need,promtool,install it (Debian: apt install prometheus))
	@mkdir -p target/monitoring
	@sed -n '/^  groups:/,$$s/^  //p' deploy/monitoring/rules.yaml > target/monitoring/rules.gen.yaml
	@cp deploy/monitoring/rules_test.yaml target/monitoring/
	promtool check rules target/monitoring/rules.gen.yaml
	promtool test rules target/monitoring/rules_test.yaml

bench: tools ## measure speed against minimal programs that do the same work; BENCH="discovery --quick" selects
	$(call need,wrk,install it to generate load (Debian: apt install wrk))
	$(call need,curl,install it (Debian: apt install curl))
	$(CARGO) bench --locked --bench speed -- $(BENCH)

bench-cluster: tools go ## measure the operator against a bare client of the same API server; BENCH="apply --quick" selects
	$(CARGO) bench --locked --bench cluster -- $(BENCH)

torture: tools go ## kill the server ROUNDS times (1000), cut its power, make calls on its file fail, and search for lost writes
	PORTOLAN_TORTURE_ROUNDS=$(or $(ROUNDS),1000) $(CARGO) test --locked --test torture -- --nocapture --test-threads=1
	PORTOLAN_TORTURE_ROUNDS=$(or $(ROUNDS),1000) $(CARGO) test --locked --test cluster faults::history:: -- --nocapture

simulate: tools ## simulate HOURS (1000) of probing under faults, from fresh seeds; SEED=7 HOURS=2 prints one run
	SIMULATION_HOURS=$(or $(HOURS),1000) $(if $(SEED),SIMULATION_SEED=$(SEED) SIMULATION_ALOUD=1) $(CARGO) test --locked --test simulation

fuzz: tools ## fuzz every parser, SECONDS_EACH (60) for each; guided by coverage if nightly Rust and cargo-fuzz are installed
	@if cargo fuzz --version >/dev/null 2>&1 && cargo +nightly --version >/dev/null 2>&1; then \
		for target in request registration token query cursor watch probe row; do \
			mkdir -p fuzz/corpus/$$target tests/fuzz/seeds/$$target; \
			cargo +nightly fuzz run $$target fuzz/corpus/$$target tests/fuzz/seeds/$$target -- -max_total_time=$(or $(SECONDS_EACH),60); \
		done; \
	else \
		echo "nightly Rust or cargo-fuzz is missing: fuzzing at random, not guided by coverage" >&2; \
		FUZZ_SECONDS=$(or $(SECONDS_EACH),60) $(CARGO) test --locked --test fuzz -- --nocapture; \
	fi

soak: tools ## run a server under churn and faults for MINUTES (10), then judge growth and losses
	$(CARGO) build --locked --release --bin portolan --example soak
	target/release/examples/soak $(or $(MINUTES),10)

deny: tools ## check licences, banned crates, sources and known vulnerabilities
	$(call need,cargo-deny,cargo install --locked cargo-deny)
	$(CARGO) deny --locked check $(DENY_CHECKS)

ci: ## everything that must pass before a merge
	.ci/run
