/* Integers on a device, and comparisons and selections of all types, against the functions for the CPU. */
#include <math.h>
#include <string.h>

#include "check.h"

static const int bytes_of[MC_ELEM_COUNT] = {1, 2, 4, 8, 1, 2, 4, 8, 4, 8};

/* n elements: any bits, few values (so that some are equal), or the ends of the type; floats are whole numbers or NaN. */
static void *draw(struct check *c, enum mc_elem type, int64_t n, bool zeros)
{
    int bytes = bytes_of[type];
    uint32_t kind = check_below(c, 3);
    unsigned char *x = check_alloc(c, (size_t)(n * bytes), (size_t)bytes);
    for (int64_t i = 0; i < n; i++) {
        int64_t v = (int64_t)check_below(c, 5) - 2;
        if (kind == 0)
            v = (int64_t)((uint64_t)check_below(c, UINT32_MAX) << 32 | check_below(c, UINT32_MAX));
        if (kind == 1 && check_below(c, 4) == 0)
            v = check_coin(c) ? INT64_MAX
                              : INT64_MIN; /* cut to its ends in smaller types: -1 and 0 */
        double d = check_below(c, 9) ? (double)(v % 1000) : (double)NAN;
        float f = (float)d;
        const void *from = type == MC_ELEM_F64 ? (void *)&d : type == MC_ELEM_F32 ? (void *)&f : &v;
        static const unsigned char none[8] = {0}, one[8] = {1};
        if (!zeros && type < MC_ELEM_F32 && memcmp(from, none, (size_t)bytes) == 0)
            from = one;
        memcpy(x + i * bytes, from, (size_t)bytes);
    }
    return x;
}

/* A shape, and for each of n inputs strides that repeat in some dimensions; their sizes in ret_count. */
static int64_t draw_broadcast(struct check *c, int *rank, int64_t *dim, int n,
                              int64_t (*stride)[MC_MOVE_RANK], int64_t *ret_count)
{
    int64_t all = 1;
    *rank = 1 + (int)check_below(c, 4);
    for (int d = 0; d < *rank; d++) {
        dim[d] = check_size(c, 16, all < 300 ? 70 : 4);
        all *= dim[d];
    }
    for (int i = 0; i < n; i++) {
        ret_count[i] = 1;
        bool repeats = check_coin(c);
        for (int d = *rank - 1; d >= 0; d--) {
            bool once = repeats && check_coin(c);
            stride[i][d] = once ? 0 : ret_count[i];
            ret_count[i] *= once ? 1 : dim[d];
        }
    }
    return all;
}

static void test_binary(struct check *c)
{
    enum mc_elem type = check_below(c, MC_ELEM_F32);
    struct mc_binary b = {.fn = check_below(c, MC_BINARY_SHIFT_RIGHT + 1)};
    int64_t count[2], n = draw_broadcast(c, &b.rank, b.dim, 2, b.stride, count);
    size_t bytes = (size_t)n * (size_t)bytes_of[type];
    void *want = check_alloc(c, bytes, 8), *got = check_alloc(c, bytes, (size_t)bytes_of[type]);
    check_describe(c, "binary %d of type %d, %d elements of rank %d", (int)b.fn, (int)type, (int)n,
                   b.rank);
    b.x = draw(c, type, count[0], true);
    b.y = draw(c, type, count[1], false);
    b.z = want;
    mc_typed_binary(type, &b);
    b.z = got;
    if (count[0] == n && check_coin(c))
        b.x = memcpy(got, b.x, bytes);
    c->k->typed.binary(type, &b);
    check_same(c, "z", got, want, bytes);
}

static void test_unary(struct check *c)
{
    static const enum mc_unary_fn fns[] = {MC_UNARY_ABS, MC_UNARY_NEG, MC_UNARY_SIGN,
                                           MC_UNARY_CLAMP};
    enum mc_elem type = check_below(c, MC_ELEM_F32);
    enum mc_unary_fn fn = fns[check_below(c, 4)];
    int64_t n = check_size(c, 64, 3000), lo = (int64_t)check_below(c, 300) - 150;
    int64_t hi = check_below(c, 3) ? lo + check_below(c, 200) : INT64_MAX;
    lo = check_below(c, 3) ? lo : INT64_MIN;
    size_t bytes = (size_t)n * (size_t)bytes_of[type];
    void *want = check_alloc(c, bytes, 8), *got = check_alloc(c, bytes, (size_t)bytes_of[type]);
    const void *x = draw(c, type, n, true);
    check_describe(c, "unary %d of type %d, %d elements, %lld to %lld", (int)fn, (int)type, (int)n,
                   (long long)lo, (long long)hi);
    mc_typed_unary(type, fn, lo, hi, n, x, want);
    if (check_coin(c))
        x = memcpy(got, x, bytes);
    c->k->typed.unary(type, fn, lo, hi, n, x, got);
    check_same(c, "y", got, want, bytes);
}

static void test_compare(struct check *c)
{
    enum mc_elem type = check_below(c, MC_ELEM_COUNT);
    struct mc_compare p = {.fn = check_below(c, MC_COMPARE_COUNT)};
    int64_t count[2], n = draw_broadcast(c, &p.rank, p.dim, 2, p.stride, count);
    uint8_t *want = check_alloc(c, (size_t)n, 1), *got = check_alloc(c, (size_t)n, 1);
    check_describe(c, "compare %d of type %d, %d elements of rank %d", (int)p.fn, (int)type, (int)n,
                   p.rank);
    p.x = draw(c, type, count[0], true);
    p.y = draw(c, type, count[1], true);
    p.z = want;
    mc_typed_compare(type, &p);
    p.z = got;
    c->k->typed.compare(type, &p);
    check_same(c, "z", got, want, (size_t)n);
}

