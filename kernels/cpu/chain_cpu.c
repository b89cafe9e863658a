/* Chains of elementwise functions, tile by tile: what is between two of them stays in the first-level cache. */
#include <string.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/elementwise_cpu.h"

enum {
    TILE = 1024,       /* elements: 4 KiB an operand */
    CHUNK = 16 * TILE, /* elements per chunk of work */
    SHORT = TILE / 4,  /* rows below this are gathered into tiles of several */
};

struct job {
    const struct mc_chain *c;
    int64_t n, cols;        /* elements of z, and of its last dimension */
    int64_t width, per_row; /* long rows: elements in a tile, tiles in a row */
    int64_t rows;           /* short rows: in a tile; 0: rows are long */
    int64_t tiles, tiles_in_chunk;
    bool dense[MC_CHAIN_INPUTS], scalar[MC_CHAIN_INPUTS];
    bool row[MC_CHAIN_INPUTS]; /* the same row everywhere */
    int fn[MC_CHAIN_OPS];
    int temp[MC_CHAIN_OPS]; /* buffer of a result */
};

struct span {
    const float *p;
    int64_t step;
};

static int64_t offset_of(const struct mc_chain *c, int input, int64_t row)
{
    int64_t at = 0;
    for (int d = c->rank - 2; d >= 0; d--) {
        at += row % c->dim[d] * c->stride[input][d];
        row /= c->dim[d];
    }
    return at;
}

/* Short rows of an input one after another, so that a tile of it has the layout of z. */
static void spread(const struct job *j, int input, int64_t first, int64_t rows, float *to)
{
    const struct mc_chain *c = j->c;
    const float *from = c->in[input];
    for (int64_t r = 0; r < rows; r++, to += j->cols) {
        const float *p = from + offset_of(c, input, first + r);
        if (c->stride[input][c->rank - 1])
            memcpy(to, p, (size_t)j->cols * sizeof *to);
        else
            for (int64_t i = 0; i < j->cols; i++)
                to[i] = *p;
    }
}

struct scratch {
    float operand[MC_CHAIN_INPUTS][TILE], result[MC_CHAIN_OPS][TILE];
    bool spread[MC_CHAIN_INPUTS]; /* holds the row that is the same everywhere */
};

/* Input i where tile begins: elements of z from `from` on. */
static struct span span_of(const struct job *j, int i, int64_t from, int64_t n, struct scratch *s)
{
    const struct mc_chain *c = j->c;
    const float *p = c->in[i];
    if (j->scalar[i])
        return (struct span){p, 0};
    if (j->dense[i])
        return (struct span){p + from, 1};
    if (!j->rows) {
        int64_t step = c->stride[i][c->rank - 1], row = from / j->cols;
        return (struct span){p + offset_of(c, i, row) + from % j->cols * step, step};
    }
    if (!s->spread[i])
        spread(j, i, from / j->cols, j->row[i] ? j->rows : n / j->cols, s->operand[i]);
    s->spread[i] = j->row[i];
    return (struct span){s->operand[i], 1};
}

static void run_tile(const struct job *j, int64_t from, int64_t n, struct scratch *s)
{
    const struct mc_chain *c = j->c;
    struct span v[MC_CHAIN_INPUTS + MC_CHAIN_OPS];
    for (int i = 0; i < c->n_in; i++)
        v[i] = span_of(j, i, from, n, s);
    for (int i = 0; i < c->n_ops; i++) {
        const struct mc_chain_op *op = &c->op[i];
        float *z = i == c->n_ops - 1 ? (float *)c->z + from : s->result[j->temp[i]];
        const struct span *x = &v[op->x], *y = &v[op->y];
        if (op->binary)
            MC_CPU(mc_binary_span)(j->fn[i], n, x->p, x->step, y->p, y->step, z);
        else
            MC_CPU(mc_unary_span)
        ((enum mc_unary_fn)j->fn[i], (float)op->a, (float)op->b, n, x->p, z);
        v[MC_CHAIN_INPUTS + i] = (struct span){z, 1};
    }
}

static void run_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    int64_t first = chunk * j->tiles_in_chunk;
    struct scratch s;
    memset(s.spread, 0, sizeof s.spread);
    for (int64_t t = first; t < first + j->tiles_in_chunk && t < j->tiles; t++) {
        if (j->rows) {
            int64_t from = t * j->rows * j->cols;
            run_tile(j, from, min64(j->n - from, j->rows * j->cols), &s);
        } else {
            int64_t col = t % j->per_row * j->width;
            run_tile(j, t / j->per_row * j->cols + col, min64(j->cols - col, j->width), &s);
        }
    }
}

/* A result gives its buffer back when it was read for the last time; an op may write over its operand. */
static void assign_buffers(struct job *j)
{
    const struct mc_chain *c = j->c;
    bool busy[MC_CHAIN_OPS] = {false};
    int last[MC_CHAIN_OPS] = {0};
    for (int i = 0; i < c->n_ops; i++) {
        const struct mc_chain_op *op = &c->op[i];
        if (op->x >= MC_CHAIN_INPUTS)
            last[op->x - MC_CHAIN_INPUTS] = i;
        if (op->binary && op->y >= MC_CHAIN_INPUTS)
            last[op->y - MC_CHAIN_INPUTS] = i;
    }
    for (int i = 0; i < c->n_ops; i++) {
        for (int k = 0; k < i; k++)
            if (last[k] == i)
                busy[j->temp[k]] = false;
        while (busy[j->temp[i]])
            j->temp[i]++;
        busy[j->temp[i]] = true;
    }
}

static void classify(struct job *j, int i)
{
    const struct mc_chain *c = j->c;
    int64_t count = 1;
    j->dense[i] = j->scalar[i] = j->row[i] = true;
    for (int d = c->rank - 1; d >= 0; d--) {
        int64_t s = c->stride[i][d];
        bool one = c->dim[d] == 1;
        j->dense[i] &= one || s == count;
        j->scalar[i] &= one || s == 0;
        j->row[i] &= one || d == c->rank - 1 || s == 0;
        count *= c->dim[d];
    }
}

void MC_CPU(mc_chain)(const struct mc_chain *c, struct mc_pool *pool)
{
    struct job j = {.c = c, .n = 1, .cols = c->dim[c->rank - 1]};
    for (int d = 0; d < c->rank; d++)
        j.n *= c->dim[d];
    if (j.n == 0)
        return;
    bool dense = true;
    for (int i = 0; i < c->n_in; i++) {
        classify(&j, i);
        dense &= j.dense[i] || j.scalar[i];
    }
    if (dense)
        j.cols = j.n;
    for (int i = 0; i < c->n_ops; i++) {
        const struct mc_chain_op *op = &c->op[i];
        bool by_scalar = op->binary && op->y < MC_CHAIN_INPUTS && j.scalar[op->y];
        j.fn[i] =
            by_scalar ? MC_CPU(mc_binary_by_scalar)(op->fn, *(const float *)c->in[op->y]) : op->fn;
    }
    assign_buffers(&j);
    j.rows = j.cols < SHORT && j.cols < j.n ? TILE / j.cols : 0;
    j.width = min64(j.cols, TILE);
    j.per_row = ceil_div(j.cols, j.width);
    j.tiles = j.rows ? ceil_div(j.n, j.rows * j.cols) : j.n / j.cols * j.per_row;
    j.tiles_in_chunk = max64(1, CHUNK / (j.rows ? j.rows * j.cols : j.width));
    mc_pool_run(pool, ceil_div(j.tiles, j.tiles_in_chunk), run_chunk, &j);
}
