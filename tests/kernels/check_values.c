/* Elements converted, tested, ordered and laid out on a device, the places that indices name, and what becomes of sums
 * of integer products: against formulas, and conversions of graph/dtype.h. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "graph/dtype.h"

static const struct {
    enum mc_elem elem;
    enum mc_dtype dtype;
    int bytes;
} types[] = {{MC_ELEM_I8, MC_DTYPE_I8, 1},   {MC_ELEM_I16, MC_DTYPE_I16, 2},
             {MC_ELEM_I32, MC_DTYPE_I32, 4}, {MC_ELEM_I64, MC_DTYPE_I64, 8},
             {MC_ELEM_U8, MC_DTYPE_U8, 1},   {MC_ELEM_U16, MC_DTYPE_U16, 2},
             {MC_ELEM_U32, MC_DTYPE_U32, 4}, {MC_ELEM_U64, MC_DTYPE_U64, 8},
             {MC_ELEM_F32, MC_DTYPE_F32, 4}, {MC_ELEM_F64, MC_DTYPE_F64, 8}};
enum { TYPES = sizeof types / sizeof *types, FLOAT = 8, DOUBLE = 9 };

static void *bytes_of(struct check *c, int64_t n, int each)
{
    return check_alloc(c, (size_t)(n * each), (size_t)each);
}

static uint64_t bits(struct check *c)
{
    return (uint64_t)check_below(c, UINT32_MAX) << 32 | check_below(c, UINT32_MAX);
}

/* Elements of a type: any bits or small numbers, floats of every size, halves, NaN, infinities. */
static void *draw(struct check *c, int type, int64_t n)
{
    char *x = bytes_of(c, n, types[type].bytes);
    bool small = check_coin(c);
    for (int64_t i = 0; i < n; i++) {
        int64_t v = small ? (int64_t)check_below(c, 9) - 4 : (int64_t)bits(c);
        double d = ldexp((double)check_below(c, 2001) / 8 - 125, (int)check_below(c, 90) - 24);
        uint32_t kind = check_below(c, 12);
        d = kind == 0   ? (double)NAN
            : kind == 1 ? (double)INFINITY
            : kind == 2 ? (double)-INFINITY
            : small     ? (double)v / 2
                        : d;
        float f = (float)d;
        const void *from = type == FLOAT ? (void *)&f : type == DOUBLE ? (void *)&d : (void *)&v;
        memcpy(x + i * types[type].bytes, from, (size_t)types[type].bytes);
    }
    return x;
}

/* n elements of any bits. */
static void *opaque(struct check *c, int64_t n, int each)
{
    uint8_t *x = bytes_of(c, n, each);
    for (int64_t i = 0; i < n * each; i++)
        x[i] = (uint8_t)check_below(c, 256);
    return x;
}

/* ---- conversions ---- */

/* One element by way of the functions for files. */
static void convert(const struct mc_cast *k, int from, int to, const char *x, char *y)
{
    double d;
    int64_t v;
    mc_dtype_to_f64((int)types[from].dtype, x, &d, 1, NULL);
    if (k->from_truth || k->to_truth) {
        bool truth = !(d == 0);
        d = truth;
        mc_dtype_from_f64((int)types[to].dtype, &d, y, 1, NULL);
    } else if (to == FLOAT) {
        mc_dtype_to_f32((int)types[from].dtype, x, (float *)(void *)y, 1, NULL);
    } else if (from < FLOAT && to < FLOAT) {
        if (from == 7)
            memcpy(&v, x, sizeof v);
        else
            mc_dtype_to_i64((int)types[from].dtype, x, &v, 1, NULL);
        memcpy(y, &v, (size_t)types[to].bytes);
    } else {
        d = to == DOUBLE || k->nearest ? d : trunc(d);
        mc_dtype_from_f64((int)types[to].dtype, &d, y, 1, NULL);
    }
}

