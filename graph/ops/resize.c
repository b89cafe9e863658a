/* Resize and Upsample: to the nearest by picking elements, otherwise as one weighted sum per axis. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/resize_axis.h"
#include "kernels/gpu.h"
#include "kernels/pick.h"

enum { ROI = 1, SCALES = 2, SIZES = 3 }; /* inputs since version 11; before, scales are input 1 */

enum { VALUES = 2 * MC_RANK_MAX };

static int scales_input(const struct mc_node *n)
{
    return n->version >= 11 && mc_node_is(n, "Resize") ? SCALES : 1;
}

/* Of n float elements, at most VALUES, of any float type. -1: more. */
static int floats(enum mc_dtype dtype, const void *data, int64_t n, float *ret)
{
    if (n < 0 || n > VALUES || mc_dtype_to_f32((int)dtype, data, ret, (size_t)n, NULL))
        return -1;
    return (int)n;
}

/* What is given, with the memory it points to. */
struct given {
    struct mc_resize_given g;
    float scales[VALUES], roi[VALUES];
    int64_t sizes[MC_PARTIAL_MAX];
};

static int bad_count(const struct mc_node *n, const char *what, struct mc_err *err)
{
    return mc_op_fail(err, MC_ESHAPE, n, "%s has too many values", what);
}

/* ---- inference ---- */

static bool is_empty(const struct mc_infer_ctx *c, int i)
{
    const struct mc_vtype *x = mc_op_in(c, i);
    return !x || (x->ranked && x->shape.rank == 1 && x->shape.dim[0] == 0);
}

static int known_floats(const struct mc_infer_ctx *c, int i, float *to, struct mc_err *err)
{
    const struct mc_tensor *t = c->in[i]->known;
    int n = floats(t->dtype, t->data, mc_shape_count(&t->shape), to);
    return n < 0 ? bad_count(c->node, i == ROI ? "roi" : "scales", err) : n;
}

/* *ret_known: enough to say sizes. */
static int infer_given(const struct mc_infer_ctx *c, struct given *v, bool *ret_known,
                       struct mc_err *err)
{
    int at = scales_input(c->node);
    *v = (struct given){0};
    *ret_known = false;
    if (c->n_in == 1) { /* Upsample before version 9 */
        const struct mc_attr *a = mc_node_attr(c->node, "scales");
        if (!a || a->type != MC_ATTR_FLOATS)
            return mc_op_fail(err, MC_ESHAPE, c->node, "has no scales");
        if (a->n > VALUES)
            return bad_count(c->node, "scales", err);
        memcpy(v->scales, a->floats, a->n * sizeof *a->floats);
        v->g = (struct mc_resize_given){.scales = v->scales, .n = (int)a->n};
        *ret_known = true;
        return 0;
    }
    if (!is_empty(c, at)) {
        if (!c->in[at]->known)
            return 0;
        int n = known_floats(c, at, v->scales, err);
        v->g = (struct mc_resize_given){.scales = v->scales, .n = n};
        *ret_known = n >= 0;
        return n < 0 ? n : 0;
    }
    struct mc_contents sizes;
    if (is_empty(c, SIZES))
        return mc_op_fail(err, MC_ESHAPE, c->node, "has neither scales nor sizes");
    if (!mc_op_contents(c, SIZES, &sizes))
        return 0;
    for (int i = 0; i < sizes.n; i++) {
        if (!sizes.sym[i] && sizes.value[i] < 0)
            return mc_op_fail(err, MC_ESHAPE, c->node, "size %lld is negative",
                              (long long)sizes.value[i]);
        v->sizes[i] = sizes.sym[i] ? sizes.sym[i] : sizes.value[i];
    }
    v->g = (struct mc_resize_given){.sizes = v->sizes, .n = sizes.n};
    *ret_known = true;
    return 0;
}

