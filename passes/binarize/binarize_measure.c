#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/run/observe.h"
#include "passes/binarize/binarize_form.h"
#include "passes/binarize/binarize_product.h"

enum { MEAN = 3, VAR = 4 };

struct seen { /* of one BatchNormalization */
    struct mc_node *norm;
    bool behind; /* a product; otherwise before a sign */
    bool
        single; /* a batch gives one number a channel, of which nothing is left without its mean, */
    bool fixed; /* so it has got statistics of all batches */
    int64_t channels;
    double *sum, *square, *shift, count; /* [channels] about the first element seen */
    float *least, *most;                 /* [channels] */
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for statistics");
}

/* ---- sums ---- */

static int prepare(struct seen *s, struct mc_err *err)
{
    size_t n = (size_t)s->channels + 1;
    s->sum = mc_calloc(3 * n, sizeof *s->sum);
    s->least = mc_calloc(2 * n, sizeof *s->least);
    if (!s->sum || !s->least)
        return no_memory(err);
    s->square = s->sum + n;
    s->shift = s->square + n;
    s->most = s->least + n;
    s->single = true;
    return 0;
}

static void begin(struct seen *s)
{
    memset(s->sum, 0, (size_t)s->channels * sizeof *s->sum);
    memset(s->square, 0, (size_t)s->channels * sizeof *s->square);
    s->count = 0;
}

static bool moves(const struct seen *s)
{
    bool any = false;
    for (int64_t c = 0; c < s->channels; c++)
        any = any || s->most[c] > s->least[c];
    return any;
}

static void add_channel(struct seen *s, const struct mc_array *a, int64_t c, int64_t rows,
                        int64_t inner)
{
    const float *x = a->data;
    bool first = s->count == 0;
    if (first) {
        s->shift[c] = (double)x[c * inner];
        s->least[c] = s->most[c] = x[c * inner];
    }
    double sum = 0, square = 0;
    float least = s->least[c], most = s->most[c];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < inner; i++) {
            float v = x[(r * s->channels + c) * inner + i];
            double d = (double)v - s->shift[c];
            sum += d;
            square += d * d;
            least = v < least ? v : least;
            most = v > most ? v : most;
        }
    s->sum[c] += sum;
    s->square[c] += square;
    s->least[c] = least;
    s->most[c] = most;
}

static int add_batch(void *ctx, const struct mc_array *const *values, int64_t first_sample,
                     const struct mc_batch *batch, struct mc_err *err)
{
    struct seen *s = ctx;
    (void)first_sample;
    (void)batch;
    for (; s->norm; s++, values++) {
        const struct mc_array *a = *values;
        int64_t n = mc_shape_count(&a->shape);
        if (a->dtype != MC_DTYPE_F32 || a->shape.rank < 2 || a->shape.dim[1] != s->channels)
            return mc_fail(err, MC_ESHAPE, "'%s': its input is not float32 with %lld channels",
                           mc_node_label(s->norm), (long long)s->channels);
        int64_t inner = mc_shape_span(&a->shape, 2, a->shape.rank);
        for (int64_t c = 0; c < s->channels && n > 0; c++)
            add_channel(s, a, c, a->shape.dim[0], inner);
        s->single = s->single && n == s->channels;
        s->count += (double)(n / s->channels);
    }
    return 0;
}

/* ---- into the model ---- */

static int put(struct mc_value *v, const double *x, int64_t n, struct mc_err *err)
{
    float *f = mc_calloc((size_t)n + 1, sizeof *f);
    struct mc_tensor *t = NULL;
    struct mc_shape shape = mc_shape_of(1, &n);
    if (!f)
        return no_memory(err);
    for (int64_t i = 0; i < n; i++)
        f[i] = (float)x[i];
    int rc = mc_constant_make(f, &shape, MC_DTYPE_F32, NULL, &t, err);
    free(f);
    rc = rc ? rc : mc_constant_replace(v, t, err);
    mc_tensor_unref(t);
    return rc;
}

