/* checkpoint.c: a run's checkpoint: state.json, as long as the first two bytes say, and weights. */
#include <sys/stat.h>
#include "fuzz.h"
#include "train/train.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[200], *json = NULL;
    int64_t step;
    if (size < 2) return 0;
    size_t first = (size_t)data[0] << 8 | data[1];
    if (first > size - 2) first = size - 2;
    snprintf(path, sizeof path, "%s/step-3", fuzz_folder());
    mkdir(path, 0777);
    fuzz_put("step-3/state.json", data + 2, first);
    fuzz_put("step-3/weights.safetensors", data + 2 + first, size - 2 - first);
    pith_store *s = pith_store_new();
    if (pith_checkpoint_load(fuzz_folder(), s, &step, &json, NULL)) free(json);
    pith_store_free(s);
    return 0;
}