static int check_types(const struct mc_infer_ctx *c, const struct mc_resize *r, struct mc_err *err)
{
    int at = scales_input(c->node);
    bool input = c->node->version >= 9 || mc_node_is(c->node, "Resize");
    int rc = mc_op_arity(c, input ? at == 1 ? 2 : 1 : 1, at == 1 ? input ? 2 : 1 : 4, err);
    rc = rc ? rc : mc_op_need_movable(c, 0, err);
    for (int i = 1; i < c->n_in && !rc; i++) {
        if (!c->in[i])
            continue;
        rc = i == SIZES ? mc_op_need_index(c, i, err) : mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_rank(c, i, 1, 1, err);
    }
    if (rc)
        return rc;
    enum mc_dtype x = c->in[0]->dtype;
    bool number = !x || mc_dtype_info((int)x)->kind == MC_KIND_FLOAT || mc_op_is_integer(x);
    if (r->mode != MC_RESIZE_NEAREST && !number)
        rc = mc_op_fail(err, MC_EUNSUP, c->node, "%s can only be resized to the nearest",
                        mc_dtype_name((int)x));
    if (!rc && mc_dtype_info((int)x)->bits > 64)
        rc = mc_op_fail(err, MC_EUNSUP, c->node, "%s cannot be resized", mc_dtype_name((int)x));
    if (!rc && r->coord == MC_RESIZE_TF_CROP && is_empty(c, ROI))
        rc = mc_op_fail(err, MC_ESHAPE, c->node, "tf_crop_and_resize needs a roi");
    return rc;
}

static int resize_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_resize r;
    struct given v;
    bool known = false;
    int rc = mc_resize_parse(c->node, &r, err);
    rc = rc ? rc : check_types(c, &r, err);
    rc = rc ? rc : infer_given(c, &v, &known, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked)
        return 0;
    struct mc_shape y = x->shape;
    struct mc_resize_axis axes[MC_RANK_MAX];
    if (known)
        rc = mc_resize_axes(c->node, &r, &x->shape, &v.g, axes, err);
    for (int d = 0; d < y.rank && !rc; d++)
        y.dim[d] = known ? axes[d].out : MC_DIM_ANY;
    if (!rc)
        mc_op_give(c, 0, x->dtype, &y);
    return rc;
}

/* ---- tables of one axis, made once if nothing is given by data ---- */

struct axis {
    bool moves;
    int64_t taps;         /* 0: nearest */
    size_t index, weight; /* places in the table */
};

struct state {
    struct mc_resize r;
    struct mc_resize_axis a[MC_RANK_MAX];
    struct axis axis[MC_RANK_MAX];
    int rank;
    size_t bytes;
    char *table;
    char *on_gpu; /* the same, for a call that runs there */
};

