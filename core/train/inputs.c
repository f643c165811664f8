/* inputs.c: what a step is fed: every input that its plan reads, by name. */
#include <string.h>
#include "parts.h"

static const void *find(const pith_own *own, const char *name)
{
    while (own->name && strcmp(own->name, name) != 0) own++;
    return own->data;
}

bool pith_feed_all(pith_plan *p, const pith_host_batch *b, const pith_own *own,
                   const pith_task *task)
{
    const pith_node *const *inputs;
    const int n = pith_plan_inputs(p, &inputs);
    if (!pith_feed_batch(p, b)) return false;
    for (int k = 0; k < n; k++) {
        const char *name = inputs[k]->name;
        if (pith_batch_field(b, name).data) continue;
        const void *data = find(own, name);
        if (!data && task->fetch) data = task->fetch(task->context, name, b);
        if (!data)
            return pith_raise("%s: input %s is in no batch, and the task does not have it",
                              inputs[k]->at, name);
        pith_feed(p, inputs[k], data);
    }
    return true;
}
