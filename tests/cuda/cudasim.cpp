/* The runtime: work waits in one queue for whoever waits for it.
 *
 * What goes wrong on a machine is had by MC_SIM_DEVICES=N, MC_SIM_DRIVER=none or old, MC_SIM_CAPABILITY=5.0,
 * MC_SIM_BUSY=1 (another process has the device), MC_SIM_MEMORY=BYTES, MC_SIM_FAIL=N (launch N fails, and all after
 * it) and MC_SIM_MISSING (fake.h). */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "tests/cuda/cudasim_inside.h"

enum { THREADS_MOST = 1024, GRID_MOST = 65535, SHARED = 48 << 10, SHARED_MOST = 227 << 10 };
enum { QUEUE_MOST = 4096 };

struct mc_sim_graph {
    std::vector<std::function<void()>> work;
};
struct mc_sim_exec {
    std::shared_ptr<mc_sim_graph> graph;
};
struct mc_sim_stream {
    mc_sim_graph *graph; /* it records into this */
    bool invalid;        /* what it records cannot be recorded */
};
struct mc_sim_event {
    int nothing;
};

static std::recursive_mutex lock;
static std::deque<std::function<void()>> queue;
static thread_local mc_sim_stream *recorder; /* the stream that records */
static thread_local cudaError_t last;
static thread_local int device;
static std::map<const void *, int> shared_most;

static int number(const char *name, int otherwise)
{
    const char *s = getenv(name);
    return s && *s ? atoi(s) : otherwise;
}

static int devices()
{
    return number("MC_SIM_DEVICES", 1);
}

static bool driver_is(const char *what)
{
    const char *s = getenv("MC_SIM_DRIVER");
    return s && !strcmp(s, what);
}

static cudaError_t broken; /* a kernel failed: no call works any more */

static cudaError_t done(cudaError_t rc)
{
    if (rc != cudaSuccess)
        last = rc;
    return rc;
}

/* While one lives, the program may touch device memory. */
struct opened {
    bool was;
    opened() : was(mc_sim_open(true))
    {
    }
    ~opened()
    {
        mc_sim_open(was);
    }
};

static cudaError_t flush()
{
    std::lock_guard<std::recursive_mutex> hold(lock);
    if (queue.empty())
        return done(broken);
    opened now;
    while (!queue.empty()) {
        std::function<void()> f = std::move(queue.front());
        queue.pop_front();
        f();
    }
    return done(broken);
}

/* Of a call that is not possible while this thread records. */
static bool recorded()
{
    if (!recorder)
        return false;
    recorder->invalid = true;
    last = cudaErrorStreamCaptureUnsupported;
    return true;
}

void mc_sim_trace(const char *fmt, ...)
{
    static FILE *to = getenv("MC_SIM_TRACE") ? fopen(getenv("MC_SIM_TRACE"), "w") : nullptr;
    if (!to)
        return;
    va_list ap;
    va_start(ap, fmt);
    vfprintf(to, fmt, ap);
    va_end(ap);
    fputc('\n', to);
}

static void enqueue(std::function<void()> f)
{
    std::lock_guard<std::recursive_mutex> hold(lock);
    if (recorder) {
        recorder->graph->work.push_back(std::move(f));
        return;
    }
    queue.push_back(std::move(f));
    if (queue.size() > QUEUE_MOST)
        flush();
}

void mc_sim_enqueue(std::function<void()> f)
{
    static const bool skip = number("MC_SIM_SKIP", 0) != 0;
    if (skip)
        f = [] {};
    enqueue(std::move(f));
}

void mc_sim_launch(const mc_sim_place &at, dim3 blocks, dim3 threads, size_t shared, bool sync,
                   mc_sim_body body)
{
    uint64_t n = (uint64_t)threads.x * threads.y * threads.z;
    auto own = shared_most.find(at.address);
    int most = own == shared_most.end() ? SHARED : own->second;
    if (!blocks.x || !blocks.y || !blocks.z || !n || n > THREADS_MOST || threads.z > 64 ||
        blocks.x > 0x7fffffffu || blocks.y > GRID_MOST || blocks.z > GRID_MOST) {
        done(cudaErrorInvalidConfiguration);
        return;
    }
    if (shared > (size_t)most) {
        done(cudaErrorInvalidValue);
        return;
    }
    mc_sim_trace("launch %s (%u,%u,%u) (%u,%u,%u) shared %zu %s:%d", at.kernel, blocks.x, blocks.y,
                 blocks.z, threads.x, threads.y, threads.z, shared, at.file, at.line);
    mc_sim_enqueue([=] {
        static int left = number("MC_SIM_FAIL", 0);
        if (left > 0 && --left == 0)
            broken = cudaErrorIllegalAddress;
        if (broken == cudaSuccess)
            mc_sim_run(at, blocks, threads, shared, sync, body);
    });
}

