#!/usr/bin/env bash
# Lays CUDA's compiler, headers and CUB into a folder, from the wheels that NVIDIA publishes on PyPI.
# For machines without a toolkit: no root, no GPU, no driver needed.
set -euo pipefail

usage() {
  cat <<'END'
usage: tools/cuda_toolkit.sh DIR

Makes DIR a CUDA 13.0 toolkit (nvcc, ptxas, headers, the runtime and CUB; about 270 MB) and prints
the path of its nvcc, as the only line on stdout. Where DIR holds it already, nothing is fetched.
Needs python3 with pip, and a network. PYTHON names another python3.

Exit codes: 0 there, 1 it could not be fetched, 2 wrong flags.
END
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/script_lib.sh
. "$here/script_lib.sh"

dir=
while (($#)); do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    -*) die "unknown flag '$1' (see --help)" ;;
    *)
      if [[ -n $dir ]]; then die "one folder, please (see --help)"; fi
      dir=$1
      ;;
  esac
  shift
done
if [[ -z $dir ]]; then
  usage >&2
  exit 2
fi

version=13.0
wheels=()
for package in nvidia-cuda-nvcc nvidia-cuda-crt nvidia-nvvm nvidia-cuda-runtime nvidia-cuda-cccl; do
  wheels+=("$package==$version.*")
done

if [[ $(cat "$dir/complete" 2>/dev/null) != "${wheels[*]}" ]]; then
  python=${PYTHON:-python3}
  if ! "$python" -m pip --version >/dev/null 2>&1; then
    echo "cuda_toolkit.sh: $python has no pip: install python3-pip, or set PYTHON" >&2
    exit 1
  fi
  mkdir -p "$(dirname "$dir")"
  part=$(mktemp -d "$dir.part.XXXXXX")
  trap 'rm -rf "$part"' EXIT
  say "fetching CUDA $version from PyPI into $dir" >&2
  run_logged "$dir.log" "$python" -m pip install --no-input --no-deps --only-binary=:all: \
    --disable-pip-version-check --root-user-action=ignore --no-compile \
    --target "$part" "${wheels[@]}"
  toolkit=$part/nvidia/cu13
  if [[ ! -x $toolkit/bin/nvcc ]]; then
    echo "cuda_toolkit.sh: the wheels hold no bin/nvcc: their layout changed (see $part)" >&2
    exit 1
  fi
  # The names that nvcc looks for when it links.
  ln -s lib "$toolkit/lib64"
  ln -s libcudart.so.13 "$toolkit/lib/libcudart.so"
  printf '%s\n' "${wheels[*]}" >"$toolkit/complete"
  rm -rf "$dir"
  mv "$toolkit" "$dir"
fi
echo "$(cd "$dir" && pwd)/bin/nvcc"
