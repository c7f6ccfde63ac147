# shellcheck shell=bash
# Shared by the setup scripts: where things go, and how they speak. Sourced, not run.
#
# WHUB_TOOLS is the folder for everything that is installed for this repository and not committed.
# It defaults to .tools in the checkout; CI points it at a folder that outlives the checkout.

set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
WHUB_TOOLS=${WHUB_TOOLS:-$REPO/.tools}
mkdir -p "$WHUB_TOOLS"
WHUB_TOOLS=$(cd "$WHUB_TOOLS" && pwd)

say() { printf '%s\n' "setup: $*"; }
die() { printf '%s\n' "setup: $*" >&2; exit 1; }

# fresh STAMP FILE…: true when STAMP holds the checksum of the files, so the step it stands for is done.
fresh() {
  local stamp=$1
  shift
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(cat "$@" | sha256sum)" ]
}

# mark STAMP FILE…: notes that the step is done for these files.
mark() {
  local stamp=$1
  shift
  cat "$@" | sha256sum >"$stamp"
}