/* norm: that of the model itself, not of the clone that ran. */
static int store(struct seen *s, const struct mc_node *norm, struct mc_err *err)
{
    if (!moves(s) && !s->behind)
        return mc_fail(
            err, MC_EDATA,
            "'%s': what becomes signs has one sign whatever the sample: its input is the "
            "same in all; leave the layer with --skip, or give other samples",
            mc_node_label(norm));
    for (int64_t c = 0; c < s->channels; c++) {
        double mean = s->sum[c] / s->count, var = s->square[c] / s->count - mean * mean;
        s->sum[c] = mean + s->shift[c];
        s->square[c] = var > 0 ? var : 0;
        if (!isfinite(s->sum[c]) || !isfinite(var))
            return mc_fail(err, MC_EDATA, "'%s': channel %lld of its input is NaN or infinite",
                           mc_node_label(norm), (long long)c);
    }
    int rc = put(norm->in[MEAN], s->sum, s->channels, err);
    return rc ? rc : put(norm->in[VAR], s->square, s->channels, err);
}

/* The norm before this sign, or behind this product of signs. */
static struct mc_node *norm_of(struct mc_node *n)
{
    struct mc_sign_product p;
    struct mc_node *before = mc_binarize_is(n, mc_binarize_sign) ? n->in[0]->producer : NULL;
    if (before)
        return mc_node_is(before, "BatchNormalization") ? before : NULL;
    return mc_sign_product_find(n, &p) && p.sign ? p.norm : NULL;
}

/* Those of g in the order of nodes, closed by one without a node; put in training mode. */
static int find(struct mc_graph *g, struct seen **ret, size_t *ret_n, struct mc_err *err)
{
    struct seen *s = mc_calloc(g->n_nodes + 1, sizeof *s);
    size_t n = 0;
    int rc = s ? 0 : no_memory(err);
    for (size_t i = 0; i < g->n_nodes && !rc; i++)
        if ((s[n].norm = norm_of(g->nodes[i]))) {
            s[n].behind = !mc_binarize_is(g->nodes[i], mc_binarize_sign);
            s[n].channels = mc_tensor_count(mc_constant(s[n].norm->in[MEAN]));
            rc = mc_edit_attr_int(s[n].norm, "training_mode", 1, err);
            rc = rc ? rc : prepare(&s[n], err);
            n++;
        }
    *ret = s;
    *ret_n = n;
    return rc;
}

/* Samples come one by one, and what is behind a norm of single numbers sees the same in each: the norm gets its statistics,
 * and *ret_again says that all has to be measured once more. */
static int fix_singles(struct seen *s, size_t n, bool *ret_again, struct mc_err *err)
{
    bool still = false;
    int rc = 0;
    *ret_again = false;
    for (size_t i = 0; i < n; i++)
        still = still || (!s[i].behind && !moves(&s[i]));
    for (size_t i = 0; i < n && still && !rc; i++) {
        if (s[i].fixed || !s[i].single || s[i].count < 2 || !moves(&s[i]))
            continue;
        s[i].fixed = *ret_again = true;
        rc = store(&s[i], s[i].norm, err);
        rc = rc ? rc : mc_edit_attr_int(s[i].norm, "training_mode", 0, err);
    }
    for (size_t i = 0; i < n && *ret_again; i++)
        begin(&s[i]);
    return rc;
}

int mc_binarize_measure(struct mc_pass_ctx *ctx, struct mc_model *m, struct mc_dataset *data,
                        int64_t count, struct mc_err *err)
{
    struct mc_model *run = NULL;
    struct seen *s = NULL;
    size_t n = 0, at = 0;
    const char **names = NULL;
    struct mc_observe_opts o = {
        .pool = ctx->pool, .count = count, .progress = ctx->progress, .what = "thresholds"};
    int rc = mc_model_clone(m, &run, err);
    rc = rc ? rc : find(run->graph, &s, &n, err);
    if (!rc && !(names = mc_calloc(n + 1, sizeof *names)))
        rc = no_memory(err);
    for (size_t i = 0; i < n && !rc; i++)
        names[i] = s[i].norm->in[0]->name;
    for (bool again = n > 0; again && !rc;) {
        rc = mc_observe(run->graph, data, names, n, &o, add_batch, s, NULL, err);
        rc = rc ? rc : fix_singles(s, n, &again, err);
    }
    for (size_t i = 0; i < m->graph->n_nodes && !rc; i++) /* the clone has the same nodes */
        if (norm_of(m->graph->nodes[i]))
            rc = store(&s[at++], norm_of(m->graph->nodes[i]), err);
    for (size_t i = 0; s && i < n; i++) {
        free(s[i].sum);
        free(s[i].least);
    }
    free(s);
    free(names);
    mc_model_free(run);
    return rc;
}
