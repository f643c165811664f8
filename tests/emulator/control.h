/* control.h: what tests ask of the emulated device. */
#ifndef EMULATOR_CONTROL_H
#define EMULATOR_CONTROL_H
#include <stdbool.h>
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

/* ---- memory ---- */
void *emulator_get(size_t bytes); /* device memory that nobody has written yet; NULL: none left */
void emulator_free_all(void);
void emulator_write(void *device, const void *host, size_t bytes); /* at once, past all streams */
void emulator_read(void *host, const void *device, size_t bytes);
void emulator_memory(size_t total); /* what the device has: 16 GiB until this is called */
size_t emulator_in_use(void);
extern int emulator_capability; /* 90 for 9.0, until this is set */
size_t emulator_largest(void);  /* in use at once, since emulator_reset */

/* ---- what went wrong ---- */
/* Runs all that waits in streams; false where a kernel did what it may not, or a call failed as it
 * was told to for good (a sticky error). That is then forgotten: the device works again. */
bool emulator_wait(void);
const char *emulator_error(void); /* the first thing that was wrong: what a wait told last */
int emulator_waiting(void);       /* how many launches, copies, ... wait in streams */
/* As a process begins: streams empty, nothing captured, no memory, no errors planned. */
void emulator_reset(void);

/* ---- errors on demand ---- */
/* The nth call (1: the next) of a function of the runtime returns `error`. "launch": the nth kernel
 * that runs ends so, which the next wait finds. */
void emulator_fail(const char *function, int nth, int error);
/* So far, since emulator_reset; of "launch", too. NULL: of all functions together. */
long emulator_calls(const char *function);

/* ---- libraries that are opened at run time ---- */
/* The files that are opened as such; NULL: the program itself, where the stand-ins are. What is
 * opened stays open: to be set before the first plan, or, of cuBLASLt, after pith_cuda_blas_close.
 */
extern const char *emulator_nvrtc, *emulator_cublaslt;
extern int emulator_nvrtc_version; /* 130 for 13.0, until this is set */

/* ---- what a step may touch ---- */
/* From the first call on, kernels put on a stream may touch only what was named until then, since
 * the latest call with bytes 0, as a step begins. Graphs keep the names of the capture. */
void emulator_may(const void *p, size_t bytes, bool write);
void emulator_may_anything(void);

/* ---- how kernels are run ---- */
/* In which order threads and blocks run: 0 as they are numbered, 1 backwards, from 2 on a seed. */
extern int emulator_order;
extern bool
    emulator_shadow; /* watch every access; off, kernels take a third to a half of the time */
/* Bytes of device memory that kernels read and wrote, watched, since the last call. */
size_t emulator_asked(void);
/* What a launch asked of device memory, in whole sectors of 32 bytes. An atomic reads and writes.
 */
typedef struct {
    const void *kernel;
    size_t blocks, threads, shared; /* threads of a block; dynamic shared memory */
    size_t read, written;           /* of each access of a warp each sector once */
    size_t read_once, written_once; /* each sector once in all */
} emulator_traffic;
/* On: forgets what was counted, and counts launches from now on, which then take several times as
 * long. They must be watched. */
void emulator_count(bool on);
int emulator_counted(const emulator_traffic **list);
extern bool emulator_guard; /* a host that touches device memory is ended by a signal */
#ifdef __cplusplus
}
#endif
#endif
