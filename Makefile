# The commands of the house. `make` alone lists them.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(or $(CARGO_TARGET_DIR),target)
# make bench: where the figures go, pairs of runs a cell, seconds a run
JSON ?=
PAIRS ?= 7
# make validate: live runs under each of the other settings
RUNS ?= 2
SECONDS ?= 5
# make soak: random steps of the core against its reference, and the seed (empty: chosen and printed)
STEPS ?= 10000000
SEED ?=
# make prove: simulated worlds beyond the thousand of every test run
WORLDS ?= 100000
# make fuzz: seconds for each target
TIME ?= 60

.PHONY: help run setup test test-code fmt lint prove validate bench mutants soak fuzz

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | sort | column -t -s "$$(printf '\t')"

run: ## set up what is missing, build, and pool a private PostgreSQL (ARGS="-c FILE" for yours)
	@scripts/setup.sh run
	@cargo build --release --locked --package poolwarden
	@exec "$(TARGET)/release/poolwarden" run $(ARGS)

setup: ## install what the tests, lints and benchmarks need
	@scripts/setup.sh run test lint bench

test: ## everything CI checks: format, lints, walls, all tests, against a real PostgreSQL
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory test-code

test-code: ## the same without setting anything up
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo xtask tidy
	cargo build --release --locked --package poolwarden
	POOLWARDEN_BIN="$${POOLWARDEN_BIN:-$(abspath $(TARGET))/release/poolwarden}" cargo nextest run --workspace --locked
	cargo xtask instructions
	@echo "make test: all green"

fmt: ## format all code
	cargo fmt --all

lint: ## clippy, walls (each proven to fire), licences and sources of dependencies
	@scripts/setup.sh lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo xtask tidy
	scripts/prove-walls.sh
	cargo deny --all-features check licenses bans sources

prove: ## measure again what the documents claim, search for faults, and write both into them (STEPS WORLDS)
	@$(MAKE) --no-print-directory bench JSON=proof/bench.json
	cargo xtask instructions --json proof/instructions.json
	cargo xtask prove soak $(STEPS) --json proof/soak.json
	cargo xtask prove worlds $(WORLDS) --json proof/worlds.json
	cargo xtask prove queue 1000000 --json proof/queue.json
	@scripts/setup-postgres-versions.sh
	cargo build --release --locked --package poolwarden
	POOLWARDEN_BIN="$(abspath $(TARGET))/release/poolwarden" cargo xtask prove logins 2000 --json proof/logins.json
	POOLWARDEN_BIN="$(abspath $(TARGET))/release/poolwarden" cargo xtask prove cancels 10000 --json proof/cancels.json
	POOLWARDEN_BIN="$(abspath $(TARGET))/release/poolwarden" cargo xtask prove holds 5 --json proof/holds.json
	POOLWARDEN_BIN="$(abspath $(TARGET))/release/poolwarden" cargo xtask prove causes 5 --json proof/causes.json
	POOLWARDEN_BIN="$(abspath $(TARGET))/release/poolwarden" cargo xtask prove guard 20 --json proof/guard.json
	POOLWARDEN_BIN="$(abspath $(TARGET))/release/poolwarden" cargo xtask prove reloads 1000 --json proof/reloads.json
	POOLWARDEN_BIN="$(abspath $(TARGET))/release/poolwarden" cargo xtask prove checks 10000 --json proof/checks.json
	POOLWARDEN_BIN="$(abspath $(TARGET))/release/poolwarden" cargo xtask prove leak 60 --json proof/leak.json
	POOLWARDEN_BIN="$(abspath $(TARGET))/release/poolwarden" cargo xtask prove matrix --json proof/matrix.json
	@scripts/setup.sh prove
	POOLWARDEN_BIN="$(abspath $(TARGET))/release/poolwarden" cargo xtask prove casebook --json proof/casebook.json
	cargo xtask tidy --write

validate: ## hold the simulator against theory, its own recordings, and what came under other settings (RUNS=2)
	@scripts/setup.sh bench
	cargo build --release --locked --package poolwarden
	cargo xtask prove theory 1 --json proof/theory.json
	cargo xtask prove speed 86 --json proof/speed.json
	POOLWARDEN_BIN="$(abspath $(TARGET))/release/poolwarden" cargo xtask prove transfer $(RUNS) --json proof/transfer.json
	cargo xtask tidy --write

bench: ## beside PgBouncer, interleaved (JSON=FILE PAIRS=7 SECONDS=5)
	@scripts/setup.sh bench
	cargo build --release --locked --package poolwarden
	cargo run --release --locked --quiet --package xtask -- bench --pairs $(PAIRS) --seconds $(SECONDS) $(if $(JSON),--json $(JSON))

mutants: ## each rule of the review silenced and each of its constants nudged: a test must fail (RULE=CODE for one)
	cargo xtask mutants $(if $(RULE),$(RULE),--json proof/mutants.json)

soak: ## the core against its reference for STEPS random steps (SEED=N repeats a run)
	cargo run --profile search --locked --quiet --package poolwarden-pool --example soak -- $(STEPS) $(SEED)

fuzz: ## libFuzzer over everything that reads from outside (TIME=60 seconds each, TARGET=NAME for one); finds become seeds
	cargo xtask prove fuzz $(TIME) $(if $(filter command,$(origin TARGET)),$(TARGET)) --json proof/fuzz.json