static void test_cast(struct check *c)
{
    int from = (int)check_below(c, TYPES), to = (int)check_below(c, TYPES);
    struct mc_cast k = {.from = types[from].elem,
                        .to = types[to].elem,
                        .from_truth = types[from].elem == MC_ELEM_U8 && check_coin(c),
                        .to_truth = types[to].elem == MC_ELEM_U8 && check_coin(c),
                        .nearest = check_coin(c),
                        .n = check_size(c, 256, 700)};
    check_describe(c, "cast %d to %d%s of %d", from, to, k.nearest ? " nearest" : "", (int)k.n);
    const char *x = draw(c, from, k.n);
    char *y = bytes_of(c, k.n, types[to].bytes);
    k.x = x;
    k.y = y;
    c->k->values.cast(&k);
    for (int64_t i = 0; i < k.n; i++) {
        char want[8];
        convert(&k, from, to, x + i * types[from].bytes, want);
        if (to >= FLOAT && from >= FLOAT &&
            isnan(to == FLOAT ? (double)((const float *)k.y)[i] : ((const double *)k.y)[i])) {
            double d;
            mc_dtype_to_f64((int)types[from].dtype, x + i * types[from].bytes, &d, 1, NULL);
            if (isnan(d))
                continue;
        }
        if (memcmp(want, y + i * types[to].bytes, (size_t)types[to].bytes))
            check_fail(c, "element %d differs", (int)i);
    }
}

static void test_round(struct check *c)
{
    bool brain = check_coin(c);
    int64_t n = check_size(c, 256, 700);
    int half = brain ? MC_DTYPE_BF16 : MC_DTYPE_F16;
    float *x = draw(c, FLOAT, n), *want = bytes_of(c, n, 4);
    uint16_t code;
    for (int64_t i = 0; i < n; i++) { /* any bits too, and those half between two of the type */
        uint32_t v = check_below(c, UINT32_MAX), unit = brain ? 0x10000 : 0x2000;
        v = check_coin(c) ? v : (v & 0x807fffff) | (100 + check_below(c, 48)) << 23;
        v = check_coin(c) ? v : (v & ~(unit - 1)) | unit / 2;
        if (check_coin(c))
            memcpy(&x[i], &v, sizeof v);
    }
    for (int64_t i = 0; i < n; i++) {
        mc_dtype_from_f32(half, &x[i], &code, 1, NULL);
        mc_dtype_to_f32(half, &code, &want[i], 1, NULL);
    }
    check_describe(c, "round %d to type %d", (int)n, half);
    c->k->values.round(brain ? MC_HALF_BF16 : MC_HALF_F16, n, x);
    check_same(c, "rounded", x, want, (size_t)n * 4);
}

static void test_tests(struct check *c)
{
    int64_t n = check_size(c, 256, 700);
    int tests = (int)check_below(c, 8);
    bool truth = check_coin(c);
    const float *x = draw(c, FLOAT, n);
    uint8_t *y = bytes_of(c, n, 1), *z = bytes_of(c, n, 1);
    check_describe(c, "tests %d of %d", tests, (int)n);
    c->k->values.test(tests, n, x, y);
    for (int64_t i = 0; i < n; i++) {
        bool want = (tests & MC_TEST_NAN && isnan(x[i])) ||
                    (tests & MC_TEST_BELOW && isinf(x[i]) && x[i] < 0) ||
                    (tests & MC_TEST_ABOVE && isinf(x[i]) && x[i] > 0);
        if (y[i] != want)
            check_fail(c, "%g is %d", (double)x[i], y[i]);
    }
    c->k->values.flip(truth, n, y, z);
    for (int64_t i = 0; i < n; i++)
        if (z[i] != (truth ? !y[i] : 255 - y[i]))
            check_fail(c, "%d became %d", y[i], z[i]);
}

/* ---- laid out ---- */

