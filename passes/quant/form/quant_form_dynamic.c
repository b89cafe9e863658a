/* Activations as integers by the range of each run. ONNX Runtime (1.17 to 1.32) makes one DynamicQuantizeMatMul of
 *     DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul(x_scale * w_scale) -> Add(bias)
 * where x has one such reader, and MatMulIntegerToFloat where it has several; with the factors of x_scale * w_scale in the
 * other order it does only the latter. 64 rows by 1024 x 1024: 0.21 of the time of floats; weight-only integers take 0.93. */
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/form/quant_dynamic.h"

/* ---- the activation ---- */

/* A node of `op` that reads x and stands before position `before`. */
static struct mc_node *reader(const struct mc_value *x, const char *op, size_t before)
{
    for (size_t i = 0; i < x->n_uses; i++) {
        struct mc_node *n = x->uses[i].node;
        bool cast = mc_node_is(n, "Cast");
        if (x->uses[i].slot == 0 && mc_node_is(n, op) && n->pos < before &&
            (!cast || mc_node_int(n, "to", 0) == MC_DTYPE_F32))
            return n;
    }
    return NULL;
}

static size_t behind(const struct mc_value *x)
{
    return x->producer ? x->producer->pos + 1 : 0;
}

int mc_quant_put_dynamic(const struct mc_node *at, struct mc_value *x, enum mc_dtype dtype,
                         struct mc_value *ret[3], struct mc_err *err)
{
    struct mc_quant_emit e = {at->graph, behind(x), 0, err};
    struct mc_node *n;
    if (dtype != MC_DTYPE_F32) {
        n = reader(x, "Cast", at->pos);
        x = n ? n->out[0] : mc_quant_emit_cast(&e, "xf", NULL, x, MC_DTYPE_F32);
        if (!x)
            return e.rc;
    }
    e.pos = behind(x);
    n = reader(x, "DynamicQuantizeLinear", at->pos);
    n = n ? n : mc_quant_emit_node(&e, "DynamicQuantizeLinear", "xq", &x, 1, 3);
    for (int i = 0; n && i < 3; i++)
        ret[i] = n->out[i];
    return e.rc;
}

/* ---- the weight ---- */

/* An initializer of fewer bits, or of scales, as `to`; runtimes fold it. */
static struct mc_value *as(struct mc_quant_emit *e, struct mc_value *v, enum mc_dtype to)
{
    const struct mc_tensor *t = v ? mc_constant(v) : NULL;
    return !t || t->dtype == to ? v : mc_quant_emit_cast(e, "c", NULL, v, to);
}

struct mc_value *mc_quant_emit_product(struct mc_quant_emit *e, struct mc_value *const x[3],
                                       const struct mc_quant_matrix *w, struct mc_value *y)
{
    enum mc_dtype type = w->is_signed ? MC_DTYPE_I8 : MC_DTYPE_U8;
    struct mc_value *q = as(e, w->q, type), *zero = w->zero ? as(e, w->zero, type) : NULL;
    struct mc_value *in[] = {x[0], q, x[2], zero};
    struct mc_value *sum = mc_quant_emit_list(e, "MatMulInteger", "p", NULL, in, zero ? 4 : 3);
    struct mc_value *f = mc_quant_emit_cast(e, "f", NULL, sum, MC_DTYPE_F32);
    struct mc_value *scale = mc_quant_emit(e, "Mul", "s", x[1], as(e, w->scale, MC_DTYPE_F32));
    return y ? mc_quant_emit_to(e, "Mul", y, f, scale) : mc_quant_emit(e, "Mul", "m", f, scale);
}

/* ---- a layer ---- */

/* v times a number, for the factors of a Gemm. */
static struct mc_value *times(struct mc_quant_emit *e, struct mc_value *v, float by)
{
    struct mc_shape scalar = {0};
    struct mc_tensor *t = NULL;
    if (!v || e->rc || by == 1)
        return v;
    e->rc = mc_constant_make(&by, &scalar, MC_DTYPE_F32, NULL, &t, e->err);
    return mc_quant_emit(e, "Mul", "b", v, mc_quant_emit_tensor(e, "factor", t));
}

/* What the layer's node said; the node goes before its output is computed anew. */
struct layer {
    struct mc_value *y, *term; /* term: what a Gemm adds, or NULL */
    float alpha, beta;
    bool half; /* computes in 16 bits */
    enum mc_dtype dtype;
};

static struct layer read_layer(const struct mc_node *n, enum mc_dtype dtype)
{
    bool gemm = mc_node_is(n, "Gemm");
    struct layer l = {n->out[0], NULL, 1, 1, dtype != MC_DTYPE_F32, dtype};
    if (gemm) {
        l.alpha = mc_node_float(n, "alpha", 1);
        l.beta = mc_node_float(n, "beta", 1);
        l.term = n->n_in > 2 && l.beta != 0 ? n->in[2] : NULL;
    }
    return l;
}

/* Where a half is computed, a Cast follows; where a term is added, the sum is. */
static void compute(struct mc_quant_emit *e, const struct layer *l, struct mc_value *const x[3],
                    struct mc_quant_matrix *w)
{
    struct mc_value *term = l->term;
    if (term && l->half)
        term = mc_quant_emit_cast(e, "t", NULL, term, MC_DTYPE_F32);
    term = times(e, term, l->beta);
    w->scale = times(e, as(e, w->scale, MC_DTYPE_F32), l->alpha);
    struct mc_value *sum = mc_quant_emit_product(e, x, w, term || l->half ? NULL : l->y);
    if (term && l->half)
        sum = mc_quant_emit(e, "Add", "a", sum, term);
    else if (term)
        mc_quant_emit_to(e, "Add", l->y, sum, term);
    if (l->half)
        mc_quant_emit_cast(e, NULL, l->y, sum, l->dtype);
}

int mc_quant_form_dynamic(struct mc_quant_builder *b, size_t site, struct mc_err *err)
{
    const struct mc_quant_site *s = &b->sites->item[site];
    struct mc_node *n = b->node[site];
    struct mc_quant_placed *at = &b->b->at[site];
    struct mc_quant_type type = mc_quant_weight_type(b->rules, MC_QUANT_DYNAMIC);
    struct mc_quant_cut cut = {b->rules->per_tensor ? -1 : s->out_axis[0], 0};
    struct mc_value *x = n->in[s->x_slot], *in[3];
    int rc = mc_quant_put_weight(b, site, 0, &type, &cut, s->out_axis[0] == 0, MC_DTYPE_F32, err);
    if (!rc && mc_node_is(n, "Gemm") && mc_node_int(n, "transA", 0)) {
        struct mc_quant_emit e = {n->graph, behind(x), 0, err};
        x = mc_quant_emit_transpose(&e, "xt", NULL, x, 2, (const int64_t[]){1, 0});
        rc = e.rc;
    }
    rc = rc ? rc : mc_quant_put_dynamic(n, x, s->dtype, in, err);
    if (rc)
        return rc;
    struct layer l = read_layer(n, s->dtype);
    struct mc_quant_matrix w = {at->w[0].q, at->w[0].scale, at->w[0].zero, type.is_signed};
    struct mc_quant_emit e = {n->graph, n->pos, 0, err};
    mc_edit_remove_node(n);
    compute(&e, &l, in, &w);
    at->node = l.y->producer;
    at->bias = l.term && mc_constant(l.term) ? l.term : NULL;
    if (s->add)
        at->bias = mc_quant_value(b, s->add->in[s->add_slot]);
    return e.rc;
}
