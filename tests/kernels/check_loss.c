#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"
#include "tol.h"

static void test_softmax_grad(struct check *c)
{
    struct mc_softmax_grad s = {.log = check_coin(c),
                                .outer = check_size(c, 8, 40),
                                .n = check_size(c, 16, 200),
                                .inner = check_coin(c) ? 1 : check_size(c, 16, 70)};
    int64_t n = s.outer * s.n * s.inner;
    check_describe(c, "derivative of %s softmax, %d x %d x %d", s.log ? "log" : "a", (int)s.outer,
                   (int)s.n, (int)s.inner);
    const float *dy = check_floats(c, n, false);
    float *y = check_floats(c, n, false);
    struct mc_softmax f = {s.log, s.outer, s.n, s.inner, y, y};
    c->k->nn.softmax(&f, c->pool[0]);
    double *want = check_alloc(c, (size_t)n * sizeof *want, sizeof *want);
    struct mc_softmax_grad ref = s;
    ref.dy = check_widen(c, dy, n);
    ref.y = check_widen(c, y, n);
    ref.dx = want;
    c->ref->loss.softmax_grad(&ref, c->pool[0]);
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *dx = check_alloc(c, (size_t)n * sizeof *dx, sizeof *dx);
        s.dy = p == 1 ? memcpy(dx, dy, (size_t)n * sizeof *dx) : dy;
        s.y = p == 2 ? memcpy(dx, y, (size_t)n * sizeof *dx) : y;
        s.dx = dx;
        c->k->loss.softmax_grad(&s, c->pool[p]);
        if (first)
            check_same(c, "another number of threads, or in place,", dx, first,
                       (size_t)n * sizeof *dx);
        else /* a sum of n normal numbers, times y <= 1 or exp(y) <= 1 */
            check_close(c, "dx", dx, want, NULL, 0, 4 * tol_sum((double)s.n) * sqrt((double)s.n),
                        n);
        first = dx;
    }
}

/* ---- CTC ---- */

static struct mc_ctc draw_ctc(struct check *c, int64_t steps, int64_t batch, int64_t classes,
                              int64_t labels)
{
    struct mc_ctc j = {.steps = steps, .batch = batch, .classes = classes, .labels = labels};
    size_t n = (size_t)batch, words = sizeof(int64_t);
    int64_t *label = check_alloc(c, n * (size_t)labels * words, words);
    int64_t *n_steps = check_alloc(c, n * words, words),
            *n_labels = check_alloc(c, n * words, words);
    j.blank = check_below(c, (uint32_t)classes);
    for (int64_t i = 0; i < batch * labels; i++) {
        label[i] = check_below(c, (uint32_t)classes - 1);
        label[i] += label[i] >= j.blank;
    }
    for (int64_t i = 0; i < batch; i++) {
        bool all = check_below(c, 3) == 0;
        n_steps[i] = all ? steps : check_below(c, (uint32_t)steps + 1);
        n_labels[i] = all ? labels : check_below(c, (uint32_t)labels + 1);
    }
    j.label = label;
    j.n_steps = n_steps;
    j.n_labels = n_labels;
    j.scale = 0.5;
    j.zero_infinity = true;
    return j;
}

static void *log_probs(struct check *c, const struct mc_ctc *j, bool wide)
{
    int64_t n = j->steps * j->batch * j->classes;
    float *x = check_floats(c, n, false);
    struct mc_softmax s = {true, j->steps * j->batch, j->classes, 1, x, x};
    c->k->nn.softmax(&s, c->pool[0]);
    return wide ? (void *)check_widen(c, x, n) : x;
}

/* Whether a path becomes the labels: repeats merged, then blanks left out. */
static bool spells(const struct mc_ctc *j, const int64_t *path, int64_t i)
{
    int64_t at = 0, last = j->blank;
    for (int64_t t = 0; t < j->n_steps[i]; t++) {
        bool again = path[t] == last;
        last = path[t];
        if (again || last == j->blank)
            continue;
        if (at == j->n_labels[i] || j->label[i * j->labels + at] != last)
            return false;
        at++;
    }
    return at == j->n_labels[i];
}

