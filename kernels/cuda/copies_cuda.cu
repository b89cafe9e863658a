/* Bytes to the device and back.
 *
 * What is put goes into a slot of pinned memory first, so that the caller may go on at once. A small piece travels as
 * an argument of a kernel: one launch, no copy engine. One that fits a slot is copied on a stream of its own into a
 * slot of the same size on the device, while earlier kernels still read its destination; only the short way from there
 * is in the order of the kernels. A larger one waits until earlier work is done, and goes straight to its place, piece
 * by piece. */
#include "kernels/cuda/copies.h"

#include <stdlib.h>
#include <string.h>

/* A slot holds a batch of 128 colour pictures of 50 x 50, or 512 of 28 x 28. */
enum { SLOTS = 4, SLOT = 4 << 20, SMALL = 1024, BACK = 1 << 20 };

struct slot {
    unsigned char *host, *device; /* device NULL: none was left */
    cudaEvent_t sent;             /* host may be written again */
    cudaEvent_t used;             /* so may device */
};

struct mc_cuda_copies {
    cudaStream_t stream;
    struct slot slot[SLOTS];
    int next;
    cudaEvent_t worked; /* by the kernels so far */
    unsigned char *back[2];
    cudaEvent_t came[2]; /* to back[i] */
    int *fault;          /* copy of the device's */
    bool pinned;
};

static unsigned char *host_memory(struct mc_cuda_copies *c, size_t bytes)
{
    void *p = NULL;
    if (c->pinned && cudaMallocHost(&p, bytes) == cudaSuccess)
        return (unsigned char *)p;
    return NULL;
}

/* All of it pinned, or none. */
static bool take_pinned(struct mc_cuda_copies *c)
{
    c->pinned = true;
    for (int i = 0; i < SLOTS && c->pinned; i++)
        c->pinned = (c->slot[i].host = host_memory(c, SLOT)) != NULL;
    for (int i = 0; i < 2 && c->pinned; i++)
        c->pinned = (c->back[i] = host_memory(c, BACK)) != NULL;
    if (c->pinned)
        c->pinned = (c->fault = (int *)host_memory(c, sizeof *c->fault)) != NULL;
    return c->pinned;
}

static void free_host(struct mc_cuda_copies *c, void (*release)(void *))
{
    for (int i = 0; i < SLOTS; i++) {
        release(c->slot[i].host);
        c->slot[i].host = NULL;
    }
    for (int i = 0; i < 2; i++) {
        release(c->back[i]);
        c->back[i] = NULL;
    }
    release(c->fault);
    c->fault = NULL;
}

static void unpin(void *p)
{
    if (p)
        (void)cudaFreeHost(p);
}

static bool take_host(struct mc_cuda_copies *c)
{
    if (take_pinned(c))
        return true;
    free_host(c, unpin);
    (void)cudaGetLastError();
    bool ok = (c->fault = (int *)malloc(sizeof *c->fault)) != NULL;
    for (int i = 0; i < SLOTS; i++)
        ok = (c->slot[i].host = (unsigned char *)malloc(SLOT)) && ok;
    for (int i = 0; i < 2; i++)
        ok = (c->back[i] = (unsigned char *)malloc(BACK)) && ok;
    return ok;
}

static cudaError_t make_event(cudaEvent_t *e)
{
    return cudaEventCreateWithFlags(e, cudaEventDisableTiming);
}

cudaError_t mc_cuda_copies_make(struct mc_gpu *g)
{
    struct mc_cuda_copies *c = (struct mc_cuda_copies *)calloc(1, sizeof *c);
    g->copies = c;
    if (!c || !take_host(c))
        return cudaErrorMemoryAllocation;
    cudaError_t rc = cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking);
    for (int i = 0; i < SLOTS && rc == cudaSuccess; i++) {
        rc = make_event(&c->slot[i].sent);
        if (rc == cudaSuccess)
            rc = make_event(&c->slot[i].used);
        void *p = NULL;
        if (cudaMalloc(&p, SLOT) == cudaSuccess)
            g->staging_bytes += SLOT;
        c->slot[i].device = (unsigned char *)p;
    }
    (void)cudaGetLastError();
    for (int i = 0; i < 2 && rc == cudaSuccess; i++)
        rc = make_event(&c->came[i]);
    return rc == cudaSuccess ? make_event(&c->worked) : rc;
}

