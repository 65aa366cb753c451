# What a person runs. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo
VERSION = $(shell sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

# $(call need,tool,what to do about it): one line for a missing tool instead of a page of errors.
need = @command -v $(1) >/dev/null || { echo "$(1) is missing: $(2)" >&2; exit 1; }

.PHONY: help build image demo demo-cluster test test-busy lint fmt generate picture check-generated check-monitoring bench bench-cluster torture fuzz simulate soak deny ci tools go

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

demo: tools ## watch services being registered, probed, failing and recovering; DEMO_FLAGS="--seconds 30" ends it
	$(CARGO) run --locked -- demo $(DEMO_FLAGS)

# Not needed where KUBEBUILDER_ASSETS names a folder with the programs.
go:
	@test -n "$${KUBEBUILDER_ASSETS:-}" || command -v go >/dev/null || \
		{ echo "go is missing: install Go 1.21 or newer, for the control plane of the tests (https://go.dev/dl)" >&2; exit 1; }

demo-cluster: tools go ## the operator in a real control plane on this machine; DEMO_FLAGS="--seconds 90" ends it
	$(CARGO) build --locked --bin portolan --example demo-cluster
	$(CARGO) run --locked --quiet --example demo-cluster -- $(DEMO_FLAGS)

test: tools go ## run every test, those in the documentation included; the first run builds a control plane (10 minutes on two slow cores, cached)
	$(call need,curl,install it (Debian: apt install curl))
	$(call need,go,install Go 1.21 or newer; the node of the tests is built with it (https://go.dev/dl))
	$(CARGO) test --locked --no-fail-fast
	$(CARGO) run --locked --quiet --example interleavings

test-busy: tools go ## run every test three times in a row beside four busy loops; RUNS and LOOPS change that
	.ci/busy $(or $(RUNS),3) $(or $(LOOPS),4)

lint: tools ## clippy, with every warning an error
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: tools ## format the sources; FMT_FLAGS=--check only looks
	$(CARGO) fmt --all -- $(FMT_FLAGS)

generate: tools go ## write anew what is generated (README's settings, docs/cli.md, openapi.json, crds/, deploy/install.yaml)
	PORTOLAN_GENERATE=1 $(CARGO) test --locked --quiet --test house generated
	PORTOLAN_GENERATE=1 $(CARGO) test --locked --quiet --test cluster generated

picture: tools ## draw the README's picture of the console anew, from a real run
	PORTOLAN_PICTURE=1 $(CARGO) test --locked --quiet --test console picture

check-generated: tools go ## fail when generated text is out of date
	$(CARGO) test --locked --quiet --test house --test cluster generated

check-monitoring: ## check and test the alerts with promtool
	$(call need,promtool,install it (Debian: apt install prometheus))
	@mkdir -p target/monitoring
	@sed -n '/^  groups:/,$$s/^  //p' deploy/monitoring/rules.yaml > target/monitoring/rules.gen.yaml
	@cp deploy/monitoring/rules_test.yaml target/monitoring/
	promtool check rules target/monitoring/rules.gen.yaml
	promtool test rules target/monitoring/rules_test.yaml

bench: tools ## measure speed against the least that could do the same work; BENCH="discovery --quick" chooses
	$(call need,wrk,install it to make load (Debian: apt install wrk))
	$(call need,curl,install it (Debian: apt install curl))
	$(CARGO) bench --locked --bench speed -- $(BENCH)

bench-cluster: tools go ## measure the operator against a bare client of the same API server; BENCH="apply --quick" chooses
	$(CARGO) bench --locked --bench cluster -- $(BENCH)

torture: tools go ## kill the server ROUNDS times (1000), cut its power, fail each call on its file, and look for what was lost
	PORTOLAN_TORTURE_ROUNDS=$(or $(ROUNDS),1000) $(CARGO) test --locked --test torture -- --nocapture --test-threads=1
	PORTOLAN_TORTURE_ROUNDS=$(or $(ROUNDS),1000) $(CARGO) test --locked --test cluster faults::history:: -- --nocapture

simulate: tools ## live through HOURS (1000) of simulated probing under faults, from fresh seeds; SEED=7 HOURS=2 tells one life
	SIMULATION_HOURS=$(or $(HOURS),1000) $(if $(SEED),SIMULATION_SEED=$(SEED) SIMULATION_ALOUD=1) $(CARGO) test --locked --test simulation

fuzz: tools ## throw foreign bytes at what reads them, SECONDS_EACH=60 for each target; by coverage where nightly Rust and cargo-fuzz are
	@if cargo fuzz --version >/dev/null 2>&1 && cargo +nightly --version >/dev/null 2>&1; then \
		for target in request registration token query cursor watch probe row; do \
			mkdir -p fuzz/corpus/$$target tests/fuzz/seeds/$$target; \
			cargo +nightly fuzz run $$target fuzz/corpus/$$target tests/fuzz/seeds/$$target -- -max_total_time=$(or $(SECONDS_EACH),60); \
		done; \
	else \
		echo "without nightly Rust and cargo-fuzz: by chance instead of by coverage" >&2; \
		FUZZ_SECONDS=$(or $(SECONDS_EACH),60) $(CARGO) test --locked --test fuzz -- --nocapture; \
	fi

soak: tools ## run a server under churn and faults for MINUTES (10), and judge whether memory or descriptors grow and anything is lost
	$(CARGO) build --locked --release --bin portolan --example soak
	target/release/examples/soak $(or $(MINUTES),10)

deny: tools ## check licences, banned crates, sources and known vulnerabilities
	$(call need,cargo-deny,cargo install --locked cargo-deny)
	$(CARGO) deny --locked check $(DENY_CHECKS)

ci: ## everything that has to pass before a merge
	.ci/run
