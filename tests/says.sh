# says.sh: what the scripts that try the program share: a place to work in, and what a command is to say. They set -u, stand in the root of the
# tree, and end with: exit $failed.
this=$(basename "$0" .sh)
pith=$(realpath "${PITH:-build/pith}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failed=0
export OMP_NUM_THREADS=2

bad() { echo "$this: $*"; failed=1; }
says() { # status text command...: the command ends with the status and its output contains the text
    want=$1 text=$2; shift 2
    # what a command that ends by an error still holds is no leak
    ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=$((want == 0))" timeout "${SAYS_SECONDS:-300}" "$@" >out 2>&1; got=$?
    [ "$got" = "$want" ] || { bad "$*: status $got, expected $want:"; tail -5 out; }
    grep -qF -- "$text" out || { bad "$*: expected \"$text\", found:"; tail -5 out; }
}
one_line() { [ "$(wc -l <out)" = 1 ] || { bad "expected one line, found:"; cat out; }; }
same() { cmp -s "$1" "$2" || bad "$1 and $2 differ"; }
shapes_and_models() { # shapes.pack, 300 pairs, of which $train train, and two models of $tiny sizes, m1 and m2, of a step each
    tiny="16/8:w32l2h2+w32l2h2c12v640:e32"
    "$pith" data fetch shapes . --count 300 --size 16 >out 2>&1 || { bad "no shapes"; cat out; }
    for seed in 1 2; do
        says 0 "1 steps" "$pith" train shapes.pack --model $tiny --batch 32 --steps 1 --seed $seed --out m$seed
    done
    train=$("$pith" data stats shapes.pack | sed -n 's/^ *train *//p')
}
