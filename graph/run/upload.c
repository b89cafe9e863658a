/* Constants in the memory of a GPU. */
#include <stdlib.h>

#include "base/mem.h"
#include "graph/ops/pack.h"
#include "graph/run/plan.h"
#include "kernels/gpu.h"

/* Small constants (biases, scales, tables) share pieces of memory: a piece of the device is 512 bytes at least, and
 * asking for one takes longer than filling it. */
enum { SMALL = 1 << 14, CHUNK = 1 << 18, ALIGN = 256 };

struct mc_upload {
    struct mc_upload *next;
    const void *host;
    size_t bytes;
    void *device;
    bool own; /* not in a chunk */
};

struct mc_upload_chunk {
    struct mc_upload_chunk *next;
    char *device;
    size_t used;
};

static struct mc_upload *find(const struct mc_uploads *u, const void *host, size_t bytes)
{
    struct mc_upload *e = u->first;
    while (e && (e->host != host || e->bytes != bytes))
        e = e->next;
    return e;
}

static int new_chunk(struct mc_session *s, struct mc_uploads *u, struct mc_err *err)
{
    struct mc_upload_chunk *k = mc_calloc(1, sizeof *k);
    void *device;
    if (!k)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_gpu_alloc(s->gpu.gpu, CHUNK, &device, err);
    if (rc) {
        free(k);
        return rc;
    }
    k->device = device;
    k->next = u->chunks;
    u->chunks = k;
    u->bytes += CHUNK;
    return 0;
}

static int place(struct mc_session *s, struct mc_uploads *u, struct mc_upload *e,
                 struct mc_err *err)
{
    int rc = 0;
    if (e->bytes > SMALL) {
        e->own = true;
        rc = mc_gpu_alloc(s->gpu.gpu, e->bytes, &e->device, err);
        u->bytes += rc ? 0 : e->bytes;
        return rc;
    }
    size_t padded = (e->bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!u->chunks || CHUNK - u->chunks->used < padded)
        rc = new_chunk(s, u, err);
    if (rc)
        return rc;
    e->device = u->chunks->device + u->chunks->used;
    u->chunks->used += padded;
    return 0;
}

int mc_upload(struct mc_session *s, struct mc_uploads *u, const struct mc_uploads *also,
              const void *host, size_t bytes, void **ret, struct mc_err *err)
{
    struct mc_upload *e = find(u, host, bytes);
    e = e || !also ? e : find(also, host, bytes);
    if (e) {
        *ret = e->device;
        return 0;
    }
    e = mc_calloc(1, sizeof *e);
    if (!e)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    *e = (struct mc_upload){.host = host, .bytes = bytes};
    int rc = place(s, u, e, err);
    if (rc) {
        free(e);
        return rc;
    }
    e->next = u->first;
    u->first = e;
    *ret = e->device;
    return mc_gpu_put(s->gpu.gpu, e->device, host, bytes, err);
}

void mc_uploads_free(struct mc_session *s, struct mc_uploads *u)
{
    while (u->first) {
        struct mc_upload *e = u->first;
        u->first = e->next;
        if (s->gpu.packs)
            mc_pack_forget(s->gpu.packs, e->device);
        if (e->own)
            mc_gpu_free(s->gpu.gpu, e->device);
        free(e);
    }
    while (u->chunks) {
        struct mc_upload_chunk *k = u->chunks;
        u->chunks = k->next;
        mc_gpu_free(s->gpu.gpu, k->device);
        free(k);
    }
    u->bytes = 0;
}
