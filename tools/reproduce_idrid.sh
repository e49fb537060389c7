#!/usr/bin/env bash
# The table of the publication, from IDRiD as it is published: prepares it, trains by the recipe of
# lseg/weights/README.md, segments the test photographs, scores them, prints the table. What is there
# from an earlier run is not done again.
set -euo pipefail

usage() {
  cat <<'END'
usage: tools/reproduce_idrid.sh --root DIR (--trunk FILE | --pretrained) [FLAG...]

  --root DIR         IDRiD, unpacked: the folder that holds "A. Segmentation"
  --trunk FILE       the trunk to start from (README: tools/pretrained.py makes it)
  --pretrained       no training: the weights that come with the project
  --tta              segment with mirror images, too (lseg_infer --tta)
  --out DIR          where everything goes (default: reproduce in the repository)
  --bin DIR          folder of the programs (default: build/tools in the repository)
  --iterations N     of the training (default: 12000, the recipe's; fewer to try the script)
  --size WxH         working size (default: 1440x960)
  --crop WxH         of the training (default: 448x448)
  --net FILE         another net (default: the built-in L-Seg)
  --device DEVICE    cpu (default), cuda or auto

A training that was interrupted goes on. Exit codes: 0 done, 1 a step failed, 2 wrong flags.
END
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/script_lib.sh
. "$here/script_lib.sh"
repository=$(dirname "$here")

root='' trunk='' pretrained=0 tta=() out=$repository/reproduce bin=$repository/build/tools
iterations=12000 size=1440x960 crop=448x448 net='' device=cpu
while (($#)); do
  case $1 in
    --root | --trunk | --out | --bin | --iterations | --size | --crop | --net | --device)
      if (($# < 2)); then die "$1 needs a value"; fi
      declare "${1#--}=$2"
      shift
      ;;
    --pretrained) pretrained=1 ;;
    --tta) tta=(--tta) ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) die "unknown flag '$1' (see --help)" ;;
  esac
  shift
done
if [[ -z $root ]]; then die "--root is missing (see --help)"; fi
if [[ ! $size =~ ^[0-9]+x[0-9]+$ ]]; then die "--size '$size' is not WIDTHxHEIGHT"; fi
if [[ ! -x $bin/lseg_train ]]; then
  die "'$bin' holds no lseg_train: build the programs (README), or say where they are with --bin"
fi
if ((pretrained)) && [[ -n $trunk ]]; then die "--trunk and --pretrained exclude one another"; fi

data=$out/data run=$out/run maps=$out/maps scores=$out/scores.json
mkdir -p "$out"

if [[ -e $data/manifest.json ]]; then
  say "prepared already: $data"
else
  say "preparing the photographs at $size"
  run_logged "$out/logs/build.log" "$bin/lseg_prep" build --from idrid --root "$root" \
    --out "$data" --width "${size%x*}" --height "${size#*x}"
fi
if [[ ! -e $data/test.txt ]]; then
  die "'$root' has no testing part, which the table is of"
fi

weights=$run/final.safetensors
if ((pretrained)); then
  weights=$repository/lseg/weights/lseg_idrid.safetensors
elif [[ -e $weights ]]; then
  say "trained already: $run"
else
  train=(--out "$run" --resume)
  if [[ ! -e $run/checkpoint.safetensors ]]; then
    train=(--data "$data/train.txt" --iterations "$iterations" --crop "$crop" --device "$device"
      --out "$run")
    if [[ -n $trunk ]]; then train+=(--weights "$trunk"); fi
    if [[ -n $net ]]; then train+=(--net "$net"); fi
    if [[ -z $trunk && -z $net ]]; then
      die "--trunk is missing: the recipe starts from a trunk that knows pictures (see --help)"
    fi
  fi
  say "training; its progress: $out/logs/train.log, $run/curves.svg"
  run_logged "$out/logs/train.log" "$bin/lseg_train" "${train[@]}"
fi

# Maps belong to the weights that made them: they are named by their hash.
stamp=$(sha256sum <"$weights" | cut -c1-16)${tta[0]:-}
if [[ -e $maps.$stamp/done ]]; then
  say "segmented already: $maps.$stamp"
else
  say "segmenting the test photographs"
  run_logged "$out/logs/infer.log" "$bin/lseg_infer" --weights "$weights" --input "$data/test.txt" \
    --out "$maps.$stamp" --prob npy --device "$device" "${tta[@]}"
  touch "$maps.$stamp/done"
fi

say "scoring"
run_logged "$out/logs/eval.log" "$bin/lseg_eval" --truth "$data/test.txt" --prob "$maps.$stamp" \
  --protocol idrid33 --json "$scores" --curves "$out/curves.svg"
images=$(wc -l <"$data/test.txt")
cat <<END

AUPR by idrid33 in per cent, on the $images images of $data/test.txt at $size.
The other rows are as published, by their authors' own protocols and sizes, on IDRiD's 27 test images.

                      EX     HE     MA     SE   mean
END
# Of the protocol's part of the JSON, which has a line a value: the first aupr of each lesion.
awk -F'[ ",:]+' '
  /"protocols"/ { inside = 1 }
  inside && /"(EX|HE|MA|SE|mean)": *\{/ { name = $2 }
  inside && /"aupr":/ && name != "" && !(name in aupr) { aupr[name] = $3 }
  END {
    printf "%-18s", "this run"
    split("EX HE MA SE mean", names, " ")
    for (i = 1; i <= 5; ++i) {
      value = aupr[names[i]]
      printf value == "null" || value == "" ? " %6s" : " %6.2f",
             value == "null" || value == "" ? "-" : 100 * value
    }
    printf "\n"
  }' "$scores"
cat <<'END'
L-Seg               79.45  63.74  46.27  71.13  65.15
VRT                 71.27  68.04  49.51  69.95  64.69
iFLYTEK             87.40  55.88  50.17  65.88  64.84
Local-Global U-Nets 88.90  70.30  52.50  67.90  69.90
PBDA                86.43  71.53  53.41  73.07  71.11
M2MRF                                           67.55
WFDENet             86.61  69.05  49.91  81.28  71.71
END
say "done: $scores, $out/curves.svg"
