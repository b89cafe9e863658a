#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/form/quant_form_static.h"
#include "passes/quant/form/quant_region_kind.h"

/* An int32 bias stays this far from its limits, so that it can be corrected and added to later. */
static const double bias_most = 1 << 30;

/* ---- bias ---- */

struct bias {
    struct mc_node *node; /* that reads it */
    size_t slot;
    float *x;       /* as floats; NULL: nothing to put in place */
    int64_t n;      /* numbers, one an output channel */
    const float *w; /* scales of the weight */
    int64_t n_w;    /* 1, or a divisor of n */
    double x_scale;
};

static double scale_at(const struct bias *b, int64_t c)
{
    return b->x_scale * (double)b->w[c % b->n_w];
}

static int64_t channels(const struct mc_quant_site *t)
{
    const struct mc_shape *w = &mc_constant(t->weight[0])->shape;
    int64_t n = w->dim[t->out_axis[0]];
    return t->kind == MC_QUANT_CONVT ? n * mc_node_int(t->node, "group", 1) : n;
}

/* beta goes into the numbers, one number becomes as many as there are channels. */
static int spread(struct bias *b, int64_t n, double beta, struct mc_err *err)
{
    float *x = mc_calloc((size_t)n + 1, sizeof *x);
    if (!x)
        return mc_quant_static_no_memory(err);
    for (int64_t c = 0; c < n; c++)
        x[c] = (float)(beta * (double)b->x[b->n == 1 ? 0 : c]);
    free(b->x);
    b->x = x;
    b->n = n;
    return 0;
}

/* Does ONNX Runtime 1.32 make a Gemm of MatMul and Add, which is one of floats unless its bias is an integer? It does where the
 * whole shape is known. Elsewhere the product gives floats and a bias of floats is added 1.1 to 1.4 times as fast ([b,50,64] x
 * [64,64], one thread of a Sapphire Rapids). */
static int becomes_gemm(struct mc_quant_static *s, const struct mc_value *x, bool *ret,
                        struct mc_err *err)
{
    int rc = s->inf ? 0 : mc_infer_run(s->b->before->graph, NULL, &s->inf, err);
    const struct mc_vtype *t = rc ? NULL : mc_infer_of(s->inf, x);
    *ret = t && t->ranked && (t->shape.rank <= 2 || mc_shape_known(&t->shape));
    return rc;
}

/* Its numbers, where they are constant and one an output channel. */
static int read_bias(struct mc_quant_static *s, size_t site, struct bias *b, struct mc_err *err)
{
    const struct mc_quant_site *t = &s->b->sites->item[site];
    int64_t n = channels(t);
    b->node = mc_quant_node(s->b, site);
    if (t->kind == MC_QUANT_MATMUL) {
        bool gemm;
        if (!t->add || t->x_slot != 0)
            return 0;
        int rc = becomes_gemm(s, t->node->in[0], &gemm, err);
        if (rc || !gemm)
            return rc;
        b->node = s->node[t->add->id];
        b->slot = (size_t)t->add_slot;
    } else if (t->bias_slot < 0 || (size_t)t->bias_slot >= b->node->n_in) {
        return 0;
    } else {
        b->slot = (size_t)t->bias_slot;
    }
    const struct mc_tensor *c =
        b->node && b->node->in[b->slot] ? mc_constant(b->node->in[b->slot]) : NULL;
    if (!c || mc_dtype_info(c->dtype)->kind != MC_KIND_FLOAT)
        return 0;
    int64_t count = mc_tensor_count(c);
    bool row = c->shape.rank > 0 && c->shape.dim[c->shape.rank - 1] == count;
    if (count != 1 &&
        (count != n || (t->kind != MC_QUANT_CONV && t->kind != MC_QUANT_CONVT && !row)))
        return 0;
    int rc = mc_constant_f32(b->node->in[b->slot], &b->x, &b->n, err);
    bool gemm = t->kind == MC_QUANT_GEMM;
    return rc ? rc : spread(b, n, gemm ? (double)mc_node_float(b->node, "beta", 1) : 1, err);
}

