#!/bin/sh
# The values and sizes in tests/emulator/cublasLt.h are NVIDIA's: all compared, where a toolkit is installed.
set -eu
cd "$(dirname "$0")/.."
toolkit=${CUDA_HOME:-/usr/local/cuda}
if [ ! -f "$toolkit/include/cublasLt.h" ] || ! command -v g++ >/dev/null; then
    echo "skipped: there is no cublasLt.h in $toolkit/include, or no g++"
    exit 0
fi
page=$(mktemp --suffix .cpp)
trap 'rm -f "$page"' EXIT
ours=tests/emulator/cublasLt.h
cat >"$page" <<'END'
#include <stddef.h>
#include <stdint.h>
namespace ours {
#define EMULATOR_VALUES_ONLY
#include "tests/emulator/cublasLt.h"
}
#include <cublasLt.h>
#define PLACE(t, m) static_assert(offsetof(ours::t, m) == offsetof(::t, m), #m);
PLACE(cublasLtMatmulHeuristicResult_t, algo)
PLACE(cublasLtMatmulHeuristicResult_t, workspaceSize)
PLACE(cublasLtMatmulHeuristicResult_t, state)
END
grep -oE '\bCU[A-Z]*_[A-Za-z0-9_]+ = ' $ours | sed 's/\(.*\) = /static_assert((int)ours::\1 == (int)::\1, "\1");/' >>"$page"
sed -n 's/^} \(cublas.*_t\);/\1/p' $ours | sed 's/.*/static_assert(sizeof(ours::&) == sizeof(::&), "&");/' >>"$page"
grep -oE '\bcublasLt[A-Za-z]+\(' $ours | sed 's/\(.*\)(/static void *const has_\1 = (void *)\&\1;/' >>"$page"
g++ -std=c++17 -I. -isystem "$toolkit/include" -fsyntax-only "$page"
echo "$(grep -cE '^(static_assert|PLACE)' "$page") values, sizes and places are NVIDIA's"
