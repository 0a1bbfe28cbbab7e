#!/usr/bin/env bash
# Installs what a command of the Makefile needs and the machine lacks: setup.sh run|test|lint|bench|prove...
# Lists it first and asks on a terminal. What is there is left alone; no PostgreSQL is started or
# touched, and installing Debian's packages creates no cluster.
set -euo pipefail
cd "$(dirname "$0")/.."

debian=()   # packages
crates=()   # name of a cargo subcommand's package
say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

has_server_binary() {
  has "$1" || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null || compgen -G "/usr/pgsql-*/bin/$1" >/dev/null
}

need_postgres() {
  has_server_binary initdb && has_server_binary postgres || debian+=(postgresql)
  has psql || debian+=(postgresql-client)
}

need_run() {
  has cargo || fail "cargo is missing: install Rust from https://rustup.rs, then try again"
  has cc || debian+=(gcc libc6-dev)
  need_postgres
}

need_test() {
  need_run
  has_server_binary pgbench || debian+=(postgresql-contrib)
  python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || debian+=(python3-venv)
  has npm || debian+=(nodejs npm)
  has javac || debian+=(default-jdk-headless)
  [ -e /usr/share/java/postgresql.jar ] || debian+=(libpostgresql-jdbc-java)
  [ -e /usr/share/java/HikariCP.jar ] || debian+=(libhikaricp-java)
  [ -e /usr/share/java/slf4j-nop.jar ] || debian+=(libslf4j-java)
  has valgrind || debian+=(valgrind)
  has pgbouncer || [ -x /usr/sbin/pgbouncer ] || debian+=(pgbouncer)
  has prometheus-pgbouncer-exporter || debian+=(prometheus-pgbouncer-exporter)
  cargo nextest --version >/dev/null 2>&1 || crates+=(cargo-nextest)
}

need_lint() {
  has cargo || fail "cargo is missing: install Rust from https://rustup.rs, then try again"
  cargo deny --version >/dev/null 2>&1 || crates+=(cargo-deny)
}

need_bench() {
  need_run
  has_server_binary pgbench || debian+=(postgresql-contrib)
  has pgbouncer || [ -x /usr/sbin/pgbouncer ] || debian+=(pgbouncer)
  has setpriv || debian+=(util-linux)
}

need_prove() {
  need_bench
  has poolsim-cli || crates+=(poolsim-cli) # what the casebook is given to, beside PgBouncer
}

ask() {
  if [ ! -t 0 ] || [ -n "${CI:-}" ] || [ -n "${ASSUME_YES:-}" ]; then return; fi
  read -r -p "setup: go ahead? [Y/n] " answer
  case "$answer" in "" | y | Y | yes) ;; *) fail "nothing was installed" ;; esac
}

install_debian() {
  has apt-get || fail "install these with your package manager, then try again: ${debian[*]}"
  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    has sudo || fail "not root and no sudo: run as root: apt-get install ${debian[*]}"
    root=(sudo)
  fi
  local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends)
  "${apt[@]}" update >/dev/null || say "package lists could not all be refreshed; trying with those there are"
  local guard=""
  if [[ " ${debian[*]} " == *" postgresql "* || " ${debian[*]} " == *" postgresql-contrib "* ]]; then
    # Debian's server package would create and start a cluster on 5432.
    "${apt[@]}" install postgresql-common >/dev/null
    guard=/etc/postgresql-common/createcluster.d/poolwarden.conf
    "${root[@]}" mkdir -p "$(dirname "$guard")"
    echo "create_main_cluster = false" | "${root[@]}" tee "$guard" >/dev/null
  fi
  local status=0
  # A service of a package just installed is not to start: pgbouncer's would take a port.
  local policy=""
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
    "${root[@]}" chmod +x "$policy"
  fi
  "${apt[@]}" install "${debian[@]}" >/dev/null || status=$?
  [ -z "$policy" ] || "${root[@]}" rm -f "$policy"
  [ -z "$guard" ] || "${root[@]}" rm -f "$guard"
  [ "$status" -eq 0 ] || fail "apt-get could not install: ${debian[*]}"
}

[ $# -gt 0 ] || fail "usage: scripts/setup.sh run|test|lint|bench|prove..."
drivers=""
for what in "$@"; do
  case "$what" in
    run) need_run ;;
    test) need_test; drivers=yes ;;
    lint) need_lint ;;
    bench) need_bench ;;
    prove) need_prove ;;
    *) fail "nothing to set up for \"$what\": run, test, lint, bench or prove" ;;
  esac
done

mapfile -t debian < <(printf '%s\n' "${debian[@]}" | sed '/^$/d' | sort -u)
mapfile -t crates < <(printf '%s\n' "${crates[@]}" | sed '/^$/d' | sort -u)
if [ ${#debian[@]} -gt 0 ] || [ ${#crates[@]} -gt 0 ]; then
  [ ${#debian[@]} -eq 0 ] || say "will install with apt: ${debian[*]}"
  [ ${#crates[@]} -eq 0 ] || say "will install with cargo: ${crates[*]}"
  ask
fi
[ ${#debian[@]} -eq 0 ] || install_debian
for crate in "${crates[@]}"; do
  say "building $crate, once; this takes some minutes"
  cargo install --quiet --locked "$crate"
done
if [ -n "$drivers" ] && [ -x scripts/setup-drivers.sh ]; then
  scripts/setup-drivers.sh
fi
