#include "passes/quant/form/quant_put.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"

/* Names longer than this are left out of those made from them: a file has each several times. */
enum { NAME_MAX_KEPT = 12, NAME = 64 };
/* The version of ai.onnx with which an operator takes what is asked of it. */
enum { CAST = 6, MATH = 7, DEQUANTIZE = 10, AXIS = 13, HALF_SCALE = 19, BLOCK = 21, TWO_BITS = 25 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
}

struct mc_quant_type mc_quant_weight_type(const struct mc_quant_rules *r, enum mc_quant_form form)
{
    bool block = form == MC_QUANT_BLOCK;
    struct mc_quant_type t = {.bits = block ? r->block_bits : r->weight_bits,
                              .is_signed = block || !r->weight_unsigned,
                              .symmetric = !r->weight_asymmetric};
    if (r->reduce_range && !block && form != MC_QUANT_WEIGHT && t.bits == 8)
        t.bits = 7;
    t.narrow = t.is_signed && t.symmetric && !block;
    return t;
}

/* ---- where ---- */

/* The value that holds the constant that v of `before` is. */
static const struct mc_value *origin(const struct mc_value *v)
{
    for (;;)
        if (v->outer)
            v = v->outer;
        else if (v->producer && mc_node_is(v->producer, "Identity") && v->producer->n_in == 1)
            v = v->producer->in[0];
        else
            return v;
}

/* Of another graph: in front of all; of the node's own: in front of it. */
static size_t place(const struct mc_quant_builder *b, size_t site, const struct mc_graph *home)
{
    const struct mc_node *n = b->node[site];
    return n->graph == home ? n->pos : 0;
}

static size_t behind(const struct mc_value *v, size_t pos)
{
    return v && v->producer && v->producer->pos >= pos ? v->producer->pos + 1 : pos;
}

static int seen_from(struct mc_graph *g, struct mc_value *v, struct mc_value **ret,
                     struct mc_err *err)
{
    *ret = !v || v->graph == g ? v : mc_edit_resolve(g, v->name);
    return v && !*ret ? no_memory(err) : 0;
}

static void name_of(const struct mc_quant_builder *b, size_t site, int k, const char *suffix,
                    char ret[NAME])
{
    const char *name = b->sites->item[site].weight[k]->name;
    if (strlen(name) <= NAME_MAX_KEPT)
        snprintf(ret, NAME, "%s_%s", name, suffix);
    else
        snprintf(ret, NAME, "w%zu%s_%s", site, k ? "r" : "", suffix);
}

/* A node with one output in front of the user, behind its inputs; in[1] and in[2] may be NULL. */
static int put_node(struct mc_graph *g, size_t pos, const char *op, int need, const char *name,
                    struct mc_value *const in[3], struct mc_value **ret, struct mc_node **ret_node,
                    struct mc_err *err)
{
    size_t n_in = in[2] ? 3 : in[1] ? 2 : 1;
    *ret = mc_edit_fresh(g, name);
    if (!*ret)
        return no_memory(err);
    for (size_t i = 0; i < n_in; i++)
        pos = behind(in[i], pos);
    int version = need > mc_graph_opset(g, "") ? need : 0;
    return mc_edit_node(g, pos, op, "", version, "", in, n_in, ret, 1, ret_node, err);
}

/* ---- integers ---- */

static enum mc_dtype scale_type_of(const struct mc_quant_builder *b, const struct mc_quant_site *s,
                                   enum mc_dtype asked)
{
    bool half = s->dtype == MC_DTYPE_F16 || s->dtype == MC_DTYPE_BF16;
    if (asked)
        return asked;
    return half && b->sites->opset >= HALF_SCALE ? s->dtype : MC_DTYPE_F32;
}

/* The same integers, or (if `turned`) those of the transpose. */
static struct mc_quant_put *find(const struct mc_quant_builder *b, const struct mc_quant_key *key,
                                 const struct mc_graph *home, bool turned)
{
    struct mc_quant_key k = *key;
    k.transposed ^= turned;
    for (size_t i = b->n_put; i-- > 0;)
        if (b->put[i].home == home && mc_quant_key_equal(&b->put[i].key, &k))
            return &b->put[i];
    return NULL;
}