static void test_diagonal(struct check *c)
{
    static const int sizes[] = {1, 2, 4, 8};
    struct mc_diagonal d = {.matrices = 1 + check_below(c, 3),
                            .rows = check_size(c, 8, 30),
                            .cols = check_size(c, 8, 30),
                            .k = (int64_t)check_below(c, 50) - 25,
                            .side = check_below(c, 3),
                            .elem_bytes = sizes[check_below(c, 4)],
                            .one = 1};
    int64_t n = d.matrices * d.rows * d.cols;
    const uint8_t *x = opaque(c, n, d.elem_bytes);
    uint8_t *y = bytes_of(c, n, d.elem_bytes);
    static const uint8_t zero[8], one[8] = {1};
    bool eye = d.side == MC_DIAGONAL_ALONE, place = !eye && check_coin(c);
    check_describe(c, "diagonal %d of %d x %d, side %d, %d bytes", (int)d.k, (int)d.rows,
                   (int)d.cols, (int)d.side, d.elem_bytes);
    d.x = eye ? NULL : place ? memcpy(y, x, (size_t)(n * d.elem_bytes)) : x;
    d.y = y;
    c->k->values.diagonal(&d);
    for (int64_t i = 0; i < n; i++) {
        int64_t past = i % d.cols - i / d.cols % d.rows - d.k;
        bool kept = eye ? past == 0 : d.side == MC_DIAGONAL_UPPER ? past >= 0 : past <= 0;
        const uint8_t *want = !kept ? zero : eye ? one : x + i * d.elem_bytes;
        if (memcmp(y + i * d.elem_bytes, want, (size_t)d.elem_bytes))
            check_fail(c, "element %d", (int)i);
    }
}

static void test_running(struct check *c)
{
    static const int some[] = {0, 2, 3, 4, 6, FLOAT};
    int type = some[check_below(c, 6)], each = types[type].bytes;
    struct mc_running r = {.type = types[type].elem,
                           .outer = 1 + check_below(c, 3),
                           .n = check_below(c, 3) ? check_size(c, 16, 60)
                                                  : 1025 + check_below(c, 900),
                           .inner = check_coin(c) ? 1 : 1 + check_below(c, 5),
                           .reverse = check_coin(c),
                           .product = type < FLOAT && check_coin(c),
                           .exclusive = check_coin(c)};
    int64_t n = r.outer * r.n * r.inner;
    const char *x = type == FLOAT ? (const char *)check_floats(c, n, false) : draw(c, type, n);
    char *y = bytes_of(c, n, each);
    check_describe(c, "running %d of type %d over %d x %d x %d%s%s", r.product, type, (int)r.outer,
                   (int)r.n, (int)r.inner, r.reverse ? " reverse" : "",
                   r.exclusive ? " exclusive" : "");
    r.x = check_coin(c) ? memcpy(y, x, (size_t)(n * each)) : x;
    r.y = y;
    c->k->values.running(&r);
    for (int64_t lane = 0; lane < r.outer * r.inner; lane++) {
        uint64_t whole = r.product;
        double real = 0, size = 0;
        for (int64_t k = 0; k < r.n; k++) {
            int64_t at = lane / r.inner * r.n * r.inner + lane % r.inner +
                         (r.reverse ? r.n - 1 - k : k) * r.inner;
            uint64_t before = whole, v = 0;
            double real_before = real;
            memcpy(&v, x + at * each, (size_t)each); /* the low bits are the same */
            whole = r.product ? whole * v : whole + v;
            float f = type == FLOAT ? ((const float *)(const void *)x)[at] : 0;
            real += (double)f;
            size += fabs((double)f);
            uint64_t want = r.exclusive ? before : whole;
            double sum = r.exclusive ? real_before : real;
            if (type < FLOAT && memcmp(&want, y + at * each, (size_t)each))
                check_fail(c, "element %d of lane %d", (int)k, (int)lane);
            if (type == FLOAT &&
                !(fabs((double)((const float *)r.y)[at] - sum) <= 6e-8 * fabs(sum) + 1e-12 * size))
                check_fail(c, "sum %d of lane %d", (int)k, (int)lane);
        }
    }
}

