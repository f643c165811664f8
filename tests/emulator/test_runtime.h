/* test_runtime.h: the part of test_emulator.c that is about the runtime: streams, events, captures,
 * memory, errors. */
#include <signal.h>
#include <sys/wait.h>
#define GOOD(call) assert_int_equal(call, cudaSuccess)
#define GIVES(error, call) assert_int_equal(call, error)

static cudaStream_t new_stream(void)
{
    cudaStream_t s;
    GOOD(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    return s;
}

static float first_of(const float *device)
{
    float x;
    emulator_read(&x, device, sizeof x);
    return x;
}

static void streams_wait(void **state)
{
    (void)state;
    const cudaStream_t a = new_stream(), b = new_stream();
    float *x = counting_up(N), *y = device_floats(N, NULL), *z = device_floats(N, NULL), host[N];
    GOOD(planted_plus_one(a, N, x, y));
    assert_int_equal(emulator_waiting(), 1);
    assert_true(isnan(first_of(y)));
    GOOD(cudaMemcpyAsync(host, y, sizeof host, cudaMemcpyDeviceToHost, a));
    assert_false(host[0] == 1);
    GOOD(cudaStreamSynchronize(a));
    near(host[0], 1);
    near(host[63], 64);
    /* Another stream that does not wait for what it reads. */
    y = device_floats(N, NULL);
    GOOD(planted_plus_one(a, N, x, y));
    GOOD(planted_plus_one(b, N, y, z));
    GIVES(cudaErrorLaunchFailure, cudaStreamSynchronize(b));
    is_told(0, "reads what was never written");
    cudaEvent_t e;
    GOOD(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    GOOD(planted_plus_one(a, N, x, y));
    GOOD(cudaEventRecord(e, a));
    GOOD(cudaStreamWaitEvent(b, e, 0));
    GOOD(planted_plus_one(b, N, y, z));
    GOOD(cudaStreamSynchronize(b));
    near(first_of(z), 2);
    GOOD(cudaEventDestroy(e));
    /* The legacy stream waits for blocking ones, and not for others. */
    cudaStream_t blocking;
    GOOD(cudaStreamCreateWithFlags(&blocking, cudaStreamDefault));
    GOOD(planted_plus_one(blocking, N, z, y));
    GOOD(planted_plus_one(NULL, N, y, z));
    GOOD(cudaMemcpy(host, z, sizeof host, cudaMemcpyDeviceToHost));
    near(host[0], 4);
    GOOD(planted_plus_one(NULL, N, z, y));
    GOOD(planted_plus_one(blocking, N, y, z));
    GOOD(cudaStreamSynchronize(blocking));
    near(first_of(z), 6);
    GOOD(cudaStreamDestroy(a));
    GIVES(cudaErrorInvalidResourceHandle, cudaStreamSynchronize(a));
    GIVES(cudaErrorInvalidResourceHandle, planted_plus_one(a, N, z, y));
}

static void host_copies(void **state)
{
    (void)state;
    const cudaStream_t s = new_stream();
    float *x = device_floats(N, NULL), host[N] = { 1 }, *pinned;
    GOOD(cudaMallocHost((void **)&pinned, sizeof host));
    for (int k = 0; k < N; k++) pinned[k] = 1;
    GOOD(cudaMemcpyAsync(x, host, sizeof host, cudaMemcpyHostToDevice, s));
    host[0] = 2; /* was staged */
    GOOD(cudaStreamSynchronize(s));
    near(first_of(x), 1);
    GOOD(cudaMemcpyAsync(x, pinned, sizeof host, cudaMemcpyDefault, s));
    pinned[0] = 2; /* too early */
    GOOD(cudaStreamSynchronize(s));
    near(first_of(x), 2);
    GOOD(cudaMemsetAsync(x, 0, 8, s));
    GOOD(cudaMemcpyAsync(x + 2, x, 4, cudaMemcpyDeviceToDevice, s));
    GOOD(cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyDeviceToHost, s));
    GOOD(cudaDeviceSynchronize());
    near(host[2], 0);
    near(host[3], 1);
    GIVES(cudaErrorInvalidValue, cudaMemcpy(x, host, sizeof host + 4, cudaMemcpyHostToDevice));
    GIVES(cudaErrorInvalidValue, cudaMemcpy(x, host, 4, cudaMemcpyDeviceToHost));
    GIVES(cudaErrorInvalidValue, cudaMemcpy(host, x + N, 4, cudaMemcpyDeviceToHost));
    GIVES(cudaErrorInvalidValue, cudaMemset(x + N - 1, 0, 8));
    GOOD(cudaFreeHost(pinned));
    GIVES(cudaErrorInvalidValue, cudaFreeHost(pinned));
    /* What nobody wrote stays so when it is copied. */
    float *never = device_floats(N, NULL), *copy = device_floats(N, NULL);
    GOOD(cudaMemcpyAsync(copy, never, N * 4, cudaMemcpyDeviceToDevice, s));
    GOOD(planted_plus_one(s, N, copy, x));
    is_told(0, "reads what was never written");
}

static void memory(void **state)
{
    (void)state;
    void *p, *q;
    size_t free_bytes, all;
    emulator_memory(1 << 20);
    GOOD(cudaMalloc(&p, 600 << 10));
    assert_true((uintptr_t)p % 256 == 0);
    assert_true(isnan(first_of(p)));
    GIVES(cudaErrorMemoryAllocation, cudaMalloc(&q, 600 << 10));
    assert_null(q);
    GOOD(cudaMemGetInfo(&free_bytes, &all));
    assert_int_equal(all - free_bytes, 600 << 10);
    GOOD(cudaFree(p));
    assert_int_equal(emulator_in_use(), 0);
    assert_int_equal(emulator_largest(), 600 << 10);
    GIVES(cudaErrorInvalidValue, cudaFree(p));
    GOOD(cudaMalloc(&q, 600 << 10));
    assert_ptr_not_equal(p, q);
    GIVES(cudaErrorInvalidValue, cudaFree((char *)q + 256));
    GOOD(cudaFree(NULL));
}

static void events(void **state)
{
    (void)state;
    const cudaStream_t s = new_stream();
    cudaEvent_t a, b, never, untimed;
    float ms, *x = counting_up(N), *y = device_floats(N, NULL);
    GOOD(cudaEventCreateWithFlags(&a, cudaEventDefault));
    GOOD(cudaEventCreateWithFlags(&b, cudaEventDefault));
    GOOD(cudaEventCreateWithFlags(&never, cudaEventDefault));
    GOOD(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming));
    GOOD(cudaEventRecord(a, s));
    GOOD(planted_plus_one(s, N, x, y));
    GOOD(cudaEventRecord(b, s));
    GOOD(cudaEventRecord(untimed, s));
    GOOD(planted_plus_one(s, N, y, x));
    GIVES(cudaErrorNotReady, cudaEventElapsedTime(&ms, a, b));
    GOOD(cudaEventSynchronize(b));
    GOOD(cudaEventElapsedTime(&ms, a, b));
    assert_true(ms > 0);
    near(first_of(y), 1);
    near(first_of(x), 0); /* what came after the event still waits */
    GIVES(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&ms, a, never));
    GIVES(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&ms, a, untimed));
    GOOD(cudaEventSynchronize(never));
    GOOD(cudaStreamWaitEvent(s, never, 0));
    GOOD(cudaEventDestroy(a)), GOOD(cudaEventDestroy(b));
    GOOD(cudaEventDestroy(never)), GOOD(cudaEventDestroy(untimed));
}

