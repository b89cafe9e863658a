#include <math.h>
#include <stdlib.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/form/quant_form_static.h"
#include "passes/quant/form/quant_region_kind.h"

/* Versions of QuantizeLinear: per axis; with 16 bits. */
enum { EIGHT_BITS = 13, SIXTEEN_BITS = 21 };

static const struct mc_shape scalar = {.rank = 0};

static enum mc_dtype integers_of(const struct mc_quant_static *s, bool wide)
{
    bool is_signed = s->b->rules->act_symmetric;
    return wide ? (is_signed ? MC_DTYPE_I16 : MC_DTYPE_U16) : is_signed ? MC_DTYPE_I8 : MC_DTYPE_U8;
}

static int zero_point(struct mc_quant_static *s, bool wide, int32_t zero, struct mc_value **ret,
                      struct mc_err *err)
{
    uint16_t content = (uint16_t)zero; /* little endian: the low byte is first */
    struct mc_value **kept = wide ? NULL : &s->zeros[zero & 255];
    *ret = kept ? *kept : NULL;
    if (*ret)
        return 0;
    int rc = mc_quant_static_const(s, wide ? "z16_" : "z", content & (wide ? 65535 : 255),
                                   integers_of(s, wide), &scalar, &content, ret, err);
    if (!rc && kept)
        *kept = *ret;
    return rc;
}

/* Scale and zero point, of the value that they are from. */
static int parameters(struct mc_quant_static *s, const struct mc_value *v, bool wide,
                      struct mc_quant_pair *ret, struct mc_err *err)
{
    const struct mc_value *root = wide ? v : mc_quant_region_root(&s->r, v);
    struct mc_quant_pair *of = wide ? &s->wide[root->index] : &s->pair[root->index];
    const struct mc_quant_param *p =
        wide ? &s->r.at[v->index].wide_param : &s->r.at[v->index].param;
    int rc = 0;
    if (!of->scale)
        rc = mc_quant_static_const(s, wide ? "s16_" : "s", root->index, MC_DTYPE_F32, &scalar,
                                   &p->scale, &of->scale, err);
    if (!rc && !of->zero)
        rc = zero_point(s, wide, p->zero, &of->zero, err);
    ret->scale = of->scale;
    ret->zero = of->zero;
    return rc;
}

/* HardSigmoid(x) = alpha clip(x + beta/alpha, 0, 1/alpha): a sum that the integers cut off, with a scale of its own on the way in;
 * what comes out is alpha times it. */
static int harden(struct mc_quant_static *s, const struct mc_value *before,
                  struct mc_value **ret_scale, struct mc_err *err)
{
    struct mc_node *n = s->node[before->producer->id];
    float alpha = mc_node_float(n, "alpha", 0.2F), shift = mc_node_float(n, "beta", 0.5F) / alpha,
          scale = mc_quant_hard_param.scale / alpha;
    struct mc_value *c, *operand;
    int rc = mc_quant_static_const(s, "h", before->index, MC_DTYPE_F32, &scalar, &shift, &c, err);
    if (!rc)
        rc = mc_quant_static_operand(s, c, &operand, err);
    if (!rc)
        rc = mc_edit_op(n, "", "Add", (int)mc_graph_opset(n->graph, ""), err);
    if (!rc)
        rc = mc_edit_set_input(n, 1, operand, err);
    if (rc)
        return rc;
    mc_edit_attr_remove(n, "alpha");
    mc_edit_attr_remove(n, "beta");
    return mc_quant_static_const(s, "hs", before->index, MC_DTYPE_F32, &scalar, &scale, ret_scale,
                                 err);
}

/* The integers of what a factor is for, with a scale of their own. */
static int put_rescaled(struct mc_quant_static *s, const struct mc_value *before,
                        const struct mc_value *of, struct mc_err *err)
{
    struct mc_quant_pair *pair = &s->pair[before->index], *from = &s->pair[of->index];
    struct mc_value *in[3] = {from->q, NULL, from->zero};
    struct mc_node *n;
    *pair = *from;
    int rc = mc_quant_static_const(s, "s", before->index, MC_DTYPE_F32, &scalar,
                                   &s->r.at[before->index].param.scale, &in[1], err);
    pair->scale = in[1];
    return rc ? rc
              : mc_quant_static_node(s, from->q->producer->pos + 1, "DequantizeLinear", EIGHT_BITS,
                                     "d", before->index, in, 3, &pair->v, &n, err);
}

