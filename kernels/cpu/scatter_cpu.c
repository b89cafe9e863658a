/* Rows: the innermost dimension, where nothing is picked along it, or a run of picked elements. Threads share
 * dst by dimensions that nothing is picked along, so each sum has one owner. */
#include <string.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/vec.h"
#include "kernels/fill.h"

enum { CHUNK = 1 << 14 }; /* elements: some microseconds of work */

struct job {
    const struct mc_scatter_sum *s;
    int64_t src_step[MC_MOVE_RANK], dst_step[MC_MOVE_RANK]; /* elements per step of a dimension */
    int split;                                              /* dimension cut into chunks, or -1 */
    int64_t per_chunk;
};

static void add_row(float *to, const float *from, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store(to + i, vf_load(to + i) + vf_load(from + i));
    for (; i < n; i++)
        to[i] += from[i];
}

/* Dimension d and those inside it, with [first, last) of the one that is split. */
static void add(const struct job *j, int d, const float *src, float *dst, int64_t first,
                int64_t last)
{
    const struct mc_scatter_sum *s = j->s;
    int64_t i0 = d == j->split ? first : 0, i1 = d == j->split ? last : s->from[d];
    const int64_t *index = s->index[d];
    if (d == s->rank - 1) {
        if (!index) {
            add_row(dst + i0, src + i0, i1 - i0);
            return;
        }
        for (int64_t i = i0; i < i1; i++)
            dst[index[i]] += src[i];
        return;
    }
    for (int64_t i = i0; i < i1; i++)
        add(j, d + 1, src + i * j->src_step[d], dst + (index ? index[i] : i) * j->dst_step[d],
            first, last);
}

static void clear(const struct job *j, int d, float *dst, int64_t first, int64_t last)
{
    const struct mc_scatter_sum *s = j->s;
    if (d == j->split || j->split < 0) {
        int64_t n = j->split < 0 ? s->to[d] : last - first;
        memset(dst + (j->split < 0 ? 0 : first * j->dst_step[d]), 0,
               (size_t)(n * j->dst_step[d]) * sizeof *dst);
        return;
    }
    for (int64_t i = 0; i < s->to[d]; i++)
        clear(j, d + 1, dst + i * j->dst_step[d], first, last);
}

static void run_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_scatter_sum *s = j->s;
    int64_t n = j->split < 0 ? 1 : s->from[j->split];
    int64_t first = chunk * j->per_chunk, last = min64(first + j->per_chunk, n);
    clear(j, 0, s->dst, first, last);
    add(j, 0, s->src, s->dst, first, last);
}

static void sum(const struct mc_scatter_sum *s, struct mc_pool *pool)
{
    struct job j = {.s = s, .split = -1, .per_chunk = 1};
    int64_t n = 1, total = 1;
    for (int d = s->rank - 1; d >= 0; d--) {
        j.src_step[d] = n;
        j.dst_step[d] = total;
        n *= s->from[d];
        total *= s->to[d];
    }
    if (total == 0)
        return;
    /* Alone, whole rows at a time; the order of each sum is the same. */
    for (int d = 0; d < s->rank && j.split < 0 && mc_pool_threads(pool) > 1; d++)
        if (!s->index[d] && s->from[d] > 1)
            j.split = d;
    int64_t chunks = 1;
    if (j.split >= 0) {
        int64_t dim = s->from[j.split], each = max64(1, max64(n, total) / dim);
        int64_t line =
            ceil_div(64, j.dst_step[j.split]); /* not less of dst than a few cache lines */
        j.per_chunk = max64(line, CHUNK / each);
        chunks = ceil_div(dim, j.per_chunk);
    }
    mc_pool_run(pool, chunks, run_chunk, &j);
}

void MC_CPU(mc_scatter_fill)(struct mc_scatter_kernels *k)
{
    *k = (struct mc_scatter_kernels){sum};
}
