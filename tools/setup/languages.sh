#!/usr/bin/env bash
# Looks for the language tools that setup does not install itself, and says which are missing or too old.
. "$(dirname "$0")/common.sh"

missing=()
need() { # need COMMAND WHAT-IT-IS LEAST-MAJOR VERSION
  [ "${4:-0}" -ge "$3" ] 2>/dev/null || missing+=("$2")
}
major() { grep -oE '[0-9]+(\.[0-9]+)*' | head -1 | cut -d. -f"${1:-1}"; }

need cargo "Rust 1.95 with rustfmt and clippy" 95 "$(rustc --version 2>/dev/null | major 2)"
cargo fmt --version >/dev/null 2>&1 || missing+=("rustfmt (rustup component add rustfmt)")
cargo clippy --version >/dev/null 2>&1 || missing+=("clippy (rustup component add clippy)")
need node "Node.js 20" 20 "$(node --version 2>/dev/null | major)"
need npm "npm 9" 9 "$(npm --version 2>/dev/null | major)"
need java "a JDK of 17 or later" 17 "$(javac -version 2>&1 | major)"
need python3 "Python 3.11" 11 "$(python3 --version 2>/dev/null | major 2)"

[ ${#missing[@]} -eq 0 ] || die "please install first: $(printf '%s; ' "${missing[@]}")"
