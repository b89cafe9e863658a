#include "graph/tensor.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

struct mc_storage {
    atomic_int refs;
    void *data;
    size_t bytes;
    struct mc_spill *spill; /* data lies there, or */
    void (*release)(void *owner);
    void *owner;
    struct mc_map map; /* data lies there if it has a size */
};

static struct mc_storage *storage_new(void)
{
    struct mc_storage *s = calloc(1, sizeof *s);
    if (s)
        atomic_init(&s->refs, 1);
    return s;
}

int mc_storage_heap(size_t bytes, struct mc_storage **ret, struct mc_err *err)
{
    struct mc_storage *s = storage_new();
    void *data = s ? mc_alloc_aligned(bytes) : NULL;
    if (!data) {
        free(s);
        return mc_fail(err, MC_ENOMEM, "out of memory for a tensor of %zu bytes", bytes);
    }
    memset(data, 0, bytes);
    s->data = s->owner = data;
    s->bytes = bytes;
    s->release = free;
    *ret = s;
    return 0;
}

int mc_storage_spill(struct mc_spill *spill, size_t bytes, struct mc_storage **ret,
                     struct mc_err *err)
{
    struct mc_storage *s = storage_new();
    if (!s)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_spill_alloc(spill, bytes, &s->data, err);
    if (rc) {
        free(s);
        return rc;
    }
    s->bytes = bytes;
    s->spill = spill;
    *ret = s;
    return 0;
}

