/* One run of the share pass: what its files have in common. */
#ifndef MC_PASSES_SHARE_RUN_H
#define MC_PASSES_SHARE_RUN_H

#include "passes/search/search.h"
#include "passes/share/share_code.h"
#include "passes/svd/svd_run.h"

enum { MC_SHARE_WIDTHS = 8 }; /* bits of an index, at most */

/* What is known of a weight at one number of bits. */
struct mc_share_point {
    bool known;
    bool scaled;  /* a scale for each row is worth its bytes */
    double error; /* by the diagonal alone; comparable between weights */
    uint64_t bytes;
    struct mc_share_code *code; /* NULL until it is wanted */
};

struct mc_share_weight { /* one constant that nodes compute with */
    struct mc_value *value;
    const struct mc_tensor *tensor;
    struct mc_node *node; /* the first that reads it */
    int64_t layer;        /* in run.norm.layers: it has a norm of its own; -1 */
    int64_t m, n;
    bool out_major;                                /* stored [m,n], otherwise [n,m] */
    double total;                                  /* error of leaving it out, as of points */
    struct mc_share_point at[MC_SHARE_WIDTHS + 1]; /* by bits */
    int bits;                                      /* the answer; 0: as it is */
    const char *reason;                            /* why it is left; NULL */
};

/* What all modes add to. */
struct mc_share_job {
    struct mc_pass_ctx *ctx;
    struct mc_model *model; /* in a dry run a clone that is dropped */
    json_t *report, *rows;  /* rows: its "layers" */
    bool alone;             /* only one mode was asked for */
    bool missed;
    struct mc_err miss;
};

/* One mode's weights. */
struct mc_share_run {
    struct mc_pass_ctx *ctx;
    struct mc_model *model;
    struct mc_svd_run norm; /* layers, statistics of their inputs, influence of their outputs */
    bool measured;
    struct mc_share_weight *weight;
    size_t n_weights, cap_weights;
};

/* ---- share_codebooks.c ---- */

/* Weights of job->model, and with `measure` and samples their norms. */
int mc_share_open(struct mc_share_job *job, bool measure, struct mc_share_run *ret,
                  struct mc_err *err);
void mc_share_close(struct mc_share_run *r);
/* --bits (0: the search for what is asked). */
int mc_share_codebooks(struct mc_share_job *job, int bits, const struct mc_search_ask *ask,
                       struct mc_err *err);

/* ---- share_gates.c ---- */

int mc_share_gates(struct mc_share_job *job, struct mc_err *err);

/* ---- share_filters.c ---- */

/* keep: share of each convolution's filters that stays. */
int mc_share_filters(struct mc_share_job *job, double keep, struct mc_err *err);

/* ---- share_tied.c ---- */

/* what: a regular expression, or "auto". */
int mc_share_tied(struct mc_share_job *job, const char *what, struct mc_err *err);

/* ---- share_weights.c ---- */

/* All float constants of two dimensions and more that nodes of the main graph compute with; each once. Two clones of a model give
 * the same list. */
int mc_share_collect(struct mc_model *m, struct mc_layers *ret_layers, struct mc_share_weight **ret,
                     size_t *ret_n, struct mc_err *err);
/* [m,n] as f32, free(). Errors: MC_EDATA naming the weight for NaN and infinity. */
int mc_share_read(const struct mc_share_run *r, const struct mc_share_weight *w, float **ret,
                  struct mc_err *err);

/* ---- share_measure.c ---- */

/* Statistics for the norms, where there are samples. */
int mc_share_measure(struct mc_share_run *r, struct mc_err *err);
/* The weight's matrix and its norms until released. */
struct mc_share_view {
    struct mc_share_matrix x;
    float *w, *g;
    const float **k;
    struct mc_svd_norm_hold *hold; /* [parts] */
    double worth; /* what its errors are to be multiplied with to be compared with others' */
};
int mc_share_view(struct mc_share_run *r, const struct mc_share_weight *w,
                  struct mc_share_view *ret, struct mc_err *err);
void mc_share_view_free(struct mc_share_view *v);

/* ---- share_bits.c ---- */

/* Fill in at[from..to] of a weight: error, bytes, whether scaled. */
int mc_share_points(struct mc_share_run *r, struct mc_share_weight *w, int from, int to,
                    struct mc_err *err);
/* The code of at[bits]. */
int mc_share_code(struct mc_share_run *r, struct mc_share_weight *w, int bits, struct mc_err *err);
/* Do so many bits not fill bytes, so that they are stored as planes (SharedPlanes)? */
bool mc_share_planes(int bits);
uint64_t mc_share_dense_bytes(const struct mc_share_weight *w);
/* Why so many bits do not make it smaller; NULL: they do. */
const char *mc_share_too_small(const struct mc_share_weight *w, int bits);
/* --bits: the same for all. */
int mc_share_same_bits(struct mc_share_run *r, int bits, struct mc_err *err);

/* ---- share_place.c ---- */

/* The weights with bits[i] > 0 in m, r->model or a clone, become calls of SharedWeight. sizes_only: their content is
 * never read. */
int mc_share_place(struct mc_share_run *r, struct mc_model *m, const int *bits, bool sizes_only,
                   struct mc_err *err);

/* ---- share_shift.c ---- */

/* q [m,n] in place of w of weight `at`: biases of its sites in m take up what the mean output would lose, where they can. w NULL: that
 * is nothing, but the biases are there. */
int mc_share_shift(const struct mc_share_run *r, struct mc_model *m, const struct mc_layers *in_m,
                   size_t at, const float *w, const float *q, struct mc_err *err);
/* What the mean output of one site would lose, in sum [m]; false, with sum left alone, where it is not known or no bias can take it up. */
bool mc_share_mean_shift(const struct mc_share_run *r, size_t at, size_t site, const float *w,
                         const float *q, float *sum);
/* Where the content of a constant is, behind proxies and Identity. */
struct mc_value *mc_share_base(struct mc_value *v);
#endif
