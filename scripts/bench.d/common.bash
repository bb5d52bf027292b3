# What the sections of scripts/bench share: processes, a PostgreSQL server, aloftd, records. To be sourced.
# shellcheck shell=bash

die() {
  printf 'bench: %s\n' "$*" >&2
  exit 1
}

note() { printf '    %s\n' "$*"; }

# last_words: the end of every log that was written to in the last seconds
last_words() { find "$work" -maxdepth 1 -name '*.log' -newermt '-20 seconds' -size +0 -exec tail -n 3 {} +; }

# --- records

# record WHAT MEASURED UNIT FLOOR FLOOR-NAME BUDGETS [NOTE]: one line of the table. FLOOR may be "-". BUDGETS with ";"
# between: "ratio<=1.5", "ratio>=0.5", "value<=100", "value>=2000", "added<=100" (measured less floor), or "-" for none.
record() {
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$section" "$1" "$2" "$3" "$4" "$5" "$6" "${7:-}" >>"$records"
  note "$1: $2 $3$([ "$4" = - ] || printf ' (%s: %s)' "$5" "$4")"
}

# calculate EXPRESSION: prints its value
calculate() { awk "BEGIN { printf \"%.4f\", $1 }"; }

# elapsed_ms BEGIN: milliseconds since BEGIN (nanoseconds since 1970)
elapsed_ms() { calculate "($(date +%s%N) - $1) / 1000000"; echo; }

# median FILE-OR-STDIN: of one number per line
median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)]; else exit 1 }'; }

describe_machine() {
  printf 'CPU\t%s\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
  printf 'cores\t%s\n' "$(nproc)"
  printf 'memory\t%s MiB\n' "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)"
  printf 'kernel\t%s\n' "$(uname -sr)"
  printf 'disk\t%s\n' "$(df --output=fstype "$work" | tail -n 1)"
  printf 'PostgreSQL\t%s, default settings\n' "$("$postgres_programs/postgres" --version | sed 's/^[^0-9]*//')"
  printf 'load at start\t%s\n' "$(cut -d' ' -f1-3 /proc/loadavg)"
  printf 'commit\t%s\n' "$(git describe --always --dirty 2>/dev/null || echo unknown)"
  printf 'date\t%s\n' "$(date -u +%FT%TZ)"
}

# --- processes

# Children of this shell that it has not waited for: their numbers cannot have gone to others.
started=()

# launch NAME COMMAND…: runs it in the background with its output in NAME.log; its pid is in $launched
launch() {
  local name=$1
  shift
  "$@" >>"$work/$name.log" 2>&1 </dev/null &
  launched=$!
  started+=("$launched")
}

# stop PID [SIGNAL]: ends it and waits for it
stop() {
  local pid=$1 tries=0 kept=() other
  kill -s "${2:-TERM}" "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null && [[ $(process_state "$pid") != Z ]]; do
    [ $((tries += 1)) != 100 ] || kill -KILL "$pid" 2>/dev/null || true
    sleep 0.1
  done
  wait "$pid" 2>/dev/null || true
  for other in "${started[@]}"; do [ "$other" = "$pid" ] || kept+=("$other"); done
  started=(${kept[@]+"${kept[@]}"})
}

process_state() { sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null || true; }

