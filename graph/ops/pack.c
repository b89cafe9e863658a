#include "graph/ops/pack.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/gpu.h"

struct entry {
    struct entry *next;
    const void *data;
    int n;
    int64_t layout[MC_PACK_LAYOUT];
    size_t bytes;
    void *block;
};

enum { BUCKETS = 256 };

struct mc_pack_cache {
    struct entry *bucket[BUCKETS]; /* by constant, so that forgetting one looks at one chain */
    size_t bytes;
    struct mc_gpu *gpu; /* NULL: in host memory */
};

static struct entry **bucket_of(struct mc_pack_cache *c, const void *data)
{
    /* Fibonacci hashing: the high bits of the product mix all bits of the address. */
    return &c->bucket[((uint64_t)(uintptr_t)data * 0x9e3779b97f4a7c15u) >> 56];
}

int mc_pack_cache_new(struct mc_pack_cache **ret, struct mc_err *err)
{
    struct mc_pack_cache *c = mc_calloc(1, sizeof *c);
    if (!c)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    *ret = c;
    return 0;
}

int mc_pack_cache_new_gpu(struct mc_gpu *gpu, struct mc_pack_cache **ret, struct mc_err *err)
{
    int rc = mc_pack_cache_new(ret, err);
    if (!rc)
        (*ret)->gpu = gpu;
    return rc;
}

static void entry_free(struct mc_pack_cache *c, struct entry *e)
{
    c->bytes -= e->bytes;
    if (c->gpu)
        mc_gpu_free(c->gpu, e->block);
    else
        free(e->block);
    free(e);
}

void mc_pack_cache_free(struct mc_pack_cache *c)
{
    if (!c)
        return;
    for (int i = 0; i < BUCKETS; i++)
        while (c->bucket[i]) {
            struct entry *e = c->bucket[i];
            c->bucket[i] = e->next;
            entry_free(c, e);
        }
    free(c);
}

int mc_pack_get(struct mc_pack_cache *c, const void *data, const int64_t *layout, int n,
                size_t bytes, void **ret_block, bool *ret_fresh, struct mc_err *err)
{
    assert(n >= 0 && n <= MC_PACK_LAYOUT);
    struct entry **head = bucket_of(c, data);
    size_t layout_bytes = (size_t)n * sizeof *layout;
    for (struct entry *e = *head; e; e = e->next)
        if (e->data == data && e->n == n && !memcmp(e->layout, layout, layout_bytes)) {
            assert(e->bytes == bytes);
            *ret_block = e->block;
            *ret_fresh = false;
            return 0;
        }
    struct entry *e = mc_calloc(1, sizeof *e);
    void *block = e && !c->gpu ? mc_alloc_aligned(bytes) : NULL;
    int rc = e && (block || c->gpu)
                 ? 0
                 : mc_fail(err, MC_ENOMEM, "out of memory: %zu bytes for packed weights", bytes);
    if (!rc && c->gpu)
        rc = mc_gpu_alloc(c->gpu, bytes, &block, err);
    if (rc) {
        free(e);
        return rc;
    }
    *e = (struct entry){*head, data, n, {0}, bytes, block};
    memcpy(e->layout, layout, layout_bytes);
    *head = e;
    c->bytes += bytes;
    *ret_block = block;
    *ret_fresh = true;
    return 0;
}

void mc_pack_forget(struct mc_pack_cache *c, const void *data)
{
    for (struct entry **p = bucket_of(c, data); *p;) {
        struct entry *e = *p;
        if (e->data == data) {
            *p = e->next;
            entry_free(c, e);
        } else {
            p = &e->next;
        }
    }
}

size_t mc_pack_bytes(const struct mc_pack_cache *c)
{
    return c->bytes;
}
