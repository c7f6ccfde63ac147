#!/usr/bin/env bash
# Installs the locked npm packages of every folder below tests/ that has a lock file.
. "$(dirname "$0")/common.sh"

for lock in $(cd "$REPO" && git ls-files --cached --others --exclude-standard 'tests/*package-lock.json'); do
  folder=$REPO/$(dirname "$lock")
  fresh "$folder/node_modules/.stamp" "$REPO/$lock" && continue
  say "npm packages in $(dirname "$lock")"
  (cd "$folder" && npm ci --silent --ignore-scripts) || die "npm ci failed in $folder; run it there to see why"
  mark "$folder/node_modules/.stamp" "$REPO/$lock"
done
