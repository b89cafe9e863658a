/* What a Resize or Upsample node says: modes, and for each axis where its outputs lie in the input.
 *
 * Coordinates are computed in float32, as ONNX Runtime does, so that ties between neighbours fall alike. */
#ifndef MC_GRAPH_OPS_RESIZE_AXIS_H
#define MC_GRAPH_OPS_RESIZE_AXIS_H

#include "graph/ops/op.h"

enum mc_resize_mode { MC_RESIZE_NEAREST, MC_RESIZE_LINEAR, MC_RESIZE_CUBIC };

enum mc_resize_coord { /* coordinate_transformation_mode */
                       MC_RESIZE_HALF_PIXEL,
                       MC_RESIZE_HALF_PIXEL_SYMMETRIC,
                       MC_RESIZE_PYTORCH_HALF_PIXEL,
                       MC_RESIZE_ALIGN_CORNERS,
                       MC_RESIZE_ASYMMETRIC,
                       MC_RESIZE_TF_HALF_PIXEL,
                       MC_RESIZE_TF_CROP,
};

enum mc_resize_round { /* nearest_mode */
                       MC_RESIZE_PREFER_FLOOR,
                       MC_RESIZE_PREFER_CEIL,
                       MC_RESIZE_FLOOR,
                       MC_RESIZE_CEIL,
                       MC_RESIZE_SIMPLE, /* before version 11: down when growing, up when shrinking */
};

enum mc_resize_policy { MC_RESIZE_STRETCH, MC_RESIZE_NOT_LARGER, MC_RESIZE_NOT_SMALLER };

struct mc_resize {
    enum mc_resize_mode mode;
    enum mc_resize_coord coord;
    enum mc_resize_round round;
    enum mc_resize_policy policy;
    bool antialias, exclude_outside;
    float cubic_a;
    double extrapolation;
};

/* Of Resize, Upsample, ResizeGrad. Errors: MC_EUNSUP for words that are not known, MC_ESHAPE for a cubic_coeff_a that is no number. */
int mc_resize_parse(const struct mc_node *n, struct mc_resize *ret, struct mc_err *err);

struct mc_resize_axis {
    int64_t in, out;  /* out: MC_DIM_ANY where it is not known */
    float scale;      /* of 1: left alone, unless cropped */
    float start, end; /* region of interest, as a part of the input */
};

struct mc_resize_given {  /* contents of inputs and attributes */
    const float *scales;  /* or NULL: sizes */
    const int64_t *sizes; /* with symbols (< 0) where not known */
    int n;                /* of either */
    const float *roi;     /* or NULL */
    int n_roi;
};

/* All axes of x from what is given. Errors: MC_ESHAPE for values that do not fit. */
int mc_resize_axes(const struct mc_node *n, const struct mc_resize *r, const struct mc_shape *x,
                   const struct mc_resize_given *given, struct mc_resize_axis *ret,
                   struct mc_err *err);

/* Whether anything is done along this axis. */
bool mc_resize_moves(const struct mc_resize *r, const struct mc_resize_axis *a);
/* Nearest: index[out], -1 for what is extrapolated. */
void mc_resize_nearest(const struct mc_resize *r, const struct mc_resize_axis *a, int32_t *index);
/* Otherwise: how many inputs one output is made of, and their places and weights, [taps, out] each. */
int64_t mc_resize_taps(const struct mc_resize *r, const struct mc_resize_axis *a);
void mc_resize_weights(const struct mc_resize *r, const struct mc_resize_axis *a, int64_t taps,
                       int32_t *index, double *weight);
/* Output j of the axis lies outside of the input and is extrapolated. */
bool mc_resize_outside(const struct mc_resize *r, const struct mc_resize_axis *a, int64_t j);

#endif
