#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/run/observe.h"
#include "passes/prune/prune_repair_parts.h"

/* What nodes in front of `at` gave is kept, batch by batch, for all that is read behind them: weights in front of `at` change no
 * more, so the next run begins there. Otherwise a network of n layers would be run as if it had n²/2. */

enum { M, BEFORE, SIDES };

struct held { /* a batch */
    int64_t n, *index;
    struct mc_array *value[SIDES]; /* [names of the side], data in one block each */
};

struct mc_repair_store {
    const char **name[SIDES]; /* borrowed of the graphs' values */
    size_t n[SIDES];
    struct held *batch;
    size_t n_batches, cap_batches;
    double bytes;
};

struct run {
    struct mc_repair *r;
    const struct mc_repair_ask *ask;
    mc_observe_fn *fn;
    void *ctx;
    struct mc_repair_store *next; /* NULL: nothing is kept */
    const char **name[SIDES];     /* what is asked for, then what is kept */
    size_t n[SIDES];
    const struct mc_array **values; /* as asked for */
    bool handed;                    /* sums have begun */
    int64_t fits;                   /* fewer than all samples; 0: they do */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for repairing");
}

/* ---- the store ---- */

static void drop_batch(struct held *b)
{
    for (int s = 0; s < SIDES; s++) {
        if (b->value[s])
            free(b->value[s][0].data);
        free(b->value[s]);
    }
    free(b->index);
    *b = (struct held){0};
}

static void drop_store(struct mc_repair_store *s)
{
    for (size_t i = 0; s && i < s->n_batches; i++)
        drop_batch(&s->batch[i]);
    if (s) {
        free(s->batch);
        free(s->name[M]);
        free(s->name[BEFORE]);
    }
    free(s);
}

void mc_repair_forget(struct mc_repair *r)
{
    drop_store(r->store);
    r->store = NULL;
}

/* ---- what is read behind a node ---- */

/* [n_values] values that samples change. */
static bool *find_varying(const struct mc_graph *g)
{
    bool *varies = mc_calloc(g->n_values + 1, sizeof *varies);
    bool *node = mc_calloc(g->n_node_ids + (size_t)1, sizeof *node);
    for (size_t i = 0; varies && node && i < g->n_inputs; i++)
        varies[g->inputs[i]->index] = !mc_constant(g->inputs[i]);
    for (size_t i = 0; varies && node && i < g->n_values; i++)
        for (size_t u = 0; g->values[i] && varies[i] && u < g->values[i]->n_uses; u++)
            node[g->values[i]->uses[u].node->id] = true;
    for (size_t i = 0; varies && node && i < g->n_nodes; i++)
        for (size_t k = 0; node[g->nodes[i]->id] && k < g->nodes[i]->n_out; k++) {
            const struct mc_value *v = g->nodes[i]->out[k];
            for (size_t u = 0; v && u < v->n_uses; u++)
                node[v->uses[u].node->id] = true;
            if (v)
                varies[v->index] = true;
        }
    free(node);
    return varies;
}

/* Is it there before the node `at` of m runs? By name, so that values of the model before can be asked for. */
static bool is_done(const struct mc_repair *r, const struct mc_node *at, const struct mc_value *v)
{
    const struct mc_value *is = mc_graph_value(r->m->graph, v->name);
    return is && (is->is_input || (is->producer && is->producer->pos < at->pos));
}

static bool is_behind(const struct mc_repair *r, const struct mc_node *at, const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_out; i++)
        if (n->out[i] && !is_done(r, at, n->out[i]))
            return true;
    return false;
}

static int find_names(const struct mc_repair *r, const struct mc_node *at, const struct mc_graph *g,
                      const char ***ret, size_t *ret_n, struct mc_err *err)
{
    bool *varies = find_varying(g);
    *ret = mc_calloc(g->n_values + 1, sizeof **ret);
    if (!varies || !*ret) {
        free(varies);
        return no_memory(err);
    }
    for (size_t i = 0; i < g->n_values; i++) {
        const struct mc_value *v = g->values[i];
        bool read = false;
        if (!v || !varies[i] || mc_constant(v) || !is_done(r, at, v))
            continue;
        for (size_t u = 0; !read && u < v->n_uses; u++)
            read = is_behind(r, at, v->uses[u].node);
        if (read)
            (*ret)[(*ret_n)++] = v->name;
    }
    free(varies);
    return 0;
}

static int make_next(struct run *x, struct mc_err *err)
{
    struct mc_repair *r = x->r;
    if (x->ask->count < r->samples) /* what is kept is of all samples */
        return 0;
    x->next = mc_calloc(1, sizeof *x->next);
    if (!x->next)
        return no_memory(err);
    int rc = find_names(r, x->ask->at, r->m->graph, &x->next->name[M], &x->next->n[M], err);
    if (!rc)
        rc = find_names(r, x->ask->at, r->before->graph, &x->next->name[BEFORE],
                        &x->next->n[BEFORE], err);
    return rc;
}

/* ---- a batch that has run ---- */

