# The commands of this repository. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo
VERSION = $(shell sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

# $(call need,tool,what to do about it): one line about a missing tool instead of a page of errors.
need = @command -v $(1) >/dev/null || { echo "$(1) is missing: $(2)" >&2; exit 1; }

.PHONY: help interop schemathesis generated-client chart check-chart static packages check-packages image-layout sbom plugin check-compose build image demo shop demo-cluster test test-fast test-busy pre-commit lint fmt doc generate picture check-generated check-monitoring bench bench-cluster torture fuzz simulate soak deny ci tools go

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

shop: tools ## watch three programs in Python and Go find each other; kill one. SHOP_FLAGS="--seconds 60" ends it
	$(call need,python3,install Python 3.8 or newer (Debian: apt install python3))
	$(call need,go,install Go 1.22 or newer (https://go.dev/dl))
	$(CARGO) build --locked --bin portolan
	PORTOLAN=target/debug/portolan examples/shop/run $(SHOP_FLAGS)

# Not needed if KUBEBUILDER_ASSETS names a folder with the programs.
go:
	@test -n "$${KUBEBUILDER_ASSETS:-}" || command -v go >/dev/null || \
		{ echo "go is missing: install Go 1.22 or newer, for the control plane of the tests (https://go.dev/dl)" >&2; exit 1; }

demo-cluster: tools go ## watch the operator in a real control plane on this machine; DEMO_FLAGS="--seconds 90" ends it
	$(CARGO) build --locked --bin portolan --example demo-cluster
	$(CARGO) run --locked --quiet --example demo-cluster -- $(DEMO_FLAGS)

# Most tests wait most of the time, so more of them than there are cores run at once.
TEST_THREADS = $$(($$(getconf _NPROCESSORS_ONLN) + 4))
test: tools go ## run every test, including doctests; the first run builds a control plane (10 minutes on two slow cores, cached)
	$(call need,curl,install it (Debian: apt install curl))
	$(call need,go,install Go 1.22 or newer; the node and programs of the tests are built with it (https://go.dev/dl))
	$(call need,python3,install Python 3.8 or newer; programs of the tests are written in it (Debian: apt install python3))
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$(TEST_THREADS)} $(CARGO) test --locked --no-fail-fast
	$(CARGO) run --locked --quiet --example interleavings

# Everything but the control plane, simulation, torture, fuzzing, and a few tests that take long: endless answers, the demo, a real terminal,
# programs in Python and Go; completion, which gives up after a second, as a shell wants it; the one that waits the 30 s after which
# `portolan run` registers a program again that did not stop; and the one that reads more CA files than fit into a cache.
FAST_TESTS = api cli console house probe prober store
SLOW = hostile:: demo:: pty:: clients:: shop:: completing:: running::signals::a_program_that_ignores_the_request full::ca_files_beyond_the_cache
test-fast: tools ## run the quick tests: all except those that need a control plane, the simulation, torture and fuzz tests, and a few other slow ones
	CARGO="$(CARGO)" .ci/quick --lib $(FAST_TESTS:%=--test %) -- $(SLOW:%=--skip %)

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

generate: tools go ## update generated text (the README's tables, docs/cli.md, docs/files.md, openapi.json, crds/, deploy/install.yaml, the chart's copies)
	PORTOLAN_GENERATE=1 $(CARGO) test --locked --quiet --test house generated
	PORTOLAN_GENERATE=1 $(CARGO) test --locked --quiet --test cluster generated
	PORTOLAN_GENERATE=1 $(CARGO) test --locked --quiet --test house copies

picture: tools ## redraw the README's pictures of the console, from a real run
	PORTOLAN_PICTURE=1 $(CARGO) test --locked --quiet --test console picture

check-generated: tools go ## fail if generated text is out of date
	$(CARGO) test --locked --quiet --test house --test cluster -- generated copies

check-monitoring: ## check and test the alerts with promtool
	$(call need,promtool,install it (Debian: apt install prometheus))
	@mkdir -p target/monitoring
	@sed -n '/^  groups:/,$$s/^  //p' deploy/monitoring/rules.yaml > target/monitoring/rules.gen.yaml
	@cp deploy/monitoring/rules_test.yaml target/monitoring/
	promtool check rules target/monitoring/rules.gen.yaml | tee target/monitoring/found
	promtool test rules target/monitoring/rules_test.yaml
	@echo "interop: promtool | to check the alerts, and to run their tests | $$(grep -o '[0-9]* rules found' target/monitoring/found), all tests passed"

interop: tools ## test it with other projects' programs, from CoreDNS to Prometheus, and write the results into the README; PARTS="chart" selects
	$(call need,python3,install Python 3.10 or newer with venv (Debian: apt install python3-venv))
	CARGO="$(CARGO)" tests/interop/run $(PARTS)

schemathesis: tools ## search a real server for answers that openapi.json does not describe; EXAMPLES (100) for each route
	$(call need,python3,install Python 3.10 or newer with venv (Debian: apt install python3-venv))
	$(CARGO) build --locked --bin portolan
	tests/openapi/run schemathesis --max-examples $(or $(EXAMPLES),100)

generated-client: tools ## generate a client from openapi.json and register, discover and deregister with it
	$(call need,python3,install Python 3.10 or newer with venv (Debian: apt install python3-venv))
	$(CARGO) build --locked --bin portolan
	tests/openapi/run client

chart: ## package the Helm chart, target/chart/portolan-VERSION.tgz
	@mkdir -p target/chart
	helm=$$(.ci/tool helm) && $$helm lint --strict --kube-version 1.32 deploy/chart/portolan && $$helm package --destination target/chart deploy/chart/portolan

check-chart: tools go chart ## compare the chart with kustomize, then install, test, upgrade, roll back and remove it on a real API server
	$(CARGO) build --locked --bin portolan
	$(CARGO) build --locked --package control-plane --example with-control-plane
	export PYTHONDONTWRITEBYTECODE=1 python=$$(.ci/tool python) HELM=$$(.ci/tool helm) && export HELM CHART=target/chart/portolan-$(VERSION).tgz PORTOLAN=target/debug/portolan && \
		target/debug/examples/with-control-plane $$python deploy/chart/check.py

# A static program, which runs on every Linux of its architecture. STATIC names one that was built before.
MACHINE := $(shell uname -m)
MUSL = $(MACHINE)-unknown-linux-musl
ARCH = $(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(MACHINE)))
STATIC ?= target/$(MUSL)/dist/portolan
static: tools
	@test "$(STATIC)" != "target/$(MUSL)/dist/portolan" || command -v musl-gcc >/dev/null || \
		{ echo "musl-gcc is missing: install it, and run rustup target add $(MUSL) (Debian: apt install musl-tools)" >&2; exit 1; }
	test "$(STATIC)" != "target/$(MUSL)/dist/portolan" || $(CARGO) build --locked --profile dist --target $(MUSL) --bin portolan

packages: static ## make target/packages/*.deb and *.rpm with a hardened systemd unit
	deploy/packages/build $(STATIC) $(ARCH)

check-packages: packages ## judge the unit, install the .deb into an empty folder, run the program from there, remove it
	$(call need,systemd-analyze,install systemd (Debian: apt install systemd))
	deploy/packages/check target/packages/portolan_$(VERSION)_$(ARCH).deb

image-layout: static ## make the image as an OCI layout without Docker, target/image, and run it; OTHER="arm64=PROGRAM" adds an architecture
	$(call need,python3,install Python 3.11 or newer (Debian: apt install python3))
	rm -rf target/image
	python3 deploy/packages/image.py target/image $(ARCH)=$(STATIC) $(OTHER)
	deploy/packages/check-image target/image

sbom: static ## list what is compiled into the program, target/packages/portolan-*.cdx.json (CycloneDX), and compare it with Cargo.lock and the build
	$(call need,python3,install Python 3.11 or newer (Debian: apt install python3))
	python3 deploy/packages/sbom.py target/packages/portolan-$(VERSION)-$(MACHINE).cdx.json $(MUSL)
	python3 deploy/packages/sbom.py --check target/packages/portolan-$(VERSION)-$(MACHINE).cdx.json $(MUSL) --target $(MUSL) --profile dist

plugin: static ## let Krew install the kubectl plugin from an archive into an empty folder, and run it
	@mkdir -p target/plugin && install -m 0755 $(STATIC) target/plugin/portolan
	tar -czf target/plugin/portolan.tar.gz LICENSE README.md -C target/plugin portolan
	deploy/packages/check-krew $(ARCH) target/plugin/portolan.tar.gz

check-compose: go ## check the Compose file against the Compose specification
	$(call need,python3,install Python 3.10 or newer with venv (Debian: apt install python3-venv))
	.ci/compose examples/compose/compose.yaml

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