# What was started last ends first: servers outlive those who use them. PostgreSQL hears SIGINT as "end now, cleanly".
stop_all() {
  local index
  if [ -n "${libvirt_directory:-}" ]; then "$here/libvirt-private" stop "$libvirt_directory" --guests || true; fi
  libvirt_directory=
  [ -z "${ceph_directory:-}" ] || stop_ceph
  [ ! -d "$work/ovn" ] || "$here/ovn-private" stop "$work/ovn" >/dev/null || true
  for ((index = ${#started[@]} - 1; index >= 0; index--)); do
    if [ "${started[index]}" = "${postgres_pid:-}" ]; then stop "${started[index]}" INT; else stop "${started[index]}"; fi
  done
}

# until_true SECONDS WHAT COMMAND…: polls
until_true() {
  local limit=$1 what=$2 begin=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ $((SECONDS - begin)) -ge "$limit" ]; then
      last_words >&2
      die "$what did not happen in $limit s"
    fi
    sleep 0.1
  done
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# cpu_seconds PID…: CPU time of these processes so far
cpu_seconds() {
  local pid stat total=0 fields
  for pid; do
    read -r stat <"/proc/$pid/stat"
    read -ra fields <<<"${stat##*) }"
    total=$((total + fields[11] + fields[12]))
  done
  calculate "$total / $(getconf CLK_TCK)"
}

# resident_mib PID
resident_mib() { awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"; }

# --- PostgreSQL

postgres_programs=/usr/lib/postgresql/15/bin
as_postgres=()
# PostgreSQL refuses to run as root.
[ "$(id -u)" != 0 ] || as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups --)
sql() { "$postgres_programs/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work/postgres" -U aloft "$@"; }
pgbench() { "$postgres_programs/pgbench" -h "$work/postgres" -U aloft "$@"; }

# start_postgres: a server of this section's own with PostgreSQL's default settings (but for how much of a
# statement it shows), and the database "aloft" with Aloft's
# tables
start_postgres() {
  local directory=$work/postgres
  mkdir -m 0700 "$directory"
  [ "$(id -u)" != 0 ] || chown postgres: "$directory"
  (cd / && "${as_postgres[@]}" "$postgres_programs/initdb" --pgdata "$directory/data" --username aloft --auth trust \
    --encoding UTF8 --locale C.UTF-8) >"$work/initdb.log" 2>&1
  cd /
  launch postgres "${as_postgres[@]}" "$postgres_programs/postgres" -D "$directory/data" -c listen_addresses= \
    -c "unix_socket_directories=$directory" -c track_activity_query_size=16384
  cd "$root"
  postgres_pid=$launched
  until_true 30 "an answer of PostgreSQL" sql -d postgres -c 'select 1'
  sql -d postgres -c 'create database aloft'
  "$programs/aloftd" migrate --share "$root" --database-url "$(database_url aloft)" >"$work/migrate.log" 2>&1
}

stop_postgres() {
  stop "$postgres_pid" INT
  rm -rf "$work/postgres"
}

database_url() { printf 'postgresql:///%s?host=%s&user=aloft' "$1" "$work/postgres"; }

# pgbench_rate DATABASE ARGUMENT…: transactions/s
pgbench_rate() {
  local database=$1
  shift
  pgbench -n -M prepared -c 8 -j 2 -T "$seconds" "$@" "$database" 2>>"$work/pgbench.log" \
    | awk '/^tps/ { print $3; found = 1 } END { exit !found }'
}

# --- aloftd

# make_certificates: a key and a certificate for 127.0.0.1, for servers whose client does not look at them
make_certificates() {
  mkdir -p "$work/pki"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench \
    -addext subjectAltName=IP:127.0.0.1 -keyout "$work/pki/server.key" -out "$work/pki/server.crt" 2>"$work/openssl.log"
}

# make_authority DATABASE
make_authority() {
  export ALOFT_SEALING_KEY_FILE=$work/sealing.key
  [ -s "$work/sealing.key" ] || "$programs/aloftd" sealing-key create --out "$work/sealing.key"
  mkdir -p "$work/pki"
  "$programs/aloftd" ca init --database-url "$(database_url "$1")" 2>>"$work/ca.log"
  "$programs/aloftd" ca export --database-url "$(database_url "$1")" --out "$work/pki/ca.crt" 2>>"$work/ca.log"
}

# start_aloftd DATABASE [OPTION…]: sets url, token, aloftd_pid
start_aloftd() {
  local port
  make_authority "$1"
  port=$(free_port)
  url=https://127.0.0.1:$port
  mkdir -p "$work/image-store"
  token=$("$programs/aloftd" token create --database-url "$(database_url "$1")" 2>>"$work/token.log")
  launch aloftd "$programs/aloftd" serve --rate-limit 0 --share "$root" --listen "127.0.0.1:$port" --database-url "$(database_url "$1")" \
    --image-store "$work/image-store" "${@:2}"
  aloftd_pid=$launched
  until_true 30 "an answer of $url/readyz" api "$url/readyz"
}

# api ARGUMENT…: curl with the token
api() { curl -sS --noproxy '*' --fail-with-body --cacert "$work/pki/ca.crt" -H "Authorization: Bearer $token" "$@"; }

# post PATH JSON [ARGUMENT…]
post() { api "$url$1" -H 'Content-Type: application/json' -d "$2" "${@:3}"; }

# load_url URL CONNECTIONS [SCRIPT ARGUMENT…]: wrk's own report. Fails if any answer was not 2xx.
load_url() {
  local target=$1 connections=$2 script=${3:-} output
  shift $(($# < 3 ? 2 : 3))
  output=$(wrk -t1 -c"$connections" -d"${seconds}s" --latency ${script:+-s "$here/bench.d/$script"} "$target" -- "$@" 2>&1)
  if grep -qE 'Non-2xx|Socket errors' <<<"$output"; then
    grep -E 'Non-2xx|Socket errors' <<<"$output" >&2
    return 1
  fi
  printf '%s\n' "$output"
}

# From wrk's report: requests/s, and a percentile in ms
rate_of() { awk '/^Requests\/sec/ { print $2 }' <<<"$1"; }
count_of() { awk '/requests in/ { print $1 }' <<<"$1"; }
percentile_of() {
  awk -v wanted="$2%" '$1 == wanted {
    value = $2 + 0
    if ($2 ~ /us$/) value /= 1000; else if ($2 !~ /ms$/) value *= 1000
    printf "%.2f", value }' <<<"$1"
}
