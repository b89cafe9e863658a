#include "passes/quant/range/quant_stats.h"

#include <math.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/run/observe.h"
#include "passes/quant/range/quant_hist.h"
#include "passes/quant/range/quant_stats_parts.h"

/* Values of several samples may take so much where one sample takes little. */
static const size_t BATCH_BYTES = (size_t)8 << 20;

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for statistics");
}

/* ---- made and freed ---- */

int mc_quant_stats_new(size_t n, struct mc_quant_stats **ret, struct mc_err *err)
{
    struct mc_quant_stats *s = mc_calloc(1, sizeof *s);
    if (s)
        s->mem = mc_calloc(1, sizeof *s->mem);
    if (s && s->mem)
        s->item = mc_arena_array(s->mem, n + 1, sizeof *s->item);
    int rc = s && s->mem && s->item ? 0 : no_memory(err);
    for (; !rc && s->n < n; s->n++) {
        s->item[s->n].axis = -1;
        s->item[s->n].known = mc_arena_array(s->mem, 1, sizeof *s->item[s->n].known);
        rc = s->item[s->n].known ? mc_quant_hist_init(&s->item[s->n].hist, err) : no_memory(err);
    }
    if (rc)
        mc_quant_stats_free(s);
    else
        *ret = s;
    return rc;
}

void mc_quant_stats_free(struct mc_quant_stats *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        mc_quant_hist_free(&s->item[i].hist);
    if (s->mem)
        mc_arena_free(s->mem);
    free(s->mem);
    free(s);
}

int mc_quant_stat_channels(struct mc_quant_stats *s, struct mc_quant_stat *item, int axis,
                           int64_t channels, struct mc_err *err)
{
    size_t n = (size_t)channels;
    item->ch_min = mc_arena_array(s->mem, n, sizeof *item->ch_min);
    item->ch_max = mc_arena_array(s->mem, n, sizeof *item->ch_max);
    item->ch_sum = mc_arena_array(s->mem, n, sizeof *item->ch_sum);
    if (!item->ch_min || !item->ch_max || !item->ch_sum)
        return no_memory(err);
    item->axis = axis;
    item->channels = channels;
    for (size_t i = 0; i < n; i++) {
        item->ch_min[i] = INFINITY;
        item->ch_max[i] = -INFINITY;
    }
    return 0;
}

const struct mc_quant_stat *mc_quant_stats_of(const struct mc_quant_stats *s, const char *name)
{
    for (size_t i = 0; s && i < s->n; i++)
        if (!strcmp(s->item[i].name, name))
            return &s->item[i];
    return NULL;
}

/* ---- ranges ---- */

static bool same_type(const struct mc_quant_type *a, const struct mc_quant_type *b)
{
    return a->bits == b->bits && a->is_signed == b->is_signed && a->symmetric == b->symmetric &&
           a->narrow == b->narrow;
}

void mc_quant_stat_range(const struct mc_quant_stat *s, const struct mc_quant_type *t,
                         enum mc_quant_range_method method, double percentile,
                         struct mc_quant_param *ret)
{
    struct mc_quant_known *k = s->known;
    for (size_t i = 0; k && i < k->n && i < MC_QUANT_KNOWN; i++)
        if (same_type(&k->range[i].type, t) && k->range[i].method == method &&
            k->range[i].percentile == percentile && k->range[i].values == s->hist.n) {
            *ret = k->range[i].param;
            return;
        }
    mc_quant_range(&s->hist, t, method, percentile, ret);
    if (k)
        k->range[k->n++ % MC_QUANT_KNOWN] =
            (struct mc_quant_known_range){*t, method, percentile, s->hist.n, *ret};
}

/* ---- digest ---- */

static void add_text(struct sha256_ctx *c, const char *text)
{
    sha256_update(c, strlen(text) + 1, (const uint8_t *)text);
}

static void add_value(struct sha256_ctx *c, const struct mc_value *v)
{
    const struct mc_type *t = &v->type;
    int64_t head[] = {(int64_t)t->kind, (int64_t)t->dtype, t->ranked ? t->rank : -1};
    add_text(c, v->name);
    sha256_update(c, sizeof head, (const uint8_t *)head);
    for (int i = 0; t->ranked && i < t->rank; i++)
        sha256_update(c, sizeof t->dim[i].value, (const uint8_t *)&t->dim[i].value);
}

