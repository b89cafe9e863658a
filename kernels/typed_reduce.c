#include <assert.h>
#include <math.h>
#include <stddef.h>

#include "kernels/body_typed.h"

/* Next index below dim, the last dimension fastest. */
static void advance(int rank, const int64_t *dim, int64_t *index)
{
    for (int d = rank - 1; d >= 0 && ++index[d] == dim[d]; d--)
        index[d] = 0;
}

static int64_t offset(int rank, const int64_t *index, const int64_t *stride)
{
    int64_t at = 0;
    for (int d = 0; d < rank; d++)
        at += index[d] * stride[d];
    return at;
}

#define REDUCE(type, name, least, most)                                                            \
    static void reduce_##name(const struct mc_reduce *r, int64_t n, int64_t over)                  \
    {                                                                                              \
        int64_t index[MC_MOVE_RANK] = {0};                                                         \
        for (int64_t i = 0; i < n; i++, advance(r->keep_rank, r->keep, index)) {                   \
            const type *x = (const type *)r->x + offset(r->keep_rank, index, r->keep_stride);      \
            int64_t at[MC_MOVE_RANK] = {0};                                                        \
            double real = 0;                                                                       \
            if (mc_typed_is_real(r->fn)) {                                                         \
                for (int64_t j = 0; j < over; j++, advance(r->over_rank, r->over, at))             \
                    real = mc_typed_real_step(                                                     \
                        r->fn, real, (double)x[offset(r->over_rank, at, r->over_stride)]);         \
                real = mc_typed_real_end(r->fn, real, (double)(least), (double)(most));            \
                ((type *)r->y)[i] = real >= (double)(most) ? (type)(most) : (type)real;            \
                continue;                                                                          \
            }                                                                                      \
            type sum = r->fn == MC_REDUCE_MAX   ? (type)least                                      \
                       : r->fn == MC_REDUCE_MIN ? (type)most                                       \
                                                : (type)(r->fn == MC_REDUCE_PROD);                 \
            for (int64_t j = 0; j < over; j++, advance(r->over_rank, r->over, at))                 \
                sum = MC_TYPED(mc_typed_step_of,                                                   \
                               name)(r->fn, sum, x[offset(r->over_rank, at, r->over_stride)]);     \
            if (r->fn == MC_REDUCE_MEAN && over > 0)                                               \
                sum = least < 0 ? (type)((int64_t)sum / over)                                      \
                                : (type)((uint64_t)sum / (uint64_t)over);                          \
            ((type *)r->y)[i] = sum;                                                               \
        }                                                                                          \
    }
INTEGERS(REDUCE)

void mc_typed_reduce(enum mc_elem type, const struct mc_reduce *r)
{
    int64_t n = 1, over = 1;
    for (int d = 0; d < r->keep_rank; d++)
        n *= r->keep[d];
    for (int d = 0; d < r->over_rank; d++)
        over *= r->over[d];
    switch (type) {
#define CASE(type, name, least, most)                                                              \
    case MC_ELEM_##name: reduce_##name(r, n, over); break;
        INTEGERS(CASE)
#undef CASE
    default: assert(0 && "floats have kernels of their own");
    }
}

#define ARGEXT(type, name, least, most)                                                            \
    static int64_t argext_##name(const struct mc_argext *a, const type *x)                         \
    {                                                                                              \
        int64_t best = 0;                                                                          \
        for (int64_t i = 1; i < a->n; i++) {                                                       \
            type v = x[i * a->inner], top = x[best * a->inner];                                    \
            if ((a->smallest ? v < top : v > top) || (a->last && v == top))                        \
                best = i;                                                                          \
        }                                                                                          \
        return best;                                                                               \
    }
INTEGERS(ARGEXT)

void mc_typed_argext(enum mc_elem type, const struct mc_argext *a)
{
    for (int64_t r = 0; r < a->outer * a->inner; r++) {
        int64_t from = r / a->inner * a->n * a->inner + r % a->inner;
        switch (type) {
#define CASE(type, name, least, most)                                                              \
    case MC_ELEM_##name: a->y[r] = argext_##name(a, (const type *)a->x + from); break;
            INTEGERS(CASE)
#undef CASE
        default: assert(0 && "floats have kernels of their own");
        }
    }
}
