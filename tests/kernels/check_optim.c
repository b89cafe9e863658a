/* Steps of optimisers, against the reference in doubles. */
#include <string.h>

#include "bench.h"
#include "check.h"
#include "tol.h"

static double between(struct check *c, double from, double to)
{
    return from + (to - from) * check_below(c, 1000) / 1000;
}

static float *absolute(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = fabsf(x[i]);
    return x;
}

static double *room(struct check *c, int64_t n)
{
    return check_alloc(c, (size_t)n * sizeof(double), sizeof(double));
}

/* Memory for a result: a copy of what it replaces where the step is done in place, or undefined. */
static float *result(struct check *c, const float *old, int64_t n, bool in_place)
{
    float *y = check_alloc(c, (size_t)n * sizeof *y, sizeof *y);
    if (in_place)
        memcpy(y, old, (size_t)n * sizeof *y);
    return y;
}

/* Sums of a few products: some roundings of the largest of them. */
static void compare(struct check *c, const char *what, const float *got, const double *want,
                    const float *first, int64_t n)
{
    if (first)
        check_same(c, "another number of threads, or in place,", got, first, (size_t)n * 4);
    else
        check_close(c, what, got, want, NULL, 0, 16 * TOL_U, n);
}

static void test_sgd(struct check *c)
{
    struct mc_sgd s = {.n = check_size(c, 16, check_below(c, 8) ? 200 : 40000),
                       .lr = between(c, 0, 0.5),
                       .scale = check_coin(c) ? 1 : between(c, 0, 1),
                       .momentum = between(c, 0.1, 1),
                       .decay = check_coin(c) ? 0 : 0.01,
                       .nesterov = check_coin(c)};
    bool moments = check_coin(c);
    s.decays = check_below(c, (uint32_t)s.n + 1);
    check_describe(c, "sgd of %d, %d decay, momentum %d", (int)s.n, (int)s.decays, moments);
    const float *w = check_floats(c, s.n, false), *grad = check_floats(c, s.n, false);
    const float *m = moments ? check_floats(c, s.n, false) : NULL, *first[2] = {0};
    struct mc_sgd ref = s;
    ref.w = check_widen(c, w, s.n);
    ref.grad = check_widen(c, grad, s.n);
    ref.m = check_widen(c, m, s.n);
    ref.w_new = room(c, s.n);
    ref.m_new = m ? room(c, s.n) : NULL;
    c->ref->optim.sgd(&ref, c->pool[0]);
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *w_new = result(c, w, s.n, p), *m_new = m ? result(c, m, s.n, p) : NULL;
        s.grad = grad;
        s.w = p ? w_new : w;
        s.m = p ? m_new : m;
        s.w_new = w_new;
        s.m_new = m_new;
        c->k->optim.sgd(&s, c->pool[p]);
        compare(c, "w", w_new, ref.w_new, first[0], s.n);
        if (m)
            compare(c, "m", m_new, ref.m_new, first[1], s.n);
        first[0] = w_new;
        first[1] = m_new;
    }
}

static void test_adam(struct check *c)
{
    struct mc_adam a = {.n = check_size(c, 16, check_below(c, 8) ? 200 : 40000),
                        .step = 1 + check_below(c, 50),
                        .lr = between(c, 0, 0.1),
                        .scale = check_coin(c) ? 1 : between(c, 0, 1),
                        .beta1 = between(c, 0.5, 0.95),
                        .beta2 = between(c, 0.9, 0.999),
                        .epsilon = 1e-3,
                        .decay = check_coin(c) ? 0 : 0.01,
                        .decoupled = check_coin(c)};
    a.decays = check_below(c, (uint32_t)a.n + 1);
    check_describe(c, "adam of %d, %d decay, step %d", (int)a.n, (int)a.decays, (int)a.step);
    const float *w = check_floats(c, a.n, false), *grad = check_floats(c, a.n, false);
    const float *m = check_floats(c, a.n, false), *first[3] = {0};
    const float *v = absolute(check_floats(c, a.n, false), a.n);
    struct mc_adam ref = a;
    ref.w = check_widen(c, w, a.n);
    ref.grad = check_widen(c, grad, a.n);
    ref.m = check_widen(c, m, a.n);
    ref.v = check_widen(c, v, a.n);
    ref.w_new = room(c, a.n);
    ref.m_new = room(c, a.n);
    ref.v_new = room(c, a.n);
    c->ref->optim.adam(&ref, c->pool[0]);
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *w_new = result(c, w, a.n, p), *m_new = result(c, m, a.n, p);
        float *v_new = result(c, v, a.n, p);
        a.grad = grad;
        a.w = p ? w_new : w;
        a.m = p ? m_new : m;
        a.v = p ? v_new : v;
        a.w_new = w_new;
        a.m_new = m_new;
        a.v_new = v_new;
        c->k->optim.adam(&a, c->pool[p]);
        compare(c, "m", m_new, ref.m_new, first[1], a.n);
        compare(c, "v", v_new, ref.v_new, first[2], a.n);
        /* Steps of m / epsilon where v is near 0. */
        if (first[0])
            compare(c, "w", w_new, NULL, first[0], a.n);
        else
            check_close(c, "w", w_new, ref.w_new, NULL, 0, 1e-5, a.n);
        first[0] = w_new;
        first[1] = m_new;
        first[2] = v_new;
    }
}

