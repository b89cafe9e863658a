#include "passes/couple/cut_tensor.h"

#include <stdlib.h>
#include <string.h>

/* Zeros of which no byte is touched. */
static int sizes_only(enum mc_dtype dtype, const struct mc_shape *shape, struct mc_tensor **ret,
                      struct mc_err *err)
{
    size_t bytes;
    struct mc_storage *s;
    if (!mc_dtype_bytes(dtype, mc_shape_count(shape), &bytes))
        return mc_tensor_new(dtype, shape, NULL, ret, NULL, err);
    void *data = mc_calloc(bytes, 1);
    if (!data)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_storage_foreign(data, bytes, free, data, &s, err);
    if (rc)
        return rc;
    rc = mc_tensor_view(dtype, shape, s, 0, ret, err);
    mc_storage_unref(s);
    return rc;
}

static int make(const struct mc_cutting *k, enum mc_dtype dtype, const struct mc_shape *shape,
                struct mc_tensor **ret, void **data, struct mc_err *err)
{
    *data = NULL;
    if (k->flags & MC_CUT_SIZES)
        return sizes_only(dtype, shape, ret, err);
    return mc_tensor_new(dtype, shape, k->m->spill, ret, data, err);
}

/* Elements [from, from + n) of src behind element `to` of dst, which is written in order. */
static void move(uint8_t *dst, int64_t to, const uint8_t *src, int64_t from, int64_t n, int bits)
{
    if (bits >= 8) {
        size_t size = (size_t)bits / 8;
        memcpy(dst + (size_t)to * size, src + (size_t)from * size, (size_t)n * size);
        return;
    }
    int64_t per = 8 / bits; /* packed, low bits first */
    unsigned mask = (1u << bits) - 1;
    for (int64_t i = 0; i < n; i++) {
        unsigned v = src[(from + i) / per] >> ((from + i) % per * bits) & mask;
        dst[(to + i) / per] |= (uint8_t)(v << ((to + i) % per * bits));
    }
}

struct copy {
    uint8_t *dst;
    const uint8_t *src;
    int bits, last; /* axes behind `last` are whole */
    int64_t to;
    int64_t step[MC_RANK_MAX]; /* elements of src from one position to the next */
    int64_t *const *index;
    const int64_t *kept;
};

static void copy_axis(struct copy *c, int d, int64_t from)
{
    const int64_t *index = c->index[d];
    for (int64_t i = 0; i < c->kept[d];) {
        int64_t at = index ? index[i] : i;
        if (d < c->last) {
            copy_axis(c, d + 1, from + at * c->step[d]);
            i++;
            continue;
        }
        int64_t run = 1; /* neighbours move together */
        while (i + run < c->kept[d] && (!index || index[i + run] == at + run))
            run++;
        move(c->dst, c->to, c->src, from + at * c->step[d], run * c->step[d], c->bits);
        c->to += run * c->step[d];
        i += run;
    }
}

int mc_cut_tensor(const struct mc_cutting *k, const struct mc_tensor *t, int64_t *const *index,
                  const int64_t *kept, struct mc_tensor **ret, struct mc_err *err)
{
    struct mc_shape shape = t->shape;
    struct copy c = {
        .src = t->data, .bits = mc_dtype_info(t->dtype)->bits, .index = index, .kept = kept};
    for (int d = 0; d < shape.rank; d++) {
        shape.dim[d] = kept[d];
        c.step[d] = mc_shape_span(&t->shape, d + 1, shape.rank);
        c.last = index[d] ? d : c.last;
    }
    void *data;
    int rc = make(k, t->dtype, &shape, ret, &data, err);
    if (rc || !data)
        return rc;
    c.dst = data;
    copy_axis(&c, 0, 0);
    mc_tensor_cool(t);
    return 0;
}

int mc_cut_tensor_grouped(const struct mc_cutting *k, const struct mc_tensor *t,
                          const int64_t *column, int64_t n, int64_t groups, struct mc_tensor **ret,
                          struct mc_err *err)
{
    struct mc_shape shape = t->shape;
    shape.dim[1] = n;
    void *data;
    int rc = make(k, t->dtype, &shape, ret, &data, err);
    if (rc || !data)
        return rc;
    int bits = mc_dtype_info(t->dtype)->bits;
    int64_t inner = mc_shape_span(&shape, 2, shape.rank), rows = shape.dim[0] / groups, to = 0;
    for (int64_t r = 0; r < shape.dim[0]; r++)
        for (int64_t i = 0; i < n; i++, to += inner)
            move(data, to, t->data, (r * t->shape.dim[1] + column[r / rows * n + i]) * inner, inner,
                 bits);
    mc_tensor_cool(t);
    return 0;
}
