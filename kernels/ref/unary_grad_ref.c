#include "kernels/ref/unary_grad_ref.h"

#include "kernels/body_elementwise.h"

void MC_REF(mc_unary_grad)(const struct mc_unary_grad *u, struct mc_pool *pool)
{
    (void)pool;
    const elem *dy = u->dy, *v = u->v;
    elem *dx = u->dx, a = (elem)u->a, b = (elem)u->b;
    for (int64_t i = 0; i < u->n; i++)
        dx[i] = mc_unary_grad_of(u->fn, a, b, dy[i], v[i]);
}
