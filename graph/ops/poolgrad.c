/* Gradients of pools, with the attributes of the node they are of:
 *     MaxPoolGrad(dy, x, y), GlobalMaxPoolGrad(dy, x, y)         AveragePoolGrad(dy, shape of x), GlobalAveragePoolGrad
 * Of equal maxima the first one has the gradient. */
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/window.h"

static bool is_average(const struct mc_node *n)
{
    return strstr(n->op_type, "Average") != NULL;
}

static bool is_global(const struct mc_node *n)
{
    return !strncmp(n->op_type, "Global", 6);
}

static int grad_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    bool average = is_average(c->node);
    int rc = mc_op_arity(c, average ? 2 : 3, average ? 2 : 3, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, is_global(c->node) ? 2 : 3, MC_RANK_MAX, err);
    struct mc_shape shape;
    if (average) {
        rc = rc ? rc : mc_op_given_shape(c, 1, &shape, err);
        if (!rc)
            mc_op_give(c, 0, c->in[0]->dtype, shape.rank >= 0 ? &shape : NULL);
        return rc;
    }
    rc = rc ? rc : mc_op_need_same(c, 0, 1, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 2, err);
    if (!rc)
        mc_op_give(c, 0, c->in[1]->dtype, c->in[1]->ranked ? &c->in[1]->shape : NULL);
    return rc;
}

static int window_of(const struct mc_call *c, struct mc_window *w, struct mc_err *err)
{
    const struct mc_shape *x = &c->out[0].shape, *dy = &c->in[0].shape;
    struct mc_window_dims d = {.in = {1, 1, mc_op_span(&c->out[0], 2, x->rank)},
                               .out = {1, 1, 1},
                               .kernel = {1, 1, mc_op_span(&c->out[0], 2, x->rank)},
                               .stride = {1, 1, 1},
                               .dilation = {1, 1, 1}};
    int rc = is_global(c->node) ? 0 : mc_window_infer(c->node, x, NULL, &d, err);
    if (rc)
        return rc;
    int64_t planes = mc_op_span(&c->out[0], 0, 2);
    if (mc_op_count(&c->in[0]) != planes * d.out[0] * d.out[1] * d.out[2]) {
        char text[2][MC_SHAPE_TEXT];
        return mc_op_fail(err, MC_ESHAPE, c->node, "x %s and dy %s do not fit",
                          mc_shape_text(x, text[0]), mc_shape_text(dy, text[1]));
    }
    *w = (struct mc_window){.average = is_average(c->node),
                            .count_pad = mc_node_int(c->node, "count_include_pad", 0) != 0,
                            .planes = planes};
    memcpy(w->in, d.in, sizeof d.in);
    memcpy(w->out, d.out, sizeof d.out);
    memcpy(w->kernel, d.kernel, sizeof d.kernel);
    memcpy(w->stride, d.stride, sizeof d.stride);
    memcpy(w->dilation, d.dilation, sizeof d.dilation);
    memcpy(w->pad, d.pad, sizeof d.pad);
    memcpy(w->end, d.end, sizeof d.end);
    return 0;
}

static int grad_run(struct mc_call *c, struct mc_err *err)
{
    struct mc_window_grad g = {.dy = c->in[0].data, .dx = c->out[0].data};
    int rc = window_of(c, &g.w, err);
    if (rc)
        return rc;
    if (!g.w.average) {
        g.w.x = c->in[1].data;
        g.w.y = c->in[2].data;
    }
    c->k->conv_grad.window(&g, c->pool);
    return 0;
}

const struct mc_op mc_ops_poolgrad[] = {
    {MC_GRAD_DOMAIN, "MaxPoolGrad", 1, 0, grad_infer, NULL, grad_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "GlobalMaxPoolGrad", 1, 0, grad_infer, NULL, grad_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "AveragePoolGrad", 1, 0, grad_infer, NULL, grad_run, NULL, NULL, NULL},
    {MC_GRAD_DOMAIN, "GlobalAveragePoolGrad", 1, 0, grad_infer, NULL, grad_run, NULL, NULL, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    const struct mc_shape *x = &c->out[0].shape;
    return c->k->conv_grad.window && mc_op_gpu_floats(c) &&
           (is_global(c->node) ? mc_op_span(&c->out[0], 2, x->rank) <= INT32_MAX / 4
                               : mc_window_counts_fit(c->node, x));
}

const struct mc_op_gpu mc_op_gpu_poolgrad[] = {
    {MC_GRAD_DOMAIN, "MaxPoolGrad", .can = gpu_can},
    {MC_GRAD_DOMAIN, "GlobalMaxPoolGrad", .can = gpu_can},
    {MC_GRAD_DOMAIN, "AveragePoolGrad", .can = gpu_can, .host_in = 1 << 1},
    {MC_GRAD_DOMAIN, "GlobalAveragePoolGrad", .can = gpu_can, .host_in = 1 << 1},
    {0},
};