/* The definition of the loss against the sum over all paths, one after the other. */
static void test_ctc_paths(struct check *c)
{
    struct mc_ctc j = draw_ctc(c, 1 + check_below(c, 6), 1 + check_below(c, 3),
                               2 + check_below(c, 2), 1 + check_below(c, 3));
    check_describe(c, "CTC of %d steps, %d samples, %d classes, %d labels by all paths",
                   (int)j.steps, (int)j.batch, (int)j.classes, (int)j.labels);
    const double *p = log_probs(c, &j, true);
    double *loss = check_alloc(c, (size_t)j.batch * sizeof *loss, sizeof *loss);
    j.log_prob = p;
    j.loss = loss;
    j.scratch = check_alloc(c, mc_ctc_scratch(&j), MC_ALIGN);
    c->ref->loss.ctc(&j, NULL);
    for (int64_t i = 0; i < j.batch; i++) {
        double sum = 0;
        int64_t path[8] = {0}, paths = 1;
        for (int64_t t = 0; t < j.n_steps[i]; t++)
            paths *= j.classes;
        for (int64_t k = 0; k < paths; k++) {
            double logs = 0;
            for (int64_t t = 0, rest = k; t < j.n_steps[i]; t++, rest /= j.classes) {
                path[t] = rest % j.classes;
                logs += p[(t * j.batch + i) * j.classes + path[t]];
            }
            sum += spells(&j, path, i) ? exp(logs) : 0;
        }
        if (!(fabs(exp(-loss[i]) - sum) <= 1e-12))
            check_fail(c, "sample %d has probability %.15g, not %.15g", (int)i, exp(-loss[i]), sum);
    }
}

static void test_ctc(struct check *c)
{
    struct mc_ctc j = draw_ctc(c, check_size(c, 16, check_coin(c) ? 60 : 500), check_size(c, 2, 6),
                               2 + check_below(c, 40), check_size(c, 8, 30));
    int64_t n = j.steps * j.batch * j.classes;
    check_describe(c, "CTC of %d steps, %d samples, %d classes, %d labels", (int)j.steps,
                   (int)j.batch, (int)j.classes, (int)j.labels);
    const float *p = log_probs(c, &j, false);
    struct mc_ctc ref = j;
    double *want = check_alloc(c, (size_t)n * sizeof *want, sizeof *want);
    double *loss = check_alloc(c, (size_t)j.batch * sizeof *loss, sizeof *loss);
    ref.log_prob = check_widen(c, p, n);
    ref.loss = loss;
    ref.grad = want;
    ref.scratch = check_alloc(c, mc_ctc_scratch(&j), MC_ALIGN);
    c->ref->loss.ctc(&ref, NULL);
    const float *first = NULL;
    for (int k = 0; k < CHECK_POOLS; k++) {
        float *grad = check_alloc(c, (size_t)n * sizeof *grad, sizeof *grad);
        float *got = check_alloc(c, (size_t)j.batch * sizeof *got, sizeof *got);
        j.log_prob = k ? memcpy(grad, p, (size_t)n * sizeof *grad) : p; /* in place, too */
        j.grad = grad;
        j.loss = got;
        j.scratch = check_alloc(c, mc_ctc_scratch(&j) * (size_t)(k + 1), MC_ALIGN);
        c->k->loss.ctc(&j, c->pool[k]);
        if (first)
            check_same(c, "another number of threads, or in place,", grad, first,
                       (size_t)n * sizeof *grad);
        else { /* each step rounds a logarithm of the size of what paths differ by */
            check_close(c, "loss", got, loss, NULL, 32 * TOL_U, 32 * TOL_U, j.batch);
            check_close(c, "gradient", grad, want, NULL, 0, 6e-5, n);
        }
        first = grad;
    }
}

/* ---- of devices: losses of classes and of soft targets, against their definitions ---- */

struct labels { /* of a loss, with the weights of its rows */
    int64_t *at;
    double *weight, total;
};

static double *room(struct check *c, int64_t n)
{
    return check_alloc(c, (size_t)n * sizeof(double), sizeof(double));
}

