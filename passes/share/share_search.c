/* How many bits for which weight, by the search that all passes share. */
#include "passes/share/share_search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const labels[MC_SHARE_WIDTHS + 1] = {
    "as it is", "1 bit", "2 bits", "3 bits", "4 bits", "5 bits", "6 bits", "7 bits", "8 bits"};

struct items {
    struct mc_share_run *r;
    struct mc_search_item *item;      /* [n] */
    size_t *weight;                   /* [n] in the run's list */
    int (*bits)[MC_SHARE_WIDTHS + 1]; /* [n] of options */
    int *all;                         /* [n_weights] of a set */
    size_t n;
    struct mc_arena names;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for codebooks");
}

const char *mc_share_label(int bits)
{
    return labels[bits];
}

/* ---- options ---- */

static int add_options(struct items *s, size_t i, struct mc_err *err)
{
    struct mc_share_weight *w = &s->r->weight[s->weight[i]];
    struct mc_search_item *it = &s->item[i];
    int rc = mc_share_points(s->r, w, 1, MC_SHARE_WIDTHS, err);
    it->option = mc_calloc(MC_SHARE_WIDTHS + 1, sizeof *it->option);
    if (!rc && !it->option)
        rc = no_memory(err);
    for (int bits = MC_SHARE_WIDTHS + 1; !rc && bits-- > 0;) {
        int k = bits == MC_SHARE_WIDTHS ? 0 : bits + 1; /* as it is, 8, 7 … 1 */
        const struct mc_share_point *p = &w->at[k];
        if (k && mc_share_too_small(w, k))
            continue;
        struct mc_search_option *o = &it->option[it->n];
        *o = (struct mc_search_option){.label = labels[k], .measured = NAN, .seconds = NAN};
        if (k) {
            o->bytes = (double)p->bytes - (double)mc_share_dense_bytes(w);
            o->predicted = p->error;
        }
        s->bits[i][it->n++] = k;
    }
    return rc;
}

static const char *name_of(struct items *s, size_t i)
{
    const struct mc_share_weight *w = &s->r->weight[s->weight[i]];
    return mc_search_name(s->item, i, mc_node_label(w->node), w->value->name, &s->names);
}

static int make_items(struct items *s, struct mc_err *err)
{
    size_t n = s->r->n_weights + 1;
    s->item = mc_calloc(n, sizeof *s->item);
    s->weight = mc_calloc(n, sizeof *s->weight);
    s->bits = mc_calloc(n, sizeof *s->bits);
    s->all = mc_calloc(n, sizeof *s->all);
    int rc = s->item && s->weight && s->bits && s->all ? 0 : no_memory(err);
    for (size_t i = 0; !rc && i < s->r->n_weights; i++) {
        struct mc_share_weight *w = &s->r->weight[i];
        if (!w->reason)
            w->reason = mc_share_too_small(w, 1);
        if (w->reason)
            continue;
        mc_progress_tell(s->r->ctx->progress, "codebooks", (double)i, (double)s->r->n_weights);
        s->weight[s->n] = i;
        s->item[s->n].op = w->node->op_type;
        s->item[s->n].name = name_of(s, s->n);
        s->n++;
        rc = s->item[s->n - 1].name ? add_options(s, s->n - 1, err) : no_memory(err);
    }
    return rc;
}

static void free_items(struct items *s)
{
    for (size_t i = 0; s->item && i < s->n; i++)
        free(s->item[i].option);
    free(s->item);
    free(s->weight);
    free(s->bits);
    free(s->all);
    mc_arena_free(&s->names);
}

/* ---- what the search asks for ---- */

static int build(void *self, const size_t *choice, bool sizes_only, struct mc_model **ret,
                 struct mc_err *err)
{
    struct items *s = self;
    struct mc_model *m;
    for (size_t i = 0; i < s->n; i++)
        s->all[s->weight[i]] = s->bits[i][choice[i]];
    int rc = mc_model_clone(s->r->model, &m, err);
    if (rc)
        return rc;
    m->spill = s->r->model->spill;
    rc = mc_share_place(s->r, m, s->all, sizes_only, err);
    if (rc)
        mc_model_free(m);
    else
        *ret = m;
    return rc;
}

int mc_share_search(struct mc_share_job *job, struct mc_share_run *r,
                    const struct mc_search_ask *ask, struct mc_err *err)
{
    struct items s = {.r = r};
    struct mc_search_result result;
    int rc = make_items(&s, err);
    struct mc_search search = {.ctx = r->ctx,
                               .before = r->model,
                               .item = s.item,
                               .n = s.n,
                               .goal = ask->goal,
                               .limit = ask->limit,
                               .share = ask->share,
                               .self = &s,
                               .build = build};
    if (!rc)
        rc = mc_search_run(&search, &result, err);
    if (!rc) {
        for (size_t i = 0; i < s.n; i++) {
            struct mc_share_weight *w = &r->weight[s.weight[i]];
            w->bits = s.bits[i][s.item[i].choice];
            if (!w->bits)
                w->reason = ask->choices ? "the choices leave it as it is"
                                         : "as it is it gives more for its bytes";
        }
        json_t *report = mc_search_report(&search, &result);
        rc = report && !json_object_set_new(job->report, "search", report) ? 0 : no_memory(err);
    }
    if (!rc && !ask->choices && !result.reached) {
        job->missed = true;
        mc_search_missed(&search, &result, &job->miss);
    }
    free_items(&s);
    return rc;
}
