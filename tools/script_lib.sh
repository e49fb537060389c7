# What the scripts of this folder share: messages, checks of their flags, and steps that stay quiet
# unless they fail. Sourced with `set -euo pipefail` in force.
# shellcheck shell=bash

# One line of progress, with the seconds since the script started.
say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 2
}

# run_logged LOG COMMAND...: output goes to LOG; if the command fails, its end is shown.
run_logged() {
  local log=$1
  shift
  mkdir -p "$(dirname "$log")"
  if ! "$@" >"$log" 2>&1; then
    {
      printf '%s: failed: %s\n' "$(basename "$0")" "$*"
      printf -- '--- the end of %s:\n' "$log"
      tail -n 40 "$log"
    } >&2
    return 1
  fi
}

# Processors that this process may use.
processors() { nproc 2>/dev/null || echo 1; }
