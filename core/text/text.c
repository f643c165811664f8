/* text.c: prepares a text as CLIP does: unescapes HTML twice, makes every run of white space one
 * space, turns letters into lower case, and cuts the text into marks, contractions, runs of
 * letters, single digits and runs of anything else. */
#include <utf8proc.h>
#include "parts.h"

static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

static int category(uint32_t c) { return (int)utf8proc_category((utf8proc_int32_t)c); }

static bool is_letter(uint32_t c)
{
    const int k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

static bool is_number(uint32_t c)
{
    const int k = category(c);
    return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO;
}

/* Decodes UTF-8. Every byte that is not part of valid UTF-8 becomes U+FFFD. */
static size_t decode(const char *text, size_t size, uint32_t *out)
{
    size_t n = 0;
    for (size_t k = 0; k < size;) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text + k,
                                                       (utf8proc_ssize_t)(size - k), &c);
        out[n++] = used > 0 ? (uint32_t)c : 0xFFFD;
        k += used > 0 ? (size_t)used : 1;
    }
    return n;
}

static size_t collapse(uint32_t *text, size_t n)
{
    size_t to = 0;
    for (size_t k = 0; k < n; k++) {
        if (!is_space(text[k])) text[to++] = text[k];
        else if (to && text[to - 1] != ' ') text[to++] = ' ';
    }
    return to && text[to - 1] == ' ' ? to - 1 : to;
}

static bool is_cased(uint32_t c)
{
    const int k = category(c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

static bool is_case_ignorable(uint32_t c)
{
    const int k = category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
           k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK || c == '\'' || c == '.' ||
           c == ':' || c == 0xB7 || c == 0x2019;
}

/* Is the capital sigma here the last letter of its word? Then it has another lower-case form. */
static bool is_final_sigma(const uint32_t *text, size_t n, size_t at)
{
    size_t before = at, after = at + 1;
    while (before > 0 && is_case_ignorable(text[before - 1])) before--;
    while (after < n && is_case_ignorable(text[after])) after++;
    return before > 0 && is_cased(text[before - 1]) && !(after < n && is_cased(text[after]));
}

/* To lower case. Only U+0130 becomes two characters, so out needs room for twice n. */
static size_t lower(const uint32_t *text, size_t n, uint32_t *out)
{
    size_t to = 0;
    for (size_t k = 0; k < n; k++) {
        if (text[k] == 0x3A3) out[to++] = is_final_sigma(text, n, k) ? 0x3C2 : 0x3C3;
        else if (text[k] == 0x130) out[to++] = 'i', out[to++] = 0x307;
        else out[to++] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)text[k]);
    }
    return to;
}

static size_t matches(const uint32_t *text, size_t n, const char *word)
{
    size_t k = 0;
    for (; word[k]; k++)
        if (k >= n || text[k] != (uint32_t)word[k]) return 0;
    return k;
}

/* The length in characters of the piece that begins here, and its kind. */
static size_t piece_length(const uint32_t *text, size_t n, int *kind)
{
    static const char *const contractions[] = { "'s", "'t", "'re", "'ve", "'m", "'ll", "'d" };
    size_t k = matches(text, n, "<|startoftext|>");
    *kind = k ? PITH_START_MARK : PITH_END_MARK;
    if (!k) k = matches(text, n, "<|endoftext|>");
    if (k) return k;
    *kind = PITH_WORD;
    for (size_t c = 0; c < sizeof contractions / sizeof *contractions; c++)
        if ((k = matches(text, n, contractions[c])) != 0) return k;
    if (n > 1 && text[0] == '\'' && text[1] == 0x17F)
        return 2; /* the long s, which CLIP's expression takes for an s since it ignores case */
    if (is_number(text[0])) return 1;
    const bool letter = is_letter(text[0]);
    while (k < n && !is_space(text[k]) && is_letter(text[k]) == letter && !is_number(text[k])) k++;
    return k;
}

bool pith_split_text(const char *text, pith_piece *piece, void *context)
{
    const size_t size = strlen(text);
    uint32_t *raw = malloc(sizeof(uint32_t) * (size + 1)),
             *clean = malloc(sizeof(uint32_t) * 2 * (size + 1));
    char *bytes = malloc(8 * size + 8);
    if (!raw || !clean || !bytes) return free(raw), free(clean), free(bytes), false;
    size_t n = pith_unescape(raw, decode(text, size, raw));
    n = collapse(raw, pith_unescape(raw, n));
    n = lower(raw, n, clean);
    for (size_t at = 0; at < n;) {
        if (is_space(clean[at])) {
            at++;
            continue;
        }
        int kind;
        size_t used = 0;
        const size_t length = piece_length(clean + at, n - at, &kind);
        for (size_t k = 0; k < length; k++)
            used += (size_t)utf8proc_encode_char((utf8proc_int32_t)clean[at + k],
                                                 (utf8proc_uint8_t *)bytes + used);
        if (!piece(context, kind, bytes, used)) break;
        at += length;
    }
    free(bytes);
    free(clean);
    free(raw);
    return true;
}
