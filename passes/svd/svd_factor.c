#include "passes/svd/svd_factor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Singular values of the randomised SVD are right to 1 %. Up to an 8th of the directions of sides above 512 that is
 * faster than sgesdd, whatever the values (tests/bench/README.md). */
static const double TOLERANCE = 0.01;
enum { MOST_ITERATIONS = 16, EXACT_UP_TO = 512, RANDOM_PART = 8 };

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int no_memory(const struct mc_layer *l, struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the %lld x %lld weight '%s'", (long long)l->m,
                   (long long)l->n, l->value->name);
}

static float *floats(int64_t rows, int64_t cols)
{
    size_t n, bytes;
    if (!mc_size_mul((size_t)rows, (size_t)cols, &n) || !mc_size_mul(n, sizeof(float), &bytes))
        return NULL;
    return mc_alloc_aligned(bytes);
}

/* Lᵀ W K in a new matrix. */
static int weigh(struct mc_linalg *la, const struct mc_layer *l, const struct mc_svd_norm *norm,
                 float **ret, struct mc_err *err)
{
    int64_t m = l->m, n = l->n;
    float *w;
    int rc = mc_layer_read(l, &w, err);
    if (rc)
        return rc;
    for (int64_t i = 0; norm->in_diagonal && i < m; i++)
        for (int64_t j = 0; j < n; j++)
            w[i * n + j] *= norm->in_diagonal[j];
    for (int side = 0; !rc && side < 2; side++) {
        const float *k = side == 0 ? norm->in : norm->out;
        if (!k)
            continue;
        float *x = floats(m, n);
        if (!x)
            rc = no_memory(l, err);
        else if (side == 0)
            rc = mc_linalg_gemm(la, 'n', 'n', m, n, n, 1, w, n, k, n, 0, x, n, err);
        else
            rc = mc_linalg_gemm(la, 't', 'n', m, n, m, 1, k, m, w, n, 0, x, n, err);
        free(w);
        w = x;
    }
    if (rc)
        free(w);
    else
        *ret = w;
    return rc;
}

static double sum_of_squares(const float *x, int64_t rows, int64_t cols)
{
    double sum = 0;
    for (int64_t i = 0; i < rows; i++) {
        double row = 0;
        for (int64_t j = 0; j < cols; j++)
            row += (double)x[i * cols + j] * x[i * cols + j];
        sum += row;
    }
    return sum;
}

/* ---- directions ---- */

static int keep_directions(struct mc_linalg *la, const struct mc_layer *l,
                           const struct mc_svd_norm *norm, const float *u, int64_t ldu,
                           struct mc_spill *spill, struct mc_svd_spectrum *s, struct mc_err *err)
{
    int64_t m = l->m, k = s->known;
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){m, k});
    void *out, *in;
    int rc = mc_tensor_new(MC_DTYPE_F32, &shape, spill, &s->out, &out, err);
    if (rc)
        return rc;
    for (int64_t i = 0; i < m; i++)
        memcpy((float *)out + i * k, u + i * ldu, (size_t)k * sizeof(float));
    if (!norm->out) {
        s->in = mc_tensor_ref(s->out);
        return 0;
    }
    rc = mc_tensor_new(MC_DTYPE_F32, &shape, spill, &s->in, &in, err);
    if (!rc)
        rc = mc_linalg_gemm(la, 'n', 'n', m, k, m, 1, norm->out, m, u, ldu, 0, in, k, err);
    return rc ? rc : mc_linalg_trsm(la, 'l', 't', k, m, norm->out, m, out, k, err);
}

/* What is left at each rank: summed from the small end, since a sum of the large values would swallow the
 * small ones. Of the `more` values beyond those computed only the Frobenius norm tells. */
