#include <string.h>

#include "kernels/fill.h"
#include "kernels/ref/elem.h"

static void sum(const struct mc_scatter_sum *s, struct mc_pool *pool)
{
    (void)pool;
    int64_t at[MC_MOVE_RANK] = {0}, n = 1, total = 1;
    const elem *src = s->src;
    elem *dst = s->dst;
    for (int d = 0; d < s->rank; d++) {
        n *= s->from[d];
        total *= s->to[d];
    }
    memset(dst, 0, (size_t)total * sizeof *dst);
    for (int64_t i = 0; i < n; i++) {
        int64_t to = 0;
        for (int d = 0; d < s->rank; d++)
            to = to * s->to[d] + (s->index[d] ? s->index[d][at[d]] : at[d]);
        dst[to] += src[i];
        for (int d = s->rank - 1; d >= 0 && ++at[d] == s->from[d]; d--)
            at[d] = 0;
    }
}

void MC_REF(mc_scatter_fill)(struct mc_scatter_kernels *k)
{
    *k = (struct mc_scatter_kernels){sum};
}
