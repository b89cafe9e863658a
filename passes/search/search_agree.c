#include "passes/search/search_agree.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

static const double TINY = 1e-9; /* as in search_score.c */
/* Channels whose powers are that far apart are judged each by its own. */
static const double SPREAD = 100;
/* Of the entropy of a choice among equals. */
static const double NEARLY = 0.95;

/* ---- what an output holds ---- */

/* Identity and Cast hand on what they get. */
static const struct mc_node *end_of(const struct mc_value *v)
{
    const struct mc_node *n = v->producer;
    while (n && (mc_node_is(n, "Identity") || mc_node_is(n, "Cast")) && n->in[0])
        n = n->in[0]->producer;
    return n;
}

static int wide_axes(const struct mc_shape *s, bool whole, int *ret_last)
{
    int wide = 0;
    for (int i = !whole; i < s->rank; i++)
        if (s->dim[i] > 1) {
            wide++;
            *ret_last = i;
        }
    return wide;
}

/* The axis of a Softmax, or -1: of versions before 13 all axes from one on are one. */
static int class_axis(const struct mc_node *end, int rank)
{
    bool soft = end && (mc_node_is(end, "Softmax") || mc_node_is(end, "LogSoftmax"));
    if (!soft)
        return -1;
    int64_t axis = mc_node_int(end, "axis", end->version < 13 ? 1 : -1);
    axis = axis < 0 ? axis + rank : axis;
    return axis >= 0 && axis < rank && (end->version >= 13 || axis == rank - 1) ? (int)axis : -1;
}

static int64_t behind(const struct mc_shape *s, int axis)
{
    int64_t n = 1;
    for (int i = axis + 1; i < s->rank; i++)
        n *= s->dim[i];
    return n;
}

/* Largest power of an index of the axis over the least that is not zero. */
static double spread(const float *x, const struct mc_shape *s, int axis)
{
    int64_t n = s->dim[axis], inner = behind(s, axis), total = mc_shape_count(s);
    double least = INFINITY, most = 0;
    for (int64_t c = 0; c < n; c++) {
        double sum = 0;
        for (int64_t at = c * inner; at < total; at += n * inner)
            for (int64_t i = 0; i < inner; i++)
                sum += (double)x[at + i] * x[at + i];
        most = fmax(most, sum);
        least = sum > 0 ? fmin(least, sum) : least;
    }
    return most > 0 ? most / least : 1;
}

static int channel_axis(const struct mc_array *a, const float *x, bool whole)
{
    double best = SPREAD;
    int axis = -1;
    for (int i = !whole; i < a->shape.rank; i++)
        if (a->shape.dim[i] > 1 && a->shape.dim[i] <= MC_AGREE_CHANNELS) {
            double s = spread(x, &a->shape, i);
            if (s > best) {
                best = s;
                axis = i;
            }
        }
    return axis;
}

/* Is every line along the axis a distribution? */
static bool is_distribution(const float *x, const struct mc_shape *s, int axis)
{
    int64_t n = s->dim[axis], step = behind(s, axis), lines = mc_shape_count(s) / n;
    for (int64_t l = 0; l < lines; l++) {
        const float *at = x + l / step * step * n + l % step;
        double sum = 0;
        for (int64_t k = 0; k < n; k++) {
            if (!(at[k * step] >= 0))
                return false;
            sum += at[k * step];
        }
        if (!(fabs(sum - 1) < 1e-3))
            return false;
    }
    return lines > 0;
}

/* Of a Softmax that was written in other operators; -1: there is none. */
static int distribution_axis(const float *x, const struct mc_shape *s, bool whole)
{
    for (int i = s->rank - 1; i >= (whole ? 0 : 1); i--)
        if (s->dim[i] > 1 && is_distribution(x, s, i))
            return i;
    return -1;
}

/* Numbers beside each other that are no scores, such as an embedding: as scores they would say next to nothing. Nor are
 * ratings or lengths, of which none is negative: logits are, for some class. */