/* ---- captures ---- */

static void begin_capture(cudaStream_t s)
{
    GOOD(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
}

static cudaGraphExec_t exec_of(cudaStream_t s)
{
    cudaGraph_t g;
    cudaGraphExec_t exec;
    GOOD(cudaStreamEndCapture(s, &g));
    GOOD(cudaGraphInstantiate(&exec, g, 0));
    GOOD(cudaGraphDestroy(g));
    return exec;
}

static void captures(void **state)
{
    (void)state;
    const cudaStream_t s = new_stream();
    float *x = counting_up(N), *y = device_floats(N, NULL), host[N];
    cudaStreamCaptureStatus status;
    begin_capture(s);
    GOOD(cudaStreamIsCapturing(s, &status));
    assert_int_equal(status, cudaStreamCaptureStatusActive);
    GOOD(planted_plus_one(s, N, x, y));
    GOOD(cudaMemcpyAsync(x, y, N * 4, cudaMemcpyDeviceToDevice, s));
    GOOD(cudaMemcpyAsync(host, y, sizeof host, cudaMemcpyDeviceToHost, s));
    const cudaGraphExec_t exec = exec_of(s);
    GOOD(cudaStreamIsCapturing(s, &status));
    assert_int_equal(status, cudaStreamCaptureStatusNone);
    GOOD(cudaStreamSynchronize(s));
    assert_true(isnan(first_of(y))); /* captured, not run */
    for (int k = 1; k <= 3; k++) {
        GOOD(cudaGraphLaunch(exec, s));
        assert_false(host[0] == (float)k || host[0] == (float)k - 1);
        GOOD(cudaStreamSynchronize(s));
        near(host[0], k);
    }
    GOOD(cudaGraphExecDestroy(exec));
}

/* Each mistake gives its error, and the capture cannot be ended well any more. */
static void capture_mistakes(void **state)
{
    (void)state;
    float *x = counting_up(N), *y = device_floats(N, NULL), host[N];
    void *p;
    cudaEvent_t e;
    GOOD(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    const cudaStream_t other = new_stream();
    for (int k = 0; k < 12; k++) {
        const cudaStream_t s = new_stream();
        cudaGraph_t g;
        GOOD(cudaEventRecord(e, other));
        begin_capture(s);
        GOOD(planted_plus_one(s, N, x, y));
        switch (k) {
        case 0: GIVES(cudaErrorStreamCaptureUnsupported, cudaMalloc(&p, 4)); break;
        case 1: GIVES(cudaErrorStreamCaptureUnsupported, cudaFree(x)); break;
        case 2: GIVES(cudaErrorStreamCaptureUnsupported, cudaStreamSynchronize(s)); break;
        case 3: GIVES(cudaErrorStreamCaptureUnsupported, cudaDeviceSynchronize()); break;
        case 4: GIVES(cudaErrorStreamCaptureUnsupported, cudaMemcpy(host, y, 4, 2)); break;
        case 5: GIVES(cudaErrorStreamCaptureUnsupported, cudaMallocHost(&p, 4)); break;
        case 6: GIVES(cudaErrorStreamCaptureIsolation, cudaStreamWaitEvent(s, e, 0)); break;
        case 7:
            GOOD(cudaEventRecord(e, s));
            GIVES(cudaErrorCapturedEvent, cudaEventSynchronize(e));
            break;
        default: break;
        }
        if (k < 8) {
            GIVES(cudaErrorStreamCaptureInvalidated, planted_plus_one(s, N, x, y));
            GIVES(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(s, &g));
            assert_null(g);
        } else {
            if (k == 8) GIVES(cudaErrorIllegalState, cudaStreamBeginCapture(s, 1));
            if (k == 9) GIVES(cudaErrorIllegalState, cudaStreamEndCapture(other, &g));
            /* A stream that does not block does not mind the legacy one. */
            if (k == 10) GOOD(planted_plus_one(NULL, N, x, y));
            GOOD(cudaGraphExecDestroy(exec_of(s)));
        }
        GOOD(cudaStreamDestroy(s));
    }
    cudaStream_t blocking;
    cudaGraph_t g;
    GOOD(cudaStreamCreateWithFlags(&blocking, cudaStreamDefault));
    begin_capture(blocking);
    GIVES(cudaErrorStreamCaptureImplicit, planted_plus_one(NULL, N, x, y));
    GIVES(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(blocking, &g));
    GIVES(cudaErrorStreamCaptureUnsupported, cudaStreamBeginCapture(NULL, 1));
}

static void forks(void **state)
{
    (void)state;
    const cudaStream_t a = new_stream(), b = new_stream();
    float *x = counting_up(N), *y = device_floats(N, NULL), *z = device_floats(N, NULL);
    cudaEvent_t e;
    cudaGraph_t g;
    GOOD(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    for (int joined = 0; joined < 2; joined++) {
        begin_capture(a);
        GOOD(planted_plus_one(a, N, x, y));
        GOOD(cudaEventRecord(e, a));
        GOOD(cudaStreamWaitEvent(b, e, 0));
        GOOD(planted_plus_one(b, N, y, z));
        if (joined) {
            GOOD(cudaEventRecord(e, b));
            GOOD(cudaStreamWaitEvent(a, e, 0));
            const cudaGraphExec_t exec = exec_of(a);
            GOOD(cudaGraphLaunch(exec, a));
            GOOD(cudaStreamSynchronize(a));
            near(first_of(z), 2);
            GOOD(cudaGraphExecDestroy(exec));
        } else GIVES(cudaErrorStreamCaptureUnjoined, cudaStreamEndCapture(a, &g));
        GOOD(cudaStreamSynchronize(b));
    }
    GOOD(cudaEventDestroy(e));
}

static void replays(void **state)
{
    (void)state;
    const cudaStream_t s = new_stream();
    void *x, *y;
    GOOD(cudaMalloc(&x, N * 4));
    GOOD(cudaMalloc(&y, N * 4));
    begin_capture(s);
    GOOD(cudaMemsetAsync(x, 0, N * 4, s));
    emulator_may(x, N * 4, false);
    emulator_may(y, N * 4, true);
    GOOD(planted_plus_one(s, N, x, y));
    emulator_may_anything();
    const cudaGraphExec_t exec = exec_of(s);
    GOOD(cudaGraphLaunch(exec, s));
    GOOD(cudaStreamSynchronize(s));
    near(first_of(y), 1);
    GOOD(cudaFree(y));
    GOOD(cudaMalloc(&y, N * 4));
    GOOD(cudaGraphLaunch(exec, s));
    GIVES(cudaErrorIllegalAddress, cudaStreamSynchronize(s));
    is_told(0, "writes outside every buffer");
    GOOD(cudaFree(x));
    GOOD(cudaGraphLaunch(exec, s));
    GIVES(cudaErrorIllegalAddress, cudaStreamSynchronize(s));
    is_told(0, "memory that was freed");
    GOOD(cudaGraphExecDestroy(exec));
}

/* ---- errors on demand ---- */

static void told_to_fail(void **state)
{
    (void)state;
    void *p;
    emulator_fail("cudaMalloc", 2, cudaErrorMemoryAllocation);
    GOOD(cudaMalloc(&p, 4));
    GIVES(cudaErrorMemoryAllocation, cudaMalloc(&p, 4));
    GOOD(cudaMalloc(&p, 4));
    assert_int_equal(emulator_calls("cudaMalloc"), 3);
    emulator_fail("cudaGetDeviceCount", 1, cudaErrorNoDevice);
    int count;
    GIVES(cudaErrorNoDevice, cudaGetDeviceCount(&count));
    assert_string_equal(cudaGetErrorName(cudaErrorNoDevice), "cudaErrorNoDevice");
    assert_string_equal(cudaGetErrorString(cudaErrorNoDevice),
                        "no CUDA-capable device is detected");
}

static void sticky_errors(void **state)
{
    (void)state;
    const cudaStream_t s = new_stream();
    float *x = counting_up(N), *y = device_floats(N, NULL);
    void *p;
    emulator_fail("launch", 2, cudaErrorIllegalAddress);
    GOOD(planted_plus_one(s, N, x, y));
    GOOD(planted_plus_one(s, N, y, x));
    GOOD(planted_plus_one(s, N, y, x));
    GOOD(cudaMalloc(&p, 4)); /* nobody has waited */
    GIVES(cudaErrorIllegalAddress, cudaStreamSynchronize(s));
    GIVES(cudaErrorIllegalAddress, cudaMalloc(&p, 4));
    GIVES(cudaErrorIllegalAddress, cudaGetLastError());
    GIVES(cudaErrorIllegalAddress, cudaGetLastError());
    GIVES(cudaErrorIllegalAddress, planted_plus_one(s, N, x, y));
    GIVES(cudaErrorIllegalAddress, cudaFree(x));
    assert_int_equal(emulator_waiting(), 0);
    near(first_of(y), 1);
    emulator_reset();
    GOOD(cudaMalloc(&p, 4));
    emulator_fail("cudaMemsetAsync", 1, cudaErrorECCUncorrectable);
    GIVES(cudaErrorECCUncorrectable, cudaMemsetAsync(p, 0, 4, NULL));
    GIVES(cudaErrorECCUncorrectable, cudaDeviceSynchronize());
    assert_false(emulator_wait());
    assert_true(emulator_wait());
    GOOD(cudaGetLastError());
}

/* A program that reads device memory from the host is ended. */
static void guard(void **state)
{
    (void)state;
    const float *x = counting_up(1);
    const pid_t child = fork();
    if (!child) {
        signal(SIGSEGV, SIG_DFL);
        _exit(*x == 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    emulator_guard = false;
    near(*counting_up(1), 0);
    emulator_guard = true;
}

/* A report names kernel, block, thread, the last barrier and, where addr2line is, the line. */
static void places(void **state)
{
    (void)state;
    float *y = device_floats(1, NULL);
    is_told(planted_block_sums(NULL, NONE, 2, counting_up(512), y),
            "block_sums: block (1, 0, 0) thread (0, 0, 0): writes outside every buffer, "
            "last waited at tests/emulator/planted.cu:");
    if (system("command -v addr2line >/dev/null") == 0)
        assert_non_null(strstr(emulator_error(), "planted.cu:19"));
}
