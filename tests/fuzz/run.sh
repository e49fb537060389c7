#!/usr/bin/env bash
# Runs one fuzz target on its seeds, on what once failed, and on what libFuzzer makes of them:
#
#   run.sh PROGRAMS TARGET SECONDS CORPUS [FLAG...]
#
# PROGRAMS: the folder that tests/fuzz was built in. CORPUS: a folder for inputs that reach new code,
# with which the next run begins; -: none is kept. FLAG: given to libFuzzer. An input that fails is
# kept as PROGRAMS/findings/TARGET-*, and the exit status is not 0.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
programs=$1 target=$2 seconds=$3 corpus=$4
shift 4

if [[ $corpus == - ]]; then
  corpus=$(mktemp -d)
  trap 'rm -rf "$corpus"' EXIT
fi
mkdir -p "$corpus" "$programs/findings"
inputs=("$corpus")
for folder in "$here/seeds/$target" "$programs/seeds/$target" "$here/regressions/$target"; do
  if [[ -d $folder ]]; then inputs+=("$folder"); fi
done
# A limit of memory for one value and for all: what the readers take must be bound by the input.
flags=(-max_total_time="$seconds" -timeout=10 -malloc_limit_mb=256 -rss_limit_mb=1024
  -max_len=16384 -print_final_stats=1 -artifact_prefix="$programs/findings/$target-")
if [[ -f $programs/$target.dict ]]; then flags+=(-dict="$programs/$target.dict"); fi
# Under some kernels (vm.mmap_rnd_bits 32) a random layout of memory leaves no room for the shadow
# of clang's older sanitisers; where the layout cannot be fixed, it stays random.
fixed=()
if setarch -R true 2>/dev/null; then fixed=(setarch -R); fi
"${fixed[@]}" "$programs/fuzz_$target" "${flags[@]}" "$@" "${inputs[@]}"