static bool says_little(const float *x, int64_t rows, int64_t n)
{
    double entropy = 0;
    float least = INFINITY;
    for (int64_t i = 0; i < rows * n; i++)
        least = fminf(least, x[i]);
    if (least >= 0)
        return true;
    for (int64_t r = 0; r < rows; r++, x += n) {
        double top = x[0], sum = 0, mean = 0;
        for (int64_t k = 1; k < n; k++)
            top = fmax(top, x[k]);
        for (int64_t k = 0; k < n; k++)
            sum += exp(x[k] - top);
        for (int64_t k = 0; k < n; k++)
            mean += exp(x[k] - top) / sum * (x[k] - top);
        entropy += log(sum) - mean;
    }
    return entropy > NEARLY * log((double)n) * (double)rows;
}

int mc_agree_look(struct mc_agree_of *o, const struct mc_value *v, const struct mc_array *a,
                  int64_t n, bool whole, struct mc_err *err)
{
    const struct mc_node *end = end_of(v);
    int last = -1, wide = wide_axes(&a->shape, whole, &last);
    bool classes = mc_scores_are_classes(a, n, whole);
    o->scores = mc_scores_of(v);
    o->logs = classes && o->scores != MC_SCORES_SIGMOIDS;
    o->channels = 1;
    o->axis = class_axis(end, a->shape.rank);
    o->kind = MC_AGREE_NUMBERS;
    if (end && mc_node_is(end, "Sigmoid"))
        o->kind = MC_AGREE_LABELS;
    else if (o->axis >= 0 && a->shape.dim[o->axis] > 1)
        o->kind = MC_AGREE_CLASSES;
    else if (classes && wide == 1) {
        o->kind = MC_AGREE_CLASSES;
        o->axis = last;
    }
    bool unsure = o->kind != MC_AGREE_LABELS && o->scores == MC_SCORES_LOGITS;
    if (o->kind != MC_AGREE_NUMBERS && !unsure)
        return 0;
    int64_t total = mc_shape_count(&a->shape);
    float *x = mc_calloc((size_t)total + 1, sizeof *x);
    int rc = x ? mc_dtype_to_f32(a->dtype, a->data, x, (size_t)total, err)
               : mc_fail(err, MC_ENOMEM, "out of memory");
    int soft = !rc && unsure ? distribution_axis(x, &a->shape, whole) : -1;
    if (soft >= 0) {
        o->kind = MC_AGREE_CLASSES;
        o->scores = MC_SCORES_PROBABILITIES;
        o->axis = soft;
    } else if (!rc && o->kind == MC_AGREE_CLASSES &&
               says_little(x, total / a->shape.dim[last], a->shape.dim[last])) {
        o->kind = MC_AGREE_NUMBERS;
    }
    if (rc || o->kind != MC_AGREE_NUMBERS) {
        free(x);
        return rc;
    }
    o->axis = channel_axis(a, x, whole);
    free(x);
    if (o->axis >= 0)
        o->channels = a->shape.dim[o->axis];
    o->sum = mc_calloc((size_t)o->channels * 3, sizeof *o->sum);
    if (!o->sum)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    o->square = o->sum + o->channels;
    o->count = o->square + o->channels;
    return 0;
}

void mc_agree_free(struct mc_agree_of *o)
{
    free(o->sum);
    o->sum = o->square = o->count = NULL;
}

/* ---- numbers ---- */

/* Where channel c of element i is: by the axis, whatever the other lengths of this batch are. */
struct walk {
    int64_t inner, n, channels;
};

static struct walk walk_of(const struct mc_agree_of *o, const struct mc_shape *s)
{
    bool by = o->axis >= 0 && o->axis < s->rank && s->dim[o->axis] > 0;
    return (struct walk){.inner = by ? behind(s, o->axis) : mc_shape_count(s),
                         .n = by ? s->dim[o->axis] : 1,
                         .channels = o->channels};
}

static int64_t channel(const struct walk *w, int64_t i)
{
    return i / w->inner % w->n % w->channels;
}

