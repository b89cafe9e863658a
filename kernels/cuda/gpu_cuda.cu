/* The device: what kernels/gpu.h promises, by the CUDA runtime. Copies are in copies_cuda.cu. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/copies.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/libs.h"
extern "C" {
#include "base/text.h"
}

#ifndef MC_CUDA_ARCHS
#define MC_CUDA_ARCHS "80 90"
#endif
#ifdef CUDART_VERSION
enum { NEEDED = CUDART_VERSION };
#else
enum { NEEDED = 13000 };
#endif

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
static __thread int selected = -1; /* device of this thread, as the runtime knows it */

static cudaError_t use(int number)
{
    if (number == selected)
        return cudaSuccess;
    cudaError_t rc = cudaSetDevice(number);
    selected = rc == cudaSuccess ? number : -1;
    return rc;
}

struct mc_gpu *mc_cuda_now(void)
{
    return current;
}

struct mc_gpu *mc_gpu_enter(struct mc_gpu *g)
{
    struct mc_gpu *before = current;
    current = g;
    if (g)
        mc_cuda_check(use(g->number), "choosing it");
    return before;
}

/* ---- failures ---- */

/* After these a process gets nothing else from CUDA. */
static bool lasts(cudaError_t rc)
{
    switch (rc) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorUnknown: return true;
    default: return false;
    }
}

void mc_cuda_check(cudaError_t rc, const char *what)
{
    struct mc_gpu *g = current;
    if (rc == cudaSuccess)
        return;
    (void)cudaGetLastError(); /* or the next launch reports it again */
    if (lasts(rc))
        g->dead = rc;
    if (g->failed != cudaSuccess)
        return;
    g->failed = rc;
    g->failed_at = what;
}

/* wanted: what for, or how much. */
static int full(const struct mc_gpu *g, const char *wanted, struct mc_err *err)
{
    char left[MC_TEXT], all[MC_TEXT];
    size_t free_bytes = 0, total = 0;
    (void)cudaGetLastError();
    (void)cudaMemGetInfo(&free_bytes, &total);
    return mc_fail(err, MC_ENOMEM,
                   "GPU %d (%s) has no memory for %s: %s of %s are free; a smaller batch takes "
                   "less, and '--device cpu' none of it",
                   g->number, g->info.name, wanted, mc_text_bytes((double)free_bytes, left),
                   mc_text_bytes((double)total, all));
}

int mc_cuda_fail(struct mc_gpu *g, cudaError_t rc, const char *what, struct mc_err *err)
{
    (void)cudaGetLastError();
    if (lasts(rc))
        g->dead = rc;
    if (rc == cudaErrorMemoryAllocation)
        return full(g, what, err);
    return mc_fail(err, MC_EFAIL, "GPU %d (%s): %s: %s%s", g->number, g->info.name, what,
                   cudaGetErrorString(rc),
                   g->dead != cudaSuccess ? "; it can do nothing more in this process; '--device "
                                            "cpu' computes without it"
                                          : "");
}

/* ---- which there are ---- */

static const char *visible(void)
{
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    static __thread char text[160];
    *text = 0;
    if (list)
        snprintf(text, sizeof text, " (CUDA_VISIBLE_DEVICES='%.80s' says which may be seen)", list);
    return text;
}

/* "535.104.05", or "". */
static void driver_version(char *ret, size_t size)
{
    *ret = 0;
#ifndef MC_CUDA_SIM
    char line[256] = "";
    FILE *f = fopen("/proc/driver/nvidia/version", "r");
    if (f && fgets(line, sizeof line, f))
        for (char *word = strtok(line, " \t"); word; word = strtok(NULL, " \t"))
            if (strchr(word, '.') && strspn(word, "0123456789.") == strlen(word)) {
                snprintf(ret, size, " %s", word);
                break;
            }
    if (f)
        fclose(f);
#else
    (void)size;
#endif
}

static int too_old(struct mc_err *err)
{
    char version[64];
    int knows = 0;
    driver_version(version, sizeof version);
    (void)cudaDriverGetVersion(&knows);
    return mc_fail(err, MC_EUNSUP,
                   "the NVIDIA driver%s is too old: it knows CUDA %d.%d, and %d.%d is needed; "
                   "install driver %s or later",
                   version, knows / 1000, knows % 1000 / 10, NEEDED / 1000, NEEDED % 1000 / 10,
                   NEEDED >= 13000 ? "580" : "525");
}

