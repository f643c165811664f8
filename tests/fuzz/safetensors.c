/* safetensors.c: a file of weights. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pith_store *s = pith_store_new();
    if (pith_store_load(s, fuzz_file(data, size))) {
        pith_store_load(s, fuzz_file(data, size)); /* into what is there */
        for (int k = 0; k < pith_store_count(s); k++) pith_tensor_not_finite(pith_store_at(s, k));
    }
    pith_store_free(s);
    return 0;
}
