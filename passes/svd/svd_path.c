#include "passes/svd/svd_path.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* What the step behind hull[k] gains per cost; -1: there is none. */
static double gain(const struct mc_svd_choice *c, size_t k)
{
    if (k + 1 >= c->n_hull)
        return -1;
    const struct mc_svd_offer *a = &c->offer[c->hull[k]], *b = &c->offer[c->hull[k + 1]];
    return (a->error - b->error) / (b->cost - a->cost);
}

int mc_svd_path_make(const struct mc_svd_choice *c, size_t parts, struct mc_svd_path *ret,
                     struct mc_err *err)
{
    struct mc_svd_path p = {.n = 1, .parts = parts};
    for (size_t i = 0; i < parts; i++)
        p.n += c[i].n_hull - 1;
    size_t *k = mc_calloc(parts, sizeof *k);
    p.at = mc_calloc(p.n, parts * sizeof *p.at);
    if (!k || !p.at) {
        free(k);
        free(p.at);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    for (size_t row = 0; row < p.n; row++) {
        size_t best = 0;
        for (size_t i = 0; i < parts; i++) {
            p.at[row * parts + i] = c[i].hull[k[i]];
            if (gain(&c[i], k[i]) > gain(&c[best], k[best]))
                best = i;
        }
        k[best]++;
    }
    free(k);
    *ret = p;
    return 0;
}

void mc_svd_path_free(struct mc_svd_path *p)
{
    free(p->at);
    *p = (struct mc_svd_path){0};
}
