#include "base/interrupt.h"
#include "graph/run/observe.h"
#include "passes/prune_repair_parts.h"

/* Elements of sums of one layer: 1 GiB. */
static const double SUMS_MOST = 1 << 28;
/* Rounds for what a clip hides; the first takes no notice of it. */
enum { ROUNDS = 3 };

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

static int run(struct fit *f, bool *ret_better, struct mc_err *err)
{
    struct mc_repair *r = f->r;
    const char *const have[] = {f->f.x->name, f->f.y->name};
    struct mc_observed of[] = {{r->m->graph, have, 2}, {r->before->graph, have + 1, 1}};
    struct mc_observe_opts o = {.pool = r->ctx->pool, .count = r->samples};
    int rc = mc_observe_all(of, 2, r->ctx->calib, &o, batch, f, NULL, err);
    return rc ? rc : mc_refit_solve(&f->f, r->la, r->m->spill, ret_better, err);
}

static bool too_large(const struct mc_refit *f)
{
    double n = (double)f->n, m = (double)f->m;
    return (double)f->groups * n * (n + m) * MC_REFIT_FOLDS > SUMS_MOST;
}

static int fit(struct fit *f, enum mc_repair_result *ret, struct mc_err *err)
{
    struct mc_repair *r = f->r;
    int rc = mc_repair_keep(r, f->f.weight, err);
    if (!rc)
        rc = mc_repair_keep(r, f->f.bias, err);
    bool clipped = f->f.clipped, better = true;
    *ret = MC_REPAIR_LEFT;
    for (int i = 0; !rc && better && i < (clipped ? ROUNDS : 1); i++) {
        if (i > 0)
            mc_refit_again(&f->f);
        f->f.clipped = i > 0;
        rc = mc_interrupt_check(err);
        if (!rc)
            rc = run(f, &better, err);
        if (!rc && better)
            *ret = MC_REPAIR_FITTED;
    }
    return rc;
}

int mc_repair_layer(struct mc_repair *r, struct mc_node *n, enum mc_repair_result *ret,
                    struct mc_err *err)
{
    struct fit f = {.r = r};
    bool found = mc_refit_of(n, &f.f);
    *ret = found ? MC_REPAIR_SKIPPED : MC_REPAIR_NONE;
    if (!found || too_large(&f.f))
        return 0;
    f.f.folds = MC_REFIT_FOLDS;
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
