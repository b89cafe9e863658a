/* time_circulant [N [ROWS]]: products with block-circulant matrices beside OpenBLAS's dense product, one thread.
 *
 * A line a size: the time of the dense product (sgemm; of one row the faster of sgemm and sgemv), and how many times faster
 * are the product, the transposed one and the gradient of the columns; a dense gradient takes as many operations as a
 * dense product. Of several rounds the best counts: other work on the CPU comes and goes.
 */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "kernels/kernels.h"
#include "kernels/linalg.h"

enum { ROUNDS = 5, TASKS = 5 };
static const double LEAST = 3e-3; /* seconds of a round */

struct sizes {
    const struct mc_kernels *k;
    int64_t n, rows;
    float *x, *y, *w, *dw;
    struct mc_circulant_product forth, back;
    struct mc_circulant_gradient gradient;
    void *scratch[3];
};

/* This thread's CPU time: the clock on the wall also counts other programs' turns. */
static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *need(size_t bytes)
{
    void *p = mc_alloc_aligned(bytes);
    if (!p) {
        fprintf(stderr, "time_circulant: out of memory\n");
        exit(1);
    }
    return p;
}

static float *numbers(int64_t n)
{
    float *x = need((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(i * 7919 % 101 - 50) / 50;
    return x;
}

static void dense(struct sizes *s)
{
    int n = (int)s->n;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)s->rows, n, n, 1, s->x, n, s->w, n, 0,
                s->y, n);
}

static void dense_row(struct sizes *s)
{
    int n = (int)s->n;
    if (s->rows == 1)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, n, n, 1, s->w, n, s->x, 1, 0, s->y, 1);
    else
        dense(s);
}

static void product(struct sizes *s)
{
    s->k->circulant.run(&s->forth, s->scratch[0], NULL);
}

static void transposed(struct sizes *s)
{
    s->k->circulant.run(&s->back, s->scratch[1], NULL);
}

static void gradient(struct sizes *s)
{
    s->k->circulant.gradient(&s->gradient, s->scratch[2], NULL);
}

static void (*const tasks[TASKS])(struct sizes *s) = {dense, dense_row, product, transposed,
                                                      gradient};

static struct mc_circulant_product prepare(struct sizes *s, int64_t b, bool turned, void **scratch)
{
    const struct mc_circulant_kernels *k = &s->k->circulant;
    struct mc_circulant c = {s->n / b, s->n / b, b, turned};
    enum mc_circulant_way way = k->choose(&c, s->rows);
    void *packed = need(k->pack_bytes(&c, way));
    k->pack(&c, way, s->w, packed, NULL);
    *scratch = need(k->scratch_bytes(&c, way, s->rows, 1));
    return (struct mc_circulant_product){
        c, way, s->rows, s->x, s->n, packed, s->y, s->n, {0},
    };
}

/* Dense times from an earlier block are kept: they are the longest. */
static void time_block(struct sizes *s, int64_t b, double best[TASKS])
{
    static const char *const ways[] = {"dense", "dft", "fft"};
    const struct mc_circulant_kernels *k = &s->k->circulant;
    s->forth = prepare(s, b, false, &s->scratch[0]);
    s->back = prepare(s, b, true, &s->scratch[1]);
    struct mc_circulant_gradient *g = &s->gradient;
    *g = (struct mc_circulant_gradient){s->forth.c, 0, s->rows, s->y, s->n, s->x, s->n, s->dw};
    g->way = k->choose_gradient(&g->c, s->rows);
    s->scratch[2] = need(k->gradient_scratch_bytes(&g->c, g->way, s->rows, 1));
    for (int t = 2; t < TASKS; t++)
        best[t] = INFINITY;
    for (int r = 0; r < ROUNDS; r++) {
        for (int t = 0; t < TASKS; t++) {
            if (t < 2 && (r > 0 || (t == 1 && s->rows > 1)))
                continue;
            double start = cpu_now(), now = start;
            int calls = 0;
            for (; now - start < LEAST; calls++, now = cpu_now())
                tasks[t](s);
            best[t] = fmin(best[t], (now - start) / calls);
        }
    }
    double reference = fmin(best[0], best[1]);
    printf("%5d %5d %5d  %11.1f us  %-5s %6.1fx %6.1fx  %-5s %6.1fx\n", (int)s->n, (int)b,
           (int)s->rows, reference * 1e6, ways[s->forth.way], reference / best[2],
           reference / best[3], ways[g->way], best[0] / best[4]);
    fflush(stdout);
    free((void *)s->forth.packed);
    free((void *)s->back.packed);
    for (int i = 0; i < 3; i++)
        free(s->scratch[i]);
}

static void time_size(const struct mc_kernels *k, int64_t n, int64_t rows)
{
    struct sizes s = {.k = k, .n = n, .rows = rows};
    double best[TASKS] = {INFINITY, INFINITY};
    s.x = numbers(rows * n);
    s.y = numbers(rows * n);
    s.w = numbers(n * n);
    s.dw = numbers(n * n);
    for (int64_t b = 8; b <= n; b *= 2)
        time_block(&s, b, best);
    free(s.x);
    free(s.y);
    free(s.w);
    free(s.dw);
}

int main(int argc, char **argv)
{
    static const int sizes[] = {512, 1024, 2048, 4096}, rows[] = {1, 64, 4096};
    const char *core = mc_linalg_better_core();
    if (core && !setenv("OPENBLAS_CORETYPE", core, 1))
        execv("/proc/self/exe", argv);
    openblas_set_num_threads(1);
    const struct mc_kernels *k = mc_kernels_get(NULL, 4);
    if (!k) {
        fprintf(stderr, "time_circulant: this CPU does not run the kernels of MCOMPRESS_KERNELS\n");
        return 1;
    }
    int n = argc > 1 ? atoi(argv[1]) : 0, m = argc > 2 ? atoi(argv[2]) : 0;
    printf("kernels %s, one thread; sgemm is OpenBLAS %s\n", k->name, openblas_get_corename());
    printf("    n block  rows  dense           way  product  transp  way  gradient\n");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
            if ((!n || n == sizes[i]) && (!m || m == rows[r]))
                time_size(k, sizes[i], rows[r]);
        }
    }
    return 0;
}
