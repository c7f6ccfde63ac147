#!/usr/bin/env bash
# Installs those of the named Debian packages that are lacking, and starts no daemon of theirs.
#   tools/setup/apt.sh PACKAGE…
. "$(dirname "$0")/common.sh"

lacking=()
for package in "$@"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || lacking+=("$package")
done
[ ${#lacking[@]} -gt 0 ] || exit 0
command -v apt-get >/dev/null || die "no apt-get here; install by hand: ${lacking[*]}"

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || die "neither root nor sudo; install by hand: ${lacking[*]}"
  as_root=(sudo)
fi

# A policy-rc.d that answers 101 keeps maintainer scripts from starting services. One that is there already stays.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
  "${as_root[@]}" chmod 755 $policy
  trap '"${as_root[@]}" rm -f $policy' EXIT
fi

say "installing ${lacking[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
  apt-get install -y -qq --no-install-recommends "${lacking[@]}" >"$WHUB_TOOLS/apt.log" 2>&1 ||
  { tail -20 "$WHUB_TOOLS/apt.log" >&2; die "apt-get failed; the whole log is $WHUB_TOOLS/apt.log"; }