static int constant(struct mc_quant_builder *b, size_t site, int k, struct mc_graph *home,
                    const char *suffix, struct mc_tensor *t, struct mc_value **ret,
                    struct mc_err *err)
{
    char name[NAME];
    *ret = NULL;
    if (!t)
        return 0;
    name_of(b, site, k, suffix, name);
    return mc_constant_new(home, 0, name, t, ret, err);
}

/* The float weight leaves the file if this is the last it is needed for. */
static void count(struct mc_quant_builder *b, const struct mc_tensor *w)
{
    for (size_t i = 0; i + 1 < b->n_put; i++)
        if (b->put[i].key.w == w)
            return;
    b->b->compressed += w->bytes;
}

static int put_new(struct mc_quant_builder *b, size_t site, int k, struct mc_quant_put *p,
                   struct mc_err *err)
{
    struct mc_quant_weight w;
    struct mc_model *m = b->b->m;
    const char *name = b->sites->item[site].weight[k]->name;
    int rc = mc_quant_cache_get(b->cache, &p->key, name, b->ctx, m->spill, b->sizes_only, &w, err);
    if (rc)
        return rc;
    rc = constant(b, site, k, p->home, "q", w.q, &p->q, err);
    if (!rc)
        rc = constant(b, site, k, p->home, "s", w.scale, &p->scale, err);
    if (!rc)
        rc = constant(b, site, k, p->home, "z", w.zero, &p->zero, err);
    p->error = w.error;
    p->bytes = w.q->bytes + w.scale->bytes + (w.zero ? w.zero->bytes : 0);
    mc_quant_weight_free(&w);
    return rc;
}

/* Runtimes compute it once, and the file has the integers once. */
static int put_turned(struct mc_quant_builder *b, size_t site, int k, const struct mc_quant_put *of,
                      struct mc_quant_put *p, struct mc_err *err)
{
    char name[NAME];
    struct mc_node *n;
    name_of(b, site, k, "t", name);
    p->scale = of->scale;
    p->zero = of->zero;
    p->error = of->error;
    int rc = put_node(p->home, place(b, site, p->home), "Transpose", 0, name,
                      (struct mc_value *[]){of->q, NULL, NULL}, &p->q, &n, err);
    return rc ? rc : mc_edit_attr_ints(n, "perm", (int64_t[]){1, 0}, 2, err);
}

int mc_quant_put_weight(struct mc_quant_builder *b, size_t site, int k,
                        const struct mc_quant_type *t, const struct mc_quant_cut *cut,
                        bool transpose, enum mc_dtype scale_type, struct mc_err *err)
{
    const struct mc_quant_site *s = &b->sites->item[site];
    struct mc_quant_placed_weight *to = &b->b->at[site].w[k];
    struct mc_quant_key key = {
        mc_constant(s->weight[k]),       *t,       *cut, b->rules->weight_method,
        scale_type_of(b, s, scale_type), transpose};
    struct mc_graph *home = b->graph[origin(s->weight[k])->graph->index];
    struct mc_quant_put *p = find(b, &key, home, false);
    int rc = 0;
    if (!p) {
        const struct mc_quant_put *of =
            t->bits > 4 && !cut->block ? find(b, &key, home, true) : NULL;
        struct mc_quant_put fresh = {.key = key, .home = home};
        rc = of ? put_turned(b, site, k, of, &fresh, err) : put_new(b, site, k, &fresh, err);
        if (!rc && !MC_GROW(b->put, b->n_put, b->cap_put))
            rc = no_memory(err);
        if (rc)
            return rc;
        p = &b->put[b->n_put++];
        *p = fresh;
        count(b, key.w);
        to->bytes = p->bytes;
    }
    struct mc_graph *g = b->node[site]->graph;
    struct mc_quant_cut as = transpose ? mc_quant_cut_turn(cut) : *cut;
    to->axis = as.axis;
    to->block = as.block;
    to->transposed = transpose;
    to->error = p->error;
    if (!cut->block) /* a table may have stretched them */
        rc = mc_quant_stretch(p->scale, cut->axis < 0 ? -1 : 0, 1, &p->scale, err);
    if (!rc && p->zero && !cut->block)
        rc = mc_quant_stretch(p->zero, cut->axis < 0 ? -1 : 0, 1, &p->zero, err);
    if (!rc)
        rc = seen_from(g, p->q, &to->q, err);
    if (!rc)
        rc = seen_from(g, p->scale, &to->scale, err);
    return rc ? rc : seen_from(g, p->zero, &to->zero, err);
}