int mc_gpu_count(struct mc_err *err)
{
    char why[256];
    int n = 0;
    if (!mc_cuda_driver(why, sizeof why)) {
        mc_fail(err, MC_EUNSUP, "there is no GPU: %s", why);
        return 0;
    }
    cudaError_t rc = cudaGetDeviceCount(&n);
    if (rc == cudaSuccess && n > 0)
        return n;
    (void)cudaGetLastError();
    if (rc == cudaErrorInsufficientDriver)
        too_old(err);
    else if (rc == cudaSuccess || rc == cudaErrorNoDevice)
        mc_fail(err, MC_EUNSUP, "there is no GPU: the NVIDIA driver shows none%s", visible());
    else
        mc_fail(err, MC_EUNSUP, "no GPU can be used: the NVIDIA driver says: %s%s",
                cudaGetErrorString(rc),
                rc == cudaErrorSystemNotReady ? "; its services (nvidia-fabricmanager) must run"
                                              : "");
    return 0;
}

/* Is there code for this capability? Code for a.b runs on a.c with c >= b; the last one is there as PTX as well, for all
 * that came after it. */
static bool has_code(int major, int minor, int *ret_lowest)
{
    bool runs = false;
    int arch = 0;
    *ret_lowest = 0;
    for (const char *at = MC_CUDA_ARCHS; *at; at += strcspn(at, " "), at += strspn(at, " ")) {
        arch = atoi(at);
        *ret_lowest = !*ret_lowest || arch < *ret_lowest ? arch : *ret_lowest;
        runs = runs || (arch / 10 == major && arch % 10 <= minor);
    }
    return runs || 10 * major + minor >= arch;
}

static void judge(int number, struct mc_gpu_info *ret)
{
    int lowest, mode = cudaComputeModeDefault;
    if (!has_code(ret->major, ret->minor, &lowest)) {
        snprintf(ret->why, sizeof ret->why,
                 "its compute capability is %d.%d, and this program was built for %d.%d and later; "
                 "one for it is built with -Dgpu_archs=%d%d",
                 ret->major, ret->minor, lowest / 10, lowest % 10, ret->major, ret->minor);
        return;
    }
    if (cudaDeviceGetAttribute(&mode, cudaDevAttrComputeMode, number) != cudaSuccess)
        (void)cudaGetLastError();
    else if (mode == cudaComputeModeProhibited)
        snprintf(ret->why, sizeof ret->why,
                 "its compute mode is 'prohibited'; 'nvidia-smi -i %d -c DEFAULT' changes it",
                 number);
}

int mc_gpu_describe(int number, struct mc_gpu_info *ret, struct mc_err *err)
{
    struct cudaDeviceProp p;
    int khz = 0;
    memset(ret, 0, sizeof *ret);
    cudaError_t rc = cudaGetDeviceProperties(&p, number);
    if (rc != cudaSuccess) {
        (void)cudaGetLastError();
        return mc_fail(err, MC_EUNSUP, "GPU %d does not say what it is: %s", number,
                       cudaGetErrorString(rc));
    }
    snprintf(ret->name, sizeof ret->name, "%.127s", p.name);
    ret->major = p.major;
    ret->minor = p.minor;
    ret->total = p.totalGlobalMem;
    ret->processors = p.multiProcessorCount;
    if (cudaDeviceGetAttribute(&khz, cudaDevAttrClockRate, number) == cudaSuccess)
        ret->clock_ghz = 1e-6 * khz;
    else
        (void)cudaGetLastError();
    judge(number, ret);
    return 0;
}

/* ---- open, close ---- */

enum { FAULT_BYTES = (1 + MC_CUDA_TICKETS) * sizeof(int) };

static cudaError_t start(struct mc_gpu *g)
{
    size_t total = 0;
    selected = -1; /* an earlier failure may have left nothing behind it */
    cudaError_t rc = use(g->number);
    if (rc == cudaSuccess)
        rc = cudaMemGetInfo(&g->info.free, &total);
    g->free_at_first = g->info.free;
    if (rc == cudaSuccess)
        rc = cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking);
    if (rc == cudaSuccess)
        rc = cudaMalloc((void **)&g->fault, FAULT_BYTES);
    g->staging_bytes = FAULT_BYTES;
    if (rc == cudaSuccess)
        rc = cudaMemset(g->fault, 0, FAULT_BYTES);
    g->tickets = (unsigned *)g->fault + 1;
    if (rc == cudaSuccess)
        rc = mc_cuda_copies_make(g);
    return rc == cudaSuccess ? cudaStreamSynchronize(g->stream) : rc;
}

