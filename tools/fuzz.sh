#!/usr/bin/env bash
# Builds the fuzz targets of fuzz/ with libFuzzer and AddressSanitizer and runs them for a bounded time.
#   tools/fuzz.sh SECONDS [TARGET…]        without a target: all of them, one after another, SECONDS each
# Inputs worth keeping stay in $WHUB_TOOLS/fuzz/TARGET and are where the next run begins, together with the
# committed ones in fuzz/seeds/TARGET. An input that breaks something is copied to $WHUB_TOOLS/fuzz/found.
. "$(dirname "$0")/setup/common.sh"

seconds=${1:?seconds for each target}
shift
manifest=$REPO/fuzz/Cargo.toml
triple=$(rustc -vV | sed -n 's/^host: //p')

# cargo-fuzz would set the same flags. Coverage passes and sanitizers are unstable options, hence the bootstrap switch.
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="--cfg fuzzing -Zsanitizer=address -Ccodegen-units=1 -Cdebug-assertions -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
-Cllvm-args=-simplifycfg-branch-fold-threshold=0"

metadata=$(cargo metadata --manifest-path "$manifest" --no-deps --format-version 1)
ask() { python3 -c "import json, sys; m = json.load(sys.stdin); $1" <<<"$metadata"; }
built=$(ask 'print(m["target_directory"])')/$triple/release
[ $# -gt 0 ] || mapfile -t all < <(ask 'print(*[t["name"] for p in m["packages"] for t in p["targets"] if "bin" in t["kind"]], sep="\n")')
targets=("${@:-${all[@]}}")

passed=0 failed=0
for target in "${targets[@]}"; do
  cargo build --manifest-path "$manifest" --release --target "$triple" --bin "$target"
  corpus=$WHUB_TOOLS/fuzz/$target found=$WHUB_TOOLS/fuzz/found
  mkdir -p "$corpus" "$found"
  folders=("$corpus")
  [ ! -d "$REPO/fuzz/seeds/$target" ] || folders+=("$REPO/fuzz/seeds/$target")
  echo "fuzz: $target for $seconds s"
  if "$built/$target" "${folders[@]}" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="$found/$target-" 2>"$WHUB_TOOLS/fuzz/$target.log"; then
    passed=$((passed + 1))
    grep -E 'stat::number_of_executed_units' "$WHUB_TOOLS/fuzz/$target.log"
  else
    failed=$((failed + 1))
    tail -40 "$WHUB_TOOLS/fuzz/$target.log" >&2
  fi
done
echo "fuzz: $passed passed, $failed failed"
[ $failed -eq 0 ]
