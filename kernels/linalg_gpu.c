/* Linear algebra on a GPU: matrices go there and come back. Products are of float32 as such, whatever precision the device
 * was opened with: what is decomposed is worth it. */
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/gpu.h"
#include "kernels/kernels.h"
#include "kernels/linalg_inside.h"

enum { MATRICES = 6 };

/* Callers have many threads, and devices are used by one at a time; a decomposition calls smaller ones. */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

struct work { /* the device, entered and locked, and matrices on it */
    struct mc_gpu *gpu, *before;
    const struct mc_kernels *k;
    void *p[MATRICES];
    int n;
};

static void enter(struct work *w, struct mc_linalg *la)
{
    *w = (struct work){.gpu = la->gpu, .k = mc_gpu_kernels(la->gpu)};
    pthread_mutex_lock(&lock);
    w->before = mc_gpu_enter(w->gpu);
}

static void leave(struct work *w)
{
    for (int i = 0; i < w->n; i++)
        mc_gpu_free(w->gpu, w->p[i]);
    mc_gpu_enter(w->before);
    pthread_mutex_unlock(&lock);
}

/* NULL: no room, or too large for the sizes of a library. */
static float *room(struct work *w, int64_t rows, int64_t columns)
{
    size_t bytes;
    if (!mc_size_mul((size_t)rows, (size_t)columns, &bytes) ||
        !mc_size_mul(bytes, sizeof(float), &bytes) ||
        mc_gpu_alloc(w->gpu, bytes, &w->p[w->n], NULL))
        return NULL;
    return w->p[w->n++];
}

/* A dense copy of rows that lie apart: one transfer instead of many. */
static float *gathered(const float *a, int64_t rows, int64_t columns, int64_t ld)
{
    float *x = mc_alloc_aligned((size_t)(rows * columns) * sizeof *x);
    for (int64_t i = 0; x && i < rows && a; i++)
        memcpy(x + i * columns, a + i * ld, (size_t)columns * sizeof *x);
    return x;
}

static int out_of_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "linear algebra: out of memory");
}

static int put(struct work *w, float *to, const float *a, int64_t rows, int64_t columns, int64_t ld,
               struct mc_err *err)
{
    float *dense = ld == columns ? NULL : gathered(a, rows, columns, ld);
    if (ld != columns && !dense)
        return out_of_memory(err);
    int rc = mc_gpu_put(w->gpu, to, dense ? dense : a, (size_t)(rows * columns) * sizeof *a, err);
    free(dense);
    return rc;
}

static int get(struct work *w, const float *from, float *a, int64_t rows, int64_t columns,
               int64_t ld, struct mc_err *err)
{
    float *dense = ld == columns ? NULL : gathered(NULL, rows, columns, ld);
    if (ld != columns && !dense)
        return out_of_memory(err);
    int rc = mc_gpu_get(w->gpu, dense ? dense : a, from, (size_t)(rows * columns) * sizeof *a, err);
    for (int64_t i = 0; !rc && dense && i < rows; i++)
        memcpy(a + i * ld, dense + i * columns, (size_t)columns * sizeof *a);
    free(dense);
    return rc;
}

/* to [columns, rows] = the transpose of from [rows, columns] */
static void transpose(struct work *w, const float *from, float *to, int64_t rows, int64_t columns)
{
    const struct mc_move m = {.rank = 2,
                              .dim = {columns, rows},
                              .src_stride = {1, columns},
                              .dst_stride = {rows, 1},
                              .src = from,
                              .dst = to,
                              .elem_bytes = sizeof *from};
    w->k->move.run(&m, NULL);
}

static struct mc_gemm product(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha,
                              const float *a, int64_t lda, const float *b, int64_t ldb, float *c)
{
    return (struct mc_gemm){.m = m,
                            .n = n,
                            .k = k,
                            .a = a,
                            .a_row = ta == 't' ? 1 : lda,
                            .a_col = ta == 't' ? lda : 1,
                            .b = b,
                            .b_row = tb == 't' ? 1 : ldb,
                            .b_col = tb == 't' ? ldb : 1,
                            .c = c,
                            .c_row = n,
                            .alpha = (double)alpha,
                            .exact = true};
}