static struct labels draw_classes(struct check *c, struct mc_class_loss *l)
{
    *l = (struct mc_class_loss){.outer = check_size(c, 8, 300),
                                .classes = check_size(c, 8, 40),
                                .inner = check_coin(c) ? 1 : check_size(c, 4, 9),
                                .how = check_below(c, 3),
                                .ignores = check_coin(c),
                                .label_bytes = check_coin(c) ? 4 : 8};
    int64_t rows = l->outer * l->inner;
    const float *weight = NULL;
    if (check_coin(c)) {
        float *w = check_floats(c, l->classes, false);
        for (int64_t k = 0; k < l->classes; k++)
            w[k] = fabsf(w[k]);
        l->weight = weight = w;
    }
    l->ignore = check_coin(c) ? -100 : 0;
    void *label = check_alloc(c, (size_t)(rows * l->label_bytes), (size_t)l->label_bytes);
    struct labels s = {.at = check_alloc(c, (size_t)rows * 8, 8), .weight = room(c, rows)};
    for (int64_t i = 0; i < rows; i++) {
        int64_t k = check_below(c, (uint32_t)l->classes);
        if (l->ignores && check_below(c, 5) == 0)
            k = l->ignore;
        if (l->label_bytes == 4)
            ((int32_t *)label)[i] = (int32_t)k;
        else
            ((int64_t *)label)[i] = k;
        bool none = l->ignores && k == l->ignore;
        s.at[i] = none ? -1 : k;
        s.weight[i] = none ? 0 : weight ? (double)weight[k] : 1;
        s.total += s.weight[i];
    }
    l->label = label;
    check_describe(c, "loss of %d x %d x %d classes, sum %d%s%s", (int)l->outer, (int)l->classes,
                   (int)l->inner, (int)l->how, weight ? ", weights" : "",
                   l->ignores ? ", some ignored" : "");
    return s;
}

static int64_t element(const struct mc_class_loss *l, int64_t row, int64_t k)
{
    return (row / l->inner * l->classes + k) * l->inner + row % l->inner;
}

static void test_classes(struct check *c)
{
    struct mc_class_loss l;
    struct labels s = draw_classes(c, &l);
    int64_t rows = l.outer * l.inner, n = l.how == MC_LOSS_EACH ? rows : 1;
    const float *p = check_floats(c, rows * l.classes, false);
    double *want = room(c, rows), sum = 0, size = 0;
    float *y = check_alloc(c, (size_t)n * 4, 4), *again = check_alloc(c, (size_t)n * 4, 4);
    for (int64_t i = 0; i < rows; i++) {
        want[i] = s.at[i] < 0 ? 0 : -s.weight[i] * (double)p[element(&l, i, s.at[i])];
        sum += want[i];
        size += fabs(want[i]);
    }
    double by = l.how == MC_LOSS_MEAN ? s.total : 1;
    if (l.how != MC_LOSS_EACH)
        want[0] = sum / by;
    l.log_prob = p;
    l.y = y;
    c->k->loss.classes(&l, NULL);
    l.y = again;
    c->k->loss.classes(&l, NULL);
    check_same(c, "again", again, y, (size_t)n * 4);
    if (by == 0) /* nothing but ignored rows: 0 / 0 */
        return;
    size = 1 + size / by;
    check_close(c, "loss", y, want, l.how == MC_LOSS_EACH ? NULL : &size, 4 * TOL_U, 0, n);
}

static void test_classes_grad(struct check *c)
{
    struct mc_class_grad g = {.softmax = check_coin(c)};
    struct labels s = draw_classes(c, &g.loss);
    const struct mc_class_loss *l = &g.loss;
    int64_t rows = l->outer * l->inner, n = rows * l->classes;
    float *p = check_floats(c, n, false), *dx = check_alloc(c, (size_t)n * 4, 4);
    const float *dy = check_floats(c, l->how == MC_LOSS_EACH ? rows : 1, false);
    double *want = room(c, n), *size = room(c, n);
    if (g.softmax) { /* probabilities, or the gradients grow with them */
        struct mc_softmax f = {true, l->outer, l->classes, l->inner, p, p};
        c->k->nn.softmax(&f, c->pool[0]);
    }
    double by = l->how == MC_LOSS_MEAN ? s.total : 1;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < l->classes; k++) {
            double f = s.weight[i] * (double)dy[l->how == MC_LOSS_EACH ? i : 0] / by;
            double v = g.softmax ? exp((double)p[element(l, i, k)]) : 0;
            want[element(l, i, k)] = f * (v - (k == s.at[i]));
            size[element(l, i, k)] = fabs(f) * 2 + 1e-30;
        }
    g.loss.log_prob = p;
    g.loss.y = dx;
    g.dy = dy;
    c->k->loss.classes_grad(&g, NULL);
    if (by > 0)
        check_close(c, "dx", dx, want, size, 8 * TOL_U, 0, n);
}

/* x / t - log of the sum of exp(x / t), of one row. */
static void log_row(const float *x, int64_t n, int64_t inner, double t, double *y)
{
    double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        top = fmax(top, (double)x[i * inner] / t);
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)x[i * inner] / t - top);
    for (int64_t i = 0; i < n; i++)
        y[i] = (double)x[i * inner] / t - top - log(sum);
}