void mc_agree_keep(struct mc_agree_of *o, const struct mc_shape *shape, const float *x)
{
    struct walk w = walk_of(o, shape);
    int64_t total = mc_shape_count(shape);
    if (o->kind != MC_AGREE_NUMBERS)
        return;
    for (int64_t i = 0; i < total; i++) {
        int64_t c = channel(&w, i);
        o->sum[c] += x[i];
        o->square[c] += (double)x[i] * x[i];
        o->count[c]++;
    }
}

int mc_agreement_init(const struct mc_agree_of *o, struct mc_agreement *ret, struct mc_err *err)
{
    *ret = (struct mc_agreement){0};
    ret->square = mc_calloc((size_t)o->channels * 2, sizeof *ret->square);
    if (!ret->square)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    ret->count = ret->square + o->channels;
    return 0;
}

void mc_agreement_free(struct mc_agreement *g)
{
    free(g->square);
    g->square = g->count = NULL;
}

static void add_numbers(const struct mc_agree_of *o, struct mc_agreement *g,
                        const struct mc_shape *shape, const float *a, const float *b)
{
    struct walk w = walk_of(o, shape);
    int64_t total = mc_shape_count(shape);
    for (int64_t i = 0; i < total; i++) {
        double d = (double)a[i] - b[i];
        int64_t c = channel(&w, i);
        g->broken |= !isfinite(b[i]) && isfinite(a[i]);
        g->square[c] += isfinite(d) ? d * d : 0;
        g->count[c]++;
    }
}

struct power { /* of a channel */
    double power, variance, square;
};

static int by_power(const void *x, const void *y)
{
    double a = ((const struct power *)x)->power, b = ((const struct power *)y)->power;
    return (a > b) - (a < b);
}

/* Channels sorted by power fall into groups where the next one is so much stronger; the worst group counts. Those that never
 * hold more than rounding errors beside the others count with the next. */
static double worst_group(struct power *p, size_t n)
{
    double worst = 0, square = 0, variance = 0;
    for (size_t i = 0; i < n; i++) {
        bool ends = i + 1 == n ||
                    (p[i + 1].power > SPREAD * p[i].power && p[i].power > 1e-12 * p[n - 1].power);
        square += p[i].square;
        variance += p[i].variance;
        if (!ends)
            continue;
        worst = fmax(worst, variance > 0 ? square / variance : 0);
        square = variance = 0;
    }
    return worst;
}

/* A constant channel counts by its power. */
double mc_agreement_noise(const struct mc_agree_of *o, const struct mc_agreement *g)
{
    size_t n = 0;
    if (g->broken)
        return INFINITY;
    if (o->kind != MC_AGREE_NUMBERS)
        return NAN;
    struct power *p = mc_calloc((size_t)o->channels, sizeof *p);
    for (int64_t c = 0; p && c < o->channels; c++) {
        if (!(o->count[c] > 0) || !(g->count[c] > 0))
            continue;
        double power = o->square[c] / o->count[c], mean = o->sum[c] / o->count[c];
        double variance = power - mean * mean;
        p[n++] = (struct power){power, variance > 1e-6 * power ? variance : power,
                                g->square[c] / g->count[c]};
    }
    if (n)
        qsort(p, n, sizeof *p, by_power);
    double noise = p ? worst_group(p, n) : NAN;
    free(p);
    return noise;
}

/* ---- decisions ---- */

static double probability(const struct mc_agree_of *o, float x)
{
    return o->logs || o->scores == MC_SCORES_LOGS ? exp(x) : x;
}

struct line { /* of classes */
    const float *a, *b;
    int64_t n, step;
};

static double line_kl(const struct mc_agree_of *o, const struct line *l)
{
    double sum = 0;
    for (int64_t k = 0; k < l->n; k++) {
        double p = probability(o, l->a[k * l->step]), q = probability(o, l->b[k * l->step]);
        sum += p > 0 ? p * log(fmax(p, TINY) / fmax(q, TINY)) : 0;
    }
    return fmax(0, sum);
}