int mc_storage_foreign(const void *data, size_t bytes, void (*release)(void *owner), void *owner,
                       struct mc_storage **ret, struct mc_err *err)
{
    struct mc_storage *s = storage_new();
    if (!s) {
        if (release)
            release(owner);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    s->data = (void *)data;
    s->bytes = bytes;
    s->release = release;
    s->owner = owner;
    *ret = s;
    return 0;
}

int mc_storage_map(const struct mc_map *map, struct mc_storage **ret, struct mc_err *err)
{
    struct mc_map taken = *map;
    struct mc_storage *s = storage_new();
    if (!s) {
        mc_map_close(&taken);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    s->data = (void *)taken.data;
    s->bytes = taken.size;
    s->map = taken;
    *ret = s;
    return 0;
}

struct mc_storage *mc_storage_ref(struct mc_storage *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void mc_storage_unref(struct mc_storage *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (s->spill)
        mc_spill_release(s->spill, s->data, s->bytes);
    else if (s->release)
        s->release(s->owner);
    mc_map_close(&s->map);
    free(s);
}

void *mc_storage_data(const struct mc_storage *s)
{
    return s->data;
}

size_t mc_storage_bytes(const struct mc_storage *s)
{
    return s->bytes;
}

/* Bytes of a tensor, or the reason why it cannot exist. */
static int tensor_bytes(enum mc_dtype dtype, const struct mc_shape *shape, size_t *ret,
                        struct mc_err *err)
{
    char text[MC_SHAPE_TEXT];
    if (shape->rank < 0 || shape->rank > MC_RANK_MAX)
        return mc_fail(err, MC_ESHAPE, "tensor of rank %d; at most %d are supported", shape->rank,
                       MC_RANK_MAX);
    int64_t n = mc_shape_count(shape);
    if (n < 0)
        return mc_fail(err, MC_ESHAPE, "tensor shape %s is unknown or overflows",
                       mc_shape_text(shape, text));
    if (!mc_dtype_info(dtype)->bits)
        return mc_fail(err, MC_EDTYPE, "tensor type '%s' (%d) has no fixed size",
                       mc_dtype_name(dtype), (int)dtype);
    if (!mc_dtype_bytes(dtype, n, ret))
        return mc_fail(err, MC_ESHAPE, "tensor shape %s overflows", mc_shape_text(shape, text));
    return 0;
}

/* Takes over the caller's reference to storage. */
static int tensor_make(enum mc_dtype dtype, const struct mc_shape *shape,
                       struct mc_storage *storage, size_t offset, size_t bytes,
                       struct mc_tensor **ret, struct mc_err *err)
{
    struct mc_tensor *t = calloc(1, sizeof *t);
    if (!t) {
        mc_storage_unref(storage);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    atomic_init(&t->refs, 1);
    t->dtype = dtype;
    t->shape = *shape;
    t->storage = storage;
    t->data = storage ? (const uint8_t *)storage->data + offset : NULL;
    t->bytes = bytes;
    *ret = t;
    return 0;
}

int mc_tensor_new(enum mc_dtype dtype, const struct mc_shape *shape, struct mc_spill *spill,
                  struct mc_tensor **ret, void **ret_data, struct mc_err *err)
{
    size_t bytes = 0;
    int rc = tensor_bytes(dtype, shape, &bytes, err);
    if (rc)
        return rc;
    struct mc_storage *s = NULL;
    if (spill && bytes >= MC_SPILL_FROM)
        rc = mc_storage_spill(spill, bytes, &s, err);
    else
        rc = mc_storage_heap(bytes, &s, err);
    if (!rc)
        rc = tensor_make(dtype, shape, s, 0, bytes, ret, err);
    if (!rc && ret_data)
        *ret_data = s->data;
    return rc;
}

int mc_tensor_view(enum mc_dtype dtype, const struct mc_shape *shape, struct mc_storage *storage,
                   size_t offset, struct mc_tensor **ret, struct mc_err *err)
{
    size_t bytes = 0, end;
    int rc = tensor_bytes(dtype, shape, &bytes, err);
    if (rc == MC_EDTYPE && !storage)
        return tensor_make(dtype, shape, NULL, 0, 0, ret, err);
    if (rc == MC_EDTYPE && dtype != MC_DTYPE_STRING && offset <= storage->bytes)
        return tensor_make(dtype, shape, mc_storage_ref(storage), offset, storage->bytes - offset,
                           ret, err);
    if (rc)
        return rc;
    if (!storage || !mc_size_add(offset, bytes, &end) || end > storage->bytes) {
        char text[MC_SHAPE_TEXT];
        return mc_fail(err, MC_EFORMAT, "%s tensor %s needs %zu bytes, only %zu are there",
                       mc_dtype_name(dtype), mc_shape_text(shape, text), bytes,
                       storage && storage->bytes > offset ? storage->bytes - offset : (size_t)0);
    }
    return tensor_make(dtype, shape, mc_storage_ref(storage), offset, bytes, ret, err);
}

struct pages {
    void *data;
    size_t bytes;
};

static void unmap(void *owner)
{
    struct pages *p = owner;
    munmap(p->data, p->bytes);
    free(p);
}

int mc_tensor_blank(enum mc_dtype dtype, const struct mc_shape *shape, struct mc_tensor **ret,
                    struct mc_err *err)
{
    size_t bytes;
    if (!mc_dtype_bytes(dtype, mc_shape_count(shape), &bytes))
        return mc_fail(err, MC_ESHAPE, "a tensor of shape %s is too large",
                       mc_shape_text(shape, (char[MC_SHAPE_TEXT]){0}));
    struct pages *p = malloc(sizeof *p);
    void *data = mmap(NULL, bytes ? bytes : 1, PROT_READ,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!p || data == MAP_FAILED) {
        if (data != MAP_FAILED)
            munmap(data, bytes ? bytes : 1);
        free(p);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *p = (struct pages){data, bytes ? bytes : 1};
    struct mc_storage *s;
    int rc = mc_storage_foreign(data, bytes, unmap, p, &s, err);
    if (rc)
        return rc;
    rc = mc_tensor_view(dtype, shape, s, 0, ret, err);
    mc_storage_unref(s);
    return rc;
}

int mc_tensor_set_extra(struct mc_tensor *t, const void *data, size_t bytes, struct mc_err *err)
{
    uint8_t *copy = NULL;
    if (bytes) {
        copy = malloc(bytes);
        if (!copy)
            return mc_fail(err, MC_ENOMEM, "out of memory");
        memcpy(copy, data, bytes);
    }
    free((void *)t->extra.data);
    t->extra = (struct mc_bytes){copy, bytes};
    return 0;
}

struct mc_tensor *mc_tensor_ref(const struct mc_tensor *t)
{
    struct mc_tensor *mine = (struct mc_tensor *)t;
    atomic_fetch_add_explicit(&mine->refs, 1, memory_order_relaxed);
    return mine;
}

void mc_tensor_unref(struct mc_tensor *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    mc_storage_unref(t->storage);
    free((void *)t->extra.data);
    free(t);
}

int64_t mc_tensor_count(const struct mc_tensor *t)
{
    return mc_shape_count(&t->shape);
}

void mc_tensor_cool(const struct mc_tensor *t)
{
    const struct mc_storage *s = t->storage;
    if (s && s->map.size && t->bytes)
        mc_map_cool(&s->map, (size_t)(t->data - s->map.data), t->bytes);
}
