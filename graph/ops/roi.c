/* RoiAlign and MaxRoiPool: regions of images pooled to one size. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"

enum { MOST = 1 << 15 }; /* outputs along a dimension, and samples of one: more is a mistake */

/* ---- RoiAlign ---- */

struct align {
    bool max, half_pixel;
    int64_t out[2], samples; /* height, width; samples 0: as many as elements are in a bin */
    double scale;
};

static int parse_align(const struct mc_node *n, struct align *a, struct mc_err *err)
{
    const char *mode = mc_node_string(n, "mode", "avg");
    const char *how = mc_node_string(n, "coordinate_transformation_mode",
                                     n->version >= 16 ? "half_pixel" : "output_half_pixel");
    *a = (struct align){
        .max = !strcmp(mode, "max"),
        .half_pixel = !strcmp(how, "half_pixel"),
        .out = {mc_node_int(n, "output_height", 1), mc_node_int(n, "output_width", 1)},
        .samples = mc_node_int(n, "sampling_ratio", 0),
        .scale = (double)mc_node_float(n, "spatial_scale", 1)};
    if (!a->max && strcmp(mode, "avg") != 0)
        return mc_op_fail(err, MC_EUNSUP, n, "mode '%s' is not known", mode);
    if (!a->half_pixel && strcmp(how, "output_half_pixel") != 0)
        return mc_op_fail(err, MC_EUNSUP, n, "coordinate_transformation_mode '%s' is not known",
                          how);
    for (int d = 0; d < 2; d++)
        if (a->out[d] < 1 || a->out[d] > MOST)
            return mc_op_fail(err, MC_ESHAPE, n, "output of %lld, must be 1 to %d",
                              (long long)a->out[d], MOST);
    if (a->samples < 0 || a->samples > MOST)
        return mc_op_fail(err, MC_ESHAPE, n, "sampling_ratio %lld, must be 0 to %d",
                          (long long)a->samples, MOST);
    return 0;
}

/* Images [n, c, h, w] and regions [r, width] to [r, c, out…]. */
static int give_regions(struct mc_infer_ctx *c, int64_t width, const int64_t out[2],
                        struct mc_err *err)
{
    const struct mc_vtype *x = c->in[0], *rois = c->in[1];
    int rc = mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 1, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 4, 4, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 2, 2, err);
    int64_t count = MC_DIM_ANY;
    if (!rc && rois->ranked) {
        count = rois->shape.dim[0];
        rc = mc_op_need_dim(c->node, "values of a region", rois->shape.dim[1], width, &width, err);
    }
    struct mc_shape y = {4, {count, x->ranked ? x->shape.dim[1] : MC_DIM_ANY, out[0], out[1]}};
    if (!rc && x->ranked && (x->shape.dim[2] == 0 || x->shape.dim[3] == 0))
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "the images have no elements");
    if (!rc)
        mc_op_give(c, 0, x->dtype, &y);
    return rc;
}

static int align_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct align a;
    int rc = mc_op_arity(c, 3, 3, err);
    rc = rc ? rc : parse_align(c->node, &a, err);
    rc = rc ? rc : mc_op_need_index(c, 2, err);
    rc = rc ? rc : mc_op_need_rank(c, 2, 1, 1, err);
    rc = rc ? rc : give_regions(c, 4, a.out, err);
    const struct mc_vtype *rois = c->in[1], *batch = c->in[2];
    int64_t same;
    if (!rc && rois->ranked && batch->ranked)
        rc =
            mc_op_need_dim(c->node, "regions", rois->shape.dim[0], batch->shape.dim[0], &same, err);
    return rc;
}

struct tap { /* one sample along one dimension */
    int64_t low, high;
    double w_low, w_high; /* both 0: outside */
};

struct region { /* ready to be pooled */
    const struct mc_call *c;
    const struct align *a;
    int64_t image, index, grid[2]; /* samples of a bin */
    struct tap *tap[2];            /* [out, grid] */
};

static struct tap tap_at(double at, int64_t n)
{
    if (!(at >= -1 && at <= (double)n))
        return (struct tap){0};
    at = at < 0 ? 0 : at;
    int64_t low = (int64_t)at;
    if (low >= n - 1)
        return (struct tap){n - 1, n - 1, 1, 0};
    return (struct tap){low, low + 1, 1 - (at - (double)low), at - (double)low};
}

