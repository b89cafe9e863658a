/* The training form of binarised layers: latent real weights behind BinarizeWeight, inputs behind SignSTE
 * (graph/ops/binary_train.c), the threshold of signs a BatchNormalization, or, of a file, a Sub.
 *
 *     open                                                     file
 *     Gemm(SignSTE(BatchNormalization(x)), BinarizeWeight(w), b)   XnorGemm(x, T, P, S, b)
 *     BatchNormalization(Gemm(SignSTE(…), …, b))               XnorGemm(x, T, P, S, b): its scale in S and b
 *     Gemm(x, BinarizeWeight(w), b)                            Gemm(x, BinaryWeight(P, S), b), or where the node has the
 *                                                              attribute fast: BinaryGemmFast(x, P, S, b)
 *     LSTM(x, BinarizeWeight(w), …)                            LSTM(x, BinaryWeight(P, S), …)
 */
#ifndef MC_PASSES_BINARIZE_FORM_H
#define MC_PASSES_BINARIZE_FORM_H

#include "passes/binarize/binarize_plan.h"
#include "passes/pass.h"

static const char mc_binarize_weight[] = "BinarizeWeight", mc_binarize_sign[] = "SignSTE";

bool mc_binarize_is(const struct mc_node *n, const char *op); /* of ai.mcompress.grad */

/* ---- binarize_open.c ---- */

/* A float layer of m's main graph -> training form. A Relu right before signs goes, also where pools or Reshape stand
 * between: they would see nothing but its zeros. Signs of a new layer are those of x - mean: thresholds come from
 * mc_binarize_measure. Errors: MC_ENOMEM. */
int mc_binarize_open(struct mc_model *m, const struct mc_binarize_layer *b, struct mc_err *err);
/* x - threshold and its sign, before `pos`: by BatchNormalization with this mean, or with `fixed` by Sub, which statistics of
 * batches do not move. rank: of x, 0 where it is not known; threshold of [channels], or of one element. images: channels are
 * dimension 1, otherwise the last. *ret: -1 and 1, in the shape of x. */
int mc_binarize_signs(struct mc_graph *g, size_t pos, const char *name, struct mc_value *x,
                      int rank, bool images, const struct mc_tensor *threshold, int64_t channels,
                      bool fixed, struct mc_value **ret, struct mc_err *err);

/* A BatchNormalization behind each product of signs whose outputs reach no other, so that their scale is trained, not that of
 * weights. Not where a product has more than two dimensions. Errors: MC_ENOMEM. */
int mc_binarize_norms(struct mc_graph *g, struct mc_err *err);

/* ---- binarize_measure.c ---- */

/* Means and variances of all BatchNormalizations before a SignSTE or behind a product of signs, each of what it sees when those
 * in front of it have the statistics of the batch. On `count` samples of `data`, from the first; none where there is no norm.
 * Errors: MC_EDATA where an input has one sign whatever the sample; what running and reading give. */
int mc_binarize_measure(struct mc_pass_ctx *ctx, struct mc_model *m, struct mc_dataset *data,
                        int64_t count, struct mc_err *err);

/* ---- binarize_close.c ---- */

/* Training form -> file form, all there is in the main graph. Errors: MC_EDATA for NaN in weights or thresholds, or a layer all
 * of whose inputs have a constant sign; MC_ENOMEM. */
int mc_binarize_close(struct mc_model *m, struct mc_err *err);

/* ---- binarize_reopen.c ---- */

/* File form -> training form. given: the model that was binarised, whose weights are the latent ones where their signs are
 * those of the file; thresholds become BatchNormalization. NULL: latent weights are scale * sign, thresholds Sub. */
int mc_binarize_reopen(struct mc_model *m, const struct mc_model *given, struct mc_err *err);

#endif
