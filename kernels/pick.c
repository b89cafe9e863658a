#include "kernels/pick.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { CHUNK = 1 << 16 }; /* bytes in a chunk of work, about 10 us */

/* Rows along the last axis that is picked from; what lies inside it is one unit. */
struct job {
    const struct mc_pick *p;
    int axis;                     /* of a row */
    int64_t rows, per_chunk;      /* of dst */
    size_t unit, in_row, out_row; /* bytes */
    int64_t stride[MC_MOVE_RANK]; /* of src, in rows; up to axis */
    bool holes, twice;            /* in a row: negative indices; the indices 0, 0, 1, 1, 2, … */
};

#define PICK(type)                                                                                 \
    static void pick_##type(const int32_t *index, int64_t n, bool twice, const type *x, type *y)   \
    {                                                                                              \
        int64_t j = 0;                                                                             \
        for (; twice && j < n / 2; j++) {                                                          \
            y[2 * j] = x[j];                                                                       \
            y[2 * j + 1] = x[j];                                                                   \
        }                                                                                          \
        for (j *= 2; j < n; j++)                                                                   \
            y[j] = x[index[j]];                                                                    \
    }
PICK(uint8_t)
PICK(uint16_t)
PICK(uint32_t)
PICK(uint64_t)

static void fill_row(const struct mc_pick *p, char *to, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += (size_t)p->elem_bytes)
        memcpy(to + i, p->fill, (size_t)p->elem_bytes);
}

static void pick_row(const struct job *j, const void *x, void *y)
{
    const struct mc_pick *p = j->p;
    const int32_t *index = p->index[j->axis];
    int64_t n = p->out[j->axis];
    if (!index) {
        memcpy(y, x, j->out_row);
    } else if (j->holes || (j->unit != 1 && j->unit != 2 && j->unit != 4 && j->unit != 8)) {
        for (int64_t i = 0; i < n; i++) {
            char *to = (char *)y + (size_t)i * j->unit;
            if (index[i] < 0)
                fill_row(p, to, j->unit);
            else
                memcpy(to, (const char *)x + (size_t)index[i] * j->unit, j->unit);
        }
    } else if (j->unit == 1) {
        pick_uint8_t(index, n, j->twice, x, y);
    } else if (j->unit == 2) {
        pick_uint16_t(index, n, j->twice, x, y);
    } else if (j->unit == 4) {
        pick_uint32_t(index, n, j->twice, x, y);
    } else {
        pick_uint64_t(index, n, j->twice, x, y);
    }
}

/* Row of src that row r of dst is made from; -1: none. */
static int64_t source_row(const struct job *j, int64_t r)
{
    const struct mc_pick *p = j->p;
    int64_t at = 0;
    for (int d = j->axis - 1; d >= 0; d--) {
        int64_t o = r % p->out[d];
        r /= p->out[d];
        int64_t from = p->index[d] ? p->index[d][o] : o;
        if (from < 0)
            return -1;
        at += from * j->stride[d];
    }
    return at;
}

static void pick_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    int64_t before = -1;
    for (int64_t r = chunk * j->per_chunk; r < (chunk + 1) * j->per_chunk && r < j->rows; r++) {
        char *to = (char *)j->p->dst + (size_t)r * j->out_row;
        int64_t from = source_row(j, r);
        if (from < 0)
            fill_row(j->p, to, j->out_row);
        else if (from == before)
            memcpy(to, to - j->out_row, j->out_row);
        else
            pick_row(j, (const char *)j->p->src + (size_t)from * j->in_row, to);
        before = from;
    }
}

void mc_pick_run(const struct mc_pick *p, struct mc_pool *pool)
{
    struct job j = {.p = p, .axis = p->rank - 1, .rows = 1, .unit = (size_t)p->elem_bytes};
    while (j.axis > 0 && !p->index[j.axis])
        j.unit *= (size_t)p->out[j.axis--];
    const int32_t *index = p->index[j.axis];
    int64_t n = p->out[j.axis];
    j.in_row = (size_t)p->in[j.axis] * j.unit;
    j.out_row = (size_t)n * j.unit;
    j.twice = index != NULL;
    for (int64_t i = 0; index && i < n; i++) {
        j.holes = j.holes || index[i] < 0;
        j.twice = j.twice && index[i] == i / 2;
    }
    for (int d = j.axis - 1; d >= 0; d--) {
        j.rows *= p->out[d];
        j.stride[d] = d == j.axis - 1 ? 1 : j.stride[d + 1] * p->in[d + 1];
    }
    if (j.rows == 0 || j.out_row == 0)
        return;
    j.per_chunk = j.out_row < CHUNK ? CHUNK / (int64_t)j.out_row : 1;
    mc_pool_run(pool, (j.rows + j.per_chunk - 1) / j.per_chunk, pick_chunk, &j);
}
