/* Moves of random shapes and orders of dimensions against one element at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "base/threads.h"
#include "kernels/move.h"

enum { ROUNDS = 800, GUARD = 64, GUARD_BYTE = 0x5a };

static uint64_t seed = 1;
static uint64_t draws;

static int64_t below(uint32_t n)
{
    return mc_rng_below(seed, 7, draws++, n);
}

/* Sizes that fill tiles, leave something over, or are small; together not too many elements. */
static void draw_dims(struct mc_move *m, int64_t *ret_count)
{
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 16, 31, 32, 33, 67};
    *ret_count = 1;
    m->rank = 1 + (int)below(5);
    for (int d = 0; d < m->rank; d++) {
        m->dim[d] = sizes[below(*ret_count < 2000 ? 12 : 4)];
        *ret_count *= m->dim[d];
    }
}

/* Strides of a dense array whose dimensions lie in a random order. */
static void draw_strides(const struct mc_move *m, int64_t *stride)
{
    int order[MC_MOVE_RANK];
    int64_t step = 1;
    for (int d = 0; d < m->rank; d++)
        order[d] = d;
    bool turned = below(2);
    for (int d = m->rank - 1; turned && d > 0; d--) {
        int with = (int)below((uint32_t)d + 1), t = order[d];
        order[d] = order[with];
        order[with] = t;
    }
    for (int d = m->rank - 1; d >= 0; d--) {
        stride[order[d]] = step;
        step *= m->dim[order[d]];
    }
}

static void one(struct mc_pool *pool)
{
    struct mc_move m = {.elem_bytes = 1 << below(5)};
    int64_t count;
    draw_dims(&m, &count);
    draw_strides(&m, m.src_stride);
    draw_strides(&m, m.dst_stride);
    size_t bytes = (size_t)(count * m.elem_bytes);
    unsigned char *src = malloc(bytes), *dst = aligned_alloc(64, (bytes + 3 * GUARD) / 64 * 64);
    unsigned char *want = malloc(bytes);
    assert_true(src && dst && want);
    for (size_t i = 0; i < bytes; i++)
        src[i] = (unsigned char)below(256);
    memset(dst, GUARD_BYTE, bytes + 2 * GUARD);
    int64_t at[MC_MOVE_RANK] = {0};
    for (int64_t i = 0; i < count; i++) {
        int64_t from = 0, to = 0;
        for (int d = 0; d < m.rank; d++) {
            from += at[d] * m.src_stride[d];
            to += at[d] * m.dst_stride[d];
        }
        memcpy(want + to * m.elem_bytes, src + from * m.elem_bytes, (size_t)m.elem_bytes);
        for (int d = m.rank - 1; d >= 0 && ++at[d] == m.dim[d]; d--)
            at[d] = 0;
    }
    m.src = src;
    m.dst = dst + GUARD;
    mc_move_run(&m, pool);
    assert_memory_equal(dst + GUARD, want, bytes);
    for (int i = 0; i < GUARD; i++)
        assert_true(dst[i] == GUARD_BYTE && dst[GUARD + bytes + (size_t)i] == GUARD_BYTE);
    free(src);
    free(dst);
    free(want);
}

static void orders(void **state)
{
    (void)state;
    struct mc_pool *pool;
    const char *given = getenv("MCOMPRESS_SEED");
    seed = given ? strtoull(given, NULL, 10) : 1;
    print_message("seed %llu\n", (unsigned long long)seed);
    assert_int_equal(mc_pool_new(2, &pool, NULL), 0);
    for (int i = 0; i < ROUNDS; i++)
        one(i % 2 ? pool : NULL);
    mc_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(orders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
