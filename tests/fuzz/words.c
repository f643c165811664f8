/* words.c: what is written on the command line: losses, names and sizes of models. */
#include "fuzz.h"
#include "losses/losses.h"
#include "models/models.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    clip_config c;
    char *text = fuzz_text(data, size);
    pith_loss_free(pith_loss_parse(text, "/nowhere"));
    free(pith_loss_file(text, 1));
    clip_config_named(&c, text);
    free(text);
    return 0;
}
