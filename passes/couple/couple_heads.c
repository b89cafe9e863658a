#include "passes/couple/couple_heads.h"

#include <stdlib.h>

void mc_heads_apart(struct mc_couple *w, const struct mc_units *u, struct mc_heads *h)
{
    const int64_t dim[] = {h->n_shared, h->n_own, h->n_size};
    const struct mc_units *part[3] = {NULL, NULL, NULL};
    if (u)
        mc_couple_split(w, u, dim, 3, part);
    h->shared = part[0];
    h->own = part[1];
    h->size = part[2];
    mc_couple_kind(w, h->shared, "heads");
    mc_couple_kind(w, h->own, "heads");
    mc_couple_kind(w, h->size, "head width");
}

int mc_heads_left(const struct mc_cutting *k, const struct mc_value *v, int axis, int64_t heads,
                  int64_t *ret_heads, int64_t *ret_size, struct mc_err *err)
{
    const struct mc_shape *s = mc_cutting_shape(k, v);
    int64_t n = s->dim[axis], size = n / heads, *index, last = -1;
    int64_t kept = mc_cut_kept(mc_coupling_axis(k->c, v, axis), n, k->gone, &index);
    if (kept < 0)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    *ret_heads = index ? 0 : heads;
    for (int64_t i = 0; index && i < kept; i++) {
        *ret_heads += index[i] / size != last;
        last = index[i] / size;
    }
    *ret_size = *ret_heads ? kept / *ret_heads : size;
    free(index);
    return 0;
}
