/* Scaled dot-product attention, the core of all operators of that name:
 *     y = softmax(cap(scale q kᵀ) + masks) v       for every batch and head.
 * Query heads share the heads of k and v in equal runs (grouped queries). */
#ifndef MC_GRAPH_OPS_ATTENTION_CORE_H
#define MC_GRAPH_OPS_ATTENTION_CORE_H

#include "graph/ops/op.h"
#include "kernels/kernels.h"

struct mc_attend_array { /* element (batch, head, row, column) of columns side by side */
    void *data;
    int64_t batch, head, row; /* strides in elements */
};

struct mc_attend_mask {
    const void *data; /* NULL: none */
    enum mc_score_mask
        whole; /* on a device alone: data are whole numbers of this kind, and `off` is added */
    double off;
    bool allows;          /* bool elements, false forbids; otherwise floats, which are added */
    int64_t stride[4];    /* of batch, query head, query, key */
    int64_t keys;         /* keys from here on are forbidden */
    enum mc_dtype stored; /* of floats */
};

struct mc_attend {
    int64_t batch, heads, kv_heads, q_len, kv_len, size, v_size;
    struct mc_attend_array q, k, v, y; /* sizes: size, size, v_size, v_size columns */
    double scale, softcap;             /* softcap t: t tanh(score / t); 0: none */
    struct mc_attend_mask mask[2];
    /* Query i has the position i + offset, where offset is past, or valid[batch] - q_len where there are valid
     * lengths. Keys beyond these, and outside [position - left, position + right] are forbidden; -1: no
     * bound. Causal is right 0. */
    int64_t past, left, right;
    const int64_t *valid;
    void *scores; /* [batch, heads, q_len, kv_len] or NULL: what the scores are … */
    int stage;    /* 0: after the product, 1: the cap, 2: the masks, 3: the softmax */
};

/* A query without any allowed key gets zeros. Errors: none. Cost: q_len kv_len (size + v_size) multiplications
 * for every batch and head. The same bits for any number of threads. */
size_t mc_attend_scratch(const struct mc_attend *a, const struct mc_kernels *k, int threads);
/* On a device, data are there, `valid` too. */
void mc_attend_run(const struct mc_attend *a, const struct mc_kernels *k, struct mc_pool *pool,
                   void *scratch);

#endif