/* ---- floats again ---- */

static int cast(struct mc_graph *g, size_t pos, const char *name, struct mc_value *v,
                enum mc_dtype to, int need, struct mc_value **ret, struct mc_err *err)
{
    struct mc_node *n;
    int rc =
        put_node(g, pos, "Cast", need, name, (struct mc_value *[]){v, NULL, NULL}, ret, &n, err);
    return rc ? rc : mc_edit_attr_int(n, "to", to, err);
}

int mc_quant_stretch(struct mc_value *v, int axis, int rank, struct mc_value **ret,
                     struct mc_err *err)
{
    struct mc_graph *g = v->graph;
    while (v->outer)
        v = v->outer;
    const struct mc_tensor *t = mc_constant(v);
    struct mc_tensor *view;
    struct mc_shape shape = {.rank = axis < 0 ? 0 : rank - axis};
    for (int i = 0; i < shape.rank; i++)
        shape.dim[i] = i ? 1 : mc_tensor_count(t);
    if (mc_shape_equal(&shape, &t->shape))
        return seen_from(g, v, ret, err);
    size_t offset = (size_t)(t->data - (const uint8_t *)mc_storage_data(t->storage));
    int rc = mc_tensor_view(t->dtype, &shape, t->storage, offset, &view, err);
    if (rc)
        return rc;
    if (v->n_uses == 0)
        rc = mc_constant_replace(v, view, err);
    else
        rc = mc_constant_new(v->graph, 0, v->name, view, &v, err);
    mc_tensor_unref(view);
    return rc ? rc : seen_from(g, v, ret, err);
}

/* (Cast(q) - Cast(zero)) * scale, in float32. OpenVINO keeps what it takes for a weight that is dequantised apart where
 * other layers compute on integers, and its recurrent cells take constants alone: by way of int32 it does not. */
static int folded(struct mc_quant_builder *b, size_t site, int k, const struct mc_quant_put *p,
                  struct mc_quant_float *as, struct mc_err *err)
{
    char name[NAME];
    struct mc_graph *g = p->home;
    size_t pos = place(b, site, g);
    int rank = mc_constant(b->sites->item[site].weight[k])->shape.rank, axis = p->key.cut.axis;
    int need = p->key.type.bits > 4 ? CAST : p->key.type.bits > 2 ? BLOCK : TWO_BITS;
    struct mc_value *x, *from;
    struct mc_node *n;
    if (p->key.transposed)
        axis = mc_quant_cut_turn(&p->key.cut).axis;
    name_of(b, site, k, "f", name);
    int rc = 0;
    as->scale = p->scale;
    as->zero = p->zero;
    if (!p->key.cut.block)
        rc = mc_quant_stretch(p->scale, axis, rank, &as->scale, err);
    if (!rc && p->zero && !p->key.cut.block)
        rc = mc_quant_stretch(p->zero, axis, rank, &as->zero, err);
    x = p->q;
    if (!rc && b->rules->runtime == MC_QUANT_OPENVINO && b->sites->item[site].kind == MC_QUANT_CELL)
        rc = cast(g, pos, name, x, MC_DTYPE_I32, need, &x, err);
    if (!rc)
        rc = cast(g, pos, name, x, MC_DTYPE_F32, need, &x, err);
    if (!rc && p->zero) {
        rc = cast(g, pos, name, as->zero, MC_DTYPE_F32, need, &from, err);
        if (!rc)
            rc = put_node(g, pos, "Sub", MATH, name, (struct mc_value *[]){x, from, NULL}, &x, &n,
                          err);
    }
    from = as->scale;
    if (!rc && p->key.scale_type != MC_DTYPE_F32)
        rc = cast(g, pos, name, from, MC_DTYPE_F32, CAST, &from, err);
    if (!rc)
        rc = put_node(g, pos, "Mul", MATH, name, (struct mc_value *[]){x, from, NULL}, &as->v, &n,
                      err);
    return rc;
}