static void test_steps(struct check *c)
{
    int type = (int)check_below(c, DOUBLE);
    struct mc_steps s = {.type = types[type].elem,
                         .n = check_size(c, 256, 700),
                         .start = (int64_t)check_below(c, 100) - 50,
                         .step = (int64_t)check_below(c, 9) - 4,
                         .float_start = (double)check_below(c, 100) / 8,
                         .float_step = (double)check_below(c, 9) / 4 - 1};
    char *y = bytes_of(c, s.n, types[type].bytes);
    check_describe(c, "steps of type %d, %d of them", type, (int)s.n);
    s.y = y;
    c->k->values.steps(&s);
    for (int64_t i = 0; i < s.n; i++) {
        int64_t v = s.start + i * s.step;
        float f = (float)(s.float_start + (double)i * s.float_step); /* exact */
        if (memcmp(type == FLOAT ? (void *)&f : (void *)&v, y + i * types[type].bytes,
                   (size_t)types[type].bytes))
            check_fail(c, "step %d", (int)i);
    }
}

static int64_t inside(enum mc_outside outside, int64_t i, int64_t n)
{
    while (outside == MC_OUTSIDE_WRAP && i < 0)
        i += n;
    while (outside == MC_OUTSIDE_WRAP && i >= n)
        i -= n;
    if (outside == MC_OUTSIDE_REFLECT)
        i = i < 0 ? -i : i >= n ? n - 1 - (i - (n - 1)) : i;
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static void test_beyond(struct check *c)
{
    static const int sizes[] = {1, 2, 4, 8};
    struct mc_beyond b = {.outside = check_below(c, 3),
                          .rank = 1 + (int)check_below(c, 3),
                          .elem_bytes = sizes[check_below(c, 4)]};
    int64_t n = 1, in = 1, stride[3], at[3] = {0};
    for (int d = 0; d < b.rank; d++) {
        b.size[d] = 1 + check_below(c, 9);
        int64_t most = b.outside == MC_OUTSIDE_REFLECT ? b.size[d] - 1 : 20;
        b.before[d] = (int64_t)check_below(c, (uint32_t)most + 1);
        b.dim[d] = b.size[d] + b.before[d] + (int64_t)check_below(c, (uint32_t)most + 1);
        n *= b.dim[d];
        in *= b.size[d];
    }
    for (int d = b.rank - 1, step = 1; d >= 0; d--) {
        stride[d] = step;
        step *= (int)b.size[d];
    }
    const char *x = opaque(c, in, b.elem_bytes);
    char *y = bytes_of(c, n, b.elem_bytes);
    int64_t *index = bytes_of(c, b.dim[0], 8);
    check_describe(c, "beyond, rank %d, kind %d, %d elements", b.rank, (int)b.outside, (int)n);
    b.x = x;
    b.y = y;
    c->k->values.beyond(&b);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = 0;
        for (int d = 0; d < b.rank; d++)
            from += inside(b.outside, at[d] - b.before[d], b.size[d]) * stride[d];
        if (memcmp(y + i * b.elem_bytes, x + from * b.elem_bytes, (size_t)b.elem_bytes))
            check_fail(c, "element %d", (int)i);
        for (int d = b.rank - 1; d >= 0 && ++at[d] == b.dim[d]; d--)
            at[d] = 0;
    }
    const struct mc_beyond_index k = {b.outside, b.dim[0], b.size[0], b.before[0], index};
    c->k->values.beyond_index(&k);
    for (int64_t i = 0; i < k.n; i++)
        if (index[i] != inside(b.outside, i - k.before, k.size))
            check_fail(c, "index %d is %d", (int)i, (int)index[i]);
}

/* ---- order ---- */

/* Is element i of a lane before element j? */
static bool before(const struct mc_top *t, int type, const char *x, int64_t i, int64_t j)
{
    double a, b;
    mc_dtype_to_f64((int)types[type].dtype, x + i * t->inner * types[type].bytes, &a, 1, NULL);
    mc_dtype_to_f64((int)types[type].dtype, x + j * t->inner * types[type].bytes, &b, 1, NULL);
    bool above = isnan(a) ? !isnan(b) : a > b, below = isnan(b) ? !isnan(a) : a < b;
    return t->largest ? above || (!below && i < j) : below || (!above && i < j);
}

