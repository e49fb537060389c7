#!/usr/bin/env bash
# Checks the bundle that it lies in on a machine with a GPU: tests, the programs, the sanitizer,
# benchmarks. One JSON of all figures and of how each step ended, and the logs, in OUT. A step that
# fails or runs past its time does not stop the others; the exit status says whether one did.
#
#   ./gpu_check.sh OUT                       # everything, in less than 8 minutes
#   ./gpu_check.sh --tests --bench OUT       # these parts alone
#   ./gpu_check.sh --no-torch OUT            # all but this; parts: tests tools bench torch unproven
#                                            # sanitize
#   ./gpu_check.sh --seconds 300 OUT         # time for it all
set -uo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
parts=(tests tools bench torch unproven sanitize) only=() without=() seconds=460 out=""
while [[ $# -gt 0 ]]; do
  case "$1" in
    --tests|--tools|--bench|--torch|--unproven|--sanitize) only+=("${1#--}"); shift ;;
    --no-*) without+=("${1#--no-}"); shift ;;
    --seconds) seconds="$2"; shift 2 ;;
    -h|--help) sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "gpu_check.sh: unknown flag $1" >&2; exit 2 ;;
    *) out="$1"; shift ;;
  esac
done
[[ -n "$out" ]] || { echo "usage: gpu_check.sh [--PART...] [--no-PART...] OUT" >&2; exit 2; }
mkdir -p "$out/logs"
out="$(cd "$out" && pwd)"
cd "$here" || exit 2
[[ ${#only[@]} -eq 0 ]] || parts=("${only[@]}")
wanted() { [[ " ${parts[*]} " == *" $1 "* && " ${without[*]-} " != *" $1 "* ]]; }

started=$SECONDS
left() { echo $((seconds - (SECONDS - started))); }
rm -rf "$out/steps" && mkdir "$out/steps"

finding='^========= (Invalid|Error|Uninitialized|Barrier error|Potential|Race|Program hit|Leaked)'

no_time_for() { echo "{\"step\": \"$1\", \"result\": \"no time left\"}" > "$out/steps/$1"; }

# step NAME LIMIT COMMAND...: runs it for at most LIMIT seconds, and no longer than the whole may
# take; its output goes to logs/NAME.log, how it ended to steps/NAME.
step() {
  local name="$1" limit="$2" log="$out/logs/$1.log" from status result
  shift 2
  [[ "$limit" -le "$(left)" ]] || limit="$(left)"
  if [[ "$limit" -lt 3 ]]; then
    no_time_for "$name"
    return
  fi
  from=$SECONDS
  timeout --kill-after=5 "$limit" "$@" < /dev/null > "$log" 2>&1
  status=$?
  case $status in
    0) result=passed ;;
    124|137) result="past its $limit s" ;;
    *) result=failed ;;
  esac
  # The sanitizer slows a program down by what nobody can foresee: it looks as long as it may.
  if [[ $result == past* && $1 == compute-sanitizer ]] && ! grep -qE "$finding" "$log"; then
    result="no finding in $limit s"
  fi
  local counts=""
  if grep -q '^\[  PASSED  \]' "$log"; then
    counts=", \"passed\": $(sed -nE 's/^\[  PASSED  \] ([0-9]+) tests?.*/\1/p' "$log" | tail -1)"
    counts+=", \"failed\": $(grep -cE '^\[  FAILED  \] .*\([0-9]+ ms\)$' "$log")"
    counts+=", \"skipped\": $(grep -cE '^\[  SKIPPED \] .*\([0-9]+ ms\)$' "$log")"
    [[ "$counts" != *'"passed": 0'* || $result != passed ]] || result="no case ran"
  fi
  echo "{\"step\": \"$name\", \"result\": \"$result\", \"status\": $status$counts," \
    "\"seconds\": $((SECONDS - from))}" > "$out/steps/$name"
  echo "$name: $result, $((SECONDS - from)) s"
  [[ $result == passed ]] || tail -n 12 "$log" | cut -c1-300 | sed 's/^/    /'
}

# The cases of a GPU: all of a CUDA program's, those named so of the others. Kernels that no GPU has
# run have a part of their own: a fault of theirs would end the whole program.
filter() {
  case "$1" in
    CUDA) echo '*-*Wgmma*' ;;
    WGMMA) echo '*Wgmma*' ;;
    *) echo '*cuda*:*Cuda*:*Gpu*:*GPU*-*Wgmma*' ;;
  esac
}

