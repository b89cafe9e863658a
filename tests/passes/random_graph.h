/* Networks drawn from a seed, small and of every build that coupling has to understand. Failures are cmocka failures. */
#ifndef MC_TESTS_RANDOM_GRAPH_H
#define MC_TESTS_RANDOM_GRAPH_H

#include "../graph/build.h"

#include <stdlib.h>

enum { RG_BATCH = -7, RG_ANY = -1, RG_RANK = 6, RG_SAMPLES = 2 };

struct rg { /* a graph being drawn */
    struct mc_model *m;
    struct mc_graph *g;
    uint64_t seed, drawn;
    int opset;
    bool free_batch; /* the model's batch is a symbol */
};

struct rv { /* a value of it; d[i] is RG_BATCH for the batch, RG_ANY for a product with it */
    struct mc_value *v;
    int rank;
    int64_t d[RG_RANK];
};

#define D(...) ((const int64_t[]){__VA_ARGS__})

uint32_t rg_below(struct rg *r, uint32_t n);
bool rg_chance(struct rg *r, uint32_t percent);

/* Normal draws times `scale`, around `middle`, held in any of the ways in which files hold weights. */
struct mc_value *rg_weight(struct rg *r, int rank, const int64_t *d, double scale, double middle);
struct mc_value *rg_plain(struct rg *r, int rank, const int64_t *d, double scale, double middle);
struct mc_value *rg_ints(struct rg *r, int n, const int64_t *x);
struct mc_value *rg_number(struct rg *r, float x);

/* A node with one output, its shape given by the caller; in may hold NULL. */
struct rv rg_node(struct rg *r, const char *op, int n_in, struct mc_value *const *in, int rank,
                  const int64_t *d, struct mc_node **ret);
struct rv rg_like(struct rg *r, const char *op, struct rv x);
struct rv rg_two(struct rg *r, const char *op, struct rv x, struct mc_value *b);
struct rv rg_reshape(struct rg *r, struct rv x, int rank, const int64_t *d);
struct rv rg_transpose(struct rg *r, struct rv x, const int64_t *perm);
struct rv rg_squeeze(struct rg *r, struct rv x, int axis);
struct rv rg_unsqueeze(struct rg *r, struct rv x, int axis);
struct rv rg_concat(struct rg *r, int axis, int n, const struct rv *x);
void rg_split(struct rg *r, struct rv x, int axis, int n, const int64_t *size, struct rv *ret);
struct rv rg_slice(struct rg *r, struct rv x, int axis, int64_t from, int64_t to, int64_t step);
struct rv rg_mean(struct rg *r, struct rv x, int axis, bool keep);
struct rv rg_activation(struct rg *r, struct rv x);
/* Per-position scale and shift, norm statistics or others over the given axis. */
struct rv rg_layer_norm(struct rg *r, struct rv x);
void rg_int(struct mc_node *n, const char *name, int64_t v);
void rg_list(struct mc_node *n, const char *name, int count, const int64_t *v);

/* x [batch, width]; the last axis of any rank; [batch, channels, …]; [batch, time, width]. */
struct rv rg_linear(struct rg *r, struct rv x, int64_t width);
struct rv rg_dense_block(struct rg *r, struct rv x);
struct rv rg_conv(struct rg *r, struct rv x, int64_t channels, int kernel, int64_t group);
struct rv rg_conv_block(struct rg *r, struct rv x);
struct rv rg_sequence_block(struct rg *r, struct rv x);
struct rv rg_recurrent(struct rg *r, struct rv x);

/* A network; its one input is "x", float32 of the shape told by *ret_x, its outputs are made by products. */
void rg_network(struct rg *r, uint64_t seed, struct rv *ret_x);

#endif
