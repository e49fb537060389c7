#!/usr/bin/env bash
# From nothing to lesion maps and their scores: installs what is missing, builds the programs, draws a
# synthetic set, trains a small net of L-Seg's shape on it, segments the held-out images, evaluates.
set -euo pipefail

usage() {
  cat <<'END'
usage: tools/demo.sh [--out DIR] [--build DIR] [--jobs N] [--no-install]

  --out DIR      where everything goes (default: demo in the repository); replaced if it is a demo's
  --build DIR    where to build (default: build/demo in the repository)
  --jobs N       compile so many files at once (default: one a processor)
  --no-install   do not look for missing packages

Takes less than 10 minutes on 2 cores. Exit codes: 0 done, 1 a step failed, 2 wrong flags.
END
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/script_lib.sh
. "$here/script_lib.sh"
root=$(dirname "$here")

out=$root/demo build=$root/build/demo jobs=$(processors) install=1
while (($#)); do
  case $1 in
    --out | --build | --jobs)
      if (($# < 2)); then die "$1 needs a value"; fi
      case $1 in
        --out) out=$2 ;;
        --build) build=$2 ;;
        --jobs) jobs=$2 ;;
      esac
      shift
      ;;
    --no-install) install=0 ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) die "unknown flag '$1' (see --help)" ;;
  esac
  shift
done

# Only a folder that an earlier demo made is emptied.
if [[ -e $out && ! -e $out/demo.txt && -n $(ls -A "$out") ]]; then
  die "'$out' is there and no demo's: choose another --out"
fi

case $(realpath -m -- "$build")/ in
  "$(realpath -m -- "$out")"/*) die "--build '$build' lies inside --out '$out', which is emptied" ;;
esac

if ((install)); then "$here/install_deps.sh" --tools; fi
say "building the programs in $build, for the processor alone"
run_logged "$build/configure.log" \
  cmake -S "$root" -B "$build" -G Ninja -DLSEG_TESTS=OFF -DLSEG_BENCHMARKS=OFF -DLSEG_CUDA=OFF
run_logged "$build/build.log" cmake --build "$build" -j "$jobs"
bin=$build/tools

rm -rf -- "$out"
mkdir -p "$out/logs"
echo "Made by tools/demo.sh; its next run replaces this folder." >"$out/demo.txt"

say "drawing 36 synthetic photographs with their lesions"
run_logged "$out/logs/synth.log" \
  "$bin/lseg_prep" synth --out "$out/synthetic" --images 36 --seed 1 --width 1440 --height 960
say "preparing them at 720x480: 24 for training, 12 held out"
run_logged "$out/logs/build.log" \
  "$bin/lseg_prep" build --from synth --root "$out/synthetic" --out "$out/data" \
  --width 720 --height 480
say "training a small net of L-Seg's shape (its progress: $out/logs/train.log)"
run_logged "$out/logs/train.log" \
  "$bin/lseg_train" --net "$root/lseg/demo_net.prototxt" \
  --solver "$root/lseg/demo_solver.prototxt" --data "$out/data/train.txt" --out "$out/model" \
  --crop 240x240
say "segmenting the held-out photographs"
run_logged "$out/logs/infer.log" \
  "$bin/lseg_infer" --weights "$out/model/final.safetensors" --input "$out/data/test.txt" \
  --out "$out/maps" --prob npy
say "evaluating, beside what colour alone would give"
"$bin/lseg_eval" --truth "$out/data/test.txt" --prob "$out/maps" --protocol idrid33 \
  --baseline colour --json "$out/scores.json" --curves "$out/curves.svg"
say "done"
cat <<END

The lesions were drawn, not a patient's: these figures say that the programs work, and nothing of how
well they do on real photographs.
  photographs with the lesions found   $out/maps/*.overlay.png
  class maps, probabilities            $out/maps/*.label.png, $out/maps/*.prob.npy
  the photographs and their truth      $out/data/images, $out/data/labels
  precision-recall curves              $out/curves.svg
  the course of the training           $out/model/curves.svg, $out/model/log.csv
  the model                            $out/model/final.safetensors
END
