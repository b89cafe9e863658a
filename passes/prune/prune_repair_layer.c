#include "base/interrupt.h"
#include "graph/constant.h"
#include "passes/prune/prune_repair_parts.h"

/* Floats of one layer's sums: 1 GiB; of rows that are kept: 64 MiB. */
enum { SUMS_MOST = 1 << 28, KEEPS = 1 << 24 };

struct fit {
    struct mc_repair *r;
    struct mc_refit f;
    struct mc_repair_view view;
};

static int batch(void *ctx, const struct mc_array *const *values, int64_t first,
                 const struct mc_batch *b, struct mc_err *err)
{
    struct fit *f = ctx;
    struct mc_array should;
    int rc = mc_repair_narrow(&f->view, values[2], &should, err);
    if (!rc && !mc_shape_equal(&should.shape, &values[1]->shape))
        rc = mc_fail(err, MC_ESHAPE, "'%s' has another shape than what stays of it", should.name);
    return rc ? rc
              : mc_refit_add(&f->f, f->r->la, f->r->ctx->pool, values[0], values[1], &should, first,
                             b->n, f->r->samples, err);
}

static int fit(struct fit *f, enum mc_repair_result *ret, struct mc_err *err)
{
    struct mc_repair *r = f->r;
    const char *const have[] = {f->f.x->name, f->f.y->name};
    struct mc_repair_ask ask = {have, have + 1, 2, 1, f->f.node, r->samples};
    bool better;
    int rc = mc_repair_keep(r, f->f.weight, err);
    if (!rc)
        rc = mc_repair_keep(r, f->f.bias, err);
    if (!rc)
        rc = mc_interrupt_check(err);
    if (!rc)
        rc = mc_repair_observe(r, &ask, batch, f, err);
    if (!rc)
        rc = mc_refit_solve(&f->f, r->la, r->m->spill, &better, err);
    if (!rc)
        *ret = better ? MC_REPAIR_FITTED : MC_REPAIR_LEFT;
    return rc;
}

/* A product with a constant, also one that others read, or of a kind that is not known. */
static bool has_weight(const struct mc_node *n)
{
    bool product = mc_node_is(n, "MatMul") || mc_node_is(n, "Gemm") || mc_node_is(n, "Conv") ||
                   mc_node_is(n, "ConvTranspose") || mc_node_is(n, "Einsum") ||
                   mc_node_is(n, "LSTM") || mc_node_is(n, "GRU") || mc_node_is(n, "RNN");
    for (size_t i = 0; product && i < n->n_in && i < 2; i++)
        if (n->in[i] && mc_constant(n->in[i]))
            return true;
    return false;
}

int mc_repair_layer(struct mc_repair *r, struct mc_node *n, enum mc_repair_result *ret,
                    struct mc_err *err)
{
    struct fit f = {.r = r};
    bool found = mc_refit_of(n, &f.f);
    *ret = has_weight(n) ? MC_REPAIR_SKIPPED : MC_REPAIR_NONE;
    if (!found)
        return 0;
    f.f.folds = MC_REFIT_FOLDS;
    f.f.keeps = KEEPS;
    f.f.most = SUMS_MOST;
    int rc = mc_refit_behind(&f.f, err);
    const struct mc_value *was = mc_repair_was(r, f.f.y);
    if (!rc && was)
        rc = mc_repair_view(r, was, &f.view, err);
    if (!rc && was)
        rc = fit(&f, ret, err);
    mc_repair_view_free(&f.view);
    mc_refit_release(&f.f);
    return rc;
}