/* ---- weights that are too small beside the bias ---- */

/* The least scale of weights of channel c at which the bias fits. */
static double least_scale(const struct bias *b, int64_t c)
{
    double least = 0;
    for (int64_t i = c; i < b->n; i += b->n_w)
        least = fmax(least, fabs((double)b->x[i]) / (bias_most * b->x_scale));
    return least;
}

static bool fits(const struct bias *b)
{
    for (int64_t c = 0; c < b->n_w; c++)
        if ((double)b->w[c] < least_scale(b, c) * (1 - 1e-6))
            return false;
    return true;
}

/* Integers of its own for this site, with larger scales for the channels that need them: what they lose is less than a
 * millionth of the bias each. */
static int coarser(struct mc_quant_static *s, size_t site, struct bias *b, struct mc_value **w,
                   struct mc_err *err)
{
    const struct mc_quant_site *t = &s->b->sites->item[site];
    struct mc_quant_placed_weight *at = &s->b->b->at[site].w[0];
    const struct mc_tensor *q = mc_constant(at->q), *z = at->zero ? mc_constant(at->zero) : NULL;
    struct mc_shape per = mc_constant(at->scale)->shape;
    struct mc_value *in[3];
    struct mc_node *n;
    int64_t count = mc_tensor_count(q), inner = 1;
    if (q->dtype != MC_DTYPE_I8 && q->dtype != MC_DTYPE_U8)
        return mc_fail(err, MC_EUSAGE,
                       "%s '%s' cannot be static: its bias is too large for its weights",
                       t->node->op_type, mc_node_label(t->node));
    float *scale = mc_calloc((size_t)b->n_w + 1, sizeof *scale), *x = NULL;
    uint8_t *made = malloc((size_t)count + 1);
    int rc = scale && made ? 0 : mc_quant_static_no_memory(err);
    for (int i = at->axis + 1; at->axis >= 0 && i < q->shape.rank; i++)
        inner *= q->shape.dim[i];
    if (!rc)
        rc = mc_quant_weight_f32(q, mc_constant(at->scale), z, &(struct mc_quant_cut){at->axis, 0},
                                 &x, err);
    for (int64_t c = 0; !rc && c < b->n_w; c++)
        scale[c] = (float)fmax((double)b->w[c], least_scale(b, c));
    for (int64_t i = 0; !rc && i < count; i++) {
        int64_t c = b->n_w == 1 ? 0 : i / inner % b->n_w;
        int64_t zero = !z ? 0 : z->dtype == MC_DTYPE_I8 ? (int8_t)z->data[c] : z->data[c];
        made[i] = scale[c] == b->w[c]
                      ? q->data[i]
                      : (uint8_t)(zero + (int64_t)nearbyint((double)x[i] / (double)scale[c]));
    }
    if (!rc)
        rc = mc_quant_static_const(s, "wq", site, q->dtype, &q->shape, made, &in[0], err);
    if (!rc)
        rc = mc_quant_static_const(s, "ws", site, MC_DTYPE_F32, &per, scale, &in[1], err);
    if (!rc) {
        in[2] = at->zero;
        rc = mc_quant_static_node(s, 0, "DequantizeLinear", 13, "wd", site, in, at->zero ? 3 : 2, w,
                                  &n, err);
    }
    if (!rc && at->axis >= 0 && at->axis != 1)
        rc = mc_edit_attr_int(n, "axis", at->axis, err);
    if (!rc) {
        at->q = in[0];
        at->scale = in[1];
        b->w = (const float *)(const void *)mc_constant(in[1])->data;
    }
    free(scale);
    free(made);
    free(x);
    return rc;
}

/* ---- the integer bias ---- */

