#include "graph/ops/resize_axis.h"

#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"

/* ---- attributes ---- */

static int word(const struct mc_node *n, const char *name, const char *const *words, int n_words,
                int *ret, struct mc_err *err)
{
    const char *given = mc_node_string(n, name, words[0]);
    for (int i = 0; i < n_words; i++)
        if (!strcmp(given, words[i])) {
            *ret = i;
            return 0;
        }
    return mc_op_fail(err, MC_EUNSUP, n, "%s '%s' is not known", name, given);
}
#define WORD(n, name, words, ret, err)                                                             \
    word(n, name, words, (int)(sizeof(words) / sizeof *(words)), ret, err)

int mc_resize_parse(const struct mc_node *n, struct mc_resize *r, struct mc_err *err)
{
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    static const char *const coords[] = {
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners",
        "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize"};
    static const char *const rounds[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                         "ceil"};
    static const char *const policies[] = {"stretch", "not_larger", "not_smaller"};
    int mode = 0, coord = MC_RESIZE_ASYMMETRIC, nearest = MC_RESIZE_SIMPLE, policy = 0;
    int rc = WORD(n, "mode", modes, &mode, err);
    bool resize = mc_node_is(n, "Resize");
    if (!rc && (resize ? n->version : mc_node_int(n, "forward_version", 0)) >= 11) {
        rc = WORD(n, "coordinate_transformation_mode", coords, &coord, err);
        rc = rc ? rc : WORD(n, "nearest_mode", rounds, &nearest, err);
        rc = rc ? rc : WORD(n, "keep_aspect_ratio_policy", policies, &policy, err);
    }
    *r = (struct mc_resize){
        .mode = (enum mc_resize_mode)mode,
        .coord = (enum mc_resize_coord)coord,
        .round = (enum mc_resize_round)nearest,
        .policy = (enum mc_resize_policy)policy,
        .antialias = mode != MC_RESIZE_NEAREST && mc_node_int(n, "antialias", 0) != 0,
        .exclude_outside = mc_node_int(n, "exclude_outside", 0) != 0,
        .cubic_a = mc_node_float(n, "cubic_coeff_a", -0.75f),
        .extrapolation = (double)mc_node_float(n, "extrapolation_value", 0),
    };
    if (!rc && !isfinite(r->cubic_a))
        rc = mc_op_fail(err, MC_ESHAPE, n, "cubic_coeff_a is %g", (double)r->cubic_a);
    return rc;
}

/* ---- axes ---- */

static int scaled(const struct mc_node *n, float scale, struct mc_resize_axis *a,
                  struct mc_err *err)
{
    if (!(scale > 0) || !isfinite(scale))
        return mc_op_fail(err, MC_ESHAPE, n, "scale %g, must be above 0", (double)scale);
    a->scale = scale;
    a->out = scale == 1 ? a->in : MC_DIM_ANY;
    if (a->in < 0 || scale == 1)
        return 0;
    float out = floorf((float)a->in * scale);
    if (out > (float)(INT32_MAX / 2))
        return mc_op_fail(err, MC_ESHAPE, n, "%lld elements times %g are too many",
                          (long long)a->in, (double)scale);
    a->out = (int64_t)out;
    return 0;
}

static int sized(const struct mc_node *n, int64_t size, struct mc_resize_axis *a,
                 struct mc_err *err)
{
    if (size > INT32_MAX / 2)
        return mc_op_fail(err, MC_ESHAPE, n, "size %lld is too large", (long long)size);
    a->out = size;
    if (size < 0 || a->in < 0)
        return 0;
    if (a->in == 0 && size > 0)
        return mc_op_fail(err, MC_ESHAPE, n, "no elements cannot become %lld", (long long)size);
    a->scale = a->in > 0 ? (float)size / (float)a->in : 1;
    return 0;
}