/* A product takes 2 m n k operations, at 1e11 a second on a core, and to move its matrices 4 bytes each at 5e9 a second
 * there; twice that, and what a call takes at all, is what it has to be worth. */
static bool worth(const struct mc_linalg *la, int64_t m, int64_t n, int64_t k)
{
    double work = (double)m * (double)n * (double)k;
    double moved = (double)m * (double)k + (double)k * (double)n + (double)m * (double)n;
    return la->gpu && m > 0 && n > 0 && k > 0 && m <= INT_MAX && n <= INT_MAX && k <= INT_MAX &&
           (la->always || (work >= 0x1p24 && work >= 80 * moved));
}

int mc_linalg_gpu_gemm(struct mc_linalg *la, char ta, char tb, int64_t m, int64_t n, int64_t k,
                       float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
                       float beta, float *c, int64_t ldc, struct mc_err *err)
{
    struct work w;
    int64_t a_rows = ta == 't' ? k : m, a_cols = ta == 't' ? m : k;
    int64_t b_rows = tb == 't' ? n : k, b_cols = tb == 't' ? k : n;
    if (!worth(la, m, n, k))
        return 0;
    enter(&w, la);
    float *x = room(&w, a_rows, a_cols), *y = room(&w, b_rows, b_cols), *z = room(&w, m, n);
    int rc = 0;
    if (w.k->gemm.run && w.k->optim.blend && x && y && z) {
        struct mc_gemm g = product(ta, tb, m, n, k, alpha, x, a_cols, y, b_cols, z);
        struct mc_blend scale = {
            .n = m * n, .a = (double)beta / 2, .b = (double)beta / 2, .x = z, .y = z, .z = z};
        rc = put(&w, x, a, a_rows, a_cols, lda, err);
        rc = rc ? rc : put(&w, y, b, b_rows, b_cols, ldb, err);
        if (!rc && beta != 0) {
            rc = put(&w, z, c, m, n, ldc, err);
            g.epilogue.residual = z;
            w.k->optim.blend(&scale, NULL);
        }
        if (!rc)
            w.k->gemm.run(&g, NULL, NULL);
        rc = rc ? rc : get(&w, z, c, m, n, ldc, err);
        rc = rc ? rc : 1;
    }
    leave(&w);
    return rc;
}

int mc_linalg_gpu_syrk(struct mc_linalg *la, int64_t n, int64_t k, float alpha, const float *a,
                       int64_t lda, float beta, float *c, int64_t ldc, struct mc_err *err)
{
    struct work w;
    int rc = 0;
    if (!worth(la, n, n, (k + 1) / 2)) /* of which the CPU makes half */
        return 0;
    float *all = mc_alloc_aligned((size_t)(n * n) * sizeof *all);
    if (!all)
        return 0;
    enter(&w, la);
    float *x = room(&w, k, n), *z = room(&w, n, n);
    if (w.k->gemm.run && x && z) {
        struct mc_gemm g = product('t', 'n', n, n, k, alpha, x, n, x, n, z);
        rc = put(&w, x, a, k, n, lda, err);
        if (!rc)
            w.k->gemm.run(&g, NULL, NULL);
        rc = rc ? rc : get(&w, z, all, n, n, n, err);
        for (int64_t i = 0; !rc && i < n; i++)
            for (int64_t j = 0; j <= i; j++)
                c[i * ldc + j] = all[i * n + j] + (beta != 0 ? beta * c[i * ldc + j] : 0);
        rc = rc ? rc : 1;
    }
    leave(&w);
    free(all);
    return rc;
}

/* ---- factorisations: column-major on the device ---- */

/* Smaller ones are left to a core, of which there are many for many matrices: not measured on a GPU yet. */
enum { LEAST_SIDE = 384 };

static bool large(const struct mc_linalg *la, int64_t side, int64_t longest)
{
    return la->gpu && side > 0 && longest <= INT_MAX && (la->always || side >= LEAST_SIDE);
}

