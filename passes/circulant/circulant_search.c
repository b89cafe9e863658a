/* Layers as the search that all passes share sees them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "passes/circulant/circulant_local.h"

enum { LABEL = 32 };

/* Multiply-accumulates of the fits of one trial: a second or so. Some dozen are made. */
static const double TRIAL_WORK = 4e10;

struct option {
    int64_t b;
    float *col; /* NULL: as it is */
    char label[LABEL];
};

struct candidate { /* a layer with options */
    size_t layer;
    int64_t *gather;
    struct option **option;
};

struct searcher {
    struct mc_circulant_run *r;
    struct mc_circulant_local local;
    struct candidate *of; /* [n] */
    struct mc_search_item *item;
    size_t n;
    struct mc_arena names;
    int64_t
        samples; /* that trials are fitted on; 0: each layer has the blocks that it has by itself */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- options ---- */

static const char *label(int64_t b, char ret[LABEL])
{
    snprintf(ret, LABEL, "block %lld", (long long)b);
    return ret;
}

/* b 1: as it is. */
static int add_option(struct searcher *s, size_t i, int64_t b, struct mc_err *err)
{
    struct mc_search_item *out = &s->item[i];
    struct candidate *c = &s->of[i];
    const struct mc_layer *l = &s->r->layers.item[c->layer];
    struct mc_search_option *o = mc_realloc(out->option, out->n + 1, sizeof *o);
    if (!o)
        return no_memory(err);
    out->option = o;
    struct option **list = mc_realloc(c->option, out->n + 1, sizeof *list);
    if (!list)
        return no_memory(err);
    c->option = list;
    struct option *one = list[out->n] = mc_calloc(1, sizeof *one);
    if (!one)
        return no_memory(err);
    o += out->n++;
    *o = (struct mc_search_option){.label = "as it is", .measured = NAN, .seconds = NAN};
    one->b = b;
    if (b == 1)
        return 0;
    struct mc_circulant_form f = mc_circulant_form_of(l, b);
    one->col = mc_calloc((size_t)mc_circulant_form_count(&f), sizeof *one->col);
    if (!one->col)
        return no_memory(err);
    double before = (double)l->weight->bytes, after = (double)mc_circulant_bytes(l, b);
    o->label = label(b, one->label);
    o->bytes = after - before;
    o->params = (double)mc_circulant_form_count(&f) - (double)l->m * (double)l->n;
    o->macs = NAN; /* by body and block: counted where it is asked for */
    return mc_circulant_local_fit(s->r, &s->local, c->layer, &f, out->n == 2, &c->gather, one->col,
                                  &o->predicted, err);
}

static int add_options(struct searcher *s, size_t i, struct mc_err *err)
{
    struct mc_circulant_run *r = s->r;
    size_t layer = s->of[i].layer;
    char why[MC_CIRCULANT_REASON];
    int rc = add_option(s, i, 1, err);
    if (r->ctx->choices)
        return rc; /* find() makes those that are asked for */
    for (int64_t b = 2; !rc && b <= r->layers.item[layer].m; b *= 2) {
        rc = mc_interrupt_check(err);
        if (!rc && mc_circulant_suits(&r->layers.item[layer], b, false, why))
            rc = add_option(s, i, b, err);
    }
    return rc;
}

static const char *name_of(struct searcher *s, size_t i)
{
    const struct mc_layer *l = &s->r->layers.item[s->of[i].layer];
    return mc_search_name(s->item, i, mc_node_label(l->sites[0].node), l->value->name, &s->names);
}

static int make_items(struct searcher *s, struct mc_err *err)
{
    struct mc_circulant_run *r = s->r;
    s->of = mc_calloc(r->layers.n + 1, sizeof *s->of);
    s->item = mc_calloc(r->layers.n + 1, sizeof *s->item);
    if (!s->of || !s->item)
        return no_memory(err);
    int rc = 0;
    for (size_t i = 0; !rc && i < r->layers.n; i++) {
        if (r->item[i].reason)
            continue;
        size_t k = s->n++;
        mc_progress_tell(r->ctx->progress, "blocks", (double)i, (double)r->layers.n);
        s->of[k].layer = i;
        s->item[k].name = name_of(s, k);
        s->item[k].op = r->layers.item[i].sites[0].node->op_type;
        rc = s->item[k].name ? add_options(s, k, err) : no_memory(err);
    }
    return rc;
}

static void free_items(struct searcher *s)
{
    for (size_t i = 0; s->item && i < s->n; i++) {
        for (size_t k = 0; s->of[i].option && k < s->item[i].n; k++) {
            if (s->of[i].option[k])
                free(s->of[i].option[k]->col);
            free(s->of[i].option[k]);
        }
        free(s->of[i].option);
        free(s->of[i].gather);
        free(s->item[i].option);
    }
    free(s->of);
    free(s->item);
    mc_circulant_local_free(&s->local);
    mc_arena_free(&s->names);
}

/* ---- what the search asks for ---- */

/* The columns that each layer has by itself. */
static void take_local(const struct searcher *s, const size_t *choice, struct mc_circulant_run *t)
{
    for (size_t i = 0; i < s->n; i++) {
        t->item[s->of[i].layer].col = s->of[i].option[choice[i]]->col;
        t->item[s->of[i].layer].gather = s->of[i].gather;
    }
}

static int build(void *self, const size_t *choice, bool sizes_only, struct mc_model **ret,
                 struct mc_err *err)
{
    struct searcher *s = self;
    struct mc_circulant_run t = *s->r;
    struct mc_model *m;
    bool fits = s->samples && !sizes_only;
    int rc = mc_model_clone(s->r->model, &m, err);
    if (rc)
        return rc;
    m->spill = s->r->model->spill;
    t.model = m;
    t.trial = true;
    t.trial_work = TRIAL_WORK;
    t.layers = (struct mc_layers){0};
    t.item = NULL;
    rc = mc_layers_collect(m, &t.layers, err);
    if (!rc)
        rc = mc_layers_extents(m, &t.layers, err);
    if (!rc)
        rc = mc_circulant_items(&t, err);
    for (size_t i = 0; !rc && i < t.layers.n; i++)
        t.item[i].reason = s->r->item[i].reason;
    for (size_t i = 0; !rc && i < s->n; i++)
        t.item[s->of[i].layer].form.b = s->of[i].option[choice[i]]->b;
    if (!rc && fits)
        rc = mc_circulant_sequence(&t, err);
    else if (!rc)
        take_local(s, choice, &t);
    if (!rc)
        rc = mc_circulant_place(&t, m, &t.layers, sizes_only, err);
    for (size_t i = 0; t.item && !fits && i < t.layers.n; i++) { /* they stay the options' */
        t.item[i].col = NULL;
        t.item[i].gather = NULL;
    }
    mc_circulant_items_free(&t);
    mc_layers_free(&t.layers);
    if (rc)
        mc_model_free(m);
    else
        *ret = m;
    return rc;
}

/* Any block, a power of two or not. */
static int find(void *self, struct mc_search *search, size_t i, const char *text, size_t *ret,
                struct mc_err *err)
{
    struct searcher *s = self;
    const struct mc_layer *l = &s->r->layers.item[s->of[i].layer];
    char why[MC_CIRCULANT_REASON], same[LABEL];
    long long b = 0;
    *ret = 0;
    if (sscanf(text, "block %lld", &b) != 1 || b < 2 || b > l->m || strcmp(label(b, same), text) ||
        !mc_circulant_suits(l, b, true, why))
        return 0;
    int rc = add_option(s, i, b, err);
    *ret = search->item[i].n - 1;
    return rc;
}

/* ---- the whole ---- */

static void conclude(struct searcher *s, const struct mc_search_ask *ask)
{
    for (size_t i = 0; i < s->n; i++) {
        struct mc_circulant_item *it = &s->r->item[s->of[i].layer];
        it->form.b = s->of[i].option[s->item[i].choice]->b;
        if (it->form.b == 1)
            it->reason = ask->choices        ? "the choices leave it as it is"
                         : s->item[i].n == 1 ? "no block fits it"
                                             : "as it is it gives more for its bytes";
    }
}

int mc_circulant_decide(struct mc_circulant_run *r, const struct mc_search_ask *ask,
                        struct mc_err *err)
{
    struct searcher s = {.r = r};
    struct mc_search_result result;
    int rc = mc_circulant_samples(r, TRIAL_WORK, &s.samples, err);
    if (!rc)
        rc = mc_circulant_local_measure(r, &s.local, err);
    if (!rc)
        rc = make_items(&s, err);
    struct mc_search search = {.ctx = r->ctx,
                               .before = r->model,
                               .item = s.item,
                               .n = s.n,
                               .goal = ask->goal,
                               .limit = ask->limit,
                               .share = ask->share,
                               .self = &s,
                               .build = build,
                               .find = find};
    if (!rc)
        rc = mc_search_run(&search, &result, err);
    if (!rc) {
        conclude(&s, ask);
        r->search = mc_search_report(&search, &result);
        rc = r->search ? 0 : no_memory(err);
    }
    if (!rc && !ask->choices && !result.reached) {
        r->missed = true;
        mc_search_missed(&search, &result, &r->miss);
    }
    free_items(&s);
    return rc;
}
