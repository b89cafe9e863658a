#include "graph/grad/weights.h"

#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/grad/rule.h"
#include "graph/own/own.h"

enum role {
    ROLE_NONE,    /* no weight, and nothing that looks like one */
    ROLE_OPERAND, /* of an elementwise node */
    ROLE_SCALE,
    ROLE_STATE,
    ROLE_STATISTIC,
    ROLE_TABLE, /* of a function, which says what its bits mean */
    ROLE_SMALL, /* a weight that does not decay */
    ROLE_WEIGHT,
};

/* What an input of a node is, where it is a constant. Inputs from `first` to `last`. */
static const struct place {
    const char *domain, *op;
    int first, last;
    enum role role;
} places[] = {
    {"", "Conv", 0, 1, ROLE_WEIGHT},
    {"", "Conv", 2, 2, ROLE_SMALL},
    {"", "ConvTranspose", 0, 1, ROLE_WEIGHT},
    {"", "ConvTranspose", 2, 2, ROLE_SMALL},
    {"", "DeformConv", 1, 1, ROLE_WEIGHT},
    {"", "DeformConv", 3, 3, ROLE_SMALL},
    {"", "Gemm", 0, 1, ROLE_WEIGHT},
    {"", "Gemm", 2, 2, ROLE_SMALL},
    {"", "MatMul", 0, 1, ROLE_WEIGHT},
    {"", "Einsum", 0, 99, ROLE_WEIGHT},
    {"", "Gather", 0, 0, ROLE_WEIGHT},
    {"", "GatherND", 0, 0, ROLE_WEIGHT},
    {"", "GatherElements", 0, 0, ROLE_WEIGHT},
    {"", "BatchNormalization", 1, 2, ROLE_SMALL},
    {"", "BatchNormalization", 3, 4, ROLE_STATISTIC},
    {"", "LayerNormalization", 1, 2, ROLE_SMALL},
    {"", "RMSNormalization", 1, 1, ROLE_SMALL},
    {"", "GroupNormalization", 1, 2, ROLE_SMALL},
    {"", "InstanceNormalization", 1, 2, ROLE_SMALL},
    {"", "SimplifiedLayerNormalization", 1, 1, ROLE_SMALL},
    {"", "PRelu", 1, 1, ROLE_SMALL},
    {"", "LSTM", 1, 2, ROLE_WEIGHT},
    {"", "LSTM", 3, 3, ROLE_SMALL},
    {"", "LSTM", 5, 6, ROLE_STATE},
    {"", "LSTM", 7, 7, ROLE_SMALL},
    {"", "GRU", 1, 2, ROLE_WEIGHT},
    {"", "GRU", 3, 3, ROLE_SMALL},
    {"", "GRU", 5, 5, ROLE_STATE},
    {"", "RNN", 1, 2, ROLE_WEIGHT},
    {"", "RNN", 3, 3, ROLE_SMALL},
    {"", "RNN", 5, 5, ROLE_STATE},
    {"", "QuantizeLinear", 1, 1, ROLE_SCALE},
    {"", "DequantizeLinear", 1, 1, ROLE_SCALE},
    {MC_GRAD_DOMAIN, "FakeQuantize", 0, 0, ROLE_WEIGHT},
    {MC_GRAD_DOMAIN, "LearnedScale", 1, 1, ROLE_SMALL},
    {MC_GRAD_DOMAIN, "BinarizeWeight", 0, 0, ROLE_WEIGHT},
    {"com.microsoft", "FusedMatMul", 0, 1, ROLE_WEIGHT},
    {"com.microsoft", "FusedGemm", 0, 1, ROLE_WEIGHT},
    {"com.microsoft", "FusedGemm", 2, 2, ROLE_SMALL},
    {"com.microsoft", "FusedConv", 0, 1, ROLE_WEIGHT},
    {"com.microsoft", "FusedConv", 2, 2, ROLE_SMALL},
    {"com.microsoft", "Attention", 1, 1, ROLE_WEIGHT},
    {"com.microsoft", "Attention", 2, 2, ROLE_SMALL},
    {"com.microsoft", "MultiHeadAttention", 3, 3, ROLE_SMALL},
    {"com.microsoft", "BiasGelu", 1, 1, ROLE_SMALL},
    {"com.microsoft", "FastGelu", 1, 1, ROLE_SMALL},
    {"com.microsoft", "SkipLayerNormalization", 2, 4, ROLE_SMALL},
    {"com.microsoft", "SkipSimplifiedLayerNormalization", 2, 3, ROLE_SMALL},
    {"com.microsoft", "EmbedLayerNormalization", 2, 4, ROLE_WEIGHT},
    {"com.microsoft", "EmbedLayerNormalization", 5, 6, ROLE_SMALL},
    {"com.microsoft", "GroupNorm", 1, 2, ROLE_SMALL},
};

