/* Attention between its two products, and the turning of rotary embeddings: of a device alone. On the CPU, graph/ops does
 * them in rows that stay in the cache. */
#ifndef MC_KERNELS_ATTEND_H
#define MC_KERNELS_ATTEND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/threads.h"

enum mc_score_mask {
    MC_SCORE_NONE = 0,
    MC_SCORE_ADD,     /* float32, added */
    MC_SCORE_ALLOW,   /* bool, false forbids */
    MC_SCORE_KEEP32,  /* int32, `off` is added where it is 0 */
    MC_SCORE_KEEP64,  /* int64, the same */
    MC_SCORE_COUNT32, /* int32: `off` is added to keys from this one on */
    MC_SCORE_COUNT64,
};

/* P = softmax(mask(cap(scores))) along the keys, in place; a row without an allowed key gets zeros. The fields are those of
 * struct mc_attend (graph/ops/attention_core.h). */
struct mc_scores {
    int64_t batch, heads, q_len, kv_len;
    void *scores; /* [batch, heads, q_len, kv_len] */
    double softcap;
    struct {
        enum mc_score_mask kind;
        const void *data;
        int64_t stride[4]; /* of batch, query head, query, key */
        int64_t keys;
        double off;
    } mask[2];
    int64_t past, left, right;
    const int64_t *valid; /* [batch], each in [0, kv_len], or NULL */
    void *stages; /* what the scores are before the cap (0), masks (1), softmax (2), or NULL */
    int stage;
};

struct mc_rotary { /* pairs of columns turned by the angles of their row's position; y may be x */
    int64_t batch, heads, rows, columns,
        turned;       /* columns of a head, of which the first are turned */
    bool heads_first; /* [batch, heads, rows, columns]; else heads behind rows */
    bool interleaved; /* a pair is columns 2 i and 2 i + 1; else i and i + turned / 2 */
    double scale;
    const void *x, *cosine, *sine; /* caches [angles, turned / 2] */
    void *y;
    int64_t angles;
    const void *position; /* NULL: row r of all batches has angle r; int32 or, wide, int64 */
    bool wide, offset;    /* offset: one number, to which the row in its batch is added */
};

struct mc_attend_kernels {
    void (*softmax)(const struct mc_scores *s, struct mc_pool *pool);
    void (*rotary)(const struct mc_rotary *r, struct mc_pool *pool);
};

#endif