static void test_soft(struct check *c)
{
    struct mc_soft_loss l = {.fn = check_below(c, 3),
                             .outer = check_size(c, 8, 300),
                             .n = check_size(c, 8, 80),
                             .inner = check_coin(c) ? 1 : check_size(c, 4, 9),
                             .temperature = 1 + check_below(c, 3),
                             .t_elem = MC_ELEM_F32};
    bool each = l.fn == MC_SOFT_SIGMOID;
    l.n = each ? 1 : l.n;
    int64_t rows = l.outer * l.inner, all = rows * l.n;
    const float *z = check_floats(c, all, false);
    float *t = check_floats(c, all, false), *y = check_alloc(c, 4, 4),
          *again = check_alloc(c, 4, 4);
    double *of_z = room(c, l.n), *of_t = room(c, l.n), want = 0, size = 1;
    for (int64_t i = 0; i < all && l.fn != MC_SOFT_DISTILL; i++)
        t[i] = 1 / (1 + expf(-t[i]));
    check_describe(c, "soft loss %d of %d x %d x %d", (int)l.fn, (int)l.outer, (int)l.n,
                   (int)l.inner);
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = r / l.inner * l.n * l.inner + r % l.inner;
        log_row(z + at, l.n, l.inner, l.temperature, of_z);
        log_row(t + at, l.n, l.inner, l.temperature, of_t);
        for (int64_t i = 0; i < l.n; i++) {
            double a = (double)z[at + i * l.inner], b = (double)t[at + i * l.inner], d;
            if (each)
                d = log1p(exp(-fabs(a))) + fmax(a, 0) - a * b;
            else if (l.fn == MC_SOFT_PROBS)
                d = -b * of_z[i];
            else
                d = (of_t[i] - of_z[i]) * exp(of_t[i]);
            want += d;
            size += fabs(d);
        }
    }
    double by = (each ? 1 : l.temperature * l.temperature) / (double)rows;
    want *= by;
    size = 1 + size * by;
    l.z = z;
    l.t = t;
    l.y = y;
    c->k->loss.soft(&l, NULL);
    l.y = again;
    c->k->loss.soft(&l, NULL);
    check_same(c, "again", again, y, 4);
    check_close(c, "loss", y, &want, &size, 32 * TOL_U, 0, 1);
}

static void test_all(struct check *c)
{
    static void (*const tests[])(struct check *) = {test_classes, test_classes_grad, test_soft};
    tests[c->round % 3](c);
}

const struct check_row check_loss_all = {"loss_all", 300, test_all, NULL};

static void test(struct check *c)
{
    if (check_below(c, 2))
        test_softmax_grad(c);
    else if (check_below(c, 2))
        test_ctc(c);
    else
        test_ctc_paths(c);
}

struct timed {
    const struct mc_loss_kernels *k;
    struct mc_softmax_grad s;
    struct mc_ctc c;
};

static void time_softmax_grad(void *ctx)
{
    const struct timed *t = ctx;
    t->k->softmax_grad(&t->s, NULL);
}

static void time_ctc(void *ctx)
{
    const struct timed *t = ctx;
    t->k->ctc(&t->c, NULL);
}

static void bench(struct check *c)
{
    enum { ROWS = 4096, N = 197, STEPS = 100, BATCH = 32, CLASSES = 40, LABELS = 20 };
    float *x = check_floats(c, ROWS * N, false), *z = check_alloc(c, ROWS * N * 4, MC_ALIGN);
    struct timed t = {.k = &c->k->loss, .s = {false, ROWS, N, 1, x, x, z}};
    struct bench b = {.bytes = 12.0 * ROWS * N, .fn = time_softmax_grad, .ctx = &t};
    bench_line(&b, "derivative of softmax %dx%d %s", ROWS, N, c->k->name);
    t.c = draw_ctc(c, STEPS, BATCH, CLASSES, LABELS);
    t.c.log_prob = log_probs(c, &t.c, false);
    t.c.grad = z;
    t.c.loss = check_alloc(c, BATCH * sizeof(float), MC_ALIGN);
    t.c.scratch = check_alloc(c, mc_ctc_scratch(&t.c), MC_ALIGN);
    b = (struct bench){.fn = time_ctc, .ctx = &t};
    bench_line(&b, "ctc %dx%dx%d %s", STEPS, BATCH, CLASSES, c->k->name);
}

const struct check_row check_loss = {"loss", 600, test, bench};
