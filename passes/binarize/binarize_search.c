#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "passes/binarize/binarize_run.h"

struct search {
    struct mc_binarize_run *r;
    struct mc_search_item *item; /* [n] */
    size_t *of;                  /* [n] of the plan */
    size_t n;
    struct mc_arena names;
};

static void release(struct search *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->item[i].option);
    free(s->item);
    free(s->of);
    mc_arena_free(&s->names);
}

static int add_item(struct search *s, size_t i, struct mc_err *err)
{
    enum { OPTIONS = 2 };
    const struct mc_layer *l = s->r->plan.item[i].of;
    struct mc_search_item *it = &s->item[s->n];
    double e = s->r->error[i];
    it->option = mc_calloc(OPTIONS, sizeof *it->option);
    if (!it->option)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    it->name =
        mc_search_name(s->item, s->n, mc_node_label(l->sites[0].node), l->value->name, &s->names);
    it->op = l->sites[0].node->op_type;
    it->n = OPTIONS;
    it->option[0] = (struct mc_search_option){.label = "real", .measured = NAN, .seconds = NAN};
    it->option[1] =
        (struct mc_search_option){.label = "binary",
                                  .bytes = (double)mc_binarize_bytes(l) - (double)l->weight->bytes,
                                  .predicted = e * e * (double)(l->m * l->n),
                                  .measured = NAN,
                                  .seconds = NAN};
    s->of[s->n++] = i;
    return it->name ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

static void take(const struct search *s, struct mc_binarize_plan *plan, const size_t *choice)
{
    for (size_t i = 0; i < s->n; i++)
        if (!choice[i])
            plan->item[s->of[i]].left = s->r->ctx->choices ? "the choices leave it as it is"
                                                           : "the search leaves it as it is";
}

static int build(void *self, const size_t *choice, bool sizes_only, struct mc_model **ret,
                 struct mc_err *err)
{
    struct search *s = self;
    struct mc_binarize_run r = *s->r;
    size_t bytes = (r.plan.n + 1) * sizeof *r.plan.item;
    struct mc_model *m = NULL;
    r.plan.item = mc_calloc(r.plan.n + 1, sizeof *r.plan.item);
    if (!r.plan.item)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    memcpy(r.plan.item, s->r->plan.item, bytes - sizeof *r.plan.item);
    take(s, &r.plan, choice);
    int rc = mc_model_clone(r.before, &m, err);
    if (!rc)
        m->spill = r.m->spill;
    rc = rc ? rc : mc_binarize_apply(&r, m, sizes_only, err);
    free(r.plan.item);
    if (rc)
        mc_model_free(m);
    else
        *ret = m;
    return rc;
}

int mc_binarize_search(struct mc_binarize_run *r, const struct mc_search_ask *ask,
                       struct mc_err *err)
{
    struct search s = {.r = r};
    struct mc_search_result result;
    size_t *choice = mc_calloc(r->plan.n + 1, sizeof *choice);
    if (ask->goal == MC_SEARCH_PARAMS || ask->goal == MC_SEARCH_MACS) {
        free(choice);
        return mc_fail(err, MC_EUSAGE,
                       "--target %s=: signs change neither parameters nor products; use bytes= or "
                       "latency=",
                       mc_search_goal_names[ask->goal]);
    }
    s.item = mc_calloc(r->plan.n + 1, sizeof *s.item);
    s.of = mc_calloc(r->plan.n + 1, sizeof *s.of);
    int rc = choice && s.item && s.of ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < r->plan.n && !rc; i++)
        if (!r->plan.item[i].left)
            rc = add_item(&s, i, err);
    struct mc_search of = {.ctx = r->ctx,
                           .before = r->before,
                           .item = s.item,
                           .n = s.n,
                           .goal = ask->goal,
                           .limit = ask->limit,
                           .share = ask->share,
                           .self = &s,
                           .build = build};
    rc = rc ? rc : mc_search_run(&of, &result, err);
    if (!rc) {
        for (size_t i = 0; i < s.n; i++)
            choice[i] = s.item[i].choice;
        take(&s, &r->plan, choice);
        r->account.search = mc_search_report(&of, &result);
        r->missed = !result.reached && !ask->choices;
        if (!r->account.search)
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
        else if (r->missed)
            mc_search_missed(&of, &result, &r->miss);
    }
    free(choice);
    release(&s);
    return rc;
}
