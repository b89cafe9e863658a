#include "passes/width.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/channels.h"

struct cut {
    struct mc_model *m;
    struct mc_channels ch;
    int64_t **kept; /* [classes] kept channels, ascending; NULL: all */
    int64_t *n_kept;
    double **score; /* [classes] of free classes */
    struct mc_err *err;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static bool is_weight(const struct mc_tensor *t)
{
    return t && t->dtype != MC_DTYPE_NONE && mc_dtype_info(t->dtype)->kind == MC_KIND_FLOAT;
}

/* Elements of axis `a` of length `size`, taken apart into its atoms: for element i the channel of atom k. */
static int64_t channel_of(const struct cut *c, const struct mc_axis *a, int k, int64_t i)
{
    for (int j = a->n - 1; j > k; j--)
        i /= c->ch.classes[mc_channels_class(&c->ch, a->atom[j])].size;
    return i % c->ch.classes[mc_channels_class(&c->ch, a->atom[k])].size;
}

/* ---- choosing ---- */

static int add_scores(struct cut *c, const struct mc_value *v)
{
    const struct mc_tensor *t = v->tensor || v->producer ? mc_constant(v) : NULL;
    const struct mc_axis *axes = mc_channels_axes(&c->ch, v);
    if (!is_weight(t) || !axes || v->outer)
        return 0;
    float *x;
    int64_t n;
    int rc = mc_constant_f32(v, &x, &n, c->err);
    if (rc)
        return rc;
    double all = 0;
    for (int64_t i = 0; i < n; i++)
        all += (double)x[i] * (double)x[i];
    for (int d = 0; d < t->shape.rank && all > 0; d++) {
        int64_t size = t->shape.dim[d], inner = mc_shape_span(&t->shape, d + 1, t->shape.rank);
        for (int k = 0; k < axes[d].n; k++) {
            double *score = c->score[mc_channels_class(&c->ch, axes[d].atom[k])];
            for (int64_t i = 0; i < n && score; i++)
                score[channel_of(c, &axes[d], k, i / inner % size)] +=
                    (double)x[i] * (double)x[i] / all;
        }
    }
    free(x);
    return 0;
}

struct ranked {
    double score;
    int64_t index;
};

static int stronger(const void *pa, const void *pb)
{
    const struct ranked *a = pa, *b = pb;
    if (a->score != b->score)
        return a->score < b->score ? 1 : -1;
    return a->index < b->index ? -1 : 1;
}

static int ascending(const void *pa, const void *pb)
{
    int64_t a = *(const int64_t *)pa, b = *(const int64_t *)pb;
    return a < b ? -1 : a > b;
}

static int choose(struct cut *c, int class, double ratio)
{
    int64_t size = c->ch.classes[class].size, keep = llround(ratio * (double)size);
    struct ranked *r = mc_calloc((size_t)size, sizeof *r);
    int64_t *kept = mc_calloc((size_t)size, sizeof *kept);
    if (!r || !kept) {
        free(r);
        free(kept);
        return no_memory(c->err);
    }
    keep = keep < 1 ? 1 : keep > size ? size : keep;
    for (int64_t i = 0; i < size; i++)
        r[i] = (struct ranked){c->score[class][i], i};
    qsort(r, (size_t)size, sizeof *r, stronger);
    for (int64_t i = 0; i < keep; i++)
        kept[i] = r[i].index;
    qsort(kept, (size_t)keep, sizeof *kept, ascending);
    free(r);
    c->kept[class] = kept;
    c->n_kept[class] = keep;
    return 0;
}

/* ---- cutting ---- */

/* Elements of an axis that stay: *ret has as many as returned; -1 when out of memory. */
static int64_t stays(const struct cut *c, const struct mc_axis *a, int64_t size, int64_t **ret)
{
    int64_t n = 0;
    *ret = mc_calloc((size_t)size + 1, sizeof **ret);
    for (int64_t i = 0; *ret && i < size; i++) {
        bool stay = true;
        for (int k = 0; k < a->n && stay; k++) {
            int class = mc_channels_class(&c->ch, a->atom[k]);
            int64_t at = c->kept[class] ? channel_of(c, a, k, i) : 0;
            stay = !c->kept[class] ||
                   bsearch(&at, c->kept[class], (size_t)c->n_kept[class], sizeof at, ascending);
        }
        if (stay)
            (*ret)[n++] = i;
    }
    return *ret ? n : -1;
}

static bool is_touched(const struct cut *c, const struct mc_value *v, int rank)
{
    const struct mc_axis *axes = mc_channels_axes(&c->ch, v);
    for (int d = 0; axes && d < rank; d++)
        for (int k = 0; k < axes[d].n; k++)
            if (c->kept[mc_channels_class(&c->ch, axes[d].atom[k])])
                return true;
    return false;
}

static void copy_kept(const struct mc_tensor *t, int64_t *const *index, const struct mc_shape *to,
                      uint8_t *dst)
{
    size_t size = mc_dtype_info(t->dtype)->bits / 8;
    int64_t n = mc_shape_count(to);
    for (int64_t i = 0; i < n; i++) {
        int64_t rest = i, from = 0, stride = 1;
        for (int d = to->rank - 1; d >= 0; d--) {
            from += index[d][rest % to->dim[d]] * stride;
            rest /= to->dim[d];
            stride *= t->shape.dim[d];
        }
        memcpy(dst + (size_t)i * size, t->data + (size_t)from * size, size);
    }
}

static int cut_constant(struct cut *c, struct mc_value *v)
{
    const struct mc_tensor *t = mc_constant(v);
    if (!t || v->outer || !is_touched(c, v, t->shape.rank))
        return 0;
    if (!v->tensor && !mc_node_is(v->producer, "Constant"))
        return 0;
    int64_t *index[MC_RANK_MAX] = {NULL};
    struct mc_shape shape = t->shape;
    struct mc_tensor *made = NULL;
    void *data;
    int rc = 0;
    for (int d = 0; d < shape.rank && !rc; d++) {
        shape.dim[d] = stays(c, &c->ch.axes[v->index][d], t->shape.dim[d], &index[d]);
        rc = shape.dim[d] < 0 ? no_memory(c->err) : 0;
    }
    if (!rc)
        rc = mc_tensor_new(t->dtype, &shape, c->m->spill, &made, &data, c->err);
    if (!rc) {
        copy_kept(t, index, &shape, data);
        rc = mc_constant_replace(v, made, c->err);
        mc_tensor_unref(made);
    }
    for (int d = 0; d < shape.rank; d++)
        free(index[d]);
    return rc;
}

/* The length of an axis after the cut; -1: as it was. */
static int64_t new_length(const struct cut *c, const struct mc_axis *a)
{
    int64_t n = 1;
    bool changed = false;
    for (int k = 0; k < a->n; k++) {
        int class = mc_channels_class(&c->ch, a->atom[k]);
        changed |= c->kept[class] != NULL;
        n *= c->kept[class] ? c->n_kept[class] : c->ch.classes[class].size;
    }
    return changed ? n : -1;
}

static int put_ints(struct cut *c, struct mc_node *n, size_t slot, const int64_t *x, int count)
{
    struct mc_shape shape = {.rank = 1, .dim = {count}};
    struct mc_tensor *t = NULL;
    struct mc_value *v = NULL;
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_I64, &shape, NULL, &t, &data, c->err);
    if (rc)
        return rc;
    memcpy(data, x, (size_t)count * sizeof *x);
    rc = mc_constant_new(n->graph, n->pos, n->in[slot]->name, t, &v, c->err);
    mc_tensor_unref(t);
    return rc ? rc : mc_edit_set_input(n, slot, v, c->err);
}

