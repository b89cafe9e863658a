#include "graph/ops/op.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph/ops/op_registry.h"
#include "graph/own/own.h"

const struct mc_op *mc_op_lookup(const char *domain, const char *name, int version)
{
    const struct mc_op *best = NULL;
    for (const struct mc_op *const *f = mc_op_families; *f; f++)
        for (const struct mc_op *op = *f; op->name; op++)
            if (op->since <= version && (!best || op->since > best->since) &&
                strcmp(op->name, name) == 0 && strcmp(op->domain, domain) == 0)
                best = op;
    return best;
}

const struct mc_op *mc_op_find(const struct mc_node *n)
{
    /* A function's name alone says nothing: anybody may write one. */
    if (strcmp(n->domain, MC_OWN_DOMAIN) == 0 && !mc_own_find(n))
        return NULL;
    return mc_op_lookup(n->domain, n->op_type, n->version);
}

const struct mc_op *mc_op_at(size_t i)
{
    for (const struct mc_op *const *f = mc_op_families; *f; f++)
        for (const struct mc_op *op = *f; op->name; op++)
            if (i-- == 0)
                return op;
    return NULL;
}

int mc_op_fail(struct mc_err *err, int code, const struct mc_node *n, const char *fmt, ...)
{
    char text[MC_ERR_MSG];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return mc_fail(err, code, "%s '%s': %s", n->op_type, mc_node_label(n), text);
}

int mc_op_arity(const struct mc_infer_ctx *c, int min_in, int max_in, struct mc_err *err)
{
    if (c->n_in < min_in)
        return mc_op_fail(err, MC_ESHAPE, c->node, "%d inputs; needs %d", c->n_in, min_in);
    if (max_in >= 0 && c->n_in > max_in)
        return mc_op_fail(err, MC_ESHAPE, c->node, "%d inputs; takes at most %d", c->n_in, max_in);
    for (int i = 0; i < min_in; i++)
        if (!c->in[i])
            return mc_op_fail(err, MC_ESHAPE, c->node, "input %d is missing", i);
    return 0;
}

int mc_op_same(struct mc_infer_ctx *c, struct mc_err *err)
{
    if (c->n_in < 1 || !c->in[0])
        return mc_op_fail(err, MC_ESHAPE, c->node, "input 0 is missing");
    for (int i = 0; i < c->n_out; i++) {
        if (!c->out[i])
            continue;
        c->out[i]->dtype = c->in[0]->dtype;
        c->out[i]->ranked = c->in[0]->ranked;
        c->out[i]->shape = c->in[0]->shape;
    }
    return 0;
}

int mc_op_need_float(const struct mc_infer_ctx *c, int i, struct mc_err *err)
{
    enum mc_dtype dtype = i < c->n_in && c->in[i] ? c->in[i]->dtype : MC_DTYPE_NONE;
    if (dtype == MC_DTYPE_NONE || mc_dtype_info(dtype)->kind == MC_KIND_FLOAT)
        return 0;
    return mc_op_fail(err, MC_EDTYPE, c->node, "input %d is %s, not a floating-point type", i,
                      mc_dtype_name(dtype));
}

int mc_op_size(struct mc_call *c, int i, const struct mc_shape *shape, struct mc_err *err)
{
    if (!c->size)
        return mc_op_fail(err, MC_EUNSUP, c->node, "the size of an output depends on the data");
    return c->size(c, i, shape, err);
}
