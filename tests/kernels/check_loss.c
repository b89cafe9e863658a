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
