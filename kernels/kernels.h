/* The kernel table of one backend for one floating type.
 *
 * A kernel sees pointers, sizes and strides, no graph. `ref/` is plain C, written once over the element
 * type and built for float and double: the definition. `cpu/` holds the fast versions: plain C, AVX2,
 * AVX-512, chosen at run time. A table is filled from the reference upwards, so an entry is never NULL.
 *
 * Pointers are void: the table's element type says what they point to; scalars travel as double. Sums are
 * made in an order fixed by the shape alone: the same bits for any number of threads.
 *
 * A device has a table too (kernels/gpu.h): every pointer in the structures that its kernels are given is device
 * memory then, except where a structure says so, the pool is not used, and an entry may be NULL. */
#ifndef MC_KERNELS_KERNELS_H
#define MC_KERNELS_KERNELS_H

#include "kernels/attend.h"
#include "kernels/circulant.h"
#include "kernels/conv.h"
#include "kernels/conv_grad.h"
#include "kernels/conv_s8.h"
#include "kernels/elementwise.h"
#include "kernels/fake_quant.h"
#include "kernels/gemm.h"
#include "kernels/gemm_s8.h"
#include "kernels/losses.h"
#include "kernels/nn.h"
#include "kernels/move.h"
#include "kernels/scatter.h"
#include "kernels/norm.h"
#include "kernels/optim.h"
#include "kernels/places.h"
#include "kernels/rnn.h"
#include "kernels/rows_s8.h"
#include "kernels/small.h"
#include "kernels/solver.h"
#include "kernels/spatial.h"
#include "kernels/quant.h"
#include "kernels/typed.h"
#include "kernels/values.h"
#include "kernels/xnor.h"

struct mc_kernels {
    const char *name; /* "ref", "plain", "avx2", "avx512", "avx512vnni", "cuda" */
    int elem_bytes;   /* 4 or 8 */
    bool device;      /* of a GPU */
    struct mc_gemm_kernels gemm;
    struct mc_circulant_kernels circulant;
    struct mc_conv_kernels conv;
    struct mc_conv_grad_kernels conv_grad;
    struct mc_elementwise_kernels elementwise;
    struct mc_nn_kernels nn;
    struct mc_norm_kernels norm;
    struct mc_rnn_kernels rnn;
    struct mc_loss_kernels loss;
    struct mc_spatial_kernels spatial;
    struct mc_scatter_kernels scatter;
    struct mc_optim_kernels optim;
    struct mc_fake_quant_kernels fake_quant;
    struct mc_xnor_kernels xnor;
    struct mc_small_kernels small;   /* of devices alone */
    struct mc_values_kernels values; /* the same */
    /* The same in both tables of a level: they do not compute with the element type. */
    struct mc_gemm_s8_kernels gemm_s8;
    struct mc_conv_s8_kernels conv_s8;
    struct mc_rows_s8_kernels rows_s8;
    struct mc_quant_kernels quant;
    struct mc_move_kernels move;
    struct mc_places_kernels places;
    struct mc_typed_kernels typed;
    struct mc_attend_kernels attend; /* of a device; NULL on the CPU */
    struct mc_solver_kernels solver; /* the same */
};

/* Table by name for 4- or 8-byte elements; name NULL: the best this CPU has (for 8 bytes: "ref").
 * NULL if the name is unknown or this CPU cannot run it. MCOMPRESS_KERNELS in the environment replaces a
 * NULL name, so that any command can be tried on a lesser CPU. */
const struct mc_kernels *mc_kernels_get(const char *name, int elem_bytes);

#endif
