/* Moves of random shapes and orders of dimensions, gathers and fills, as the table of a level has them, against one
 * element at a time. */
#include "check.h"

#include <string.h>

/* Strides of an array whose dimensions lie in a random order; returns its elements. */
static int64_t draw_strides(struct check *c, const struct mc_move *m, int64_t *stride)
{
    int order[MC_MOVE_RANK];
    int64_t step = 1;
    bool turned = check_coin(c), gaps = check_below(c, 4) == 0;
    for (int d = 0; d < m->rank; d++)
        order[d] = d;
    for (int d = m->rank - 1; turned && d > 0; d--) {
        int with = (int)check_below(c, (uint32_t)d + 1), t = order[d];
        order[d] = order[with];
        order[with] = t;
    }
    for (int d = m->rank - 1; d >= 0; d--) {
        stride[order[d]] = step;
        step *= m->dim[order[d]] + (gaps && check_coin(c));
    }
    return step;
}

static void test_strided(struct check *c)
{
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 67};
    struct mc_move m = {.elem_bytes = 1 << check_below(c, 5), .rank = 1 + (int)check_below(c, 5)};
    int64_t count = 1, at[MC_MOVE_RANK] = {0};
    for (int d = 0; d < m.rank; d++) {
        m.dim[d] = sizes[check_below(c, count < 2000 ? 12 : 4)];
        count *= m.dim[d];
    }
    size_t elem = (size_t)m.elem_bytes, align = check_coin(c) ? 64 : elem;
    size_t from_bytes = elem * (size_t)draw_strides(c, &m, m.src_stride);
    size_t to_bytes = elem * (size_t)draw_strides(c, &m, m.dst_stride);
    unsigned char *src = check_alloc(c, from_bytes, align), *dst = check_alloc(c, to_bytes, align);
    unsigned char *want = check_alloc(c, to_bytes, align);
    for (size_t i = 0; i < from_bytes; i++)
        src[i] = (unsigned char)check_below(c, 256);
    m.src = src;
    m.dst = dst;
    for (int d = 0; d < m.rank; d++) { /* backwards, or again and again */
        uint32_t how = check_below(c, 12);
        if (how == 0)
            m.src_stride[d] = 0;
        if (how == 1) {
            m.src = (const char *)m.src + (m.dim[d] - 1) * m.src_stride[d] * (int64_t)elem;
            m.src_stride[d] = -m.src_stride[d];
        }
    }
    check_describe(c, "rank %d, %lld elements of %d bytes", m.rank, (long long)count, m.elem_bytes);
    for (int64_t i = 0; i < count; i++) {
        int64_t from = 0, to = 0;
        for (int d = 0; d < m.rank; d++) {
            from += at[d] * m.src_stride[d];
            to += at[d] * m.dst_stride[d];
        }
        memcpy(want + to * (int64_t)elem, (const char *)m.src + from * (int64_t)elem, elem);
        for (int d = m.rank - 1; d >= 0 && ++at[d] == m.dim[d]; d--)
            at[d] = 0;
    }
    c->k->move.run(&m, c->pool[check_below(c, CHECK_POOLS)]);
    check_same(c, "moved", dst, want, to_bytes);
}

static void test_gather(struct check *c)
{
    struct mc_gather g = {.outer = check_size(c, 2, 5),
                          .axis = check_size(c, 8, 40),
                          .n = check_size(c, 8, 60),
                          .inner = (size_t)check_size(c, 16, 100)};
    int64_t *index = check_alloc(c, (size_t)g.n * sizeof *index, sizeof *index);
    size_t from_bytes = (size_t)(g.outer * g.axis) * g.inner, align = check_coin(c) ? 64 : 1;
    size_t to_bytes = (size_t)(g.outer * g.n) * g.inner;
    unsigned char *src = check_alloc(c, from_bytes, align), *dst = check_alloc(c, to_bytes, align);
    unsigned char *want = check_alloc(c, to_bytes, align);
    for (size_t i = 0; i < from_bytes; i++)
        src[i] = (unsigned char)check_below(c, 256);
    for (int64_t i = 0; i < g.n; i++)
        index[i] = check_below(c, (uint32_t)g.axis);
    for (int64_t o = 0; o < g.outer; o++)
        for (int64_t i = 0; i < g.n; i++)
            memcpy(want + (size_t)(o * g.n + i) * g.inner,
                   src + (size_t)(o * g.axis + index[i]) * g.inner, g.inner);
    check_describe(c, "%lld times %lld of %lld rows of %lld bytes", (long long)g.outer,
                   (long long)g.n, (long long)g.axis, (long long)g.inner);
    g.index = index;
    g.src = src;
    g.dst = dst;
    c->k->move.gather(&g, c->pool[check_below(c, CHECK_POOLS)]);
    check_same(c, "gathered", dst, want, to_bytes);
}

static void test_fill(struct check *c)
{
    int elem = 1 << check_below(c, 5);
    int64_t n = check_size(c, 16, 500);
    size_t bytes = (size_t)(n * elem);
    unsigned char value[16], *want = check_alloc(c, bytes, 1);
    unsigned char *dst = check_alloc(c, bytes, check_coin(c) ? 64 : (size_t)elem);
    for (int i = 0; i < elem; i++)
        value[i] = (unsigned char)check_below(c, 256);
    for (size_t i = 0; i < bytes; i++)
        want[i] = value[i % (size_t)elem];
    check_describe(c, "%lld elements of %d bytes", (long long)n, elem);
    c->k->move.fill(dst, n, value, elem, c->pool[check_below(c, CHECK_POOLS)]);
    check_same(c, "filled", dst, want, bytes);
}

static void test_move(struct check *c)
{
    switch (check_below(c, 4)) {
    case 0: test_gather(c); break;
    case 1: test_fill(c); break;
    default: test_strided(c);
    }
}

const struct check_row check_move = {"move", 600, test_move, NULL};