static void test_blend(struct check *c)
{
    struct mc_blend b = {.n = check_size(c, 16, check_below(c, 8) ? 200 : 40000),
                         .a = between(c, -1, 1),
                         .b = between(c, -1, 1)};
    check_describe(c, "blend of %d", (int)b.n);
    const float *x = check_floats(c, b.n, true), *y = check_floats(c, b.n, true), *first = NULL;
    struct mc_blend ref = b;
    ref.x = check_widen(c, x, b.n);
    ref.y = check_widen(c, y, b.n);
    ref.z = room(c, b.n);
    c->ref->optim.blend(&ref, c->pool[0]);
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *z = result(c, p == 1 ? x : y, b.n, p);
        b.x = p == 1 ? z : x;
        b.y = p == 2 ? z : y;
        b.z = z;
        c->k->optim.blend(&b, c->pool[p]);
        compare(c, "z", z, ref.z, first, b.n);
        first = z;
    }
}

static void test_squares(struct check *c)
{
    struct mc_squares s = {.n = check_size(c, 16, check_below(c, 3) ? 200 : 100000)};
    bool special = check_below(c, 8) == 0;
    check_describe(c, "squares of %d", (int)s.n);
    const float *x = check_floats(c, s.n, special);
    s.part = room(c, (s.n + MC_SQUARES_CHUNK - 1) / MC_SQUARES_CHUNK);
    struct mc_squares ref = {s.n, check_widen(c, x, s.n), s.part};
    double want = c->ref->optim.squares(&ref, c->pool[0]), first = 0;
    s.x = x;
    for (int p = 0; p < CHECK_POOLS; p++) {
        double got = c->k->optim.squares(&s, c->pool[p]);
        bool same = isfinite(want) ? fabs(got - want) <= 1e-12 * want : !isfinite(got);
        if (!same)
            check_fail(c, "the sum is %.17g, not %.17g", got, want);
        if (p)
            check_same(c, "another number of threads", &got, &first, sizeof got);
        first = got;
    }
}

static void test(struct check *c)
{
    switch (check_below(c, 4)) {
    case 0: test_sgd(c); break;
    case 1: test_adam(c); break;
    case 2: test_blend(c); break;
    default: test_squares(c); break;
    }
}

/* ---- of devices ---- */

/* What a step reads from memory: two copies, as floats and as doubles. */
static void draw_at(struct check *c, struct mc_step_at *at, struct mc_step_at *wide, bool clips)
{
    float *lr = check_floats(c, 1, false), *norm = check_floats(c, 1, false);
    void *step = check_alloc(c, 8, 8), *apply = check_alloc(c, 8, 8);
    *lr = (float)between(c, 0, 0.2);
    *norm = check_below(c, 4) ? fabsf(*norm) * 3 : check_coin(c) ? INFINITY : NAN;
    *at = (struct mc_step_at){.step_bytes = check_coin(c) ? 4 : 8,
                              .apply_bytes = check_coin(c) ? 4 : 8,
                              .clip = clips && check_coin(c) ? between(c, 0.1, 2) : 0};
    if (at->step_bytes == 4)
        *(int32_t *)step = 1 + (int32_t)check_below(c, 40);
    else
        *(int64_t *)step = 1 + (int64_t)check_below(c, 40);
    if (at->apply_bytes == 4)
        *(int32_t *)apply = check_below(c, 4) != 0;
    else
        *(int64_t *)apply = check_below(c, 4) != 0;
    at->lr = check_coin(c) ? lr : NULL;
    at->norm = check_coin(c) ? norm : NULL;
    at->step = check_coin(c) ? step : NULL;
    at->apply = check_coin(c) ? apply : NULL;
    *wide = *at;
    wide->lr = at->lr ? check_widen(c, lr, 1) : NULL;
    wide->norm = at->norm ? check_widen(c, norm, 1) : NULL;
}