have_cudnn() {
  [[ -e lib/liblseg_cudnn.so ]] || return 1
  ldconfig -p 2> /dev/null | grep -q 'libcudnn\.so\.9' || python3 -c 'import nvidia.cudnn' 2> /dev/null
}

run_tests() {
  local name kind limit
  # What cuDNN calls an error, where its engine's test fails.
  export CUDNN_LOGLEVEL_DBG=1 CUDNN_LOGDEST_DBG="$out/logs/cudnn.txt"
  while read -r name kind; do
    limit=120
    [[ $name != conv_cudnn_test ]] || limit=200  # cuDNN may compile
    step "$name" "$limit" "tests/$name" "--gtest_filter=$(filter "$kind")" &
    while [[ "$(jobs -rp | wc -l)" -ge 4 ]]; do wait -n; done
  done < tests/LIST
  wait
  if have_cudnn; then
    step conv_cudnn_is_tested 5 grep -q '^\[       OK \] Libraries/.*/cudnn' "$out/logs/conv_cudnn_test.log"
  fi
}

# Training and inference through the programs, on made-up photographs.
run_tools() {
  local data="$out/tools" device
  rm -rf "$data"
  step tools_synth 60 bin/lseg_prep synth --out "$data/synth" --images 6 --seed 1 --width 720 \
    --height 480
  step tools_prep 60 bin/lseg_prep build --from synth --root "$data/synth" --out "$data/data" \
    --width 360 --height 240
  for device in cpu cuda; do
    step "tools_train_$device" 90 bin/lseg_train --data "$data/data/train.txt" --crop 128x128 \
      --iterations 4 --seed 1 --device "$device" --out "$data/$device"
    step "tools_infer_$device" 60 bin/lseg_infer --weights "$data/cpu/final.safetensors" \
      --input "$data/data/test.txt" --out "$data/maps_$device" --device "$device"
  done
  # Sums in another order move a loss by 1e-5 of itself, and the weights with it: 1 % is far outside.
  step tools_losses 5 awk -F, 'FNR == 1 { next } NR == FNR { loss[$1] = $2; next }
    { d = $2 / loss[$1] - 1; print $1, loss[$1], $2; if (d * d > 1e-4 || d != d) bad = 1; n++ }
    END { exit bad || n != 4 }' "$data/cpu/log.csv" "$data/cuda/log.csv"
}

run_bench() {
  local mode
  step bench_gpu 120 bin/bench_gpu --json "$out/bench_gpu.json"
  local batch
  for batch in 1 4 8; do
    step "net_forward_n$batch" 40 bin/bench_net forward --device cuda --precision bf16 \
      --batch "$batch" --repeat 20 --warmup 4 --layers
  done
  step net_forward_f32 40 bin/bench_net forward --device cuda --precision f32 --repeat 7 --warmup 4
  step net_forward_tf32 40 bin/bench_net forward --device cuda --precision tf32 --repeat 7 --warmup 4
  step net_train_n1 60 bin/bench_net train --device cuda --precision bf16 --repeat 10 --warmup 4 \
    --layers
  step net_train_720x480_n4 60 bin/bench_net train --device cuda --precision bf16 --batch 4 \
    --width 720 --height 480 --repeat 10 --warmup 4 --layers
  if have_cudnn; then
    step bench_libraries 60 bin/bench_gpu --libraries --quick --only bf16 \
      --json "$out/bench_libraries.json"
    step bench_libraries_has_cudnn 5 grep -q '"engine": "cudnn"' "$out/bench_libraries.json"
    for mode in forward train; do
      step "net_${mode}_cudnn" 40 bin/bench_net "$mode" --device cuda --precision bf16 \
        --library cudnn --repeat 10 --warmup 4
      step "net_${mode}_cudnn_has_it" 5 grep -q '":"cudnn"' "$out/logs/net_${mode}_cudnn.log"
    done
  else
    echo "no cuDNN: its engines are not timed"
  fi
}