static int set_tail(const struct mc_layer *l, const float *value, int64_t n, double more,
                    struct mc_svd_spectrum *s, struct mc_err *err)
{
    double *t = mc_calloc((size_t)n + 1, sizeof *t);
    if (!t)
        return no_memory(l, err);
    t[n] = more;
    for (int64_t i = n; i > 0; i--)
        t[i - 1] = t[i] + (double)value[i - 1] * value[i - 1];
    s->total = t[0];
    for (int64_t i = 0; i <= n; i++)
        t[i] = s->total > 0 ? t[i] / s->total : 0;
    s->tail = t;
    return 0;
}

struct triples { /* the first r singular values and vectors of x [m,n] */
    int64_t r;
    float *u, *vt, *value;
};

static void free_triples(struct triples *t)
{
    free(t->u);
    free(t->vt);
    free(t->value);
    *t = (struct triples){0};
}

/* Randomised; *ret_good says whether to the tolerance. */
static int some_triples(struct mc_linalg *la, const struct mc_layer *l, const float *x,
                        uint64_t seed, struct triples *t, bool *ret_good, struct mc_err *err)
{
    int64_t m = l->m, n = l->n, r = t->r;
    double off = 0;
    int rc = mc_linalg_rsvd_to(la, m, n, r, TOLERANCE, MOST_ITERATIONS, seed, x, n, t->u, r,
                               t->value, t->vt, n, &off, err);
    *ret_good = off <= TOLERANCE;
    return rc;
}

static int new_triples(const struct mc_layer *l, int64_t r, struct triples *t, struct mc_err *err)
{
    free_triples(t);
    *t = (struct triples){r, floats(l->m, r), floats(r, l->n), floats(r, 1)};
    return t->u && t->vt && t->value ? 0 : no_memory(l, err);
}

/* x [m,n] is destroyed by the exact one, and freed. s->known: how many are wanted, and then how many there are. */
static int decompose(struct mc_linalg *la, const struct mc_layer *l, const struct mc_svd_norm *norm,
                     enum mc_svd_method method, uint64_t seed, float *x, struct mc_spill *spill,
                     struct mc_svd_spectrum *s, struct mc_err *err)
{
    int64_t m = l->m, n = l->n, side = min64(m, n);
    double more = 0;
    struct triples t = {0};
    bool good = false;
    int rc = 0;
    if (method != MC_SVD_EXACT) {
        double frobenius = sum_of_squares(x, m, n);
        rc = new_triples(l, s->known, &t, err);
        if (!rc)
            rc = some_triples(la, l, x, seed, &t, &good, err);
        good = good || method == MC_SVD_RANDOM;
        if (!rc && good)
            more = fmax(0, frobenius - sum_of_squares(t.value, 1, t.r));
    }
    if (!rc && !good) {
        s->known = min64(mc_layer_rank_cap(l), side);
        rc = new_triples(l, side, &t, err);
        if (!rc)
            rc = mc_linalg_svd(la, m, n, x, n, t.u, side, t.value, t.vt, n, err);
    }
    free(x);
    if (!rc)
        rc = set_tail(l, t.value, t.r, more, s, err);
    if (!rc)
        rc = keep_directions(la, l, norm, t.u, t.r, spill, s, err);
    free_triples(&t);
    return rc;
}

int mc_svd_analyse(struct mc_linalg *la, const struct mc_layer *l, const struct mc_svd_norm *norm,
                   enum mc_svd_method method, int64_t want, uint64_t seed, struct mc_spill *spill,
                   struct mc_svd_spectrum *ret, struct mc_err *err)
{
    int64_t side = min64(l->m, l->n), cap = min64(mc_layer_rank_cap(l), side);
    if (method == MC_SVD_AUTO && (side <= EXACT_UP_TO || want > side / RANDOM_PART))
        method = MC_SVD_EXACT;
    struct mc_svd_spectrum s = {.known = min64(want, cap)};
    float *x;
    int rc = weigh(la, l, norm, &x, err);
    if (rc)
        return rc;
    rc = decompose(la, l, norm, method, seed, x, spill, &s, err);
    if (rc) {
        mc_svd_spectrum_free(&s);
        return rc;
    }
    mc_svd_spectrum_free(ret);
    *ret = s;
    return 0;
}

