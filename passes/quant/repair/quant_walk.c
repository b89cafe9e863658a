#include "passes/quant/repair/quant_walk.h"

#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/infer.h"

/* Each side is a clone that gets shorter: values that are there and that nodes still to run read become its inputs. */

enum { BATCH = 16, BATCH_ELEMENTS = 1 << 18 }; /* samples of a run, fewer of large inputs */

struct held { /* a batch */
    int64_t n, *index;
    struct mc_array *value[MC_QUANT_SIDES]; /* [n_kept of the side], data of their own */
};

struct side {
    struct mc_model *m;
    struct mc_infer *inf;
    const char **kept; /* names of the values held; of the clone's arena */
    size_t n_kept;
    const char **next; /* those that the next stop begins with */
    size_t n_next;
};

struct mc_quant_walk {
    struct mc_quant_walk_opts o;
    struct side side[MC_QUANT_SIDES];
    struct held *batch;
    size_t n_batches, cap_batches;
    bool begun;
    int64_t each; /* samples of a batch */
};

struct run {
    struct mc_quant_walk *w;
    const struct mc_quant_stop *stop;
    mc_observe_fn *fn;
    void *ctx;
    const char **name[MC_QUANT_SIDES]; /* what is asked for, then what is kept */
    const struct mc_array **values;    /* as asked for */
    struct held *next;
    size_t n_next, cap_next;
    double bytes;
    bool full; /* there is no room for more */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for going through layers");
}

/* ---- batches ---- */

static void drop(struct held *b, const struct side *side, bool next)
{
    for (int s = 0; s < MC_QUANT_SIDES; s++) {
        for (size_t i = 0; b->value[s] && i < (next ? side[s].n_next : side[s].n_kept); i++)
            free(b->value[s][i].data);
        free(b->value[s]);
    }
    free(b->index);
    *b = (struct held){0};
}

static void drop_all(struct mc_quant_walk *w)
{
    for (size_t i = 0; i < w->n_batches; i++)
        drop(&w->batch[i], w->side, false);
    free(w->batch);
    w->batch = NULL;
    w->n_batches = w->cap_batches = 0;
}

int64_t mc_quant_walk_samples(const struct mc_quant_walk *w)
{
    int64_t n = 0;
    for (size_t i = 0; i < w->n_batches; i++)
        n += w->batch[i].n;
    return n;
}

/* ---- what a stop needs, and what is read behind it ---- */

struct marks {
    bool *value;  /* [n_values] the stop needs it */
    bool *node;   /* [n_node_ids] so it runs now */
    bool *varies; /* [n_values] samples change it */
};

static void free_marks(struct marks *k)
{
    free(k->value);
    free(k->node);
    free(k->varies);
}

typedef void input_fn(struct mc_value *v, void *ctx);

/* Inputs of a node, and what its bodies take from around it. */
static void each_input(const struct mc_node *n, input_fn *fn, void *ctx)
{
    for (size_t i = 0; i < n->n_in; i++)
        if (n->in[i])
            fn(n->in[i], ctx);
    for (size_t a = 0; a < n->n_attr; a++)
        for (size_t b = 0; n->attr[a].graphs && b < n->attr[a].n; b++) {
            const struct mc_graph *g = n->attr[a].graphs[b];
            for (size_t i = 0; i < g->n_values; i++)
                if (g->values[i] && g->values[i]->outer)
                    fn(g->values[i]->outer, ctx);
        }
}

static void mark(struct mc_value *v, void *ctx)
{
    ((bool *)ctx)[v->index] = true;
}

struct any {
    const bool *marks;
    bool found;
};

static void look(struct mc_value *v, void *ctx)
{
    struct any *a = ctx;
    a->found |= a->marks[v->index];
}

