#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "bench.h"
#include "check.h"
#include "tol.h"

/* Largest error allowed, in units of 2^-23: `ulp` of |y| plus `absolute` of max(1, |y|). What rounds once has
 * half a unit; the others have what kernels/cpu/math_cpu.h states, and the products that follow. */
static const struct fn_row {
    const char *name;
    double ulp, absolute;
} unary_fns[MC_UNARY_COUNT] = {
    [MC_UNARY_ABS] = {"abs", 0, 0},
    [MC_UNARY_NEG] = {"neg", 0, 0},
    [MC_UNARY_RECIPROCAL] = {"reciprocal", 0.5, 0},
    [MC_UNARY_SQRT] = {"sqrt", 0.5, 0},
    [MC_UNARY_FLOOR] = {"floor", 0, 0},
    [MC_UNARY_CEIL] = {"ceil", 0, 0},
    [MC_UNARY_ROUND] = {"round", 0, 0},
    [MC_UNARY_SIGN] = {"sign", 0, 0},
    [MC_UNARY_CLAMP] = {"clamp", 0, 0},
    [MC_UNARY_LEAKY] = {"leaky", 0.5, 0},
    [MC_UNARY_HARDSIGMOID] = {"hardsigmoid", 0, 1},
    [MC_UNARY_HARDSWISH] = {"hardswish", 2, 1},
    [MC_UNARY_EXP] = {"exp", 1.2, 0},
    [MC_UNARY_LOG] = {"log", 1, 0},
    [MC_UNARY_ERF] = {"erf", 2.6, 0},
    [MC_UNARY_SIGMOID] = {"sigmoid", 3, 0},
    [MC_UNARY_TANH] = {"tanh", 1.5, 0},
    [MC_UNARY_SILU] = {"silu", 4, 1e-35}, /* x times a denormal sigmoid */
    [MC_UNARY_ELU] = {"elu", 2, 1},
    [MC_UNARY_SOFTPLUS] = {"softplus", 3, 0},
    [MC_UNARY_GELU] = {"gelu", 0, 1.2},
    [MC_UNARY_GELU_TANH] = {"gelu_tanh", 2, 2},
    [MC_UNARY_SIN] = {"sin", 1.2, 1e-3}, /* near its zeros the argument's reduction shows */
    [MC_UNARY_COS] = {"cos", 1.2, 1e-3},
    [MC_UNARY_TAN] = {"tan", 1, 0},
    [MC_UNARY_ASIN] = {"asin", 1, 0},
    [MC_UNARY_ACOS] = {"acos", 1, 0},
    [MC_UNARY_ATAN] = {"atan", 1, 0},
    [MC_UNARY_SINH] = {"sinh", 2, 0},
    [MC_UNARY_COSH] = {"cosh", 2, 0},
    [MC_UNARY_ASINH] = {"asinh", 2, 0},
    [MC_UNARY_ACOSH] = {"acosh", 2, 0},
    [MC_UNARY_ATANH] = {"atanh", 2, 0},
    [MC_UNARY_SELU] = {"selu", 3, 1},
    [MC_UNARY_CELU] = {"celu", 3, 1},
    [MC_UNARY_MISH] = {"mish", 6, 1e-35}, /* x times a denormal tanh */
    [MC_UNARY_SOFTSIGN] = {"softsign", 1, 0},
    [MC_UNARY_THRESHOLDED] = {"thresholded", 0, 0},
    [MC_UNARY_SHRINK] = {"shrink", 0.5, 0},
};

/* Numbers of every size: few of them near 1, some denormal, some that overflow an exponential. */
static float *spread_floats(struct check *c, int64_t n)
{
    float *x = check_floats(c, n, true);
    for (int64_t i = 0; i < n; i++) {
        switch (check_below(c, 6)) {
        case 0: x[i] *= 1e-3f; break;
        case 1: x[i] *= 10; break;
        case 2: x[i] *= 60; break;
        case 3: x[i] = ldexpf(x[i], (int)check_below(c, 277) - 148); break;
        default: break;
        }
    }
    return x;
}

