# How long the pure placement decision takes, without a database. To be sourced.
# shellcheck shell=bash

section_decide() {
  local output
  output=$("$programs/placement-bench")
  # CPU time: what the decision costs, whatever else the machine does.
  record "decide at 10000 nodes, p99, plain" "$(awk '$1 == "plain" && $2 == 10000 { print $6 / 1000 }' <<<"$output")" ms \
    - - "value<=1"
  record "decide at 10000 nodes, p99, all constraints" \
    "$(awk '$1 == "all" && $3 == 10000 { print $7 / 1000 }' <<<"$output")" ms - - "value<=1"
  record "decide at 100000 nodes, p99, plain" "$(awk '$1 == "plain" && $2 == 100000 { print $6 / 1000 }' <<<"$output")" \
    ms - - -
}
