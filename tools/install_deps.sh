#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that L-Seg is built from, and only those that are missing.
# Needs root or sudo only if something is missing. On other systems it says what to provide and
# leaves the rest to CMake, which names what it cannot find.
set -euo pipefail

usage() {
  cat <<'END'
usage: tools/install_deps.sh [--tools | --all] [--check]

  --tools   what the programs need
  --all     what the tests and benchmarks need as well (the default)
  --check   install nothing: exit with 1 and the names if something is missing

Exit codes: 0 all there, 1 something is missing and was not installed, 2 wrong flags.
END
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/script_lib.sh
. "$here/script_lib.sh"

packages=(g++ cmake ninja-build libdnnl-dev libhwy-dev libprotobuf-dev protobuf-compiler libpng-dev
  libtiff-dev libjpeg-dev libstb-dev libcxxopts-dev nlohmann-json3-dev)
test_packages=(libgtest-dev libgmock-dev libbenchmark-dev)
# By which cuda_toolkit.sh fetches CUDA's compiler for the tests, where there is none.
if ! command -v nvcc >/dev/null; then test_packages+=(python3-pip); fi
# The fuzz targets' compiler; Ubuntu 22.04 has its libFuzzer and sanitisers in clang's own packages.
test_packages+=(clang)
if ! grep -qs jammy /etc/os-release; then test_packages+=(libclang-rt-dev); fi

with_tests=1 check_only=0
while (($#)); do
  case $1 in
    --tools) with_tests=0 ;;
    --all) with_tests=1 ;;
    --check) check_only=1 ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) die "unknown flag '$1' (see --help)" ;;
  esac
  shift
done
if ((with_tests)); then packages+=("${test_packages[@]}"); fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "not a Debian or Ubuntu system: please provide what these packages hold: ${packages[*]}"
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  if [[ $status != installed ]]; then missing+=("$package"); fi
done
if ((${#missing[@]} == 0)); then exit 0; fi

as_root=()
if ((check_only)); then
  echo "missing packages: ${missing[*]}" >&2
  exit 1
elif ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "missing packages: ${missing[*]}" >&2
    echo "There is neither root nor sudo here. Ask an administrator to run:" >&2
    echo "  apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

say "installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { run_logged "$log" "${as_root[@]}" apt-get update -q &&
  run_logged "$log" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"; }; then
  echo "could not install: ${missing[*]}" >&2
  exit 1
fi