/* The last place of a denormal is an absolute 2^-149. */
static void compare(struct check *c, const char *name, const float *got, const double *want,
                    double ulp, double absolute, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double w = (double)(float)want[i]; /* overflow to infinity as f32 does */
        if (isnan(w) || isinf(w)) {
            bool near =
                isinf(w) && fabs((double)got[i]) > 3.4e38 && !signbit(got[i]) == !signbit(w);
            if (isnan(w) ? !isnan(got[i]) : !near)
                check_fail(c, "%s[%d] is %g, not %g", name, (int)i, (double)got[i], w);
            continue;
        }
        double err = fabs((double)got[i] - want[i]);
        double limit = 2 * TOL_U * (ulp * fabs(w) + absolute * fmax(1, fabs(w))) + ulp * 0x1p-149;
        if (!(err <= limit)) {
            check_fail(c, "%s[%d] is %.9g, not %.9g: off by %.3g, %.3g allowed", name, (int)i,
                       (double)got[i], w, err, limit);
            return;
        }
        if (limit > 0 && err / limit > c->worst)
            c->worst = err / limit;
    }
}

static void test_unary(struct check *c)
{
    struct mc_unary u = {.fn = check_below(c, MC_UNARY_COUNT)};
    u.n = check_size(c, 16, check_below(c, 8) ? 200 : 40000);
    const struct fn_row *row = &unary_fns[u.fn];
    const float *x = spread_floats(c, u.n);
    u.a = u.fn == MC_UNARY_CLAMP ? -0.5 : u.fn == MC_UNARY_SILU ? 1 : 0.25;
    u.b = 0.5;
    check_describe(c, "%s of %d", row->name, (int)u.n);
    double *want = check_alloc(c, (size_t)u.n * sizeof *want, sizeof *want);
    struct mc_unary ref = u;
    ref.x = check_widen(c, x, u.n);
    ref.y = want;
    c->ref->elementwise.unary(&ref, c->pool[0]);
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *y = check_alloc(c, (size_t)u.n * sizeof *y, sizeof *y);
        u.x = p ? memcpy(y, x, (size_t)u.n * sizeof *y) : x; /* in place from the second on */
        u.y = y;
        c->k->elementwise.unary(&u, c->pool[p]);
        if (first)
            check_same(c, "another number of threads, or in place,", y, first,
                       (size_t)u.n * sizeof *y);
        else
            compare(c, row->name, y, want, row->ulp, row->absolute, u.n);
        first = y;
    }
}

/* The same for derivatives: what rounds a few times has a few units; where numbers near 1 are subtracted (1 - y of
 * a sigmoid, 1 + erf) the error is absolute. By libm or a polynomial of the argument otherwise. */
static const struct fn_row slopes[MC_UNARY_COUNT] = {
    [MC_UNARY_ABS] = {"abs", 0, 0},
    [MC_UNARY_NEG] = {"neg", 0, 0},
    [MC_UNARY_RECIPROCAL] = {"reciprocal", 1.5, 0},
    [MC_UNARY_SQRT] = {"sqrt", 1.5, 0},
    [MC_UNARY_FLOOR] = {"floor", 0, 0},
    [MC_UNARY_CEIL] = {"ceil", 0, 0},
    [MC_UNARY_ROUND] = {"round", 0, 0},
    [MC_UNARY_SIGN] = {"sign", 0, 0},
    [MC_UNARY_CLAMP] = {"clamp", 0, 0},
    [MC_UNARY_LEAKY] = {"leaky", 0.5, 0},
    [MC_UNARY_HARDSIGMOID] = {"hardsigmoid", 0.5, 0},
    [MC_UNARY_HARDSWISH] = {"hardswish", 2, 1},
    [MC_UNARY_EXP] = {"exp", 0.5, 0},
    [MC_UNARY_LOG] = {"log", 1.5, 0},
    [MC_UNARY_ERF] = {"erf", 4, 16}, /* exp(-x²): the rounding of x² counts x² times */
    [MC_UNARY_SIGMOID] = {"sigmoid", 2, 0},
    [MC_UNARY_TANH] = {"tanh", 3, 0},
    [MC_UNARY_SILU] = {"silu", 4, 8},
    [MC_UNARY_ELU] = {"elu", 1, 1},
    [MC_UNARY_SOFTPLUS] = {"softplus", 3, 0},
    [MC_UNARY_GELU] = {"gelu", 4, 4},
    [MC_UNARY_GELU_TANH] = {"gelu_tanh", 4, 16},
    [MC_UNARY_SIN] = {"sin", 2, 1},
    [MC_UNARY_COS] = {"cos", 2, 1},
    [MC_UNARY_TAN] = {"tan", 2, 0},
    [MC_UNARY_ASIN] = {"asin", 3, 0},
    [MC_UNARY_ACOS] = {"acos", 3, 0},
    [MC_UNARY_ATAN] = {"atan", 2, 0},
    [MC_UNARY_SINH] = {"sinh", 3, 0},
    [MC_UNARY_COSH] = {"cosh", 3, 0},
    [MC_UNARY_ASINH] = {"asinh", 3, 0},
    [MC_UNARY_ACOSH] = {"acosh", 3, 0},
    [MC_UNARY_ATANH] = {"atanh", 3, 0},
    [MC_UNARY_SELU] = {"selu", 2, 1},
    [MC_UNARY_CELU] = {"celu", 2, 1},
    [MC_UNARY_MISH] = {"mish", 4, 8},
    [MC_UNARY_SOFTSIGN] = {"softsign", 2, 0},
    [MC_UNARY_THRESHOLDED] = {"thresholded", 0, 0},
    [MC_UNARY_SHRINK] = {"shrink", 0, 0},
};

