/* Packed constants: what setup() makes of a weight once, shared by all plans of a session.
 *
 *     const int64_t layout[] = {MC_PACK_B, k, n, b_row, b_col};
 *     mc_pack_get(c->packs, c->in[1].data, layout, 5, bytes, &block, &fresh, err);
 *     if (fresh)
 *         c->k->gemm.pack_b(k, n, c->in[1].data, b_row, b_col, block, c->pool);
 *
 * A block belongs to the cache and stays until the cache is freed or its constant is forgotten. Setup runs on
 * one thread at a time, so nothing is locked. */
#ifndef MC_GRAPH_OPS_PACK_H
#define MC_GRAPH_OPS_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct mc_pack_cache;
struct mc_gpu;

enum { MC_PACK_LAYOUT = 12 }; /* numbers in a layout, at most */

/* The first number of a layout: what was packed, for which kernel. */
enum mc_pack_kind {
    MC_PACK_B = 1,
    MC_PACK_CONV,
    MC_PACK_RNN,
    MC_PACK_PROJECTION,
    MC_PACK_B_S8,
    MC_PACK_CONV_S8,
    MC_PACK_LSTM_S8,
    MC_PACK_INTEGER_B,
    MC_PACK_INTEGER_CONV,
    MC_PACK_NBITS,
    MC_PACK_SIGNS,
    MC_PACK_XNOR,
    MC_PACK_XNOR_CONV,
    MC_PACK_CIRCULANT,
    MC_PACK_CIRCULANT_DENSE,
    MC_PACK_CIRCULANT_BINS,
    MC_PACK_GATES,
};

int mc_pack_cache_new(struct mc_pack_cache **ret, struct mc_err *err);
/* One whose blocks, and whose constants, are memory of the GPU. */
int mc_pack_cache_new_gpu(struct mc_gpu *gpu, struct mc_pack_cache **ret, struct mc_err *err);
void mc_pack_cache_free(struct mc_pack_cache *c); /* accepts NULL */

/* The block for the constant at `data` in the layout `layout[0..n)`, which says everything that the
 * content depends on besides the constant: an mc_pack_kind, sizes, strides. Made on first use, with `bytes` bytes,
 * 64-byte aligned, content undefined; *ret_fresh then asks the caller to fill it. Later calls must ask for
 * the same number of bytes. Errors: MC_ENOMEM, of the GPU too. Cost: O(1). */
int mc_pack_get(struct mc_pack_cache *c, const void *data, const int64_t *layout, int n,
                size_t bytes, void **ret_block, bool *ret_fresh, struct mc_err *err);
/* Drop every block made of the constant at `data`, before its memory goes. */
void mc_pack_forget(struct mc_pack_cache *c, const void *data);
size_t mc_pack_bytes(const struct mc_pack_cache *c); /* of all blocks */

#endif
