/* Ties from the tensors of a model to one tensor in the place of several. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "graph/constant.h"
#include "passes/share/share_tie.h"

/* Tensors further apart are none that mean the same: between independent ones it is 1.4, between one and a copy that was rounded
 * to 4 bits about 0.1. What is nearer is measured on outputs. */
static const double NEAR = 0.3;

struct tying {
    struct mc_share_job *job;
    struct mc_ties *ties;
    size_t first; /* of those that are measured */
    struct mc_search_item *item;
    bool *on;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for ties");
}

/* ---- what the outputs allow ---- */

static int build(void *self, const size_t *choice, bool sizes_only, struct mc_model **ret,
                 struct mc_err *err)
{
    struct tying *s = self;
    struct mc_model *m;
    struct mc_ties t = {0};
    (void)sizes_only;
    int rc = mc_model_clone(s->job->model, &m, err);
    if (rc)
        return rc;
    m->spill = s->job->model->spill;
    for (size_t i = s->first; i < s->ties->n; i++)
        s->on[i] = choice[i - s->first] == 1;
    rc = mc_ties_collect(m, &t, err);
    if (!rc) {
        struct mc_ties same = *s->ties;
        same.tensor = t.tensor;
        rc = mc_ties_place(&same, m, s->on, err);
    }
    mc_ties_free(&t);
    if (rc)
        mc_model_free(m);
    else
        *ret = m;
    return rc;
}

static int make_items(struct tying *s, size_t n, struct mc_err *err)
{
    s->item = mc_calloc(n, sizeof *s->item);
    if (!s->item)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const struct mc_tie *tie = &s->ties->tie[s->first + i];
        const struct mc_tie_tensor *from = &s->ties->tensor[tie->from];
        struct mc_search_item *it = &s->item[i];
        it->name = from->value->name;
        it->op = from->value->uses[0].node->op_type;
        it->option = mc_calloc(2, sizeof *it->option);
        if (!it->option)
            return no_memory(err);
        it->n = 2;
        it->option[0] =
            (struct mc_search_option){.label = "as it is", .measured = NAN, .seconds = NAN};
        it->option[1] = (struct mc_search_option){.label = "tied",
                                                  .bytes = -(double)from->tensor->bytes,
                                                  .predicted = tie->distance,
                                                  .measured = NAN,
                                                  .seconds = NAN};
    }
    return 0;
}

/* Which of the near ones; without samples none is. */
static int choose(struct tying *s, struct mc_err *err)
{
    size_t n = s->ties->n - s->first;
    struct mc_pass_ctx ctx = *s->job->ctx;
    struct mc_search_ask ask;
    struct mc_search_result result;
    ctx.choices = NULL;
    if (!n || !mc_search_has_samples(&ctx))
        return 0;
    mc_search_ask_auto(&ctx, &ask);
    int rc = make_items(s, n, err);
    struct mc_search search = {.ctx = &ctx,
                               .before = s->job->model,
                               .item = s->item,
                               .n = n,
                               .goal = ask.goal,
                               .limit = ask.limit,
                               .share = ask.share,
                               .self = s,
                               .build = build};
    if (!rc)
        rc = mc_search_run(&search, &result, err);
    if (!rc) {
        for (size_t i = 0; i < n; i++)
            s->on[s->first + i] = s->item[i].choice == 1;
        json_t *report = mc_search_report(&search, &result);
        rc = report && !json_object_set_new(s->job->report, "search", report) ? 0 : no_memory(err);
    }
    for (size_t i = 0; s->item && i < n; i++)
        free(s->item[i].option);
    free(s->item);
    return rc;
}

/* ---- the report ---- */

static int report(const struct tying *s, size_t i, struct mc_err *err)
{
    bool ok = true, on = s->on[i];
    const struct mc_tie *tie = &s->ties->tie[i];
    const struct mc_tie_tensor *from = &s->ties->tensor[tie->from];
    const struct mc_node *n = from->value->n_uses ? from->value->uses[0].node : NULL;
    json_t *o = json_object();
    mc_json_put(o, "name", mc_json_text(n ? mc_node_label(n) : from->value->name), &ok);
    mc_json_put(o, "op", mc_json_text(n ? n->op_type : NULL), &ok);
    mc_json_put(o, "action", json_string(on ? "tied" : "left"), &ok);
    mc_json_put(
        o, "reason",
        mc_json_text(
            on ? NULL
            : mc_search_has_samples(s->job->ctx)
                ? "tied to the one that is like it the outputs would lose more"
                : "what tensors that are only alike may differ by is measured: pass --calib SPEC"),
        &ok);
    mc_json_put(o, "weight", mc_json_text(from->value->name), &ok);
    mc_json_put(o, "form",
                on ? json_string(tie->transposed ? "tied, transposed" : "tied") : json_null(), &ok);
    mc_json_put(o, "choice", on ? mc_json_text(s->ties->tensor[tie->to].value->name) : json_null(),
                &ok);
    mc_json_put(o, "bytes_before", mc_json_size(from->tensor->bytes), &ok);
    mc_json_put(o, "bytes_after", mc_json_size(on ? 0 : from->tensor->bytes), &ok);
    mc_json_put(o, "error", mc_json_real(tie->distance), &ok);
    mc_json_add(s->job->rows, o, &ok);
    return ok ? 0 : no_memory(err);
}

/* ---- all ---- */

/* Equal ones may be gone already: they are merged when a model is prepared for passes. */
static bool prepared(const struct mc_share_job *job)
{
    uint64_t now;
    struct mc_err err;
    return job->ctx->bytes_original &&
           !job->ctx->bytes_of(job->ctx->host, job->model, &now, &err) &&
           now < job->ctx->bytes_original;
}

static int find(struct tying *s, const char *what, struct mc_err *err)
{
    bool automatic = !strcmp(what, "auto");
    int rc = mc_ties_collect(s->job->model, s->ties, err);
    if (!rc)
        rc = mc_ties_same(s->ties, err);
    s->first = s->ties->n;
    if (!rc)
        rc = automatic ? mc_ties_near(s->ties, NEAR, err) : mc_ties_match(s->ties, what, err);
    if (!automatic)
        s->first = s->ties->n;
    if (rc)
        return rc;
    s->on = mc_calloc(s->ties->n + 1, sizeof *s->on);
    for (size_t i = 0; s->on && i < s->first; i++)
        s->on[i] = true;
    return s->on ? 0 : no_memory(err);
}

int mc_share_tied(struct mc_share_job *job, const char *what, struct mc_err *err)
{
    struct mc_ties ties = {0};
    struct tying s = {.job = job, .ties = &ties};
    bool any = false;
    int rc = find(&s, what, err);
    if (!rc)
        rc = choose(&s, err);
    for (size_t i = 0; !rc && i < ties.n; i++) {
        any = any || s.on[i];
        rc = report(&s, i, err);
    }
    if (!rc && !any && !prepared(job) && (job->alone || strcmp(what, "auto")))
        rc = mc_fail(err, MC_EUNSUP, "--tie %s: no two tensors are %s", what,
                     ties.n ? "so alike that one can stand for both" : "alike");
    if (!rc)
        rc = mc_ties_place(&ties, job->model, s.on, err);
    free(s.on);
    mc_ties_free(&ties);
    return rc;
}