int mc_svd_whole_error(struct mc_linalg *la, const struct mc_layer *l,
                       const struct mc_svd_norm *norm, double *ret, struct mc_err *err)
{
    float *x;
    int rc = weigh(la, l, norm, &x, err);
    if (rc)
        return rc;
    *ret = sum_of_squares(x, l->m, l->n);
    free(x);
    return 0;
}

void mc_svd_spectrum_free(struct mc_svd_spectrum *s)
{
    free(s->tail);
    mc_tensor_unref(s->out);
    mc_tensor_unref(s->in);
    *s = (struct mc_svd_spectrum){0};
}

/* ---- factors ---- */

static void balance(float *a, float *b, int64_t m, int64_t n, int64_t r)
{
    for (int64_t k = 0; k < r; k++) {
        double na = 0, nb = sum_of_squares(b + k * n, 1, n);
        for (int64_t i = 0; i < m; i++)
            na += (double)a[i * r + k] * a[i * r + k];
        float d = na > 0 && nb > 0 ? (float)sqrt(sqrt(nb / na)) : 1;
        for (int64_t i = 0; i < m; i++)
            a[i * r + k] *= d;
        for (int64_t j = 0; j < n; j++)
            b[k * n + j] /= d;
    }
}

static double dot(const float *x, const float *y, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += (double)x[i] * y[i];
    return s;
}

/* (W - A B) mean */
static int mean_error(const struct mc_layer *l, const float *w, int64_t r,
                      const struct mc_svd_pair *p, const float *mean, float **ret,
                      struct mc_err *err)
{
    float *bx = floats(r, 1), *d = floats(l->m, 1);
    if (!bx || !d) {
        free(bx);
        free(d);
        return no_memory(l, err);
    }
    for (int64_t k = 0; k < r; k++)
        bx[k] = (float)dot(p->b + k * l->n, mean, l->n);
    for (int64_t i = 0; i < l->m; i++)
        d[i] = (float)(dot(w + i * l->n, mean, l->n) - dot(p->a + i * r, bx, r));
    free(bx);
    *ret = d;
    return 0;
}

int mc_svd_pair(struct mc_linalg *la, const struct mc_layer *l, const struct mc_svd_spectrum *s,
                int64_t rank, const float *const *mean, struct mc_svd_pair *ret, struct mc_err *err)
{
    int64_t m = l->m, n = l->n;
    struct mc_svd_pair p = {.n_shift = l->n_sites};
    float *w;
    int rc = mc_layer_read(l, &w, err);
    if (rc)
        return rc;
    p.a = floats(m, rank);
    p.b = floats(rank, n);
    p.shift = mc_calloc(l->n_sites, sizeof *p.shift);
    if (!p.a || !p.b || !p.shift)
        rc = no_memory(l, err);
    const float *out = rc ? NULL : mc_storage_data(s->out->storage);
    const float *in = rc ? NULL : mc_storage_data(s->in->storage);
    for (int64_t i = 0; !rc && i < m; i++)
        memcpy(p.a + i * rank, out + i * s->known, (size_t)rank * sizeof *p.a);
    if (!rc)
        rc = mc_linalg_gemm(la, 't', 'n', rank, n, m, 1, in, s->known, w, n, 0, p.b, n, err);
    if (!rc)
        balance(p.a, p.b, m, n, rank);
    for (size_t i = 0; !rc && mean && i < l->n_sites; i++)
        if (mean[i])
            rc = mean_error(l, w, rank, &p, mean[i], &p.shift[i], err);
    free(w);
    if (rc)
        mc_svd_pair_free(&p);
    else
        *ret = p;
    return rc;
}

void mc_svd_pair_free(struct mc_svd_pair *p)
{
    for (size_t i = 0; p->shift && i < p->n_shift; i++)
        free(p->shift[i]);
    free(p->shift);
    free(p->a);
    free(p->b);
    *p = (struct mc_svd_pair){0};
}