/* Every axis in `axes` gets the smallest or largest of their scales. */
static void keep_ratio(const struct mc_resize *r, const int *axes, int n, struct mc_resize_axis *a)
{
    bool known = true, larger = r->policy == MC_RESIZE_NOT_SMALLER;
    float scale = larger ? 0 : INFINITY;
    for (int i = 0; i < n; i++) {
        const struct mc_resize_axis *one = &a[axes[i]];
        known = known && one->in >= 0 && one->out >= 0;
        if (larger ? one->scale > scale : one->scale < scale)
            scale = one->scale;
    }
    for (int i = 0; i < n; i++) {
        struct mc_resize_axis *one = &a[axes[i]];
        one->scale = scale;
        one->out = known ? (int64_t)roundf(scale * (float)one->in) : MC_DIM_ANY;
    }
}

int mc_resize_axes(const struct mc_node *n, const struct mc_resize *r, const struct mc_shape *x,
                   const struct mc_resize_given *given, struct mc_resize_axis *ret,
                   struct mc_err *err)
{
    int axes[MC_RANK_MAX], count = 0, rc = mc_op_need_axes(n, x->rank, axes, &count, err);
    if (rc)
        return rc;
    if (given->n != count)
        return mc_op_fail(err, MC_ESHAPE, n, "%d %s for %d axes", given->n,
                          given->scales ? "scales" : "sizes", count);
    if (given->roi && given->n_roi != 2 * count)
        return mc_op_fail(err, MC_ESHAPE, n, "%d values in roi for %d axes", given->n_roi, count);
    for (int d = 0; d < x->rank; d++)
        ret[d] = (struct mc_resize_axis){x->dim[d], x->dim[d], 1, 0, 1};
    for (int i = 0; i < count && !rc; i++) {
        struct mc_resize_axis *a = &ret[axes[i]];
        if (given->roi) {
            a->start = given->roi[i];
            a->end = given->roi[i + count];
        }
        rc =
            given->scales ? scaled(n, given->scales[i], a, err) : sized(n, given->sizes[i], a, err);
    }
    if (!rc && !given->scales && r->policy != MC_RESIZE_STRETCH)
        keep_ratio(r, axes, count, ret);
    for (int d = 0; d < x->rank && !rc; d++)
        if (ret[d].in > INT32_MAX && mc_resize_moves(r, &ret[d]))
            rc = mc_op_fail(err, MC_ESHAPE, n, "%lld elements are too many to resize",
                            (long long)ret[d].in);
    return rc;
}

bool mc_resize_moves(const struct mc_resize *r, const struct mc_resize_axis *a)
{
    bool cropped = r->coord == MC_RESIZE_TF_CROP && (a->start != 0 || a->end != 1);
    return a->scale != 1 || a->in != a->out || cropped;
}

/* ---- coordinates ---- */

static float coordinate(const struct mc_resize *r, const struct mc_resize_axis *a, int64_t j)
{
    float o = (float)j, in = (float)a->in, out = (float)a->out;
    switch (r->coord) {
    case MC_RESIZE_HALF_PIXEL: break;
    case MC_RESIZE_HALF_PIXEL_SYMMETRIC: {
        float center = in / 2, adjustment = out / (a->scale * in);
        return center * (1 - adjustment) + (o + 0.5f) / a->scale - 0.5f;
    }
    case MC_RESIZE_PYTORCH_HALF_PIXEL: return a->out > 1 ? (o + 0.5f) / a->scale - 0.5f : 0;
    case MC_RESIZE_ALIGN_CORNERS: return a->out > 1 ? o * (in - 1) / (out - 1) : 0;
    case MC_RESIZE_ASYMMETRIC: return o / a->scale;
    case MC_RESIZE_TF_HALF_PIXEL: return (o + 0.5f) / a->scale;
    case MC_RESIZE_TF_CROP:
        if (a->out > 1)
            return a->start * (in - 1) + o * (a->end - a->start) * (in - 1) / (out - 1);
        return 0.5f * (a->start + a->end) * (in - 1);
    }
    return (o + 0.5f) / a->scale - 0.5f;
}

bool mc_resize_outside(const struct mc_resize *r, const struct mc_resize_axis *a, int64_t j)
{
    float at = r->coord == MC_RESIZE_TF_CROP ? coordinate(r, a, j) : 0;
    return !(at >= 0 && at <= (float)(a->in - 1)) && r->coord == MC_RESIZE_TF_CROP;
}

