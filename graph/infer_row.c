/* What operator rows ask of the table, and what is asked of them beside shapes. */
#include <string.h>

#include "graph/constant.h"
#include "graph/infer_table.h"
#include "graph/ops/op.h"

bool mc_infer_opaque(const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_attr; i++)
        if (n->attr[i].ref || n->attr[i].graphs)
            return true;
    return false;
}

struct mc_partial *mc_infer_partial(struct mc_infer_ctx *c, int n)
{
    if (n < 0 || n > MC_PARTIAL_MAX)
        return NULL;
    struct mc_arena *a = &c->inf->arena;
    struct mc_partial *p = mc_arena_alloc(a, sizeof *p);
    int64_t *numbers = mc_arena_array(a, 2 * (size_t)n, sizeof *numbers);
    if (!p || !numbers)
        return NULL;
    *p = (struct mc_partial){n, numbers, numbers + n};
    return p;
}

int mc_infer_ints(const struct mc_infer_ctx *c, int i, int64_t *value, int64_t *sym, int max)
{
    const struct mc_vtype *t = i < c->n_in ? c->in[i] : NULL;
    if (t && t->known) {
        int64_t n = mc_tensor_count(t->known);
        if (n > max || mc_dtype_to_i64(t->known->dtype, t->known->data, value, (size_t)n, NULL))
            return -1;
        memset(sym, 0, (size_t)n * sizeof *sym);
        return (int)n;
    }
    if (!t || !t->partial || t->partial->n > max)
        return -1;
    size_t bytes = (size_t)t->partial->n * sizeof *value;
    memcpy(value, t->partial->value, bytes);
    memcpy(sym, t->partial->sym, bytes);
    return t->partial->n;
}

/* Of constants alone it is computed once, when the model is loaded. */
static bool all_constant(const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_in; i++)
        if (n->in[i] && !mc_constant(n->in[i]))
            return false;
    return n->n_in > 0;
}

double mc_infer_macs(const struct mc_infer *inf, const struct mc_node *n)
{
    enum { ARGS = 64 }; /* far more than any operator with products to count has */
    const struct mc_vtype *in[ARGS];
    struct mc_vtype *out[ARGS];
    const struct mc_op *op = mc_op_find(n);
    if (mc_infer_has_body(n))
        return mc_infer_body_macs(inf, n);
    if (!op || mc_infer_opaque(n))
        return -1;
    if (!op->macs || all_constant(n))
        return 0;
    if (n->n_in > ARGS || n->n_out > ARGS)
        return -1;
    for (size_t i = 0; i < n->n_in; i++)
        in[i] = n->in[i] ? mc_infer_of(inf, n->in[i]) : NULL;
    for (size_t i = 0; i < n->n_out; i++)
        out[i] = n->out[i] ? (struct mc_vtype *)mc_infer_of(inf, n->out[i]) : NULL;
    struct mc_infer_ctx c = {n, (int)n->n_in, (int)n->n_out, in, out, (struct mc_infer *)inf};
    return op->macs(&c);
}