static int put_bias(struct mc_quant_static *s, size_t site, const struct bias *b,
                    struct mc_err *err)
{
    struct mc_quant_placed *at = &s->b->b->at[site];
    struct mc_shape shape = mc_shape_of(1, &b->n);
    int32_t *q = mc_calloc((size_t)b->n + 1, sizeof *q);
    float *scale = mc_calloc((size_t)b->n + 1, sizeof *scale);
    struct mc_value *in[2], *v;
    struct mc_node *n;
    int rc = q && scale ? 0 : mc_quant_static_no_memory(err);
    for (int64_t c = 0; !rc && c < b->n; c++) {
        scale[c] = (float)fmax(scale_at(b, c), (double)FLT_MIN);
        q[c] = (int32_t)nearbyint(
            fmin(fmax((double)b->x[c] / (double)scale[c], -2 * bias_most), 2 * bias_most - 1));
    }
    if (!rc)
        rc = mc_quant_static_const(s, "b", site, MC_DTYPE_I32, &shape, q, &in[0], err);
    if (!rc)
        rc = mc_quant_static_const(s, "bs", site, MC_DTYPE_F32, &shape, scale, &in[1], err);
    if (!rc)
        rc = mc_quant_static_node(s, b->node->pos, "DequantizeLinear", 13, "bd", site, in, 2, &v,
                                  &n, err);
    if (!rc)
        rc = mc_edit_attr_int(n, "axis", 0, err);
    if (!rc)
        rc = mc_edit_set_input(b->node, b->slot, v, err);
    if (!rc) {
        at->bias = in[0];
        at->bias_scale = in[1];
    }
    free(q);
    free(scale);
    return rc;
}

/* Of a site whose bias stays as it is. */
static void float_bias(struct mc_quant_static *s, size_t site)
{
    const struct mc_quant_site *t = &s->b->sites->item[site];
    const struct mc_node *n = t->add ? s->node[t->add->id] : mc_quant_node(s->b, site);
    int slot = t->add ? t->add_slot : t->bias_slot;
    if (n && slot >= 0 && (size_t)slot < n->n_in && n->in[slot] && mc_constant(n->in[slot]))
        s->b->b->at[site].bias = n->in[slot];
}

/* ---- the weight ---- */

/* ONNX Runtime 1.32 fuses Gemm only where its weight has a zero point; Conv and MatMul need none. */
static int give_zero(struct mc_quant_static *s, size_t site, struct mc_value *w, struct mc_err *err)
{
    struct mc_quant_placed_weight *at = &s->b->b->at[site].w[0];
    struct mc_node *n = w->producer;
    if (n->n_in > 2 && n->in[2])
        return 0;
    const struct mc_tensor *q = mc_constant(n->in[0]), *scale = mc_constant(n->in[1]);
    if (!q || !scale)
        return 0;
    int rc = mc_quant_static_const(s, "wz", site, q->dtype, &scale->shape, NULL, &at->zero, err);
    return rc ? rc : mc_edit_set_input(n, 2, at->zero, err);
}

/* Scales of its own for this site, a factor times those of the weight. */
static int scaled(struct mc_quant_static *s, size_t site, double factor, struct mc_value **w,
                  struct mc_err *err)
{
    struct mc_quant_placed_weight *at = &s->b->b->at[site].w[0];
    const struct mc_node *of = (*w)->producer;
    const struct mc_shape shape = mc_constant(of->in[1])->shape;
    struct mc_value *in[3] = {of->in[0], NULL, of->n_in > 2 ? of->in[2] : NULL};
    struct mc_node *n;
    float *scale;
    int64_t count;
    int rc = mc_constant_f32(of->in[1], &scale, &count, err);
    if (rc)
        return rc;
    for (int64_t i = 0; i < count; i++)
        scale[i] = (float)fmax((double)scale[i] * factor, (double)FLT_MIN);
    rc = mc_quant_static_const(s, "ws", site, MC_DTYPE_F32, &shape, scale, &in[1], err);
    free(scale);
    if (!rc)
        rc = mc_quant_static_node(s, 0, "DequantizeLinear", 13, "wd", site, in, in[2] ? 3 : 2, w,
                                  &n, err);
    if (!rc && mc_node_attr(of, "axis"))
        rc = mc_edit_attr_int(n, "axis", mc_node_int(of, "axis", 1), err);
    at->scale = in[1];
    return rc;
}

