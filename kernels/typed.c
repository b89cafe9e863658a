#include "kernels/typed.h"

#include <assert.h>
#include <stddef.h>

#include "kernels/body_typed.h"

#define ALL(X)                                                                                     \
    INTEGERS(X)                                                                                    \
    X(float, F32, 0, 0)                                                                            \
    X(double, F64, 0, 0)

/* ---- walking a broadcast, row by row ---- */

struct walk {
    int rank, n_in;
    const int64_t *dim;
    const int64_t (*stride)[MC_MOVE_RANK];
    const void *in[3];
    int in_bytes[3], out_bytes;
    void *out;
};

typedef void row_fn(int what, int64_t n, const void *const *in, const int64_t *step, void *out);

static void walk_rows(const struct walk *w, int what, row_fn *row)
{
    int last = w->rank - 1;
    int64_t rows = 1, n = w->dim[last], index[MC_MOVE_RANK] = {0};
    for (int d = 0; d < last; d++)
        rows *= w->dim[d];
    for (int64_t r = 0; r < rows && n > 0; r++) {
        const void *in[3] = {0};
        int64_t step[3] = {0};
        for (int i = 0; i < w->n_in; i++) {
            int64_t at = 0;
            for (int d = 0; d < last; d++)
                at += index[d] * w->stride[i][d];
            in[i] = (const char *)w->in[i] + at * w->in_bytes[i];
            step[i] = w->stride[i][last];
        }
        row(what, n, in, step, (char *)w->out + r * n * w->out_bytes);
        for (int d = last - 1; d >= 0 && ++index[d] == w->dim[d]; d--)
            index[d] = 0;
    }
}

static const int bytes_of[MC_ELEM_COUNT] = {1, 2, 4, 8, 1, 2, 4, 8, 4, 8};

/* ---- arithmetic ---- */

#define BINARY(type, name, least, most)                                                            \
    static void binary_row_##name(int fn, int64_t n, const void *const *in, const int64_t *step,   \
                                  void *out)                                                       \
    {                                                                                              \
        const type *x = in[0], *y = in[1];                                                         \
        for (int64_t i = 0; i < n; i++)                                                            \
            ((type *)out)[i] = mc_typed_binary_of_##name(fn, x[i * step[0]], y[i * step[1]]);      \
    }
INTEGERS(BINARY)

void mc_typed_binary(enum mc_elem type, const struct mc_binary *b)
{
#define ENTRY(type, name, least, most) [MC_ELEM_##name] = binary_row_##name,
    static row_fn *const rows[MC_ELEM_COUNT] = {INTEGERS(ENTRY)};
#undef ENTRY
    assert(rows[type]);
    int each = bytes_of[type];
    struct walk w = {b->rank, 2, b->dim, b->stride, {b->x, b->y}, {each, each}, each, b->z};
    walk_rows(&w, (int)b->fn, rows[type]);
}

#define UNARY(type, name, least, most)                                                             \
    static void unary_##name(int fn, int64_t lo, int64_t hi, int64_t n, const void *in, void *out) \
    {                                                                                              \
        const type *x = in;                                                                        \
        type *y = out, low = mc_typed_bound_of_##name(lo, 0);                                      \
        type high = hi == INT64_MAX ? (type)most : mc_typed_bound_of_##name(hi, 0);                \
        for (int64_t i = 0; i < n; i++)                                                            \
            y[i] = mc_typed_unary_of_##name(fn, low, high, x[i]);                                  \
    }
INTEGERS(UNARY)

void mc_typed_unary(enum mc_elem type, enum mc_unary_fn fn, int64_t lo, int64_t hi, int64_t n,
                    const void *x, void *y)
{
#define ENTRY(type, name, least, most) [MC_ELEM_##name] = unary_##name,
    static void (*const fns[MC_ELEM_COUNT])(int, int64_t, int64_t, int64_t, const void *,
                                            void *) = {INTEGERS(ENTRY)};
#undef ENTRY
    assert(fns[type]);
    fns[type]((int)fn, lo, hi, n, x, y);
}

bool mc_typed_any_zero(enum mc_elem type, int64_t n, const void *x)
{
    bool found = false;
#define CASE(type, name, least, most)                                                              \
    case MC_ELEM_##name:                                                                           \
        for (int64_t i = 0; i < n; i++)                                                            \
            found |= ((const type *)x)[i] == 0;                                                    \
        break;
    switch (type) {
        ALL(CASE)
    case MC_ELEM_COUNT: break;
    }
#undef CASE
    return found;
}

/* ---- comparisons and selection ---- */

#define COMPARE(type, name, least, most)                                                           \
    static void compare_##name(int fn, int64_t n, const void *const *in, const int64_t *step,      \
                               void *out)                                                          \
    {                                                                                              \
        const type *x = in[0], *y = in[1];                                                         \
        for (int64_t i = 0; i < n; i++)                                                            \
            ((uint8_t *)out)[i] = mc_typed_compare_of_##name(fn, x[i * step[0]], y[i * step[1]]);  \
    }
ALL(COMPARE)

void mc_typed_compare(enum mc_elem type, const struct mc_compare *c)
{
#define ENTRY(type, name, least, most) [MC_ELEM_##name] = compare_##name,
    static row_fn *const rows[MC_ELEM_COUNT] = {ALL(ENTRY)};
#undef ENTRY
    int each = bytes_of[type];
    struct walk w = {c->rank, 2, c->dim, c->stride, {c->x, c->y}, {each, each}, 1, c->z};
    walk_rows(&w, (int)c->fn, rows[type]);
}

#define SELECT(type)                                                                               \
    for (int64_t i = 0; i < n; i++)                                                                \
    ((type *)out)[i] = test[i * step[0]] ? ((const type *)in[1])[i * step[1]]                      \
                                         : ((const type *)in[2])[i * step[2]]

static void select_row(int bytes, int64_t n, const void *const *in, const int64_t *step, void *out)
{
    const uint8_t *test = in[0];
    switch (bytes) {
    case 1: SELECT(uint8_t); break;
    case 2: SELECT(uint16_t); break;
    case 4: SELECT(uint32_t); break;
    case 8: SELECT(uint64_t); break;
    default: assert(0);
    }
}

void mc_typed_select(const struct mc_select *s)
{
    struct walk w = {s->rank,
                     3,
                     s->dim,
                     s->stride,
                     {s->test, s->x, s->y},
                     {1, s->elem_bytes, s->elem_bytes},
                     s->elem_bytes,
                     s->z};
    walk_rows(&w, s->elem_bytes, select_row);
}
