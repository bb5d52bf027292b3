# What authentication, authorization and rate limits cost: a GET of one VM beside the same GET at a control plane that asks for
# none of them, CPU time of the control plane per request. To be sourced.
# shellcheck shell=bash

section_guard() {
  local port open guards name target before output round
  start_postgres
  sql -d aloft -v nodes=100 -v vms=1000 -f "$here/bench.d/rows.sql" >"$work/rows.log" 2>&1
  sql -d aloft -c 'vacuum analyze'
  make_certificates
  python3 "$here/bench.d/targets.py" 1000 "$work/targets"
  token=$("$programs/aloftd" token create --database-url "$(database_url aloft)" 2>>"$work/token.log")
  port=$(free_port) open=$(free_port)
  launch guards "$programs/aloft-bench" guard-server --database-url "$(database_url aloft)" --share "$root" \
    --image-store "$work/image-store" --port "$port" --open-port "$open" --cert "$work/pki/server.crt" \
    --key "$work/pki/server.key"
  guards=$launched
  until_true 10 "the control plane" curl -sf -k --noproxy '*' -H "Authorization: Bearer $token" "https://127.0.0.1:$port/v1/whoami"
  until_true 10 "the one without guards" curl -sf -k --noproxy '*' "https://127.0.0.1:$open/v1/vms"
  # Nobody may take the wrong one for the right one.
  if curl -sf -k --noproxy '*' "https://127.0.0.1:$port/v1/vms" >/dev/null; then die "no token, and let in"; fi
  for round in 0 1 2 3 4 5; do
    for name in guarded open; do
      target=https://127.0.0.1:$port
      [ $name = guarded ] || target=https://127.0.0.1:$open
      before=$(cpu_seconds "$guards")
      output=$(seconds=$(((seconds + 1) / 2)) load_url "$target" 8 get.lua "$token" "$work/targets-get")
      # The first round fills caches.
      [ "$round" != 0 ] || continue
      calculate "($(cpu_seconds "$guards") - $before) / $(count_of "$output") * 1000000" >>"$work/cpu-$name"
      echo >>"$work/cpu-$name"
    done
  done
  record "GET with its guards, CPU per request" "$(median <"$work/cpu-guarded")" µs "$(median <"$work/cpu-open")" \
    "without them" "ratio<=1.2" "authentication, authorization and rate limit; 8 clients over TLS"
  stop "$guards"
  stop_postgres
}
