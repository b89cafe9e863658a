/* Layers with block-circulant weights, as calls.
 *
 *  function               body                                   best for (ONNX Runtime 1.32, OpenVINO, one thread)
 *  CirculantGemm          the weight expanded, one product       blocks that nothing below pays for; bits of the dense layer
 *  CirculantGemmWindow    rotated inputs times C itself          blocks up to 8 and one sample: reads 1/b of the weights
 *  CirculantGemmDft       DFT by matrices, a product for each    blocks from 9 to 511
 *                         bin, inverse DFT
 *  CirculantGemmDft2      the same in two steps, b = b1 b2,      blocks from 512
 *                         attribute split = [b1]
 *  CirculantConv          the weight expanded, one convolution   as above
 *  CirculantConvDft       DFT over channels, one convolution     blocks from 4, 8 and more of them
 *                         grouped by bins, inverse; attributes
 *                         p, q and bins = b/2 + 1
 *
 * All are float. Gemm: X [.., q b] of any rank from 1 on, C [p, q, b], B [p b], or [1] where there is no bias.
 * Conv: X [N, q b, H, W], C [p, q, b, kh, kw], B [p b] or left out; attributes strides, pads, dilations. */
#ifndef MC_GRAPH_OWN_OWN_CIRCULANT_H
#define MC_GRAPH_OWN_OWN_CIRCULANT_H

#include "graph/own/own.h"
#include "graph/own/own_body.h"

/* One use of a weight C: outputs y [.., m] = x [.., n] W^T + bias, or a convolution's. */
struct mc_own_circulant {
    const char *name;      /* of the call */
    struct mc_value *x;    /* n features last, or, of a convolution, second */
    struct mc_value *c;    /* constant [p, q, b] or [p, q, b, kh, kw]; m <= p b, n <= q b */
    struct mc_value *bias; /* constant [m], or NULL */
    struct mc_value *y;    /* without producer */
    int rank;              /* of x; needed where n < q b */
    int64_t m, n;
    const char *function; /* NULL: what mc_own_circulant_function says, with exact */
    bool exact;           /* as accurate as the dense layer in every runtime */
    const int64_t *strides, *pads, *dilations; /* of a convolution: 2, 4 and 2 numbers */
};

/* Name of the function that runtimes run fastest for p x q blocks of b x b (taps: of the kernel; 0: no convolution). */
const char *mc_own_circulant_function(int64_t p, int64_t q, int64_t b, int64_t taps, bool exact);

/* Nodes for l at position pos: the call, Pad before it where n < q b, Slice behind it where m < p b. *ret_n: how many; may
 * be NULL. Errors: MC_ESHAPE where C does not fit m and n, MC_EDTYPE, MC_EUNSUP, MC_ENOMEM; g must be dropped then. */
int mc_own_circulant_call(struct mc_graph *g, size_t pos, const struct mc_own_circulant *l,
                          size_t *ret_n, struct mc_err *err);

/* ---- what the bodies have in common ---- */

enum { MC_CIRCULANT_X, MC_CIRCULANT_C, MC_CIRCULANT_B };

struct mc_circulant_body {
    struct mc_own_body *b;
    int shape;      /* of C */
    int block;      /* b, a scalar */
    int vector[16]; /* constants made so far, 0: not yet */
    int scalar[4];
    int part[6][6]; /* of the shape */
};

struct mc_circulant_body mc_circulant_body_of(struct mc_own_body *b);
/* A vector of one, -4 to 11; a scalar 0 to 3. Each is one node of a body. */
int mc_circulant_one(struct mc_circulant_body *k, int64_t v);
int mc_circulant_scalar(struct mc_circulant_body *k, int64_t v);
/* Elements [from, to) of the shape of C. */
int mc_circulant_part(struct mc_circulant_body *k, int from, int to);
int mc_circulant_concat(struct mc_circulant_body *k, int64_t axis, int a, int b);
int mc_circulant_turn(struct mc_circulant_body *k, int v, const int64_t *perm, int n);
int mc_circulant_reshape(struct mc_circulant_body *k, int v, const int64_t *shape, int n);
/* 0, 1, … below a scalar. */
int mc_circulant_count(struct mc_circulant_body *k, int to);
/* Cosines and minus sines of 2 pi / length times whole numbers: cos and -sin. */
void mc_circulant_waves(struct mc_circulant_body *k, int numbers, int length, int *ret_cos,
                        int *ret_sin);
/* DFT of real vectors of a length (scalar): x F [length, 2 bins], real parts first; the inverse is X G^T, G like F. */
void mc_circulant_tables(struct mc_circulant_body *k, int length, int *ret_f, int *ret_g);
/* index [b, b]: (row - column) mod b. */
int mc_circulant_rolled(struct mc_circulant_body *k);

/* ---- and the rows ---- */

struct mc_circulant_sizes {
    int64_t p, q, b, taps;
};
/* Of C, where it is a constant that went through check; else false. */
bool mc_own_circulant_sizes(const struct mc_node *call, struct mc_circulant_sizes *ret);
void mc_own_circulant_size(const struct mc_node *call, int64_t *ret_weights, uint64_t *ret_bytes);
/* C float of this rank, B [p b] (or [1], or left out, where `may_miss`). */
int mc_own_circulant_check(const struct mc_node *call, int rank, struct mc_err *err);
/* The dense weight [p b, q b, taps…]; transposed (of a Gemm): [q b, p b]. */
int mc_own_circulant_dense(const struct mc_node *call, bool transposed, struct mc_tensor **ret,
                           struct mc_err *err);

#endif