/* dx against the reference; a result for functions whose derivative follows from it, so that v is in their range. */
static void test_unary_grad(struct check *c)
{
    struct mc_unary_grad u = {.fn = check_below(c, MC_UNARY_COUNT)};
    u.n = check_size(c, 16, check_below(c, 8) ? 200 : 40000);
    const struct fn_row *row = &slopes[u.fn];
    u.a = u.fn == MC_UNARY_CLAMP ? -0.5 : u.fn == MC_UNARY_SILU ? 1 : check_coin(c) ? 0.25 : -0.25;
    u.b = 0.5;
    check_describe(c, "derivative of %s (%g) of %d", row->name, u.a, (int)u.n);
    const float *dy = check_floats(c, u.n, false);
    float *v = spread_floats(c, u.n);
    for (int64_t i = 0; i < u.n; i++) /* neither squares nor cosh overflow before dy is a factor */
        if (isfinite(v[i]) && v[i] != 0)
            v[i] = copysignf(fminf(fmaxf(fabsf(v[i]), 1e-12f), 60), v[i]);
    if (mc_unary_by_result(u.fn, u.a, u.b)) {
        struct mc_unary f = {u.fn, u.a, u.b, u.n, v, v};
        c->k->elementwise.unary(&f, c->pool[0]);
    }
    double *want = check_alloc(c, (size_t)u.n * sizeof *want, sizeof *want);
    struct mc_unary_grad ref = u;
    ref.dy = check_widen(c, dy, u.n);
    ref.v = check_widen(c, v, u.n);
    ref.dx = want;
    c->ref->elementwise.unary_grad(&ref, c->pool[0]);
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *dx = check_alloc(c, (size_t)u.n * sizeof *dx, sizeof *dx);
        u.dy = p == 1 ? memcpy(dx, dy, (size_t)u.n * sizeof *dx) : dy; /* in place over either */
        u.v = p == 2 ? memcpy(dx, v, (size_t)u.n * sizeof *dx) : v;
        u.dx = dx;
        c->k->elementwise.unary_grad(&u, c->pool[p]);
        if (first)
            check_same(c, "another number of threads, or in place,", dx, first,
                       (size_t)u.n * sizeof *dx);
        else
            compare(c, row->name, dx, want, row->ulp, row->absolute, u.n);
        first = dx;
    }
}

static const struct fn_row binary_fns[MC_BINARY_COUNT] = {
    [MC_BINARY_ADD] = {"add", 0.5, 0}, [MC_BINARY_SUB] = {"sub", 0.5, 0},
    [MC_BINARY_MUL] = {"mul", 0.5, 0}, [MC_BINARY_DIV] = {"div", 0.5, 0},
    [MC_BINARY_POW] = {"pow", 2, 0},   [MC_BINARY_MIN] = {"min", 0, 0},
    [MC_BINARY_MAX] = {"max", 0, 0},   [MC_BINARY_PRELU] = {"prelu", 0.5, 0},
    [MC_BINARY_MOD] = {"mod", 0.5, 0}, [MC_BINARY_FMOD] = {"fmod", 0, 0},
};

/* Dense strides of one operand, 0 where it repeats: per dimension, or everywhere. */
static int64_t draw_strides(struct check *c, int rank, const int64_t *dim, int64_t *stride)
{
    int64_t count = 1;
    bool scalar = check_below(c, 5) == 0;
    for (int d = rank - 1; d >= 0; d--) {
        bool repeat = scalar || check_below(c, 4) == 0;
        stride[d] = repeat ? 0 : count;
        count *= repeat ? 1 : dim[d];
    }
    return count;
}