static bool is_one_of(const struct mc_node *n, const char *const *names)
{
    for (; *names; names++)
        if (mc_node_is(n, *names))
            return true;
    return false;
}

/* Nodes whose output 0 holds the elements of input 0. */
static bool moves(const struct mc_node *n)
{
    static const char *const names[] = {"Identity", "Reshape",  "Transpose", "Slice",   "Split",
                                        "Cast",     "CastLike", "Squeeze",   "Flatten", "Unsqueeze",
                                        "Expand",   "Tile",     "Pad",       "Dropout", NULL};
    return is_one_of(n, names);
}

static bool combines(const struct mc_node *n)
{
    static const char *const names[] = {"Add", "Sub", "Mul", "Div", "Concat", "Sum", "Mean", NULL};
    return is_one_of(n, names);
}

struct finder {
    struct mc_graph *g;
    struct mc_weights *w;
    bool *raw; /* [n_values] made of graph inputs and constants alone, without weights of a layer */
    bool *fixed; /* [n_values] made of constants alone */
    bool *seen;  /* [n_values] listed */
    regex_t freeze, only;
    bool has_freeze, has_only;
    size_t n_freeze, n_only; /* matches */
};

static void mark(struct finder *f)
{
    for (size_t i = 0; i < f->g->n_values; i++) {
        const struct mc_value *v = f->g->values[i];
        f->raw[i] = v && v->is_input && !v->tensor;
        f->fixed[i] = v && mc_constant(v);
    }
    for (size_t i = 0; i < f->g->n_nodes; i++) {
        const struct mc_node *n = f->g->nodes[i];
        bool raw = false, all = moves(n) || combines(n);
        for (size_t k = 0; k < n->n_in && all; k++) {
            if (!n->in[k] || f->fixed[n->in[k]->index] || (k && moves(n)))
                continue;
            all = f->raw[n->in[k]->index];
            raw |= all;
        }
        for (size_t k = 0; k < n->n_out; k++)
            if (n->out[k]) {
                f->raw[n->out[k]->index] = all && raw;
                f->fixed[n->out[k]->index] |= all && !raw && n->n_in;
            }
    }
}

/* What a function of graph/own makes of an input. */
static enum role role_in_own(const struct mc_node *n, int slot)
{
    const struct mc_own *own = mc_own_find(n);
    if (!own)
        return ROLE_NONE;
    if (slot >= own->n_in)
        return ROLE_TABLE;
    return own->roles[slot] == 'w' ? ROLE_WEIGHT : own->roles[slot] == 's' ? ROLE_SMALL : ROLE_NONE;
}

static enum role role_of_use(const struct mc_node *n, int slot)
{
    if (!strcmp(n->domain, MC_OWN_DOMAIN))
        return role_in_own(n, slot);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (slot >= places[i].first && slot <= places[i].last &&
            strcmp(n->op_type, places[i].op) == 0 && strcmp(n->domain, places[i].domain) == 0)
            return places[i].role;
    return combines(n) ? ROLE_OPERAND : ROLE_NONE;
}

/* The most that any use makes of v, also behind nodes that move it or combine it with other constants.
 * *ret_raw: some use combines it with an input of the graph. */
static enum role role_of(const struct finder *f, const struct mc_value *v, int depth, bool *ret_raw)
{
    enum role best = ROLE_NONE;
    for (size_t i = 0; i < v->n_uses && depth < 16; i++) {
        const struct mc_node *n = v->uses[i].node;
        int slot = v->uses[i].slot;
        if (slot < 0)
            continue;
        enum role r = ROLE_NONE;
        if (moves(n) || (combines(n) && f->fixed[n->out[0]->index])) {
            if (slot == 0 || !moves(n))
                for (size_t k = 0; k < n->n_out; k++) {
                    enum role at =
                        n->out[k] ? role_of(f, n->out[k], depth + 1, ret_raw) : ROLE_NONE;
                    r = at > r ? at : r;
                }
        } else {
            r = role_of_use(n, slot);
            if (r == ROLE_OPERAND && n->out[0] && f->raw[n->out[0]->index])
                *ret_raw = true;
        }
        best = r > best ? r : best;
    }
    return best;
}

static bool is_mask(const struct mc_value *v, struct mc_err *err, int *rc)
{
    float *x = NULL;
    int64_t n = 0;
    *rc = mc_constant_f32(v, &x, &n, err);
    bool mask = false;
    for (int64_t i = 0; i < n && !*rc && !mask; i++)
        mask = !(fabsf(x[i]) < 1e4f);
    free(x);
    return mask;
}