static void test_top(struct check *c)
{
    static const int some[] = {0, 1, 2, 4, 5, 6, FLOAT};
    int type = some[check_below(c, 7)], each = types[type].bytes;
    bool many = check_below(c, 4) == 0;
    struct mc_top t = {.type = types[type].elem,
                       .outer = 1 + check_below(c, 2),
                       .n = many ? 1000 + check_below(c, 400) : check_size(c, 16, 90),
                       .inner = 1 + check_below(c, 3),
                       .largest = check_coin(c)};
    t.k = 1 + check_below(c, (uint32_t)(many ? 4 : t.n));
    int64_t n = t.outer * t.n * t.inner, out = t.outer * t.k * t.inner;
    const char *all = draw(c, type, n);
    bool values = check_below(c, 4), index = !values || check_coin(c);
    char *y = bytes_of(c, out, each);
    int64_t *at = bytes_of(c, out, 8);
    check_describe(c, "top %d of %d x %d x %d, type %d", (int)t.k, (int)t.outer, (int)t.n,
                   (int)t.inner, type);
    t.x = all;
    t.values = values ? y : NULL;
    t.index = index ? at : NULL;
    c->k->values.top(&t);
    for (int64_t i = 0; i < out; i++) {
        int64_t lane = i / t.inner / t.k * t.n * t.inner + i % t.inner, rank = i / t.inner % t.k;
        const char *x = all + lane * each;
        for (int64_t e = 0; e < t.n; e++) { /* the one that as many as its rank are before */
            int64_t less = 0;
            for (int64_t o = 0; o < t.n && less <= rank && (!index || at[i] == e); o++)
                less += o != e && before(&t, type, x, o, e);
            if (index && at[i] == e && less != rank)
                check_fail(c, "index %d is of rank %d", (int)i, (int)less);
            if (values && !index && less == rank &&
                memcmp(y + i * each, x + e * t.inner * each, (size_t)each))
                check_fail(c, "value %d", (int)i);
        }
        if (index && (at[i] < 0 || at[i] >= t.n))
            check_fail(c, "index %d is %d", (int)i, (int)at[i]);
        else if (index && values && memcmp(y + i * each, x + at[i] * t.inner * each, (size_t)each))
            check_fail(c, "value %d is not that of its index", (int)i);
    }
}

static void test_hot(struct check *c)
{
    int type = (int)check_below(c, 9); /* floats too */
    struct mc_hot h = {.type = types[type].elem,
                       .outer = 1 + check_below(c, 9),
                       .depth = 1 + check_below(c, 9),
                       .inner = 1 + check_below(c, 5),
                       .elem_bytes = check_coin(c) ? 1 : 4};
    int64_t rows = h.outer * h.inner, n = rows * h.depth;
    char *at = bytes_of(c, rows, types[type].bytes);
    const uint8_t *value = opaque(c, 2, h.elem_bytes);
    uint8_t *y = bytes_of(c, n, h.elem_bytes);
    int64_t *place = bytes_of(c, rows, 8);
    for (int64_t i = 0; i < rows; i++) {
        int64_t v = (int64_t)check_below(c, 24) - (type < 4 || type == FLOAT ? 12 : 0);
        float f = (float)v + (v < 0 ? -0.25f : 0.25f);
        place[i] = v < 0 ? v + h.depth : v;
        memcpy(at + i * types[type].bytes, type == FLOAT ? (void *)&f : (void *)&v,
               (size_t)types[type].bytes);
    }
    check_describe(c, "hot %d x %d x %d by type %d", (int)h.outer, (int)h.depth, (int)h.inner,
                   type);
    h.at = at;
    h.value = value;
    h.y = y;
    c->k->values.hot(&h);
    for (int64_t i = 0; i < n; i++) {
        int64_t row = i / h.inner / h.depth * h.inner + i % h.inner;
        bool on = place[row] == i / h.inner % h.depth;
        if (memcmp(y + i * h.elem_bytes, value + on * h.elem_bytes, (size_t)h.elem_bytes))
            check_fail(c, "element %d", (int)i);
    }
}

