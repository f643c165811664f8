/* pack.c: a packed set of pictures with captions. */
#include "data/data.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pith_pack *p = pith_pack_open(fuzz_file(data, size));
    size_t sum = 0;
    for (int i = 0; p && i < p->count; i++)
        sum += strlen(p->caption[i]) + strlen(p->source[i]) + strlen(p->split_name[p->split[i]]) +
               p->pixels[(size_t)i * 3 * (size_t)p->size * (size_t)p->size];
    for (int k = 0; p && k < p->synthetic_start[p->count]; k++) sum += strlen(p->synthetic[k]);
    for (int i = 0; p && i < p->count; i++)
        for (int k = p->synthetic_start[i]; k < p->synthetic_start[i + 1]; k++)
            sum += (size_t)p->synthetic[k][0];
    if (sum == 1) puts("");
    pith_pack_close(p);
    return 0;
}
