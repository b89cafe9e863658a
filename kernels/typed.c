#include "kernels/typed.h"

#include <assert.h>
#include <stddef.h>

#include "kernels/typed_list.h"

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

/* ---- integer arithmetic, in 64 bits without sign so that overflow wraps ---- */

static uint64_t power(uint64_t x, int64_t y, bool is_signed)
{
    if (y < 0 && is_signed)
        return x == 1 ? 1 : x == UINT64_MAX ? (y % 2 ? x : 1) : 0;
    uint64_t r = 1;
    for (uint64_t e = (uint64_t)y; e; e >>= 1, x *= x)
        if (e & 1)
            r *= x;
    return r;
}

/* x shifted by y of `bits` bits; x is sign-extended. */
static uint64_t shift(bool left, uint64_t x, uint64_t y, unsigned bits, bool is_signed)
{
    bool negative = is_signed && x >> 63;
    if (y >= bits)
        return negative && !left ? UINT64_MAX : 0;
    if (left)
        return x << y;
    return negative ? ~(~x >> y) : x >> y;
}

#define BINARY(type, name, least, most)                                                            \
    static type binary_##name(int fn, type x, type y)                                              \
    {                                                                                              \
        uint64_t a = (uint64_t)x, b = (uint64_t)y;                                                 \
        switch (fn) {                                                                              \
        case MC_BINARY_ADD: return (type)(a + b);                                                  \
        case MC_BINARY_SUB: return (type)(a - b);                                                  \
        case MC_BINARY_MUL: return (type)(a * b);                                                  \
        case MC_BINARY_DIV: return least < 0 && y == (type)-1 ? (type)(0 - a) : (type)(x / y);     \
        case MC_BINARY_POW: return (type)power(a, (int64_t)y, least < 0);                          \
        case MC_BINARY_MIN: return x < y ? x : y;                                                  \
        case MC_BINARY_MAX: return x > y ? x : y;                                                  \
        case MC_BINARY_PRELU: return least < 0 && x < (type)1 ? (type)(a * b) : x;                 \
        case MC_BINARY_MOD:                                                                        \
        case MC_BINARY_FMOD: {                                                                     \
            type r = least < 0 && y == (type)-1 ? 0 : (type)(x % y);                               \
            bool other = least < 0 && r != 0 && (r < (type)1) != (y < (type)1);                    \
            return fn == MC_BINARY_MOD && other ? (type)(r + y) : r;                               \
        }                                                                                          \
        case MC_BINARY_BITAND: return (type)(a & b);                                               \
        case MC_BINARY_BITOR: return (type)(a | b);                                                \
        case MC_BINARY_BITXOR: return (type)(a ^ b);                                               \
        case MC_BINARY_SHIFT_LEFT:                                                                 \
        case MC_BINARY_SHIFT_RIGHT:                                                                \
            return (type)shift(fn == MC_BINARY_SHIFT_LEFT, a, b, 8 * sizeof(type), least < 0);     \
        default: return x;                                                                         \
        }                                                                                          \
    }                                                                                              \
    static void binary_row_##name(int fn, int64_t n, const void *const *in, const int64_t *step,   \
                                  void *out)                                                       \
    {                                                                                              \
        const type *x = in[0], *y = in[1];                                                         \
        for (int64_t i = 0; i < n; i++)                                                            \
            ((type *)out)[i] = binary_##name(fn, x[i * step[0]], y[i * step[1]]);                  \
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

/* Bounds beyond the type are no bounds: clamp them into it first. */
#define UNARY(type, name, least, most)                                                             \
    static type bound_##name(int64_t v)                                                            \
    {                                                                                              \
        if (least == 0)                                                                            \
            return v < 0 ? 0 : (uint64_t)v > (uint64_t)most ? (type)most : (type)v;                \
        return v < (int64_t)least ? (type)least : v > (int64_t)most ? (type)most : (type)v;        \
    }                                                                                              \
    static void unary_##name(int fn, int64_t lo, int64_t hi, int64_t n, const void *in, void *out) \
    {                                                                                              \
        const type *x = in;                                                                        \
        type *y = out, low = bound_##name(lo);                                                     \
        type high = hi == INT64_MAX ? (type)most : bound_##name(hi);                               \
        for (int64_t i = 0; i < n; i++) {                                                          \
            bool negative = least < 0 && x[i] < (type)1 && x[i] != 0;                              \
            type v = x[i];                                                                         \
            if (fn == MC_UNARY_CLAMP) {                                                            \
                v = v < low ? low : v;                                                             \
                v = v > high ? high : v;                                                           \
            } else if (fn == MC_UNARY_SIGN) {                                                      \
                v = (type)(negative ? -1 : v != 0);                                                \
            } else if (fn == MC_UNARY_NEG || negative) {                                           \
                v = (type)(0 - (uint64_t)v);                                                       \
            }                                                                                      \
            y[i] = v;                                                                              \
        }                                                                                          \
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
        const type *p = in[0], *q = in[1];                                                         \
        uint8_t *z = out;                                                                          \
        for (int64_t i = 0; i < n; i++) {                                                          \
            type x = p[i * step[0]], y = q[i * step[1]];                                           \
            switch (fn) {                                                                          \
            case MC_COMPARE_EQUAL: z[i] = x == y; break;                                           \
            case MC_COMPARE_LESS: z[i] = x < y; break;                                             \
            case MC_COMPARE_LESS_EQUAL: z[i] = x <= y; break;                                      \
            case MC_COMPARE_AND: z[i] = x && y; break;                                             \
            case MC_COMPARE_OR: z[i] = x || y; break;                                              \
            case MC_COMPARE_XOR: z[i] = !x != !y; break;                                           \
            default: assert(0);                                                                    \
            }                                                                                      \
        }                                                                                          \
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
