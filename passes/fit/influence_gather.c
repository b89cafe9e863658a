#include "passes/fit/influence_gather.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 512 };                              /* rows that are added at once */
enum { ROWS_PER_DIM = 32, ROWS_AT_LEAST = 32768 }; /* see mc_cov_gather */
enum { MATRIX_UP_TO = 8192 }; /* its Cholesky factor takes seconds from there on */

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the influence of layers");
}

int mc_influence_gather_open(struct mc_influence_gather *g, struct mc_err *err)
{
    g->sum = mc_calloc(g->n, sizeof *g->sum);
    g->rc = mc_calloc(g->n, sizeof *g->rc);
    g->errs = mc_calloc(g->n, sizeof *g->errs);
    return g->sum && g->rc && g->errs ? 0 : no_memory(err);
}

void mc_influence_gather_close(struct mc_influence_gather *g)
{
    free(g->sum);
    free(g->rc);
    free(g->errs);
    g->sum = NULL;
    g->rc = NULL;
    g->errs = NULL;
}

void mc_influence_finish(struct mc_influence *inf, double sum)
{
    int64_t m = inf->m;
    double n = (double)inf->samples, trace = sum;
    float *c = inf->cost ? mc_storage_data(inf->cost->storage) : NULL;
    for (int64_t i = 0; c && i < m; i++) {
        trace += c[i * m + i];
        for (int64_t j = 0; j <= i; j++)
            c[i * m + j] = (float)(c[i * m + j] / n);
    }
    inf->mean = trace / n / (double)m;
}

struct rows { /* of a gradient: element (o, channel, i) */
    const float *x;
    int64_t m, inner, each, take, all;
    float scale;
};

static void get_row(const struct rows *r, int64_t at, float *dst)
{
    const float *x = r->x + at / r->inner * r->m * r->inner + at % r->inner;
    for (int64_t c = 0; c < r->m; c++)
        dst[c] = r->scale * x[c * r->inner];
}

/* Row j of the `take` that sample s gives: evenly spread, starting elsewhere in each. */
static int64_t spread(const struct rows *r, int64_t j, int64_t s)
{
    enum { STEP = 7919 }; /* a prime: in step with no image size */
    return r->take == r->each ? j : (j * r->each / r->take + s * STEP) % r->each;
}

static int add_matrix(struct mc_influence_gather *g, struct mc_influence *inf, const struct rows *r,
                      struct mc_err *err)
{
    int64_t m = r->m;
    float *cost = mc_storage_data(inf->cost->storage);
    if (r->inner == 1 && r->take == r->each)
        return mc_linalg_syrk(g->la, m, r->all, 1, r->x, m, 1, cost, m, err);
    float *x = mc_calloc((size_t)(r->all < BLOCK ? r->all : BLOCK), (size_t)m * sizeof *x);
    int rc = x ? 0 : no_memory(err);
    for (int64_t i = 0; !rc && i < r->all; i += BLOCK) {
        int64_t k = r->all - i < BLOCK ? r->all - i : BLOCK;
        for (int64_t j = 0; j < k; j++) {
            int64_t s = (i + j) / r->take;
            get_row(r, s * r->each + spread(r, (i + j) % r->take, g->first + s), x + j * m);
        }
        rc = mc_linalg_syrk(g->la, m, k, 1, x, m, 1, cost, m, err);
    }
    free(x);
    return rc;
}

static double sum_of_squares(const struct mc_array *a)
{
    int64_t n = mc_shape_count(&a->shape);
    const float *x = a->data;
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sum;
}

static int prepare(struct mc_influence_gather *g, struct mc_influence *inf, struct mc_err *err)
{
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){inf->m, inf->m});
    if (inf->cost || inf->m > MATRIX_UP_TO)
        return 0;
    return mc_tensor_new(MC_DTYPE_F32, &shape, g->opts->spill, &inf->cost, NULL, err);
}

static int add(struct mc_influence_gather *g, size_t i, const struct mc_array *a,
               struct mc_err *err)
{
    struct mc_influence *inf = &g->inf[i];
    int64_t count = mc_shape_count(&a->shape), most = ROWS_PER_DIM * inf->m;
    if (a->dtype != MC_DTYPE_F32)
        return mc_fail(err, MC_EUNSUP, "'%s' is not computed in float32", inf->y->name);
    struct rows r = {.x = a->data, .m = inf->m, .inner = 1, .scale = 1};
    if (inf->axis >= 0)
        r.inner = mc_shape_span(&a->shape, inf->axis + 1, a->shape.rank);
    if (count == 0)
        return mc_fail(err, MC_EDATA, "'%s' is empty", inf->y->name);
    r.all = count / r.m;
    r.each = r.all % g->samples == 0 ? r.all / g->samples : r.all;
    int64_t per = (most > ROWS_AT_LEAST ? most : ROWS_AT_LEAST) / g->runs + 1;
    r.take = r.each < per ? r.each : per;
    r.all = r.all / r.each * r.take;
    r.scale = sqrtf((float)r.each / (float)r.take);
    int rc = prepare(g, inf, err);
    if (!rc && inf->cost)
        return add_matrix(g, inf, &r, err);
    g->sum[i] += sum_of_squares(a);
    return rc || isfinite(g->sum[i]) ? rc : mc_fail(err, MC_EDATA, "it is NaN or infinite");
}

static void one(void *ctx, int64_t i, int worker)
{
    (void)worker;
    struct mc_influence_gather *g = ctx;
    for (int c = 0; c < g->copies && !g->rc[i]; c++) {
        int at = g->grad_of[(size_t)c * g->n + (size_t)i];
        if (at >= 0)
            g->rc[i] = add(g, (size_t)i, g->grads[at], &g->errs[i]);
    }
}

int mc_influence_gather_add(struct mc_influence_gather *g, const struct mc_array *const *grads,
                            const int *grad_of, int copies, int64_t first, int64_t samples,
                            struct mc_err *err)
{
    g->grads = grads;
    g->grad_of = grad_of;
    g->copies = copies;
    g->first = first;
    g->samples = samples;
    mc_pool_run(g->opts->pool, (int64_t)g->n, one, g);
    for (size_t i = 0; i < g->n; i++)
        if (g->rc[i])
            return mc_fail(err, g->rc[i], "influence of '%s' on the outputs: %s", g->inf[i].y->name,
                           g->errs[i].msg);
    return 0;
}
