#include "passes/svd/svd_search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Options of all items that a plan chooses from. Where items are few every rank is one, so that a budget is filled to
 * the last rank (one of the reference cnn's is 1.6 % of a budget); where they are many, neighbours may be further apart.
 * A choices file can name any rank between. */
enum { OPTIONS = 8192, OPTIONS_MIN = 64 };
static const double MOST_BYTES = 0x1p63; /* a larger target is none */

struct from { /* where an option of an item comes from */
    const struct mc_svd_curve *at;
    const struct mc_svd_point *point;
    char label[MC_SVD_LABEL];
};

struct items {
    struct mc_svd_run *r;
    struct mc_search_item *item;
    struct from ***from; /* [n_items][options] */
    struct mc_arena names;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- options ---- */

static double params_of(const struct mc_svd_run *r, const struct mc_svd_item *it)
{
    double n = 0;
    for (size_t k = 0; k < it->n_layers; k++)
        n += (double)r->layers.item[it->layer[k]].m * (double)r->layers.item[it->layer[k]].n;
    return n;
}

/* One more option at the end of item i's list. */
static int add_option(struct items *s, size_t i, const struct mc_svd_curve *at,
                      const struct mc_svd_point *p, struct mc_err *err)
{
    struct mc_search_item *out = &s->item[i];
    const struct mc_svd_item *it = &s->r->item[i];
    struct mc_search_option *o = mc_realloc(out->option, out->n + 1, sizeof *o);
    if (!o)
        return no_memory(err);
    out->option = o;
    struct from **from = mc_realloc(s->from[i], out->n + 1, sizeof *from);
    if (!from)
        return no_memory(err);
    s->from[i] = from;
    from[out->n] = mc_calloc(1, sizeof **from);
    if (!from[out->n])
        return no_memory(err);
    *from[out->n] = (struct from){.at = at, .point = p};
    struct mc_search_option *one = &o[out->n];
    *one = (struct mc_search_option){.label = "as it is", .measured = NAN, .seconds = NAN};
    if (p) {
        double share = (double)p->bytes / (double)it->bytes;
        one->label = mc_svd_label(at->form, p, from[out->n]->label);
        one->bytes = (double)p->bytes - (double)it->bytes;
        one->params = (share - 1) * params_of(s->r, it);
        one->macs = p->macs - it->macs;
        one->predicted = mc_svd_point_error(p);
    }
    out->n++;
    return 0;
}

/* Offers from dear to cheap; of very many those that are some way cheaper than the last one taken. */
static int add_offers(struct items *s, size_t i, struct mc_err *err)
{
    struct mc_svd_item *it = &s->r->item[i];
    const struct mc_svd_choice *c = &it->choice;
    double low = c->n > 1 ? fmax(1, c->offer[0].cost) : 1,
           high = fmax(low, c->offer[c->n - 1].cost);
    size_t most = OPTIONS / s->r->n_items;
    most = most < OPTIONS_MIN ? OPTIONS_MIN : most;
    double ratio = c->n > most ? pow(high / low, 1 / (double)most) : 1, last = INFINITY;
    int rc = add_option(s, i, NULL, NULL, err);
    for (size_t k = c->n; !rc && k-- > 0;) {
        const struct mc_svd_offer *o = &c->offer[k];
        if (o->curve == MC_SVD_AS_IT_IS || (k && o->cost * ratio > last))
            continue;
        last = o->cost;
        rc = add_option(s, i, &it->curve[o->curve], &it->curve[o->curve].point[o->point], err);
    }
    return rc;
}

/* How far curves have to reach for what is asked: half as far again as the average, or all the way. */
static double want_of(const struct mc_svd_run *r, const struct mc_search_ask *ask, double cap)
{
    double share = 1;
    if (ask->goal == MC_SEARCH_BYTES && !ask->choices)
        share = ask->share ? ask->limit : ask->limit / (double)r->bytes_given;
    return fmin(1, ceil(2 * share * cap + 8) / cap);
}

static int analyse(struct mc_svd_run *r, const struct mc_search_ask *ask, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < r->n_items; i++) {
        double cap = 0;
        for (size_t k = 0; k < r->item[i].n_layers; k++)
            cap = fmax(cap, (double)mc_layer_rank_cap(&r->layers.item[r->item[i].layer[k]]));
        mc_progress_tell(r->ctx->progress, "singular values", (double)i, (double)r->n_items);
        rc = mc_svd_item_analyse(r, i, want_of(r, ask, fmax(1, cap)), err);
    }
    return rc;
}

static const char *name_of(struct items *s, size_t i)
{
    const struct mc_layer *l = &s->r->layers.item[s->r->item[i].layer[0]];
    return mc_search_name(s->item, i, mc_node_label(l->sites[0].node), l->value->name, &s->names);
}

static int make_items(struct items *s, struct mc_err *err)
{
    struct mc_svd_run *r = s->r;
    s->item = mc_calloc(r->n_items + 1, sizeof *s->item);
    s->from = mc_calloc(r->n_items + 1, sizeof *s->from);
    if (!s->item || !s->from)
        return no_memory(err);
    int rc = 0;
    for (size_t i = 0; !rc && i < r->n_items; i++) {
        const struct mc_layer *l = &r->layers.item[r->item[i].layer[0]];
        s->item[i].name = name_of(s, i);
        s->item[i].op = l->sites[0].node->op_type;
        rc = s->item[i].name ? add_offers(s, i, err) : no_memory(err);
    }
    return rc;
}

static void free_items(struct items *s)
{
    for (size_t i = 0; s->item && i < s->r->n_items; i++) {
        for (size_t k = 0; s->from && k < s->item[i].n; k++)
            free(s->from[i][k]);
        free(s->item[i].option);
        if (s->from)
            free(s->from[i]);
    }
    free(s->item);
    free(s->from);
    mc_arena_free(&s->names);
}

/* ---- what the search asks for ---- */

static void take(struct items *s, size_t i, size_t option)
{
    s->r->item[i].at = s->from[i][option]->at;
    s->r->item[i].point = s->from[i][option]->point;
}

static int build(void *self, const size_t *choice, bool sizes_only, struct mc_model **ret,
                 struct mc_err *err)
{
    struct items *s = self;
    for (size_t i = 0; i < s->r->n_items; i++)
        take(s, i, choice[i]);
    return mc_svd_run_build(s->r, sizes_only, ret, err);
}

/* Any rank that a form knows, listed or not. */
static int find(void *self, struct mc_search *search, size_t i, const char *label, size_t *ret,
                struct mc_err *err)
{
    struct items *s = self;
    const struct mc_svd_item *it = &s->r->item[i];
    int64_t rank[2];
    *ret = 0;
    for (size_t k = 0; k < it->n_curves; k++)
        for (size_t p = 0; p < it->curve[k].n && mc_svd_label_read(it->curve[k].form, label, rank);
             p++) {
            const struct mc_svd_point *at = &it->curve[k].point[p];
            if (at->rank[0] != rank[0] || at->rank[1] != rank[1])
                continue;
            *ret = search->item[i].n;
            return add_option(s, i, &it->curve[k], at, err);
        }
    return 0;
}

/* ---- the whole ---- */

static void conclude(struct items *s, const struct mc_search_ask *ask)
{
    for (size_t i = 0; i < s->r->n_items; i++) {
        struct mc_svd_item *it = &s->r->item[i];
        take(s, i, s->item[i].choice);
        if (!it->at)
            it->reason = ask->choices ? "the choices leave it as it is"
                                      : "as it is it gives more for its bytes";
    }
}

int mc_svd_search(struct mc_svd_run *r, const struct mc_search_ask *ask, json_t **ret_report,
                  struct mc_err *ret_missed, bool *ret_is_missed, struct mc_err *err)
{
    struct items s = {.r = r};
    struct mc_search_result result;
    struct mc_search search = {.ctx = r->ctx,
                               .before = r->model,
                               .n = r->n_items,
                               .goal = ask->goal,
                               .limit = ask->limit,
                               .share = ask->share,
                               .self = &s,
                               .build = build,
                               .find = find};
    r->by_macs = ask->goal == MC_SEARCH_MACS || ask->goal == MC_SEARCH_LATENCY;
    for (size_t i = 0; i < r->n_items; i++) /* not known everywhere: the search counts them */
        r->by_macs = r->by_macs && isfinite(r->item[i].macs);
    *ret_is_missed = false;
    int rc = analyse(r, ask, err);
    if (!rc)
        rc = make_items(&s, err);
    search.item = s.item;
    if (!rc)
        rc = mc_search_run(&search, &result, err);
    if (!rc) {
        conclude(&s, ask);
        if (ask->goal == MC_SEARCH_BYTES && !ask->choices)
            r->target = result.limit < MOST_BYTES ? (uint64_t)result.limit : 0;
        *ret_report = mc_search_report(&search, &result);
        rc = *ret_report ? 0 : no_memory(err);
    }
    if (!rc && !ask->choices && !result.reached) {
        *ret_is_missed = true;
        mc_search_missed(&search, &result, ret_missed);
    }
    free_items(&s);
    return rc;
}
