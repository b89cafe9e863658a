/* ResizeGrad(dy, shape of x, roi, scales, sizes): the gradient of Resize and Upsample, with the node's attributes, its
 * inputs (as far as it has them) and its version as attribute `forward_version`. Resizing is a linear map along each
 * axis, so this is the transposed one: for each input the outputs that it went into. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/grad/rule.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/resize_axis.h"
#include "kernels/gpu.h"

enum { SHAPE = 1, ROI, SCALES, SIZES, VALUES = 2 * MC_RANK_MAX };

static int grad_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct mc_resize r;
    struct mc_shape shape;
    int rc = mc_op_arity(c, 2, 5, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_resize_parse(c->node, &r, err);
    rc = rc ? rc : mc_op_given_shape(c, SHAPE, &shape, err);
    if (!rc)
        mc_op_give(c, 0, c->in[0]->dtype, shape.rank >= 0 ? &shape : NULL);
    return rc;
}

/* ---- the map of one axis ---- */

struct axis {
    bool moves;
    int64_t taps;
    int32_t *index; /* [taps, in] */
    void *weight;   /* [taps, in] */
};

struct state {
    struct mc_resize r;
    struct mc_resize_axis a[MC_RANK_MAX];
    struct axis axis[MC_RANK_MAX];
    int rank, order[MC_RANK_MAX], n; /* of the axes that move */
    struct mc_gpu *gpu;              /* whose memory the maps are in, or NULL */
};

static void release(const struct state *s, void *p)
{
    if (s->gpu)
        mc_gpu_free(s->gpu, p);
    else
        free(p);
}

static void state_free(struct state *s)
{
    for (int d = 0; s && d < MC_RANK_MAX; d++) {
        release(s, s->axis[d].index);
        release(s, s->axis[d].weight);
    }
    free(s);
}

/* The maps go to the device; a part that is there is the host's no more. */
static int to_gpu(const struct mc_call *c, struct state *s, struct mc_err *err)
{
    void *index[MC_RANK_MAX] = {NULL}, *weight[MC_RANK_MAX] = {NULL};
    int rc = 0;
    for (int d = 0; d < s->rank && !rc; d++) {
        const struct axis *x = &s->axis[d];
        size_t n = (size_t)(x->taps * s->a[d].in);
        if (x->moves)
            rc = mc_op_gpu_keep(c, x->index, n * sizeof *x->index, &index[d], err);
        if (x->moves && !rc)
            rc = mc_op_gpu_keep(c, x->weight, n * (size_t)c->k->elem_bytes, &weight[d], err);
    }
    for (int d = 0; d < s->rank; d++) {
        release(s, s->axis[d].index);
        release(s, s->axis[d].weight);
        s->axis[d].index = index[d];
        s->axis[d].weight = weight[d];
    }
    s->gpu = mc_pool_gpu(c->pool);
    return rc;
}

