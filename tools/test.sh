#!/usr/bin/env bash
# Installs what is missing, builds everything, runs all tests, and says which were skipped and why.
set -euo pipefail

usage() {
  cat <<'END'
usage: tools/test.sh [--build DIR] [--jobs N] [--no-install] [--no-cuda] [-- CTEST_FLAG...]

  --build DIR    where to build (default: build/test in the repository)
  --jobs N       compile so many files at once (default: one a processor)
  --no-install   do not look for missing packages
  --no-cuda      leave out what needs CUDA's compiler; without this flag, and without nvcc on the
                 path, tools/cuda_toolkit.sh fetches it into the build folder
  -- ...         given to ctest, for example: tools/test.sh -- -R Conv

Exit codes: 0 all tests passed, 1 packages missing, the build failed or a test failed, 2 wrong flags.
END
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/script_lib.sh
. "$here/script_lib.sh"
root=$(dirname "$here")

build=$root/build/test jobs=$(processors) install=1 cuda=1
while (($#)); do
  case $1 in
    --build | --jobs)
      if (($# < 2)); then die "$1 needs a value"; fi
      if [[ $1 == --build ]]; then build=$2; else jobs=$2; fi
      shift
      ;;
    --no-install) install=0 ;;
    --no-cuda) cuda=0 ;;
    -h | --help)
      usage
      exit 0
      ;;
    --)
      shift
      break
      ;;
    *) die "unknown flag '$1' (see --help)" ;;
  esac
  shift
done

# Names and reasons of skipped tests, from ctest's log of what the tests printed.
print_skipped() {
  awk '
    / Testing: / { test = $NF }
    /^skipped: / { print "  skipped: " test ": " substr($0, 10) }
    /: Skipped$/ { reason = ""; in_reason = 1; next }
    /^\[  SKIPPED \] / && in_reason {
      name = $0
      sub(/^\[  SKIPPED \] /, "", name)
      sub(/ \([0-9]+ ms\)$/, "", name)
      print "  skipped: " name ": " reason
      in_reason = 0
      next
    }
    in_reason && NF { reason = reason (reason == "" ? "" : " ") $0 }
  ' "$build/Testing/Temporary/LastTest.log"
}

if ((install)); then "$here/install_deps.sh" --all; fi
flags=(-DLSEG_TESTS=ON -DLSEG_BENCHMARKS=ON)
if ((!cuda)); then
  say "left out, by --no-cuda: what needs CUDA's compiler"
  flags+=(-DLSEG_CUDA=OFF)
else
  nvcc=$(command -v nvcc || true)
  if [[ -z $nvcc ]]; then nvcc=$("$here/cuda_toolkit.sh" "$build/cuda"); fi
  # PTX alone: it is what softgpu runs. Machine code is made by a build of one's own.
  flags+=(-DLSEG_CUDA=ON "-DLSEG_NVCC=$nvcc" "-DCMAKE_CUDA_COMPILER=$nvcc"
    -DLSEG_CUDA_ARCHS=80-virtual)
fi
say "configuring in $build"
run_logged "$build/configure.log" cmake -S "$root" -B "$build" -G Ninja "${flags[@]}"
say "building with $jobs jobs"
run_logged "$build/build.log" cmake --build "$build" -j "$jobs"
say "testing"
# Two tests run at a time, each on all processors: threads that wait must not hold one meanwhile.
export OMP_WAIT_POLICY=passive
status=0
if [[ -t 1 ]]; then
  ctest --test-dir "$build" --no-tests=error -j2 --output-on-failure --progress "$@" || status=1
else
  # In a log: what failed, and the summary.
  ctest --test-dir "$build" --no-tests=error -j2 --output-on-failure "$@" |
    sed -u '/^ *Start /d; /^ *[0-9]*\/[0-9]* Test .* Passed /d' || status=1
fi
print_skipped
if ((status)); then say "tests failed"; else say "all tests passed"; fi
exit "$status"
