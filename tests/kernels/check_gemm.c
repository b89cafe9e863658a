#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"
#include "tol.h"

/* Numbers of one case; everything in f32. */
struct gemm_case {
    struct mc_gemm g;
    const float *b;
    int64_t b_row, b_col, a_count, b_count, c_count;
    bool in_place; /* the residual is C */
};

static void draw(struct check *c, struct gemm_case *t)
{
    struct mc_gemm *g = &t->g;
    bool specials = check_below(c, 8) == 0;
    int64_t most_k = check_below(c, 4) ? 100 : 700; /* above and below a block of k */
    *t = (struct gemm_case){0};
    g->m = check_size(c, 12, 80);
    g->n = check_size(c, 32, 130);
    g->k = check_below(c, 40) ? check_size(c, 16, most_k) : 0;
    /* A and B: row-major, transposed, or with gaps everywhere. */
    int64_t gap = check_below(c, 3), extra = check_below(c, 5);
    bool wide = check_below(c, 5) == 0, ta = check_coin(c), tb = check_coin(c);
    g->a_col = ta ? g->m + extra : wide ? 2 : 1;
    g->a_row = ta ? (wide ? 2 : 1) : g->k * g->a_col + extra;
    g->a_col *= ta && wide ? 2 : 1;
    t->b_row = tb ? 1 : g->n + gap;
    t->b_col = tb ? g->k + gap : 1;
    g->c_row = g->n + check_below(c, 4);
    g->alpha = check_coin(c) ? 1 : -0.75;
    t->a_count = g->m * g->a_row + g->k * g->a_col + 1;
    t->b_count = g->k * t->b_row + g->n * t->b_col + 1;
    t->c_count = (g->m - 1) * g->c_row + g->n;
    g->a = check_floats(c, t->a_count, specials);
    t->b = check_floats(c, t->b_count, specials && check_coin(c));
    struct mc_epilogue *e = &g->epilogue;
    e->act = check_below(c, MC_ACT_HARDSWISH + 1);
    e->lo = e->act == MC_ACT_CLAMP ? 0 : 0.1;
    e->hi = check_coin(c) ? INFINITY : 6;
    if (check_coin(c))
        e->bias = check_floats(c, g->n, false);
    if (check_coin(c))
        e->residual = check_floats(c, t->c_count, false);
    t->in_place = e->residual && check_coin(c);
    check_describe(c, "m %d n %d k %d a %d,%d b %d,%d c %d alpha %g act %d%s%s%s%s", (int)g->m,
                   (int)g->n, (int)g->k, (int)g->a_row, (int)g->a_col, (int)t->b_row, (int)t->b_col,
                   (int)g->c_row, g->alpha, (int)e->act, e->bias ? " bias" : "",
                   e->residual ? " residual" : "", t->in_place ? " in place" : "",
                   specials ? " specials" : "");
}

/* Run g, whose pointers fit `k`, on B at b. */
static void call(struct check *c, const struct mc_kernels *k, struct mc_gemm *g,
                 const struct gemm_case *t, const void *b, struct mc_pool *pool)
{
    void *packed = check_alloc(c, k->gemm.pack_b_bytes(g->k, g->n), MC_ALIGN);
    void *scratch =
        check_alloc(c, k->gemm.scratch_bytes(g->m, g->n, g->k, mc_pool_threads(pool)), MC_ALIGN);
    k->gemm.pack_b(g->k, g->n, b, t->b_row, t->b_col, packed, pool);
    g->packed_b = packed;
    k->gemm.run(g, scratch, pool);
}

