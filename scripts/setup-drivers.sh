#!/bin/sh
# Installs what the driver tests need into .local/: a Python environment and Node packages.
# Java, Node, PostgreSQL and the JDBC driver come as Debian packages, by scripts/setup.sh test, which calls this.
# Run again at will: done steps are skipped.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
clients=$root/crates/testbed/clients
jar=${POSTGRES_JAR:-/usr/share/java/postgresql.jar}

fail() {
    echo "setup-drivers: $*" >&2
    exit 1
}

# need PACKAGE CHECK...: fails with the package's name unless the check succeeds.
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 ||
        fail "$package is missing: run scripts/setup.sh test, or install that package, then this again"
}

# fresh STAMP FILE...: succeeds if STAMP was made from exactly these files.
fresh() {
    stamp=$1
    shift
    [ -f "$stamp" ] && [ "$(cat "$@" | cksum)" = "$(cat "$stamp")" ]
}

need postgresql sh -c 'ls /usr/lib/postgresql/*/bin/initdb || command -v initdb || test -x "$(pg_config --bindir)/initdb"'
need util-linux sh -c 'command -v setpriv'
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
