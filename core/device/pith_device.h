/* pith_device.h: where stores lie, and with them the values of plans that use them; part of pith.h.
 */
#ifndef PITH_DEVICE_PUBLIC_H
#define PITH_DEVICE_PUBLIC_H

typedef enum { PITH_CPU, PITH_CUDA } pith_device;
pith_store *pith_store_new_on(pith_device device); /* NULL after an error: there is no such one */
pith_device pith_store_device(const pith_store *s);
const char *pith_no_device(pith_device device); /* why it cannot be used; NULL: it can */
/* Kernels compiled from now on are kept in `folder` for later processes. NULL: as at first, not. */
void pith_keep_kernels(const char *folder);

/* Brings what was fed since the last run to a device of its own, beside what runs there. Without
 * memory for that it does nothing: what is fed is brought when it is run. */
bool pith_prefetch(pith_plan *p);

/* What is slower on a device of its own than it might be, and why, for the user; NULL: nothing.
 * Pointwise ops are not compiled into chains, but run one by one: */
const char *pith_not_compiled(pith_device device);
/* The plan's runs, from the third on, are not one launch, but one of each step: */
const char *pith_not_repeated(const pith_plan *p);

/* Bytes of its device: a store's tensors; the values of its plans, with their workspace, which lie
 * in one place; and, of a GPU, all else that is taken there: by the driver's context, kernels,
 * recordings, other stores, and other programs. */
typedef struct {
    size_t tensors, values, others;
} pith_device_bytes;
pith_device_bytes pith_store_bytes(const pith_store *s);
#endif
