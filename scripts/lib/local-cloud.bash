# What scripts/up and scripts/down share: where the local cloud keeps its things, and processes that are known by more
# than their number. To be sourced; `set -euo pipefail` is the caller's.
#
# A pid file holds "PID START BOOT": the process's number, the moment it started (field 22 of /proc/PID/stat) and the
# machine's boot. All three together name one process for ever, so a recycled number is never signalled.
# shellcheck shell=bash

root=$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")
# ALOFT_STATE: where everything lies that `up` makes except the programs.
state=${ALOFT_STATE:-$root/.aloft}
mkdir -p "$state"
state=$(readlink -f "$state")
log=$state/log run=$state/run
mkdir -p "$log" "$run"
chmod 0755 "$state"

die() {
  printf '\n%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# --- progress

# step TEXT: says what begins
step() { printf '==> %s\n' "$*"; }

# note TEXT: says what came of it
note() { printf '    %s\n' "$*"; }

# with_progress LOG COMMAND…: runs a long command with its output in LOG. Says every 15 seconds (on a terminal: every
# second, in one line) how far it is.
with_progress() {
  local file=$1 begin=$SECONDS last=$SECONDS status=0 line clear=
  shift
  [ ! -t 1 ] || clear=$'\r\033[K'
  "$@" >"$file" 2>&1 </dev/null 9>&- &
  work=$!
  while kill -0 "$work" 2>/dev/null; do
    sleep 0.2
    line=$(tail -n 1 "$file" | tr -cd '[:print:]' | cut -c1-80)
    if [ -n "$clear" ]; then
      printf '%s    %d s  %s' "$clear" $((SECONDS - begin)) "$line"
    elif [ $((SECONDS - last)) -ge 15 ]; then
      note "$((SECONDS - begin)) s  $line"
      last=$SECONDS
    fi
  done
  wait "$work" || status=$?
  work=
  printf '%s' "$clear"
  if [ $status != 0 ]; then
    tail -n 20 "$file" >&2
    die "'$*' failed with status $status; its whole output is in $file"
  fi
  note "done in $((SECONDS - begin)) s"
}
work=
# A child in the background does not see Ctrl-C.
trap '[ -z "$work" ] || kill "$work" 2>/dev/null; exit 130' INT TERM

# --- processes

# start_of PID: when the process started; fails if it is gone or only waits to be reaped
start_of() {
  local stat fields
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  # The name in parentheses may hold blanks: what counts begins behind the last one.
  read -ra fields <<<"${stat##*) }"
  [ "${fields[0]}" != Z ] && echo "${fields[19]}"
}

boot_id() { cat /proc/sys/kernel/random/boot_id; }

# remember NAME PID: writes the pid file
remember() {
  local start
  start=$(start_of "$2") || return 1
  echo "$2 $start $(boot_id)" >"$run/$1.pid"
}

# pid_of NAME: prints the pid if the very process that was remembered lives
pid_of() {
  local pid start boot
  { read -r pid start boot <"$run/$1.pid"; } 2>/dev/null || return 1
  [ "$boot" = "$(boot_id)" ] && [ "$(start_of "$pid" || true)" = "$start" ] && echo "$pid"
}

# stop_process NAME: SIGTERM, and SIGKILL if that did nothing for 20 seconds. Fails if it did not run.
stop_process() {
  local pid tries=0
  pid=$(pid_of "$1") || { rm -f "$run/$1.pid"; return 1; }
  kill -TERM "$pid" 2>/dev/null || true
  while pid_of "$1" >/dev/null; do
    [ $((tries += 1)) != 200 ] || kill -KILL "$pid" 2>/dev/null || true
    sleep 0.1
  done
  rm -f "$run/$1.pid"
}

# --- network namespaces

# metadata_namespaces FILE: those that the agent with this identity has made for its node's networks: `aloft-md-`, the end of
# the node's UUID, `-` …
metadata_namespaces() {
  [ -s "$1" ] || return 0
  ip netns list 2>/dev/null | grep -o "^aloft-md-$(node_mark "$1")-[0-9a-f]*" || true
}

# node_mark FILE: the last six hexadecimal digits of the UUID that the node's id is another form of (base 32)
node_mark() {
  python3 -c '
import re, sys
digits = "0123456789abcdefghjkmnpqrstvwxyz"
end = re.search("node_[0-9a-z]{21}([0-9a-z]{5})", open(sys.argv[1]).read())[1]
print(f"{sum(digits.index(digit) << 5 * place for place, digit in enumerate(reversed(end))) & 0xffffff:06x}")' "$1"
}

# end_namespace NAME: with what runs in it
end_namespace() {
  local pids
  pids=$(ip netns pids "$1" 2>/dev/null || true)
  # shellcheck disable=SC2086
  [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
  ip netns delete "$1"
}

# --- the private PostgreSQL server

# Its sockets lie in a short place: the path of one has at most 107 bytes.
postgres_socket=/tmp/aloft-postgres-$(id -u)-$(printf %s "$state" | sha256sum | cut -c1-10)
postgres_data=$state/postgres
postgres_programs=/usr/lib/postgresql/15/bin
as_postgres=()
if [ "$(id -u)" = 0 ]; then
  # PostgreSQL refuses to run as root.
  as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups --)
  # A checkout below /root or another private folder is out of that user's reach.
  if id postgres >/dev/null 2>&1 && ! "${as_postgres[@]}" test -x "$state"; then
    postgres_data=/var/lib/postgresql/aloft-${postgres_socket##*-}
  fi
fi

# postgres_pid: prints the server's pid. It works in its data directory, by which it is told from any other process.
postgres_pid() {
  local pid
  { read -r pid <"$postgres_data/postmaster.pid"; } 2>/dev/null || return 1
  [[ $pid =~ ^[0-9]+$ ]] && [ "/proc/$pid/cwd" -ef "$postgres_data" ] && start_of "$pid" >/dev/null && echo "$pid"
}

# set_lost_data_aside: where the data lie outside of the state folder, and that was removed, they are of a cloud that is no
# more. They are kept, under another name.
set_lost_data_aside() {
  [ "$postgres_data" != "$state/postgres" ] && [ -s "$postgres_data/PG_VERSION" ] && [ ! -e "$state/pki" ] || return 0
  stop_postgres >/dev/null
  mv "$postgres_data" "$postgres_data-$(date +%Y%m%d%H%M%S)"
  note "the data of an earlier cloud are kept as $(ls -d "$postgres_data"-* | tail -n 1)"
}

# start_postgres: makes the server's data directory if there is none, and starts the server unless it runs
start_postgres() {
  local owner pid tries=0
  set_lost_data_aside
  if [ ! -s "$postgres_data/PG_VERSION" ]; then
    mkdir -p "$postgres_data"
    chmod 0700 "$postgres_data"
    [ "$(id -u)" != 0 ] || chown postgres: "$postgres_data"
    # Who can reach the socket may do everything: its folder is closed to all others.
    (cd / && "${as_postgres[@]}" "$postgres_programs/initdb" --pgdata "$postgres_data" --username aloft --auth trust \
      --encoding UTF8 --locale C.UTF-8) >"$log/initdb.log" 2>&1 || die "initdb failed; see $log/initdb.log"
    note "made $postgres_data"
  fi
  owner=$(id -un)
  [ "$owner" != root ] || owner=postgres
  if mkdir -m 0700 "$postgres_socket" 2>/dev/null; then chown "$owner": "$postgres_socket"; fi
  # Everybody may write to /tmp: the folder could be somebody's who waits for us to use it.
  [ "$(stat --format '%F %U %a' "$postgres_socket")" = "directory $owner 700" ] \
    || die "$postgres_socket is not a folder of $owner's alone; remove it"
  if pid=$(postgres_pid); then
    note "runs (pid $pid)"
  else
    # The log is opened here, because the user postgres may not reach its folder. Several tries: what is left of a server
    # that was killed needs a moment to go.
    until (cd / && setsid "${as_postgres[@]}" "$postgres_programs/pg_ctl" start --wait --timeout 120 --silent --pgdata \
      "$postgres_data" -o "-c listen_addresses= -c unix_socket_directories=$postgres_socket -c unix_socket_permissions=0700") \
      >>"$log/postgres.log" 2>&1 </dev/null 9>&-; do
      [ $((tries += 1)) -lt 10 ] || die "PostgreSQL did not start; see $log/postgres.log"
      sleep 0.5
    done
    note "started (pid $(postgres_pid)), log $log/postgres.log"
  fi
}

# stop_postgres: ends the server if it runs
stop_postgres() {
  local pid
  if pid=$(postgres_pid); then
    # Fast: sessions end now, everything is written, nothing has to be recovered the next time.
    kill -INT "$pid"
    for _ in $(seq 1 600); do postgres_pid >/dev/null || break; sleep 0.1; done
    postgres_pid >/dev/null && die "PostgreSQL (pid $pid) does not end; see $log/postgres.log"
    note stopped
  else
    note "did not run"
  fi
}
