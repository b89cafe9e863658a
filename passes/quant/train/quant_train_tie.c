#include "passes/quant/train/quant_train_tie.h"

#include <math.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/train/quant_train_form.h"

enum { X, SCALE, ZERO };

static bool is_one_of(const struct mc_node *n, const char *const *names)
{
    for (; *names; names++)
        if (mc_node_is(n, *names))
            return true;
    return false;
}

/* Nodes whose results are elements of input 0. */
static bool moves(const struct mc_node *n)
{
    static const char *const names[] = {
        "MaxPool", "GlobalMaxPool", "Reshape",      "Flatten",      "Transpose", "Squeeze",
        "Gather",  "Unsqueeze",     "Slice",        "Split",        "Identity",  "Expand",
        "Tile",    "Dropout",       "DepthToSpace", "SpaceToDepth", "Pad",       NULL};
    return is_one_of(n, names);
}

static const struct mc_tensor *content(const struct mc_node *n, size_t i)
{
    return i < n->n_in && n->in[i] ? mc_constant(n->in[i]) : NULL;
}

/* ---- shared ---- */

/* The node that quantises v, behind nodes that move it; input k of a Concat. */
static struct mc_node *source_of(const struct mc_value *v, size_t k)
{
    struct mc_node *n = v->producer;
    for (int depth = 0; n && depth < 64; depth++) {
        if (mc_train_is(n, mc_train_fake))
            return n;
        bool joins = mc_node_is(n, "Concat");
        if (!(joins ? k < n->n_in : moves(n)))
            return NULL;
        v = n->in[joins ? k : 0];
        k = joins ? 0 : k;
        n = v ? v->producer : NULL;
    }
    return NULL;
}

/* Every use of `from` in training forms reads `to`. */
static int put(struct mc_value *from, struct mc_value *to, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = from->n_uses; i-- > 0 && !rc;) {
        struct mc_use u = from->uses[i];
        if (u.slot == SCALE && mc_train_is(u.node, mc_train_fake))
            rc = mc_edit_set_input(u.node, SCALE, to, err);
    }
    if (!rc)
        mc_train_drop(from);
    return rc;
}

int mc_train_share(struct mc_graph *g, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < g->n_nodes && !rc; i++) {
        const struct mc_node *n = g->nodes[i], *s;
        if (!mc_train_is(n, mc_train_fake) || mc_node_int(n, "stored", 0))
            continue;
        for (size_t k = 0; k < 64 && !rc && (s = source_of(n->in[X], k)); k++)
            if (s->in[SCALE] != n->in[SCALE] && content(n, SCALE) &&
                mc_train_same(content(s, SCALE), content(n, SCALE)) &&
                mc_train_same(content(s, ZERO), content(n, ZERO)))
                rc = put(s->in[SCALE], n->in[SCALE], err);
    }
    return rc;
}

/* ---- tied ---- */

/* The node that quantises input i of a layer. */
static struct mc_node *quantiser(const struct mc_node *layer, size_t i)
{
    struct mc_node *n = i < layer->n_in && layer->in[i] ? layer->in[i]->producer : NULL;
    while (n && (mc_node_is(n, "Transpose") || mc_node_is(n, "Reshape")) && n->in[0])
        n = n->in[0]->producer;
    return n && mc_train_is(n, mc_train_fake) ? n : NULL;
}

static bool has_bias(const struct mc_node *n, int slot)
{
    static const char *const names[] = {"Conv", "ConvTranspose", "Gemm", NULL};
    return slot == 2 && is_one_of(n, names);
}

/* Whether a b is what the bias has for a scale. */
static int is_product(const struct mc_node *bias, const struct mc_value *a,
                      const struct mc_value *b, bool *ret, struct mc_err *err)
{
    const struct mc_tensor *own = content(bias, SCALE);
    struct mc_tensor *t;
    *ret = false;
    if (a->outer || b->outer || !mc_constant(a) || !mc_constant(b) ||
        mc_constant(a)->shape.rank > 1 || mc_constant(b)->shape.rank > 1)
        return 0;
    int64_t n = mc_tensor_count(mc_constant(a)), m = mc_tensor_count(mc_constant(b));
    int64_t count = mc_tensor_count(own);
    if ((n != 1 && m != 1 && n != m) || count != (n > m ? n : m))
        return 0;
    int rc = mc_train_product(mc_constant(a), mc_constant(b), &t, err);
    if (rc)
        return rc;
    *ret = true;
    for (int64_t i = 0; i < count; i++) {
        float x, y;
        memcpy(&x, own->data + (size_t)i * sizeof x, sizeof x);
        memcpy(&y, t->data + (size_t)i * sizeof y, sizeof y);
        *ret = *ret && fabsf(x - y) <= 1e-5F * fabsf(x);
    }
    mc_tensor_unref(t);
    return 0;
}

static int tie(struct mc_graph *g, struct mc_node *bias, struct mc_value *a, struct mc_value *b,
               struct mc_err *err)
{
    struct mc_value *in[2] = {a, b}, *old = bias->in[SCALE], *out = mc_edit_fresh(g, old->name);
    struct mc_node *mul;
    int rc = out ? mc_edit_node(g, bias->pos, "Mul", "", 13, "", in, 2, &out, 1, &mul, err)
                 : mc_train_no_memory(err);
    rc = rc ? rc : mc_edit_attr_string(bias, "tied", old->name, err);
    rc = rc ? rc : mc_edit_set_input(bias, SCALE, out, err);
    if (!rc)
        mc_train_drop(old);
    return rc;
}

int mc_train_tie(struct mc_graph *g, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < g->n_nodes && !rc; i++) {
        struct mc_node *n = g->nodes[i], *x = NULL, *w = NULL;
        bool fits = mc_train_is(n, mc_train_fake) && mc_node_int(n, "stored", 0) &&
                    mc_node_int(n, "type", 0) == MC_DTYPE_I32 && n->out[0]->n_uses == 1 &&
                    has_bias(n->out[0]->uses[0].node, n->out[0]->uses[0].slot);
        if (fits) {
            x = quantiser(n->out[0]->uses[0].node, 0);
            w = quantiser(n->out[0]->uses[0].node, 1);
        }
        if (!x || !w)
            continue;
        rc = is_product(n, x->in[SCALE], w->in[SCALE], &fits, err);
        if (!rc && fits) {
            rc = tie(g, n, x->in[SCALE], w->in[SCALE], err);
            i = n->pos;
        }
    }
    return rc;
}
