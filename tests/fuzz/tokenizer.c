/* tokenizer.c: a file of merges, plain or packed, and a caption through it. */
#include "fuzz.h"
#include "text/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ids[77];
    pith_tokenizer *t = pith_tokenizer_read(fuzz_file(data, size));
    if (!t) return 0;
    pith_encode(t, "a photo of the cat's 2 red hats &amp; more", 77, ids);
    pith_tokenizer_free(t);
    return 0;
}