static void test_backward(struct check *c)
{
    bool first = check_coin(c), narrow = check_coin(c);
    int64_t batch = 1 + check_below(c, 5), time = 1 + check_below(c, 9),
            row = 1 + check_below(c, 6);
    int64_t n = batch * time * row;
    struct mc_backward b = {
        batch, time, row, first ? time : 1, first ? 1 : batch, 4, narrow ? 4 : 8, NULL, NULL, NULL};
    const uint32_t *x = draw(c, 6, n);
    uint32_t *y = bytes_of(c, n, 4);
    char *length = bytes_of(c, batch, b.length_bytes);
    int64_t *want = bytes_of(c, batch, 8);
    for (int64_t i = 0; i < batch; i++) {
        want[i] = check_below(c, (uint32_t)time + 1);
        memcpy(length + i * b.length_bytes, &want[i], (size_t)b.length_bytes);
    }
    check_describe(c, "backward %d x %d x %d", (int)batch, (int)time, (int)row);
    b.length = length;
    b.x = x;
    b.y = y;
    c->k->values.backward(&b);
    for (int64_t i = 0; i < n; i++) {
        int64_t s = first ? i / row / time : i / row % batch,
                t = first ? i / row % time : i / row / batch;
        int64_t from = t < want[s] ? want[s] - 1 - t : t;
        if (y[i] != x[(s * b.batch_stride + from * b.time_stride) * row + i % row])
            check_fail(c, "element %d", (int)i);
    }
}

static void test(struct check *c)
{
    static void (*const tests[])(struct check *) = {
        test_cast,   test_round, test_tests, test_diagonal, test_running, test_steps,
        test_beyond, test_top,   test_hot,   test_backward, test_cast};
    tests[c->round % 11](c);
}

const struct check_row check_values = {"values", 660, test, NULL};

/* ---- places ---- */

/* Rows put where indices of two numbers say, one after the other. */
static void test_places(struct check *c)
{
    bool narrow = check_coin(c), floats = check_coin(c);
    int64_t n = check_below(c, 4) ? check_size(c, 16, 60) : 1000 + check_below(c, 200);
    int64_t size[2] = {1 + check_below(c, 9), 1 + check_below(c, 9)}, batch = 1 + check_below(c, 3);
    int64_t inner = 1 + check_below(c, 5), each = size[0] * size[1], rows = batch * each;
    struct mc_places p = {.rank = 2,
                          .dim = {batch, n},
                          .stride = {each, 0},
                          .depth = 2,
                          .size = {size[0], size[1]},
                          .step = {size[1], 1},
                          .index_bytes = narrow ? 4 : 8};
    struct mc_put put = {.fn = check_below(c, 5),
                         .type = floats ? MC_ELEM_F32 : MC_ELEM_I32,
                         .elem_bytes = 4,
                         .n = batch * n,
                         .inner = inner};
    char *index = bytes_of(c, 2 * put.n, p.index_bytes);
    int64_t *place = bytes_of(c, put.n, 8), *want = bytes_of(c, put.n, 8);
    for (int64_t i = 0; i < put.n; i++) {
        want[i] = i / n * each;
        for (int j = 0; j < 2; j++) {
            int64_t v = (int64_t)check_below(c, (uint32_t)(2 * size[j])) - size[j];
            want[i] += (v < 0 ? v + size[j] : v) * p.step[j];
            memcpy(index + (2 * i + j) * p.index_bytes, &v, (size_t)p.index_bytes);
        }
    }
    check_describe(c, "%d rows of %d to %d, fn %d", (int)put.n, (int)inner, (int)rows, (int)put.fn);
    p.index = index;
    p.place = place;
    if (c->k->places.find(&p) >= 0)
        check_fail(c, "an index is out of range");
    check_same(c, "place", place, want, (size_t)put.n * 8);
    const void *src =
        floats ? (const void *)check_floats(c, put.n * inner, false) : draw(c, 2, put.n * inner);
    const void *first =
        floats ? (const void *)check_floats(c, rows * inner, false) : draw(c, 2, rows * inner);
    void *dst = memcpy(bytes_of(c, rows * inner, 4), first, (size_t)(rows * inner) * 4);
    uint32_t *y = memcpy(bytes_of(c, rows * inner, 4), first, (size_t)(rows * inner) * 4);
    put.place = place;
    put.src = src;
    put.dst = dst;
    c->k->places.put(&put);
    for (int64_t i = 0; i < put.n * inner; i++) {
        int64_t at = want[i / inner] * inner + i % inner;
        float f = ((const float *)src)[i], was = ((float *)(void *)y)[at];
        int32_t v = ((const int32_t *)src)[i], old = (int32_t)y[at];
        switch (put.fn) {
        case MC_PUT_ADD: f = was + f, v = (int32_t)((uint32_t)old + (uint32_t)v); break;
        case MC_PUT_MUL: f = was * f, v = (int32_t)((uint32_t)old * (uint32_t)v); break;
        case MC_PUT_MIN: f = was < f ? was : f, v = old < v ? old : v; break;
        case MC_PUT_MAX: f = was > f ? was : f, v = old > v ? old : v; break;
        default: break;
        }
        memcpy(&y[at], floats ? (void *)&f : (void *)&v, 4);
    }
    check_same(c, "put", dst, y, (size_t)(rows * inner) * 4);
}

