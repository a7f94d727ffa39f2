# Sourced by tests/run and .ci/run: named stages with their times, and a summary that hides nothing.
#
#   stage NAME COMMAND…     runs the command, notes its result and time, goes on after a failure
#   skip NAME REASON        notes what was left out; a failure where CI=true
#   skip_extra NAME REASON  the same for what is no core part: never a failure
#   need PACKAGE…           installs Debian packages, or says the one command that would
#   summary TITLE           prints all stages; fails if one did

stage_lines=()
stages_failed=0

stage() {
  local name=$1 begun=$SECONDS result=ok
  shift
  printf '\n==> %s\n' "$name"
  "$@" || result=FAILED
  [ "$result" = ok ] || stages_failed=1
  stage_lines+=("$(printf '%-8s %5d s  %s' "$result" $((SECONDS - begun)) "$name")")
  [ "$result" = ok ]
}

skip_extra() {
  printf '\n==> %s: skipped, %s\n' "$1" "$2"
  stage_lines+=("$(printf '%-8s          %s: %s' skipped "$1" "$2")")
}

skip() {
  skip_extra "$1" "$2"
  if [ "${CI:-}" = true ]; then
    stages_failed=1
    stage_lines+=("$(printf '%-8s          %s may not be skipped where CI=true' FAILED "$1")")
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
  printf '\n%s, %d s in all\n' "$1" "$SECONDS"
  printf '  %s\n' "${stage_lines[@]}"
  [ "$stages_failed" = 0 ]
}