/* The samples of a region along dimension d (0: height). */
static int make_taps(struct region *r, int d, int64_t size, struct mc_err *err)
{
    const struct mc_buf *rois = &r->c->in[1];
    const struct align *a = r->a;
    double offset = a->half_pixel ? 0.5 : 0;
    double start = mc_buf_param(rois, r->index * 4 + 1 - d) * a->scale - offset;
    double extent = mc_buf_param(rois, r->index * 4 + 3 - d) * a->scale - offset - start;
    if (!a->half_pixel && extent < 1)
        extent = 1;
    double bin = extent / (double)a->out[d], grid = a->samples ? (double)a->samples : ceil(bin);
    if (!(fabs(start) < 1e9 && fabs(extent) < 1e9 && grid <= MOST))
        return mc_op_fail(err, MC_EDATA, r->c->node, "region %lld has no sensible size",
                          (long long)r->index);
    r->grid[d] = grid > 0 ? (int64_t)grid : 0;
    int64_t n = a->out[d] * r->grid[d];
    r->tap[d] = mc_calloc((size_t)n + 1, sizeof *r->tap[d]);
    if (!r->tap[d])
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (int64_t i = 0; i < n; i++) {
        double in_bin = ((double)(i % r->grid[d]) + 0.5) / grid;
        r->tap[d][i] = tap_at(start + ((double)(i / r->grid[d]) + in_bin) * bin, size);
    }
    return 0;
}

static double align_bin(const struct region *r, int64_t plane, int64_t ph, int64_t pw)
{
    const struct mc_buf *x = &r->c->in[0];
    int64_t w = x->shape.dim[3], at = plane * x->shape.dim[2] * w;
    double sum = 0, top = -INFINITY;
    for (int64_t iy = 0; iy < r->grid[0]; iy++)
        for (int64_t ix = 0; ix < r->grid[1]; ix++) {
            const struct tap *v = &r->tap[0][ph * r->grid[0] + iy];
            const struct tap *u = &r->tap[1][pw * r->grid[1] + ix];
            double ll = v->w_low * u->w_low * mc_buf_param(x, at + v->low * w + u->low);
            double lh = v->w_low * u->w_high * mc_buf_param(x, at + v->low * w + u->high);
            double hl = v->w_high * u->w_low * mc_buf_param(x, at + v->high * w + u->low);
            double hh = v->w_high * u->w_high * mc_buf_param(x, at + v->high * w + u->high);
            sum += ll + lh + hl + hh;
            /* Of the four parts, not of what is between them: so it is defined. */
            top = fmax(fmax(fmax(fmax(top, ll), lh), hl), hh);
        }
    int64_t count = r->grid[0] * r->grid[1];
    if (count == 0)
        return 0;
    return r->a->max ? top : sum / (double)count;
}

static void align_channel(void *ctx, int64_t channel, int worker)
{
    (void)worker;
    const struct region *r = ctx;
    const struct mc_call *c = r->c;
    int64_t channels = c->in[0].shape.dim[1];
    const int64_t *out = r->a->out;
    int64_t at = (r->index * channels + channel) * out[0] * out[1];
    for (int64_t ph = 0; ph < out[0]; ph++)
        for (int64_t pw = 0; pw < out[1]; pw++)
            mc_set_param(c->out[0].data, c->k->elem_bytes, at++,
                         align_bin(r, r->image * channels + channel, ph, pw));
}

static int align_run(struct mc_call *c, struct mc_err *err)
{
    struct align a;
    const struct mc_shape *x = &c->in[0].shape;
    int rc = parse_align(c->node, &a, err);
    for (int64_t i = 0; i < c->in[1].shape.dim[0] && !rc; i++) {
        struct region r = {.c = c, .a = &a, .index = i};
        r.image = c->in[2].dtype == MC_DTYPE_I32 ? ((const int32_t *)c->in[2].data)[i]
                                                 : ((const int64_t *)c->in[2].data)[i];
        if (r.image < 0 || r.image >= x->dim[0])
            return mc_op_fail(err, MC_EDATA, c->node, "region %lld is of image %lld of %lld",
                              (long long)i, (long long)r.image, (long long)x->dim[0]);
        rc = make_taps(&r, 0, x->dim[2], err);
        rc = rc ? rc : make_taps(&r, 1, x->dim[3], err);
        if (!rc)
            mc_pool_run(c->pool, x->dim[1], align_channel, &r);
        free(r.tap[0]);
        free(r.tap[1]);
    }
    return rc;
}