static int open_number(int number, const struct mc_gpu_opts *o, struct mc_gpu **ret,
                       struct mc_err *err)
{
    struct mc_gpu *g = (struct mc_gpu *)calloc(1, sizeof *g);
    if (!g)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    g->number = number;
    g->precision = o ? o->precision : MC_GPU_FP32;
    int rc = mc_gpu_describe(number, &g->info, err);
    if (!rc && *g->info.why)
        rc = mc_fail(err, MC_EUNSUP, "GPU %d (%s) cannot be used: %s", number, g->info.name,
                     g->info.why);
    if (!ret) {
        free(g);
        return rc;
    }
    cudaError_t failed = rc ? cudaSuccess : start(g);
    if (failed == cudaErrorDevicesUnavailable)
        rc = mc_fail(err, MC_EFAIL,
                     "GPU %d (%s) is busy: another process has it for itself ('nvidia-smi' shows "
                     "which)",
                     number, g->info.name);
    else if (failed != cudaSuccess)
        rc = mc_cuda_fail(
            g, failed, failed == cudaErrorMemoryAllocation ? "a start" : "cannot be started", err);
    if (rc) {
        (void)cudaGetLastError();
        mc_gpu_close(g);
        return rc;
    }
    g->table.name = "cuda";
    g->table.elem_bytes = 4;
    g->table.device = true;
    struct mc_gpu *before = mc_gpu_enter(g);
#define MC_CUDA_FILL(family) mc_##family##_fill_cuda(&g->table);
#include "kernels/cuda/fills.h"
#undef MC_CUDA_FILL
    mc_gpu_enter(before);
    *ret = g;
    return 0;
}

/* *ret = N of "cuda:N", -1 for "cuda". */
static int parse(const char *device, int *ret, struct mc_err *err)
{
    const char *digits = device + strlen("cuda:");
    *ret = -1;
    if (!strcmp(device, "cuda"))
        return 0;
    if (strncmp(device, "cuda:", strlen("cuda:")) || !*digits || strlen(digits) > 4 ||
        strspn(digits, "0123456789") != strlen(digits))
        return mc_fail(err, MC_EUSAGE, "'%s' is no device; a GPU is cuda or cuda:N, from cuda:0",
                       device);
    *ret = atoi(digits);
    return 0;
}

static int not_there(int number, int n, struct mc_err *err)
{
    char those[512] = "";
    struct mc_gpu_info info;
    for (int i = 0; i < n && i < 8; i++)
        mc_text_add(those, sizeof those, "%scuda:%d (%.40s)", i ? ", " : "", i,
                    mc_gpu_describe(i, &info, NULL) ? "?" : info.name);
    return mc_fail(err, MC_EUSAGE, "there is no GPU %d; there %s %s%s", number,
                   n == 1 ? "is" : "are", those, visible());
}