const struct check_row check_places = {"places", 150, test_places, NULL};

/* ---- sums of integer products ---- */

static void test_sums(struct check *c)
{
    static const float scale_of[] = {1, 0.5f, 0.03125f, 2};
    struct mc_quant_sums s = {.rows = check_size(c, 8, 30),
                              .n = check_size(c, 8, 40),
                              .alpha = check_coin(c) ? 1 : 0.5f,
                              .a_step = check_coin(c),
                              .b_step = check_coin(c),
                              .bias_step = check_coin(c),
                              .lo = check_coin(c) ? -128 : 0};
    bool whole = check_coin(c), floats = check_coin(c);
    int64_t n = s.rows * s.n;
    int32_t *sums = bytes_of(c, n, 4), *add = bytes_of(c, s.n, 4);
    float *scale = bytes_of(c, s.rows + s.n + 1, 4), *bias = bytes_of(c, s.n, 4);
    uint8_t *zero = bytes_of(c, 1, 1), *y = bytes_of(c, n, 4);
    for (int64_t i = 0; i < n; i++)
        sums[i] = (int32_t)check_below(c, 4000) - 2000;
    for (int64_t i = 0; i < s.n; i++) {
        add[i] = (int32_t)check_below(c, 100) - 50;
        bias[i] = (float)check_below(c, 64) / 8;
    }
    for (int64_t i = 0; i <= s.rows + s.n; i++)
        scale[i] = scale_of[check_below(c, 4)];
    *zero = (uint8_t)check_below(c, 256);
    check_describe(c, "sums %d x %d to %s", (int)s.rows, (int)s.n, floats ? "floats" : "bytes");
    s.hi = s.lo + 255;
    s.sums = sums;
    s.a_scale = scale;
    s.b_scale = scale + s.rows;
    s.y_scale = floats ? NULL : scale + s.rows + s.n;
    s.whole = whole ? add : NULL;
    s.whole_col = 1;
    s.bias = floats ? bias : NULL;
    s.zero = zero;
    s.y = y;
    c->k->quant.sums(&s, NULL);
    for (int64_t i = 0; i < s.rows; i++)
        for (int64_t j = 0; j < s.n; j++) { /* powers of two: exact in float and double */
            double v = sums[i * s.n + j] + (whole ? add[j] : 0);
            v *= (double)s.alpha * (double)scale[i * s.a_step] *
                 (double)scale[s.rows + j * s.b_step];
            double got, want;
            if (floats) {
                want = v + (double)bias[j * s.bias_step];
                got = (double)((const float *)s.y)[i * s.n + j];
            } else {
                int32_t z = s.lo < 0 ? (int8_t)*zero : *zero;
                want = fmin(fmax(rint(v / (double)*s.y_scale) + z, s.lo), s.hi);
                got = s.lo < 0 ? (int8_t)y[i * s.n + j] : y[i * s.n + j];
            }
            if (!(got == want))
                check_fail(c, "result %d,%d is %g, not %g", (int)i, (int)j, got, want);
        }
}

const struct check_row check_quant_sums = {"quant_sums", 60, test_sums, NULL};
