#!/usr/bin/env bash
# Builds the fuzz targets (tests/fuzz) and runs them as long as is wanted.
set -euo pipefail

usage() {
  cat <<'END'
usage: tools/fuzz.sh [--build DIR] [--jobs N] [SECONDS] [TARGET...]

  --build DIR   where to build (default: build/fuzz in the repository)
  --jobs N      run so many targets at once (default: one a processor)
  SECONDS       how long each target runs (default: 600)
  TARGET        which (default: all): net solver safetensors caffemodel mean_file npy png_label
                tiff_mask photo list split

Needs clang with libFuzzer (Debian and Ubuntu: clang, libclang-rt-dev); CXX says which, if it is not
clang++. Inputs that reach new code are kept in DIR/corpus, and the next run begins with them. An
input that fails is kept in DIR/findings; DIR/fuzz_TARGET FILE runs it again. Put into
tests/fuzz/regressions/TARGET it is tested from then on.

Exit codes: 0 nothing was found, 1 something was, or the build failed, 2 wrong flags.
END
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/script_lib.sh
. "$here/script_lib.sh"
root=$(dirname "$here")

build=$root/build/fuzz jobs=$(processors) seconds=600 targets=()
while (($#)); do
  case $1 in
    --build | --jobs)
      if (($# < 2)); then die "$1 needs a value"; fi
      if [[ $1 == --build ]]; then build=$2; else jobs=$2; fi
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    -*) die "unknown flag '$1' (see --help)" ;;
    [0-9]*) seconds=$1 ;;
    *) targets+=("$1") ;;
  esac
  shift
done
for number in "$seconds" "$jobs"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || die "'$number' is no count (see --help)"
done
for target in "${targets[@]}"; do
  [[ -f $root/tests/fuzz/fuzz_$target.cc ]] || die "there is no target '$target' (see --help)"
done
if ((${#targets[@]} == 0)); then
  for source in "$root"/tests/fuzz/fuzz_*.cc; do
    target=${source##*/fuzz_}
    targets+=("${target%.cc}")
  done
fi
compiler=${CXX:-clang++}
command -v "$compiler" >/dev/null || die "no $compiler: install clang and libclang-rt-dev"

say "building in $build"
run_logged "$build/configure.log" cmake -S "$root/tests/fuzz" -B "$build" -G Ninja \
  "-DCMAKE_CXX_COMPILER=$compiler"
run_logged "$build/build.log" cmake --build "$build"

# One line of result; what libFuzzer printed is in a log, whose end is shown where it found something.
run_target() {
  local target=$1 log=$build/$1.log status=0 count
  "$root/tests/fuzz/run.sh" "$build" "$target" "$seconds" "$build/corpus/$target" >"$log" 2>&1 ||
    status=1
  count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  if ((status)); then
    say "$target: FAILED after ${count:-0} inputs; the end of $log:"
    tail -n 30 "$log"
  else
    say "$target: nothing found in $count inputs"
  fi
  return "$status"
}

say "running ${targets[*]}: $seconds s each, $jobs at once"
status=0 running=0
for target in "${targets[@]}"; do
  if ((running == jobs)); then
    wait -n || status=1
    running=$((running - 1))
  fi
  run_target "$target" &
  running=$((running + 1))
done
while ((running > 0)); do
  wait -n || status=1
  running=$((running - 1))
done
exit "$status"
