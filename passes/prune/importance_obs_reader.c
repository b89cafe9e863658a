#include "passes/prune/importance_obs_reader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

/* More outputs are mixed at random to so many: sums of squares are then right to about 6 %. */
enum { ROWS_UP_TO = 512 };

/* What a folded column's neighbours are to each other: their correlation is taken for this. */
static const double FOLDED = 0.5;

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the importance of units");
}

static float *floats(int64_t rows, int64_t cols)
{
    size_t count;
    return mc_size_mul((size_t)rows, (size_t)cols, &count) ? mc_calloc(count + 1, sizeof(float))
                                                           : NULL;
}

/* ---- one reader: all sites that multiply the same rows ---- */

static int64_t columns(const struct mc_obs_site *s)
{
    return s->n / s->fold;
}

static int64_t rows(const struct mc_obs_site *s)
{
    return s->m * s->fold;
}

/* perm[i]: which column comes i-th, so that those of a unit are neighbours. *ret_any: are there units of the group. */
static int sort_columns(const struct mc_obs_job *j, const struct mc_obs_site *s,
                        const struct mc_coupling_group *g, int64_t *start, int64_t **ret_perm,
                        bool *ret_any, struct mc_err *err)
{
    int64_t n = columns(s);
    int64_t *unit = mc_calloc((size_t)n, sizeof *unit), *perm = mc_calloc((size_t)n, sizeof *perm);
    int64_t *next = mc_calloc((size_t)g->n + 1, sizeof *next);
    if (!unit || !perm || !next) {
        free(unit);
        free(perm);
        free(next);
        return no_memory(err);
    }
    for (int64_t i = 0; i < n; i++) {
        int32_t u = mc_obs_site_unit(j->c, s, g, i);
        unit[i] = u < 0 ? g->n : u - g->first;
        if (u >= 0)
            start[unit[i] + 1]++;
    }
    for (int64_t u = 0; u < g->n; u++)
        start[u + 1] += start[u];
    memcpy(next, start, (size_t)(g->n + 1) * sizeof *next);
    for (int64_t i = 0; i < n; i++)
        perm[next[unit[i]]++] = i;
    *ret_any = start[g->n] > 0;
    *ret_perm = perm;
    free(unit);
    free(next);
    return 0;
}

/* C in the order of perm and scaled to a diagonal of ones, then inverted; scale[i] is the root of what was there. */
static int invert(const struct mc_obs_job *j, const struct mc_obs_site *s, const int64_t *perm,
                  bool about_mean, float *scale, float **ret, struct mc_err *err)
{
    int64_t n = columns(s);
    float *c = NULL, *p = floats(n, n);
    int rc = p ? mc_obs_second(&j->stats, s, about_mean, &c, err) : no_memory(err);
    for (int64_t i = 0; !rc && i < n; i++)
        scale[i] = sqrtf(c[perm[i] * n + perm[i]]);
    for (int64_t i = 0; !rc && i < n; i++)
        for (int64_t k = 0; k <= i; k++) {
            int64_t a = perm[i], b = perm[k];
            p[i * n + k] = (a >= b ? c[a * n + b] : c[b * n + a]) / (scale[i] * scale[k]);
        }
    free(c);
    if (!rc)
        rc = mc_obs_invert(j->la, n, p, err);
    if (rc)
        free(p);
    else
        *ret = p;
    return rc;
}

/* One row of n fold elements to `fold` rows of n: every place in a run for itself, mixed by the root of (1 - f) I + f 1 1ᵀ. */
static void unfold(const float *x, int64_t n, int64_t fold, float *out)
{
    float own = fold > 1 ? (float)sqrt(1 - FOLDED) : 1, all = 0;
    if (fold > 1)
        all = (float)((sqrt(1 - FOLDED + FOLDED * (double)fold) - sqrt(1 - FOLDED)) / (double)fold);
    for (int64_t k = 0; k < n; k++, x += fold) {
        float sum = 0;
        for (int64_t t = 0; t < fold; t++)
            sum += x[t];
        for (int64_t t = 0; t < fold; t++)
            out[t * n + k] = own * x[t] + all * sum;
    }
}