void mc_quant_stats_digest(const struct mc_model *m, char ret[65])
{
    const struct mc_graph *g = m->graph;
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct sha256_ctx c;
    sha256_init(&c);
    for (size_t i = 0; i < g->n_inputs; i++)
        add_value(&c, g->inputs[i]);
    for (size_t i = 0; i < g->n_outputs; i++)
        add_value(&c, g->outputs[i]);
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        add_text(&c, n->op_type);
        for (size_t j = 0; j < n->n_out; j++)
            add_text(&c, n->out[j] ? n->out[j]->name : "");
    }
    sha256_digest(&c, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        ret[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    ret[64] = 0;
}

/* ---- collecting ---- */

struct collect {
    struct mc_pass_ctx *ctx;
    struct mc_quant_stats *s;
    const struct mc_quant_want *want; /* of s->item, in their order */
    bool *seen;
    struct mc_quant_hist part[MC_QUANT_PARTS];
    int n_parts;
};

/* A value's floats are cut by their number alone, and the parts are added up in order: any number of threads gives the same. */
struct cut {
    struct collect *c;
    const float *x;
    int64_t n, each;
    int rc[MC_QUANT_PARTS];
    struct mc_err err[MC_QUANT_PARTS];
};

static void add_part(void *ctx, int64_t i, int worker)
{
    struct cut *k = ctx;
    int64_t from = i * k->each, left = k->n - from;
    (void)worker;
    k->rc[i] = left > 0 ? mc_quant_hist_add(&k->c->part[i], k->x + from,
                                            left < k->each ? left : k->each, &k->err[i])
                        : 0;
}

static int add_hist(struct collect *c, struct mc_quant_hist *h, const float *x, int64_t n,
                    struct mc_err *err)
{
    enum { FROM = 1 << 18 };
    if (n < FROM)
        return mc_quant_hist_add(h, x, n, err);
    struct cut k = {.c = c, .x = x, .n = n, .each = (n + MC_QUANT_PARTS - 1) / MC_QUANT_PARTS};
    for (; c->n_parts < MC_QUANT_PARTS; c->n_parts++) {
        int rc = mc_quant_hist_init(&c->part[c->n_parts], err);
        if (rc)
            return rc;
    }
    mc_pool_run(c->ctx->pool, MC_QUANT_PARTS, add_part, &k);
    for (int i = 0; i < MC_QUANT_PARTS; i++) {
        int rc = k.rc[i] ? mc_fail(err, k.rc[i], "%s", k.err[i].msg)
                         : mc_quant_hist_merge(h, &c->part[i], err);
        if (rc)
            return rc;
        mc_quant_hist_clear(&c->part[i]);
    }
    return 0;
}

/* Values of channel i are rows of `inner` that lie `channels` rows apart. NaN and infinity do not count. */
static void add_channels(struct mc_quant_stat *item, const float *x, int64_t outer, int64_t inner)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t c = 0; c < item->channels; c++, x += inner) {
            if (inner > 1) {
                mc_quant_extremes(x, inner, &item->ch_min[c], &item->ch_max[c], &item->ch_sum[c]);
                continue;
            }
            if (!isfinite(x[0]))
                continue;
            item->ch_min[c] = x[0] < item->ch_min[c] ? x[0] : item->ch_min[c];
            item->ch_max[c] = x[0] > item->ch_max[c] ? x[0] : item->ch_max[c];
            item->ch_sum[c] += (double)x[0];
        }
    item->ch_n += (uint64_t)(outer * inner);
}

static int add_by_axis(struct mc_quant_stats *s, struct mc_quant_stat *item, int axis,
                       const struct mc_shape *shape, const float *x, struct mc_err *err)
{
    if (axis >= shape->rank || mc_shape_count(shape) == 0)
        return 0;
    int64_t n = shape->dim[axis];
    int rc = item->channels || item->ch_n ? 0 : mc_quant_stat_channels(s, item, axis, n, err);
    if (!rc && item->channels == n)
        add_channels(item, x, mc_shape_span(shape, 0, axis),
                     mc_shape_span(shape, axis + 1, shape->rank));
    else /* not the channels of one layer: nothing can be said of them */
        item->channels = 0;
    return rc;
}

