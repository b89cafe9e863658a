#include "passes/circulant/circulant_order.h"

#include <stdlib.h>

#include "base/interrupt.h"
#include "base/mem.h"

/* Of the reference mlp, blocks of 8: errors .062 .129 .108 of its layers become .044 .097 .077 in three rounds, and hardly
 * less in more. */
enum { ROUNDS = 3 };
/* Exchanges that bring less than this share of what a row explains on average are not worth their time. */
static const double LEAST_GAIN = 1e-6;

/* With L Lᵀ the rotated covariance and z(u, r) = L⁻¹ R_r k_u, a block explains |sum over its places r of z(row there, r)|². */
struct orderer {
    struct mc_circulant_form f;
    struct mc_linalg *la;
    int64_t n, slots;     /* slots: rows in whole blocks */
    float *z;             /* [slots, b, n] */
    float *square;        /* [slots, b] |z|² */
    float *sum;           /* [slots / b, n] of each block */
    float *with, *across; /* [slots * b], [slots] products */
    int64_t *order;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for ordering rows");
}

static const float *z_of(const struct orderer *o, int64_t row, int64_t place)
{
    return o->z + (row * o->f.b + place) * o->n;
}

static double dot(const float *a, const float *b, int64_t n)
{
    enum { LANES = 16 };
    float sum[LANES] = {0};
    double all = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++)
            sum[k] += a[i + k] * b[i + k];
    for (int k = 0; k < LANES; k++)
        all += sum[k];
    for (; i < n; i++)
        all += a[i] * b[i];
    return all;
}

static int prepare(struct orderer *o, const float *second, const float *cross, double ridge,
                   struct mc_err *err)
{
    const struct mc_circulant_form *f = &o->f;
    int64_t b = f->b, have = f->channels * f->taps;
    struct mc_circulant_fit s;
    int rc = mc_circulant_fit_begin(f, o->la, second, ridge, b, &s, err);
    if (rc)
        return rc;
    for (int64_t i = 0; i < o->slots; i++)
        for (int64_t r = 0; r < b; r++)
            mc_circulant_fit_rotate(f, cross + i * have, r, o->z + (i * b + r) * o->n);
    rc = mc_linalg_trsm(o->la, 'r', 't', o->slots * b, o->n, s.l, o->n, o->z, o->n, err);
    mc_circulant_fit_end(&s);
    for (int64_t i = 0; !rc && i < o->slots * b; i++)
        o->square[i] = (float)dot(o->z + i * o->n, o->z + i * o->n, o->n);
    return rc;
}

/* Sums of all blocks from the order; returns what they explain. */
static double add_up(struct orderer *o)
{
    int64_t b = o->f.b, n = o->n;
    double all = 0;
    for (int64_t g = 0; g < o->slots / b; g++) {
        float *sum = o->sum + g * n;
        for (int64_t j = 0; j < n; j++)
            sum[j] = 0;
        for (int64_t r = 0; r < b; r++) {
            const float *z = z_of(o, o->order[g * b + r], r);
            for (int64_t j = 0; j < n; j++)
                sum[j] += z[j];
        }
        all += dot(sum, sum, n);
    }
    return all;
}

static void replace(struct orderer *o, int64_t slot, int64_t row)
{
    int64_t b = o->f.b;
    const float *old = z_of(o, o->order[slot], slot % b), *z = z_of(o, row, slot % b);
    float *sum = o->sum + slot / b * o->n;
    for (int64_t j = 0; j < o->n; j++)
        sum[j] += z[j] - old[j];
    o->order[slot] = row;
}

