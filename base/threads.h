/* What a process computes with: threads, one pool, work in chunks; and the GPU that was chosen, if one was.
 *
 * Results must not depend on the number of threads: cut work by shape alone and let a chunk write only
 * its own part; combine partial sums afterwards in chunk order. */
#ifndef MC_BASE_THREADS_H
#define MC_BASE_THREADS_H

#include <stdint.h>

#include "base/err.h"

struct mc_pool;
struct mc_gpu; /* kernels/gpu.h */

/* A pool of `threads` workers, the caller counted in; 0 = one per online CPU. 1 starts no thread. */
int mc_pool_new(int threads, struct mc_pool **ret_pool, struct mc_err *err);
void mc_pool_free(struct mc_pool *pool);

/* Number of workers; 1 for NULL. */
int mc_pool_threads(const struct mc_pool *pool);

/* The GPU that whoever is given this pool computes on, where it can; NULL: none. The pool does not own it. */
void mc_pool_set_gpu(struct mc_pool *pool, struct mc_gpu *gpu);
struct mc_gpu *mc_pool_gpu(const struct mc_pool *pool); /* NULL for NULL */

/* Call fn(ctx, chunk, worker) once for every chunk in [0, n), in any order, and return when all are done.
 * worker is in [0, mc_pool_threads) and belongs to one thread for the length of the call: it selects
 * scratch memory. A NULL pool, or a call from inside a chunk, runs the chunks in order on the caller with
 * worker 0 (nested: the caller's own worker number). fn must not fail; write errors into ctx. */
void mc_pool_run(struct mc_pool *pool, int64_t n, void (*fn)(void *ctx, int64_t chunk, int worker),
                 void *ctx);

#endif