/* The result in f64, or (absolute) the sum of |terms|: what rounding errors are measured by. */
static double *reference(struct check *c, const struct gemm_case *t, bool absolute)
{
    double *(*to_f64)(struct check *, const float *, int64_t) = absolute ? check_abs : check_widen;
    struct mc_gemm g = t->g;
    g.a = to_f64(c, t->g.a, t->a_count);
    g.epilogue.bias = to_f64(c, t->g.epilogue.bias, g.n);
    g.epilogue.residual = to_f64(c, t->g.epilogue.residual, t->c_count);
    if (absolute) {
        g.alpha = fabs(g.alpha);
        g.epilogue.act = MC_ACT_NONE;
    }
    double *y = check_alloc(c, (size_t)t->c_count * sizeof *y, sizeof *y);
    g.c = y;
    call(c, c->ref, &g, t, to_f64(c, t->b, t->b_count), c->pool[0]);
    return y;
}

/* The reference itself, in double, against another library's product. */
static void compare_blas(struct check *c, const struct gemm_case *t)
{
    struct mc_gemm g = t->g;
    bool ta = g.a_row == 1, tb = t->b_row == 1;
    int64_t lda = ta ? g.a_col : g.a_row, ldb = tb ? t->b_col : t->b_row;
    if ((!ta && g.a_col != 1) || (!tb && t->b_col != 1) || lda < (ta ? g.m : g.k) || g.k == 0 ||
        ldb < (tb ? g.k : g.n))
        return;
    memset(&g.epilogue, 0, sizeof g.epilogue);
    size_t bytes = (size_t)t->c_count * sizeof(double);
    double *ours = check_alloc(c, bytes, sizeof(double)),
           *blas = check_alloc(c, bytes, sizeof(double));
    const double *a = check_widen(c, t->g.a, t->a_count), *b = check_widen(c, t->b, t->b_count);
    g.a = a;
    g.c = ours;
    call(c, c->ref, &g, t, b, c->pool[0]);
    cblas_dgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
                (int)g.m, (int)g.n, (int)g.k, g.alpha, a, (int)lda, b, (int)ldb, 0, blas,
                (int)g.c_row);
    for (int64_t i = 0; i < g.m; i++) {
        for (int64_t j = 0; j < g.n; j++) {
            double x = ours[i * g.c_row + j], y = blas[i * g.c_row + j];
            if (isfinite(x) && !(fabs(x - y) <= 1e-12 * (double)(g.k + 10)))
                check_fail(c, "the reference says %.17g, BLAS %.17g at %d,%d", x, y, (int)i,
                           (int)j);
        }
    }
}

static void test(struct check *c)
{
    struct gemm_case t;
    draw(c, &t);
    compare_blas(c, &t);
    const double *want = reference(c, &t, false), *scale = reference(c, &t, true);
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        struct mc_gemm g = t.g;
        float *y = check_alloc(c, (size_t)t.c_count * sizeof *y, sizeof *y);
        if (t.in_place) {
            memcpy(y, g.epilogue.residual, (size_t)t.c_count * sizeof *y);
            g.epilogue.residual = y;
        }
        g.c = y;
        call(c, c->k, &g, &t, t.b, c->pool[p]);
        for (int64_t i = 0; i < g.m && p == 0; i++)
            check_close(c, "c", y + i * g.c_row, want + i * g.c_row, scale + i * g.c_row,
                        tol_sum((double)g.k), g.epilogue.act > MC_ACT_LEAKY ? TOL_ACT : 0, g.n);
        for (int64_t i = 0; i + 1 < g.m && p == 0; i++) {
            for (int64_t j = g.n; j < g.c_row; j++) {
                float was =
                    t.in_place ? ((const float *)t.g.epilogue.residual)[i * g.c_row + j] : NAN;
                if (t.in_place ? y[i * g.c_row + j] != was : !isnan(y[i * g.c_row + j]))
                    check_fail(c, "the gap after row %d was written", (int)i);
            }
        }
        if (first)
            check_same(c, "another number of threads", y, first, (size_t)t.c_count * sizeof *y);
        first = y;
    }
}

/* ---- several products at once, of a device: each against the reference ---- */

