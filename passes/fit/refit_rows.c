#include "passes/fit/refit_rows.h"

#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for rows");
}

static int misfit(const struct mc_refit *f, const struct mc_array *a, struct mc_err *err)
{
    return mc_fail(err, MC_ESHAPE, "%s '%s': the shape of '%s' does not fit its weight",
                   f->node->op_type, mc_node_label(f->node), a->name);
}

static int as_f32(const struct mc_array *a, struct mc_rows *r, struct mc_err *err)
{
    int64_t count = mc_shape_count(&a->shape);
    if (a->dtype == MC_DTYPE_F32)
        return 0;
    r->own = mc_calloc((size_t)count + 1, sizeof *r->own);
    r->x = r->own;
    return r->own ? mc_dtype_to_f32(a->dtype, a->data, r->own, (size_t)count, err) : no_memory(err);
}

static int rows_back(const struct mc_refit *f, const struct mc_array *t, int64_t samples,
                     struct mc_rows *r, struct mc_err *err)
{
    *r = (struct mc_rows){.x = t->data, .n = f->n, .patches = true};
    int rc =
        mc_window_transposed(f->node, &t->shape, mc_constant(f->weight)->shape.dim + 2, &r->w, err);
    if (rc)
        return rc;
    r->channels = t->shape.dim[1];
    r->taken = f->n / f->taps;
    if (r->taken * f->groups != r->channels)
        return misfit(f, t, err);
    r->total = t->shape.dim[0] * r->w.out[0] * r->w.out[1] * r->w.out[2];
    r->each = r->total % samples == 0 ? r->total / samples : 0;
    return as_f32(t, r, err);
}

int mc_refit_rows_in(const struct mc_refit *f, const struct mc_array *t, int64_t samples,
                     struct mc_refit_rows *ret, struct mc_err *err)
{
    ret->back = mc_node_is(f->node, "ConvTranspose");
    if (ret->back)
        return rows_back(f, t, samples, &ret->r, err);
    struct mc_cov of = {.node = f->node,
                        .n = f->n,
                        .columns = f->columns,
                        .parts = f->groups > 1 ? (int)f->groups : 0};
    return mc_rows_find(&of, t, samples, &ret->r, err);
}

int mc_refit_rows_out(const struct mc_refit *f, const struct mc_array *y, int64_t total,
                      struct mc_rows *r, struct mc_err *err)
{
    int64_t count = mc_shape_count(&y->shape), m = f->groups * f->m, rank = y->shape.rank;
    *r = (struct mc_rows){.x = y->data, .n = m, .total = count / m, .inner = 1};
    if (mc_node_is(f->node, "Conv") || mc_node_is(f->node, "ConvTranspose")) {
        r->columns = true;
        r->inner = count && rank > 1 ? count / (y->shape.dim[0] * m) : 1;
    } else if (f->columns) {
        r->columns = true;
        r->inner = rank > 1 ? y->shape.dim[rank - 1] : 1;
    }
    if (r->total != total || count % m)
        return misfit(f, y, err);
    return as_f32(y, r, err);
}

/* What output position `at` of a transposed convolution sums over: x where a tap reaches it, 0 elsewhere. */
static void reached(const struct mc_rows *r, int64_t at, float *dst)
{
    const struct mc_window_dims *w = &r->w;
    int64_t o[3], sample = at, size = w->in[0] * w->in[1] * w->in[2];
    for (int d = 2; d >= 0; d--) {
        o[d] = sample % w->out[d] + w->pad[d];
        sample /= w->out[d];
    }
    const float *x = r->x + (sample * r->channels + r->part * r->taken) * size;
    for (int64_t c = 0; c < r->taken; c++, x += size)
        for (int64_t kz = 0; kz < w->kernel[0]; kz++)
            for (int64_t ky = 0; ky < w->kernel[1]; ky++)
                for (int64_t kx = 0; kx < w->kernel[2]; kx++) {
                    const int64_t k[3] = {kz, ky, kx};
                    int64_t i[3];
                    bool hit = true;
                    for (int d = 0; d < 3; d++) {
                        int64_t far = o[d] - k[d] * w->dilation[d];
                        i[d] = far / w->stride[d];
                        hit = hit && far >= 0 && far % w->stride[d] == 0 && i[d] < w->in[d];
                    }
                    *dst++ = hit ? x[(i[0] * w->in[1] + i[1]) * w->in[2] + i[2]] : 0;
                }
}

void mc_refit_rows_get(struct mc_refit_rows *r, int64_t group, int64_t at, float *dst)
{
    r->r.part = (int)group;
    if (r->back)
        reached(&r->r, at, dst);
    else
        mc_rows_get(&r->r, at, dst);
}

void mc_refit_rows_result(const struct mc_refit *f, const struct mc_rows *r, int64_t group,
                          int64_t at, float *dst)
{
    const float *x =
        r->x + at / r->inner * r->n * r->inner + at % r->inner + group * f->m * r->inner;
    for (int64_t i = 0; i < f->m; i++)
        dst[i] = x[i * r->inner];
}
