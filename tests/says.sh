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
    timeout "${SAYS_SECONDS:-300}" "$@" >out 2>&1; got=$?
    [ "$got" = "$want" ] || { bad "$*: status $got, expected $want:"; tail -5 out; }
    grep -qF -- "$text" out || { bad "$*: expected \"$text\", found:"; tail -5 out; }
}
one_line() { [ "$(wc -l <out)" = 1 ] || { bad "expected one line, found:"; cat out; }; }
same() { cmp -s "$1" "$2" || bad "$1 and $2 differ"; }