static void test_sgd_at(struct check *c)
{
    struct mc_sgd s = {.n = check_size(c, 16, 200), .lr = 0.1, .scale = 0.5, .momentum = 0.9};
    s.nesterov = check_coin(c);
    struct mc_sgd ref = s;
    draw_at(c, &s.at, &ref.at, true);
    check_describe(c, "sgd of %d with numbers in memory", (int)s.n);
    const float *w = check_floats(c, s.n, false), *m = check_floats(c, s.n, false);
    s.grad = check_floats(c, s.n, false);
    s.w = w;
    s.m = m;
    float *w_new = s.w_new = result(c, w, s.n, false), *m_new = s.m_new = result(c, m, s.n, false);
    ref.grad = check_widen(c, s.grad, s.n);
    ref.w = check_widen(c, w, s.n);
    ref.m = check_widen(c, m, s.n);
    ref.w_new = room(c, s.n);
    ref.m_new = room(c, s.n);
    c->ref->optim.sgd(&ref, NULL);
    c->k->optim.sgd(&s, NULL);
    compare(c, "w", w_new, ref.w_new, NULL, s.n);
    compare(c, "m", m_new, ref.m_new, NULL, s.n);
}

static void test_adam_at(struct check *c)
{
    struct mc_adam a = {.n = check_size(c, 16, 200), .step = 3, .lr = 0.1, .scale = 0.5};
    a.beta1 = 0.9;
    a.beta2 = 0.99;
    a.epsilon = 1e-3;
    struct mc_adam ref = a;
    draw_at(c, &a.at, &ref.at, true);
    check_describe(c, "adam of %d with numbers in memory", (int)a.n);
    const float *w = check_floats(c, a.n, false), *m = check_floats(c, a.n, false);
    const float *v = absolute(check_floats(c, a.n, false), a.n);
    a.grad = check_floats(c, a.n, false);
    a.w = w;
    a.m = m;
    a.v = v;
    float *w_new = a.w_new = result(c, w, a.n, false), *m_new = a.m_new = result(c, m, a.n, false);
    float *v_new = a.v_new = result(c, v, a.n, false);
    ref.grad = check_widen(c, a.grad, a.n);
    ref.w = check_widen(c, w, a.n);
    ref.m = check_widen(c, m, a.n);
    ref.v = check_widen(c, v, a.n);
    ref.w_new = room(c, a.n);
    ref.m_new = room(c, a.n);
    ref.v_new = room(c, a.n);
    c->ref->optim.adam(&ref, NULL);
    c->k->optim.adam(&a, NULL);
    check_close(c, "w", w_new, ref.w_new, NULL, 0, 2e-5, a.n);
    compare(c, "m", m_new, ref.m_new, NULL, a.n);
    compare(c, "v", v_new, ref.v_new, NULL, a.n);
}

static void test_blend_at(struct check *c)
{
    struct mc_blend b = {.n = check_size(c, 16, 200), .a = 0.75, .b = 0.25}, ref = b;
    draw_at(c, &b.at, &ref.at, false);
    ref = b;
    ref.at.norm = b.at.norm ? check_widen(c, b.at.norm, 1) : NULL;
    check_describe(c, "blend of %d with numbers in memory", (int)b.n);
    const float *x = check_floats(c, b.n, false), *y = check_floats(c, b.n, false);
    if (check_coin(c)) {
        b.b_at = check_floats(c, 1, false);
        ref.b_at = check_widen(c, b.b_at, 1);
    }
    float *z = result(c, x, b.n, false);
    b.x = x;
    b.y = y;
    b.z = z;
    ref.x = check_widen(c, x, b.n);
    ref.y = check_widen(c, y, b.n);
    ref.z = room(c, b.n);
    c->ref->optim.blend(&ref, NULL);
    c->k->optim.blend(&b, NULL);
    compare(c, "z", z, ref.z, NULL, b.n);
}

static void test_choose(struct check *c)
{
    struct mc_choose j = {.n = check_size(c, 16, 200)}, ref;
    struct mc_step_at wide;
    draw_at(c, &j.at, &wide, false);
    const float *x = check_coin(c) ? check_floats(c, j.n, true) : NULL;
    const float *y = check_floats(c, j.n, true);
    int place = (int)check_below(c, 3);
    float *z = result(c, place == 1 && x ? x : y, j.n, place > 0);
    check_describe(c, "choice of %d%s", (int)j.n, x ? "" : ", zeros");
    ref = j;
    ref.at = wide;
    ref.x = check_widen(c, x, j.n);
    ref.y = check_widen(c, y, j.n);
    ref.z = room(c, j.n);
    c->ref->optim.choose(&ref, NULL);
    j.x = place == 1 && x ? z : x;
    j.y = place == 2 || (place == 1 && !x) ? z : y;
    j.z = z;
    c->k->optim.choose(&j, NULL);
    check_close(c, "z", z, ref.z, NULL, 0, 0, j.n);
}

