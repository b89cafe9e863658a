#include "tests/cuda/cudasim.h"

#include <cstdlib>
#include <vector>

mc_sim_index threadIdx, blockIdx;
dim3 blockDim, gridDim;

struct mc_sim_graph {
    std::vector<std::function<void()>> work;
};
struct mc_sim_exec {
    mc_sim_graph graph;
};
struct mc_sim_stream {
    bool recording;
    mc_sim_graph *graph;
};
struct mc_sim_event {
    int nothing;
};

static mc_sim_stream *recorder; /* the stream that records */
static std::vector<char> shared_memory;

void *mc_sim_shared()
{
    return shared_memory.data();
}

static void launch(dim3 blocks, dim3 threads, size_t shared, const std::function<void()> &body)
{
    shared_memory.assign(shared, (char)0x7f);
    gridDim = blocks;
    blockDim = threads;
    for (blockIdx.z = 0; blockIdx.z < blocks.z; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < blocks.y; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < blocks.x; blockIdx.x++)
                for (threadIdx.z = 0; threadIdx.z < threads.z; threadIdx.z++)
                    for (threadIdx.y = 0; threadIdx.y < threads.y; threadIdx.y++)
                        for (threadIdx.x = 0; threadIdx.x < threads.x; threadIdx.x++)
                            body();
}

void mc_sim_enqueue(std::function<void()> f)
{
    if (recorder)
        recorder->graph->work.push_back(f);
    else
        f();
}

void mc_sim_launch(dim3 blocks, dim3 threads, size_t shared, bool sync, std::function<void()> body)
{
    (void)sync;
    mc_sim_enqueue([=] { launch(blocks, threads, shared, body); });
}

const char *cudaGetErrorString(cudaError_t rc)
{
    return rc == cudaSuccess                 ? "no error"
           : rc == cudaErrorMemoryAllocation ? "out of memory"
                                             : "an error of the simulation";
}

const char *cudaGetErrorName(cudaError_t)
{
    return "cudaError";
}

cudaError_t cudaGetLastError()
{
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 1;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
    *value = attribute == cudaDevAttrClockRate ? 1000000 : 0;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int)
{
    memset(p, 0, sizeof *p);
    strcpy(p->name, "simulated GPU");
    p->major = 9;
    p->multiProcessorCount = 1;
    p->totalGlobalMem = (size_t)16 << 30;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int)
{
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *total)
{
    *left = *total = (size_t)16 << 30;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    *p = aligned_alloc(256, (bytes + 255) / 256 * 256);
    return *p ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFree(void *p)
{
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    return cudaMalloc(p, bytes);
}

cudaError_t cudaFreeHost(void *p)
{
    return cudaFree(p);
}

cudaError_t cudaMemset(void *p, int value, size_t bytes)
{
    memset(p, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t)
{
    mc_sim_enqueue([=] { memset(p, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, cudaMemcpyKind)
{
    memcpy(dst, src, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind, cudaStream_t)
{
    mc_sim_enqueue([=] { memcpy(dst, src, bytes); });
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    *s = new mc_sim_stream();
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    delete s;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return cudaSuccess;
}

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
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode)
{
    s->graph = new mc_sim_graph();
    recorder = s;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *ret)
{
    *ret = s->graph;
    recorder = nullptr;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *ret, cudaGraph_t g, unsigned long long)
{
    *ret = new mc_sim_exec{*g};
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t)
{
    for (auto &f : e->graph.work)
        f();
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
