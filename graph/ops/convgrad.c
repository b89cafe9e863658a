/* Gradients of Conv and ConvTranspose, with the attributes of the node they are of:
 *     ConvGradInput(dy, w, shape of x) -> dx            ConvGradWeight(x, dy, shape of w) -> dw, db
 *     ConvTransposeGradInput, ConvTransposeGradWeight: the same, without db
 * A transposed convolution is the gradient of a convolution by its input, so its own are a convolution of dy
 * and the gradient of the weights with x and dy in each other's place. */
#include <stdlib.h>
#include <string.h>

#include "graph/grad/rule.h"
#include "graph/ops/conv_node.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"

static bool is_transposed(const struct mc_node *n)
{
    return !strncmp(n->op_type, "ConvTranspose", 13);
}

static bool is_weight(const struct mc_node *n)
{
    return strstr(n->op_type, "Weight") != NULL;
}

static int grad_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 3, 3, err);
    for (int i = 0; i < 2 && !rc; i++)
        rc = mc_op_need_float(c, i, err);
    rc = rc ? rc : mc_op_need_same(c, 0, 1, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 3, MC_RANK_MAX, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 3, MC_RANK_MAX, err);
    struct mc_shape shape;
    rc = rc ? rc : mc_op_given_shape(c, 2, &shape, err);
    if (rc)
        return rc;
    mc_op_give(c, 0, c->in[0]->dtype, shape.rank >= 0 ? &shape : NULL);
    struct mc_shape channels = {.rank = 1, .dim = {shape.rank > 0 ? shape.dim[0] : MC_DIM_ANY}};
    if (is_weight(c->node))
        mc_op_give(c, 1, c->in[0]->dtype, &channels);
    return 0;
}

struct state {
    struct mc_conv conv; /* of the forward; of a transposed one, that which it is the gradient of */
    size_t packed_bytes; /* the conv's weights, for the input's gradient of a transposed one */
};

static int check_shapes(const struct mc_call *c, const struct mc_conv *v, const struct mc_shape *x,
                        const struct mc_shape *w, const struct mc_shape *dy, struct mc_err *err)
{
    bool transposed = is_transposed(c->node);
    const int64_t *out = transposed ? v->in : v->out;
    char text[3][MC_SHAPE_TEXT];
    bool fits = x->rank == w->rank && dy->rank == x->rank && v->group > 0 && v->c % v->group == 0 &&
                v->oc % v->group == 0 && w->dim[0] == v->oc && w->dim[1] == v->c / v->group &&
                x->dim[1] == (transposed ? v->oc : v->c) && dy->dim[0] == x->dim[0] &&
                dy->dim[1] == (transposed ? v->c : v->oc);
    for (int d = 2; d < x->rank && fits; d++)
        fits = dy->dim[d] == out[d + 3 - x->rank];
    if (fits)
        return 0;
    return mc_op_fail(err, MC_ESHAPE, c->node, "x %s, w %s and dy %s do not fit",
                      mc_shape_text(x, text[0]), mc_shape_text(w, text[1]),
                      mc_shape_text(dy, text[2]));
}

static size_t grad_scratch(const struct mc_call *c, const struct state *s)
{
    int threads = mc_pool_threads(c->pool);
    if (c->k->device)
        return 0;
    if (is_weight(c->node))
        return c->k->conv_grad.weight_bytes(&s->conv, threads);
    if (is_transposed(c->node))
        return c->k->conv.scratch_bytes(&s->conv, threads);
    return c->k->conv_grad.input_bytes(&s->conv, threads);
}

static int grad_sizes(const struct mc_call *c, struct mc_conv *ret, struct mc_err *err)
{
    bool weight = is_weight(c->node), transposed = is_transposed(c->node);
    const struct mc_shape *x = weight ? &c->in[0].shape : &c->out[0].shape;
    const struct mc_shape *w = weight ? &c->out[0].shape : &c->in[1].shape;
    const struct mc_shape *dy = weight ? &c->in[1].shape : &c->in[0].shape;
    int rc = transposed ? mc_conv_transposed_sizes(c->node, x, w, ret, err)
                        : mc_conv_sizes(c->node, x, w, ret, err);
    return rc ? rc : check_shapes(c, ret, x, w, dy, err);
}

