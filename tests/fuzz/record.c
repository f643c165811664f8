/* record.c: the run.json of a run that is gone on with. The program's pages end it by an error;
 * here the error's handler jumps out of them. */
#include <setjmp.h>
#include "fuzz.h"
#include "../../examples/pith/task.h"

static jmp_buf back;
static void jump(const char *message, void *context)
{
    (void)message, (void)context;
    longjmp(back, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    recipe r = RECIPE_DEFAULTS;
    const char *model = NULL, *out = NULL, *resume = NULL;
    const option options[] = { { "--model", TEXT, &model, "" },
                               { "--out", TEXT, &out, "" },
                               { "--resume", TEXT, &resume, "" },
                               RECIPE_OPTIONS(r),
                               END_OF_OPTIONS };
    char *arguments[] = { "train", "--resume", (char *)(uintptr_t)fuzz_folder(), NULL };
    fuzz_put("run.json", data, size);
    pith_on_error(jump, NULL);
    if (!setjmp(back)) parse_run(options, "", "", &out, &resume, 3, arguments);
    return 0;
}
