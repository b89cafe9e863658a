#include "graph/ops/rnn_node.h"

#include <string.h>
#include <strings.h>

#include "graph/ops/helper.h"

static const struct act {
    const char *name;
    enum mc_rnn_act act;
    bool has_a, has_b; /* takes a value of activation_alpha, activation_beta */
    double a, b;
} acts[] = {
    {"Sigmoid", MC_RNN_SIGMOID, false, false, 0, 0},
    {"Tanh", MC_RNN_TANH, false, false, 0, 0},
    {"Relu", MC_RNN_RELU, false, false, 0, 0},
    {"Affine", MC_RNN_AFFINE, true, true, 1, 0},
    {"LeakyRelu", MC_RNN_LEAKY, true, false, 0.01, 0},
    {"ThresholdedRelu", MC_RNN_THRESHOLDED, true, false, 1, 0},
    {"ScaledTanh", MC_RNN_SCALED_TANH, true, true, 1, 1},
    {"HardSigmoid", MC_RNN_HARD_SIGMOID, true, true, 0.2, 0.5},
    {"Elu", MC_RNN_ELU, true, false, 1, 0},
    {"Softsign", MC_RNN_SOFTSIGN, false, false, 0, 0},
    {"Softplus", MC_RNN_SOFTPLUS, false, false, 0, 0},
};

static int parse_direction(const struct mc_node *n, struct mc_rnn_node *l, struct mc_err *err)
{
    const char *how = mc_node_string(n, "direction", "forward");
    l->dirs = 1;
    if (!strcmp(how, "reverse")) {
        l->reverse[0] = true;
    } else if (!strcmp(how, "bidirectional")) {
        l->dirs = 2;
        l->reverse[1] = true;
    } else if (strcmp(how, "forward") != 0) {
        return mc_op_fail(err, MC_EUNSUP, n, "direction '%s' is not known", how);
    }
    return 0;
}

static const struct act *act_of(const struct mc_bytes *name)
{
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
        if (name->data && !strcasecmp((const char *)name->data, acts[i].name))
            return &acts[i];
    return NULL;
}

/* Values of activation_alpha and activation_beta go, in order, to the functions that take one. */
static int parse_activations(const struct mc_node *n, struct mc_rnn_node *l, struct mc_err *err)
{
    static const int presets[][3] = {{0, 1, 1}, {0, 1}, {1}}; /* 0: Sigmoid, 1: Tanh */
    const int *preset = presets[l->kind], per = l->fns;
    const struct mc_attr *names = mc_node_attr(n, "activations");
    const struct mc_attr *alpha = mc_node_attr(n, "activation_alpha");
    const struct mc_attr *beta = mc_node_attr(n, "activation_beta");
    size_t ia = 0, ib = 0;
    if (names && (names->type != MC_ATTR_STRINGS || names->n != (size_t)(per * l->dirs)))
        return mc_op_fail(err, MC_ESHAPE, n, "%zu activations, must be %d", names->n,
                          per * l->dirs);
    for (int i = 0; i < per * l->dirs; i++) {
        const struct act *a = names ? act_of(&names->strings[i]) : &acts[preset[i % per]];
        if (!a)
            return mc_op_fail(err, MC_EUNSUP, n, "activation '%.40s' is not known",
                              names->strings[i].data ? (const char *)names->strings[i].data : "");
        struct mc_rnn_fn *f = &l->fn[i / per][i % per];
        *f = (struct mc_rnn_fn){a->act, a->a, a->b};
        if (a->has_a && alpha && alpha->type == MC_ATTR_FLOATS && ia < alpha->n)
            f->a = (double)alpha->floats[ia++];
        if (a->has_b && beta && beta->type == MC_ATTR_FLOATS && ib < beta->n)
            f->b = (double)beta->floats[ib++];
    }
    return 0;
}