static int grad_setup(struct mc_call *c, struct mc_err *err)
{
    struct state s = {0};
    int rc = grad_sizes(c, &s.conv, err);
    if (rc)
        return rc;
    size_t at = 0;
    if (is_transposed(c->node) && !is_weight(c->node) && !c->k->device)
        s.packed_bytes = c->k->conv.pack_w_bytes(&s.conv);
    mc_op_scratch(c, &at, s.packed_bytes);
    mc_op_scratch(c, &at, grad_scratch(c, &s));
    c->scratch_bytes = at;
    c->state = malloc(sizeof s);
    if (!c->state)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(c->state, &s, sizeof s);
    return 0;
}

static void grad_teardown(struct mc_call *c)
{
    free(c->state);
    c->state = NULL;
}

static int input_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct state *s = c->state;
    struct mc_conv_grad g = {
        .c = s->conv, .dy = c->in[0].data, .w = c->in[1].data, .dx = c->out[0].data};
    if (c->epilogue)
        g.c.epilogue = *c->epilogue;
    c->k->conv_grad.input(&g, c->scratch, c->pool);
    return 0;
}

static int transposed_input_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct state *s = c->state;
    struct mc_conv v = s->conv;
    size_t at = 0;
    void *packed = mc_op_scratch(c, &at, s->packed_bytes);
    if (!c->k->device) {
        c->k->conv.pack_w(&v, c->in[1].data, packed, c->pool);
        v.packed_w = packed;
    }
    if (c->epilogue)
        v.epilogue = *c->epilogue;
    v.x = c->in[0].data;
    v.w = c->in[1].data;
    v.y = c->out[0].data;
    c->k->conv.run(&v, mc_op_scratch(c, &at, grad_scratch(c, s)), c->pool);
    return 0;
}

static int weight_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct state *s = c->state;
    bool transposed = is_transposed(c->node);
    struct mc_buf *db = mc_op_res(c, 1);
    struct mc_conv_grad g = {.c = s->conv,
                             .x = c->in[transposed].data,
                             .dy = c->in[!transposed].data,
                             .dw = c->out[0].data,
                             .db = db ? db->data : NULL};
    c->k->conv_grad.weight(&g, c->scratch, c->pool);
    return 0;
}

/* As many as of the node this is of: each weight meets each position once. */
static double grad_macs(const struct mc_infer_ctx *c)
{
    bool weight = is_weight(c->node);
    const struct mc_vtype *w = weight ? c->out[0] : c->in[1];
    const struct mc_vtype *y =
        is_transposed(c->node) ? (weight ? c->in[0] : c->out[0]) : (weight ? c->in[1] : c->in[0]);
    int64_t out = y->ranked ? mc_shape_count(&y->shape) : -1;
    int64_t per = w->ranked ? mc_shape_span(&w->shape, 1, w->shape.rank) : -1;
    return out < 0 || per < 0 ? -1 : (double)out * (double)per;
}

const struct mc_op mc_ops_convgrad[] = {
    {MC_GRAD_DOMAIN, "ConvGradInput", 1, MC_OP_EPILOGUE, grad_infer, grad_setup, input_run,
     grad_teardown, grad_macs, NULL},
    {MC_GRAD_DOMAIN, "ConvGradWeight", 1, 0, grad_infer, grad_setup, weight_run, grad_teardown,
     grad_macs, NULL},
    {MC_GRAD_DOMAIN, "ConvTransposeGradInput", 1, MC_OP_EPILOGUE, grad_infer, grad_setup,
     transposed_input_run, grad_teardown, grad_macs, NULL},
    {MC_GRAD_DOMAIN, "ConvTransposeGradWeight", 1, 0, grad_infer, grad_setup, weight_run,
     grad_teardown, grad_macs, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    struct mc_conv v;
    struct mc_err err;
    bool there = is_weight(c->node)       ? c->k->conv_grad.weight != NULL
                 : is_transposed(c->node) ? c->k->conv.run != NULL
                                          : c->k->conv_grad.input != NULL;
    return there && mc_op_gpu_floats(c) && !grad_sizes(c, &v, &err) && mc_conv_counts_fit(&v);
}

#define GPU(name)                                                                                  \
    {                                                                                              \
        MC_GRAD_DOMAIN, name, .can = gpu_can, .host_in = 1 << 2                                    \
    }
const struct mc_op_gpu mc_op_gpu_convgrad[] = {
    GPU("ConvGradInput"),
    GPU("ConvGradWeight"),
    GPU("ConvTransposeGradInput"),
    GPU("ConvTransposeGradWeight"),
    {0},
};