/* ---- errors, devices ---- */

static const struct {
    cudaError_t rc;
    const char *name, *text;
} errors[] = {
#define MC_SIM_ERROR(rc, text)                                                                     \
    {                                                                                              \
        rc, #rc, text                                                                              \
    }
    MC_SIM_ERROR(cudaSuccess, "no error"),
    MC_SIM_ERROR(cudaErrorInvalidValue, "invalid argument"),
    MC_SIM_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    MC_SIM_ERROR(cudaErrorInitializationError, "initialization error"),
    MC_SIM_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    MC_SIM_ERROR(cudaErrorInsufficientDriver,
                 "CUDA driver version is insufficient for CUDA runtime version"),
    MC_SIM_ERROR(cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable"),
    MC_SIM_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    MC_SIM_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    MC_SIM_ERROR(cudaErrorNoKernelImageForDevice,
                 "no kernel image is available for execution on the device"),
    MC_SIM_ERROR(cudaErrorNotReady, "device not ready"),
    MC_SIM_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    MC_SIM_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    MC_SIM_ERROR(cudaErrorStreamCaptureUnsupported,
                 "operation not permitted when stream is capturing"),
    MC_SIM_ERROR(cudaErrorStreamCaptureInvalidated,
                 "operation failed due to a previous error during capture"),
#undef MC_SIM_ERROR
};

const char *cudaGetErrorName(cudaError_t rc)
{
    for (auto &e : errors)
        if (e.rc == rc)
            return e.name;
    return "cudaErrorUnknown";
}

const char *cudaGetErrorString(cudaError_t rc)
{
    for (auto &e : errors)
        if (e.rc == rc)
            return e.text;
    return "unknown error";
}

cudaError_t cudaPeekAtLastError()
{
    return last;
}

cudaError_t cudaGetLastError()
{
    cudaError_t rc = last;
    last = cudaSuccess;
    return rc;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = driver_is("none") ? 0 : driver_is("old") ? 11040 : 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

/* MC_SIM_CAPABILITY=5.0: 50 */
static int capability()
{
    const char *s = getenv("MC_SIM_CAPABILITY");
    return s && *s ? (int)lrint(10 * atof(s)) : 90;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 0;
    if (driver_is("none") || driver_is("old"))
        return done(cudaErrorInsufficientDriver);
    if (devices() <= 0)
        return done(cudaErrorNoDevice);
    *n = devices();
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int which)
{
    if (which < 0 || which >= devices())
        return done(cudaErrorInvalidDevice);
    memset(p, 0, sizeof *p);
    strcpy(p->name, "simulated GPU");
    p->major = capability() / 10;
    p->minor = capability() % 10;
    p->multiProcessorCount = 1;
    size_t left;
    mc_sim_memory(&left, &p->totalGlobalMem);
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int which)
{
    if (which < 0 || which >= devices())
        return done(cudaErrorInvalidDevice);
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = THREADS_MOST; break;
    case cudaDevAttrClockRate: *value = 1000000; break; /* kHz */
    case cudaDevAttrMultiProcessorCount: *value = 1; break;
    case cudaDevAttrComputeMode:
        *value =
            number("MC_SIM_BUSY", 0) ? cudaComputeModeExclusiveProcess : cudaComputeModeDefault;
        break;
    case cudaDevAttrComputeCapabilityMajor: *value = capability() / 10; break;
    case cudaDevAttrComputeCapabilityMinor: *value = capability() % 10; break;
    case cudaDevAttrManagedMemory: *value = 1; break;
    case cudaDevAttrConcurrentManagedAccess: *value = 1; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = SHARED_MOST; break;
    default: return done(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int which)
{
    if (which < 0 || which >= devices())
        return done(cudaErrorInvalidDevice);
    if (number("MC_SIM_BUSY", 0))
        return done(cudaErrorDevicesUnavailable);
    device = which;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *number)
{
    *number = device;
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize()
{
    return recorded() ? cudaErrorStreamCaptureUnsupported : flush();
}

cudaError_t mc_sim_shared_most(const void *kernel, cudaFuncAttribute, int bytes)
{
    if (bytes < 0 || bytes > SHARED_MOST)
        return done(cudaErrorInvalidValue);
    std::lock_guard<std::recursive_mutex> hold(lock);
    shared_most[kernel] = bytes > SHARED ? bytes : SHARED;
    return cudaSuccess;
}

/* ---- memory ---- */

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    mc_sim_memory(left, total);
    return cudaSuccess;
}

static cudaError_t allocate(void **p, size_t bytes, bool host_too)
{
    if (recorded())
        return cudaErrorStreamCaptureUnsupported;
    if (broken != cudaSuccess)
        return done(broken);
    std::lock_guard<std::recursive_mutex> hold(lock);
    *p = mc_sim_alloc(bytes, host_too);
    return *p ? cudaSuccess : done(cudaErrorMemoryAllocation);
}

/* Waits for all work, as the runtime does. */
static cudaError_t release(void *p)
{
    if (!p)
        return cudaSuccess;
    if (recorded())
        return cudaErrorStreamCaptureUnsupported;
    std::lock_guard<std::recursive_mutex> hold(lock);
    cudaError_t rc = flush();
    if (!mc_sim_free(p))
        mc_sim_stop("%p is freed, which is no allocation", p);
    return rc;
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    return allocate(p, bytes, false);
}

cudaError_t cudaMallocManaged(void **p, size_t bytes, unsigned)
{
    return allocate(p, bytes, true);
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    return allocate(p, bytes, true);
}

cudaError_t cudaFree(void *p)
{
    return release(p);
}

cudaError_t cudaFreeHost(void *p)
{
    return release(p);
}

/* These two do not wait for the work of a stream that is not blocking. */
cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
    if (recorded())
        return cudaErrorStreamCaptureUnsupported;
    std::lock_guard<std::recursive_mutex> hold(lock);
    mc_sim_copy(p, nullptr, bytes, cudaMemcpyHostToDevice);
    opened now;
    memset(p, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind)
{
    if (recorded())
        return cudaErrorStreamCaptureUnsupported;
    std::lock_guard<std::recursive_mutex> hold(lock);
    mc_sim_copy(dst, src, bytes, kind);
    opened now;
    memcpy(dst, src, bytes);
    return done(broken);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t)
{
    mc_sim_copy(p, nullptr, bytes, cudaMemcpyHostToDevice);
    mc_sim_trace("fill %zu bytes", bytes);
    enqueue([=] { memset(p, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t)
{
    mc_sim_copy(dst, src, bytes, kind);
    mc_sim_trace("copy %zu bytes %s", bytes,
                 kind == cudaMemcpyHostToDevice   ? "up"
                 : kind == cudaMemcpyDeviceToHost ? "down"
                                                  : "there");
    enqueue([=] { memcpy(dst, src, bytes); });
    return cudaSuccess;
}

/* ---- streams, events ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    *s = new mc_sim_stream();
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    cudaError_t rc = flush();
    delete s;
    return rc;
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return recorded() ? cudaErrorStreamCaptureUnsupported : flush();
}

/* There is one order for all streams. */
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned)
{
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    *e = new mc_sim_event();
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    delete e;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t)
{
    return recorded() ? cudaErrorStreamCaptureUnsupported : flush();
}

/* ---- recordings ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode)
{
    if (recorder)
        return done(cudaErrorStreamCaptureUnsupported);
    s->graph = new mc_sim_graph();
    s->invalid = false;
    recorder = s;
    mc_sim_trace("record");
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *ret)
{
    if (recorder != s)
        return done(cudaErrorInvalidValue);
    recorder = nullptr;
    *ret = s->graph;
    mc_sim_trace("recorded %zu%s", s->graph->work.size(), s->invalid ? ", in vain" : "");
    s->graph = nullptr;
    if (!s->invalid)
        return cudaSuccess;
    delete *ret;
    *ret = nullptr;
    return done(cudaErrorStreamCaptureInvalidated);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ret, cudaGraph_t g, unsigned long long)
{
    *ret = new mc_sim_exec{std::make_shared<mc_sim_graph>(*g)};
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t)
{
    auto graph = e->graph;
    mc_sim_trace("replay %zu", graph->work.size());
    enqueue([graph] {
        for (auto &f : graph->work)
            f();
    });
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e)
{
    delete e;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    delete g;
    return cudaSuccess;
}

/* ---- numbers ---- */

__half __float2half_rn(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    float a = fabsf(x);
    if (std::isnan(x))
        return {0x7fff};
    if (a >= 65520)
        return {(uint16_t)(sign | 0x7c00)};
    if (a < 6.103515625e-05f) /* 2^-14: steps of 2^-24 */
        return {(uint16_t)(sign | (uint16_t)nearbyintf(a * 16777216))};
    u &= 0x7fffffff;
    u += 0xfff + (u >> 13 & 1);
    return {(uint16_t)(sign | ((u - (112u << 23)) >> 13))};
}

float __half2float(__half h)
{
    int exponent = h.bits >> 10 & 31, fraction = h.bits & 0x3ff;
    float a = exponent == 31 ? fraction ? NAN : INFINITY
              : exponent     ? ldexpf((float)(1024 + fraction), exponent - 25)
                             : ldexpf((float)fraction, -24);
    return h.bits & 0x8000 ? -a : a;
}
