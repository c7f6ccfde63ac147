# Everyday commands. `make` alone lists them; CONTRIBUTING.md says when to use which.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Where tools are installed that are neither the system's nor committed.
export WHUB_TOOLS ?= $(CURDIR)/.tools
BUILT := $(or $(CARGO_TARGET_DIR),target)
ARGS ?=
PROFILE ?= release

.PHONY: help
help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---------------------------------------------------------------- preparing

.PHONY: setup
setup: ## Install what a Debian 12 machine with Rust, Node, JDK and Python lacks (again: only what is missing)
	@tools/setup/apt.sh build-essential cmake git curl ca-certificates python3-venv shellcheck chromium
	@tools/setup/languages.sh
	@tools/setup/venv.sh
	@tools/setup/npm.sh
	@tools/autobahn/install.sh

.PHONY: setup-bench
setup-bench: setup ## Install the servers that `make bench` compares with
	@tools/setup/apt.sh nginx-light haproxy nats-server mosquitto
	@tools/setup/frp.sh

# ---------------------------------------------------------------- running

.PHONY: serve
serve: ## Start a hub on 127.0.0.1:9482 (ARGS='--listen …' for more)
	cargo run --profile $(PROFILE) --package whub -- serve $(ARGS)

# ---------------------------------------------------------------- checking

.PHONY: test
test: lint test-rust test-tools test-autobahn test-foreign test-tour test-soak ## All that must pass before a change lands

.PHONY: lint
lint: ## Format, clippy, shellcheck, purity of the pure crates, licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	shellcheck --external-sources --source-path tools/setup:SCRIPTDIR .ci/run tools/*.sh tools/*/*.sh
	tools/check-pure.sh
	tools/licences.py
	$(if $(wildcard tools/generate),tools/generate --check)

.PHONY: test-rust
test-rust: ## The Rust tests
	cargo test --workspace --locked --no-fail-fast

.PHONY: test-tools
test-tools: ## Tests of the scripts in tools/
	python3 -m unittest discover --start-directory tools
	python3 -m unittest discover --start-directory tools/autobahn

.PHONY: debug
debug:
	cargo build --locked --package whub
	cargo build --locked --package whub-client --example autobahn_client

.PHONY: test-autobahn
test-autobahn: debug ## Some Autobahn cases of every group, as server, client and gateway
	tools/autobahn/run.py --reduced --whub $(BUILT)/debug/whub --client $(BUILT)/debug/examples/autobahn_client --gateway $(BUILT)/debug/whub

.PHONY: test-foreign
test-foreign: debug ## Programs of others against the hub: Python, curl, Java, Node, Chromium
	WHUB_BIN=$(abspath $(BUILT))/debug/whub tests/foreign/run.py $(ARGS)

.PHONY: test-tour
test-tour: debug ## The commands of README.md, typed in and their output compared
	tools/tour.py README.md --bin $(BUILT)/debug

.PHONY: test-soak
test-soak: debug ## The soak, for ten seconds
	cargo build --locked --package whub-bench
	$(BUILT)/debug/whub-bench soak --seconds 10

.PHONY: autobahn
autobahn: setup ## The whole Autobahn suite, all 517 cases in each of three roles (many minutes)
	cargo build --release --locked --package whub
	cargo build --release --locked --package whub-client --example autobahn_client
	tools/autobahn/run.py --full --whub $(BUILT)/release/whub --client $(BUILT)/release/examples/autobahn_client --gateway $(BUILT)/release/whub $(ARGS)

.PHONY: deny
deny: ## Licences, bans and sources by cargo-deny (built on first use, which takes minutes)
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check licenses bans sources

# ---------------------------------------------------------------- at length

.PHONY: bench
bench: setup-bench ## Figures of this machine, beside those of other servers (ARGS to choose)
	cargo build --release --locked --package whub
	PATH="$(WHUB_TOOLS)/frp:$$PATH" cargo run --release --locked --package whub-bench -- run $(ARGS)

SECONDS := 60

.PHONY: soak
soak: debug ## Callers and providers are killed, stopped and half closed under load (SECONDS=60, ARGS='--seed 7')
	cargo build --locked --package whub-bench
	$(BUILT)/debug/whub-bench soak --seconds $(SECONDS) $(ARGS)

.PHONY: fuzz
fuzz: ## Fuzz one parser or all of them (TARGET=name, SECONDS=60 for each)
	tools/fuzz.sh $(SECONDS) $(TARGET)