/* Fewer bits than the type has: what is beyond them is cut off first. */
static int limit(struct mc_quant_static *s, const struct mc_quant_param *p, size_t pos,
                 size_t number, struct mc_value **x, struct mc_err *err)
{
    struct mc_quant_type t = mc_quant_act_type(s->b->rules, false);
    int32_t lo, hi;
    struct mc_value *in[3] = {*x, NULL, NULL};
    struct mc_node *n;
    if (t.bits >= 8)
        return 0;
    mc_quant_type_limits(&t, &lo, &hi);
    float least = (float)(lo - p->zero) * p->scale, most = (float)(hi - p->zero) * p->scale;
    int rc = mc_quant_static_const(s, "lo", number, MC_DTYPE_F32, &scalar, &least, &in[1], err);
    if (!rc)
        rc = mc_quant_static_const(s, "hi", number, MC_DTYPE_F32, &scalar, &most, &in[2], err);
    return rc ? rc : mc_quant_static_node(s, pos, "Clip", 13, "l", number, in, 3, x, &n, err);
}

/* x -> QuantizeLinear -> DequantizeLinear; *ret_first reads x. */
static int put_pair(struct mc_quant_static *s, const struct mc_value *before, bool wide,
                    struct mc_value *x, struct mc_node **ret_first, struct mc_err *err)
{
    struct mc_quant_pair *pair = wide ? &s->wide[before->index] : &s->pair[before->index];
    const struct mc_quant_point *at = &s->r.at[before->index];
    struct mc_value *from = x, *q, *in[3];
    struct mc_node *n, *last;
    int need = wide ? SIXTEEN_BITS : EIGHT_BITS;
    struct mc_quant_pair made;
    int rc = parameters(s, before, wide, &made, err);
    if (!rc && at->dtype != MC_DTYPE_F32 && !at->made) /* units compute in float32 */
        rc = mc_quant_static_cast(s, x, at->dtype, MC_DTYPE_F32, &from, err);
    size_t pos = from->producer ? from->producer->pos + 1 : 0;
    *ret_first = from != x ? from->producer : NULL;
    struct mc_value *clipped = from;
    if (!rc && !wide)
        rc = limit(s, &at->param, pos, before->index, &clipped, err);
    if (!*ret_first && clipped != from)
        *ret_first = clipped->producer;
    if (rc)
        return rc;
    pos = clipped->producer ? clipped->producer->pos + 1 : 0;
    in[0] = clipped;
    in[1] = made.scale;
    in[2] = made.zero;
    if (!wide && at->made && mc_node_is(before->producer, "HardSigmoid"))
        rc = harden(s, before, &in[1], err);
    if (rc)
        return rc;
    rc = mc_quant_static_node(s, pos, "QuantizeLinear", need, wide ? "q16_" : "q", before->index,
                              in, 3, &q, &n, err);
    if (rc)
        return rc;
    if (!*ret_first)
        *ret_first = n;
    in[0] = made.q = q;
    in[1] = made.scale;
    rc = mc_quant_static_node(s, n->pos + 1, "DequantizeLinear", need, wide ? "d16_" : "d",
                              before->index, in, 3, &made.v, &last, err);
    if (!rc)
        *pair = made;
    return rc;
}

/* Everything that read x reads what is behind the pair, in the type that it takes. */
static int move_readers(struct mc_quant_static *s, const struct mc_value *before,
                        struct mc_value *x, struct mc_err *err)
{
    struct mc_value *to;
    enum mc_dtype dtype = s->r.at[before->index].dtype;
    int rc = mc_quant_static_cast(s, s->pair[before->index].v, MC_DTYPE_F32, dtype, &to, err);
    if (!rc)
        rc = mc_edit_replace_uses(x, to, err);
    return rc || dtype == MC_DTYPE_F32 ? rc : mc_quant_static_declare(to, dtype, err);
}

