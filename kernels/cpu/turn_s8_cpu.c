/* Bytes turned over in squares of 16. Squares at an edge lie over their neighbours rather than across it: what they
 * write twice is the same. */
#include <string.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/rows_s8_cpu.h"
#include "kernels/fill.h"

enum {
    SIDE = 16,
    STRIP = 64,            /* columns at a time: a cache line of each row is used as a whole */
    CHUNK_BYTES = 1 << 15, /* for one thread at a time */
};

typedef uint8_t v16 __attribute__((vector_size(16), aligned(1), may_alias));

/* Neighbours of a and b, taken in turns: of their lower halves, of their upper ones. */
#define LOWER(a, b)                                                                                \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define UPPER(a, b)                                                                                \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)

static void square(const uint8_t *x, int64_t x_row, uint8_t *y, int64_t y_row)
{
    v16 r[SIDE];
#pragma GCC unroll 16
    for (int i = 0; i < SIDE; i++)
        r[i] = *(const v16 *)(x + i * x_row);
        /* Taking rows i and i + 8 in turns, four times, exchanges the bits of row and column. */
#pragma GCC unroll 4
    for (int step = 0; step < 4; step++) {
        v16 t[SIDE];
#pragma GCC unroll 8
        for (int i = 0; i < SIDE / 2; i++) {
            t[2 * i] = LOWER(r[i], r[i + SIDE / 2]);
            t[2 * i + 1] = UPPER(r[i], r[i + SIDE / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < SIDE; i++)
            r[i] = t[i];
    }
#pragma GCC unroll 16
    for (int i = 0; i < SIDE; i++)
        *(v16 *)(y + i * y_row) = r[i];
}

/* Few rows: they are threaded into one another. */
static void thread(int64_t rows, int64_t cols, const uint8_t *x, int64_t x_row, uint8_t *y,
                   int64_t y_row)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            y[j * y_row + i] = x[i * x_row + j];
}

void MC_CPU(mc_s8_turn)(int64_t rows, int64_t cols, const uint8_t *x, int64_t x_row, uint8_t *y,
                        int64_t y_row)
{
    if (rows == 1 && y_row == 1) {
        memcpy(y, x, (size_t)cols);
        return;
    }
    if (rows < SIDE || cols < SIDE) {
        thread(rows, cols, x, x_row, y, y_row);
        return;
    }
    for (int64_t strip = 0; strip < cols; strip += STRIP)
        for (int64_t i = 0; i < rows; i += SIDE) {
            int64_t row = min64(i, rows - SIDE);
            for (int64_t j = strip; j < min64(strip + STRIP, cols); j += SIDE) {
                int64_t col = min64(j, cols - SIDE);
                square(x + row * x_row + col, x_row, y + col * y_row + row, y_row);
            }
        }
}

struct job {
    int64_t rows, cols, step, parts; /* columns of a chunk; chunks of a matrix */
    const uint8_t *x;
    uint8_t *y;
};

static void part(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    int64_t size = j->rows * j->cols, at = chunk / j->parts * size,
            col = chunk % j->parts * j->step;
    MC_CPU(mc_s8_turn)
    (j->rows, min64(j->step, j->cols - col), j->x + at + col, j->cols, j->y + at + col * j->rows,
     j->rows);
}

void MC_CPU(mc_s8_transpose)(int64_t n, int64_t rows, int64_t cols, const uint8_t *x, uint8_t *y,
                             struct mc_pool *pool)
{
    if (n * rows * cols == 0)
        return;
    struct job j = {rows, cols, max64(CHUNK_BYTES / rows / STRIP, 1) * STRIP, 0, x, y};
    j.parts = ceil_div(cols, j.step);
    mc_pool_run(pool, n * j.parts, part, &j);
}
