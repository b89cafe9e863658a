#include "kernels/fill.h"
#include "kernels/ref/elem.h"

static void sgd(const struct mc_sgd *s, struct mc_pool *pool)
{
    (void)pool;
    const elem *grad = s->grad, *w = s->w, *m = s->m;
    elem *w_new = s->w_new, *m_new = s->m_new;
    elem lr = (elem)s->lr, scale = (elem)s->scale, momentum = (elem)s->momentum;
    for (int64_t i = 0; i < s->n; i++) {
        elem g = scale * grad[i] + (i < s->decays ? (elem)s->decay * w[i] : 0);
        if (m) {
            m_new[i] = momentum * m[i] + g;
            g = s->nesterov ? g + momentum * m_new[i] : m_new[i];
        }
        w_new[i] = w[i] - lr * g;
    }
}

static void adam(const struct mc_adam *a, struct mc_pool *pool)
{
    (void)pool;
    const elem *grad = a->grad, *w = a->w, *m = a->m, *v = a->v;
    elem *w_new = a->w_new, *m_new = a->m_new, *v_new = a->v_new;
    elem scale = (elem)a->scale, c1 = (elem)(1 - a->beta1), c2 = (elem)(1 - a->beta2);
    elem beta2 = (elem)a->beta2, epsilon = (elem)a->epsilon;
    double t = (double)a->step;
    elem rate = (elem)(a->lr / (1 - (pow)(a->beta1, t)));
    elem root = (elem)(sqrt)(1 - (pow)(a->beta2, t));
    for (int64_t i = 0; i < a->n; i++) {
        elem g = scale * grad[i], x = w[i];
        elem decay = i < a->decays ? (elem)(a->decoupled ? a->lr * a->decay : a->decay) : 0;
        if (a->decoupled)
            x *= 1 - decay;
        else
            g += decay * x;
        m_new[i] = m[i] + c1 * (g - m[i]);
        v_new[i] = beta2 * v[i] + c2 * g * g;
        w_new[i] = x - rate * (m_new[i] / (sqrt(v_new[i]) / root + epsilon));
    }
}

static void blend(const struct mc_blend *b, struct mc_pool *pool)
{
    (void)pool;
    const elem *x = b->x, *y = b->y;
    elem *z = b->z;
    for (int64_t i = 0; i < b->n; i++)
        z[i] = (elem)b->a * x[i] + (elem)b->b * y[i];
}

static double squares(const struct mc_squares *s, struct mc_pool *pool)
{
    (void)pool;
    const elem *x = s->x;
    double sum = 0;
    for (int64_t from = 0; from < s->n; from += MC_SQUARES_CHUNK) {
        int64_t to = s->n - from < MC_SQUARES_CHUNK ? s->n : from + MC_SQUARES_CHUNK;
        double part = 0;
        for (int64_t i = from; i < to; i++)
            part += (double)x[i] * (double)x[i];
        sum += part;
    }
    return sum;
}

void MC_REF(mc_optim_fill)(struct mc_optim_kernels *k)
{
    *k = (struct mc_optim_kernels){sgd, adam, blend, squares};
}
