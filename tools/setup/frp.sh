#!/usr/bin/env bash
# Builds frps and frpc, which `make bench` compares with, into $WHUB_TOOLS/frp. Without Go they are left out.
. "$(dirname "$0")/common.sh"

version=v0.61.1
home=$WHUB_TOOLS/frp
fresh "$home/stamp" "$REPO/tools/setup/frp.sh" && exit 0
command -v go >/dev/null || { say "no Go here, so no frp: install Go 1.22 or later to compare with it"; exit 0; }

say "building frp $version"
rm -rf "$home"
mkdir -p "$home/source"
# Only its own go.mod names the forks that it is built with, so `go install` will not do.
source=$(go mod download -json "github.com/fatedier/frp@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
[ -d "$source" ] || die "the Go module proxy has no github.com/fatedier/frp@$version"
cp -r "$source/." "$home/source"
chmod -R u+w "$home/source"
(cd "$home/source" && CGO_ENABLED=0 go build -mod=mod -trimpath -ldflags '-s -w' -o "$home" ./cmd/frps ./cmd/frpc) \
  >"$home/build.log" 2>&1 || { tail -20 "$home/build.log" >&2; die "frp does not build; the whole log is $home/build.log"; }
rm -rf "$home/source"
mark "$home/stamp" "$REPO/tools/setup/frp.sh"
