#include "kernels/fill.h"
#include "kernels/ref/elem.h"

static void softmax_grad(const struct mc_softmax_grad *s, struct mc_pool *pool)
{
    (void)pool;
    for (int64_t r = 0; r < s->outer * s->inner; r++) {
        int64_t start = r / s->inner * s->n * s->inner + r % s->inner;
        const elem *dy = (const elem *)s->dy + start, *y = (const elem *)s->y + start;
        elem *dx = (elem *)s->dx + start, sum = 0;
        for (int64_t i = 0; i < s->n * s->inner; i += s->inner)
            sum += s->log ? dy[i] : dy[i] * y[i];
        for (int64_t i = 0; i < s->n * s->inner; i += s->inner)
            dx[i] = s->log ? dy[i] - exp(y[i]) * sum : y[i] * (dy[i] - sum);
    }
}

/* ---- CTC ---- */

/* Sums of hundreds of logarithms lose too much in floats: double whatever elem is. */
static double log_add(double a, double b)
{
    double top = a > b ? a : b, low = a > b ? b : a;
    return top == -INFINITY ? top : top + log1p(exp(low - top));
}

/* One sample: labels with blanks between and around them are the places of a path. */
struct sample {
    const struct mc_ctc *c;
    int64_t i, steps, places;
};

static int64_t class_at(const struct sample *m, int64_t place)
{
    return place % 2 ? m->c->label[m->i * m->c->labels + place / 2] : m->c->blank;
}

static double log_prob(const struct sample *m, int64_t t, int64_t place)
{
    return (double)((const elem *)m->c
                        ->log_prob)[(t * m->c->batch + m->i) * m->c->classes + class_at(m, place)];
}

/* Whether a path may go to a place from the second before it, over a blank. */
static bool skips_to(const struct sample *m, int64_t place)
{
    return place >= 2 && place < m->places && place % 2 &&
           class_at(m, place) != class_at(m, place - 2);
}

/* alpha[t, s]: all beginnings of paths that are at place s in step t. Returns the logarithm of all paths. */
static double forward(const struct sample *m, double *alpha)
{
    for (int64_t t = 0; t < m->steps; t++) {
        double *row = alpha + t * m->places;
        const double *last = row - m->places;
        for (int64_t s = 0; s < m->places; s++) {
            double sum = t == 0 && s < 2 ? 0 : -INFINITY;
            if (t > 0) {
                sum = s > 0 ? log_add(last[s], last[s - 1]) : last[s];
                sum = skips_to(m, s) ? log_add(sum, last[s - 2]) : sum;
            }
            row[s] = sum + log_prob(m, t, s);
        }
    }
    if (m->steps == 0)
        return m->places == 1 ? 0 : -INFINITY;
    const double *end = alpha + m->steps * m->places - 1;
    return m->places == 1 ? *end : log_add(end[0], end[-1]);
}

/* From the last step back: rest[s], all ends of paths after being at place s; in the end, of the step before,
 * with its own probability. Writes the gradient of each step over its probabilities, which are not needed any more. */
static void backward(const struct sample *m, const double *alpha, double total, double *rest,
                     double *own)
{
    const struct mc_ctc *c = m->c;
    for (int64_t t = m->steps - 1; t >= 0; t--) {
        const elem *p = (const elem *)c->log_prob + (t * c->batch + m->i) * c->classes;
        elem *d = (elem *)c->grad + (t * c->batch + m->i) * c->classes;
        for (int64_t s = 0; s < m->places; s++) {
            double sum = s + 2 >= m->places ? 0 : -INFINITY;
            if (t < m->steps - 1) {
                sum = s + 1 < m->places ? log_add(own[s], own[s + 1]) : own[s];
                sum = skips_to(m, s + 2) ? log_add(sum, own[s + 2]) : sum;
            }
            rest[s] = sum;
        }
        for (int64_t s = 0; s < m->places; s++)
            own[s] = rest[s] + log_prob(m, t, s);
        for (int64_t k = 0; k < c->classes; k++)
            d[k] = (elem)(exp((double)p[k]) * c->scale);
        for (int64_t s = 0; s < m->places; s++)
            d[class_at(m, s)] -= (elem)(exp(alpha[t * m->places + s] + rest[s] - total) * c->scale);
    }
}

static void ctc(const struct mc_ctc *c, struct mc_pool *pool)
{
    (void)pool;
    for (int64_t i = 0; i < c->batch; i++) {
        struct sample m = {c, i, c->n_steps[i], 2 * c->n_labels[i] + 1};
        double *alpha = c->scratch, *rest = alpha + c->steps * m.places, *own = rest + m.places;
        double total = forward(&m, alpha);
        ((elem *)c->loss)[i] = (elem)-total;
        if (!c->grad)
            continue;
        bool none = total == -INFINITY;
        if (!none)
            backward(&m, alpha, total, rest, own);
        for (int64_t t = none ? 0 : m.steps; t < c->steps; t++)
            for (int64_t k = 0; k < c->classes; k++)
                ((elem *)c->grad)[(t * c->batch + i) * c->classes + k] =
                    none && !c->zero_infinity && t < m.steps ? (elem)NAN : 0;
    }
}

void MC_REF(mc_loss_fill)(struct mc_loss_kernels *k)
{
    *k = (struct mc_loss_kernels){.softmax_grad = softmax_grad, .ctc = ctc};
}
