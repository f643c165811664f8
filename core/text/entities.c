/* entities.c: replaces HTML's character references, as Python's html.unescape does: those by
 * number, and those names that occur in captions. The names of characters 160 to 255, amp, lt, gt
 * and quot also count without their semicolon. */
#include "parts.h"

/* The names of 160, 161, ..., 255. */
static const char latin[] =
    "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn "
    "sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave "
    "Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc "
    "Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute "
    "THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml "
    "igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave "
    "uacute ucirc uuml yacute thorn yuml";

static const struct {
    const char *name;
    uint32_t code;
} named[] = {
    { "amp", '&' },
    { "lt", '<' },
    { "gt", '>' },
    { "quot", '"' },
    { "AMP", '&' },
    { "LT", '<' },
    { "GT", '>' },
    { "QUOT", '"' },
    { "COPY", 169 },
    { "REG", 174 },
    /* the first BARE names also count without a semicolon */
    { "apos", '\'' },
    { "excl", '!' },
    { "num", '#' },
    { "dollar", '$' },
    { "percnt", '%' },
    { "lpar", '(' },
    { "rpar", ')' },
    { "ast", '*' },
    { "plus", '+' },
    { "comma", ',' },
    { "period", '.' },
    { "sol", '/' },
    { "colon", ':' },
    { "semi", ';' },
    { "equals", '=' },
    { "quest", '?' },
    { "commat", '@' },
    { "lsqb", '[' },
    { "bsol", '\\' },
    { "rsqb", ']' },
    { "lowbar", '_' },
    { "grave", '`' },
    { "lcub", '{' },
    { "verbar", '|' },
    { "rcub", '}' },
    { "Tab", '\t' },
    { "NewLine", '\n' },
    { "OElig", 338 },
    { "oelig", 339 },
    { "Scaron", 352 },
    { "scaron", 353 },
    { "Zcaron", 381 },
    { "zcaron", 382 },
    { "Yuml", 376 },
    { "fnof", 402 },
    { "circ", 710 },
    { "tilde", 732 },
    { "alpha", 945 },
    { "beta", 946 },
    { "gamma", 947 },
    { "delta", 948 },
    { "mu", 956 },
    { "pi", 960 },
    { "Omega", 937 },
    { "ensp", 8194 },
    { "emsp", 8195 },
    { "thinsp", 8201 },
    { "zwnj", 8204 },
    { "zwj", 8205 },
    { "lrm", 8206 },
    { "rlm", 8207 },
    { "hyphen", 8208 },
    { "ndash", 8211 },
    { "mdash", 8212 },
    { "lsquo", 8216 },
    { "rsquo", 8217 },
    { "sbquo", 8218 },
    { "ldquo", 8220 },
    { "rdquo", 8221 },
    { "bdquo", 8222 },
    { "dagger", 8224 },
    { "Dagger", 8225 },
    { "bull", 8226 },
    { "hellip", 8230 },
    { "permil", 8240 },
    { "prime", 8242 },
    { "Prime", 8243 },
    { "lsaquo", 8249 },
    { "rsaquo", 8250 },
    { "frasl", 8260 },
    { "euro", 8364 },
    { "numero", 8470 },
    { "trade", 8482 },
    { "larr", 8592 },
    { "uarr", 8593 },
    { "rarr", 8594 },
    { "darr", 8595 },
    { "harr", 8596 },
    { "minus", 8722 },
    { "lowast", 8727 },
    { "infin", 8734 },
    { "asymp", 8776 },
    { "ne", 8800 },
    { "le", 8804 },
    { "ge", 8805 },
    { "star", 9734 },
    { "spades", 9824 },
    { "clubs", 9827 },
    { "hearts", 9829 },
    { "diams", 9830 },
    { "check", 10003 },
};
enum { BARE = 10 };

/* Numbers 128 to 159 mean Windows-1252, as browsers read them. */
static const uint32_t windows[32] = {
    0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
    0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178,
};

/* The character of a name, 0 if there is none. `bare`: without a semicolon. */
static uint32_t code_of(const char *name, size_t size, bool bare)
{
    for (size_t k = 0; k < (bare ? BARE : sizeof named / sizeof *named); k++)
        if (strlen(named[k].name) == size && memcmp(named[k].name, name, size) == 0)
            return named[k].code;
    uint32_t code = 160;
    for (const char *s = latin; *s; code++) {
        const size_t n = strcspn(s, " ");
        if (n == size && memcmp(s, name, size) == 0) return code;
        s += n + (s[n] == ' ');
    }
    return 0;
}

static int digit(uint32_t c, uint32_t base)
{
    const int d = c >= '0' && c <= '9'                 ? (int)c - '0'
                  : (c | 32) >= 'a' && (c | 32) <= 'f' ? (int)(c | 32) - 'a' + 10
                                                       : 16;
    return d < (int)base ? d : -1;
}

/* Reads a reference at the start of text, which begins with "&#". Writes at most one character;
 * returns how many characters were read, 0 if it is no reference. */
static size_t by_number(const uint32_t *text, size_t n, uint32_t *out, size_t *wrote)
{
    size_t k = 2;
    const uint32_t base = n > 2 && (text[2] | 32) == 'x' ? 16 : 10;
    if (base == 16) k++;
    const size_t first = k;
    uint32_t c = 0;
    for (; k < n && digit(text[k], base) >= 0; k++)
        c = c > 0x110000 ? c : c * base + (uint32_t)digit(text[k], base);
    if (k == first) return 0;
    if (k < n && text[k] == ';') k++;
    *wrote = 1;
    if (c >= 128 && c < 160) *out = windows[c - 128];
    else if (c == 0 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) *out = 0xFFFD;
    else if ((c < 32 && c != '\t' && c != '\n' && c != '\f' && c != '\r') || c == 127 ||
             (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE)
        *wrote = 0;
    else *out = c;
    return k;
}

static size_t by_name(const uint32_t *text, size_t n, uint32_t *out)
{
    char name[33];
    size_t size = 0;
    for (; size < 32 && size + 1 < n; size++) {
        const uint32_t c = text[size + 1];
        if (!(digit(c, 10) >= 0 || ((c | 32) >= 'a' && (c | 32) <= 'z'))) break;
        name[size] = (char)c;
    }
    if (size + 1 < n && text[size + 1] == ';' && (*out = code_of(name, size, false)) != 0)
        return size + 2;
    for (; size >= 2; size--)
        if ((*out = code_of(name, size, true)) != 0) return size + 1;
    return 0;
}

size_t pith_unescape(uint32_t *text, size_t n)
{
    size_t to = 0;
    for (size_t from = 0; from < n;) {
        uint32_t c = text[from];
        size_t wrote = 1, read = 0;
        if (c == '&' && from + 1 < n)
            read = text[from + 1] == '#' ? by_number(text + from, n - from, &c, &wrote)
                                         : by_name(text + from, n - from, &c);
        text[to] = read ? c : text[from];
        to += read ? wrote : 1;
        from += read ? read : 1;
    }
    return to;
}
