/* Values that live longer than the segment that makes them, and the blocks of memory they are in. Private to
 * graph/run. */
#ifndef MC_GRAPH_RUN_LIVE_H
#define MC_GRAPH_RUN_LIVE_H

#include "graph/ops/op.h"

struct mc_block { /* counted by whoever holds a value in it */
    void *data;
    size_t bytes;
    int refs;   /* 0: free, kept for the next who needs one */
    bool stale; /* free since before the last mc_blocks_age */
    struct mc_block *next;
};

/* Blocks of one session and of those of all its bodies. */
struct mc_blocks {
    struct mc_block *first;
    size_t used, peak; /* bytes in blocks with refs, and the most there were since mc_blocks_age */
};

/* A block of at least `bytes` with one reference: a free one that is not much larger, else a new one, for
 * which free ones make room. Errors: MC_ENOMEM. */
int mc_block_get(struct mc_blocks *b, size_t bytes, struct mc_block **ret, struct mc_err *err);
struct mc_block *mc_block_ref(struct mc_block *k);           /* NULL stays NULL */
void mc_block_drop(struct mc_blocks *b, struct mc_block *k); /* accepts NULL */
void mc_blocks_age(struct mc_blocks *b);  /* a new run: what the last one did not use goes */
void mc_blocks_free(struct mc_blocks *b); /* all of them; accepts NULL */

struct mc_live {
    struct mc_buf buf;      /* dtype NONE: not there, or a list */
    enum mc_dtype type;     /* half types are computed in another */
    struct mc_block *block; /* reference held; NULL: memory of a constant, or of whoever gave it */
    struct mc_tensor *content; /* the elements in `type`, where plans depend on them; or NULL */
    struct mc_list *list;      /* reference held; NULL: a tensor */
};

/* A sequence, or an optional without element (one with an element is that element). Never changed once it is
 * made; items are tensors in blocks, or lists. */
struct mc_list {
    int refs;
    bool none; /* the optional */
    size_t n;
    struct mc_live item[];
};

/* n items, zeroed, one reference. Errors: MC_ENOMEM. */
int mc_list_new(size_t n, struct mc_list **ret, struct mc_err *err);
void mc_list_drop(struct mc_blocks *b, struct mc_list *l); /* accepts NULL */

static inline bool mc_live_there(const struct mc_live *l)
{
    return l->buf.dtype != MC_DTYPE_NONE || l->list;
}
/* Give up what l holds; it is zeroed. */
void mc_live_release(struct mc_blocks *b, struct mc_live *l);
/* *ret = l in memory that stays: the same block or list, or a copy; to be released. Errors: MC_ENOMEM. */
int mc_live_keep(struct mc_blocks *b, const struct mc_live *l, struct mc_live *ret,
                 struct mc_err *err);

struct mc_session;

/* Value v of the session's graph is l from now on; takes what l holds. */
void mc_live_set(struct mc_session *s, const struct mc_value *v, const struct mc_live *l);
void mc_live_drop(struct mc_session *s, const struct mc_value *v);
void mc_live_clear(struct mc_session *s); /* all of them */
/* New memory for a value, which is there from now on. */
int mc_live_new(struct mc_session *s, const struct mc_value *v, const struct mc_shape *shape,
                enum mc_dtype dtype, enum mc_dtype type, struct mc_buf *ret, struct mc_err *err);
/* Fill in `content`. */
int mc_live_learn(struct mc_session *s, const struct mc_value *v, struct mc_err *err);

#endif