/* Numbers written in the shape of a Reshape, where the axis they stand for has another length now. */
static int correct_reshape(struct cut *c, struct mc_node *n)
{
    const struct mc_axis *y = mc_channels_axes(&c->ch, n->out[0]);
    int rank = y ? mc_infer_of(c->ch.inf, n->out[0])->shape.rank : 0;
    int64_t x[MC_RANK_MAX];
    int count = mc_constant_ints(n->in[1], x, MC_RANK_MAX), rc = 0;
    if (count >= 0) {
        bool changed = false;
        for (int i = 0; i < rank && i < count; i++)
            if (x[i] > 0 && new_length(c, &y[i]) > 0) {
                x[i] = new_length(c, &y[i]);
                changed = true;
            }
        return changed ? put_ints(c, n, 1, x, count) : 0;
    }
    struct mc_node *concat = n->in[1]->producer;
    int at = 0;
    for (size_t k = 0; concat && k < concat->n_in && !rc; k++) {
        count = mc_constant_ints(concat->in[k], x, MC_RANK_MAX);
        bool changed = false;
        for (int i = 0; i < count && at + i < rank; i++)
            if (x[i] > 0 && new_length(c, &y[at + i]) > 0) {
                x[i] = new_length(c, &y[at + i]);
                changed = true;
            }
        if (changed)
            rc = put_ints(c, concat, k, x, count);
        at += count < 0 ? 1 : count;
    }
    return rc;
}