static int status(enum mc_solver_status s, const char *what, struct mc_err *err)
{
    return s == MC_SOLVER_OK     ? 1
           : s == MC_SOLVER_NONE ? 0
                                 : mc_fail(err, MC_EFAIL, "%s: no convergence on the GPU", what);
}

/* The matrix `rows` [m,n], m >= n, on the device becomes its Q; r may be NULL. turned: as large. */
static int orthogonal(struct work *w, int64_t m, int64_t n, float *rows, float *turned, float *r,
                      struct mc_err *err)
{
    if (!w->k->solver.qr || !w->k->move.run)
        return 0;
    transpose(w, rows, turned, m, n);
    int rc = status(w->k->solver.qr(m, n, turned, r), "QR", err);
    if (rc == 1)
        transpose(w, turned, rows, n, m);
    return rc;
}

int mc_linalg_gpu_qr(struct mc_linalg *la, int64_t m, int64_t n, float *a, int64_t lda, float *r,
                     int64_t ldr, struct mc_err *err)
{
    struct work w;
    int rc = 0;
    if (!large(la, n, m))
        return 0;
    enter(&w, la);
    float *x = room(&w, m, n), *turned = room(&w, m, n), *upper = room(&w, n, n);
    if (x && turned && upper) {
        rc = put(&w, x, a, m, n, lda, err);
        rc = rc ? rc : orthogonal(&w, m, n, x, turned, upper, err);
        int got = rc == 1 ? get(&w, x, a, m, n, lda, err) : 0;
        got = rc == 1 && !got && r ? get(&w, upper, r, n, n, ldr, err) : got;
        rc = got ? got : rc;
    }
    leave(&w);
    return rc;
}

int mc_linalg_gpu_svd(struct mc_linalg *la, int64_t m, int64_t n, float *a, int64_t lda, float *u,
                      int64_t ldu, float *s, float *vt, int64_t ldvt, struct mc_err *err)
{
    struct work w;
    bool tall = m > n; /* the library wants no more columns than rows, and has them turned */
    int64_t r = tall ? n : m, rows = tall ? m : n;
    int rc = 0;
    if (!large(la, r, rows))
        return 0;
    enter(&w, la);
    float *x = room(&w, m, n), *y = room(&w, m, n), *left = room(&w, rows, r),
          *right = room(&w, r, r), *values = room(&w, 1, r);
    if (x && y && left && right && values && w.k->solver.svd && w.k->move.run) {
        rc = put(&w, tall ? y : x, a, m, n, lda, err);
        if (!rc && tall)
            transpose(&w, y, x, m, n);
        if (!rc)
            rc = status(w.k->solver.svd(rows, r, x, left, values, right), "singular values", err);
        int got = rc == 1 ? get(&w, values, s, 1, r, r, err) : 0;
        if (rc == 1 && !got && tall) { /* U and Vt column-major: turned, ours */
            transpose(&w, left, y, r, rows);
            transpose(&w, right, x, r, r);
            got = get(&w, y, u, m, r, ldu, err);
            got = got ? got : get(&w, x, vt, r, n, ldvt, err);
        } else if (rc == 1 &&
                   !got) { /* of the transpose: its left vectors are our Vt, row by row */
            got = get(&w, left, vt, r, n, ldvt, err);
            got = got ? got : get(&w, right, u, m, r, ldu, err);
        }
        rc = got ? got : rc;
    }
    leave(&w);
    return rc;
}

int mc_linalg_gpu_eigh(struct mc_linalg *la, int64_t n, float *a, int64_t lda, float *values,
                       struct mc_err *err)
{
    struct work w;
    int rc = 0;
    if (!large(la, n, n))
        return 0;
    enter(&w, la);
    float *x = room(&w, n, n), *y = room(&w, n, n), *v = room(&w, 1, n);
    if (x && y && v && w.k->solver.eigh && w.k->move.run) {
        rc = put(&w, x, a, n, n, lda, err);
        if (!rc)
            rc = status(w.k->solver.eigh(n, x, v), "eigenvalues", err);
        if (rc == 1)
            transpose(&w, x, y, n, n);
        int got = rc == 1 ? get(&w, v, values, 1, n, n, err) : 0;
        got = rc == 1 && !got ? get(&w, y, a, n, n, lda, err) : got;
        rc = got ? got : rc;
    }
    leave(&w);
    return rc;
}

