#!/bin/sh
# The whole comparison, one process a measurement, ours and the peer's in turn. make bench calls it.
#     run.sh [CONFIG...]
# PYTHON: a Python that has torch and open_clip; without it only our own times are shown.
# BENCH (build/float/pith-bench), ROUNDS (2), THREADS (2), NEAR_ROWS (100000, searched once, in minutes).
set -eu
cd "$(dirname "$0")/.."
bench=${BENCH:-build/float/pith-bench}
configs=${*:-demo demo192 tiny8m vitb32 rn50}
export OMP_NUM_THREADS="${THREADS:-2}"
results=$(mktemp)
trap 'rm -f "$results"' EXIT

if [ -z "${PYTHON:-}" ]; then
    echo "No PYTHON with torch and open_clip given: our times alone."
elif ! "$PYTHON" -c 'import torch, open_clip' 2>/dev/null; then
    echo "$PYTHON lacks torch or open_clip: our times alone."
    PYTHON=
fi
for config in $configs; do
    echo "timing $config" >&2
    case $config in demo*) steps=10 ;; *) steps=5 ;; esac
    for round in $(seq "${ROUNDS:-2}"); do
        "$bench" "$config" full $steps
        [ -z "${PYTHON:-}" ] || "$PYTHON" bench/peer.py "$config" eager $steps
        "$bench" "$config" real $steps
        [ -z "${PYTHON:-}" ] || "$PYTHON" bench/peer.py "$config" compile $steps
    done >>"$results"
done

# Of several rounds the one with the least median counts, on both sides; least stands for its own.
awk -F '\t' '
    { key = $1 SUBSEP $2
      if (!(key in line)) order[++n] = key
      if (!(key in line) || $4 < median[key]) { median[key] = $4; line[key] = $0 }
      if (!(key in least) || $3 < least[key]) least[key] = $3 }
    function ratio(of, config, mode,   eager, compile) {
        eager = of[config SUBSEP "eager"]; compile = of[config SUBSEP "compile"]
        if (!eager || mode !~ /^ours/) return ""
        return sprintf("%.2f", (compile < eager ? compile : eager) / of[config SUBSEP mode])
    }
    END {
        layout = "%-9s %-10s %9s %9s %9s %9s %6s %8s %8s\n"
        printf layout, "", "", "least ms", "median", "pairs/s", "peak MB", "GEMM", "x least", "x median"
        for (i = 1; i <= n; i++) {
            split(line[order[i]], f, "\t")
            printf layout, f[1], f[2], least[order[i]], f[4], f[5], f[6], f[7],
                   ratio(least, f[1], f[2]), ratio(median, f[1], f[2])
        } }' "$results"
"$bench" plan
echo "timing masks, teachers and blocks without a skip" >&2
"$bench" models demo-teacher demo-student
echo "timing near pairs" >&2
"$bench" near "${NEAR_ROWS:-100000}" 512 1