/* k rows of out += Σ ± rows of x, at random: squares of columns stay what they are on the average. `from` counts rows.
 * Source: Achlioptas, Database-friendly Random Projections, 2003. */
static int mix(const struct mc_obs_job *j, const float *x, int64_t rows, int64_t n, int64_t from,
               float *out, struct mc_err *err)
{
    float *sign = floats(ROWS_UP_TO, rows);
    if (!sign)
        return no_memory(err);
    for (int64_t i = 0; i < ROWS_UP_TO; i++)
        for (int64_t k = 0; k < rows; k++) {
            uint64_t at = (uint64_t)((from + k) * ROWS_UP_TO + i);
            sign[i * rows + k] = mc_rng_uniform(j->ctx->seed, 11, at) < 0.5f ? -1 : 1;
        }
    int rc = mc_linalg_gemm(j->la, 'n', 'n', ROWS_UP_TO, n, rows, 1 / sqrtf(ROWS_UP_TO), sign, rows,
                            x, n, 1, out, n, err);
    free(sign);
    return rc;
}

struct rows { /* where those of one site go */
    const int64_t *perm;
    const float *scale;
    bool mixed;
    int64_t from; /* rows before them */
    float *out;   /* [ROWS_UP_TO, n], or all of them */
};

/* Channels [first, first + k) of a site, weighed by what their errors cost. */
static int add_some(const struct mc_obs_job *j, const struct mc_obs_site *s,
                    const struct mc_obs_root *root, const float *w, int64_t first, int64_t k,
                    struct rows *to, struct mc_err *err)
{
    int64_t n = columns(s), cols = s->n * s->repeat, each = s->repeat * s->fold;
    float *weighed = floats(k, cols), *x = floats(k * each, n), *line = floats(s->fold, n);
    int rc = weighed && x && line ? mc_obs_weigh(root, j->la, first, k, cols, w, weighed, err)
                                  : no_memory(err);
    for (int64_t i = 0; !rc && i < k * s->repeat; i++) {
        unfold(weighed + i * s->n, n, s->fold, line);
        for (int64_t t = 0; t < s->fold; t++)
            for (int64_t c = 0; c < n; c++)
                x[(i * s->fold + t) * n + c] = line[t * n + to->perm[c]] * to->scale[c];
    }
    if (!rc && to->mixed)
        rc = mix(j, x, k * each, n, to->from, to->out, err);
    else if (!rc)
        memcpy(to->out + to->from * n, x, (size_t)(k * each * n) * sizeof *x);
    to->from += k * each;
    free(weighed);
    free(x);
    free(line);
    return rc;
}

/* A block of channels at a time: of the weight itself there is one copy. */
static int add_rows(const struct mc_obs_job *j, const struct mc_obs_site *s, struct rows *to,
                    struct mc_err *err)
{
    enum { AT_ONCE = 128 };
    struct mc_obs_root root = {0};
    float *w = NULL;
    int rc = mc_obs_site_weight(s, &w, err);
    if (!rc)
        rc = mc_obs_root(&j->stats, s, j->la, &root, err);
    for (int64_t i = 0; !rc && i < root.m; i += AT_ONCE)
        rc = add_some(j, s, &root, w, i, root.m - i < AT_ONCE ? root.m - i : AT_ONCE, to, err);
    mc_obs_root_free(&root);
    free(w);
    return rc;
}

/* What is fitted when units went: see prune_repair.h. Of cells what they read back: LSTM at keep 0.5, 512 images: KL 0.062 -> 0.050. */
static bool fitted(const struct mc_obs_site *s)
{
    return s->kind != MC_OBS_VALUE && s->kind != MC_OBS_INPUT;
}

static bool together(const struct mc_obs_site *a, const struct mc_obs_site *b)
{
    return a->cov == b->cov && fitted(b);
}

bool mc_obs_reader_first(const struct mc_obs_sites *l, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (together(&l->item[i], &l->item[k]))
            return false;
    return fitted(&l->item[i]);
}

