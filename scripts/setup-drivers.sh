#!/bin/sh
# Installs what the driver tests need into .local/: a Python environment and Node packages.
# Java, Node, PostgreSQL and the JDBC driver come as Debian packages. Run again at will: done steps are skipped.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
clients=$root/crates/testbed/clients
jar=${POSTGRES_JAR:-/usr/share/java/postgresql.jar}

fail() {
    echo "setup-drivers: $*" >&2
    exit 1
}

# need PACKAGE CHECK...: installs the package unless the check succeeds.
need() {
    package=$1
    shift
    if "$@" >/dev/null 2>&1; then
        return
    fi
    [ "$(id -u)" = 0 ] || fail "$package is missing: run 'sudo apt-get install $package', then this again"
    command -v apt-get >/dev/null || fail "$package is missing, and there is no apt-get to install it with"
    echo "setup-drivers: installing $package"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$package" >/dev/null 2>&1 ||
        { apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$package" >/dev/null; } ||
        fail "could not install $package"
}

# fresh STAMP FILE...: succeeds if STAMP was made from exactly these files.
fresh() {
    stamp=$1
    shift
    [ -f "$stamp" ] && [ "$(cat "$@" | cksum)" = "$(cat "$stamp")" ]
}

need postgresql sh -c 'ls /usr/lib/postgresql/*/bin/initdb || pg_config --bindir'
need postgresql-client sh -c 'command -v psql && { command -v pgbench || ls /usr/lib/postgresql/*/bin/pgbench; }'
need libpostgresql-jdbc-java test -f "$jar"
need default-jdk-headless sh -c 'command -v javac'
need nodejs sh -c 'command -v node'
need npm sh -c 'command -v npm'
need python3-venv python3 -c 'import venv, ensurepip'

mkdir -p "$root/.local"

stamp=$root/.local/python/requirements.stamp
if ! fresh "$stamp" "$clients/python/requirements.txt"; then
    echo "setup-drivers: installing the Python drivers"
    rm -rf "$root/.local/python"
    python3 -m venv "$root/.local/python" || fail "python3 -m venv failed"
    "$root/.local/python/bin/pip" install -q --disable-pip-version-check -r "$clients/python/requirements.txt" ||
        fail "pip could not install $clients/python/requirements.txt"
    cksum <"$clients/python/requirements.txt" >"$stamp"
fi

stamp=$root/.local/node/package.stamp
if ! fresh "$stamp" "$clients/node/package-lock.json"; then
    echo "setup-drivers: installing the Node drivers"
    rm -rf "$root/.local/node"
    mkdir -p "$root/.local/node"
    cp "$clients/node/package.json" "$clients/node/package-lock.json" "$root/.local/node/"
    (cd "$root/.local/node" && npm ci --silent --no-audit --no-fund --ignore-scripts) ||
        fail "npm could not install $clients/node/package.json"
    cksum <"$clients/node/package-lock.json" >"$stamp"
fi

echo "setup-drivers: ready"
