/* config.c: a model's configuration, and the list of tensors that follows from it. */
#include "fuzz.h"
#include "models/models.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    clip_config c;
    clip_tensor *list;
    fuzz_put("open_clip_config.json", data, size);
    if (!clip_config_read(&c, fuzz_folder())) return 0;
    if (clip_tensors(&c, &list) > 0) free(list);
    clip_config_write(&c, fuzz_folder());
    return 0;
}