int mc_obs_reader_make(const struct mc_obs_job *j, size_t first, const struct mc_coupling_group *g,
                       struct mc_obs_reader *ret, struct mc_err *err)
{
    const struct mc_obs_site *s = &j->sites.item[first];
    struct mc_obs_reader r = {.n = columns(s)};
    int64_t *perm = NULL;
    bool any = false, about_mean = true;
    float *scale = floats(1, r.n);
    r.start = mc_calloc((size_t)g->n + 2, sizeof *r.start);
    int rc = scale && r.start ? sort_columns(j, s, g, r.start, &perm, &any, err) : no_memory(err);
    for (size_t i = first; !rc && any && i < j->sites.n; i++)
        if (together(s, &j->sites.item[i])) {
            r.m += rows(&j->sites.item[i]);
            about_mean = about_mean && j->sites.item[i].bias;
        }
    struct rows to = {.perm = perm, .scale = scale, .mixed = r.m > ROWS_UP_TO};
    r.m = to.mixed ? ROWS_UP_TO : r.m;
    if (!rc && any) {
        to.out = r.w = floats(r.m, r.n);
        rc = r.w ? invert(j, s, perm, about_mean, scale, &r.inverse, err) : no_memory(err);
    }
    for (size_t i = first; !rc && any && i < j->sites.n; i++)
        if (together(s, &j->sites.item[i]))
            rc = add_rows(j, &j->sites.item[i], &to, err);
    free(perm);
    free(scale);
    if (rc || !any)
        mc_obs_reader_free(&r);
    else
        *ret = r;
    return rc;
}

void mc_obs_reader_free(struct mc_obs_reader *r)
{
    free(r->start);
    free(r->inverse);
    free(r->w);
    *r = (struct mc_obs_reader){0};
}

/* ---- what counts as it is ---- */

/* K [n,n], lower triangle: what an error of x costs behind W. NULL for a value. */
static int through_weight(const struct mc_obs_job *j, const struct mc_obs_site *s, float **ret,
                          struct mc_err *err)
{
    float *w = NULL, *v = NULL, *k = NULL;
    if (s->kind == MC_OBS_VALUE)
        return 0;
    struct mc_obs_root root = {0};
    int rc = mc_obs_site_weight(s, &w, err);
    if (!rc)
        rc = mc_obs_root(&j->stats, s, j->la, &root, err);
    if (!rc && !((k = floats(s->n, s->n)) && (v = floats(s->m, s->n))))
        rc = no_memory(err);
    if (!rc)
        rc = mc_obs_weigh(&root, j->la, 0, s->m, s->n, w, v, err);
    if (!rc)
        rc = mc_linalg_syrk(j->la, s->n, s->m, 1, v, s->n, 0, k, s->n, err);
    mc_obs_root_free(&root);
    free(v);
    free(w);
    if (rc)
        free(k);
    else
        *ret = k;
    return rc;
}

static int add_pairs(const struct mc_obs_job *j, const struct mc_obs_site *s,
                     const struct mc_coupling_group *g, float *pairs, struct mc_err *err)
{
    float *k = NULL;
    int rc = through_weight(j, s, &k, err);
    for (int64_t a = 0; !rc && a < s->n; a++) {
        int32_t u = mc_obs_site_unit(j->c, s, g, a);
        for (int64_t b = 0; u >= 0 && b < s->n; b++) {
            int32_t v = mc_obs_site_unit(j->c, s, g, b);
            if (v >= 0)
                pairs[(u - g->first) * g->n + v - g->first] +=
                    (float)mc_obs_missing(&j->stats, s, k, a, b);
        }
    }
    free(k);
    return rc;
}

int mc_obs_pairs_make(const struct mc_obs_job *j, const struct mc_coupling_group *g, float **ret,
                      struct mc_err *err)
{
    float *pairs = NULL;
    int rc = 0;
    for (size_t i = 0; i < j->sites.n && !rc; i++) {
        const struct mc_obs_site *s = &j->sites.item[i];
        if (fitted(s) || !mc_obs_site_reads(j->c, s, g))
            continue;
        if (!pairs && !(pairs = floats(g->n, g->n)))
            rc = no_memory(err);
        if (!rc)
            rc = add_pairs(j, s, g, pairs, err);
    }
    if (rc)
        free(pairs);
    else
        *ret = pairs;
    return rc;
}