/* ---- a randomised decomposition ---- */

struct mc_linalg_sketch {
    struct work w;
    int64_t m, n, l;
    float *a, *q, *z, *turned, *r;
    float *host; /* [max(m,n), l]: where Q is made without a library on the device */
};

int mc_linalg_sketch_open(struct mc_linalg *la, int64_t m, int64_t n, int64_t l, const float *a,
                          int64_t lda, const float *z, struct mc_linalg_sketch **ret,
                          struct mc_err *err)
{
    *ret = NULL;
    if (!worth(la, m, l, n))
        return 0;
    struct mc_linalg_sketch *s = mc_calloc(1, sizeof *s);
    if (!s)
        return out_of_memory(err);
    enter(&s->w, la);
    s->m = m;
    s->n = n;
    s->l = l;
    s->a = room(&s->w, m, n);
    s->q = room(&s->w, m, l);
    s->z = room(&s->w, n, l);
    s->turned = room(&s->w, m > n ? m : n, l);
    s->r = room(&s->w, l, l);
    int rc = 0;
    if (s->w.k->gemm.run && s->a && s->q && s->z && s->turned && s->r) {
        rc = put(&s->w, s->a, a, m, n, lda, err);
        rc = rc ? rc : put(&s->w, s->z, z, n, l, l, err);
        rc = rc ? rc : 1;
    }
    if (rc == 1)
        *ret = s;
    else
        mc_linalg_sketch_close(s);
    return rc;
}

void mc_linalg_sketch_close(struct mc_linalg_sketch *s)
{
    if (!s)
        return;
    leave(&s->w);
    free(s->host);
    free(s);
}

/* x [rows,l] on the device becomes its Q; r NULL: not wanted. Without the library, the CPU does it. */
static int sketch_qr(struct mc_linalg_sketch *s, float *x, int64_t rows, float *r,
                     struct mc_err *err)
{
    int64_t l = s->l;
    int rc = orthogonal(&s->w, rows, l, x, s->turned, r ? s->r : NULL, err);
    if (rc == 1)
        return r ? get(&s->w, s->r, r, l, l, l, err) : 0;
    if (rc)
        return rc;
    if (!s->host)
        s->host = mc_alloc_aligned((size_t)((s->m > s->n ? s->m : s->n) * l) * sizeof *s->host);
    if (!s->host)
        return out_of_memory(err);
    struct mc_linalg cpu = {0};
    rc = get(&s->w, x, s->host, rows, l, l, err);
    rc = rc ? rc : mc_linalg_qr(&cpu, rows, l, s->host, l, r, l, err);
    return rc ? rc : put(&s->w, x, s->host, rows, l, l, err);
}

int mc_linalg_sketch_there(struct mc_linalg_sketch *s, struct mc_err *err)
{
    struct mc_gemm g = product('n', 'n', s->m, s->l, s->n, 1, s->a, s->n, s->z, s->l, s->q);
    s->w.k->gemm.run(&g, NULL, NULL);
    return sketch_qr(s, s->q, s->m, NULL, err);
}

int mc_linalg_sketch_back(struct mc_linalg_sketch *s, float *r, struct mc_err *err)
{
    struct mc_gemm g = product('t', 'n', s->n, s->l, s->m, 1, s->a, s->n, s->q, s->l, s->z);
    s->w.k->gemm.run(&g, NULL, NULL);
    return sketch_qr(s, s->z, s->n, r, err);
}

int mc_linalg_sketch_get(struct mc_linalg_sketch *s, float *q, float *z, struct mc_err *err)
{
    int rc = get(&s->w, s->q, q, s->m, s->l, s->l, err);
    return rc ? rc : get(&s->w, s->z, z, s->n, s->l, s->l, err);
}
