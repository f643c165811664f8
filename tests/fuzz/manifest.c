/* manifest.c: lists of pictures with captions; the first byte says of which kind. */
#include "data/data.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[200], out[200];
    pith_pack_report report = { 0 };
    if (!size) return 0;
    const char *name = data[0] % 2 ? "list.tsv" : "list.jsonl";
    fuzz_put(name, data + 1, size - 1);
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    snprintf(out, sizeof out, "%s/out.pack", fuzz_folder());
    pith_pack_folder(path, out, 4, 0.1, &report);
    return 0;
}
