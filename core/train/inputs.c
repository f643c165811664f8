/* inputs.c: feeds every input that a step's plan reads and the batch does not have, by its name:
 * from the loop, or from the task. */
#include <string.h>
#include "parts.h"

static const void *find(const pith_loop_value *loop_values, const char *name)
{
    while (loop_values->name && strcmp(loop_values->name, name) != 0) loop_values++;
    return loop_values->data;
}

bool pith_feed_rest(pith_plan *p, const pith_host_batch *b, const pith_loop_value *loop_values,
                    const pith_task *task)
{
    const pith_node *const *inputs;
    const int n = pith_plan_inputs(p, &inputs);
    for (int k = 0; k < n; k++) {
        const char *name = inputs[k]->name;
        if (pith_batch_field(b, name).data) continue;
        const void *data = find(loop_values, name);
        if (!data && task->fetch) data = task->fetch(task->context, name, b);
        if (!data)
            return pith_raise("%s: input %s: neither the batch nor the task has an array for it",
                              inputs[k]->at, name);
        pith_feed(p, inputs[k], data);
    }
    return true;
}
