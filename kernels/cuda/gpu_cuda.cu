/* The device: what kernels/gpu.h promises, by the CUDA runtime. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda.h"

enum { STAGING = 4 << 20 }; /* bytes of each of the two staging buffers */

struct mc_gpu_allocation {
    struct mc_gpu_allocation *next;
    void *p;
    size_t bytes;
};

struct mc_cuda_kept {
    struct mc_cuda_kept *next;
    const char *family;
    void (*release)(void *);
    void *state;
};

struct mc_gpu_recording {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
};

static __thread struct mc_gpu *current;

struct mc_gpu *mc_cuda_now(void)
{
    return current;
}

void mc_cuda_check(cudaError_t rc, const char *what)
{
    struct mc_gpu *g = current;
    if (rc == cudaSuccess || g->failed != cudaSuccess)
        return;
    g->failed = rc;
    g->failed_at = what;
}

struct mc_gpu *mc_gpu_enter(struct mc_gpu *g)
{
    struct mc_gpu *before = current;
    if (g && g != before)
        (void)cudaSetDevice(g->number);
    current = g;
    return before;
}

/* ---- which there are ---- */

int mc_gpu_count(struct mc_err *err)
{
    int n = 0;
    cudaError_t rc = cudaGetDeviceCount(&n);
    if (rc == cudaSuccess && n > 0)
        return n;
    mc_fail(err, MC_EUNSUP, "no GPU can be used: %s",
            rc == cudaSuccess ? "the driver shows none" : cudaGetErrorString(rc));
    return 0;
}

int mc_gpu_describe(int number, struct mc_gpu_info *ret, struct mc_err *err)
{
    struct cudaDeviceProp p;
    memset(ret, 0, sizeof *ret);
    cudaError_t rc = cudaGetDeviceProperties(&p, number);
    if (rc != cudaSuccess)
        return mc_fail(err, MC_EUNSUP, "GPU %d: %s", number, cudaGetErrorString(rc));
    snprintf(ret->name, sizeof ret->name, "%s", p.name);
    ret->major = p.major;
    ret->minor = p.minor;
    ret->total = p.totalGlobalMem;
    ret->processors = p.multiProcessorCount;
    return 0;
}

bool mc_gpu_library(int i, struct mc_gpu_library *ret)
{
    (void)i;
    memset(ret, 0, sizeof *ret);
    return false;
}

/* ---- open, close ---- */

static int fail(struct mc_gpu *g, cudaError_t rc, const char *what, struct mc_err *err)
{
    return mc_fail(err, MC_EFAIL, "GPU %d: %s: %s", g->number, what, cudaGetErrorString(rc));
}

static int make(struct mc_gpu *g, struct mc_err *err)
{
    cudaError_t rc = cudaSetDevice(g->number);
    if (rc == cudaSuccess)
        rc = cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking);
    if (rc == cudaSuccess)
        rc = cudaMalloc((void **)&g->fault, sizeof *g->fault);
    if (rc == cudaSuccess)
        rc = cudaMemset(g->fault, 0, sizeof *g->fault);
    for (int i = 0; i < 2 && rc == cudaSuccess; i++) {
        rc = cudaMallocHost((void **)&g->staging[i], STAGING);
        if (rc == cudaSuccess)
            rc = cudaEventCreateWithFlags(&g->staged[i], cudaEventDisableTiming);
    }
    g->staging_bytes = 2 * STAGING;
    return rc == cudaSuccess ? 0 : fail(g, rc, "cannot be started", err);
}

int mc_gpu_open(const char *device, const struct mc_gpu_opts *o, struct mc_gpu **ret,
                struct mc_err *err)
{
    int number = 0, n = mc_gpu_count(err);
    if (n == 0)
        return MC_EUNSUP;
    if (!strncmp(device, "cuda:", 5))
        number = atoi(device + 5);
    if (number < 0 || number >= n)
        return mc_fail(err, MC_EUSAGE, "there is no GPU %d: the driver shows %d", number, n);
    struct mc_gpu *g = (struct mc_gpu *)calloc(1, sizeof *g);
    if (!g)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    g->number = number;
    g->precision = o ? o->precision : MC_GPU_FP32;
    int rc = mc_gpu_describe(number, &g->info, err);
    rc = rc ? rc : make(g, err);
    if (rc) {
        mc_gpu_close(g);
        return rc;
    }
    g->table.name = "cuda";
    g->table.elem_bytes = 4;
    g->table.device = true;
#define MC_CUDA_FILL(family) mc_##family##_fill_cuda(&g->table);
#include "kernels/cuda/fills.h"
#undef MC_CUDA_FILL
    *ret = g;
    return 0;
}

