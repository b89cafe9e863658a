/* Elementwise work and reductions over every element type: shape arithmetic, indices, masks, labels.
 *
 * Written for small arrays: one plain version, no threads. Integer overflow wraps. */
#ifndef MC_KERNELS_TYPED_H
#define MC_KERNELS_TYPED_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels/elementwise.h"
#include "kernels/nn.h"

enum mc_elem {
    MC_ELEM_I8,
    MC_ELEM_I16,
    MC_ELEM_I32,
    MC_ELEM_I64,
    MC_ELEM_U8, /* and bool */
    MC_ELEM_U16,
    MC_ELEM_U32,
    MC_ELEM_U64,
    MC_ELEM_F32,
    MC_ELEM_F64,
    MC_ELEM_COUNT
};

/* z = fn(x, y). Division truncates; the divisor of DIV, MOD, FMOD holds no 0 (mc_typed_any_zero). A negative power of a whole
 * number is 0, or 1 or -1 for the bases 1 and -1. */
void mc_typed_binary(enum mc_elem type, const struct mc_binary *b);

/* y = fn(x) for ABS, NEG, SIGN, and CLAMP to [lo, hi]; bounds beyond the type are no bounds. */
void mc_typed_unary(enum mc_elem type, enum mc_unary_fn fn, int64_t lo, int64_t hi, int64_t n,
                    const void *x, void *y);

bool mc_typed_any_zero(enum mc_elem type, int64_t n, const void *x);

enum mc_compare_fn {
    MC_COMPARE_EQUAL,
    MC_COMPARE_LESS,
    MC_COMPARE_LESS_EQUAL,
    MC_COMPARE_AND, /* of truth values, as OR and XOR */
    MC_COMPARE_OR,
    MC_COMPARE_XOR,
    MC_COMPARE_COUNT
};

struct mc_compare { /* z = fn(x, y) as 0 or 1, broadcast as in mc_binary */
    enum mc_compare_fn fn;
    int rank;
    int64_t dim[MC_MOVE_RANK];
    int64_t stride[2][MC_MOVE_RANK];
    const void *x, *y;
    uint8_t *z;
};
void mc_typed_compare(enum mc_elem type, const struct mc_compare *c);

struct mc_select {        /* z = test ? x : y, broadcast; elements are opaque */
    int rank, elem_bytes; /* 1, 2, 4 or 8 */
    int64_t dim[MC_MOVE_RANK];
    int64_t stride[3][MC_MOVE_RANK]; /* of test, x, y */
    const uint8_t *test;
    const void *x, *y;
    void *z;
};
void mc_typed_select(const struct mc_select *s);

/* Of integers. MEAN, L2, LOG_SUM and LOG_SUM_EXP are truncated to the type; an empty maximum is its smallest
 * value. */
void mc_typed_reduce(enum mc_elem type, const struct mc_reduce *r);
void mc_typed_argext(enum mc_elem type, const struct mc_argext *a);

/* As they stand in the kernel tables: those above, or those of a device. */
struct mc_typed_kernels {
    void (*binary)(enum mc_elem type, const struct mc_binary *b);
    void (*unary)(enum mc_elem type, enum mc_unary_fn fn, int64_t lo, int64_t hi, int64_t n,
                  const void *x, void *y);
    void (*compare)(enum mc_elem type, const struct mc_compare *c);
    void (*select)(const struct mc_select *s);
    void (*reduce)(enum mc_elem type, const struct mc_reduce *r);
    void (*argext)(enum mc_elem type, const struct mc_argext *a);
};

#endif
