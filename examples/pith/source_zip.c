/* source_zip.c: reads a file out of a ZIP archive: the directory at its end says where each file
 * lies, packed by deflate or as it is. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "command.h"
#include "source.h"

enum { END = 22, ENTRY = 46, LOCAL = 30, MOST_BYTES = 1 << 28 };

static uint32_t number(const uint8_t *b, int bytes) /* little-endian */
{
    uint32_t x = 0;
    while (bytes--) x = x << 8 | b[bytes];
    return x;
}

/* Where the directory begins, and in *count how many entries it has; NULL if it is no archive. */
static const uint8_t *directory(const uint8_t *zip, size_t size, uint32_t *count)
{
    for (size_t back = END; back <= size && back < END + 65536; back++) {
        const uint8_t *end = zip + size - back;
        if (memcmp(end, "PK\5\6", 4)) continue;
        *count = number(end + 10, 2);
        const size_t at = number(end + 16, 4);
        return at < size ? zip + at : NULL;
    }
    return NULL;
}

static char *unpack(const uint8_t *from, size_t packed, size_t size, uint32_t method)
{
    char *to = room(size);
    z_stream z = { .next_in = (Bytef *)from,
                   .avail_in = (uInt)packed,
                   .next_out = (Bytef *)to,
                   .avail_out = (uInt)size };
    bool good = method == 0 && packed == size;
    if (good) memcpy(to, from, size);
    else if (method == 8 && inflateInit2(&z, -MAX_WBITS) == Z_OK) {
        good = inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == size;
        inflateEnd(&z);
    }
    if (good) return to;
    free(to);
    return NULL;
}

char *zip_bytes(const char *zip, size_t zip_size, const char *name, size_t *size)
{
    const uint8_t *all = (const uint8_t *)zip;
    uint32_t count = 0;
    const uint8_t *e = directory(all, zip_size, &count);
    for (; e && count--; e += ENTRY + number(e + 28, 2) + number(e + 30, 2) + number(e + 32, 2)) {
        const size_t left = zip_size - (size_t)(e - all), n = strlen(name);
        if (left < ENTRY || memcmp(e, "PK\1\2", 4) || left - ENTRY < number(e + 28, 2) ||
            left - ENTRY < (size_t)number(e + 28, 2) + number(e + 30, 2) + number(e + 32, 2))
            return NULL;
        if (number(e + 28, 2) != n || memcmp(e + ENTRY, name, n)) continue;
        const size_t packed = number(e + 20, 4), at = number(e + 42, 4);
        *size = number(e + 24, 4);
        if (*size > MOST_BYTES || at + LOCAL > zip_size || memcmp(all + at, "PK\3\4", 4))
            return NULL;
        const size_t data = at + LOCAL + number(all + at + 26, 2) + number(all + at + 28, 2);
        if (data > zip_size || packed > zip_size - data) return NULL;
        return unpack(all + data, packed, *size, number(e + 10, 2));
    }
    return NULL;
}