static size_t put(size_t *at, size_t bytes)
{
    size_t from = *at;
    *at += (bytes + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
    return from;
}

static int make_tables(const struct mc_call *c, struct state *s, struct mc_err *err)
{
    size_t elem = (size_t)c->k->elem_bytes, most = 0;
    for (int d = 0; d < s->rank; d++) {
        struct axis *x = &s->axis[d];
        size_t out = (size_t)s->a[d].out;
        x->moves = mc_resize_moves(&s->r, &s->a[d]) && out > 0;
        if (!x->moves)
            continue;
        x->taps = s->r.mode == MC_RESIZE_NEAREST ? c->k->device : mc_resize_taps(&s->r, &s->a[d]);
        size_t entries = out * (size_t)(x->taps ? x->taps : 1);
        x->index = put(&s->bytes, entries * sizeof(int32_t));
        x->weight = x->taps ? put(&s->bytes, entries * elem) : 0;
        most = x->taps && entries > most ? entries : most;
    }
    double *weight = most ? mc_calloc(most, sizeof *weight) : NULL;
    s->table = mc_alloc_aligned(s->bytes + 1);
    if ((most && !weight) || !s->table) {
        free(weight);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    for (int d = 0; d < s->rank; d++) {
        const struct axis *x = &s->axis[d];
        int32_t *index = (int32_t *)(void *)(s->table + x->index);
        if (!x->moves)
            continue;
        if (s->r.mode == MC_RESIZE_NEAREST)
            mc_resize_nearest(&s->r, &s->a[d], index);
        else
            mc_resize_weights(&s->r, &s->a[d], x->taps, index, weight);
        for (int64_t i = 0; s->r.mode == MC_RESIZE_NEAREST && i < x->taps * s->a[d].out; i++)
            weight[i] = 1; /* picking is a sum of one term */
        for (int64_t i = 0; i < x->taps * s->a[d].out; i++)
            mc_set_param(s->table + x->weight, c->k->elem_bytes, i, weight[i]);
    }
    free(weight);
    return 0;
}

/* ---- running ---- */

static int read_given(const struct mc_call *c, struct given *v)
{
    const struct mc_buf *scales = mc_op_arg(c, scales_input(c->node)), *roi = mc_op_arg(c, ROI);
    const struct mc_buf *sizes = mc_op_arg(c, SIZES);
    *v = (struct given){0};
    if (c->n_in == 1) {
        const struct mc_attr *a = mc_node_attr(c->node, "scales");
        memcpy(v->scales, a->floats, a->n * sizeof *a->floats);
        v->g = (struct mc_resize_given){.scales = v->scales, .n = (int)a->n};
        return 0;
    }
    if (scales && mc_op_count(scales) > 0) {
        v->g.scales = v->scales;
        v->g.n = floats(scales->dtype, scales->data, mc_op_count(scales), v->scales);
    } else {
        v->g.sizes = v->sizes;
        v->g.n = mc_op_ints(sizes, v->sizes, VALUES);
    }
    if (roi && scales_input(c->node) == SCALES && mc_op_count(roi) > 0) {
        v->g.roi = v->roi;
        v->g.n_roi = floats(roi->dtype, roi->data, mc_op_count(roi), v->roi);
    }
    return v->g.n < 0 || v->g.n_roi < 0 ? -1 : 0;
}

static int prepare(const struct mc_call *c, struct state *s, struct mc_err *err)
{
    const struct mc_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
    struct given v;
    int rc = mc_resize_parse(c->node, &s->r, err);
    if (!rc && read_given(c, &v))
        rc = bad_count(c->node, "an input", err);
    rc = rc ? rc : mc_resize_axes(c->node, &s->r, x, &v.g, s->a, err);
    s->rank = x->rank;
    for (int d = 0; d < x->rank && !rc; d++)
        if (s->a[d].out != y->dim[d])
            rc = mc_op_fail(err, MC_EDATA, c->node, "dimension %d is %lld, planned as %lld", d,
                            (long long)s->a[d].out, (long long)y->dim[d]);
    return rc ? rc : make_tables(c, s, err);
}

/* The axes in the order in which they are worked on: first those that shrink. */
static int order(const struct state *s, int ret[MC_RANK_MAX])
{
    int n = 0;
    for (int d = 0; d < s->rank; d++)
        if (s->axis[d].moves && s->a[d].out <= s->a[d].in)
            ret[n++] = d;
    for (int d = s->rank - 1; d >= 0; d--)
        if (s->axis[d].moves && s->a[d].out > s->a[d].in)
            ret[n++] = d;
    return n;
}

enum { BLOCK = 1 << 18 }; /* elements between two passes: 1 MiB of float32, an L2 */

/* How weighted sums are made: of `block` outer steps at a time, everything before the first axis that moves. */
struct passes {
    int axis[MC_RANK_MAX], n;
    int64_t outer, block, in, out, most; /* elements of an outer step; most: between passes */
};

static struct passes plan_passes(const struct state *s)
{
    struct passes p = {.outer = 1, .in = 1, .out = 1};
    p.n = order(s, p.axis);
    int first = 0;
    while (first < s->rank && !s->axis[first].moves)
        p.outer *= s->a[first++].in;
    int64_t size = 1;
    for (int d = first; d < s->rank; d++)
        size *= s->a[d].in;
    p.in = size;
    for (int i = 0; i < p.n; i++) {
        size = size / s->a[p.axis[i]].in * s->a[p.axis[i]].out;
        p.most = i + 1 < p.n && size > p.most ? size : p.most;
    }
    p.out = size;
    p.block = p.most < BLOCK ? BLOCK / (p.most ? p.most : 1) : 1;
    p.block = p.block < p.outer ? p.block : p.outer;
    if (p.n < 2 || s->on_gpu)
        p.block = p.outer; /* nothing lies between, or it is better done at once */
    return p;
}

static void run_pass(const struct mc_call *c, const struct state *s, int d, int64_t *dim,
                     int64_t outer, const void *x, void *y)
{
    const char *table = s->on_gpu ? s->on_gpu : s->table;
    struct mc_resample r = {.outer = outer,
                            .n_in = s->a[d].in,
                            .n_out = s->a[d].out,
                            .inner = 1,
                            .taps = s->axis[d].taps,
                            .index = (const int32_t *)(const void *)(table + s->axis[d].index),
                            .weight = table + s->axis[d].weight,
                            .x = x,
                            .y = y};
    int first = 0;
    while (!s->axis[first].moves)
        first++;
    for (int i = first; i < d; i++)
        r.outer *= dim[i];
    for (int i = d + 1; i < s->rank; i++)
        r.inner *= dim[i];
    dim[d] = s->a[d].out;
    c->k->spatial.resample(&r, c->pool);
}

static void resample(const struct mc_call *c, const struct state *s, const struct passes *p,
                     const char *x, char *y, void *between[2])
{
    int64_t elem = c->k->elem_bytes;
    for (int64_t o = 0; o < p->outer; o += p->block) {
        int64_t n = p->outer - o < p->block ? p->outer - o : p->block, dim[MC_RANK_MAX];
        const void *from = x + o * p->in * elem;
        for (int d = 0; d < s->rank; d++)
            dim[d] = s->a[d].in;
        for (int i = 0; i < p->n; i++) {
            void *to = i + 1 == p->n ? y + o * p->out * elem : between[i % 2];
            run_pass(c, s, p->axis[i], dim, n, from, to);
            from = to;
        }
    }
}

static void extrapolate(const struct mc_call *c, const struct state *s, void *y)
{
    int64_t at[MC_RANK_MAX] = {0}, n = mc_op_count(&c->out[0]);
    for (int64_t i = 0; i < n; i++) {
        bool outside = false;
        for (int d = 0; d < s->rank; d++)
            outside = outside || (s->axis[d].moves && mc_resize_outside(&s->r, &s->a[d], at[d]));
        if (outside)
            mc_set_param(y, c->k->elem_bytes, i, s->r.extrapolation);
        for (int d = s->rank - 1; d >= 0 && ++at[d] == s->a[d].out; d--)
            at[d] = 0;
    }
}

/* Whole numbers from sums: cut off as ONNX Runtime does, with antialias rounded. */
static void to_whole(const struct mc_call *c, const struct state *s, void *y)
{
    for (int64_t i = 0, n = mc_op_count(&c->out[0]); i < n; i++) {
        double v = mc_param(y, c->k->elem_bytes, i);
        mc_set_param(y, c->k->elem_bytes, i, s->r.antialias ? floor(v + 0.5) : trunc(v));
    }
}

struct space { /* of one run: what lies between passes, and whole numbers as floats */
    size_t between[2], x, y, bytes;
};

static struct space layout(const struct mc_call *c, const struct state *s, const struct passes *p)
{
    struct space m = {{0}, 0, 0, 0};
    size_t elem = (size_t)c->k->elem_bytes;
    if (s->r.mode == MC_RESIZE_NEAREST && !s->on_gpu)
        return m;
    for (int i = 0; i < 2 && i < p->n - 1; i++)
        m.between[i] = put(&m.bytes, (size_t)(p->block * p->most) * elem);
    if (!mc_op_is_float(c->in[0].dtype)) {
        m.x = put(&m.bytes, (size_t)mc_op_count(&c->in[0]) * elem);
        m.y = put(&m.bytes, (size_t)mc_op_count(&c->out[0]) * elem);
    }
    return m;
}

static int run_sums(const struct mc_call *c, const struct state *s, const struct passes *p,
                    char *space, struct mc_err *err)
{
    const struct mc_buf *in = &c->in[0], *out = &c->out[0];
    struct space m = layout(c, s, p);
    bool whole = !mc_op_is_float(in->dtype), wide = c->k->elem_bytes == 8;
    size_t n_in = (size_t)mc_op_count(in), n_out = (size_t)mc_op_count(out);
    void *between[2] = {space + m.between[0], space + m.between[1]};
    const void *x = whole ? space + m.x : in->data;
    void *y = whole ? space + m.y : out->data;
    int rc = 0;
    if (whole)
        rc = wide ? mc_dtype_to_f64((int)in->dtype, in->data, (double *)(uintptr_t)x, n_in, err)
                  : mc_dtype_to_f32((int)in->dtype, in->data, (float *)(uintptr_t)x, n_in, err);
    if (rc)
        return rc;
    resample(c, s, p, x, y, between);
    if (s->r.coord == MC_RESIZE_TF_CROP)
        extrapolate(c, s, y);
    if (!whole)
        return 0;
    to_whole(c, s, y);
    return wide ? mc_dtype_from_f64((int)in->dtype, y, out->data, n_out, err)
                : mc_dtype_from_f32((int)in->dtype, y, out->data, n_out, err);
}

static int run_nearest(const struct mc_call *c, const struct state *s, struct mc_err *err)
{
    enum mc_dtype dtype = c->in[0].dtype;
    double fill[2] = {0}; /* room for an element of any type */
    int rc = mc_dtype_from_f64((int)dtype, &s->r.extrapolation, fill, 1, err);
    struct mc_pick p = {.rank = s->rank,
                        .elem_bytes = mc_op_elem_bytes(dtype),
                        .fill = fill,
                        .src = c->in[0].data,
                        .dst = c->out[0].data};
    for (int d = 0; d < s->rank; d++) {
        p.in[d] = s->a[d].in;
        p.out[d] = s->a[d].out;
        if (s->axis[d].moves)
            p.index[d] = (const int32_t *)(const void *)(s->table + s->axis[d].index);
    }
    if (!rc)
        mc_pick_run(&p, c->pool);
    return rc;
}

static int run_state(const struct mc_call *c, const struct state *s, void *space,
                     struct mc_err *err)
{
    struct passes p = plan_passes(s);
    if (mc_op_count(&c->out[0]) == 0)
        return 0;
    if (p.n == 0) {
        mc_op_copy(c, &c->in[0], &c->out[0]);
        return 0;
    }
    bool picks = s->r.mode == MC_RESIZE_NEAREST && !s->on_gpu;
    return picks ? run_nearest(c, s, err) : run_sums(c, s, &p, space, err);
}

static void resize_teardown(struct mc_call *c)
{
    struct state *s = c->state;
    if (s && s->on_gpu)
        mc_gpu_free(mc_pool_gpu(c->pool), s->on_gpu);
    if (s)
        free(s->table);
    free(s);
    c->state = NULL;
}

static int resize_setup(struct mc_call *c, struct mc_err *err)
{
    for (int i = 1; i < c->n_in; i++)
        if (c->in[i].dtype && !c->in[i].constant && mc_op_count(&c->in[i]) > 0)
            return 0; /* tables are made in every run */
    struct state *s = mc_calloc(1, sizeof *s);
    if (!s)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    c->state = s;
    int rc = prepare(c, s, err);
    if (!rc && c->k->device && s->bytes > 0) {
        void *table = NULL;
        rc = mc_op_gpu_keep(c, s->table, s->bytes, &table, err);
        s->on_gpu = table;
    }
    if (rc)
        return rc;
    struct passes p = plan_passes(s);
    c->scratch_bytes = layout(c, s, &p).bytes;
    return 0;
}

static int resize_run(struct mc_call *c, struct mc_err *err)
{
    if (c->state)
        return run_state(c, c->state, c->scratch, err);
    struct state s = {0};
    int rc = prepare(c, &s, err);
    if (!rc) {
        struct passes p = plan_passes(&s);
        void *space = mc_alloc_aligned(layout(c, &s, &p).bytes + 1);
        rc = space ? run_state(c, &s, space, err) : mc_fail(err, MC_ENOMEM, "out of memory");
        free(space);
    }
    free(s.table);
    return rc;
}

const struct mc_op mc_ops_resize[] = {
    {"", "Resize", 10, 0, resize_infer, resize_setup, resize_run, resize_teardown, NULL, NULL},
    {"", "Upsample", 7, 0, resize_infer, resize_setup, resize_run, resize_teardown, NULL, NULL},
    {0},
};

/* Sums along one axis after another, of float32; everything given is known. */
static bool gpu_can(const struct mc_call *c)
{
    struct mc_resize r;
    struct mc_err err;
    bool can = c->k->spatial.resample && c->k->move.run && c->in[0].dtype == MC_DTYPE_F32 &&
               !mc_resize_parse(c->node, &r, &err) && r.coord != MC_RESIZE_TF_CROP;
    for (int i = 1; i < c->n_in; i++)
        can = can && (!c->in[i].dtype || c->in[i].constant || mc_op_count(&c->in[i]) == 0);
    return can;
}

const struct mc_op_gpu mc_op_gpu_resize[] = {
    {"", "Resize", .can = gpu_can, .host_in = 1 << 1 | 1 << 2 | 1 << 3},
    {"", "Upsample", .can = gpu_can, .host_in = 1 << 1},
    {0},
};