/* ONNX Runtime 1.32 fuses Gemm only with factors of 1: alpha goes into the scales, unless it is negative. */
static int put_weight(struct mc_quant_static *s, size_t site, struct mc_value **ret,
                      struct mc_err *err)
{
    const struct mc_quant_site *t = &s->b->sites->item[site];
    struct mc_quant_type type = mc_quant_weight_type(s->b->rules, s->b->form[site]);
    struct mc_quant_cut cut = {s->b->rules->per_tensor ? -1 : t->out_axis[0], 0};
    int rc = mc_quant_put_weight(s->b, site, 0, &type, &cut, t->transposed[0], MC_DTYPE_F32, err);
    if (!rc)
        rc = mc_quant_put_float(s->b, site, 0, false, ret, err);
    if (!rc && t->dtype != MC_DTYPE_F32 && mc_node_is((*ret)->producer, "Cast") &&
        s->b->form[site] == MC_QUANT_STATIC)
        *ret = (*ret)->producer->in[0];              /* the layer computes in float32 */
    if (!rc && (t->kind == MC_QUANT_GEMM || t->add)) /* MatMul and Add become Gemm there */
        rc = give_zero(s, site, *ret, err);
    struct mc_node *n = mc_quant_node(s->b, site);
    double alpha = t->kind == MC_QUANT_GEMM ? (double)mc_node_float(n, "alpha", 1) : 1;
    if (!rc && alpha > 0 && alpha != 1 && (*ret)->producer->n_in > 1) {
        rc = scaled(s, site, alpha, ret, err);
        mc_edit_attr_remove(n, "alpha");
    }
    return rc;
}

static int put_wide_inputs(struct mc_quant_static *s, size_t site, struct mc_err *err)
{
    const struct mc_node *before = s->b->sites->item[site].node;
    struct mc_node *n = mc_quant_node(s->b, site);
    int rc = 0;
    for (size_t k = 0; k < before->n_in && !rc; k++) {
        const struct mc_value *x = before->in[k];
        struct mc_value *v;
        if (!x || !s->wide[x->index].v || !mc_quant_site_reads(&s->b->sites->item[site], k))
            continue;
        rc = mc_quant_static_cast(s, s->wide[x->index].v, MC_DTYPE_F32, s->r.at[x->index].dtype, &v,
                                  err);
        if (!rc)
            rc = mc_edit_set_input(n, k, v, err);
    }
    return rc;
}

int mc_quant_static_layer(struct mc_quant_static *s, size_t site, struct mc_err *err)
{
    const struct mc_quant_site *t = &s->b->sites->item[site];
    bool wide = s->b->form[site] == MC_QUANT_STATIC16;
    struct mc_node *n = mc_quant_node(s->b, site);
    struct bias b = {.x_scale = 1};
    struct mc_value *w;
    int rc = wide ? put_wide_inputs(s, site, err) : 0;
    if (rc || !t->n_weights)
        return rc;
    rc = put_weight(s, site, &w, err);
    if (!rc && !wide)
        rc = read_bias(s, site, &b, err);
    if (!rc && b.x) {
        const struct mc_tensor *scale = mc_constant(s->b->b->at[site].w[0].scale);
        b.w = (const float *)(const void *)scale->data;
        b.n_w = mc_tensor_count(scale);
        b.x_scale = (double)s->r.at[t->node->in[t->x_slot]->index].param.scale;
        if (!s->b->sizes_only && !fits(&b))
            rc = coarser(s, site, &b, &w, err);
        if (!rc)
            rc = put_bias(s, site, &b, err);
        if (!rc && t->kind == MC_QUANT_GEMM)
            mc_edit_attr_remove(n, "beta");
    } else if (!rc) {
        float_bias(s, site);
    }
    free(b.x);
    return rc ? rc : mc_edit_set_input(n, (size_t)t->slot[0], w, err);
}