static int correct_group(struct cut *c, struct mc_node *n)
{
    if (mc_node_int(n, "group", 1) == 1 || !n->in[1]->tensor)
        return 0;
    return mc_edit_attr_int(n, "group", n->in[1]->tensor->shape.dim[0], c->err);
}

static int apply(struct cut *c)
{
    struct mc_graph *g = c->m->graph;
    int rc = 0;
    size_t n = g->n_values, n_nodes = g->n_nodes;
    struct mc_node **nodes = mc_calloc(n_nodes + 1, sizeof *nodes);
    if (!nodes)
        return no_memory(c->err);
    memcpy(nodes, g->nodes, n_nodes * sizeof *nodes);
    for (size_t i = 0; i < n && !rc; i++) {
        struct mc_value *v = g->values[i];
        if (!v)
            continue;
        if (mc_constant(v))
            rc = cut_constant(c, v);
        else if (is_touched(c, v, mc_infer_of(c->ch.inf, v)->shape.rank) &&
                 !mc_edit_type(v, mc_infer_of(c->ch.inf, v)->dtype, -1, NULL))
            rc = no_memory(c->err);
    }
    for (size_t i = 0; i < n_nodes && !rc; i++) {
        if (mc_node_is(nodes[i], "Reshape") && nodes[i]->n_in > 1)
            rc = correct_reshape(c, nodes[i]);
        else if (mc_node_is(nodes[i], "Conv") && mc_channels_axes(&c->ch, nodes[i]->in[1]))
            rc = correct_group(c, nodes[i]);
    }
    free(nodes);
    if (!rc)
        mc_edit_sweep(g);
    return rc;
}

/* ---- account ---- */

static int64_t parameters(const struct mc_graph *g)
{
    int64_t n = 0;
    for (size_t i = 0; i < g->n_values; i++) {
        const struct mc_value *v = g->values[i];
        bool own = v && (v->tensor || (v->producer && mc_node_is(v->producer, "Constant")));
        const struct mc_tensor *t = own ? mc_constant(v) : NULL;
        n += is_weight(t) ? mc_tensor_count(t) : 0;
    }
    return n;
}

/* A float constant that has the class, or NULL. */
static const char *constant_of(const struct cut *c, int class)
{
    const struct mc_graph *g = c->m->graph;
    for (size_t i = 0; i < g->n_values; i++) {
        const struct mc_value *v = g->values[i];
        const struct mc_tensor *t = v ? mc_constant(v) : NULL;
        const struct mc_axis *a = is_weight(t) ? mc_channels_axes(&c->ch, v) : NULL;
        for (int d = 0; a && d < t->shape.rank; d++)
            for (int k = 0; k < a[d].n; k++)
                if (mc_channels_class(&c->ch, a[d].atom[k]) == class)
                    return v->name;
    }
    return NULL;
}

