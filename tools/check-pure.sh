#!/usr/bin/env bash
# Fails when a pure crate depends, however deeply, on a runtime, on sockets or on randomness.
set -euo pipefail

banned='tokio|mio|socket2|async-std|smol|getrandom|rand'
status=0
for crate in whub-proto whub-ws whub-core; do
  tree=$(cargo tree --quiet --package "$crate" --edges normal --prefix none --format '{p}')
  if found=$(grep -E "^($banned) v" <<<"$tree" | sort -u); then
    printf '%s must stay pure, but depends on:\n%s\n' "$crate" "$found" >&2
    status=1
  fi
done
exit $status