static int find_marks(const struct side *s, const char *const *name, size_t n, struct marks *k,
                      struct mc_err *err)
{
    const struct mc_graph *g = s->m->graph;
    k->value = mc_calloc(g->n_values + 1, sizeof *k->value);
    k->varies = mc_calloc(g->n_values + 1, sizeof *k->varies);
    k->node = mc_calloc(g->n_node_ids + (size_t)1, sizeof *k->node);
    if (!k->value || !k->varies || !k->node)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const struct mc_value *v = mc_graph_value(g, name[i]);
        if (!v)
            return mc_fail(err, MC_EUSAGE, "value '%s' is not there any more", name[i]);
        k->value[v->index] = true;
    }
    for (size_t i = g->n_nodes; i-- > 0;) {
        const struct mc_node *node = g->nodes[i];
        for (size_t o = 0; o < node->n_out; o++)
            k->node[node->id] |= node->out[o] && k->value[node->out[o]->index];
        if (k->node[node->id])
            each_input(node, mark, k->value);
    }
    for (size_t i = 0; i < g->n_inputs; i++)
        k->varies[g->inputs[i]->index] = !mc_constant(g->inputs[i]);
    for (size_t i = 0; i < g->n_nodes; i++) {
        struct any a = {k->varies, false};
        each_input(g->nodes[i], look, &a);
        for (size_t o = 0; a.found && o < g->nodes[i]->n_out; o++)
            if (g->nodes[i]->out[o])
                k->varies[g->nodes[i]->out[o]->index] = true;
    }
    return 0;
}

/* Values that are there behind the stop and that other nodes read: s->next. */
static int find_next(struct side *s, const char *const *name, size_t n, struct mc_err *err)
{
    struct mc_graph *g = s->m->graph;
    struct marks k = {0};
    int rc = find_marks(s, name, n, &k, err);
    free(s->next);
    s->n_next = 0;
    s->next = rc ? NULL : mc_calloc(g->n_values + 1, sizeof *s->next);
    if (!rc && !s->next)
        rc = no_memory(err);
    for (size_t i = 0; !rc && i < g->n_values; i++) {
        struct mc_value *v = g->values[i];
        bool there = v && k.varies[i] && (v->producer ? k.node[v->producer->id] : v->is_input);
        bool read = false;
        for (size_t u = 0; there && !read && u < v->n_uses; u++)
            read = !k.node[v->uses[u].node->id];
        if (read)
            s->next[s->n_next++] = v->name;
    }
    for (size_t i = g->n_outputs; !rc && i-- > 0;) /* nobody asks for it any more */
        if (g->outputs[i]->producer && k.node[g->outputs[i]->producer->id])
            mc_edit_output_drop(g->outputs[i]);
    free_marks(&k);
    return rc;
}

/* ---- a batch that has run ---- */

static int copy(const struct mc_array *from, const char *name, struct mc_array *to, double *bytes,
                struct mc_err *err)
{
    *to = *from;
    to->name = name;
    to->data = NULL;
    if (mc_array_is_list(from))
        return mc_fail(err, MC_EUNSUP, "value '%s' is no tensor", name);
    to->data = mc_alloc_aligned(from->bytes);
    if (!to->data)
        return no_memory(err);
    memcpy(to->data, from->data, from->bytes);
    *bytes += (double)from->bytes;
    return 0;
}

/* values: of each side those asked for, then those to keep. */
static int take(void *ctx, const struct mc_array *const *values, int64_t first,
                const struct mc_batch *b, struct mc_err *err)
{
    struct run *x = ctx;
    struct mc_quant_walk *w = x->w;
    const struct mc_array *const *at = values;
    size_t asked = 0;
    double bytes = 0;
    int rc = 0;
    if (!w->each)
        w->each = b->n;
    if (b->n < w->each) /* a model of a frozen batch could not go on with it */
        return 0;
    x->full = x->n_next && x->bytes / (double)x->n_next * (double)(x->n_next + 1) > w->o.bytes;
    if (x->full)
        return MC_EFAIL;
    if (!MC_GROW(x->next, x->n_next, x->cap_next))
        return no_memory(err);
    struct held *h = &x->next[x->n_next++];
    *h = (struct held){.n = b->n, .index = mc_calloc((size_t)b->n + 1, sizeof *h->index)};
    if (!h->index)
        return no_memory(err);
    memcpy(h->index, b->index, (size_t)b->n * sizeof *h->index);
    for (int s = 0; !rc && s < MC_QUANT_SIDES; s++) {
        struct side *side = &w->side[s];
        h->value[s] = mc_calloc(side->n_next + 1, sizeof *h->value[s]);
        if (!h->value[s])
            return no_memory(err);
        for (size_t i = 0; i < x->stop->n[s]; i++)
            x->values[asked++] = *at++;
        for (size_t i = 0; !rc && i < side->n_next; i++)
            rc = copy(*at++, side->next[i], &h->value[s][i], &bytes, err);
    }
    x->bytes += bytes;
    return rc || !x->fn ? rc : x->fn(x->ctx, x->values, first, b, err);
}

/* ---- running ---- */

