#include "passes/fit/layer_rows.h"

#include <string.h>

#include "graph/constant.h"
#include "graph/ops/window.h"

enum { ROWS_PER_DIM = 16, ROWS_AT_LEAST = 16384 };

static int find_window(const struct mc_cov *c, const struct mc_array *a, struct mc_rows *r,
                       struct mc_err *err)
{
    const struct mc_shape *k = &mc_constant(c->node->in[1])->shape;
    int rc = mc_window_infer(c->node, &a->shape, k->dim + 2, &r->w, err);
    if (rc)
        return rc;
    r->patches = true;
    r->channels = a->shape.dim[1];
    r->taken = c->parts ? k->dim[1] : r->channels;
    r->part = c->part;
    if (r->taken * (c->parts ? c->parts : 1) != r->channels)
        return mc_fail(err, MC_ESHAPE, "%s '%s': the shape of '%s' does not fit its weight",
                       c->node->op_type, mc_node_label(c->node), a->name);
    r->total = a->shape.dim[0] * r->w.out[0] * r->w.out[1] * r->w.out[2];
    return 0;
}

/* [.., n, inner], or states [steps, parts, inner, n] ([inner, steps, parts, n] batch first). */
static int find_order(const struct mc_cov *c, const struct mc_array *a, struct mc_rows *r,
                      struct mc_err *err)
{
    int rank = a->shape.rank;
    bool fits = rank >= (c->parts ? 4 : 1);
    r->columns = c->columns;
    r->part = c->part;
    r->parts = c->parts;
    r->inner = 1;
    if (fits && c->columns) {
        r->inner = rank > 1 ? a->shape.dim[rank - 1] : 1;
        fits = a->shape.dim[rank > 1 ? rank - 2 : 0] == c->n;
    } else if (fits && c->parts) {
        bool batch_first = mc_node_int(c->node, "layout", 0) != 0;
        r->inner = batch_first ? 1 : a->shape.dim[2];
        fits = a->shape.dim[batch_first ? 2 : 1] == c->parts;
        r->total /= c->parts;
    }
    return fits ? 0
                : mc_fail(err, MC_ESHAPE, "%s '%s': the shape of '%s' does not fit its weight",
                          c->node->op_type, mc_node_label(c->node), a->name);
}

/* [samples, n, positions], whatever the axes are. */
static int find_channels(const struct mc_cov *c, const struct mc_array *a, struct mc_rows *r,
                         struct mc_err *err)
{
    int64_t samples = a->shape.rank > 0 ? a->shape.dim[0] : 0, count = mc_shape_count(&a->shape);
    if (samples < 1 || count % (samples * c->n))
        return mc_fail(err, MC_ESHAPE, "%s '%s': the shape of '%s' does not fit its weight",
                       c->node->op_type, mc_node_label(c->node), a->name);
    r->columns = true;
    r->inner = count / samples / c->n;
    return 0;
}

int mc_rows_find(const struct mc_cov *c, const struct mc_array *a, int64_t samples,
                 struct mc_rows *r, struct mc_err *err)
{
    int64_t count = mc_shape_count(&a->shape);
    *r = (struct mc_rows){.x = a->data, .n = c->n, .total = count / c->n};
    int rc = c->channels                   ? find_channels(c, a, r, err)
             : mc_node_is(c->node, "Conv") ? find_window(c, a, r, err)
             : c->columns || c->parts      ? find_order(c, a, r, err)
                                           : 0;
    r->each = r->total % samples == 0 ? r->total / samples : 0;
    if (!rc && a->dtype != MC_DTYPE_F32) {
        r->own = mc_calloc((size_t)count, sizeof *r->own);
        r->x = r->own;
        rc = r->own ? mc_dtype_to_f32(a->dtype, a->data, r->own, (size_t)count, err)
                    : mc_fail(err, MC_ENOMEM, "out of memory for rows");
    }
    return rc;
}

/* Patch number `at` in the order of W's columns: channel, then the window's axes. Outside is 0. */
static void patch(const struct mc_rows *r, int64_t at, float *dst)
{
    const struct mc_window_dims *w = &r->w;
    int64_t o[3], sample = at;
    for (int d = 2; d >= 0; d--) {
        o[d] = sample % w->out[d] * w->stride[d] - w->pad[d];
        sample /= w->out[d];
    }
    const float *x =
        r->x + (sample * r->channels + r->part * r->taken) * w->in[0] * w->in[1] * w->in[2];
    for (int64_t c = 0; c < r->taken; c++, x += w->in[0] * w->in[1] * w->in[2])
        for (int64_t kz = 0; kz < w->kernel[0]; kz++)
            for (int64_t ky = 0; ky < w->kernel[1]; ky++) {
                int64_t iz = o[0] + kz * w->dilation[0], iy = o[1] + ky * w->dilation[1];
                bool inside = iz >= 0 && iz < w->in[0] && iy >= 0 && iy < w->in[1];
                for (int64_t kx = 0; kx < w->kernel[2]; kx++) {
                    int64_t ix = o[2] + kx * w->dilation[2];
                    *dst++ = inside && ix >= 0 && ix < w->in[2]
                                 ? x[(iz * w->in[1] + iy) * w->in[2] + ix]
                                 : 0;
                }
            }
}

void mc_rows_get(const struct mc_rows *r, int64_t at, float *dst)
{
    if (r->patches) {
        patch(r, at, dst);
        return;
    }
    if (r->columns) {
        const float *x = r->x + at / r->inner * r->n * r->inner + at % r->inner;
        for (int64_t j = 0; j < r->n; j++)
            dst[j] = x[j * r->inner];
        return;
    }
    if (r->parts)
        at = (at / r->inner * r->parts + r->part) * r->inner + at % r->inner;
    memcpy(dst, r->x + at * r->n, (size_t)r->n * sizeof *dst);
}

int64_t mc_rows_spread(int64_t each, int64_t take, int64_t j, int64_t s)
{
    enum { STEP = 7919 }; /* a prime: in step with no image size */
    return take == each ? j : (j * each / take + s * STEP) % each;
}

int64_t mc_rows_take(const struct mc_rows *r, int64_t samples)
{
    int64_t most = ROWS_PER_DIM * r->n > ROWS_AT_LEAST ? ROWS_PER_DIM * r->n : ROWS_AT_LEAST;
    int64_t per = most / samples + 1, each = r->each ? r->each : r->total;
    return each < per ? each : per;
}