static int copy_side(const struct mc_array *const *from, const char *const *name, size_t n,
                     struct mc_array **ret, double *bytes, struct mc_err *err)
{
    size_t all = 0;
    *ret = mc_calloc(n + 1, sizeof **ret);
    if (!*ret)
        return no_memory(err);
    for (size_t i = 0; i < n; i++)
        all += (from[i]->bytes + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
    char *data = mc_alloc_aligned(all);
    (*ret)[0].data = data;
    if (!data)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        (*ret)[i] = *from[i];
        (*ret)[i].name = name[i]; /* its own is that of a graph that may be gone by then */
        (*ret)[i].data = data;
        memcpy(data, from[i]->data, from[i]->bytes);
        data += (from[i]->bytes + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
    }
    *bytes += (double)all;
    return 0;
}

/* side[s]: values by x->name[s]. */
static int keep(struct run *x, const struct mc_array *const *const side[SIDES], int64_t n,
                const int64_t *index, struct mc_err *err)
{
    struct mc_repair_store *s = x->next;
    const size_t asked[] = {x->ask->n_m, x->ask->n_before};
    double bytes = s->bytes;
    for (int k = 0; k < SIDES; k++)
        for (size_t i = 0; i < s->n[k]; i++)
            bytes += mc_array_is_list(side[k][asked[k] + i]) ? x->r->store_most
                                                             : (double)side[k][asked[k] + i]->bytes;
    double each = s->n_batches ? 0 : bytes / (double)n;
    if (each * (double)x->r->samples > x->r->store_most)
        x->fits = (int64_t)(0.75 * x->r->store_most / each) +
                  1; /* there may be more behind the next one */
    if (bytes > x->r->store_most || x->fits) {
        drop_store(s);
        x->next = NULL;
        return 0;
    }
    if (!MC_GROW(s->batch, s->n_batches, s->cap_batches))
        return no_memory(err);
    struct held *b = &s->batch[s->n_batches++];
    *b = (struct held){.n = n, .index = mc_calloc((size_t)n, sizeof *b->index)};
    if (!b->index)
        return no_memory(err);
    memcpy(b->index, index, (size_t)n * sizeof *index);
    int rc = 0;
    for (int k = 0; !rc && k < SIDES; k++)
        rc = copy_side(side[k] + asked[k], s->name[k], s->n[k], &b->value[k], &s->bytes, err);
    return rc;
}

static int hand_out(struct run *x, const struct mc_array *const *const side[SIDES],
                    const struct mc_batch *b, struct mc_err *err)
{
    memcpy(x->values, side[M], x->ask->n_m * sizeof *x->values);
    memcpy(x->values + x->ask->n_m, side[BEFORE], x->ask->n_before * sizeof *x->values);
    x->handed = true;
    int rc = x->fn(x->ctx, x->values, b->index[0], b, err);
    return rc || !x->next ? rc : keep(x, side, b->n, b->index, err);
}

static int batch(void *ctx, const struct mc_array *const *values, int64_t first,
                 const struct mc_batch *b, struct mc_err *err)
{
    struct run *x = ctx;
    const struct mc_array *const *const side[] = {values, values + x->n[M]};
    (void)first;
    return hand_out(x, side, b, err);
}

static int list_names(struct run *x, struct mc_err *err)
{
    const char *const *const asked[] = {x->ask->m, x->ask->before};
    const size_t n[] = {x->ask->n_m, x->ask->n_before};
    x->values = mc_calloc(n[M] + n[BEFORE] + 1, sizeof *x->values);
    for (int s = 0; s < SIDES; s++) {
        size_t more = x->next ? x->next->n[s] : 0;
        x->name[s] = mc_calloc(n[s] + more + 1, sizeof *x->name[s]);
        if (!x->name[s] || !x->values)
            return no_memory(err);
        memcpy(x->name[s], asked[s], n[s] * sizeof *x->name[s]);
        if (more)
            memcpy(x->name[s] + n[s], x->next->name[s], more * sizeof *x->name[s]);
        x->n[s] = n[s] + more;
    }
    return 0;
}

/* ---- from the samples ---- */

/* Samples that were given and those that were mixed are in batches of their own. */
static int from_samples(struct run *x, struct mc_err *err)
{
    struct mc_repair *r = x->r;
    struct mc_observed of[] = {{r->m->graph, x->name[M], x->n[M]},
                               {r->before->graph, x->name[BEFORE], x->n[BEFORE]}};
    int64_t given = r->given > 0 && r->given < x->ask->count ? r->given : x->ask->count;
    struct mc_observe_opts o = {.pool = r->ctx->pool, .count = given};
    int rc = mc_observe_all(of, 2, r->data, &o, batch, x, NULL, err);
    o.first = given;
    o.count = x->ask->count - given;
    if (!rc && o.count > 0)
        rc = mc_observe_all(of, 2, r->data, &o, batch, x, NULL, err);
    return rc;
}

/* ---- from the store ---- */

static enum mc_dtype dtype_of(const struct mc_repair *r, const struct mc_array *a)
{
    const struct mc_value *was = mc_graph_value(r->before->graph, a->name);
    enum mc_dtype t = was ? mc_infer_of(r->c->inf, was)->dtype : MC_DTYPE_NONE;
    return t == MC_DTYPE_NONE ? a->dtype : t;
}

/* *ret: a clone of g's model that begins with the values of the store and ends with those that are wanted. */
static int shorten(struct run *x, int side, struct mc_model **ret, struct mc_err *err)
{
    const struct mc_repair_store *s = x->r->store;
    struct mc_model *m = NULL;
    int rc = mc_model_clone(side == M ? x->r->m : x->r->before, &m, err);
    *ret = m;
    while (!rc && m->graph->n_outputs)
        mc_edit_output_drop(m->graph->outputs[0]);
    for (size_t i = 0; !rc && i < s->n[side]; i++) {
        const struct mc_array *a = &s->batch[0].value[side][i];
        struct mc_value *v = mc_graph_value(m->graph, a->name);
        if (!v)
            return mc_fail(err, MC_EFAIL, "'%s' is not there any more", a->name);
        if (v->producer)
            mc_edit_remove_node(v->producer);
        if (v->is_input)
            continue;
        if (!mc_edit_type(v, dtype_of(x->r, a), -1, NULL))
            return no_memory(err);
        rc = mc_edit_input(m->graph, v, err);
    }
    for (size_t i = 0; !rc && i < x->n[side]; i++) {
        struct mc_value *v = mc_graph_value(m->graph, x->name[side][i]);
        if (v && v->producer && !v->is_output)
            rc = mc_edit_output(m->graph, v, err);
    }
    if (!rc)
        mc_edit_sweep(m->graph);
    return rc;
}

static int run_batch(struct run *x, struct mc_session *const *session, struct held *h,
                     const struct mc_array **value, struct mc_err *err)
{
    const struct mc_array *const *const side[] = {value, value + x->n[M]};
    const struct mc_repair_store *s = x->r->store;
    struct mc_batch b = {.n = h->n, .index = h->index};
    int rc = mc_interrupt_check(err);
    for (int k = 0; !rc && k < SIDES; k++)
        rc = mc_session_run(session[k], h->value[k], (int)s->n[k], err);
    for (size_t i = 0; !rc && i < x->n[M] + x->n[BEFORE]; i++)
        value[i] = i < x->n[M] ? mc_session_output(session[M], (int)i)
                               : mc_session_output(session[BEFORE], (int)(i - x->n[M]));
    if (!rc)
        rc = hand_out(x, side, &b, err);
    if (!rc && x->next)
        drop_batch(h);
    return rc;
}

static int from_store(struct run *x, struct mc_err *err)
{
    struct mc_model *model[SIDES] = {NULL};
    struct mc_session *session[SIDES] = {NULL};
    const struct mc_repair_store *s = x->r->store;
    const struct mc_array **value = mc_calloc(x->n[M] + x->n[BEFORE] + 1, sizeof *value);
    int rc = value ? 0 : no_memory(err);
    for (int k = 0; !rc && k < SIDES; k++) {
        struct mc_session_opts o = {.pool = x->r->ctx->pool, .only = x->name[k], .n_only = x->n[k]};
        rc = shorten(x, k, &model[k], err);
        if (!rc)
            rc = mc_session_new(model[k]->graph, &o, &session[k], err);
    }
    for (size_t i = 0; !rc && i < s->n_batches && s->batch[i].index[0] < x->ask->count; i++)
        rc = run_batch(x, session, &s->batch[i], value, err);
    for (int k = 0; k < SIDES; k++) {
        mc_session_free(session[k]);
        mc_model_free(model[k]);
    }
    free(value);
    return rc;
}

int mc_repair_observe(struct mc_repair *r, const struct mc_repair_ask *ask, mc_observe_fn *fn,
                      void *ctx, struct mc_err *err)
{
    struct run x = {.r = r, .ask = ask, .fn = fn, .ctx = ctx};
    int rc = make_next(&x, err);
    if (!rc)
        rc = list_names(&x, err);
    bool stored = !rc && r->store;
    if (stored)
        rc = from_store(&x, err);
    if (stored && rc && !x.handed && rc != MC_EINTR && rc != MC_ENOMEM) {
        mc_repair_forget(r);
        stored = false;
        rc = 0;
    }
    if (!rc && !stored)
        rc = from_samples(&x, err);
    int64_t fewer = x.fits > r->given ? x.fits : r->given;
    bool shrinks = !rc && x.fits && fewer < r->samples;
    if (rc || x.next || shrinks)
        mc_repair_forget(r); /* its batches are gone, or too many */
    if (shrinks)
        r->samples = fewer;
    if (!rc && x.next) {
        r->store = x.next;
        x.next = NULL;
    }
    drop_store(x.next);
    free(x.name[M]);
    free(x.name[BEFORE]);
    free(x.values);
    return rc;
}
