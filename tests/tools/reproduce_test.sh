#!/usr/bin/env bash
# reproduce_test.sh BIN SOURCE SCRATCH: tools/reproduce_idrid.sh on a drawn set in IDRiD's folders,
# with a small net and few steps: its steps, what a second run leaves out, its table.
set -euo pipefail
bin=$1 source=$2 scratch=$3

fail() {
  echo "$*" >&2
  exit 1
}
reproduce() { "$source/tools/reproduce_idrid.sh" --bin "$bin" --out "$scratch/out" "$@"; }

rm -rf "$scratch"
mkdir -p "$scratch"
"$bin/lseg_prep" synth --out "$scratch/set" --images 6 --width 360 --height 240 >"$scratch/log"
flags=(--root "$scratch/set" --net "$source/lseg/demo_net.prototxt" --size 180x120 --crop 64x64
  --iterations 30)

# A part that cannot be found, a flag too much, no trunk.
reproduce "${flags[@]}" --pretrained --trunk x 2>"$scratch/log" && fail "two sources of weights"
grep -q 'exclude one another' "$scratch/log" || fail "$(cat "$scratch/log")"
reproduce --root "$scratch/none" >"$scratch/log" 2>&1 && fail "no such set"
grep -q "$scratch/none" "$scratch/log" || fail "$(cat "$scratch/log")"

reproduce "${flags[@]}" >"$scratch/first" 2>&1 || fail "$(cat "$scratch/first")"
reproduce "${flags[@]}" >"$scratch/second" 2>&1 || fail "$(cat "$scratch/second")"
grep -q 'already' "$scratch/first" && fail "the first run did not do everything"
for step in prepared trained segmented; do
  grep -q "$step already" "$scratch/second" || fail "the second run has $step anew"
done

# The row of this run holds the means of the JSON, which is read here in another way.
row=$(grep '^this run' "$scratch/second")
mean=$(python3 - "$scratch/out/scores.json" <<'END'
import json, sys
scores = json.load(open(sys.argv[1]))["protocols"]["idrid33"]
print(" ".join("-" if scores[n]["aupr"] is None else "%.2f" % (100 * scores[n]["aupr"])
               for n in ("EX", "HE", "MA", "SE", "mean")))
END
)
# shellcheck disable=SC2086 # words of the row
[[ $(set -- ${row#this run} && echo "$*") == "$mean" ]] || fail "row '$row', scores '$mean'"
[[ $(grep '^this run' "$scratch/first") == "$row" ]] || fail "two runs, two rows"
# With mirror images the maps are others.
reproduce "${flags[@]}" --tta >"$scratch/third" 2>&1 || fail "$(cat "$scratch/third")"
grep -q 'segmented already' "$scratch/third" && fail "--tta took the maps of a run without it"
[[ $(grep '^this run' "$scratch/third") != "$row" ]] || fail "--tta changed nothing"

grep -q '^L-Seg  *79.45  63.74  46.27  71.13  65.15' "$scratch/second" || fail "published rows"

# The weights that come with the project: no training.
reproduce --root "$scratch/set" --size 180x120 --out "$scratch/pretrained" --pretrained \
  >"$scratch/log" 2>&1 || fail "$(cat "$scratch/log")"
grep -q '^this run' "$scratch/log" || fail "$(cat "$scratch/log")"
[[ ! -e $scratch/pretrained/run ]] || fail "--pretrained trained"
