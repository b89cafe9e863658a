/* --target bytes= or latency=: the shared search over forms. */
#include <math.h>
#include <stdlib.h>

#include "passes/quant/quant_run.h"

struct target {
    struct mc_quant_run *r;
    struct mc_search_item *item;                /* [n] those with options */
    size_t *site;                               /* [n] */
    enum mc_quant_form (*form)[MC_QUANT_FORMS]; /* of each option */
    enum mc_quant_form *set;                    /* [sites] */
    size_t n;
};

static void release(struct target *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->item[i].option);
    free(t->item);
    free(t->site);
    free(t->form);
    free(t->set);
}

static int add_item(struct target *t, size_t site, const enum mc_quant_form *forms, size_t n,
                    struct mc_err *err)
{
    const struct mc_quant_site *s = &t->r->sites.item[site];
    struct mc_search_item *it = &t->item[t->n];
    if (s->reason || t->r->left[site])
        return 0;
    it->option = mc_calloc(n, sizeof *it->option);
    if (!it->option)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    it->name = mc_node_label(s->node);
    it->op = s->node->op_type;
    t->site[t->n] = site;
    for (size_t k = 0; k < n; k++) {
        if (forms[k] != MC_QUANT_FLOAT && s->why[forms[k]])
            continue;
        t->form[t->n][it->n] = forms[k];
        it->option[it->n++] = (struct mc_search_option){
            .label = mc_quant_form_names[forms[k]],
            .bytes = k ? NAN : 0,
            .macs = 0,
            .params = 0,
            .predicted = k ? pow(16, (double)k) * 1e-6 * (double)s->bytes : 0,
        };
    }
    t->n++;
    return 0;
}

static void forms_of(const struct target *t, const size_t *choice)
{
    for (size_t i = 0; i < t->r->sites.n; i++)
        t->set[i] = MC_QUANT_FLOAT;
    for (size_t i = 0; i < t->n; i++)
        t->set[t->site[i]] = t->form[i][choice[i]];
}

static int build(void *self, const size_t *choice, bool sizes_only, struct mc_model **ret,
                 struct mc_err *err)
{
    struct target *t = self;
    struct mc_quant_built b = {0};
    forms_of(t, choice);
    int rc = mc_quant_make(t->r, t->set, sizes_only, &b, err);
    if (!rc) {
        *ret = b.m;
        b.owned = false;
    }
    mc_quant_built_free(&b);
    return rc;
}

static int run(struct target *t, const struct mc_search_ask *ask, struct mc_err *err)
{
    struct mc_search s = {.ctx = t->r->ctx,
                          .before = t->r->before,
                          .item = t->item,
                          .n = t->n,
                          .goal = ask->goal,
                          .limit = ask->limit,
                          .share = ask->share,
                          .self = t,
                          .build = build};
    struct mc_search_result result;
    size_t *choice = mc_calloc(t->n + 1, sizeof *choice);
    int rc = choice ? mc_search_run(&s, &result, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc) {
        for (size_t i = 0; i < t->n; i++)
            choice[i] = t->item[i].choice;
        forms_of(t, choice);
        for (size_t i = 0; i < t->r->sites.n; i++)
            t->r->form[i] = t->set[i];
        t->r->search = mc_search_report(&s, &result);
        if (!t->r->search)
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
        else if (!result.reached)
            mc_search_missed(&s, &result, &t->r->miss);
        t->r->missed = !result.reached;
    }
    free(choice);
    return rc;
}

int mc_quant_target(struct mc_quant_run *r, const struct mc_search_ask *ask, struct mc_err *err)
{
    static const enum mc_quant_form small[] = {MC_QUANT_FLOAT, MC_QUANT_WEIGHT, MC_QUANT_BLOCK};
    static const enum mc_quant_form quick[] = {MC_QUANT_FLOAT, MC_QUANT_WEIGHT, MC_QUANT_DYNAMIC,
                                               MC_QUANT_STATIC};
    struct target t = {.r = r};
    bool fast = ask->goal == MC_SEARCH_LATENCY;
    size_t n = r->sites.n + 1;
    if (!fast && ask->goal != MC_SEARCH_BYTES)
        return mc_fail(
            err, MC_EUSAGE,
            "--target %s=: integers change neither parameters nor products; use bytes= or "
            "latency=",
            mc_search_goal_names[ask->goal]);
    t.item = mc_calloc(n, sizeof *t.item);
    t.site = mc_calloc(n, sizeof *t.site);
    t.form = mc_calloc(n, sizeof *t.form);
    t.set = mc_calloc(n, sizeof *t.set);
    int rc = t.item && t.site && t.form && t.set ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; !rc && i < r->sites.n; i++)
        rc = add_item(&t, i, fast ? quick : small, fast ? 4 : 3, err);
    if (!rc)
        rc = run(&t, ask, err);
    release(&t);
    return rc;
}
