#include "rule_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "graph/grad/backward.h"
#include "graph/run/session.h"
#include "graph/verify.h"
#include "tests/graph/build.h"
#include "tests/grad/node_case.h"

enum { MOST = 256 }; /* elements of an input that are moved */

struct check {
    struct case_data d;
    struct mc_array dy[CASE_OUTPUTS], dy64[CASE_OUTPUTS]; /* gradients given; data NULL: none */
    double *slope[CASE_INPUTS];                           /* by differences, of elements at[][] */
    int64_t *at[CASE_INPUTS], n_at[CASE_INPUTS];
    double *exact[CASE_INPUTS]; /* gradients of the float64 run */
    char line[1400];
};

uint64_t grad_seed(void)
{
    const char *text = getenv("MCOMPRESS_SEED");
    return text ? strtoull(text, NULL, 10) : 1;
}

static uint64_t mix(const char *text, uint64_t h) /* FNV-1a */
{
    for (; text && *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211U;
    return h;
}

static void describe(struct check *k, uint64_t seed)
{
    const struct grad_case *c = k->d.c;
    int at = snprintf(k->line, sizeof k->line, "%s-%d %s | %s |", c->op, c->version,
                      c->attrs ? c->attrs : "", c->inputs);
    for (int i = 0; i < k->d.n_in && at < (int)sizeof k->line; i++) {
        char text[MC_SHAPE_TEXT];
        at += snprintf(k->line + at, sizeof k->line - (size_t)at, " %s",
                       mc_shape_text(&k->d.in[i].shape, text));
    }
    if (at < (int)sizeof k->line)
        snprintf(k->line + at, sizeof k->line - (size_t)at, " MCOMPRESS_SEED=%llu",
                 (unsigned long long)seed);
}

#define CHECK(k, truth, ...)                                                                       \
    do {                                                                                           \
        if (!(truth)) {                                                                            \
            print_error(__VA_ARGS__);                                                              \
            fail_msg(" in %s", (k)->line);                                                         \
        }                                                                                          \
    } while (0)
#define OK(k, call, err) CHECK(k, !(call), "%s\n", (err).msg)

/* ---- differences ---- */

/* What is fed: all inputs that are no constants of the graph. */
static int feed(const struct check *k, const struct case_graph *g, bool wide, struct mc_array *ret)
{
    int n = 0;
    for (int i = 0; i < k->d.n_in; i++)
        if (g->in[i] && g->in[i]->is_input) {
            ret[n] = wide ? k->d.in[i].f64 : k->d.in[i].f32;
            ret[n++].name = g->in[i]->name;
        }
    return n;
}

static void given(struct check *k, int i, const struct mc_array *y)
{
    int64_t n = mc_shape_count(&y->shape);
    struct mc_array *a = &k->dy[i], *b = &k->dy64[i];
    *b = (struct mc_array){.dtype = MC_DTYPE_F64, .shape = y->shape, .bytes = (size_t)n * 8};
    *a = (struct mc_array){.dtype = MC_DTYPE_F32, .shape = y->shape, .bytes = (size_t)n * 4};
    a->data = mc_alloc_aligned(a->bytes);
    b->data = mc_alloc_aligned(b->bytes);
    assert_true(a->data && b->data);
    for (int64_t j = 0; j < n; j++) {
        float x = mc_rng_normal(k->d.seed, 300 + (uint64_t)i, (uint64_t)j);
        ((float *)a->data)[j] = x;
        ((double *)b->data)[j] = (double)x;
    }
}

/* Sum of outputs times what is given. */
static double objective(const struct check *k, const struct case_graph *g, struct mc_session *s,
                        const struct mc_array *in, int n_in)
{
    struct mc_err err = {0};
    double sum = 0;
    OK(k, mc_session_run(s, in, n_in, &err), err);
    for (int i = 0; i < CASE_OUTPUTS; i++) {
        if (!k->dy64[i].data)
            continue;
        const struct mc_array *y = mc_session_value(s, g->out[i]->name);
        for (int64_t j = 0; j < mc_shape_count(&y->shape); j++)
            sum += ((const double *)y->data)[j] * ((const double *)k->dy64[i].data)[j];
    }
    return sum;
}

static void differences(struct check *k)
{
    struct case_graph g;
    struct mc_session *s;
    struct mc_session_opts o = {.precision = MC_PRECISION_F64};
    struct mc_array in[CASE_INPUTS];
    struct mc_err err = {0};
    double step = k->d.c->step != 0 ? k->d.c->step : 1e-5;
    case_build(&k->d, true, false, &g);
    OK(k, mc_session_new(g.m->graph, &o, &s, &err), err);
    int n = feed(k, &g, true, in);
    OK(k, mc_session_run(s, in, n, &err), err);
    for (int i = 0; i < CASE_OUTPUTS; i++)
        if (g.out[i] && !(k->d.c->unasked >> i & 1)) {
            const struct mc_array *y = mc_session_value(s, g.out[i]->name);
            CHECK(k, y && y->dtype == MC_DTYPE_F64, "output %d is no float\n", i);
            given(k, i, y);
        }
    for (int i = 0; i < k->d.n_in; i++) {
        const struct case_input *x = &k->d.in[i];
        if (x->absent || !x->checked)
            continue;
        int64_t count = mc_shape_count(&x->shape), m = count < MOST ? count : MOST;
        k->at[i] = calloc((size_t)count + 1, sizeof *k->at[i]);
        k->slope[i] = calloc((size_t)m + 1, sizeof *k->slope[i]);
        assert_true(k->at[i] && k->slope[i]);
        mc_rng_permute(k->d.seed, 400 + (uint64_t)i, k->at[i], count);
        k->n_at[i] = m;
        for (int64_t j = 0; j < m; j++) {
            double *e = (double *)x->f64.data + k->at[i][j], old = *e;
            *e = old + step;
            double above = objective(k, &g, s, in, n);
            *e = old - step;
            k->slope[i][j] = (above - objective(k, &g, s, in, n)) / (2 * step);
            *e = old;
        }
    }
    mc_session_free(s);
    mc_model_free(g.m);
}

/* ---- gradients ---- */

struct made { /* a graph with gradients */
    struct case_graph g;
    struct mc_value *d_out[CASE_OUTPUTS], *d_in[CASE_INPUTS];
};

/* rc of mc_backward; names are kept apart by Identity nodes, since two gradients may be one value. */
static int make(const struct check *k, bool symbol, unsigned unasked, struct made *ret,
                const char **why, struct mc_err *err)
{
    struct mc_value *from[CASE_OUTPUTS], *d_from[CASE_OUTPUTS], *wrt[CASE_INPUTS];
    struct mc_value *grad[CASE_INPUTS];
    const char *reason[CASE_INPUTS];
    int of[CASE_INPUTS];
    size_t n_from = 0, n = 0;
    *ret = (struct made){0};
    case_build(&k->d, false, symbol, &ret->g);
    struct mc_graph *g = ret->g.m->graph;
    for (int i = 0; i < CASE_OUTPUTS; i++)
        if (ret->g.out[i] && !(unasked >> i & 1)) {
            char name[16];
            snprintf(name, sizeof name, "dy%d", i);
            ret->d_out[i] = build_input(g, name, MC_DTYPE_F32, -1, NULL);
            from[n_from] = ret->g.out[i];
            d_from[n_from++] = ret->d_out[i];
        }
    for (int i = 0; i < k->d.n_in; i++)
        if (ret->g.in[i] && k->d.in[i].checked) {
            of[n] = i;
            wrt[n++] = ret->g.in[i];
        }
    struct mc_backward_opts o = {.from = from, .d_from = d_from, .n_from = n_from};
    int rc = mc_backward(g, NULL, wrt, n, &o, grad, reason, err);
    *why = NULL;
    for (size_t i = 0; !rc && i < n; i++) {
        if (!grad[i])
            *why = reason[i];
        else
            build_output(g, ret->d_in[of[i]] = build_unary(g, "Identity", "d_in", grad[i]));
    }
    return rc;
}

/* ||a - b|| and ||b|| over the elements that were moved. */
static void compare(const struct check *k, int i, const char *what, const struct mc_array *got,
                    const double *want, bool all, double tol, double floor)
{
    const struct case_input *x = &k->d.in[i];
    char a[MC_SHAPE_TEXT], b[MC_SHAPE_TEXT];
    CHECK(k, got && mc_shape_equal(&got->shape, &x->shape),
          "%s: gradient of input %d is %s, not %s\n", what, i,
          got ? mc_shape_text(&got->shape, a) : "not there", mc_shape_text(&x->shape, b));
    int64_t n = all ? mc_shape_count(&x->shape) : k->n_at[i];
    double error = 0, norm = 0;
    for (int64_t j = 0; j < n; j++) {
        int64_t at = all ? j : k->at[i][j];
        double v = got->dtype == MC_DTYPE_F64 ? ((const double *)got->data)[at]
                                              : (double)((const float *)got->data)[at];
        double w = want[j];
        error += (v - w) * (v - w);
        norm += w * w;
    }
    error = sqrt(error);
    norm = sqrt(norm);
    CHECK(k, k->d.c->is_zero || n == 0 || norm > 1e-8,
          "%s: the gradient of input %d is zero: nothing is checked\n", what, i);
    CHECK(k, error <= tol * norm + floor * sqrt((double)n),
          "%s: gradient of input %d differs by %.3g of %.3g\n", what, i, error, norm);
}

static struct mc_session *run(struct check *k, const struct made *m, enum mc_precision p,
                              struct mc_pool *pool)
{
    struct mc_session *s;
    struct mc_session_opts o = {.precision = p, .pool = pool};
    struct mc_array in[CASE_INPUTS + CASE_OUTPUTS];
    struct mc_err err = {0};
    bool wide = p == MC_PRECISION_F64;
    int n = feed(k, &m->g, wide, in);
    for (int i = 0; i < CASE_OUTPUTS; i++)
        if (m->d_out[i]) {
            in[n] = wide ? k->dy64[i] : k->dy[i];
            in[n++].name = m->d_out[i]->name;
        }
    OK(k, mc_session_new(m->g.m->graph, &o, &s, &err), err);
    OK(k, mc_session_run(s, in, n, &err), err);
    return s;
}

static void same_bits(const struct check *k, const struct made *m, struct mc_session *one,
                      struct mc_session *three)
{
    for (int i = 0; i < k->d.n_in; i++) {
        if (!m->d_in[i])
            continue;
        const struct mc_array *a = mc_session_value(one, m->d_in[i]->name),
                              *b = mc_session_value(three, m->d_in[i]->name);
        CHECK(k, a->bytes == b->bytes && (!a->bytes || !memcmp(a->data, b->data, a->bytes)),
              "gradient of input %d is not the same with 3 threads\n", i);
    }
}

static void gradients(struct check *k, bool symbol)
{
    struct made m;
    struct mc_err err = {0};
    struct mc_pool *pool;
    const char *why, *what = symbol ? "first dimension open" : "shapes known";
    double tol64 = k->d.c->tol_f64 != 0 ? k->d.c->tol_f64 : 1e-6;
    double tol32 = k->d.c->tol_f32 != 0 ? k->d.c->tol_f32 : 1e-4;
    OK(k, make(k, symbol, k->d.c->unasked, &m, &why, &err), err);
    CHECK(k, !why, "%s: %s\n", what, why ? why : "");
    OK(k, mc_verify(m.g.m, &err), err);
    struct mc_session *s = run(k, &m, MC_PRECISION_F64, NULL);
    for (int i = 0; i < k->d.n_in; i++) {
        if (!m.d_in[i])
            continue;
        const struct mc_array *d = mc_session_value(s, m.d_in[i]->name);
        compare(k, i, what, d, k->slope[i], false, tol64, 1e-9);
        free(k->exact[i]);
        k->exact[i] = malloc(d->bytes + 1);
        assert_non_null(k->exact[i]);
        if (d->bytes)
            memcpy(k->exact[i], d->data, d->bytes);
    }
    mc_session_free(s);
    s = run(k, &m, MC_PRECISION_MODEL, NULL);
    for (int i = 0; i < k->d.n_in; i++)
        if (m.d_in[i])
            compare(k, i, "float32", mc_session_value(s, m.d_in[i]->name), k->exact[i], true, tol32,
                    1e-6);
    OK(k, mc_pool_new(3, &pool, &err), err);
    struct mc_session *three = run(k, &m, MC_PRECISION_MODEL, pool);
    same_bits(k, &m, s, three);
    mc_session_free(three);
    mc_session_free(s);
    mc_pool_free(pool);
    mc_model_free(m.g.m);
}

static void start(struct check *k, const struct grad_case *c, uint64_t round)
{
    uint64_t seed = grad_seed();
    uint64_t h = mix(c->inputs, mix(c->attrs, mix(c->op, 14695981039346656037U + seed)));
    *k = (struct check){0};
    case_parse(c, h + round, &k->d);
    describe(k, seed);
}

static void finish(struct check *k)
{
    for (int i = 0; i < CASE_INPUTS; i++) {
        free(k->slope[i]);
        free(k->at[i]);
        free(k->exact[i]);
    }
    for (int i = 0; i < CASE_OUTPUTS; i++) {
        free(k->dy[i].data);
        free(k->dy64[i].data);
    }
    case_free(&k->d);
}

void grad_check_case(const struct grad_case *c)
{
    int rounds = c->rounds ? c->rounds : 1;
    for (int i = 0; i < rounds; i++) {
        struct check k;
        start(&k, c, (uint64_t)i);
        if (k.d.drew && !c->rounds)
            rounds = 4;
        differences(&k);
        gradients(&k, false);
        if (!c->is_static)
            gradients(&k, true);
        finish(&k);
    }
}

void grad_check(const char *op, int version, const char *attrs, const char *inputs)
{
    grad_check_case(
        &(struct grad_case){.op = op, .version = version, .attrs = attrs, .inputs = inputs});
}

void grad_check_rows(const struct grad_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        grad_check(rows[i].op, rows[i].version, rows[i].attrs, rows[i].inputs);
}

void grad_check_outputs(const char *op, int version, const char *attrs, const char *inputs,
                        int n_out)
{
    grad_check_case(&(struct grad_case){
        .op = op, .version = version, .attrs = attrs, .inputs = inputs, .n_out = n_out});
}

static void expect_nothing(const char *op, int version, const char *attrs, const char *inputs,
                           const char *words)
{
    struct grad_case c = {.op = op, .version = version, .attrs = attrs, .inputs = inputs};
    struct check k;
    struct made m;
    struct mc_err err = {0};
    const char *why;
    start(&k, &c, 0);
    int rc = make(&k, false, 0, &m, &why, &err);
    CHECK(&k, rc == MC_EUNSUP, "%s\n", rc ? err.msg : "there is a gradient");
    CHECK(&k, strstr(err.msg, words), "not '%s' but: %s\n", words, err.msg);
    mc_model_free(m.g.m);
    finish(&k);
}

void grad_check_refused(const char *op, int version, const char *attrs, const char *inputs,
                        const char *words)
{
    expect_nothing(op, version, attrs, inputs, words);
}

void grad_check_none(const char *op, int version, const char *attrs, const char *inputs)
{
    expect_nothing(op, version, attrs, inputs, "does not depend on it");
}