static int floats_of(const struct mc_array *a, float **ret, struct mc_err *err)
{
    size_t n = (size_t)mc_shape_count(&a->shape);
    *ret = mc_calloc(n, sizeof **ret);
    return *ret ? mc_dtype_to_f32((int)a->dtype, a->data, *ret, n, err) : no_memory(err);
}

static int add_value_of(void *ctx, size_t i, const struct mc_array *a, int64_t samples,
                        struct mc_err *err)
{
    struct collect *c = ctx;
    struct mc_quant_stat *item = &c->s->item[i];
    float *own = NULL;
    (void)samples;
    int rc = 0;
    if (mc_dtype_info((int)a->dtype)->kind != MC_KIND_FLOAT)
        return 0;
    if (a->dtype != MC_DTYPE_F32)
        rc = floats_of(a, &own, err);
    const float *x = own ? own : a->data;
    c->seen[i] = true;
    rc = rc ? rc : add_hist(c, &item->hist, x, mc_shape_count(&a->shape), err);
    if (!rc && c->want[i].axis >= 0)
        rc = add_by_axis(c->s, item, c->want[i].axis, &a->shape, x, err);
    free(own);
    return rc;
}

/* Wanted values once each, with an axis if anyone wants one. */
static size_t once(const struct mc_quant_want *want, size_t n, struct mc_quant_want *ret)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < kept && strcmp(ret[k].name, want[i].name))
            k++;
        if (k == kept)
            ret[kept++] = want[i];
        else if (ret[k].axis < 0)
            ret[k].axis = want[i].axis;
    }
    return kept;
}

static int run(struct collect *c, const struct mc_model *m, const char *const *names, int64_t batch,
               struct mc_err *err)
{
    struct mc_observe_opts o = {.pool = c->ctx->pool,
                                .count = c->ctx->calib_count,
                                .batch = batch,
                                .bytes = BATCH_BYTES,
                                .progress = c->ctx->progress,
                                .what = "calibration"};
    c->n_parts = 0;
    int rc = mc_observe_passing(m->graph, c->ctx->calib, names, c->s->n, &o, add_value_of, c,
                                &c->s->samples, err);
    for (int i = 0; i < c->n_parts; i++)
        mc_quant_hist_free(&c->part[i]);
    return rc;
}

/* What was not seen is not a float, or the same in every run. */
static void drop_unseen(struct collect *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->s->n; i++)
        if (c->seen[i])
            c->s->item[kept++] = c->s->item[i];
        else
            mc_quant_hist_free(&c->s->item[i].hist);
    c->s->n = kept;
}

static int collect(struct mc_pass_ctx *ctx, const struct mc_model *m,
                   const struct mc_quant_want *want, size_t n, int64_t batch,
                   struct mc_quant_stats **ret, struct mc_err *err)
{
    struct collect c = {.ctx = ctx, .want = want, .seen = mc_calloc(n, sizeof *c.seen)};
    const char **names = mc_calloc(n, sizeof *names);
    int rc = c.seen && names ? mc_quant_stats_new(n, &c.s, err) : no_memory(err);
    for (size_t i = 0; i < n && !rc; i++) {
        names[i] = want[i].name;
        c.s->item[i].name = mc_arena_strdup(c.s->mem, want[i].name);
        rc = c.s->item[i].name ? 0 : no_memory(err);
    }
    rc = rc || !n ? rc : run(&c, m, names, batch, err);
    if (!rc) {
        drop_unseen(&c);
        mc_quant_stats_digest(m, c.s->digest);
        *ret = c.s;
    } else {
        mc_quant_stats_free(c.s);
    }
    free(names);
    free(c.seen);
    return rc;
}

int mc_quant_stats_collect(struct mc_pass_ctx *ctx, const struct mc_model *m,
                           const struct mc_quant_want *want, size_t n, struct mc_quant_stats **ret,
                           struct mc_err *err)
{
    if (!ctx->calib || ctx->calib_count == 0)
        return mc_fail(err, MC_EUSAGE,
                       "ranges of activations need samples: give --calib, or use --form weight");
    struct mc_quant_want *each = mc_calloc(n, sizeof *each);
    if (!each)
        return no_memory(err);
    size_t kept = once(want, n, each);
    int rc = collect(ctx, m, each, kept, 0, ret, err);
    if (rc == MC_ESHAPE) /* one that holds its batch size somewhere inside */
        rc = collect(ctx, m, each, kept, 1, ret, err);
    free(each);
    return rc;
}