static void drop_event(cudaEvent_t e)
{
    if (e)
        (void)cudaEventDestroy(e);
}

void mc_cuda_copies_free(struct mc_gpu *g)
{
    struct mc_cuda_copies *c = g->copies;
    if (!c)
        return;
    for (int i = 0; i < SLOTS; i++) {
        drop_event(c->slot[i].sent);
        drop_event(c->slot[i].used);
        if (c->slot[i].device)
            (void)cudaFree(c->slot[i].device);
    }
    drop_event(c->came[0]);
    drop_event(c->came[1]);
    drop_event(c->worked);
    free_host(c, c->pinned ? unpin : free);
    if (c->stream)
        (void)cudaStreamDestroy(c->stream);
    free(c);
    g->copies = NULL;
}

/* ---- to the device ---- */

struct small {
    unsigned char byte[SMALL];
};

static __global__ void put_small(unsigned char *dst, const struct small from, int n)
{
    for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x)
        dst[i] = from.byte[i];
}

static cudaError_t small(struct mc_gpu *g, void *dst, const void *src, size_t bytes)
{
    struct small from;
    unsigned char *to = (unsigned char *)dst;
    struct mc_gpu *before = mc_gpu_enter(g);
    int n = (int)bytes;
    memcpy(from.byte, src, bytes);
    memset(from.byte + bytes, 0, SMALL - bytes);
    MC_LAUNCH(put_small, 1, n < 128 ? 32 : 256, to, from, n);
    mc_gpu_enter(before);
    return cudaSuccess; /* mc_gpu_wait reports what a launch says */
}

/* The next slot, whose host side has been read. */
static cudaError_t take_slot(struct mc_cuda_copies *c, struct slot **ret)
{
    struct slot *s = &c->slot[c->next];
    c->next = (c->next + 1) % SLOTS;
    *ret = s;
    return cudaEventSynchronize(s->sent);
}

/* dst = what is in the slot, on the stream of copies; the stream of kernels waits for it. */
static cudaError_t send(struct mc_cuda_copies *c, struct slot *s, void *dst, size_t bytes)
{
    cudaError_t rc = cudaMemcpyAsync(dst, s->host, bytes, cudaMemcpyHostToDevice, c->stream);
    return rc == cudaSuccess ? cudaEventRecord(s->sent, c->stream) : rc;
}

static cudaError_t by_slot(struct mc_gpu *g, void *dst, const void *src, size_t bytes)
{
    struct mc_cuda_copies *c = g->copies;
    struct slot *s;
    cudaError_t rc = take_slot(c, &s);
    if (rc != cudaSuccess)
        return rc;
    memcpy(s->host, src, bytes);
    rc = cudaStreamWaitEvent(c->stream, s->used, 0);
    if (rc == cudaSuccess)
        rc = send(c, s, s->device, bytes);
    if (rc == cudaSuccess)
        rc = cudaStreamWaitEvent(g->stream, s->sent, 0);
    if (rc == cudaSuccess)
        rc = cudaMemcpyAsync(dst, s->device, bytes, cudaMemcpyDeviceToDevice, g->stream);
    return rc == cudaSuccess ? cudaEventRecord(s->used, g->stream) : rc;
}

static cudaError_t straight(struct mc_gpu *g, void *dst, const void *src, size_t bytes)
{
    struct mc_cuda_copies *c = g->copies;
    struct slot *s = NULL;
    cudaError_t rc = cudaEventRecord(c->worked, g->stream);
    if (rc == cudaSuccess)
        rc = cudaStreamWaitEvent(c->stream, c->worked, 0);
    for (size_t at = 0; at < bytes && rc == cudaSuccess; at += SLOT) {
        size_t n = bytes - at < SLOT ? bytes - at : (size_t)SLOT;
        rc = take_slot(c, &s);
        if (rc != cudaSuccess)
            break;
        memcpy(s->host, (const char *)src + at, n);
        rc = send(c, s, (char *)dst + at, n);
    }
    return rc == cudaSuccess ? cudaStreamWaitEvent(g->stream, s->sent, 0) : rc;
}