run_torch() {
  if ! python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2> /dev/null; then
    echo "no torch that sees a GPU: left out"
    return
  fi
  step torch 200 python3 benchmarks/bench_torch_gpu.py --json "$out/torch.json"
}

# Kernels that no GPU has run yet, each program by itself, with nothing beside them.
run_unproven() {
  local name kind mode
  while read -r name kind; do
    "tests/$name" '--gtest_filter=*Wgmma*' --gtest_list_tests < /dev/null | grep -q '^  ' || continue
    step "unproven_$name" 30 "tests/$name" '--gtest_filter=*Wgmma*'
  done < tests/LIST
  step bench_unproven 60 bin/bench_gpu --unproven --only wgmma --json "$out/bench_unproven.json"
  for mode in forward train; do
    step "net_${mode}_unproven" 60 bin/bench_net "$mode" --device cuda --precision bf16 --repeat 20 \
      --warmup 4 --layers --measure --unproven
  done
}

# Programs for the sanitizer, those whose kernels have changed most since a GPU ran them first.
sanitized() {
  local first='stage_gradient|fuse_sides|fuse_head|softmax|deconv|box_copy|bin_loss|pool|reorder|update'
  grep -E "^($first)_" tests/LIST
  # conv_cudnn_test runs other people's kernels; the runtime's test asks for errors of the API.
  grep -vE "^($first)_|^(conv_cudnn|runtime_cuda)_test " tests/LIST
  sed -nE 's/^(conv_(gemm_)?cuda_test) .*/\1 WGMMA/p' tests/LIST
}

# Four tools, each on the small tests of ops; a finding is exit status 9.
run_sanitize() {
  if ! command -v compute-sanitizer > /dev/null; then
    echo "no compute-sanitizer: left out"
    return
  fi
  local tool name kind label until=$((SECONDS + 150))
  for tool in memcheck initcheck synccheck racecheck; do
    while read -r name kind; do
      label="${tool}_$name"
      [[ $kind != WGMMA ]] || label+=_wgmma
      if [[ $SECONDS -ge $until ]]; then
        no_time_for "$label"
        continue
      fi
      step "$label" 45 compute-sanitizer --tool "$tool" --error-exitcode 9 \
        "tests/$name" "--gtest_filter=$(filter "$kind")" &
      while [[ "$(jobs -rp | wc -l)" -ge 6 ]]; do wait -n; done
    done < <(sanitized)
  done
  wait
}

# The line of JSON that comes last in a log.
last_json() { grep '^{' "$1" | tail -1; }

write_json() {
  local gpu driver
  gpu="$(nvidia-smi --query-gpu=name --format=csv,noheader 2> /dev/null | head -1)"
  driver="$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2> /dev/null | head -1)"
  {
    echo "{\"gpu\": \"${gpu:-none}\", \"driver\": \"${driver:-none}\","
    echo "\"commit\": \"$(sed -n 's/^commit: //p' MANIFEST)\", \"date\": \"$(date -u +%FT%TZ)\","
    echo "\"seconds\": $((SECONDS - started)), \"steps\": ["
    cat "$out"/steps/* 2> /dev/null | sed '$!s/$/,/'
    echo "], \"bench_net\": {"
    local first=1 log
    for log in "$out"/logs/net_*.log; do
      [[ -e "$log" && -n "$(last_json "$log")" ]] || continue
      [[ $first == 1 ]] || echo ","
      first=0
      echo "\"$(basename "$log" .log)\": $(last_json "$log")"
    done
    echo "}"
    for part in bench_gpu bench_libraries bench_unproven torch; do
      [[ ! -s "$out/$part.json" ]] || { echo ", \"$part\":"; cat "$out/$part.json"; }
    done
    echo "}"
  } > "$out/gpu_check.json"
}

nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv 2>&1 |
  tee "$out/logs/gpu.log"
head -4 MANIFEST
for part in "${parts[@]}"; do
  if wanted "$part"; then "run_$part"; fi
  write_json  # what is there by now, should the rest be cut off
done
bad="$(grep -LE '"result": "(passed|no finding)' "$out"/steps/* 2> /dev/null | xargs -r -n1 basename | tr '\n' ' ')"
echo "written to $out/gpu_check.json after $((SECONDS - started)) s"
[[ -z "$bad" ]] || { echo "not passed: $bad"; exit 1; }
echo "all steps passed"
