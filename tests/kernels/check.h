/* One program checks every kernel: choose sizes, call the f64 reference, call the level under test with 1, 2
 * and 3 threads, compare, and on demand measure. A kernel is one row: a file check_NAME.c, a line in
 * check_rows.h, a name in meson.build.
 *
 * A test function runs one random case: it draws from the case's own generator, takes its buffers from
 * check_alloc (guarded; freed and verified after the case) and reports through check_fail. */
#ifndef MC_TESTS_CHECK_H
#define MC_TESTS_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

enum { CHECK_POOLS = 3 };

struct check {
    const struct mc_kernels *k;        /* the level under test, f32 */
    const struct mc_kernels *ref;      /* the definition, f64 */
    struct mc_pool *pool[CHECK_POOLS]; /* 1, 2, 3 threads */
    uint64_t seed, round, draw;
    struct check_block *blocks;
    double worst; /* largest error so far, in tolerances */
    char what[256];
    bool failed;
};

struct check_row {
    const char *name;
    int rounds;                     /* random cases per run */
    void (*test)(struct check *c);  /* one case */
    void (*bench)(struct check *c); /* prints lines through bench.h; or NULL */
};

/* Say what the case is (sizes, options); printed if it fails. */
void check_describe(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void check_fail(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Draws. check_size: 1 to `most`, mostly around `tile` and its multiples, or a prime. */
uint32_t check_below(struct check *c, uint32_t n);
bool check_coin(struct check *c);
int64_t check_size(struct check *c, int64_t tile, int64_t most);

/* A block with guard bytes on both sides, `align` bytes aligned and no better. It starts as NaN. A device reaches it
 * too; it reaches nothing else of the host's. */
void *check_alloc(struct check *c, size_t bytes, size_t align);
/* n normal numbers, aligned only as a float; with specials, a few are NaN or infinite. */
float *check_floats(struct check *c, int64_t n, bool specials);
double *check_widen(struct check *c, const float *x, int64_t n); /* NULL stays NULL */
double *check_abs(struct check *c, const float *x, int64_t n);

/* got[i] against want[i]: NaN and infinities first, then
 * |got - want| <= relative * scale[i] + absolute * max(1, |want|). scale NULL is |want|; where it is not
 * finite (an infinity that an activation saturated) only the second term counts. */
void check_close(struct check *c, const char *what, const float *got, const double *want,
                 const double *scale, double relative, double absolute, int64_t n);
/* Bit for bit, NaN included. */
void check_same(struct check *c, const char *what, const void *got, const void *want, size_t bytes);

#endif
