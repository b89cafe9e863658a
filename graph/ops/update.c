/* Steps of an optimiser, of ai.onnx.preview.training: Momentum, Adagrad, Adam. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"

enum { RATE, COUNT, TENSORS }; /* inputs: learning rate, update count, then groups of tensors */

/* Tensors of one parameter among the inputs (values, gradients, states); outputs are one group less. */
static int groups_of(const struct mc_node *n)
{
    return strcmp(n->op_type, "Adam") ? 3 : 4;
}

static int update_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int groups = groups_of(c->node), rc = mc_op_arity(c, TENSORS + groups, -1, err);
    int n = (c->n_in - TENSORS) / groups;
    if (rc)
        return rc;
    const char *mode = mc_node_string(c->node, "mode", "standard");
    if (strcmp(mode, "standard") && strcmp(mode, "nesterov"))
        return mc_op_fail(err, MC_EUNSUP, c->node, "mode '%s' is neither standard nor nesterov",
                          mode);
    if (n * groups != c->n_in - TENSORS || c->n_out > n * (groups - 1))
        return mc_op_fail(err, MC_ESHAPE, c->node, "%d tensors and %d outputs for groups of %d",
                          c->n_in - TENSORS, c->n_out, groups);
    rc = mc_op_need_float(c, RATE, err);
    rc = rc ? rc : mc_op_need_single(c, RATE, err);
    rc = rc ? rc : mc_op_need_index(c, COUNT, err);
    rc = rc ? rc : mc_op_need_single(c, COUNT, err);
    for (int i = TENSORS; i < c->n_in && !rc; i++) {
        int first = TENSORS + (i - TENSORS) % n;
        char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
        if (!c->in[i])
            return mc_op_fail(err, MC_ESHAPE, c->node, "input %d is missing", i);
        rc = mc_op_need_float(c, i, err);
        rc = rc ? rc : mc_op_need_same(c, first, i, err);
        const struct mc_shape *x = &c->in[first]->shape, *y = &c->in[i]->shape;
        if (!rc && c->in[first]->ranked && c->in[i]->ranked && mc_shape_known(x) &&
            mc_shape_known(y) && !mc_shape_equal(x, y))
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "input %d is %s, input %d %s", first,
                            mc_shape_text(x, a), i, mc_shape_text(y, b));
    }
    for (int i = 0; i < c->n_out && !rc; i++) {
        const struct mc_vtype *x = c->in[TENSORS + i % n];
        mc_op_give(c, i, x->dtype, x->ranked ? &x->shape : NULL);
    }
    return rc;
}

struct step { /* of one element: value, gradient, two states, the last of Adam alone */
    double x, g, v, h;
};

struct rule {
    double rate, count, norm, norm_post, alpha, beta, decay, eps;
    bool nesterov;
};

static void momentum(const struct rule *r, struct step *s)
{
    s->g += r->norm * s->x;
    s->v = r->alpha * s->v + (r->count > 0 ? r->beta : 1) * s->g;
    s->x -= r->rate * (r->nesterov ? s->g + r->alpha * s->v : s->v);
}

static void adagrad(const struct rule *r, struct step *s)
{
    s->g += r->norm * s->x;
    s->v += s->g * s->g;
    s->x -= r->rate / (1 + r->count * r->decay) * s->g / (sqrt(s->v) + r->eps);
}

static void adam(const struct rule *r, struct step *s)
{
    double rate = r->rate;
    if (r->count > 0)
        rate *= sqrt(1 - pow(r->beta, r->count)) / (1 - pow(r->alpha, r->count));
    s->g += r->norm * s->x;
    s->v = r->alpha * s->v + (1 - r->alpha) * s->g;
    s->h = r->beta * s->h + (1 - r->beta) * s->g * s->g;
    s->x = (1 - r->norm_post) * (s->x - rate * s->v / (sqrt(s->h) + r->eps));
}

static int update_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_node *n = c->node;
    bool is_adam = !strcmp(n->op_type, "Adam"), is_momentum = !strcmp(n->op_type, "Momentum");
    int groups = groups_of(n), tensors = (c->n_in - TENSORS) / groups;
    int64_t count = 0;
    mc_op_ints(&c->in[COUNT], &count, 1);
    struct rule r = {
        .rate = mc_buf_param(&c->in[RATE], 0),
        .count = (double)count,
        .norm = (double)mc_node_float(n, "norm_coefficient", 0),
        .norm_post = (double)mc_node_float(n, "norm_coefficient_post", 0),
        .alpha = (double)mc_node_float(n, "alpha", 0.9f),
        .beta = (double)mc_node_float(n, "beta", is_momentum ? 1 : 0.999f),
        .decay = (double)mc_node_float(n, "decay_factor", 0),
        .eps = (double)mc_node_float(n, "epsilon", 1e-6f),
        .nesterov = !strcmp(mc_node_string(n, "mode", "standard"), "nesterov"),
    };
    for (int t = 0; t < tensors; t++) {
        const struct mc_buf *in = &c->in[TENSORS + t];
        for (int64_t i = 0, size = mc_op_count(in); i < size; i++) {
            struct step s = {mc_buf_param(in, i), mc_buf_param(in + tensors, i),
                             mc_buf_param(in + 2 * tensors, i),
                             is_adam ? mc_buf_param(in + 3 * tensors, i) : 0};
            (is_adam ? adam : is_momentum ? momentum : adagrad)(&r, &s);
            const double result[] = {s.x, s.v, s.h};
            for (int g = 0; g < groups - 1; g++)
                if (mc_op_res(c, g * tensors + t))
                    mc_buf_put(&c->out[g * tensors + t], i, result[g]);
        }
    }
    return 0;
}

#define ROW(name)                                                                                  \
    {                                                                                              \
        "ai.onnx.preview.training", name, 1, 0, update_infer, NULL, update_run, NULL, NULL, NULL   \
    }
const struct mc_op mc_ops_update[] = {
    ROW("Momentum"),
    ROW("Adagrad"),
    ROW("Adam"),
    {0},
};
