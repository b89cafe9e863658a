#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/form/quant_build.h"

/* Rows of integers are looked up, and their scales: y = Cast(q[i]) * s[i]. Dequantised in front of the Gather, the whole table would
 * be unpacked in every run (2 to 10 times slower in ONNX Runtime, where this takes 0.3 to 0.5 of floats). */

enum { STORED_8 = 5 }; /* bits from which a number takes a byte */

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
}

struct line { /* nodes one behind the other */
    struct mc_graph *g;
    size_t pos;
    const char *name; /* of values */
};

static int put(struct line *l, const char *op, struct mc_value *a, struct mc_value *b,
               struct mc_value **ret, struct mc_node **ret_node, struct mc_err *err)
{
    *ret = mc_edit_fresh(l->g, l->name);
    if (!*ret)
        return no_memory(err);
    int version = mc_graph_opset(l->g, "") < 7 ? 7 : 0;
    return mc_edit_node(l->g, l->pos++, op, "", version, "", (struct mc_value *[]){a, b}, b ? 2 : 1,
                        ret, 1, ret_node, err);
}

static int cast(struct line *l, struct mc_value *v, enum mc_dtype to, struct mc_value **ret,
                struct mc_err *err)
{
    struct mc_node *n;
    int rc = put(l, "Cast", v, NULL, ret, &n, err);
    return rc ? rc : mc_edit_attr_int(n, "to", to, err);
}

/* One number a row as [rows, 1, …], so that what is gathered has the rank of the rows. */
static int column(struct line *l, struct mc_value *of, int axis, int rank, struct mc_value **ret,
                  struct mc_err *err)
{
    size_t before = l->g->n_nodes;
    int rc = mc_quant_stretch(of, axis, rank, ret, err);
    l->pos += l->g->n_nodes - before; /* in a function it is a node in front of all */
    return rc;
}

/* One for each index, where there is one a row; as floats. */
static int gathered(struct line *l, struct mc_value *of, struct mc_value *index, bool by_row,
                    enum mc_dtype dtype, struct mc_value **ret, struct mc_err *err)
{
    struct mc_node *n;
    int rc = by_row ? put(l, "Gather", of, index, &of, &n, err) : 0;
    *ret = of;
    return rc || dtype == MC_DTYPE_F32 ? rc : cast(l, of, MC_DTYPE_F32, ret, err);
}

int mc_quant_form_table(struct mc_quant_builder *b, size_t site, struct mc_err *err)
{
    const struct mc_quant_site *s = &b->sites->item[site];
    struct mc_node *n = b->node[site], *last;
    struct mc_quant_placed *at = &b->b->at[site];
    struct mc_quant_type type = mc_quant_weight_type(b->rules, MC_QUANT_WEIGHT);
    struct mc_quant_cut cut = {b->rules->per_tensor ? -1 : 0, 0};
    int rank = mc_constant(s->weight[0])->shape.rank;
    if (type.bits < STORED_8)
        type.bits = STORED_8; /* runtimes do not gather smaller ones */
    int rc = mc_quant_put_weight(b, site, 0, &type, &cut, false, MC_DTYPE_F32, err);
    if (rc)
        return rc;
    struct mc_quant_placed_weight *w = &at->w[0];
    struct line l = {n->graph, n->pos, n->out[0]->name};
    struct mc_value *index = n->in[1], *scale, *zero, *rows, *by, *y = n->out[0];
    bool by_row = cut.axis >= 0;
    rc = column(&l, w->scale, cut.axis, rank, &scale, err);
    if (!rc)
        rc = gathered(&l, w->q, index, true, MC_DTYPE_I8, &rows, err);
    if (!rc && w->zero) {
        rc = column(&l, w->zero, cut.axis, rank, &zero, err);
        if (!rc)
            rc = gathered(&l, zero, index, by_row, MC_DTYPE_I8, &by, err);
        if (!rc)
            rc = put(&l, "Sub", rows, by, &rows, &last, err);
        w->zero = zero;
    }
    if (!rc)
        rc = gathered(&l, scale, index, by_row, MC_DTYPE_F32, &by, err);
    if (!rc)
        rc = put(&l, "Mul", rows, by, &rows, &last, err);
    if (!rc && s->dtype != MC_DTYPE_F32)
        rc = cast(&l, rows, s->dtype, &rows, err);
    if (rc)
        return rc;
    w->scale = scale;
    at->node = last;
    at->x = NULL;
    rc = mc_edit_replace_uses(y, rows, err);
    at->y = rows;
    return rc;
}
