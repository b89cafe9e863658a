#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>

#include "base/interrupt.h"
#include "base/threads.h"

enum { CHUNKS = 5000 };

struct job {
    struct mc_pool *pool;
    atomic_int hits[CHUNKS];
    atomic_int in_use[16];
    atomic_int clashes;
};

static void hit(void *ctx, int64_t chunk, int worker)
{
    struct job *j = ctx;
    atomic_fetch_add(&j->hits[chunk], 1);
    if (atomic_fetch_add(&j->in_use[worker], 1))
        atomic_fetch_add(&j->clashes, 1);
    atomic_fetch_sub(&j->in_use[worker], 1);
}

static void outer(void *ctx, int64_t chunk, int worker)
{
    (void)chunk;
    (void)worker;
    struct job *j = ctx;
    mc_pool_run(j->pool, 10, hit, j);
}

static void every_chunk_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        struct mc_pool *pool;
        assert_int_equal(mc_pool_new(threads, &pool, NULL), 0);
        assert_int_equal(mc_pool_threads(pool), threads);
        static struct job j;
        for (int round = 0; round < 50; round++) {
            j = (struct job){.pool = pool};
            int64_t n = round % 2 ? CHUNKS : round % 7;
            mc_pool_run(pool, n, hit, &j);
            for (int64_t i = 0; i < CHUNKS; i++)
                assert_int_equal(j.hits[i], i < n);
            assert_int_equal(j.clashes, 0);
        }
        mc_pool_free(pool);
    }
}

static void nested_runs_serially(void **state)
{
    (void)state;
    struct mc_pool *pool;
    assert_int_equal(mc_pool_new(3, &pool, NULL), 0);
    static struct job j;
    j = (struct job){.pool = pool};
    mc_pool_run(pool, 100, outer, &j);
    for (int i = 0; i < 10; i++)
        assert_int_equal(j.hits[i], 100);
    assert_int_equal(j.clashes, 0);
    mc_pool_free(pool);
    j = (struct job){.pool = NULL};
    mc_pool_run(NULL, 7, hit, &j);
    assert_int_equal(j.hits[6], 1);
    assert_int_equal(mc_pool_threads(NULL), 1);
    mc_pool_free(NULL);
}

static void interrupt_is_seen(void **state)
{
    (void)state;
    struct mc_err e = {0};
    assert_int_equal(mc_interrupt_check(&e), 0);
    mc_interrupt_request();
    assert_int_equal(mc_interrupt_check(&e), MC_EINTR);
    mc_interrupt_clear();
    assert_int_equal(mc_interrupt_check(&e), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_chunk_once),
        cmocka_unit_test(nested_runs_serially),
        cmocka_unit_test(interrupt_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
