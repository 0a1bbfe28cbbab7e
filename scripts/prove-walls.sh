#!/usr/bin/env bash
# Proves that every line of the pure packages' clippy.toml fires: a misspelt path there only warns.
# Lints a throwaway package that uses each forbidden thing once, and compares the two lists.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cp crates/pool/clippy.toml "$folder/clippy.toml"
cp scripts/walls/violation.rs "$folder/src/lib.rs"
printf '[package]\nname = "violation"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' >"$folder/Cargo.toml"

expected=$(sed -n 's/.*{ path = "\([^"]*\)".*/\1/p' "$folder/clippy.toml" | sort -u)
output=$(cd "$folder" && CARGO_TARGET_DIR="$folder/target" cargo clippy --quiet 2>&1)
fired=$(sed -n 's/.*use of a disallowed [a-z]* `\(.*\)`.*/\1/p' <<<"$output" | sort -u)
if [ "$expected" != "$fired" ]; then
  echo "walls that did not fire (<) or are not listed (>):" >&2
  diff <(echo "$expected") <(echo "$fired") >&2 || true
  exit 1
fi
echo "walls: all $(wc -l <<<"$expected") forbidden paths fire"