static void test_parts(struct check *c)
{
    struct mc_parts p = {.n = 1 + (int)check_below(c, 9)};
    int64_t all = 0, at = 0;
    check_describe(c, "%d parts", p.n);
    for (int i = 0; i < p.n; i++)
        all += p.size[i] = check_below(c, 5) ? check_size(c, 16, 3000) : 0;
    float *to = result(c, NULL, all + 1, false);
    for (int i = 0; i < p.n; i++) {
        p.src[i] = check_below(c, 4) ? check_floats(c, p.size[i] + 1, true) : NULL;
        p.dst[i] = to + at;
        at += p.size[i];
    }
    c->k->optim.parts(&p, NULL);
    for (int i = 0; i < p.n; i++) {
        float *zeros = result(c, NULL, p.size[i] + 1, false);
        memset(zeros, 0, (size_t)p.size[i] * 4);
        check_same(c, "a part", p.dst[i], p.src[i] ? p.src[i] : zeros, (size_t)p.size[i] * 4);
    }
}

static void test_root(struct check *c)
{
    struct mc_squares s = {.n = check_size(c, 16, check_below(c, 3) ? 200 : 100000)};
    const float *x = check_floats(c, s.n, check_below(c, 8) == 0);
    float *got = result(c, NULL, 1, false), *again = result(c, NULL, 1, false);
    double *want = room(c, 1);
    check_describe(c, "root of squares of %d", (int)s.n);
    s.part = room(c, (s.n + MC_SQUARES_CHUNK - 1) / MC_SQUARES_CHUNK);
    struct mc_squares ref = {s.n, check_widen(c, x, s.n), s.part};
    c->ref->optim.root(&ref, want, NULL);
    s.x = x;
    c->k->optim.root(&s, got, NULL);
    c->k->optim.root(&s, again, NULL);
    check_same(c, "again", again, got, sizeof *got);
    check_close(c, "root", got, want, NULL, 2 * TOL_U, 0, 1);
}

static void test_all(struct check *c)
{
    static void (*const tests[])(struct check *) = {test_sgd_at, test_adam_at, test_blend_at,
                                                    test_choose, test_parts,   test_root};
    tests[c->round % (sizeof tests / sizeof tests[0])](c);
}

const struct check_row check_optim_all = {"optim_all", 300, test_all, NULL};

struct steps {
    struct check *c;
    struct mc_sgd sgd;
    struct mc_adam adam;
    struct mc_squares squares;
    double sum;
};

static void run_sgd(void *ctx)
{
    struct steps *s = ctx;
    s->c->k->optim.sgd(&s->sgd, s->c->pool[0]);
}

static void run_adam(void *ctx)
{
    struct steps *s = ctx;
    s->c->k->optim.adam(&s->adam, s->c->pool[0]);
}

static void run_squares(void *ctx)
{
    struct steps *s = ctx;
    s->sum = s->c->k->optim.squares(&s->squares, s->c->pool[0]);
}

static void bench(struct check *c)
{
    enum { N = 1 << 22 };
    float *w = check_floats(c, N, false), *g = check_floats(c, N, false);
    float *m = check_floats(c, N, false), *v = absolute(check_floats(c, N, false), N);
    struct steps s = {
        .c = c,
        .sgd = {N, N, 1e-6, 1, 0.9, 1e-4, false, g, w, m, w, m, {0}},
        .adam = {N, N, 1, 1e-6, 1, 0.9, 0.999, 1e-8, 1e-4, true, g, w, m, v, w, m, v, {0}},
        .squares = {N, g, room(c, N / MC_SQUARES_CHUNK)},
    };
    bench_line(&(struct bench){.bytes = 5.0 * 4 * N, .fn = run_sgd, .ctx = &s},
               "sgd with momentum, %d", N);
    bench_line(&(struct bench){.bytes = 7.0 * 4 * N, .fn = run_adam, .ctx = &s}, "adamw, %d", N);
    bench_line(&(struct bench){.bytes = 4.0 * N, .fn = run_squares, .ctx = &s}, "squares, %d", N);
}

const struct check_row check_optim = {"optim", 300, test, bench};
