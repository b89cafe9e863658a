#include "base/threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

struct mc_pool {
    int threads, started;
    pthread_t *handles;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    uint64_t round; /* number of the current job; workers wait for it to move */
    int busy;       /* workers still inside the current job */
    bool stop;
    struct mc_gpu *gpu; /* only handed on */
    /* the current job */
    void (*fn)(void *, int64_t, int);
    void *ctx;
    int64_t n;
    atomic_int_least64_t next;
};

struct start {
    struct mc_pool *pool;
    int worker;
};

/* >= 0 while this thread is inside a chunk: a nested call then runs serially. */
static _Thread_local int inside = -1;

static void work(struct mc_pool *p, int worker)
{
    inside = worker;
    for (;;) {
        int64_t i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (i >= p->n)
            break;
        p->fn(p->ctx, i, worker);
    }
    inside = -1;
}

static void *worker_main(void *arg)
{
    struct start s = *(struct start *)arg;
    free(arg);
    struct mc_pool *p = s.pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->stop && p->round == seen)
            pthread_cond_wait(&p->wake, &p->lock);
        if (p->stop)
            break;
        seen = p->round;
        pthread_mutex_unlock(&p->lock);
        work(p, s.worker);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0)
            pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

int mc_pool_new(int threads, struct mc_pool **ret_pool, struct mc_err *err)
{
    if (threads <= 0) {
        long n = sysconf(_SC_NPROCESSORS_ONLN);
        threads = n > 0 ? (int)n : 1;
    }
    struct mc_pool *p = calloc(1, sizeof *p);
    if (!p)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    p->threads = threads;
    p->handles = calloc((size_t)threads, sizeof *p->handles);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    for (int i = 1; i < threads && p->handles; i++) {
        struct start *s = malloc(sizeof *s);
        if (!s)
            break;
        *s = (struct start){p, i};
        if (pthread_create(&p->handles[p->started], NULL, worker_main, s)) {
            free(s);
            break;
        }
        p->started++;
    }
    if (!p->handles || p->started != threads - 1) {
        mc_pool_free(p);
        return mc_fail(err, MC_EFAIL, "cannot start %d threads; give a smaller --threads", threads);
    }
    *ret_pool = p;
    return 0;
}

void mc_pool_free(struct mc_pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->started; i++)
        pthread_join(p->handles[i], NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->handles);
    free(p);
}

int mc_pool_threads(const struct mc_pool *p)
{
    return p ? p->threads : 1;
}

void mc_pool_set_gpu(struct mc_pool *p, struct mc_gpu *gpu)
{
    p->gpu = gpu;
}

struct mc_gpu *mc_pool_gpu(const struct mc_pool *p)
{
    return p ? p->gpu : NULL;
}

void mc_pool_run(struct mc_pool *p, int64_t n, void (*fn)(void *, int64_t, int), void *ctx)
{
    if (!p || p->threads == 1 || n <= 1 || inside >= 0) {
        int worker = inside >= 0 ? inside : 0;
        for (int64_t i = 0; i < n; i++)
            fn(ctx, i, worker);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->fn = fn;
    p->ctx = ctx;
    p->n = n;
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    p->busy = p->started;
    p->round++;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    work(p, 0);
    pthread_mutex_lock(&p->lock);
    while (p->busy)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