static int64_t batch_size(struct mc_dataset *d, struct mc_err *err)
{
    struct mc_batch *b;
    int64_t n = 0;
    int rc = mc_dataset_range(d, 0, 1, &b, err);
    if (rc)
        return rc;
    for (int i = 0; i < b->n_arrays; i++)
        n += mc_shape_count(&b->arrays[i].shape);
    mc_batch_free(b);
    int64_t fit = n > 0 ? BATCH_ELEMENTS / n : BATCH;
    return fit < 1 ? 1 : fit < BATCH ? fit : BATCH;
}

static size_t all_names(const struct run *x, int s)
{
    return x->stop->n[s] + x->w->side[s].n_next;
}

static int from_samples(struct run *x, struct mc_err *err)
{
    struct mc_quant_walk *w = x->w;
    int64_t size = batch_size(w->o.data, err);
    if (size < 0)
        return (int)size;
    struct mc_observed of[MC_QUANT_SIDES];
    for (int s = 0; s < MC_QUANT_SIDES; s++)
        of[s] = (struct mc_observed){w->side[s].m->graph, x->name[s], all_names(x, s)};
    struct mc_observe_opts o = {.pool = w->o.pool, .count = w->o.count, .batch = size};
    int rc = mc_observe_all(of, MC_QUANT_SIDES, w->o.data, &o, take, x, NULL, err);
    return x->full ? 0 : rc;
}

static int run_batch(struct run *x, struct mc_session *const *session, struct held *h,
                     const struct mc_array **value, struct mc_err *err)
{
    struct mc_quant_walk *w = x->w;
    struct mc_batch b = {.n = h->n, .index = h->index};
    size_t at = 0;
    int rc = mc_interrupt_check(err);
    for (int s = 0; !rc && s < MC_QUANT_SIDES; s++) {
        if (all_names(x, s))
            rc = mc_session_run(session[s], h->value[s], (int)w->side[s].n_kept, err);
        for (size_t i = 0; !rc && i < all_names(x, s); i++)
            value[at++] = mc_session_output(session[s], (int)i);
    }
    if (!rc)
        rc = take(x, value, h->index[0], &b, err);
    drop(h, w->side, false);
    return rc;
}

static int from_store(struct run *x, struct mc_err *err)
{
    struct mc_quant_walk *w = x->w;
    struct mc_session *session[MC_QUANT_SIDES] = {NULL};
    const struct mc_array **value =
        mc_calloc(all_names(x, 0) + all_names(x, 1) + 1, sizeof(struct mc_array *));
    int rc = value ? 0 : no_memory(err);
    for (int s = 0; !rc && s < MC_QUANT_SIDES; s++) {
        struct mc_session_opts o = {
            .pool = w->o.pool, .only = x->name[s], .n_only = all_names(x, s)};
        if (o.n_only)
            rc = mc_session_new(w->side[s].m->graph, &o, &session[s], err);
    }
    for (size_t i = 0; !rc && !x->full && i < w->n_batches; i++)
        rc = run_batch(x, session, &w->batch[i], value, err);
    rc = x->full ? 0 : rc;
    for (int s = 0; s < MC_QUANT_SIDES; s++)
        mc_session_free(session[s]);
    free(value);
    return rc;
}

/* ---- a stop ---- */

static int list_names(struct run *x, struct mc_err *err)
{
    x->values = mc_calloc(x->stop->n[0] + x->stop->n[1] + 1, sizeof *x->values);
    for (int s = 0; s < MC_QUANT_SIDES; s++) {
        const struct side *side = &x->w->side[s];
        size_t n = x->stop->n[s];
        x->name[s] = mc_calloc(n + side->n_next + 1, sizeof *x->name[s]);
        if (!x->name[s] || !x->values)
            return no_memory(err);
        for (size_t i = 0; i < n; i++)
            x->name[s][i] = x->stop->name[s][i];
        for (size_t i = 0; i < side->n_next; i++)
            x->name[s][n + i] = side->next[i];
    }
    return 0;
}

/* The clone begins with the values that are kept now. */
static int shorten(struct side *s, const struct held *b, int which, struct mc_err *err)
{
    struct mc_graph *g = s->m->graph;
    int rc = 0;
    for (size_t i = 0; !rc && i < s->n_next; i++) {
        struct mc_value *v = mc_graph_value(g, s->next[i]);
        if (v->producer)
            mc_edit_remove_node(v->producer);
        if (v->is_input)
            continue;
        enum mc_dtype t = mc_infer_of(s->inf, v)->dtype;
        if (!mc_edit_type(v, t != MC_DTYPE_NONE ? t : b->value[which][i].dtype, -1, NULL))
            return no_memory(err);
        rc = mc_edit_input(g, v, err);
    }
    if (!rc)
        mc_edit_sweep(g);
    return rc;
}

