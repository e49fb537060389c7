#!/usr/bin/env bash
# Runs a CUDA program on softgpu: the drop-in runtime goes first on the library path. A program that
# would not reach it, since its runtime is linked statically, is told so instead of run.
set -euo pipefail

usage() {
  cat <<'END'
usage: softgpu-run [FLAG...] PROGRAM ARGS...

Runs a CUDA program on the processor, kernel by kernel as nvcc compiled them, and checks every
access. What it finds is printed to stderr as it is found, in lines that open with "softgpu: ".

  --seed N       order of warps, blocks and streams (default 1); with --threads 1 a seed repeats
  --threads N    worker threads (default: one a processor)
  --arch N       compute capability times ten: 80 (default) or 90
  --memory N     bytes of device memory (default 8 GiB)
  --off NAMES    checks to switch off, with commas between: out-of-bounds, use-after-free,
                 misaligned, uninitialised, race-shared, race-global, barrier, warp-sync,
                 async-copy, launch, host-copy, double-free, leak, pinned, assert, timeout
  --report FILE  what every kernel cost, as JSON; FILE "-": a table, at the end, on stderr

Build the program with: nvcc -cudart shared -gencode arch=compute_80,code=compute_80
-Xfatbin -compress=false (and -lineinfo and -g, for the lines of kernels and of host code; kernels
for sm_90a: -gencode arch=compute_90a,code=compute_90a, too).

Streams run late and in an order that the seed decides: try several.
Exit codes: the program's own where it is not 0; else 86 where something was found; 2 wrong flags,
or a program that cannot reach softgpu.
END
}

die() {
  printf 'softgpu-run: %s\n' "$1" >&2
  exit 2
}

flags='-cudart shared -gencode arch=compute_80,code=compute_80 -Xfatbin -compress=false'
while (($#)); do
  case $1 in
    --seed | --threads | --arch | --memory | --off | --report)
      if (($# < 2)); then die "$1 needs a value (see --help)"; fi
      case $1 in
        --seed) export SOFTGPU_SEED=$2 ;;
        --threads) export SOFTGPU_THREADS=$2 ;;
        --arch) export SOFTGPU_ARCH=$2 ;;
        --memory) export SOFTGPU_MEMORY=$2 ;;
        --off) export SOFTGPU_OFF=$2 ;;
        --report) export SOFTGPU_REPORT=$2 ;;
      esac
      shift 2
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    --)
      shift
      break
      ;;
    -*) die "unknown flag '$1' (see --help)" ;;
    *) break ;;
  esac
done
if ((!$#)); then
  usage >&2
  exit 2
fi

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
library=${SOFTGPU_CUDART:-$here/cudart}
if [[ ! -e $library/libcudart.so.13 ]]; then
  die "no libcudart.so.13 in $library: build the target softgpu_cudart"
fi
program=$(type -P -- "$1") || die "no program '$1'"
shift
export LD_LIBRARY_PATH=$library${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

# A script or an interpreter may start CUDA programs: these find the library by themselves. A
# program that holds device code has to need it.
if [[ $(head -c 4 -- "$program" | tr -d '\0') == $'\x7fELF' ]]; then
  needed=$(ldd -- "$program" 2>/dev/null | awk '$1 == "libcudart.so.13" { print $3 }')
  if [[ -z $needed ]]; then
    if grep -q -F '.nv_fatbin' -- "$program"; then
      die "$program does not use libcudart.so.13; build it with: nvcc $flags"
    fi
  elif [[ $(readlink -f -- "$needed") != $(readlink -f -- "$library/libcudart.so.13") ]]; then
    die "$program takes $needed instead of softgpu's: its RPATH comes before LD_LIBRARY_PATH"
  fi
fi
# A library that was built with the address sanitizer wants it first in the process.
if grep -q -F libasan.so -- "$library/libcudart.so.13"; then
  LD_PRELOAD=$(ldd -- "$library/libcudart.so.13" | awk '$1 ~ /^libasan/ { print $3 }')
  export LD_PRELOAD
fi
exec "$program" "$@"