void *mc_cuda_keep(const char *family, size_t bytes, void (*release)(void *))
{
    for (struct mc_cuda_kept *k = current->kept; k; k = k->next)
        if (!strcmp(k->family, family))
            return k->state;
    struct mc_cuda_kept *k = (struct mc_cuda_kept *)calloc(1, sizeof *k);
    if (k)
        k->state = calloc(1, bytes);
    if (!k || !k->state) {
        free(k);
        mc_cuda_check(cudaErrorMemoryAllocation, family);
        return NULL;
    }
    k->family = family;
    k->release = release;
    k->next = current->kept;
    current->kept = k;
    return k->state;
}

static void release_kept(struct mc_gpu *g)
{
    struct mc_gpu *before = mc_gpu_enter(g);
    while (g->kept) {
        struct mc_cuda_kept *k = g->kept;
        g->kept = k->next;
        k->release(k->state);
        free(k->state);
        free(k);
    }
    mc_gpu_enter(before);
}

void mc_gpu_close(struct mc_gpu *g)
{
    if (!g)
        return;
    if (g->stream)
        (void)cudaStreamSynchronize(g->stream);
    release_kept(g);
    for (int i = 0; i < 2; i++) {
        if (g->staged[i])
            (void)cudaEventDestroy(g->staged[i]);
        (void)cudaFreeHost(g->staging[i]);
    }
    (void)cudaFree(g->workspace);
    (void)cudaFree(g->fault);
    while (g->allocations)
        mc_gpu_free(g, g->allocations->p);
    if (g->stream)
        (void)cudaStreamDestroy(g->stream);
    if (current == g)
        current = NULL;
    free(g);
}

int mc_gpu_number(const struct mc_gpu *g)
{
    return g->number;
}

const char *mc_gpu_name(const struct mc_gpu *g)
{
    return g->info.name;
}

const char *mc_gpu_precision(const struct mc_gpu *g)
{
    static const char *const names[] = {"fp32", "tf32", "bf16"};
    return names[g->precision];
}

const struct mc_kernels *mc_gpu_kernels(const struct mc_gpu *g)
{
    return &g->table;
}

/* ---- memory ---- */

int mc_gpu_alloc(struct mc_gpu *g, size_t bytes, void **ret, struct mc_err *err)
{
    struct mc_gpu_allocation *a = (struct mc_gpu_allocation *)calloc(1, sizeof *a);
    if (!a)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    cudaError_t rc = cudaMalloc(&a->p, bytes ? bytes : 1);
    if (rc != cudaSuccess) {
        size_t left = 0, total = 0;
        (void)cudaGetLastError();
        (void)cudaMemGetInfo(&left, &total);
        free(a);
        return mc_fail(err, MC_ENOMEM, "GPU %d has no %zu bytes left: %zu of %zu are free",
                       g->number, bytes, left, total);
    }
    a->bytes = bytes;
    a->next = g->allocations;
    g->allocations = a;
    g->used += bytes;
    g->peak = g->used > g->peak ? g->used : g->peak;
    *ret = a->p;
    return 0;
}

void mc_gpu_free(struct mc_gpu *g, void *p)
{
    for (struct mc_gpu_allocation **at = &g->allocations; p && *at; at = &(*at)->next)
        if ((*at)->p == p) {
            struct mc_gpu_allocation *a = *at;
            *at = a->next;
            g->used -= a->bytes;
            (void)cudaFree(p);
            free(a);
            return;
        }
}

void *mc_gpu_host_alloc(struct mc_gpu *g, size_t bytes)
{
    void *p = NULL;
    (void)g;
    return cudaMallocHost(&p, bytes) == cudaSuccess ? p : NULL;
}

void mc_gpu_host_free(struct mc_gpu *g, void *p)
{
    (void)g;
    if (p)
        (void)cudaFreeHost(p);
}

int mc_gpu_shared_alloc(struct mc_gpu *g, size_t bytes, void **ret, struct mc_err *err)
{
    cudaError_t rc = cudaMallocManaged(ret, bytes ? bytes : 1);
    if (rc == cudaSuccess)
        return 0;
    (void)cudaGetLastError();
    return mc_fail(err, MC_ENOMEM, "GPU %d has no %zu bytes of shared memory left: %s", g->number,
                   bytes, cudaGetErrorString(rc));
}

void mc_gpu_shared_free(struct mc_gpu *g, void *p)
{
    (void)g;
    (void)cudaFree(p);
}

void *mc_cuda_workspace(size_t bytes)
{
    struct mc_gpu *g = current;
    if (bytes <= g->workspace_bytes)
        return g->workspace;
    if (g->recording) {
        mc_cuda_check(cudaErrorStreamCaptureUnsupported, "workspace");
        return NULL;
    }
    (void)cudaStreamSynchronize(g->stream);
    (void)cudaFree(g->workspace);
    g->workspace = NULL;
    g->workspace_bytes = 0;
    cudaError_t rc = cudaMalloc(&g->workspace, bytes);
    mc_cuda_check(rc, "workspace");
    if (rc != cudaSuccess)
        return NULL;
    g->workspace_bytes = bytes;
    return g->workspace;
}

void mc_gpu_memory(const struct mc_gpu *g, struct mc_gpu_memory *ret)
{
    *ret = (struct mc_gpu_memory){
        g->used, g->peak, g->workspace_bytes + g->staging_bytes + g->library_bytes, g->context};
}