/* The best partner of a slot, in another block; exchanged where that gains. */
static int try_slot(struct orderer *o, int64_t slot, double least, bool *ret, struct mc_err *err)
{
    int64_t b = o->f.b, n = o->n, u = o->order[slot], r = slot % b, best = -1;
    const float *sum = o->sum + slot / b * n, *zu = z_of(o, u, r);
    double most = least, to_own = dot(sum, zu, n) - o->square[u * b + r];
    *ret = false;
    /* with [v, any place] the block's sum; only place r is read, but one product is faster than many */
    int rc = mc_linalg_gemm(o->la, 'n', 't', o->slots, 1, n, 1, o->z + r * n, b * n, sum, n, 0,
                            o->with, 1, err);
    for (int64_t t = 0; !rc && t < o->slots; t++) {
        if (t / b == slot / b)
            continue;
        int64_t v = o->order[t], place = t % b;
        const float *zv_here = z_of(o, v, r), *theirs = o->sum + t / b * n;
        double v_here = o->with[v] - dot(zv_here, zu, n);
        double v_there = o->across[t] - o->square[v * b + place];
        const float *zu_there = z_of(o, u, place);
        double u_there = dot(theirs, zu_there, n) - dot(z_of(o, v, place), zu_there, n);
        double gain = 2 * (v_here - to_own + u_there - v_there) + o->square[v * b + r] -
                      o->square[u * b + r] + o->square[u * b + place] - o->square[v * b + place];
        if (gain > most) {
            most = gain;
            best = t;
        }
    }
    if (rc || best < 0)
        return rc;
    int64_t v = o->order[best];
    replace(o, slot, v);
    replace(o, best, u);
    for (int64_t i = 0; i < b; i++) { /* what rows of the two blocks are to their sums */
        int64_t a = slot / b * b + i, c = best / b * b + i;
        o->across[a] = (float)dot(o->sum + slot / b * n, z_of(o, o->order[a], i), n);
        o->across[c] = (float)dot(o->sum + best / b * n, z_of(o, o->order[c], i), n);
    }
    *ret = true;
    return 0;
}

static int exchange(struct orderer *o, double *ret_before, double *ret_after, struct mc_err *err)
{
    int64_t b = o->f.b;
    int rc = 0;
    bool any = true;
    *ret_after = *ret_before = add_up(o);
    double least = LEAST_GAIN * *ret_before / (double)o->slots;
    for (int64_t t = 0; t < o->slots; t++)
        o->across[t] = (float)dot(o->sum + t / b * o->n, z_of(o, o->order[t], t % b), o->n);
    for (int k = 0; !rc && any && k < ROUNDS; k++) {
        any = false;
        for (int64_t i = 0; !rc && i < o->slots; i++) {
            bool did;
            rc = mc_interrupt_check(err);
            if (!rc)
                rc = try_slot(o, i, least, &did, err);
            any = any || (!rc && did);
        }
        *ret_after = add_up(o);
    }
    return rc;
}

int mc_circulant_order(const struct mc_circulant_form *f, struct mc_linalg *la, const float *second,
                       const float *cross, double ridge, double most, int64_t *order,
                       double *ret_before, double *ret_after, bool *ret_large, struct mc_err *err)
{
    struct orderer o = {.f = *f,
                        .la = la,
                        .n = mc_circulant_form_q(f) * f->b * f->taps,
                        .slots = f->m / f->b * f->b,
                        .order = order};
    for (int64_t i = 0; i < f->m; i++)
        order[i] = i;
    *ret_large = (double)o.slots * (double)f->b * (double)o.n > most;
    *ret_before = *ret_after = 0;
    if (*ret_large || o.slots <= f->b || f->b == 1)
        return 0;
    size_t slots = (size_t)o.slots, b = (size_t)f->b, n = (size_t)o.n;
    o.z = mc_calloc(slots * b, n * sizeof *o.z);
    o.square = mc_calloc(slots, b * sizeof *o.square);
    o.sum = mc_calloc(slots / b, n * sizeof *o.sum);
    o.with = mc_calloc(slots, sizeof *o.with);
    o.across = mc_calloc(slots, sizeof *o.across);
    int rc = o.z && o.square && o.sum && o.with && o.across ? 0 : no_memory(err);
    if (!rc)
        rc = prepare(&o, second, cross, ridge, err);
    if (!rc)
        rc = exchange(&o, ret_before, ret_after, err);
    free(o.z);
    free(o.square);
    free(o.sum);
    free(o.with);
    free(o.across);
    return rc;
}