static void test_batch(struct check *c)
{
    struct gemm_case t;
    draw(c, &t);
    struct mc_gemm *g = &t.g;
    g->batch = 2 + check_below(c, 4);
    g->a_step = check_below(c, 3) ? t.a_count + check_below(c, 3) : 0;
    g->b_step = check_below(c, 3) ? t.b_count + check_below(c, 3) : 0;
    g->c_step = g->m * g->c_row + check_below(c, 3);
    int64_t c_count = g->batch * g->c_step;
    const float *a = check_floats(c, (g->batch - 1) * g->a_step + t.a_count, false);
    const float *b = check_floats(c, (g->batch - 1) * g->b_step + t.b_count, false);
    const float *residual = g->epilogue.residual ? check_floats(c, c_count, false) : NULL;
    float *y = check_alloc(c, (size_t)c_count * sizeof *y, sizeof *y);
    struct mc_gemm all = *g;
    all.a = a;
    all.c = y;
    all.epilogue.residual = residual;
    call(c, c->k, &all, &t, b, NULL);
    for (int64_t i = 0; i < g->batch; i++) {
        struct gemm_case one = t;
        one.g.batch = 0;
        one.g.a = a + i * g->a_step;
        one.b = b + i * g->b_step;
        one.g.epilogue.residual = residual ? residual + i * g->c_step : NULL;
        const double *want = reference(c, &one, false), *scale = reference(c, &one, true);
        for (int64_t r = 0; r < g->m; r++)
            check_close(c, "c", y + i * g->c_step + r * g->c_row, want + r * g->c_row,
                        scale + r * g->c_row, tol_sum((double)g->k),
                        g->epilogue.act > MC_ACT_LEAKY ? TOL_ACT : 0, g->n);
    }
}

const struct check_row check_gemm_batch = {"gemm_batch", 100, test_batch, NULL};

struct timing {
    const struct mc_kernels *k;
    struct mc_gemm g;
    const float *b;
    void *scratch;
};

static void ours(void *ctx)
{
    const struct timing *t = ctx;
    t->k->gemm.run(&t->g, t->scratch, NULL);
}

static void openblas(void *ctx)
{
    const struct timing *t = ctx;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)t->g.m, (int)t->g.n, (int)t->g.k, 1,
                t->g.a, (int)t->g.k, t->b, (int)t->g.n, 0, t->g.c, (int)t->g.n);
}

static void bench(struct check *c)
{
    static const int shapes[][3] = {
        {512, 512, 512}, {1024, 1024, 1024}, {2048, 2048, 2048}, {64, 512, 784},  {128, 512, 784},
        {256, 512, 784}, {64, 512, 512},     {256, 512, 512},    {64, 10, 512},   {256, 10, 512},
        {1, 512, 784},   {1, 4096, 4096},    {4, 4096, 4096},    {8, 4096, 4096}, {16, 4096, 4096},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct timing t = {.k = c->k};
        struct mc_gemm *g = &t.g;
        g->m = shapes[i][0];
        g->n = shapes[i][1];
        g->k = shapes[i][2];
        g->a = check_floats(c, g->m * g->k, false);
        g->a_row = g->k;
        g->a_col = 1;
        g->c = check_alloc(c, (size_t)(g->m * g->n) * sizeof(float), MC_ALIGN);
        g->c_row = g->n;
        g->alpha = 1;
        t.b = check_floats(c, g->k * g->n, false);
        void *packed = check_alloc(c, c->k->gemm.pack_b_bytes(g->k, g->n), MC_ALIGN);
        c->k->gemm.pack_b(g->k, g->n, t.b, g->n, 1, packed, NULL);
        g->packed_b = packed;
        t.scratch = check_alloc(c, c->k->gemm.scratch_bytes(g->m, g->n, g->k, 1), MC_ALIGN);
        struct bench b = {
            .flops = 2.0 * (double)g->m * (double)g->n * (double)g->k,
            .bytes = g->m <= 4 ? (double)(g->k * g->n) * 4 : 0, /* of B */
            .fn = ours,
            .ctx = &t,
            .rival = openblas,
        };
        bench_line(&b, "gemm %s %dx%dx%d", c->k->name, (int)g->m, (int)g->n, (int)g->k);
    }
}

const struct check_row check_gemm = {"gemm", 400, test, bench};