static int go_on(struct run *x, struct mc_err *err)
{
    struct mc_quant_walk *w = x->w;
    int rc = 0;
    drop_all(w);
    for (int s = 0; !rc && s < MC_QUANT_SIDES; s++)
        rc = shorten(&w->side[s], &x->next[0], s, err);
    for (int s = 0; s < MC_QUANT_SIDES; s++) {
        free(w->side[s].kept);
        w->side[s].kept = w->side[s].next;
        w->side[s].n_kept = w->side[s].n_next;
        w->side[s].next = NULL;
        w->side[s].n_next = 0;
    }
    w->batch = x->next;
    w->n_batches = x->n_next;
    w->cap_batches = x->cap_next;
    w->begun = true;
    x->next = NULL;
    x->n_next = 0;
    return rc;
}

int mc_quant_walk_to(struct mc_quant_walk *w, const struct mc_quant_stop *stop, mc_observe_fn *fn,
                     void *ctx, struct mc_err *err)
{
    struct run x = {.w = w, .stop = stop, .fn = fn, .ctx = ctx};
    int rc = 0;
    for (int s = 0; !rc && s < MC_QUANT_SIDES; s++)
        rc = find_next(&w->side[s], stop->name[s], stop->n[s], err);
    if (!rc)
        rc = list_names(&x, err);
    if (!rc)
        rc = w->begun ? from_store(&x, err) : from_samples(&x, err);
    if (!rc && !x.n_next)
        rc = mc_fail(err, MC_EDATA, "there are no samples");
    if (!rc)
        rc = go_on(&x, err);
    for (size_t i = 0; i < x.n_next; i++)
        drop(&x.next[i], w->side, true);
    free(x.next);
    free(x.name[0]);
    free(x.name[1]);
    free(x.values);
    return rc;
}

void mc_quant_walk_add(struct mc_quant_walk *w, const char *name, int axis, int64_t channels,
                       const double *add)
{
    const struct side *s = &w->side[MC_QUANT_INTEGERS];
    for (size_t b = 0; b < w->n_batches; b++)
        for (size_t i = 0; i < s->n_kept; i++) {
            const struct mc_array *a = &w->batch[b].value[MC_QUANT_INTEGERS][i];
            if (strcmp(s->kept[i], name) != 0 || a->dtype != MC_DTYPE_F32 ||
                axis >= a->shape.rank || a->shape.dim[axis] != channels)
                continue;
            int64_t outer = mc_shape_span(&a->shape, 0, axis);
            int64_t inner = mc_shape_span(&a->shape, axis + 1, a->shape.rank);
            float *x = a->data;
            for (int64_t o = 0; o < outer; o++)
                for (int64_t c = 0; c < channels; c++)
                    for (int64_t k = 0; k < inner; k++)
                        *x++ += (float)add[c];
        }
}

/* ---- */

int mc_quant_walk_new(const struct mc_model *before, const struct mc_model *built,
                      const struct mc_quant_walk_opts *opts, struct mc_quant_walk **ret,
                      struct mc_err *err)
{
    const struct mc_model *of[MC_QUANT_SIDES] = {before, built};
    struct mc_quant_walk *w = mc_calloc(1, sizeof *w);
    if (!w)
        return no_memory(err);
    w->o = *opts;
    int rc = 0;
    for (int s = 0; !rc && s < MC_QUANT_SIDES; s++) {
        rc = mc_model_clone(of[s], &w->side[s].m, err);
        rc = rc ? rc : mc_infer_run(w->side[s].m->graph, NULL, &w->side[s].inf, err);
    }
    if (rc)
        mc_quant_walk_free(w);
    else
        *ret = w;
    return rc;
}

void mc_quant_walk_free(struct mc_quant_walk *w)
{
    if (!w)
        return;
    drop_all(w);
    for (int s = 0; s < MC_QUANT_SIDES; s++) {
        mc_infer_free(w->side[s].inf);
        mc_model_free(w->side[s].m);
        free(w->side[s].kept);
        free(w->side[s].next);
    }
    free(w);
}