static int choose_all(struct cut *c, double ratio, json_t *classes, json_t *fixed, int *ret_free)
{
    int rc = 0, n = c->ch.n;
    for (int i = 0; i < n && !rc; i++) {
        const struct mc_class *k = &c->ch.classes[i];
        const char *name = k->parent == i && k->size > 1 ? constant_of(c, i) : NULL;
        if (!name)
            continue;
        if (k->why) {
            json_array_append_new(fixed, json_pack("{s:I,s:s,s:s}", "channels", k->size, "why",
                                                   k->why, "first", name));
            continue;
        }
        c->score[i] = mc_calloc((size_t)k->size, sizeof **c->score);
        rc = c->score[i] ? 0 : no_memory(c->err);
        ++*ret_free;
    }
    for (size_t i = 0; i < c->m->graph->n_values && !rc; i++)
        if (c->m->graph->values[i])
            rc = add_scores(c, c->m->graph->values[i]);
    for (int i = 0; i < n && !rc; i++) {
        if (!c->score[i])
            continue;
        rc = choose(c, i, ratio);
        if (!rc)
            json_array_append_new(classes,
                                  json_pack("{s:I,s:I,s:s}", "channels", c->ch.classes[i].size,
                                            "kept", c->n_kept[i], "first", constant_of(c, i)));
    }
    return rc;
}

static int reduce(struct cut *c, double ratio, json_t **ret_report)
{
    int n = c->ch.n, n_free = 0;
    int64_t before = parameters(c->m->graph);
    json_t *classes = json_array(), *fixed = json_array();
    c->kept = mc_calloc((size_t)n + 1, sizeof *c->kept);
    c->n_kept = mc_calloc((size_t)n + 1, sizeof *c->n_kept);
    c->score = mc_calloc((size_t)n + 1, sizeof *c->score);
    int rc = classes && fixed && c->kept && c->n_kept && c->score
                 ? choose_all(c, ratio, classes, fixed, &n_free)
                 : no_memory(c->err);
    if (!rc && !n_free) {
        const char *why = NULL;
        size_t most = 0;
        for (size_t i = 0; i < json_array_size(fixed); i++) {
            const json_t *row = json_array_get(fixed, i);
            size_t channels = (size_t)json_integer_value(json_object_get(row, "channels"));
            if (channels > most)
                why = json_string_value(json_object_get(row, "why"));
            most = channels > most ? channels : most;
        }
        rc = mc_fail(c->err, MC_EUNSUP, "the model cannot be made thinner: %s",
                     why ? why : "it has no weights with channels");
    }
    if (!rc)
        rc = apply(c);
    if (!rc)
        *ret_report =
            json_pack("{s:f,s:O,s:O,s:I,s:I}", "ratio", ratio, "classes", classes, "fixed", fixed,
                      "parameters_before", before, "parameters_after", parameters(c->m->graph));
    json_decref(classes);
    json_decref(fixed);
    return !rc && !*ret_report ? no_memory(c->err) : rc;
}

int mc_width_reduce(struct mc_model *m, double ratio, json_t **ret_report, struct mc_err *err)
{
    struct cut c = {.m = m, .err = err};
    struct mc_infer *inf = NULL;
    *ret_report = NULL;
    int rc = mc_infer_run(m->graph, NULL, &inf, err);
    if (!rc)
        rc = mc_channels_find(m->graph, inf, &c.ch, err);
    int n = rc ? 0 : c.ch.n;
    if (!rc)
        rc = reduce(&c, ratio, ret_report);
    for (int i = 0; i < n; i++) {
        free(c.kept ? c.kept[i] : NULL);
        free(c.score ? c.score[i] : NULL);
    }
    free(c.kept);
    free(c.n_kept);
    free(c.score);
    mc_channels_free(&c.ch);
    mc_infer_free(inf);
    return rc;
}
