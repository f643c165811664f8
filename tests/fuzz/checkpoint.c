/* checkpoint.c: a run's checkpoint: state.json, as long as the first two bytes say, and weights. If
 * they say 0, state.json is one that is right for the weights, so that these are read, too. */
#include <inttypes.h>
#include <jansson.h>
#include <sys/stat.h>
#include "files/files.h"
#include "fuzz.h"
#include "train/train.h"

static void put_right_state(void)
{
    char path[200], json[200], digits[17];
    uint64_t hash;
    int64_t bytes;
    snprintf(path, sizeof path, "%s/step-3/weights.safetensors", fuzz_folder());
    pith_hash_file_try(path, &hash, &bytes);
    snprintf(json, sizeof json,
             "{\"step\": 3, \"weights\": {\"bytes\": %" PRId64 ", \"hash\": \"%s\"}}", bytes,
             pith_hash_text(hash, digits));
    fuzz_put("step-3/state.json", (const uint8_t *)json, strlen(json));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[200];
    json_t *state;
    int64_t step;
    if (size < 2) return 0;
    size_t first = (size_t)data[0] << 8 | data[1];
    if (first > size - 2) first = size - 2;
    snprintf(path, sizeof path, "%s/step-3", fuzz_folder());
    mkdir(path, 0777);
    fuzz_put("step-3/state.json", data + 2, first);
    fuzz_put("step-3/weights.safetensors", data + 2 + first, size - 2 - first);
    if (!first) put_right_state();
    pith_store *s = pith_store_new();
    if (pith_checkpoint_load(fuzz_folder(), s, &step, &state, NULL)) json_decref(state);
    pith_store_free(s);
    return 0;
}
