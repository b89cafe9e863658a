/* The training form of a quantised model: names of attributes, and what both ways of it need. Private to quant_train*.c.
 *
 * DequantizeLinear(q) becomes FakeQuantize(x) of ai.mcompress.grad (graph/ops/fake_quant.c): x are latent floats in place
 * of stored integers, or what QuantizeLinear read. All attributes stay; added are "lo" and "hi", and
 *     type     that the integers had, an element type of ONNX;   since   version of the two nodes
 *     stored   1: x are latent floats of integers in the file;   batched 1: dimension 0 counts samples
 *     tied     a bias, whose scale is the product of two others: the name it had */
#ifndef MC_PASSES_QUANT_TRAIN_FORM_H
#define MC_PASSES_QUANT_TRAIN_FORM_H

#include "graph/graph.h"

static const char mc_train_fake[] = "FakeQuantize", mc_train_scale[] = "LearnedScale";

struct mc_train_range {
    int64_t lo, hi; /* of integers, zero point included */
};

/* Of a type of integers up to 32 bits. False for others. */
bool mc_train_range_of(enum mc_dtype type, struct mc_train_range *ret);
/* The range that stored integers of q's type were made for: of the fewest bits, 2 and above, that hold them, around the zero
 * points where these are all 0 or the middle of the type; without the least number of it where they do without. */
int mc_train_range_stored(const struct mc_tensor *q, const struct mc_tensor *zero,
                          struct mc_train_range *ret, struct mc_err *err);

/* (q - zero) scale as floats, and back: round(x / scale) + zero within the range. n says the axis and blocks. */
int mc_train_floats(const struct mc_node *n, const struct mc_tensor *q,
                    const struct mc_tensor *scale, const struct mc_tensor *zero,
                    struct mc_spill *spill, struct mc_tensor **ret, struct mc_err *err);
int mc_train_integers(const struct mc_node *n, const struct mc_tensor *x,
                      const struct mc_tensor *scale, const struct mc_tensor *zero,
                      enum mc_dtype type, const struct mc_train_range *range,
                      struct mc_spill *spill, struct mc_tensor **ret, struct mc_err *err);

/* Both missing, or the same type, shape and bytes. */
bool mc_train_same(const struct mc_tensor *a, const struct mc_tensor *b);
/* a b, one of them a single number, or of equal shapes; float32. */
int mc_train_product(const struct mc_tensor *a, const struct mc_tensor *b, struct mc_tensor **ret,
                     struct mc_err *err);

bool mc_train_is(const struct mc_node *n, const char *op); /* of ai.mcompress.grad */
/* v goes where nothing makes or reads it. */
void mc_train_drop(struct mc_value *v);
int mc_train_no_memory(struct mc_err *err);

#endif