static int linear(struct mc_quant_builder *b, size_t site, int k, const struct mc_quant_put *p,
                  struct mc_quant_float *as, struct mc_err *err)
{
    char name[NAME];
    struct mc_node *n;
    const struct mc_quant_key *key = &p->key;
    struct mc_quant_cut cut = key->transposed ? mc_quant_cut_turn(&key->cut) : key->cut;
    int need = key->type.bits <= 2                ? TWO_BITS
               : key->type.bits <= 4 || cut.block ? BLOCK
               : key->scale_type != MC_DTYPE_F32  ? HALF_SCALE
               : cut.axis >= 0                    ? AXIS
                                                  : DEQUANTIZE;
    name_of(b, site, k, "f", name);
    as->scale = p->scale;
    as->zero = p->zero;
    int rc = cut.block ? 0 : mc_quant_stretch(p->scale, cut.axis, cut.axis + 1, &as->scale, err);
    if (!rc && p->zero && !cut.block)
        rc = mc_quant_stretch(p->zero, cut.axis, cut.axis + 1, &as->zero, err);
    if (!rc)
        rc = put_node(p->home, place(b, site, p->home), "DequantizeLinear", need, name,
                      (struct mc_value *[]){p->q, as->scale, as->zero}, &as->v, &n, err);
    if (!rc && cut.axis >= 0 && cut.axis != 1)
        rc = mc_edit_attr_int(n, "axis", cut.axis, err);
    if (!rc && cut.block)
        rc = mc_edit_attr_int(n, "block_size", cut.block, err);
    return rc;
}

static struct mc_quant_put *put_of(const struct mc_quant_builder *b, size_t site, int k)
{
    const struct mc_value *q = b->b->at[site].w[k].q;
    while (q->outer)
        q = q->outer;
    for (size_t i = b->n_put; i-- > 0;)
        if (b->put[i].q == q)
            return &b->put[i];
    return NULL;
}

static int make_float(struct mc_quant_builder *b, size_t site, int k, const struct mc_quant_put *p,
                      bool fold, struct mc_quant_float *ret, struct mc_err *err)
{
    char name[NAME];
    struct mc_quant_float as = {.dtype = b->sites->item[site].dtype};
    int rc = fold ? folded(b, site, k, p, &as, err) : linear(b, site, k, p, &as, err);
    name_of(b, site, k, "c", name);
    if (!rc && as.dtype != (fold ? MC_DTYPE_F32 : p->key.scale_type))
        rc = cast(p->home, place(b, site, p->home), name, as.v, as.dtype, CAST, &as.v, err);
    if (!rc)
        *ret = as;
    return rc;
}

/* Blocks as long as their axis: the scales broadcast over the weight as they are. */
static bool spans(const struct mc_quant_put *p)
{
    const struct mc_tensor *t = mc_constant(p->scale);
    return t->shape.rank > p->key.cut.axis && t->shape.dim[p->key.cut.axis] == 1;
}

int mc_quant_put_float(struct mc_quant_builder *b, size_t site, int k, bool fold,
                       struct mc_value **ret, struct mc_err *err)
{
    struct mc_quant_put *p = put_of(b, site, k);
    struct mc_quant_placed_weight *to = &b->b->at[site].w[k];
    struct mc_graph *g = b->node[site]->graph;
    bool needs_axis = p->key.type.bits > 4 && p->key.cut.axis >= 0 && !p->key.cut.block;
    if (needs_axis && b->sites->opset < AXIS)
        fold = true;
    fold = fold && (!p->key.cut.block || spans(p));
    struct mc_quant_float *as = fold ? &p->folded : &p->linear;
    int rc = 0;
    if (!as->v || as->dtype != b->sites->item[site].dtype)
        rc = make_float(b, site, k, p, fold, as, err);
    if (!rc)
        rc = seen_from(g, as->scale, &to->scale, err);
    if (!rc)
        rc = seen_from(g, as->zero, &to->zero, err);
    return rc ? rc : seen_from(g, as->v, ret, err);
}
