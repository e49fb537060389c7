#!/usr/bin/env bash
# Builds a folder that runs on a bare x86-64 machine with an NVIDIA driver: programs, device tests,
# benchmarks and every shared library that is not the system's. Programs find lib/ beside their own
# folder by DT_RPATH, which, unlike DT_RUNPATH, holds for the libraries that libraries need too.
#
#   tools/bundle.sh OUT_DIR
#   tools/bundle.sh --build build-bundle --archs "80;90a" --jobs 4 OUT_DIR
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
build="$root/build-bundle" archs="80;90a" jobs="$(nproc)" out="" most_bytes=$((25 << 20))
while [[ $# -gt 0 ]]; do
  case "$1" in
    --build) build="$2"; shift 2 ;;
    --archs) archs="$2"; shift 2 ;;
    --jobs) jobs="$2"; shift 2 ;;
    -h|--help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "bundle.sh: unknown flag $1" >&2; exit 2 ;;
    *) out="$1"; shift ;;
  esac
done
[[ -n "$out" ]] || { echo "usage: bundle.sh [--build DIR] [--archs LIST] [--jobs N] OUT_DIR" >&2; exit 2; }
[[ ! -e "$out" ]] || { echo "bundle.sh: $out is there already" >&2; exit 2; }

launcher=()
if command -v ccache > /dev/null; then
  launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
fi
# LSEG_TEST_ROOT: tests look for their files from the folder they are started in.
cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release "${launcher[@]}" \
  "-DLSEG_CUDA_ARCHS=$archs" -DLSEG_TEST_ROOT=. \
  -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON '-DCMAKE_INSTALL_RPATH=$ORIGIN/../lib' \
  -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags > "$build.log" 2>&1 ||
  { tail -20 "$build.log" >&2; exit 1; }

programs=(lseg_train lseg_infer lseg_eval lseg_prep lseg_convert bench_gpu bench_net)
# "name kind" of each test program of a GPU: DEVICES, with cases of the CPU beside, or CUDA.
list="$(sed -nE 's/^ *lseg_test\(([a-z0-9_]+) (CUDA|DEVICES)( .*)?$/\1 \2/p' \
  "$root"/tests/{kernels,framework,lseg}/CMakeLists.txt)"
mapfile -t tests < <(cut -d' ' -f1 <<< "$list")
ninja -C "$build" -j "$jobs" "${programs[@]}" "${tests[@]}"

mkdir -p "$out"/{bin,tests,lib,lseg,tests/reference,benchmarks}
for program in "${programs[@]}"; do
  cp "$(find "$build" -type f -name "$program" -perm -u+x | head -1)" "$out/bin/"
done
for test in "${tests[@]}"; do
  cp "$(find "$build/tests" -type f -name "$test" -perm -u+x | head -1)" "$out/tests/"
done
echo "$list" > "$out/tests/LIST"
find "$root/tests/reference" -type f ! -name '*.cc' ! -name '*.h' ! -name '*.py' \
  -exec cp {} "$out/tests/reference/" \;
cp "$root"/lseg/*.prototxt "$out/lseg/"
cp "$root"/benchmarks/bench_torch*.py "$out/benchmarks/"
cp "$root/tools/gpu_check.sh" "$out/"
cp "$build/kernels/liblseg_kernels.so" "$out/lib/"
# Its engines' cuDNN and cuBLAS are the machine's own.
[[ ! -e "$build/kernels/liblseg_cudnn.so" ]] || cp "$build/kernels/liblseg_cudnn.so" "$out/lib/"

# The C library and the loader are the machine's own; libcuda comes with the driver.
system='^(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|cuda))\.so'
libraries() { LD_LIBRARY_PATH="$out/lib" ldd "$@" | awk '/=> \//{print $1, $3}' | sort -u; }
while read -r name path; do
  [[ "$name" =~ $system || -e "$out/lib/$name" ]] || cp -L "$path" "$out/lib/$name"
done < <(libraries "$out"/bin/* "$out"/tests/*_test)
chmod u+w "$out"/lib/*
strip --strip-unneeded "$out"/bin/* "$out"/tests/*_test "$out"/lib/*

commit="$(git -C "$root" rev-parse HEAD 2> /dev/null || echo unknown)"
[[ -z "$(git -C "$root" status --porcelain --untracked-files=no 2> /dev/null)" ]] || commit+=" with changes"
glibc="$(objdump -T "$out"/bin/* "$out"/tests/*_test "$out"/lib/* 2> /dev/null |
  grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -1)"
{
  echo "commit: $commit"
  echo "built: $(date -u +%Y-%m-%d)"
  echo "GPU architectures: $archs"
  echo "needs: x86-64, glibc ${glibc#GLIBC_}, an NVIDIA driver for CUDA 13 (580 or later)"
  echo "files:"
  (cd "$out" && find . -type f ! -name MANIFEST -printf '  %10s %P\n' | sort -k2)
} > "$out/MANIFEST"

missing="$(LD_LIBRARY_PATH='' ldd "$out"/bin/* "$out"/tests/*_test | grep 'not found' | sort -u || true)"
[[ -z "$missing" ]] || { echo "bundle.sh: libraries are missing: $missing" >&2; exit 1; }
XZ_OPT=-T0 tar -C "$(dirname "$out")" -cJf "$out.tar.xz" "$(basename "$out")"
bytes="$(stat -c %s "$out.tar.xz")"
grep -E '^(commit|needs)' "$out/MANIFEST"
echo "$out.tar.xz: $bytes bytes"
[[ "$bytes" -le "$most_bytes" ]] || { echo "bundle.sh: larger than $most_bytes bytes" >&2; exit 1; }