int mc_rnn_parse(const struct mc_node *n, struct mc_rnn_node *l, struct mc_err *err)
{
    *l = (struct mc_rnn_node){.kind = MC_RNN_LSTM, .gates = 4, .fns = 3};
    if (!strncmp(n->op_type, "GRU", 3))
        *l = (struct mc_rnn_node){.kind = MC_RNN_GRU, .gates = 3, .fns = 2};
    else if (!strncmp(n->op_type, "RNN", 3))
        *l = (struct mc_rnn_node){.kind = MC_RNN_PLAIN, .gates = 1, .fns = 1};
    int rc = parse_direction(n, l, err);
    rc = rc ? rc : parse_activations(n, l, err);
    l->clip = (double)mc_node_float(n, "clip", 0);
    l->linear_before_reset = mc_node_int(n, "linear_before_reset", 0) != 0;
    l->input_forget = mc_node_int(n, "input_forget", 0) != 0;
    l->batch_first = mc_node_int(n, "layout", 0) != 0;
    if (!rc && !(l->clip >= 0))
        rc = mc_op_fail(err, MC_ESHAPE, n, "clip %g is negative", l->clip);
    return rc;
}

bool mc_rnn_from_zero(const struct mc_call *c)
{
    const struct mc_buf *h = mc_op_arg(c, MC_RNN_IN_H);
    if (!h)
        return true;
    if (c->k->device)
        return false;
    size_t n = (size_t)(mc_op_count(h) * mc_op_elem_bytes(h->dtype)), i = 0;
    const unsigned char *bytes = h->constant ? h->data : NULL;
    while (bytes && i < n && !bytes[i])
        i++;
    return bytes && i == n;
}

/* Input i, where it is there, has the shape `want`; what is known on either side ends up in want. */
static int meet(const struct mc_infer_ctx *c, int i, const char *what, int64_t *want[], int rank,
                struct mc_err *err)
{
    const struct mc_vtype *x = mc_op_in(c, i);
    int rc = mc_op_need_rank(c, i, rank, rank, err);
    for (int d = 0; x && x->ranked && d < rank && !rc; d++)
        rc = mc_op_need_dim(c->node, what, x->shape.dim[d], *want[d], want[d], err);
    return rc;
}

int mc_rnn_shapes(const struct mc_infer_ctx *c, struct mc_rnn_node *l, struct mc_err *err)
{
    int64_t dirs = l->dirs, gates = MC_DIM_ANY, hidden = mc_node_int(c->node, "hidden_size", -1);
    int64_t biases = MC_DIM_ANY, three = MC_DIM_ANY;
    int rc = 0;
    if (mc_node_attr(c->node, "hidden_size") && (hidden < 1 || hidden > INT32_MAX))
        return mc_op_fail(err, MC_ESHAPE, c->node, "hidden_size %lld", (long long)hidden);
    l->steps = l->batch = l->input = MC_DIM_ANY;
    l->hidden = hidden > 0 ? hidden : MC_DIM_ANY;
    int64_t *x[3] = {&l->steps, &l->batch, &l->input};
    int64_t *x_first[3] = {&l->batch, &l->steps, &l->input};
    int64_t *r[3] = {&dirs, &gates, &l->hidden}, *w[3] = {&dirs, &gates, &l->input};
    int64_t *state[3] = {&dirs, &l->batch, &l->hidden};
    int64_t *state_first[3] = {&l->batch, &dirs, &l->hidden};
    int64_t *b[2] = {&dirs, &biases}, *p[2] = {&dirs, &three}, *lens[1] = {&l->batch};
    rc = meet(c, MC_RNN_IN_X, "shape of X", l->batch_first ? x_first : x, 3, err);
    rc = rc ? rc : meet(c, MC_RNN_IN_R, "shape of R", r, 3, err);
    if (!rc && l->hidden > 0)
        rc = mc_op_need_dim(c->node, "gates of R and of hidden_size", gates, l->gates * l->hidden,
                            &gates, err);
    rc = rc ? rc : meet(c, MC_RNN_IN_W, "shape of W", w, 3, err);
    biases = l->hidden > 0 ? 2 * l->gates * l->hidden : MC_DIM_ANY;
    three = l->hidden > 0 ? 3 * l->hidden : MC_DIM_ANY;
    rc = rc ? rc : meet(c, MC_RNN_IN_B, "shape of B", b, 2, err);
    rc = rc ? rc : meet(c, MC_RNN_IN_LENS, "shape of sequence_lens", lens, 1, err);
    for (int i = MC_RNN_IN_H; i <= MC_RNN_IN_C && !rc; i++)
        rc = meet(c, i, "shape of an initial state", l->batch_first ? state_first : state, 3, err);
    return rc ? rc : meet(c, MC_RNN_IN_P, "shape of P", p, 2, err);
}
