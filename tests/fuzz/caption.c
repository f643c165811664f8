/* caption.c: any bytes as a caption. */
#include "fuzz.h"
#include "text/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static pith_tokenizer *t;
    static const char *const known[] = { "a red circle", "a blue square & a green one",
                                         "it's 12 o'clock" };
    int ids[77];
    if (!t) t = pith_tokenizer_train(3, known, 40);
    char *text = fuzz_text(data, size);
    pith_encode(t, text, 77, ids);
    free(text);
    return 0;
}