void mc_gpu_memory_restart(struct mc_gpu *g)
{
    g->peak = g->used;
}

/* ---- copies ---- */

int mc_gpu_put(struct mc_gpu *g, void *dst, const void *src, size_t bytes, struct mc_err *err)
{
    for (size_t at = 0; at < bytes; at += STAGING) {
        size_t n = bytes - at < STAGING ? bytes - at : STAGING;
        int i = g->next_staging;
        g->next_staging = !i;
        cudaError_t rc = cudaEventSynchronize(g->staged[i]);
        if (rc == cudaSuccess) {
            memcpy(g->staging[i], (const char *)src + at, n);
            rc = cudaMemcpyAsync((char *)dst + at, g->staging[i], n, cudaMemcpyHostToDevice,
                                 g->stream);
        }
        if (rc == cudaSuccess)
            rc = cudaEventRecord(g->staged[i], g->stream);
        if (rc != cudaSuccess)
            return fail(g, rc, "copying to it", err);
    }
    return 0;
}

int mc_gpu_get(struct mc_gpu *g, void *dst, const void *src, size_t bytes, struct mc_err *err)
{
    cudaError_t rc = cudaSuccess;
    if (bytes)
        rc = cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, g->stream);
    return rc == cudaSuccess ? mc_gpu_wait(g, err) : fail(g, rc, "copying from it", err);
}

int mc_gpu_copy(struct mc_gpu *g, void *dst, const void *src, size_t bytes, struct mc_err *err)
{
    cudaError_t rc = cudaSuccess;
    if (bytes && dst != src)
        rc = cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, g->stream);
    return rc == cudaSuccess ? 0 : fail(g, rc, "copying on it", err);
}

int mc_gpu_zero(struct mc_gpu *g, void *dst, size_t bytes, struct mc_err *err)
{
    cudaError_t rc = bytes ? cudaMemsetAsync(dst, 0, bytes, g->stream) : cudaSuccess;
    return rc == cudaSuccess ? 0 : fail(g, rc, "clearing its memory", err);
}

int mc_gpu_wait(struct mc_gpu *g, struct mc_err *err)
{
    static const char *const faults[] = {"", "an index is out of range", "a label is out of range",
                                         "division of whole numbers by zero"};
    int fault = 0;
    cudaError_t rc = cudaStreamSynchronize(g->stream);
    if (g->failed != cudaSuccess) {
        rc = g->failed;
        g->failed = cudaSuccess;
        return fail(g, rc, g->failed_at, err);
    }
    if (rc == cudaSuccess)
        rc = cudaMemcpy(&fault, g->fault, sizeof fault, cudaMemcpyDeviceToHost);
    if (rc != cudaSuccess)
        return fail(g, rc, "computing on it", err);
    if (!fault)
        return 0;
    (void)cudaMemset(g->fault, 0, sizeof fault);
    return mc_fail(err, MC_EDATA, "%s; '--device cpu' names the operator", faults[fault]);
}

/* ---- recordings ---- */

int mc_gpu_record_begin(struct mc_gpu *g, struct mc_err *err)
{
    cudaError_t rc = cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeThreadLocal);
    g->recording = rc == cudaSuccess;
    return g->recording ? 0 : fail(g, rc, "recording", err);
}

int mc_gpu_record_end(struct mc_gpu *g, struct mc_gpu_recording **ret, struct mc_err *err)
{
    struct mc_gpu_recording *r = (struct mc_gpu_recording *)calloc(1, sizeof *r);
    cudaGraph_t graph = NULL;
    cudaError_t rc = cudaStreamEndCapture(g->stream, &graph);
    g->recording = false;
    if (g->failed != cudaSuccess) {
        rc = g->failed;
        g->failed = cudaSuccess;
    }
    (void)cudaGetLastError();
    if (r && rc == cudaSuccess)
        rc = cudaGraphInstantiate(&r->exec, graph, 0);
    if (!r || rc != cudaSuccess) {
        if (graph)
            (void)cudaGraphDestroy(graph);
        free(r);
        return r ? mc_fail(err, MC_EUNSUP, "cannot be recorded: %s", cudaGetErrorString(rc))
                 : mc_fail(err, MC_ENOMEM, "out of memory");
    }
    r->graph = graph;
    *ret = r;
    return 0;
}

int mc_gpu_replay(struct mc_gpu *g, struct mc_gpu_recording *r, struct mc_err *err)
{
    cudaError_t rc = cudaGraphLaunch(r->exec, g->stream);
    return rc == cudaSuccess ? 0 : fail(g, rc, "replaying", err);
}

void mc_gpu_recording_free(struct mc_gpu *g, struct mc_gpu_recording *r)
{
    (void)g;
    if (!r)
        return;
    (void)cudaGraphExecDestroy(r->exec);
    (void)cudaGraphDestroy(r->graph);
    free(r);
}