int mc_gpu_open(const char *device, const struct mc_gpu_opts *o, struct mc_gpu **ret,
                struct mc_err *err)
{
    int number, rc = parse(device, &number, err);
    if (rc)
        return rc;
    int n = mc_gpu_count(err);
    if (!n)
        return MC_EUNSUP;
    if (number >= n)
        return not_there(number, n, err);
    if (number >= 0)
        return open_number(number, o, ret, err);
    rc = open_number(0, o, ret, err); /* the first that can be used; if none, what the first said */
    for (int i = 1; i < n && rc; i++)
        if (!open_number(i, o, ret, NULL))
            rc = 0;
    return rc;
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

static void free_outgrown(struct mc_gpu *g)
{
    while (g->outgrown) {
        struct mc_gpu_allocation *a = g->outgrown;
        g->outgrown = a->next;
        g->workspace_bytes -= a->bytes;
        (void)cudaFree(a->p);
        free(a);
    }
}

void mc_gpu_close(struct mc_gpu *g)
{
    if (!g)
        return;
    (void)use(g->number);
    if (g->stream)
        (void)cudaStreamSynchronize(g->stream);
    release_kept(g);
    mc_cuda_copies_free(g);
    free_outgrown(g);
    (void)cudaFree(g->workspace);
    (void)cudaFree(g->fault);
    while (g->allocations)
        mc_gpu_free(g, g->allocations->p);
    while (g->host)
        mc_gpu_host_free(g, g->host->p);
    if (g->stream)
        (void)cudaStreamDestroy(g->stream);
    (void)cudaGetLastError();
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

/* The entry of p in a list, taken out of it; NULL: none. */
static struct mc_gpu_allocation *take(struct mc_gpu_allocation **list, const void *p)
{
    for (struct mc_gpu_allocation **at = list; p && *at; at = &(*at)->next)
        if ((*at)->p == p) {
            struct mc_gpu_allocation *a = *at;
            *at = a->next;
            return a;
        }
    return NULL;
}

int mc_gpu_alloc(struct mc_gpu *g, size_t bytes, void **ret, struct mc_err *err)
{
    if (g->dead != cudaSuccess)
        return mc_cuda_fail(g, g->dead, "taking memory", err);
    struct mc_gpu_allocation *a = (struct mc_gpu_allocation *)calloc(1, sizeof *a);
    if (!a)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    cudaError_t rc = use(g->number);
    if (rc == cudaSuccess)
        rc = cudaMalloc(&a->p, bytes ? bytes : 1);
    if (rc != cudaSuccess) {
        char asked[MC_TEXT], wanted[MC_TEXT + 8];
        free(a);
        snprintf(wanted, sizeof wanted, "%s more", mc_text_bytes((double)bytes, asked));
        return mc_cuda_fail(g, rc, rc == cudaErrorMemoryAllocation ? wanted : "taking memory", err);
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
    struct mc_gpu_allocation *a = take(&g->allocations, p);
    if (!a)
        return;
    g->used -= a->bytes;
    (void)use(g->number);
    (void)cudaStreamSynchronize(g->stream); /* which waits for the copies to it */
    (void)cudaFree(p);
    (void)cudaGetLastError(); /* the next wait says what was wrong */
    free(a);
}

void *mc_gpu_host_alloc(struct mc_gpu *g, size_t bytes)
{
    struct mc_gpu_allocation *a = (struct mc_gpu_allocation *)calloc(1, sizeof *a);
    if (!a)
        return NULL;
    if (use(g->number) != cudaSuccess || cudaMallocHost(&a->p, bytes ? bytes : 1) != cudaSuccess) {
        (void)cudaGetLastError();
        free(a);
        return NULL;
    }
    a->bytes = bytes;
    a->next = g->host;
    g->host = a;
    return a->p;
}

void mc_gpu_host_free(struct mc_gpu *g, void *p)
{
    struct mc_gpu_allocation *a = take(&g->host, p);
    if (!a)
        return;
    (void)use(g->number);
    (void)cudaFreeHost(p);
    (void)cudaGetLastError();
    free(a);
}

bool mc_cuda_pinned(const struct mc_gpu *g, const void *p, size_t bytes)
{
    const char *at = (const char *)p;
    for (const struct mc_gpu_allocation *a = g->host; a; a = a->next)
        if (at >= (const char *)a->p && at + bytes <= (const char *)a->p + a->bytes)
            return true;
    return false;
}

/* A recording has the address of the memory that its kernels were given, and is replayed with it. */
static bool put_aside(struct mc_gpu *g)
{
    if (!g->workspace)
        return true;
    if (!g->recordings) {
        (void)cudaStreamSynchronize(g->stream);
        (void)cudaFree(g->workspace);
        g->workspace_bytes = 0;
    } else {
        struct mc_gpu_allocation *a = (struct mc_gpu_allocation *)calloc(1, sizeof *a);
        if (!a)
            return false;
        a->p = g->workspace;
        a->bytes = g->workspace_size;
        a->next = g->outgrown;
        g->outgrown = a;
    }
    g->workspace = NULL;
    g->workspace_size = 0;
    return true;
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
    if (bytes <= g->workspace_size)
        return g->workspace;
    if (g->recording) {
        mc_cuda_check(cudaErrorStreamCaptureUnsupported, "a workspace");
        return NULL;
    }
    cudaError_t rc = put_aside(g) ? cudaMalloc(&g->workspace, bytes) : cudaErrorMemoryAllocation;
    mc_cuda_check(rc, "a workspace");
    if (rc != cudaSuccess)
        return NULL;
    g->workspace_size = bytes;
    g->workspace_bytes += bytes;
    return g->workspace;
}

void mc_gpu_memory(const struct mc_gpu *g, struct mc_gpu_memory *ret)
{
    size_t workspace = g->workspace_bytes + g->staging_bytes + g->library_bytes;
    size_t mine = g->used + workspace, left = 0, total = 0, gone = 0;
    if (use(g->number) == cudaSuccess && cudaMemGetInfo(&left, &total) == cudaSuccess)
        gone = g->free_at_first > left ? g->free_at_first - left : 0;
    else
        (void)cudaGetLastError();
    *ret = (struct mc_gpu_memory){g->used, g->peak, workspace, gone > mine ? gone - mine : 0};
}

void mc_gpu_memory_restart(struct mc_gpu *g)
{
    g->peak = g->used;
}

/* ---- in order with the kernels ---- */

int mc_gpu_copy(struct mc_gpu *g, void *dst, const void *src, size_t bytes, struct mc_err *err)
{
    cudaError_t rc = g->dead;
    if (rc == cudaSuccess && bytes && dst != src)
        rc = cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, g->stream);
    return rc == cudaSuccess ? 0 : mc_cuda_fail(g, rc, "copying on it", err);
}

int mc_gpu_zero(struct mc_gpu *g, void *dst, size_t bytes, struct mc_err *err)
{
    cudaError_t rc = g->dead;
    if (rc == cudaSuccess && bytes)
        rc = cudaMemsetAsync(dst, 0, bytes, g->stream);
    return rc == cudaSuccess ? 0 : mc_cuda_fail(g, rc, "clearing its memory", err);
}

int mc_gpu_wait(struct mc_gpu *g, struct mc_err *err)
{
    static const char *const faults[] = {"", "an index is out of range", "a label is out of range",
                                         "division of whole numbers by zero"};
    int fault = 0;
    cudaError_t rc = g->dead != cudaSuccess ? g->dead : mc_cuda_copies_wait(g, &fault);
    if (g->failed != cudaSuccess) {
        cudaError_t first = g->failed;
        g->failed = cudaSuccess;
        return mc_cuda_fail(g, first, g->failed_at, err);
    }
    if (rc != cudaSuccess)
        return mc_cuda_fail(g, rc, "computing on it", err);
    if (!fault)
        return 0;
    rc = cudaMemsetAsync(g->fault, 0, sizeof fault, g->stream);
    if (rc != cudaSuccess)
        return mc_cuda_fail(g, rc, "computing on it", err);
    return mc_fail(err, MC_EDATA, "%s; '--device cpu' names the operator", faults[fault]);
}

/* ---- recordings ---- */

int mc_gpu_record_begin(struct mc_gpu *g, struct mc_err *err)
{
    cudaError_t rc = g->dead;
    if (rc == cudaSuccess)
        rc = cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeThreadLocal);
    g->recording = rc == cudaSuccess;
    return g->recording ? 0 : mc_cuda_fail(g, rc, "recording", err);
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
    if (r && rc == cudaSuccess)
        rc = cudaGraphInstantiate(&r->exec, graph, 0);
    (void)cudaGetLastError(); /* nothing has been done, so nothing is wrong with the device */
    if (r && rc == cudaSuccess) {
        r->graph = graph;
        g->recordings++;
        *ret = r;
        return 0;
    }
    if (graph)
        (void)cudaGraphDestroy(graph);
    free(r);
    if (!r)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    return lasts(rc) ? mc_cuda_fail(g, rc, "recording", err)
                     : mc_fail(err, MC_EUNSUP, "GPU %d: this cannot be recorded: %s", g->number,
                               cudaGetErrorString(rc));
}

int mc_gpu_replay(struct mc_gpu *g, struct mc_gpu_recording *r, struct mc_err *err)
{
    cudaError_t rc = g->dead;
    if (rc == cudaSuccess)
        rc = cudaGraphLaunch(r->exec, g->stream);
    return rc == cudaSuccess ? 0 : mc_cuda_fail(g, rc, "replaying", err);
}

void mc_gpu_recording_free(struct mc_gpu *g, struct mc_gpu_recording *r)
{
    if (!r)
        return;
    (void)use(g->number);
    (void)cudaStreamSynchronize(g->stream);
    (void)cudaGraphExecDestroy(r->exec);
    (void)cudaGraphDestroy(r->graph);
    (void)cudaGetLastError();
    free(r);
    if (!--g->recordings)
        free_outgrown(g);
}