static int cannot_be_recorded(const struct mc_gpu *g, struct mc_err *err)
{
    return mc_fail(err, MC_EUNSUP, "GPU %d: copies from and to the host cannot be recorded",
                   g->number);
}

int mc_gpu_put(struct mc_gpu *g, void *dst, const void *src, size_t bytes, struct mc_err *err)
{
    cudaError_t rc = g->dead;
    if (g->recording)
        return cannot_be_recorded(g, err);
    if (rc == cudaSuccess && bytes)
        rc = bytes <= SMALL ? small(g, dst, src, bytes)
             : bytes <= SLOT && g->copies->slot[g->copies->next].device
                 ? by_slot(g, dst, src, bytes)
                 : straight(g, dst, src, bytes);
    return rc == cudaSuccess ? 0 : mc_cuda_fail(g, rc, "copying to it", err);
}

/* ---- from the device ---- */

/* Piece by piece: one comes while the one before is taken out of the staging memory. */
static cudaError_t fetch(struct mc_gpu *g, char *dst, const char *src, size_t bytes)
{
    struct mc_cuda_copies *c = g->copies;
    cudaError_t rc = cudaSuccess;
    size_t n_pieces = (bytes + BACK - 1) / BACK;
    for (size_t i = 0; i <= n_pieces && rc == cudaSuccess; i++) {
        size_t at = i * BACK, n = i + 1 < n_pieces ? (size_t)BACK : bytes - at;
        if (i < n_pieces) {
            rc = cudaMemcpyAsync(c->back[i % 2], src + at, n, cudaMemcpyDeviceToHost, g->stream);
            if (rc == cudaSuccess)
                rc = cudaEventRecord(c->came[i % 2], g->stream);
        }
        if (!i || rc != cudaSuccess)
            continue;
        rc = cudaEventSynchronize(c->came[(i - 1) % 2]);
        if (rc == cudaSuccess)
            memcpy(dst + at - BACK, c->back[(i - 1) % 2],
                   i < n_pieces ? (size_t)BACK : bytes - (at - BACK));
    }
    return rc;
}

int mc_gpu_get(struct mc_gpu *g, void *dst, const void *src, size_t bytes, struct mc_err *err)
{
    struct mc_cuda_copies *c = g->copies;
    cudaError_t rc = g->dead;
    bool one = bytes <= BACK;
    if (g->recording)
        return cannot_be_recorded(g, err);
    if (rc == cudaSuccess && bytes)
        rc = one ? cudaMemcpyAsync(c->back[0], src, bytes, cudaMemcpyDeviceToHost, g->stream)
             : mc_cuda_pinned(g, dst, bytes)
                 ? cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, g->stream)
                 : fetch(g, (char *)dst, (const char *)src, bytes);
    if (rc != cudaSuccess)
        return mc_cuda_fail(g, rc, "copying from it", err);
    int failed = mc_gpu_wait(g, err);
    if (!failed && one)
        memcpy(dst, c->back[0], bytes);
    return failed;
}

/* The fault comes with the last of the work: no call of its own that waits. */
cudaError_t mc_cuda_copies_wait(struct mc_gpu *g, int *ret_fault)
{
    struct mc_cuda_copies *c = g->copies;
    cudaError_t rc =
        cudaMemcpyAsync(c->fault, g->fault, sizeof *g->fault, cudaMemcpyDeviceToHost, g->stream);
    if (rc == cudaSuccess)
        rc = cudaStreamSynchronize(g->stream);
    *ret_fault = rc == cudaSuccess ? *c->fault : 0;
    return rc;
}
