# The HTTP server beside nginx: CPU time per request for a small static answer. To be sourced.
# shellcheck shell=bash

# One certificate for both servers, of the kind that aloftd gives itself.
make_certificate() {
  mkdir -p "$work/pki"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost \
    -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout "$work/pki/server.key" -out "$work/pki/server.crt" \
    2>"$work/pki.log"
}

section_http() {
  local body='{"id":"vm_01h455vb4pex5vsknk084sn02q","name":"web-1","state":"running"}'
  local nginx_port nginx_tls port tls
  make_certificate
  nginx_port=$(free_port) nginx_tls=$(free_port) port=$(free_port) tls=$(free_port)
  mkdir -p "$work/nginx"
  cat >"$work/nginx/nginx.conf" <<CONF
worker_processes $(nproc);
daemon off;
pid $work/nginx/pid;
error_log $work/nginx/error.log;
$([ "$(id -u)" != 0 ] || echo 'user root;')
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 1000000000;
  default_type application/json;
  client_body_temp_path $work/nginx/body; proxy_temp_path $work/nginx/proxy; fastcgi_temp_path $work/nginx/fastcgi;
  uwsgi_temp_path $work/nginx/uwsgi; scgi_temp_path $work/nginx/scgi;
  server {
    listen 127.0.0.1:$nginx_port;
    listen 127.0.0.1:$nginx_tls ssl;
    ssl_certificate $work/pki/server.crt; ssl_certificate_key $work/pki/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / { return 200 '$body'; }
  }
}
CONF
  launch nginx nginx -p "$work/nginx" -c "$work/nginx/nginx.conf"
  local nginx_master=$launched
  launch static "$programs/aloft-bench" static-server --port "$port" --tls-port "$tls" --cert "$work/pki/server.crt" \
    --key "$work/pki/server.key" --body "$body"
  local static=$launched
  until_true 10 "nginx" curl -sf --noproxy '*' "http://127.0.0.1:$nginx_port/"
  until_true 10 "the static server" curl -sf --noproxy '*' "http://127.0.0.1:$port/handler"
  local workers
  read -ra workers <<<"$(cat "/proc/$nginx_master/task/$nginx_master/children")"

  # In turns, so that what else the machine does meets all of them.
  local round name target pids before output
  for round in 1 2 3; do
    for name in nginx immediate handler nginx-tls immediate-tls handler-tls; do
      case $name in
        nginx) target=http://127.0.0.1:$nginx_port/ ;;
        nginx-tls) target=https://127.0.0.1:$nginx_tls/ ;;
        *-tls) target=https://127.0.0.1:$tls/${name%-tls} ;;
        *) target=http://127.0.0.1:$port/$name ;;
      esac
      pids=("$static")
      [[ $name != nginx* ]] || pids=("${workers[@]}")
      before=$(cpu_seconds "${pids[@]}")
      output=$(seconds=$(((seconds + 1) / 2)) load_url "$target" 64)
      calculate "($(cpu_seconds "${pids[@]}") - $before) / $(count_of "$output") * 1000000" >>"$work/cpu-$name"
      echo >>"$work/cpu-$name"
      rate_of "$output" >>"$work/rate-$name"
    done
  done
  local floor rate
  for name in immediate handler; do
    floor=$(median <"$work/cpu-nginx") rate=$(median <"$work/rate-nginx")
    record "HTTP, $name, CPU per request" "$(median <"$work/cpu-$name")" µs "$floor" nginx "ratio<=1.5" \
      "$(median <"$work/rate-$name") requests/s, nginx $rate"
  done
  for name in immediate handler; do
    floor=$(median <"$work/cpu-nginx-tls") rate=$(median <"$work/rate-nginx-tls")
    record "HTTPS, $name, CPU per request" "$(median <"$work/cpu-$name-tls")" µs "$floor" "nginx, TLS" "ratio<=2" \
      "$(median <"$work/rate-$name-tls") requests/s, nginx $rate"
  done
}
