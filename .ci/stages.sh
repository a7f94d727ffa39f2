# Sourced by tests/run, .ci/run and .ci/nightly: named stages with their times, and a summary that hides nothing.
#
#   stage NAME COMMAND…     runs the command, notes its result, time and processor time, goes on after a failure
#   skip NAME REASON        notes what was left out; a failure where CI=true
#   skip_extra NAME REASON  the same for what is no core part: never a failure
#   need PACKAGE…           installs Debian packages, or says the one command that would
#   summary TITLE           prints all stages; fails if one did
#
# A stage that is itself a script of stages leaves its lines for the summary of the outer script.

stage_lines=()
stages_failed=0
# Where this script leaves its lines for the script that runs it as a stage, and where its own stages leave theirs.
outer_lines=${STAGE_LINES:-}
export STAGE_LINES=${TMPDIR:-/tmp}/stage-lines.$$

# Sets cpu_seconds: processor time of this shell and of all programs it has waited for. No subshell: it would
# start from zero.
read_cpu_seconds() {
  local file=${TMPDIR:-/tmp}/stage-times.$$
  times >"$file"
  cpu_seconds=$(tr 'ms' '  ' <"$file" | awk '{ sum += $1 * 60 + $2 + $3 * 60 + $4 } END { printf "%d", sum }')
  rm -f "$file"
}

stage() {
  local name=$1 begun=$SECONDS result=ok cpu_begun
  shift
  printf '\n==> %s\n' "$name"
  read_cpu_seconds
  cpu_begun=$cpu_seconds
  "$@" || result=FAILED
  [ "$result" = ok ] || stages_failed=1
  read_cpu_seconds
  stage_lines+=("$(printf '%-8s %5d s %5d s cpu  %s' "$result" $((SECONDS - begun)) $((cpu_seconds - cpu_begun)) "$name")")
  if [ -f "$STAGE_LINES" ]; then
    mapfile -t -O "${#stage_lines[@]}" stage_lines <"$STAGE_LINES"
    rm -f "$STAGE_LINES"
  fi
  [ "$result" = ok ]
}

skip_extra() {
  printf '\n==> %s: skipped, %s\n' "$1" "$2"
  stage_lines+=("$(printf '%-8s %21s%s: %s' skipped '' "$1" "$2")")
}

skip() {
  skip_extra "$1" "$2"
  if [ "${CI:-}" = true ]; then
    stages_failed=1
    stage_lines+=("$(printf '%-8s %21s%s may not be skipped where CI=true' FAILED '' "$1")")
  fi
}

need() {
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  if ! command -v apt-get >/dev/null || { [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; }; then
    echo "missing: run  sudo apt-get install -y $*  and try again" >&2
    return 1
  fi
  echo "installing $*"
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@")
  "${as_root[@]}" "${install[@]}" || { "${as_root[@]}" apt-get update -qq && "${as_root[@]}" "${install[@]}"; }
}

summary() {
  read_cpu_seconds
  printf '\n%s, %d s in all, %d min %d s of processor time\n' \
    "$1" "$SECONDS" $((cpu_seconds / 60)) $((cpu_seconds % 60))
  printf '  %s\n' "${stage_lines[@]}"
  [ -z "$outer_lines" ] || printf '  %s\n' "${stage_lines[@]}" >"$outer_lines"
  [ "$stages_failed" = 0 ]
}