static int put_value(struct mc_quant_static *s, const struct mc_value *before, struct mc_err *err)
{
    const struct mc_quant_point *at = &s->r.at[before->index];
    struct mc_value *x = at->on || at->wide ? mc_quant_value(s->b, before) : NULL;
    struct mc_node *first = NULL, *wide = NULL;
    float factor;
    int rc = 0;
    if (!x)
        return 0;
    if (at->wide)
        rc = put_pair(s, before, true, x, &wide, err);
    if (rc || !at->on)
        return rc;
    bool rescaled = before->producer && s->r.unit[before->producer->id].integer &&
                    s->r.unit[before->producer->id].kind == MC_QUANT_RESCALE;
    rc = rescaled
             ? put_rescaled(s, before,
                            before->producer->in[mc_quant_rescales(before->producer, &factor)], err)
             : put_pair(s, before, false, x, &first, err);
    if (!rc && at->all)
        rc = move_readers(s, before, x, err);
    if (!rc && at->all && first)
        rc = mc_edit_set_input(first, 0, x, err);
    return rc || !at->all || !wide ? rc : mc_edit_set_input(wide, 0, x, err);
}

/* In the order in which they are computed: integers that are used again are there. */
int mc_quant_static_pairs(struct mc_quant_static *s, struct mc_err *err)
{
    const struct mc_graph *g = s->r.g;
    int rc = 0;
    for (size_t i = 0; i < g->n_inputs && !rc; i++)
        rc = put_value(s, g->inputs[i], err);
    for (size_t i = 0; i < g->n_nodes && !rc; i++)
        for (size_t k = 0; k < g->nodes[i]->n_out && !rc; k++)
            if (g->nodes[i]->out[k])
                rc = put_value(s, g->nodes[i]->out[k], err);
    return rc;
}

int mc_quant_static_operand(struct mc_quant_static *s, struct mc_value *c, struct mc_value **ret,
                            struct mc_err *err)
{
    struct mc_quant_type type = mc_quant_act_type(s->b->rules, false);
    struct mc_quant_hist h = {0};
    struct mc_quant_param p;
    int64_t n;
    int32_t lo, hi;
    float *x;
    struct mc_node *node;
    struct mc_value *in[3];
    const struct mc_shape *shape = &mc_constant(c)->shape;
    int rc = mc_constant_f32(c, &x, &n, err);
    if (rc)
        return rc;
    for (int64_t i = 0; i < n; i++) {
        h.min = i && h.min < (double)x[i] ? h.min : (double)x[i];
        h.max = i && h.max > (double)x[i] ? h.max : (double)x[i];
    }
    h.n = (uint64_t)n;
    mc_quant_range(&h, &type, MC_QUANT_MINMAX, 0, &p);
    mc_quant_type_limits(&type, &lo, &hi);
    uint8_t *q = malloc((size_t)n + 1);
    if (!q)
        rc = mc_quant_static_no_memory(err);
    for (int64_t i = 0; i < n && !rc; i++) {
        double at = nearbyint((double)x[i] / (double)p.scale) + p.zero;
        q[i] = (uint8_t)(at < lo ? lo : at > hi ? hi : at);
    }
    if (!rc)
        rc = mc_quant_static_const(s, "k", c->index, MC_DTYPE_U8, shape, q, &in[0], err);
    if (!rc)
        rc = mc_quant_static_const(s, "ks", c->index, MC_DTYPE_F32, &scalar, &p.scale, &in[1], err);
    if (!rc)
        rc = zero_point(s, false, p.zero, &in[2], err);
    if (!rc)
        rc = mc_quant_static_node(s, 0, "DequantizeLinear", EIGHT_BITS, "kd", c->index, in, 3, ret,
                                  &node, err);
    free(q);
    free(x);
    return rc;
}