static float limited(float at, int64_t n)
{
    float last = (float)(n - 1);
    return at > 0 ? at < last ? at : last : 0; /* NaN, of a hostile roi, becomes 0 */
}

static float nearest(const struct mc_resize *r, const struct mc_resize_axis *a, float at)
{
    switch (r->round) {
    case MC_RESIZE_PREFER_FLOOR: return at == floorf(at) + 0.5f ? floorf(at) : roundf(at);
    case MC_RESIZE_PREFER_CEIL: return roundf(at);
    case MC_RESIZE_FLOOR: return floorf(at);
    case MC_RESIZE_CEIL: return ceilf(at);
    case MC_RESIZE_SIMPLE: break;
    }
    return a->scale < 1 ? ceilf(at) : truncf(at);
}

void mc_resize_nearest(const struct mc_resize *r, const struct mc_resize_axis *a, int32_t *index)
{
    for (int64_t j = 0; j < a->out; j++) {
        /* As a float, the last position may be rounded up. */
        int64_t at = (int64_t)limited(nearest(r, a, coordinate(r, a, j)), a->in);
        index[j] = mc_resize_outside(r, a, j) ? -1 : (int32_t)(at < a->in ? at : a->in - 1);
    }
}

/* ---- weights ---- */

/* Source: Keys, Cubic Convolution Interpolation for Digital Image Processing, IEEE ASSP 1981. */
static double cubic(double a, double x)
{
    x = fabs(x);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static double filter(const struct mc_resize *r, double x)
{
    if (r->mode == MC_RESIZE_CUBIC)
        return cubic((double)r->cubic_a, x);
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* How far the filter reaches, and by how much it is stretched when shrinking with antialias. */
static double reach(const struct mc_resize *r, const struct mc_resize_axis *a, double *ret_stretch)
{
    *ret_stretch = r->antialias && a->scale < 1 ? 1 / (double)a->scale : 1;
    return (r->mode == MC_RESIZE_CUBIC ? 2 : 1) * *ret_stretch;
}

int64_t mc_resize_taps(const struct mc_resize *r, const struct mc_resize_axis *a)
{
    double stretch, taps = 2 * ceil(reach(r, a, &stretch)) + (r->antialias ? 1 : 0);
    /* More than all of them and one at each border is never needed. */
    return taps < (double)a->in + 2 ? (int64_t)taps : a->in + 2;
}

void mc_resize_weights(const struct mc_resize *r, const struct mc_resize_axis *a, int64_t taps,
                       int32_t *index, double *weight)
{
    double stretch, far = reach(r, a, &stretch);
    for (int64_t j = 0; j < a->out; j++) {
        float at = coordinate(r, a, j);
        if (r->mode == MC_RESIZE_LINEAR && !r->antialias)
            at = limited(at, a->in);
        if (!isfinite(at) || fabsf(at) > 0x1p40f)
            at = 0; /* of a hostile roi: it is extrapolated */
        int64_t first = r->antialias ? (int64_t)floor((double)at - far + 1)
                                     : (int64_t)floorf(at) + 1 - (int64_t)far;
        int64_t last =
            r->antialias ? (int64_t)floor((double)at + far + 1) : first + 2 * (int64_t)far;
        double sum = 0;
        for (int64_t t = 0; t < taps; t++) {
            index[t * a->out + j] = 0;
            weight[t * a->out + j] = 0;
        }
        /* Taps beyond a border are added to the element there; all before it are one tap. */
        int64_t low = first < 0 ? 0 : first < a->in ? first : a->in - 1;
        for (int64_t i = first; i < last; i++) {
            bool inside = i >= 0 && i < a->in;
            int64_t from = inside ? i : i < 0 ? 0 : a->in - 1;
            double w = filter(r, ((double)at - (double)i) / stretch);
            if (!inside && r->exclude_outside)
                continue;
            index[(from - low) * a->out + j] = (int32_t)from;
            weight[(from - low) * a->out + j] += w;
            sum += w;
        }
        for (int64_t t = 0; t < taps && (r->antialias || r->exclude_outside) && sum != 0; t++)
            weight[t * a->out + j] /= sum;
    }
}