static const char *reason(struct finder *f, const struct mc_value *v, enum role role, bool raw,
                          int64_t count, int *rc, struct mc_err *err)
{
    bool only = f->has_only && !regexec(&f->only, v->name, 0, NULL, 0);
    f->n_only += only;
    if (f->has_freeze && !regexec(&f->freeze, v->name, 0, NULL, 0)) {
        f->n_freeze++;
        return "named by --freeze";
    }
    switch (role) {
    case ROLE_STATISTIC: return "a running statistic, which no gradient moves";
    case ROLE_TABLE: return "a table that says what packed bits mean";
    default: break;
    }
    if (f->has_only)
        return only ? NULL : "not named by --train-only";
    switch (role) {
    case ROLE_NONE: return "not in a place for weights; --train-only names it to train it";
    case ROLE_SCALE: return "a scale of quantisation";
    case ROLE_STATE: return "an initial state";
    case ROLE_OPERAND:
        if (raw)
            return "prepares an input";
        if (count == 1)
            return "a single number";
        return is_mask(v, err, rc) ? "a mask" : NULL;
    default: return NULL;
    }
}

static int look_at(struct finder *f, struct mc_value *v, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(v);
    if (!t || f->seen[v->index] || v->outer)
        return 0;
    bool own = v->tensor || (v->producer && mc_node_is(v->producer, "Constant"));
    if (!own || t->dtype == MC_DTYPE_NONE || mc_dtype_info(t->dtype)->kind != MC_KIND_FLOAT ||
        mc_dtype_info(t->dtype)->bits < 16)
        return 0;
    f->seen[v->index] = true;
    bool raw = false;
    int rc = 0;
    int64_t count = mc_tensor_count(t);
    enum role role = role_of(f, v, 0, &raw);
    const char *why = reason(f, v, role, raw, count, &rc, err);
    if (rc || count == 0)
        return rc;
    if (why && (role == ROLE_NONE || role == ROLE_TABLE || (role == ROLE_OPERAND && count == 1)) &&
        !f->has_only)
        return 0; /* a bound of Clip, an epsilon: nobody misses it among the weights */
    f->w->list[f->w->n++] = (struct mc_weight){.value = v,
                                               .shape = t->shape,
                                               .why = why,
                                               .decays = role == ROLE_WEIGHT && t->shape.rank > 1,
                                               .statistic = role == ROLE_STATISTIC};
    f->w->n_trained += !why;
    return 0;
}

static int compile(regex_t *re, bool *has, const char *text, const char *option, struct mc_err *err)
{
    *has = false;
    if (!text)
        return 0;
    int rc = regcomp(re, text, REG_EXTENDED | REG_NOSUB);
    if (rc) {
        char why[128];
        regerror(rc, re, why, sizeof why);
        return mc_fail(err, MC_EUSAGE, "--%s '%s': %s", option, text, why);
    }
    *has = true;
    return 0;
}

static int find(struct finder *f, const struct mc_weights_opts *opts, struct mc_err *err)
{
    int rc = compile(&f->freeze, &f->has_freeze, opts ? opts->freeze : NULL, "freeze", err);
    if (!rc)
        rc = compile(&f->only, &f->has_only, opts ? opts->only : NULL, "train-only", err);
    if (rc)
        return rc;
    mark(f);
    for (size_t i = 0; i < f->g->n_nodes && !rc; i++)
        for (size_t k = 0; k < f->g->nodes[i]->n_in && !rc; k++)
            if (f->g->nodes[i]->in[k])
                rc = look_at(f, f->g->nodes[i]->in[k], err);
    if (!rc && f->has_freeze && !f->n_freeze)
        rc = mc_fail(err, MC_EUSAGE, "--freeze '%s' matches no weight of the model", opts->freeze);
    if (!rc && f->has_only && !f->n_only)
        rc =
            mc_fail(err, MC_EUSAGE, "--train-only '%s' matches no weight of the model", opts->only);
    return rc;
}

int mc_weights_find(struct mc_graph *g, const struct mc_weights_opts *opts, struct mc_weights *ret,
                    struct mc_err *err)
{
    struct mc_weights w = {0};
    struct finder f = {.g = g, .w = &w};
    size_t n = g->n_values + 1;
    f.raw = calloc(n, sizeof *f.raw);
    f.fixed = calloc(n, sizeof *f.fixed);
    f.seen = calloc(n, sizeof *f.seen);
    w.list = mc_arena_array(&w.mem, n, sizeof *w.list);
    int rc = f.raw && f.fixed && f.seen && w.list ? find(&f, opts, err)
                                                  : mc_fail(err, MC_ENOMEM, "out of memory");
    if (f.has_freeze)
        regfree(&f.freeze);
    if (f.has_only)
        regfree(&f.only);
    free(f.raw);
    free(f.fixed);
    free(f.seen);
    if (rc)
        mc_weights_free(&w);
    else
        *ret = w;
    return rc;
}

void mc_weights_free(struct mc_weights *w)
{
    mc_arena_free(&w->mem);
    *w = (struct mc_weights){0};
}
