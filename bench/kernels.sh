#!/bin/sh
# Every kernel of cuda/ in numbers, without a GPU: writes bench/kernels.tsv and prints it. Wants nvcc; README.md tells what the columns are.
#     make V=emulated build/emulated/test_kernels && bench/kernels.sh
# Kernels are found, not named: those that nvcc compiles, and of what they ask of memory those that test_kernels launches. About three minutes on two cores.
set -eu
cd "$(dirname "$0")/.."
program=build/emulated/test_kernels
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
toolkit=$(dirname "$(dirname "$(realpath "$(command -v nvcc)")")")
tab=$(printf '\t')

# page, kernel, registers, barriers, shared memory, bytes of spills stored and loaded. The emulated device's bf16 has another name.
plain() { c++filt | sed -E "s/__nv_bfloat16/bf16/g; s/void ([a-z_0-9]+[<(])/\1/"; }
ls cuda/*.cu | xargs -P "$(nproc)" -I '{}' sh -c \
    'nvcc -std=c++17 -O3 -I. -Icore -DPITH_WITH_CUDA -arch=sm_90 -cubin -Xptxas -v -o /dev/null {} >"$1/$(basename {}).ptxas" 2>&1 || { cat "$1/$(basename {}).ptxas"; exit 255; }' sh "$work"
for f in "$work"/*.ptxas; do
    plain <"$f" | awk -v page="cuda/$(basename "$f" .ptxas)" -v OFS='\t' '
        function number_before(word) { return match($0, "[0-9]+ " word) ? substr($0, RSTART) + 0 : 0 }
        /Compiling entry function/ { split($0, part, "\047"); kernel = part[2] }
        /spill stores/ { stored = number_before("bytes spill stores"); loaded = number_before("bytes spill loads") }
        /Used/ { print page, kernel, number_before("registers"), number_before("barriers"), number_before("bytes smem"), stored, loaded }'
done >"$work/compiled"

# Of each kernel the launch that asks for most, at sizes of width 768 if there is one; what it asks for is left out if there is none.
COUNT="$work/counts" "$program" >"$work/log" 2>&1 || { tail -n 20 "$work/log"; exit 1; }
cut -f 6 "$work/counts" | sort -u >"$work/places"
sed 's/^/0x/' "$work/places" | addr2line -f -e "$program" | sed -n 'p;n' | plain | paste "$work/places" - >"$work/names"
awk -F '\t' -v OFS='\t' '
    NR == FNR { kernel[$1] = $2; next }
    { k = kernel[$6]; real = $2 ~ /width 768/; asked = $10 + $11 + real * 1e18 }
    asked >= most[k] {
        most[k] = asked
        form = $2 ~ /to f32/ ? " of bf16 to f32" : $2 ~ /of bf16/ ? " of bf16" : ""
        sub(/f32 to f32/, "f32", form)
        line[k] = $8 OFS $9 OFS (real ? $1 form ": " $3 OFS $4 OFS ($5 ? $5 : "-") OFS $10 OFS $11 OFS $12 OFS $13 : "-\t-\t-\t-\t-\t-\t-") }
    END { for (k in line) print k, line[k] }' "$work/names" "$work/counts" >"$work/launched"

# One line a kernel, though several pages compile one of a header: the page is where it is written. A kernel that nothing launches has no threads, and so no occupancy.
for f in cuda/*.h cuda/*.cu; do
    tr -s '\n ' ' ' <"$f" | grep -oE '__global__ void( __launch_bounds__\([^)]*\))? [a-z_0-9]+\(' | sed -E "s|.* (.*)\(|$f\t\1|" || true
done >"$work/written"
awk -F '\t' -v OFS='\t' '
    FILENAME ~ /written$/ { here[$1, $2]; if ($1 ~ /h$/) header[$2] = $1; next }
    FILENAME ~ /launched$/ { kernel = $1; sub(/^[^\t]*\t/, ""); launched[kernel] = $0; next }
    $2 in row { next }
    { row[$2] = 1; name = $2; sub(/[<(].*/, "", name)
      print (($1, name) in here || !(name in header) ? $1 : header[name]), $2, $3, $4, $5, $6, $7, ($2 in launched) ? launched[$2] : "0\t0\t-\t-\t-\t-\t-\t-\t-" }
    ' "$work/written" "$work/launched" "$work/compiled" | sort -t "$tab" -k 1,2 >"$work/joined"
cc -std=c11 -isystem "$toolkit/include" bench/kernels/occupancy.c -o "$work/occupancy"
awk -F '\t' '{ print $3, $4, $5, $9, $8 ? $8 : 1024 }' "$work/joined" | "$work/occupancy" | paste "$work/joined" - | awk -F '\t' -v OFS='\t' '
    BEGIN { print "page", "kernel", "registers", "shared", "spills", "threads", "blocks", "occupancy", "example", "least", "flops", "read", "written", "read once", "written once", "times" }
    { name = $2; sub(/\(.*/, "", name)
      print $1, name, $3, $5 + $9, $6 + $7, $8 ? $8 : "-", $8 ? $17 : "-", $8 ? int(100 * $17 * int(($8 + 31) / 32) / 64 + 0.5) "%" : "-",
          $10, $11, $12, $13, $14, $15, $16, $13 == "-" ? "-" : sprintf("%.2f", ($13 + $14) / ($15 + $16)) }' >bench/kernels.tsv
awk -F '\t' '
    function kb(x) { return x ~ /^[0-9]/ ? sprintf("%.1f", x / 1024) : NR == 1 ? x " KB" : x }
    { printf "%-22s %-34s %9s %6s %6s %7s %6s %9s %10s %10s %10s %5s  %s\n", $1, $2, $3, $4, $5, $6, $7, $8, kb($10), kb($12), kb($13), $16, $9 }' bench/kernels.tsv