static int64_t best_of(const float *x, int64_t n, int64_t step)
{
    int64_t best = 0;
    for (int64_t k = 0; k < n; k++) {
        if (isnan(x[k * step]))
            return -1;
        best = x[k * step] > x[best * step] ? k : best;
    }
    return best;
}

/* What most positions decide for, where there is such a class: the blank of a text line. */
static int64_t usual(const float *x, int64_t n, int64_t step, int64_t positions)
{
    int64_t candidate = -1, votes = 0;
    for (int64_t p = 0; p < positions; p++) {
        int64_t k = best_of(x + p / step * step * n + p % step, n, step);
        if (!votes)
            candidate = k;
        votes += k == candidate ? 1 : -1;
    }
    return votes > 0 ? candidate : -1;
}

/* Of one sample. What is read from a line of positions, most of which are blank, is what changes along it; of anything else every
 * position counts alike. */
static void add_classes(const struct mc_agree_of *o, struct mc_agreement *g,
                        const struct mc_shape *shape, bool whole, int64_t sample, const float *a,
                        const float *b)
{
    int last = -1;
    bool line = wide_axes(shape, whole, &last) == 2;
    int64_t n = shape->dim[o->axis], step = behind(shape, o->axis), positions = sample / n;
    int64_t same = 0, was_a = -2, was_b = -2, blank = line ? usual(a, n, step, positions) : -1;
    double kl = 0;
    uint64_t read_a = 0, read_b = 0;
    for (int64_t p = 0; p < positions; p++) {
        int64_t at = p / step * step * n + p % step;
        struct line l = {a + at, b + at, n, step};
        int64_t ka = best_of(l.a, n, step), kb = best_of(l.b, n, step);
        kl += line_kl(o, &l);
        same += ka == kb;
        g->broken |= kb < 0 && ka >= 0;
        if (ka != was_a && ka != blank) /* a hash of the sequence without repetitions and blanks */
            read_a = read_a * 0x100000001b3u + (uint64_t)ka + 2;
        if (kb != was_b && kb != blank)
            read_b = read_b * 0x100000001b3u + (uint64_t)kb + 2;
        was_a = ka;
        was_b = kb;
    }
    g->kl += kl / (double)positions;
    g->agree += blank >= 0 ? read_a == read_b : (double)same / (double)positions;
    g->samples++;
}

static void add_labels(struct mc_agreement *g, int64_t n, const float *a, const float *b)
{
    int64_t both = 0, any = 0, yes = 0;
    double kl = 0;
    for (int64_t i = 0; i < n; i++) {
        double p = fmin(fmax(a[i], 0), 1), q = fmin(fmax(b[i], 0), 1);
        bool is_a = p > 0.5, is_b = q > 0.5;
        g->broken |= isnan(b[i]) && !isnan(a[i]);
        both += is_a && is_b;
        any += is_a || is_b;
        yes += is_a;
        kl += p > 0 ? p * log(fmax(p, TINY) / fmax(q, TINY)) : 0;
        kl += p < 1 ? (1 - p) * log(fmax(1 - p, TINY) / fmax(1 - q, TINY)) : 0;
    }
    g->kl += fmax(0, kl) / (double)(yes > 1 ? yes : 1);
    g->agree += any ? (double)both / (double)any : 1;
    g->samples++;
}

void mc_agreement_add(const struct mc_agree_of *o, struct mc_agreement *g,
                      const struct mc_shape *shape, bool whole, const float *a, const float *b)
{
    int64_t total = mc_shape_count(shape);
    bool one = whole || !shape->rank || shape->dim[0] < 1;
    int64_t rows = one || (o->kind == MC_AGREE_CLASSES && o->axis == 0) ? 1 : shape->dim[0];
    int64_t each = total / rows;
    if (o->kind == MC_AGREE_NUMBERS) {
        add_numbers(o, g, shape, a, b);
        return;
    }
    for (int64_t i = 0; i < rows && each > 0; i++)
        if (o->kind == MC_AGREE_LABELS)
            add_labels(g, each, a + i * each, b + i * each);
        else
            add_classes(o, g, shape, whole || o->axis == 0, each, a + i * each, b + i * each);
}