static void test_binary(struct check *c)
{
    struct mc_binary b = {.fn = check_below(c, MC_BINARY_COUNT),
                          .rank = 1 + (int)check_below(c, 4)};
    const struct fn_row *row = &binary_fns[b.fn];
    int64_t n = 1, count[2];
    bool large = check_below(c, 10) == 0;
    for (int d = 0; d < b.rank; d++) {
        b.dim[d] = d == b.rank - 1 ? check_size(c, 16, large ? 20000 : 70) : 1 + check_below(c, 6);
        n *= b.dim[d];
    }
    for (int i = 0; i < 2; i++)
        count[i] = draw_strides(c, b.rank, b.dim, b.stride[i]);
    float *x = check_floats(c, count[0], true), *y = check_floats(c, count[1], true);
    if (b.fn == MC_BINARY_POW && check_coin(c))
        y[0] = check_coin(c) ? 2 : 3;
    check_describe(c, "%s of rank %d, %d elements", row->name, b.rank, (int)n);
    double *want = check_alloc(c, (size_t)n * sizeof *want, sizeof *want);
    struct mc_binary ref = b;
    ref.x = check_widen(c, x, count[0]);
    ref.y = check_widen(c, y, count[1]);
    ref.z = want;
    c->ref->elementwise.binary(&ref, c->pool[0]);
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *z = check_alloc(c, (size_t)n * sizeof *z, sizeof *z);
        b.x = count[0] == n && p == 1 ? memcpy(z, x, (size_t)n * sizeof *z) : x;
        b.y = count[1] == n && p == 2 ? memcpy(z, y, (size_t)n * sizeof *z) : y;
        b.z = z;
        c->k->elementwise.binary(&b, c->pool[p]);
        if (first)
            check_same(c, "another number of threads, or in place,", z, first,
                       (size_t)n * sizeof *z);
        else
            compare(c, row->name, z, want, row->ulp, 0, n);
        first = z;
    }
}

/* Functions without jumps and poles, so that an error stays the size it was made: products of few terms. */
static const struct mc_chain_op smooth[] = {
    {true, MC_BINARY_ADD, 0, 0, 0, 0},
    {true, MC_BINARY_SUB, 0, 0, 0, 0},
    {true, MC_BINARY_MIN, 0, 0, 0, 0},
    {true, MC_BINARY_MAX, 0, 0, 0, 0},
    {false, MC_UNARY_TANH, 0, 0, 0, 0},
    {false, MC_UNARY_SIGMOID, 0, 0, 0, 0},
    {false, MC_UNARY_CLAMP, -1, 0.5, 0, 0},
    {false, MC_UNARY_ABS, 0, 0, 0, 0},
    {false, MC_UNARY_HARDSIGMOID, 0.2, 0.5, 0, 0},
};

/* Ops of random operands: earlier results mostly, and inputs; a unary one reads input 0 or a result. */
static void draw_ops(struct check *c, struct mc_chain *m)
{
    for (int i = 0; i < m->n_ops; i++) {
        struct mc_chain_op *op = &m->op[i];
        *op = smooth[check_below(c, sizeof smooth / sizeof *smooth)];
        bool result = i > 0 && check_below(c, 4) > 0;
        op->x = result ? MC_CHAIN_INPUTS + (int)check_below(c, (uint32_t)i) : 0;
        op->y = op->x;
        if (op->binary && check_coin(c))
            op->y = (int)check_below(c, (uint32_t)m->n_in);
        else if (op->binary && i > 0)
            op->y = MC_CHAIN_INPUTS + (int)check_below(c, (uint32_t)i);
        if (op->binary && check_coin(c)) {
            int x = op->x;
            op->x = op->y;
            op->y = x;
        }
    }
    if (m->n_in > 2 && check_below(c, 4) == 0) /* a square, told by its exponent */
        m->op[0] = (struct mc_chain_op){true, MC_BINARY_POW, 0, 0, 0, 1};
}