/* ---- MaxRoiPool ---- */

static int pooled_of(const struct mc_node *n, const int64_t **ret, struct mc_err *err)
{
    int rc = mc_op_need_ints(n, "pooled_shape", 2, ret, err);
    if (!rc && !*ret)
        rc = mc_op_fail(err, MC_ESHAPE, n, "has no pooled_shape");
    for (int d = 0; d < 2 && !rc; d++)
        if ((*ret)[d] < 1 || (*ret)[d] > MOST)
            rc = mc_op_fail(err, MC_ESHAPE, n, "pooled_shape holds %lld, must be 1 to %d",
                            (long long)(*ret)[d], MOST);
    return rc;
}

static int pool_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    const int64_t *out = NULL;
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : pooled_of(c->node, &out, err);
    return rc ? rc : give_regions(c, 5, out, err);
}

/* Elements [*ret_from, *ret_to) of bin i. */
static void bin_range(double start, double bin, int64_t i, int64_t n, int64_t *ret_from,
                      int64_t *ret_to)
{
    double from = floor((double)i * bin) + start, to = ceil((double)(i + 1) * bin) + start;
    *ret_from = from > 0 ? from < (double)n ? (int64_t)from : n : 0;
    *ret_to = to > 0 ? to < (double)n ? (int64_t)to : n : 0;
}

struct pool_job {
    const struct mc_call *c;
    const int64_t *out;
    int64_t image, index;
    double start[2], bin[2];
};

static void pool_channel(void *ctx, int64_t channel, int worker)
{
    (void)worker;
    const struct pool_job *j = ctx;
    const struct mc_buf *x = &j->c->in[0];
    int64_t channels = x->shape.dim[1], h = x->shape.dim[2], w = x->shape.dim[3], y[2], z[2];
    int64_t at = (j->index * channels + channel) * j->out[0] * j->out[1];
    for (int64_t ph = 0; ph < j->out[0]; ph++)
        for (int64_t pw = 0; pw < j->out[1]; pw++) {
            bin_range(j->start[0], j->bin[0], ph, h, &y[0], &y[1]);
            bin_range(j->start[1], j->bin[1], pw, w, &z[0], &z[1]);
            double top = y[1] > y[0] && z[1] > z[0] ? -INFINITY : 0;
            for (int64_t i = y[0]; i < y[1]; i++)
                for (int64_t k = z[0]; k < z[1]; k++) {
                    int64_t from = ((j->image * channels + channel) * h + i) * w + k;
                    double v = mc_buf_param(x, from);
                    top = v > top ? v : top;
                }
            mc_set_param(j->c->out[0].data, j->c->k->elem_bytes, at++, top);
        }
}

static int pool_run(struct mc_call *c, struct mc_err *err)
{
    struct pool_job j = {.c = c};
    double scale = (double)mc_node_float(c->node, "spatial_scale", 1);
    int rc = pooled_of(c->node, &j.out, err);
    for (j.index = 0; j.index < c->in[1].shape.dim[0] && !rc; j.index++) {
        double v[5];
        for (int i = 0; i < 5; i++)
            v[i] = mc_buf_param(&c->in[1], j.index * 5 + i);
        if (!(v[0] >= 0 && v[0] < (double)c->in[0].shape.dim[0]))
            return mc_op_fail(err, MC_EDATA, c->node, "region %lld is of image %g of %lld",
                              (long long)j.index, v[0], (long long)c->in[0].shape.dim[0]);
        j.image = (int64_t)v[0];
        for (int d = 0; d < 2; d++) {
            j.start[d] = round(v[2 - d] * scale);
            double extent = round(v[4 - d] * scale) - j.start[d] + 1;
            if (!isfinite(extent))
                return mc_op_fail(err, MC_EDATA, c->node, "region %lld has no sensible size",
                                  (long long)j.index);
            j.bin[d] = (extent > 1 ? extent : 1) / (double)j.out[d];
        }
        mc_pool_run(c->pool, c->in[0].shape.dim[1], pool_channel, &j);
    }
    return rc;
}

const struct mc_op mc_ops_roi[] = {
    {"", "RoiAlign", 10, 0, align_infer, NULL, align_run, NULL, NULL, NULL},
    {"", "MaxRoiPool", 1, 0, pool_infer, NULL, pool_run, NULL, NULL, NULL},
    {0},
};