static void test_select(struct check *c)
{
    static const enum mc_elem types[] = {MC_ELEM_U8, MC_ELEM_U16, MC_ELEM_U32, MC_ELEM_U64};
    enum mc_elem type = types[check_below(c, 4)];
    struct mc_select s = {.elem_bytes = bytes_of[type]};
    int64_t count[3], n = draw_broadcast(c, &s.rank, s.dim, 3, s.stride, count);
    size_t bytes = (size_t)(n * s.elem_bytes);
    void *want = check_alloc(c, bytes, 8), *got = check_alloc(c, bytes, (size_t)s.elem_bytes);
    uint8_t *test = check_alloc(c, (size_t)count[0], 1);
    for (int64_t i = 0; i < count[0]; i++)
        test[i] = check_coin(c);
    check_describe(c, "select of %d bytes, %d elements of rank %d", s.elem_bytes, (int)n, s.rank);
    s.test = test;
    s.x = draw(c, type, count[1], true);
    s.y = draw(c, type, count[2], true);
    s.z = want;
    mc_typed_select(&s);
    s.z = got;
    c->k->typed.select(&s);
    check_same(c, "z", got, want, bytes);
}

static int64_t element(enum mc_elem type, const void *x, int64_t i)
{
    switch (type) {
    case MC_ELEM_I8: return ((const int8_t *)x)[i];
    case MC_ELEM_I16: return ((const int16_t *)x)[i];
    case MC_ELEM_I32: return ((const int32_t *)x)[i];
    case MC_ELEM_U8: return ((const uint8_t *)x)[i];
    case MC_ELEM_U16: return ((const uint16_t *)x)[i];
    case MC_ELEM_U32: return ((const uint32_t *)x)[i];
    default: return ((const int64_t *)x)[i];
    }
}

static void test_reduce(struct check *c)
{
    enum mc_elem type = check_below(c, MC_ELEM_F32);
    struct mc_reduce r = {.fn = check_below(c, MC_REDUCE_COUNT),
                          .keep_rank = 1 + (int)check_below(c, 2),
                          .over_rank = 1 + (int)check_below(c, 2)};
    int64_t n = 1, over = 1, step = 1;
    for (int d = 0; d < r.keep_rank; d++)
        n *= r.keep[d] = check_size(c, 16, n < 50 ? 40 : 4);
    for (int d = 0; d < r.over_rank; d++)
        over *= r.over[d] = check_below(c, 40) ? check_size(c, 16, over < 50 ? 300 : 4) : 0;
    bool inside = check_coin(c); /* the dimensions that are summed over lie inside */
    for (int i = 0; i < 2; i++) {
        if ((i == 0) == inside)
            for (int d = r.over_rank - 1; d >= 0; d--, step *= r.over[d + 1])
                r.over_stride[d] = step;
        else
            for (int d = r.keep_rank - 1; d >= 0; d--, step *= r.keep[d + 1])
                r.keep_stride[d] = step;
    }
    size_t bytes = (size_t)n * (size_t)bytes_of[type];
    void *want = check_alloc(c, bytes, 8), *got = check_alloc(c, bytes, (size_t)bytes_of[type]);
    check_describe(c, "reduce %d of type %d, %d sums of %d", (int)r.fn, (int)type, (int)n,
                   (int)over);
    r.x = draw(c, type, n * over > 0 ? n * over : 1, true);
    r.y = want;
    mc_typed_reduce(type, &r);
    r.y = got;
    c->k->typed.reduce(type, &r);
    bool real = r.fn == MC_REDUCE_L2 || r.fn == MC_REDUCE_LOG_SUM || r.fn == MC_REDUCE_LOG_SUM_EXP;
    if (!real)
        check_same(c, "y", got, want, bytes);
    for (int64_t i = 0; i < n && real;
         i++) { /* real numbers, cut: next to a whole one either will do */
        int64_t a = element(type, got, i), b = element(type, want, i);
        if (!(fabs((double)a - (double)b) <= 1 + 1e-12 * fabs((double)b)))
            check_fail(c, "y[%d] is %lld, not %lld", (int)i, (long long)a, (long long)b);
    }
}

static void test_argext(struct check *c)
{
    enum mc_elem type = check_below(c, MC_ELEM_F32);
    struct mc_argext a = {.smallest = check_coin(c),
                          .last = check_coin(c),
                          .outer = check_size(c, 4, 20),
                          .n = check_size(c, 16, 300),
                          .inner = check_coin(c) ? 1 : check_size(c, 16, 40)};
    size_t bytes = (size_t)(a.outer * a.inner) * sizeof(int64_t);
    int64_t *want = check_alloc(c, bytes, 8), *got = check_alloc(c, bytes, 8);
    check_describe(c, "argext of type %d, %d x %d x %d", (int)type, (int)a.outer, (int)a.n,
                   (int)a.inner);
    a.x = draw(c, type, a.outer * a.n * a.inner, true);
    a.y = want;
    mc_typed_argext(type, &a);
    a.y = got;
    c->k->typed.argext(type, &a);
    check_same(c, "y", got, want, bytes);
}

static void test(struct check *c)
{
    static void (*const tests[])(struct check *) = {test_binary, test_unary,  test_compare,
                                                    test_select, test_reduce, test_argext};
    tests[c->round % 6](c);
}

const struct check_row check_typed = {"typed", 900, test, NULL};
