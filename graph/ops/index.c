#include "graph/ops/index.h"

#include <string.h>

#include "graph/ops/helper.h"
#include "kernels/typed_list.h"

int mc_index_at(const struct mc_call *c, const struct mc_buf *b, int64_t i, int64_t size,
                int64_t *ret, struct mc_err *err)
{
    int64_t v =
        b->dtype == MC_DTYPE_I32 ? ((const int32_t *)b->data)[i] : ((const int64_t *)b->data)[i];
    *ret = v < 0 ? v + size : v;
    if (*ret < 0 || *ret >= size)
        return mc_op_fail(err, MC_EDATA, c->node, "index %lld is outside %lld elements",
                          (long long)v, (long long)size);
    return 0;
}

int mc_index_places(const struct mc_call *c, const struct mc_buf *b, struct mc_places *p,
                    struct mc_err *err)
{
    p->index = b->data;
    p->index_bytes = mc_op_elem_bytes(b->dtype);
    int64_t bad = c->k->places.find(p), ignored;
    return bad < 0 ? 0 : mc_index_at(c, b, bad, p->size[bad % p->depth], &ignored, err);
}

static const uint64_t TOP = 1ull << 63;

/* Bits of an IEEE number, with the sign bit at the top, to an order of unsigned numbers. */
static uint64_t float_key(uint64_t bits, bool nan)
{
    if (nan)
        return UINT64_MAX;
    if (bits == TOP)
        bits = 0;
    return bits & TOP ? ~bits : bits | TOP;
}

static uint64_t f32_key(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return float_key((uint64_t)bits << 32, x != x);
}

static uint64_t f64_key(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return float_key(bits, x != x);
}

void mc_index_keys(enum mc_dtype dtype, const void *x, int64_t stride, int64_t n, uint64_t *key)
{
    switch (mc_op_elem(dtype)) {
#define CASE(type, name, least, most)                                                              \
    case MC_ELEM_##name:                                                                           \
        for (int64_t i = 0; i < n; i++)                                                            \
            key[i] = (uint64_t)((const type *)x)[i * stride] ^ (least < 0 ? TOP : 0);              \
        break;
        INTEGERS(CASE)
#undef CASE
    case MC_ELEM_F32:
        for (int64_t i = 0; i < n; i++)
            key[i] = f32_key(((const float *)x)[i * stride]);
        break;
    case MC_ELEM_F64:
        for (int64_t i = 0; i < n; i++)
            key[i] = f64_key(((const double *)x)[i * stride]);
        break;
    case MC_ELEM_COUNT: break;
    }
}

/* Half types are float32 when a node runs. */
bool mc_index_orders(enum mc_dtype dtype)
{
    return mc_op_elem(dtype) != MC_ELEM_COUNT || dtype == MC_DTYPE_F16 || dtype == MC_DTYPE_BF16;
}

int mc_index_need_order(const struct mc_infer_ctx *c, int i, struct mc_err *err)
{
    const struct mc_vtype *x = mc_op_in(c, i);
    if (!x || !x->dtype || mc_index_orders(x->dtype))
        return 0;
    return mc_op_fail(err, MC_EUNSUP, c->node, "elements of type %s have no order that is known",
                      mc_dtype_name((int)x->dtype));
}