/* The map that the node applies: places [taps, out] and weights; extrapolated outputs have none. */
static int forward_map(const struct state *s, int d, int64_t *ret_taps, int32_t **ret_index,
                       double **ret_weight, struct mc_err *err)
{
    const struct mc_resize_axis *a = &s->a[d];
    bool nearest = s->r.mode == MC_RESIZE_NEAREST;
    int64_t taps = nearest ? 1 : mc_resize_taps(&s->r, a);
    size_t n = (size_t)(taps * a->out);
    int32_t *index = mc_calloc(n + 1, sizeof *index);
    double *weight = mc_calloc(n + 1, sizeof *weight);
    if (!index || !weight) {
        free(index);
        free(weight);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    if (nearest)
        mc_resize_nearest(&s->r, a, index);
    else
        mc_resize_weights(&s->r, a, taps, index, weight);
    for (size_t i = 0; i < n; i++) {
        bool outside = index[i] < 0 || mc_resize_outside(&s->r, a, (int64_t)i % a->out);
        weight[i] = outside ? 0 : nearest ? 1 : weight[i];
        index[i] = outside ? 0 : index[i];
    }
    *ret_taps = taps;
    *ret_index = index;
    *ret_weight = weight;
    return 0;
}

/* Turned over; count: [in] zeros. */
static int turn(const struct mc_call *c, struct state *s, int d, int64_t taps, const int32_t *index,
                const double *weight, int64_t *count, struct mc_err *err)
{
    struct axis *x = &s->axis[d];
    int64_t in = s->a[d].in, out = s->a[d].out;
    x->taps = 1;
    for (int64_t i = 0; i < taps * out; i++)
        if (weight[i] != 0 && ++count[index[i]] > x->taps)
            x->taps = count[index[i]];
    x->index = mc_calloc((size_t)(x->taps * in) + 1, sizeof *x->index);
    x->weight = mc_calloc((size_t)(x->taps * in) + 1, (size_t)c->k->elem_bytes);
    if (!x->index || !x->weight)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memset(count, 0, (size_t)in * sizeof *count);
    for (int64_t j = 0; j < out; j++)
        for (int64_t t = 0; t < taps; t++) {
            int64_t from = t * out + j;
            if (weight[from] == 0)
                continue;
            int64_t to = count[index[from]]++ * in + index[from];
            x->index[to] = (int32_t)j;
            mc_set_param(x->weight, c->k->elem_bytes, to, weight[from]);
        }
    return 0;
}

static int make_axis(const struct mc_call *c, struct state *s, int d, struct mc_err *err)
{
    int64_t taps = 0;
    int32_t *index = NULL;
    double *weight = NULL;
    int64_t *count = mc_calloc((size_t)s->a[d].in + 1, sizeof *count);
    int rc = count ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    rc = rc ? rc : forward_map(s, d, &taps, &index, &weight, err);
    rc = rc ? rc : turn(c, s, d, taps, index, weight, count, err);
    free(index);
    free(weight);
    free(count);
    return rc;
}

/* ---- what is given ---- */

static int floats(const struct mc_call *c, int i, float *to, struct mc_err *err)
{
    const struct mc_buf *b = mc_op_arg(c, i);
    int64_t n = b ? mc_op_count(b) : 0;
    if (n > VALUES)
        return mc_op_fail(err, MC_ESHAPE, c->node, "input %d has too many values", i);
    int rc = n ? mc_dtype_to_f32((int)b->dtype, b->data, to, (size_t)n, err) : 0;
    return rc ? rc : (int)n;
}

static int read_axes(const struct mc_call *c, struct state *s, struct mc_err *err)
{
    float scales[VALUES], roi[VALUES];
    int64_t sizes[VALUES];
    const struct mc_attr *a = mc_node_attr(c->node, "scales");
    int n = floats(c, SCALES, scales, err), n_roi = n < 0 ? n : floats(c, ROI, roi, err);
    if (n_roi < 0)
        return n_roi;
    if (n == 0 && a && a->type == MC_ATTR_FLOATS && a->n <= VALUES) {
        n = (int)a->n;
        memcpy(scales, a->floats, a->n * sizeof *a->floats);
    }
    struct mc_resize_given g = {.scales = n ? scales : NULL, .n = n};
    if (!n) {
        g.sizes = sizes;
        g.n = mc_op_ints(mc_op_arg(c, SIZES), sizes, VALUES);
    }
    g.roi = n_roi ? roi : NULL;
    g.n_roi = n_roi;
    if (g.n < 0)
        return mc_op_fail(err, MC_ESHAPE, c->node, "has neither scales nor sizes");
    const struct mc_shape *x = &c->out[0].shape, *dy = &c->in[0].shape;
    int rc = mc_resize_axes(c->node, &s->r, x, &g, s->a, err);
    s->rank = x->rank;
    for (int d = 0; d < x->rank && !rc; d++)
        if (dy->rank != x->rank || s->a[d].out != dy->dim[d])
            rc = mc_op_fail(err, MC_EDATA, c->node, "dimension %d of dy is not %lld", d,
                            (long long)s->a[d].out);
    return rc;
}

static int prepare(const struct mc_call *c, struct state *s, struct mc_err *err)
{
    int rc = mc_resize_parse(c->node, &s->r, err);
    rc = rc ? rc : read_axes(c, s, err);
    for (int d = 0; d < s->rank && !rc; d++) {
        s->axis[d].moves = mc_resize_moves(&s->r, &s->a[d]);
        if (s->axis[d].moves)
            rc = make_axis(c, s, d, err);
    }
    for (int grows = 0; grows < 2 && !rc; grows++)
        for (int d = 0; d < s->rank; d++)
            if (s->axis[d].moves && (s->a[d].in > s->a[d].out) == grows)
                s->order[s->n++] = d;
    return rc;
}

/* ---- running ---- */

/* Elements between passes, at most. */
static int64_t between_of(const struct state *s)
{
    int64_t dim[MC_RANK_MAX], most = 0;
    for (int d = 0; d < s->rank; d++)
        dim[d] = s->a[d].out;
    for (int i = 0; i + 1 < s->n; i++) {
        int64_t size = 1;
        dim[s->order[i]] = s->a[s->order[i]].in;
        for (int d = 0; d < s->rank; d++)
            size *= dim[d];
        most = size > most ? size : most;
    }
    return most;
}

static void run_passes(const struct mc_call *c, const struct state *s, char *space)
{
    size_t bytes = (size_t)between_of(s) * (size_t)c->k->elem_bytes;
    char *between[2] = {space, space + (bytes + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN};
    const void *from = c->in[0].data;
    int64_t dim[MC_RANK_MAX];
    for (int d = 0; d < s->rank; d++)
        dim[d] = s->a[d].out;
    for (int i = 0; i < s->n; i++) {
        int d = s->order[i];
        void *to = i + 1 == s->n ? c->out[0].data : between[i % 2];
        struct mc_resample r = {.outer = 1,
                                .n_in = s->a[d].out,
                                .n_out = s->a[d].in,
                                .inner = 1,
                                .taps = s->axis[d].taps,
                                .index = s->axis[d].index,
                                .weight = s->axis[d].weight,
                                .x = from,
                                .y = to};
        for (int j = 0; j < d; j++)
            r.outer *= dim[j];
        for (int j = d + 1; j < s->rank; j++)
            r.inner *= dim[j];
        c->k->spatial.resample(&r, c->pool);
        dim[d] = s->a[d].in;
        from = to;
    }
}

static void grad_teardown(struct mc_call *c)
{
    state_free(c->state);
    c->state = NULL;
}

static size_t space_bytes(const struct mc_call *c, const struct state *s)
{
    size_t bytes = (size_t)between_of(s) * (size_t)c->k->elem_bytes;
    return 2 * ((bytes + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN);
}

static int grad_setup(struct mc_call *c, struct mc_err *err)
{
    for (int i = c->k->device ? ROI : SHAPE; i < c->n_in; i++)
        if (c->in[i].dtype && !c->in[i].constant && mc_op_count(&c->in[i]) > 0)
            return 0; /* maps are made in every run */
    struct state *s = c->state = mc_calloc(1, sizeof *s);
    int rc = s ? prepare(c, s, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc && c->k->device)
        rc = to_gpu(c, s, err);
    if (!rc)
        c->scratch_bytes = space_bytes(c, s);
    return rc;
}

static int run_state(const struct mc_call *c, const struct state *s, char *space)
{
    double zero;
    int elem = c->k->elem_bytes;
    if (s->n == 0)
        mc_op_copy(c, &c->in[0], &c->out[0]);
    else if (mc_op_count(&c->in[0]) == 0)
        c->k->move.fill(c->out[0].data, mc_op_count(&c->out[0]), mc_op_scalar(elem, 0, &zero), elem,
                        c->pool);
    else
        run_passes(c, s, space);
    return 0;
}

static int grad_run(struct mc_call *c, struct mc_err *err)
{
    if (c->state)
        return run_state(c, c->state, c->scratch);
    struct state *s = mc_calloc(1, sizeof *s);
    int rc = s ? prepare(c, s, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    char *space = rc ? NULL : mc_alloc_aligned(space_bytes(c, s) + 1);
    if (!rc)
        rc = space ? run_state(c, s, space) : mc_fail(err, MC_ENOMEM, "out of memory");
    free(space);
    state_free(s);
    return rc;
}

const struct mc_op mc_ops_resize_grad[] = {
    {MC_GRAD_DOMAIN, "ResizeGrad", 1, 0, grad_infer, grad_setup, grad_run, grad_teardown, NULL,
     NULL},
    {0},
};

/* Everything given is known. */
static bool gpu_can(const struct mc_call *c)
{
    bool can = c->k->spatial.resample && c->k->move.run && c->k->move.fill && mc_op_gpu_floats(c);
    for (int i = ROI; i < c->n_in; i++)
        can = can && (!c->in[i].dtype || c->in[i].constant || mc_op_count(&c->in[i]) == 0);
    return can;
}

const struct mc_op_gpu mc_op_gpu_resize_grad[] = {
    {MC_GRAD_DOMAIN, "ResizeGrad", .can = gpu_can,
     .host_in = 1 << SHAPE | 1 << ROI | 1 << SCALES | 1 << SIZES},
    {0},
};
