#!/bin/sh
# The whole comparison, one process a measurement, ours and the peer's in turn. make bench calls it.
#     run.sh BENCH [CONFIG...]
# PYTHON: a Python that has torch and open_clip; without it only our own times are shown.
# ROUNDS (2), THREADS (2).
set -eu
bench=$1
shift
here=$(dirname "$0")
configs=${*:-demo demo192 tiny8m vitb32}
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
    case $config in demo*) steps=20 ;; *) steps=5 ;; esac
    for round in $(seq "${ROUNDS:-2}"); do
        "$bench" "$config" full $steps
        [ -z "${PYTHON:-}" ] || "$PYTHON" "$here/peer.py" "$config" eager $steps
        "$bench" "$config" real $steps
        [ -z "${PYTHON:-}" ] || "$PYTHON" "$here/peer.py" "$config" compile $steps
    done >>"$results"
done

# Of several rounds the one with the least median counts, on both sides.
awk -F '\t' '
    { key = $1 SUBSEP $2; if (!(key in median)) order[++n] = key
      if (!(key in median) || $4 < median[key]) { median[key] = $4; line[key] = $0 } }
    END {
        printf "%-9s %-10s %10s %10s %10s %9s %6s %9s\n",
               "config", "", "least ms", "median ms", "pairs/s", "peak MB", "GEMM", "times as fast"
        for (i = 1; i <= n; i++) {
            split(line[order[i]], f, "\t"); best = 0
            for (k = 1; k <= 2; k++) {
                peer = f[1] SUBSEP (k == 1 ? "eager" : "compile")
                if (peer in median && (!best || median[peer] < best)) best = median[peer]
            }
            printf "%-9s %-10s %10s %10s %10s %9s %6s %9s\n",
                   f[1], f[2], f[3], f[4], f[5], f[6], f[7],
                   best && f[2] ~ /^ours/ ? sprintf("%.2f", best / f[4]) : ""
        } }' "$results"
"$bench" plan