static void test_chain(struct check *c)
{
    struct mc_chain m = {.rank = 1 + (int)check_below(c, 4),
                         .n_in = 1 + (int)check_below(c, MC_CHAIN_INPUTS),
                         .n_ops = 1 + (int)check_below(c, MC_CHAIN_OPS)};
    int64_t n = 1;
    const float *in[MC_CHAIN_INPUTS];
    bool large = check_below(c, 10) == 0;
    for (int d = 0; d < m.rank; d++) {
        m.dim[d] = d == m.rank - 1 ? check_size(c, 16, large ? 9000 : 300) : 1 + check_below(c, 9);
        n *= m.dim[d];
    }
    check_describe(c, "%d ops of %d inputs, rank %d, %d elements", m.n_ops, m.n_in, m.rank, (int)n);
    draw_ops(c, &m);
    struct mc_chain ref = m;
    for (int i = 0; i < m.n_in; i++) {
        int64_t count = draw_strides(c, m.rank, m.dim, m.stride[i]), dense = 1;
        for (int d = m.rank - 1; d >= 0 && (i == 0 || (i == 1 && m.op[0].fn == MC_BINARY_POW));
             d--) {
            m.stride[i][d] = i == 0 ? dense : 0;
            count = i == 0 ? dense * m.dim[d] : 1;
            dense *= m.dim[d];
        }
        float *x = check_floats(c, count, false);
        if (m.op[0].binary && m.op[0].fn == MC_BINARY_POW && i == 1)
            *x = 2;
        in[i] = x;
        memcpy(ref.stride[i], m.stride[i], sizeof ref.stride[i]);
        ref.in[i] = check_widen(c, x, count);
    }
    double *want = check_alloc(c, (size_t)n * sizeof *want, sizeof *want);
    ref.z = want;
    c->ref->elementwise.chain(&ref, c->pool[0]);
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *z = check_alloc(c, (size_t)n * sizeof *z, sizeof *z);
        memcpy(m.in, in, sizeof m.in);
        if (p) /* in place from the second on */
            m.in[0] = memcpy(z, in[0], (size_t)n * sizeof *z);
        m.z = z;
        c->k->elementwise.chain(&m, c->pool[p]);
        if (first)
            check_same(c, "another number of threads, or in place,", z, first,
                       (size_t)n * sizeof *z);
        else /* sums double an error at most, and twelve of them a result */
            check_close(c, "chain", z, want, NULL, 1e-4, 1e-4, n);
        first = z;
    }
}

static void test(struct check *c)
{
    if (check_below(c, 4) == 0)
        test_chain(c);
    else if (check_below(c, 3) == 0)
        test_unary_grad(c);
    else if (check_below(c, 3))
        test_unary(c);
    else
        test_binary(c);
}

static void run_unary(void *ctx)
{
    const struct check *c = ((void **)ctx)[0];
    c->k->elementwise.unary(((void **)ctx)[1], NULL);
}

static void run_unary_grad(void *ctx)
{
    const struct check *c = ((void **)ctx)[0];
    c->k->elementwise.unary_grad(((void **)ctx)[1], NULL);
}

static void run_binary(void *ctx)
{
    const struct check *c = ((void **)ctx)[0];
    c->k->elementwise.binary(((void **)ctx)[1], NULL);
}

static void bench(struct check *c)
{
    static const enum mc_unary_fn fns[] = {MC_UNARY_CLAMP,   MC_UNARY_EXP,  MC_UNARY_LOG,
                                           MC_UNARY_SIGMOID, MC_UNARY_TANH, MC_UNARY_GELU};
    enum { N = 1 << 20 };
    float *x = check_floats(c, N, false), *z = check_alloc(c, N * sizeof *z, MC_ALIGN);
    for (size_t i = 0; i < sizeof fns / sizeof fns[0]; i++) {
        struct mc_unary u = {fns[i], 0, INFINITY, N, x, z};
        void *job[] = {c, &u};
        struct bench b = {.bytes = 2.0 * N * sizeof *x, .fn = run_unary, .ctx = job};
        bench_line(&b, "%s %s", unary_fns[fns[i]].name, c->k->name);
    }
    for (size_t i = 0; i < sizeof fns / sizeof fns[0]; i++) {
        struct mc_unary_grad u = {fns[i], 0, INFINITY, N, x, x, z};
        void *job[] = {c, &u};
        struct bench b = {.bytes = 3.0 * N * sizeof *x, .fn = run_unary_grad, .ctx = job};
        bench_line(&b, "derivative of %s %s", unary_fns[fns[i]].name, c->k->name);
    }
    struct mc_binary add = {.fn = MC_BINARY_ADD,
                            .rank = 2,
                            .dim = {N / 64, 64},
                            .stride = {{64, 1}, {0, 1}},
                            .x = x,
                            .y = x,
                            .z = z};
    void *job[] = {c, &add};
    struct bench b = {.bytes = 2.0 * N * sizeof *x, .fn = run_binary, .ctx = job};
    bench_line(&b, "add a row of 64 %s", c->k->name);
}

const struct check_row check_elementwise = {"elementwise", 3000, test, bench};
