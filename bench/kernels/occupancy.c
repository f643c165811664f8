/* occupancy.c: for lines of registers, barriers, shared memory of a block, its part that the launch
 * adds, and threads, each kernel's: how many blocks a multiprocessor of an H100 holds at once, by
 * the toolkit's own arithmetic. */
#include <cuda_occupancy.h>
#include <stdio.h>

int main(void)
{
    const cudaOccDeviceProp h100 = { .computeMajor = 9,
                                     .maxThreadsPerBlock = 1024,
                                     .maxThreadsPerMultiprocessor = 2048,
                                     .regsPerBlock = 65536,
                                     .regsPerMultiprocessor = 65536,
                                     .warpSize = 32,
                                     .sharedMemPerBlock = 48 << 10,
                                     .sharedMemPerMultiprocessor = 228 << 10,
                                     .numSms = 132,
                                     .sharedMemPerBlockOptin = 227 << 10,
                                     .reservedSharedMemPerBlock = 1 << 10 };
    const cudaOccDeviceState state = { .carveoutConfig = SHAREDMEM_CARVEOUT_DEFAULT };
    int registers, barriers, threads;
    size_t fixed, added;
    while (scanf("%d %d %zu %zu %d", &registers, &barriers, &fixed, &added, &threads) == 5) {
        const cudaOccFuncAttributes kernel = { .maxThreadsPerBlock = 1024,
                                               .numRegs = registers,
                                               .sharedSizeBytes = fixed,
                                               .shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN,
                                               .maxDynamicSharedSizeBytes = added,
                                               .numBlockBarriers = barriers };
        cudaOccResult found;
        if (cudaOccMaxActiveBlocksPerMultiprocessor(&found, &h100, &kernel, &state, threads,
                                                    added) != CUDA_OCC_SUCCESS)
            return 1;
        printf("%d\n", found.activeBlocksPerMultiprocessor);
    }
    return 0;
}
