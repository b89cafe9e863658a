#include <string.h>

#include "kernels/fill.h"
#include "kernels/ref/elem.h"

static double number(const void *p, double missing)
{
    return p ? (double)*(const elem *)p : missing;
}

static int64_t whole(const void *p, int bytes, int64_t missing)
{
    return !p ? missing : bytes == 4 ? *(const int32_t *)p : *(const int64_t *)p;
}

static bool applies(const struct mc_step_at *at)
{
    return isfinite(number(at->norm, 0)) && whole(at->apply, at->apply_bytes, 1) != 0;
}

static double scale_of(const struct mc_step_at *at, double scale)
{
    if (!at->norm || !(at->clip > 0))
        return scale;
    double factor = at->clip / (number(at->norm, 0) + 1e-6);
    return factor < 1 ? factor : 1;
}

static void keep(void *to, const void *from, int64_t n)
{
    if (from && to != from)
        memcpy(to, from, (size_t)n * sizeof(elem));
}

static void sgd(const struct mc_sgd *given, struct mc_pool *pool)
{
    (void)pool;
    struct mc_sgd copy = *given, *s = &copy;
    s->lr = number(s->at.lr, s->lr);
    s->scale = scale_of(&s->at, s->scale);
    if (!applies(&s->at)) {
        keep(s->w_new, s->w, s->n);
        keep(s->m_new, s->m, s->n);
        return;
    }
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

static void adam(const struct mc_adam *given, struct mc_pool *pool)
{
    (void)pool;
    struct mc_adam copy = *given, *a = &copy;
    a->lr = number(a->at.lr, a->lr);
    a->scale = scale_of(&a->at, a->scale);
    a->step = whole(a->at.step, a->at.step_bytes, a->step);
    if (!applies(&a->at)) {
        keep(a->w_new, a->w, a->n);
        keep(a->m_new, a->m, a->n);
        keep(a->v_new, a->v, a->n);
        return;
    }
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
    double first = b->a, second = number(b->b_at, b->b);
    if (b->at.step) {
        double step = (double)whole(b->at.step, b->at.step_bytes, 0);
        first = (fmin)(first, (1 + step) / (10 + step));
        second = 1 - first;
    }
    if (!applies(&b->at)) {
        keep(z, x, b->n);
        return;
    }
    for (int64_t i = 0; i < b->n; i++)
        z[i] = (elem)first * x[i] + (elem)second * y[i];
}

static void choose(const struct mc_choose *c, struct mc_pool *pool)
{
    (void)pool;
    const void *from = applies(&c->at) ? c->x : c->y;
    if (from)
        keep(c->z, from, c->n);
    else
        memset(c->z, 0, (size_t)c->n * sizeof(elem));
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

static void parts(const struct mc_parts *p, struct mc_pool *pool)
{
    (void)pool;
    for (int i = 0; i < p->n; i++)
        for (int64_t k = 0; k < p->size[i]; k++)
            ((elem *)p->dst[i])[k] = p->src[i] ? ((const elem *)p->src[i])[k] : 0;
}

static void root(const struct mc_squares *s, void *ret, struct mc_pool *pool)
{
    *(elem *)ret = (elem)(sqrt)(squares(s, pool));
}

void MC_REF(mc_optim_fill)(struct mc_optim_kernels *k)
{
    *k = (struct mc_optim_kernels){sgd, adam, blend, squares, root, choose, parts};
}
