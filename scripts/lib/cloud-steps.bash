# What scripts/up and scripts/lab have in common on the way from a checkout to a cloud: packages, programs, the database,
# daemons. To be sourced behind local-cloud.bash, in the checkout's folder.
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034

read -ra swift <<<"${SWIFT:-swift}"
# ALOFT_PROGRAMS: a folder with programs that are built already; without it they are built.
programs=${ALOFT_PROGRAMS:-${BUILD_DIR:-.build}/release}
inside=()

# ensure_running NAME COMMAND…: starts it, detached from this shell, with its output in log/NAME.log. One that runs stays,
# unless it was started otherwise or its program has been built anew. Where `inside` is set, its words go before the command
# and have to become it: `ip netns exec …`.
ensure_running() {
  local name=$1 pid
  shift
  if pid=$(pid_of "$name"); then
    if [ "/proc/$pid/exe" -ef "$1" ] && [ "$(tr '\0' ' ' <"/proc/$pid/cmdline")" = "$* " ]; then
      note "runs (pid $pid)"
      return
    fi
    note "stopping pid $pid: its program or options have changed"
    stop_process "$name" || true
  fi
  setsid "${inside[@]}" "$@" >>"$log/$name.log" 2>&1 </dev/null 9>&- &
  pid=$!
  remember "$name" "$pid" || die "$name did not start; see $log/$name.log"
  note "started (pid $pid), log $log/$name.log"
}

# wait_until SECONDS WHAT LOG COMMAND…: polls; a failure names what to read
wait_until() {
  local limit=$1 what=$2 file=$3 begin=$SECONDS
  shift 3
  until "$@"; do
    [ $((SECONDS - begin)) -lt "$limit" ] || die "$what did not happen in $limit s; see $file"
    sleep 0.3
  done
}

aloft() { "$programs/aloft" "$@"; }

# api METHOD PATH [JSON]: what the API answers; where it refuses it fails, and says why
api() {
  local options=()
  [ $# -lt 3 ] || options=(--header 'Content-Type: application/json' --data "$3")
  # Command lines are for everybody to read: the token comes by a file.
  curl --silent --show-error --fail-with-body --noproxy '*' --max-time 60 --cacert "$ALOFT_CA_CERT" \
    --header @<(printf 'Authorization: Bearer %s' "$ALOFT_TOKEN") --request "$1" "${options[@]}" "$ALOFT_URL$2"
}

# node_has_networks NAME: the node takes VMs with network cards
node_has_networks() {
  local node
  node=$(aloft node show "$1" --output json)
  [ -n "$(field networking datapath <<<"$node")" ] && [ -z "$(field networking problem <<<"$node")" ]
}

# field NAME...: a member of the JSON object on standard input, or of one in it; a number or text, or nothing
field() {
  python3 -c '
import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1:]:
    value = (value or {}).get(name)
print("" if value is None else value)' "$@"
}

# state_of NOUN NAME: the state of a resource; nothing if there is none
state_of() {
  local answer status=0
  answer=$(aloft "$1" show "$2" --output json 2>"$run/answer") || status=$?
  case $status in
    0) field state <<<"$answer" ;;
    3) ;;
    *) die "asking for $1 $2 failed: $(cat "$run/answer"); see $log/aloftd.log" ;;
  esac
}

# need_packages: installs the Debian packages that are missing
need_packages() {
  local packages
  step "packages"
  command -v "${swift[0]}" >/dev/null || die "there is no Swift toolchain; install one: https://www.swift.org/install/linux/"
  if packages=$(scripts/install-packages --check); then note "$packages"; else
    note "$packages"
    with_progress "$log/packages.log" scripts/install-packages
  fi
}

# build_programs: builds aloftd, aloft-agent and aloft where something has changed; sets `programs`
build_programs() {
  if [ -n "${ALOFT_PROGRAMS:-}" ]; then programs=$(readlink -f "$programs"); return; fi
  step "programs (release)"
  local product stamp=$programs/.aloft-up
  if [ -e "$stamp" ] && [ -z "$(find Sources Package.swift -newer "$stamp" -print -quit)" ]; then
    note "up to date"
  else
    mkdir -p "$state" && touch "$state/.build-began"
    note "from nothing this takes about ten minutes on two cores; log $log/build.log"
    for product in aloftd aloft-inspect aloft-agent aloft-rbd aloft; do
      note "building $product"
      with_progress "$log/build.log" "${swift[@]}" build --scratch-path "${BUILD_DIR:-.build}" -c release --product "$product"
    done
    # What is edited while it is built is newer than the beginning: it is built the next time.
    touch -r "$state/.build-began" "$stamp"
  fi
  programs=$(readlink -f "$programs")
}

# make_database: a PostgreSQL server of our own with our database and its two roles; sets ALOFT_DATABASE_URL,
# `serve_database_url` and `migrate_options`
make_database() {
  local psql
  step "PostgreSQL"
  start_postgres
  psql=("$postgres_programs/psql" -X -q -A -t -h "$postgres_socket" -U aloft)
  if [ "$("${psql[@]}" -d postgres -c "select 1 from pg_database where datname = 'aloft'")" != 1 ]; then
    "${psql[@]}" -d postgres -c 'create database aloft'
  fi
  # aloft owns the tables; aloftd runs as a role of its own, which cannot change what the audit says.
  if [ "$("${psql[@]}" -d postgres -c "select 1 from pg_roles where rolname = 'aloftd'")" != 1 ]; then
    "${psql[@]}" -d postgres -c 'create role aloftd login'
  fi
  ALOFT_DATABASE_URL="postgresql:///aloft?host=$postgres_socket&user=aloft"
  serve_database_url="postgresql:///aloft?host=$postgres_socket&user=aloftd"
  migrate_options=(--runtime-role aloftd)
}

# write_config FILE: the environment of this moment, to be sourced
write_config() (
  umask 0077
  printf 'export %s=%q\n' ALOFT_URL "$url" ALOFT_TOKEN "$ALOFT_TOKEN" ALOFT_CA_CERT "$ALOFT_CA_CERT" >"$1.new"
  # The programs are found without typing their path; repeating it does no harm.
  # shellcheck disable=SC2016
  printf 'case :$PATH: in *:%q:*) ;; *) PATH=$PATH:%q ;; esac\n' "$programs" "$programs" >>"$1.new"
  mv "$1.new" "$1"
)
