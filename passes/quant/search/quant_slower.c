/* Where a result takes longer than what it was made of, by the table of costs: which layers are to blame. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "passes/quant/cost/quant_cost.h"
#include "passes/quant/quant_run.h"

/* Each layer asked about is a build: all of 800 took 23 s, everything else 1.2 s. */
enum { NAMED = 3, NAME = 40, ASKED = 32 };
/* Estimates closer than this are the same. */
static const double MORE = 1.03;

int mc_quant_price(const struct mc_quant_run *r, const struct mc_model *m, double *ret,
                   struct mc_err *err)
{
    if (r->rules.runtime == MC_QUANT_VNNI)
        return mc_search_latency(r->ctx, m, ret, err);
    return mc_quant_cost(m, r->rules.runtime, &r->shapes, ret, NULL, err);
}

const char *mc_quant_price_source(const struct mc_quant_run *r)
{
    return r->rules.runtime == MC_QUANT_VNNI ? "times measured here, in mcompress itself"
                                             : mc_quant_cost_source(r->rules.runtime);
}

static int cost_of(struct mc_quant_run *r, const enum mc_quant_form *form, double *ret,
                   struct mc_err *err)
{
    struct mc_quant_built b = {0};
    int rc = mc_quant_make(r, form, r->rules.runtime != MC_QUANT_VNNI, &b, err);
    if (!rc)
        rc = mc_quant_price(r, b.m, ret, err);
    mc_quant_built_free(&b);
    return rc;
}

/* The layer with most work that is neither float nor asked about yet; sites->n: there is none. */
static size_t next_to_ask(const struct mc_quant_run *r, const double *extra)
{
    size_t best = r->sites.n;
    for (size_t i = 0; i < r->sites.n; i++)
        if (r->form[i] != MC_QUANT_FLOAT && isnan(extra[i]) &&
            (best == r->sites.n || r->sites.item[i].macs > r->sites.item[best].macs))
            best = i;
    return best;
}

/* extra[i]: what the model costs more because of site i; NaN: it was not asked. */
static int blame(struct mc_quant_run *r, double whole, double *extra, struct mc_err *err)
{
    enum mc_quant_form *form = mc_calloc(r->sites.n + 1, sizeof *form);
    int rc = form ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        memcpy(form, r->form, r->sites.n * sizeof *form);
    for (size_t i = 0; i < r->sites.n; i++)
        extra[i] = NAN;
    for (int k = 0; !rc && k < ASKED; k++) {
        double without = whole;
        size_t i = next_to_ask(r, extra);
        if (i == r->sites.n)
            break;
        form[i] = MC_QUANT_FLOAT;
        rc = cost_of(r, form, &without, err);
        form[i] = r->form[i];
        extra[i] = whole - without;
    }
    free(form);
    return rc;
}

static void name_worst(const struct mc_quant_run *r, double *extra, char *text, size_t size)
{
    for (int k = 0; k < NAMED; k++) {
        size_t worst = 0;
        char name[4 * NAME + 4];
        for (size_t i = 1; i < r->sites.n; i++)
            worst = !(extra[i] <= extra[worst]) && !isnan(extra[i]) ? i : worst;
        if (!(extra[worst] > 0))
            break;
        mc_text_add(
            text, size, "%s'%s'", k ? ", " : "; most because of ",
            mc_text_short(mc_node_label(r->sites.item[worst].node), NAME, name, sizeof name));
        extra[worst] = 0;
    }
}

int mc_quant_slower(struct mc_quant_run *r, struct mc_err *err)
{
    double before, after;
    int rc = mc_quant_price(r, r->before, &before, err);
    if (!rc)
        rc = mc_quant_price(r, r->built.m, &after, err);
    if (rc)
        return rc;
    r->before_trial.cost = before;
    r->result.cost = after;
    if (!(after > MORE * before))
        return 0;
    double *extra = mc_calloc(r->sites.n + 1, sizeof *extra);
    rc = extra ? blame(r, after, extra, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc) {
        snprintf(r->slower, sizeof r->slower,
                 "the result takes %.2f times as long as the floats, by %s", after / before,
                 mc_quant_price_source(r));
        name_worst(r, extra, r->slower, sizeof r->slower);
    }
    free(extra);
    return rc;
}
