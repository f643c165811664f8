# break_kernels.awk: copies pages of cuda/ to tree/, with a MUTANT(k) wherever break_kernels.sh wants one, and lists them in `list`. It knows the
# form that clang-format gives the pages: a function's braces stand in the first column, or on its one line; spaces around comparisons.

# Mutant: in the copy `now` stands for `was`; in the list `told` does, at column i of the line.
function put(now, was, told) {
    print count "\t" FILENAME "\t" FNR "\t" trimmed(substr(line, 1, i - 1) told substr(line, i + length(was))) >list
    out = out now
    i += length(was)
}
function trimmed(text) { sub(/^ +/, "", text); sub(/ *\\$/, "", text); return text }
function is_declaration(text) {
    return text ~ /^ *(const )?[A-Za-z_][A-Za-z_0-9]*(<[^>]*>)? [*]*[A-Za-z_]/ && text !~ /^ *(return|else|for|if|while|do|case) /
}
# b ? a : b, and b ? c : c + b, behind "a < "
function is_minimum(rest,    b, otherwise) {
    if (!match(rest, /^[^?;&|]* \? [^:;]* : /)) return 0
    otherwise = substr(rest, RLENGTH + 1)
    b = substr(rest, 1, index(rest, " ? ") - 1)
    sub(/([;,]| : ).*/, "", otherwise)
    if (otherwise !~ /\(/) sub(/\)+$/, "", otherwise)
    return otherwise == b || substr(otherwise, length(otherwise) - length(b) - 1) == "+ " b
}
function fresh() { statement = ""; given = 0 }

# The line from column i on. Kept from line to line: the brackets that are open (`kind`), the statement so far.
function scan(    c, rest, what) {
    while (i <= length(line)) {
        rest = substr(line, i)
        c = substr(rest, 1, 1)
        if (comment) {
            if (substr(rest, 1, 2) == "*/") { comment = 0; out = out c; i++ }
            out = out substr(line, i, 1); i++
            continue
        }
        if (substr(rest, 1, 2) == "/*") { comment = 1; out = out "/*"; i += 2; continue }
        if (match(rest, /^"[^"]*"/)) { out = out substr(rest, 1, RLENGTH); i += RLENGTH; continue }
        if (match(rest, /^__sync(threads|warp)\(\);/)) {
            what = substr(rest, 1, RLENGTH)
            count++
            put("if (!MUTANT(" count ")) " what, what, "no " what)
            continue
        }
        if (rest ~ /^ (<|>=) / && !(rest ~ /^ < / && is_minimum(substr(rest, 4)))) {
            what = rest ~ /^ < / ? " < " : " >= "
            count++
            put(what "MUTANT(" count ") + ", what, what == " < " ? " <= " : " > ")
            statement = statement what
            continue
        }
        if (match(rest, /^__shfl_[a-z]*_sync\(/)) {
            out = out substr(rest, 1, RLENGTH); i += RLENGTH
            kind[++depth] = "shuffle"
            commas = 0
            continue
        }
        statement = statement c
        if (c == "(") kind[++depth] = c
        else if (c == "," && kind[depth] == "shuffle" && ++commas == 2) {
            out = out ","; i++
            count++
            put(" (1 + MUTANT(" count ")) * (", " ", " 2 * ")
            continue
        } else if (c == ")") {
            if (kind[depth--] == "shuffle") out = out ")"
        } else if (c == "[") {
            what = substr(rest, 2, index(rest, "]") - 2)
            if (depth == 0 && !given && what ~ /^[A-Z0-9_ *+]+$/ && is_declaration(statement)) kind[++depth] = "declared"
            else {
                kind[++depth] = "subscript"
                count++
                put("[MUTANT(" count ") + (", "[", "[1 + ")
                continue
            }
        } else if (c == "]") {
            if (kind[depth--] == "subscript") out = out ")"
        } else if (c == "," && depth == 0) given = 0
        else if (c == "=" && depth == 0) given = 1
        else if (c == ";" || (c == "{" || c == "}") && !given) fresh()
        out = out c; i++
    }
    statement = statement " "
}

FNR == 1 { to = tree "/" FILENAME; body = pending = macro = comment = depth = 0; fresh(); printf "" >to }
{ line = $0; out = ""; i = 1 }
macro || /^ *#/ {
    if (!macro) wanted = /^#define/
    macro = /\\$/
    of_host = !wanted || /call/
    if (!of_host) scan()
    if (!macro) fresh()
    print (of_host ? line : out) >to
    next
}
body {
    if ($0 == "}") body = 0
    else scan()
    print ($0 == "}" ? line : out) >to
    next
}
{
    if (/__device__|__global__|PITH_ROW_KERNEL\(/) pending = 1
    if (pending && $0 == "{") { body = 1; pending = 0; fresh() }
    else if (pending && (at = index($0, ") { ")) > 0) {
        out = substr($0, 1, at + 3)
        i = at + 4
        scan()
        line = out
        pending = 0
        fresh()
    } else if (/[;}]$/) pending = 0
    print line >to
}
