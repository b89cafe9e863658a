/* CTC: a sample per chunk of work; the places of a path are lanes.
 *
 * The largest of each row of logarithms is taken out and added up in double: what is left has the size of the
 * differences between paths, not of a sum over hundreds of steps, of which float would keep four digits. */
#include <math.h>

#include "kernels/cpu/loss_cpu.h"
#include "kernels/cpu/math_cpu.h"
#include "kernels/cpu/nn_cpu.h"

enum { LEAST = 2 }; /* places of -infinity before and after a row, which nothing comes from */

/* log(exp(a) + exp(b) + exp(c)); -infinity thrice is -infinity. */
static inline vf log_add3(vf a, vf b, vf c)
{
    vf top = vf_select(vf_lt(a, b), b, a);
    top = vf_at_least(vf_select(vf_lt(top, c), c, top), vf_set1(-1e30f));
    return top + vf_log(vf_exp(a - top) + vf_exp(b - top) + vf_exp(c - top));
}

struct sample {
    const struct mc_ctc *c;
    int64_t i, steps, places, row; /* row: elements of a padded row */
    double *level;                 /* [steps]: what was taken out of alpha up to there */
    float *alpha;                  /* [steps] rows */
    float *emit;                   /* a row: log-probabilities of the places in one step */
    float *skip;                   /* a row: 0 where a path may come over a blank, else -infinity */
    float *next;                   /* a row */
};

static float *fill(float *p, int64_t n, float v)
{
    for (int64_t s = 0; s < n; s++)
        p[s] = v;
    return p;
}

static int64_t class_at(const struct sample *m, int64_t place)
{
    return place % 2 ? m->c->label[m->i * m->c->labels + place / 2] : m->c->blank;
}

static const float *log_probs(const struct sample *m, int64_t t)
{
    return (const float *)m->c->log_prob + (t * m->c->batch + m->i) * m->c->classes;
}

static struct sample sample_of(const struct mc_ctc *c, int64_t i, void *room)
{
    float *scratch = (float *)((double *)room + c->steps);
    struct sample m = {.c = c, .i = i, .steps = c->n_steps[i], .places = 2 * c->n_labels[i] + 1};
    m.level = room;
    m.row = LEAST + (m.places + LANES - 1) / LANES * LANES + LEAST;
    m.emit = fill(scratch, m.row, -INFINITY) + LEAST;
    m.skip = fill(scratch + m.row, m.row, -INFINITY) + LEAST;
    m.next = fill(scratch + 2 * m.row, m.row, -INFINITY) + LEAST;
    m.alpha = scratch + 3 * m.row + LEAST;
    for (int64_t s = 3; s < m.places; s += 2)
        m.skip[s] = class_at(&m, s) != class_at(&m, s - 2) ? 0 : -INFINITY;
    return m;
}

static void read_step(const struct sample *m, int64_t t)
{
    const float *p = log_probs(m, t);
    for (int64_t s = 0; s < m->places; s++)
        m->emit[s] = p[class_at(m, s)];
}

/* Take the largest out of a row; 0 where all are -infinity, or one is NaN. */
static float take_out(const struct sample *m, float *row)
{
    vf top = vf_set1(-INFINITY);
    for (int64_t s = 0; s < m->places; s += LANES)
        top = vf_at_least(vf_load(row + s), top);
    float most = vf_max_lane(top);
    if (!isfinite(most))
        return 0;
    for (int64_t s = 0; s < m->places; s += LANES)
        vf_store(row + s, vf_load(row + s) - most);
    return most;
}

/* emit is -infinity beyond the last place, and so is every row there. */
static double forward(const struct sample *m)
{
    double level = 0;
    for (int64_t t = 0; t < m->steps; t++) {
        float *row = m->alpha + t * m->row;
        const float *last = row - m->row;
        fill(row - LEAST, m->row, -INFINITY);
        read_step(m, t);
        for (int64_t s = 0; t == 0 && s < 2 && s < m->places; s++)
            row[s] = m->emit[s];
        for (int64_t s = 0; t > 0 && s < m->places; s += LANES)
            vf_store(row + s,
                     vf_load(m->emit + s) + log_add3(vf_load(last + s), vf_load(last + s - 1),
                                                     vf_load(last + s - 2) + vf_load(m->skip + s)));
        level += (double)take_out(m, row);
        m->level[t] = level;
    }
    if (m->steps == 0)
        return m->places == 1 ? 0 : -(double)INFINITY;
    const float *end = m->alpha + (m->steps - 1) * m->row + m->places - 1;
    vf sum = log_add3(vf_set1(end[0]), vf_set1(end[-1]), vf_set1(-INFINITY));
    return level + (double)sum[0];
}

static void scaled_exp(int64_t n, float scale, const float *x, float *y)
{
    for (int64_t k = 0; k < n; k += LANES) {
        vm part = vm_first(n - k);
        vf_store_mask(y + k, vf_exp(vf_load_mask(x + k, part)) * scale, part);
    }
}

/* next[s]: all ends of paths that are at place s in the step after. What it becomes in step t without the
 * probability of that step, rest, gives with alpha the share of paths through s. */
static void backward(const struct sample *m, double total)
{
    const struct mc_ctc *c = m->c;
    float scale = (float)c->scale, *rest = m->next, share[LANES];
    double level = 0; /* taken out of rest */
    for (int64_t t = m->steps - 1; t >= 0; t--) {
        float shift = (float)(m->level[t] + level - total);
        const float *alpha = m->alpha + t * m->row;
        float *d = (float *)c->grad + (t * c->batch + m->i) * c->classes;
        read_step(m, t);
        scaled_exp(c->classes, scale, log_probs(m, t), d);
        for (int64_t s = 0; s < m->places; s += LANES) {
            vf sum = {0};
            if (t < m->steps - 1)
                sum = log_add3(vf_load(rest + s), vf_load(rest + s + 1),
                               vf_load(rest + s + 2) + vf_load(m->skip + s + 2));
            else
                for (int k = 0; k < LANES; k++)
                    sum[k] = s + k + 2 >= m->places && s + k < m->places ? 0 : -INFINITY;
            vf_store(share, vf_exp(vf_load(alpha + s) + sum + shift) * scale);
            for (int64_t k = 0; k < LANES && s + k < m->places; k++)
                d[class_at(m, s + k)] -= share[k];
            vf_store(rest + s,
                     sum + vf_load(m->emit + s)); /* what is behind s is not yet changed */
        }
        level += (double)take_out(m, rest);
    }
}

struct job {
    const struct mc_ctc *c;
    size_t bytes; /* of scratch per worker */
};

static void ctc_sample(void *ctx, int64_t i, int worker)
{
    const struct job *j = ctx;
    const struct mc_ctc *c = j->c;
    struct sample m = sample_of(c, i, (char *)c->scratch + (size_t)worker * j->bytes);
    double total = forward(&m);
    ((float *)c->loss)[i] = -(float)total;
    if (!c->grad)
        return;
    bool none = total == -(double)INFINITY;
    if (!none)
        backward(&m, total);
    for (int64_t t = none ? 0 : m.steps; t < c->steps; t++)
        fill((float *)c->grad + (t * c->batch + i) * c->classes, c->classes,
             none && !c->zero_infinity && t < m.steps ? NAN : 0);
}

void MC_CPU(mc_ctc)(const struct mc_ctc *c, struct mc_pool *pool)
{
    struct job j = {c, mc_ctc_scratch(c)};
    mc_pool_run(pool, c->batch, ctc_sample, &j);
}
