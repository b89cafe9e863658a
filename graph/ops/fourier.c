/* DFT and STFT: a mixed transform, by powers of two where the length is one, by the definition where it is short,
 * and through a longer power of two (Bluestein) otherwise. All in float64. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"

static const double TURN = 6.283185307179586476925;

/* ---- one transform ---- */

struct fourier {
    int64_t n, padded;      /* padded: the power of two that it runs in */
    double *twiddle;        /* [padded / 2] pairs, exp(-2 pi i k / padded) */
    double *chirp, *filter; /* [n] and [padded] pairs, where padded is not n */
    double *work;           /* [padded] pairs */
};

static int64_t power_of_two(int64_t least)
{
    int64_t p = 1;
    while (p < least)
        p *= 2;
    return p;
}

static int64_t padded_length(int64_t n)
{
    int64_t p = power_of_two(n);
    return p == n ? n : power_of_two(2 * n - 1);
}

static void unit(double *pair, double angle)
{
    pair[0] = cos(angle);
    pair[1] = sin(angle);
}

static void multiply(double *x, const double *y)
{
    double re = x[0] * y[0] - x[1] * y[1];
    x[1] = x[0] * y[1] + x[1] * y[0];
    x[0] = re;
}

/* In place, decimation in time; inverse without its factor. Source: Cooley, Tukey, An Algorithm for the Machine
 * Calculation of Complex Fourier Series, 1965. */
static void radix_two(const struct fourier *f, double *x, bool inverse)
{
    int64_t n = f->padded;
    for (int64_t i = 1, j = 0; i < n; i++) {
        int64_t bit = n >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        for (int part = 0; part < 2 && i < j; part++) {
            double t = x[2 * i + part];
            x[2 * i + part] = x[2 * j + part];
            x[2 * j + part] = t;
        }
    }
    for (int64_t half = 1; half < n; half *= 2)
        for (int64_t from = 0; from < n; from += 2 * half)
            for (int64_t k = 0; k < half; k++) {
                double *a = x + 2 * (from + k), *b = a + 2 * half, w[2];
                memcpy(w, f->twiddle + 2 * k * (n / (2 * half)), sizeof w);
                w[1] = inverse ? -w[1] : w[1];
                multiply(b, w);
                double re = b[0], im = b[1];
                b[0] = a[0] - re;
                b[1] = a[1] - im;
                a[0] += re;
                a[1] += im;
            }
}

static size_t fourier_doubles(int64_t n)
{
    int64_t padded = padded_length(n);
    return (size_t)(padded + (padded == n ? 0 : 2 * n + 2 * padded) + 2 * padded);
}

/* `room` holds fourier_doubles(n). */
static struct fourier fourier_of(int64_t n, double *room)
{
    struct fourier f = {.n = n, .padded = padded_length(n)};
    f.twiddle = room;
    f.work = f.twiddle + f.padded;
    for (int64_t k = 0; k < f.padded / 2; k++)
        unit(f.twiddle + 2 * k, -TURN * (double)k / (double)f.padded);
    if (f.padded == n)
        return f;
    f.chirp = f.work + 2 * f.padded;
    f.filter = f.chirp + 2 * n;
    memset(f.filter, 0, (size_t)(2 * f.padded) * sizeof(double));
    for (int64_t k = 0; k < n; k++) { /* k² modulo 2n, so that the angle stays exact */
        int64_t square = (int64_t)((uint64_t)k * (uint64_t)k % (uint64_t)(2 * n));
        unit(f.chirp + 2 * k, -TURN / 2 * (double)square / (double)n);
        for (int side = 0; side < 2; side++) {
            double *to = f.filter + 2 * (side ? (f.padded - k) % f.padded : k);
            to[0] = f.chirp[2 * k];
            to[1] = -f.chirp[2 * k + 1];
        }
    }
    radix_two(&f, f.filter, false);
    return f;
}

/* work[0..n) := its transform; inverse without the factor 1/n. Source of the general length: Bluestein, A Linear
 * Filtering Approach to the Computation of Discrete Fourier Transform, 1970. */
static void transform(const struct fourier *f, bool inverse)
{
    double *x = f->work;
    if (f->padded == f->n) {
        radix_two(f, x, inverse);
        return;
    }
    memset(x + 2 * f->n, 0, (size_t)(2 * (f->padded - f->n)) * sizeof(double));
    for (int64_t k = 0; k < f->n; k++) {
        x[2 * k + 1] = inverse ? -x[2 * k + 1] : x[2 * k + 1]; /* conjugate before and after */
        multiply(x + 2 * k, f->chirp + 2 * k);
    }
    radix_two(f, x, false);
    for (int64_t k = 0; k < f->padded; k++)
        multiply(x + 2 * k, f->filter + 2 * k);
    radix_two(f, x, true);
    for (int64_t k = 0; k < f->n; k++) {
        multiply(x + 2 * k, f->chirp + 2 * k);
        x[2 * k] /= (double)f->padded;
        x[2 * k + 1] /= inverse ? -(double)f->padded : (double)f->padded;
    }
}

/* ---- lengths ---- */

static const int64_t LONGEST = INT64_C(1) << 32;

/* A single whole number of input i: 1 and *ret, 0 where it is left out, -1 where it is not known. */
static int scalar_in(const struct mc_infer_ctx *c, int i, int64_t *ret)
{
    struct mc_contents p;
    if (!mc_op_in(c, i))
        return 0;
    if (!mc_op_numbers(c, i, &p) || p.n != 1)
        return -1;
    *ret = p.value[0];
    return 1;
}

static int need_scalar(const struct mc_infer_ctx *c, int i, struct mc_err *err)
{
    int rc = mc_op_need_index(c, i, err);
    return rc ? rc : mc_op_need_single(c, i, err);
}

/* Whole number of input i at run time, or `missing`. */
static int64_t scalar_at(const struct mc_call *c, int i, int64_t missing)
{
    int64_t v = missing;
    mc_op_ints(mc_op_arg(c, i), &v, 1);
    return v;
}

/* Real (1) or complex (2), the last dimension. */
static int need_pairs(const struct mc_infer_ctx *c, struct mc_err *err)
{
    const struct mc_vtype *x = c->in[0];
    int64_t last = x->ranked ? x->shape.dim[x->shape.rank - 1] : -1;
    if (last < 0 || last == 1 || last == 2)
        return 0;
    return mc_op_fail(err, MC_ESHAPE, c->node, "the last dimension is %lld, must be 1 or 2",
                      (long long)last);
}

/* ---- DFT ---- */

static int dft_axis(const struct mc_node *n, bool given, int64_t axis, int rank, int *ret,
                    struct mc_err *err)
{
    if (n->version < 20)
        axis = mc_node_int(n, "axis", 1);
    else if (!given)
        axis = -2;
    int rc = mc_op_need_axis(n, "axis", axis, rank, ret, err);
    if (!rc && *ret == rank - 1)
        return mc_op_fail(err, MC_ESHAPE, n, "axis %lld is the one of real and imaginary parts",
                          (long long)axis);
    return rc;
}

static int dft_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, c->node->version < 20 ? 2 : 3, err), axis;
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 2, MC_RANK_MAX, err);
    rc = rc ? rc : need_scalar(c, 1, err);
    rc = rc ? rc : need_scalar(c, 2, err);
    rc = rc ? rc : need_pairs(c, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0];
    mc_op_give(c, 0, x->dtype, NULL);
    int64_t given = 0, length = 0;
    int has_axis = scalar_in(c, 2, &given), has_length = scalar_in(c, 1, &length);
    if (!x->ranked || has_axis < 0)
        return 0;
    struct mc_shape y = x->shape;
    if ((rc = dft_axis(c->node, has_axis > 0, given, y.rank, &axis, err)))
        return rc;
    bool one = mc_node_int(c->node, "onesided", 0) != 0;
    bool inverse = mc_node_int(c->node, "inverse", 0) != 0;
    int64_t pairs = y.dim[y.rank - 1];
    if (one && pairs > 0 && pairs != (inverse ? 2 : 1))
        return mc_op_fail(err, MC_ESHAPE, c->node, "one-sided from %s input",
                          inverse ? "real" : "complex");
    int64_t n = has_length > 0 ? length : has_length < 0 ? -1 : y.dim[axis];
    if (has_length == 0 && n > 0 && one && inverse)
        n = 2 * (n - 1);
    if (n == 0 || n > LONGEST || (has_length > 0 && n < 0))
        return mc_op_fail(err, MC_ESHAPE, c->node, "a transform of length %lld", (long long)n);
    y.dim[axis] = n < 0 ? MC_DIM_ANY : one && !inverse ? n / 2 + 1 : n;
    y.dim[y.rank - 1] = one && inverse ? 1 : 2;
    mc_op_give(c, 0, x->dtype, &y);
    return 0;
}

/* Length of the transforms of a call whose output has been planned. */
static int64_t dft_length(const struct mc_call *c, int axis)
{
    bool half = mc_node_int(c->node, "onesided", 0) && !mc_node_int(c->node, "inverse", 0);
    int64_t n = mc_op_arg(c, 1) && mc_op_arg(c, 1)->data ? scalar_at(c, 1, 0) : 0;
    if (n > 0)
        return n;
    return half ? c->in[0].shape.dim[axis] : c->out[0].shape.dim[axis];
}

/* Scratch that is enough for any transform whose input or result has n elements: only run() may know its length. */
static void make_room(struct mc_call *c, int64_t n)
{
    const int64_t lengths[] = {n, 2 * n - 2, 2 * n - 1}; /* a one-sided result has n / 2 + 1 */
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t bytes = lengths[i] > 0 ? fourier_doubles(lengths[i]) * sizeof(double) : 0;
        c->scratch_bytes = bytes > c->scratch_bytes ? bytes : c->scratch_bytes;
    }
}

static int dft_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    c->scratch_bytes = 0;
    for (int d = 0; d < c->in[0].shape.rank - 1; d++) {
        make_room(c, c->in[0].shape.dim[d]);
        make_room(c, c->out[0].shape.dim[d]);
    }
    return 0;
}

static int dft_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *y = &c->out[0];
    int rank = x->shape.rank, axis;
    int rc = dft_axis(c->node, mc_op_arg(c, 2) != NULL, scalar_at(c, 2, -2), rank, &axis, err);
    if (rc)
        return rc;
    bool one = mc_node_int(c->node, "onesided", 0) != 0;
    bool inverse = mc_node_int(c->node, "inverse", 0) != 0;
    int64_t n = dft_length(c, axis), have = x->shape.dim[axis], give = y->shape.dim[axis];
    int64_t want = one && !inverse ? n / 2 + 1 : n, inner = mc_op_span(x, axis + 1, rank - 1);
    int64_t parts = x->shape.dim[rank - 1], out_parts = y->shape.dim[rank - 1];
    if (n < 1 || want != give)
        return mc_op_fail(err, MC_EDATA, c->node, "length %lld gives another shape than planned",
                          (long long)n);
    struct fourier f = fourier_of(n, c->scratch);
    for (int64_t i = 0, lanes = mc_op_span(x, 0, axis) * inner; i < lanes; i++) {
        int64_t from = i / inner * have * inner + i % inner,
                to = i / inner * give * inner + i % inner;
        for (int64_t k = 0; k < n; k++) {
            /* One-sided to real: the upper half mirrors the lower one. */
            bool mirror = one && inverse && k > n / 2;
            int64_t at = mirror ? n - k : k, e = (from + at * inner) * parts;
            f.work[2 * k] = at < have ? mc_buf_param(x, e) : 0;
            double imaginary = at < have && parts == 2 ? mc_buf_param(x, e + 1) : 0;
            f.work[2 * k + 1] = mirror ? -imaginary : imaginary;
        }
        transform(&f, inverse);
        for (int64_t k = 0; k < give; k++)
            for (int64_t part = 0; part < out_parts; part++)
                mc_buf_put(y, (to + k * inner) * out_parts + part,
                           f.work[2 * k + part] / (inverse ? (double)n : 1));
    }
    return 0;
}

/* ---- STFT ---- */

enum { STEP = 1, WINDOW, FRAME };

static int stft_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 4, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 3, 3, err);
    rc = rc ? rc : need_scalar(c, STEP, err);
    rc = rc ? rc : need_scalar(c, FRAME, err);
    rc = rc ? rc : mc_op_need_same(c, 0, WINDOW, err);
    rc = rc ? rc : mc_op_need_rank(c, WINDOW, 1, 1, err);
    rc = rc ? rc : need_pairs(c, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *window = mc_op_in(c, WINDOW);
    struct mc_shape y = {4, {MC_DIM_ANY, MC_DIM_ANY, MC_DIM_ANY, 2}};
    int64_t step = 0, frame = -1, length = x->ranked ? x->shape.dim[1] : -1;
    int has_frame = scalar_in(c, FRAME, &frame), has_step = scalar_in(c, STEP, &step);
    if (has_frame == 0)
        frame = window ? (window->ranked ? window->shape.dim[0] : -1) : length;
    if (x->ranked)
        y.dim[0] = x->shape.dim[0];
    bool one = mc_node_int(c->node, "onesided", 1) != 0;
    if (x->ranked && one && x->shape.dim[2] == 2)
        return mc_op_fail(err, MC_ESHAPE, c->node, "one-sided from complex input");
    if ((has_frame > 0 && frame < 1) || frame == 0 || frame > LONGEST)
        return mc_op_fail(err, MC_ESHAPE, c->node, "frames of %lld", (long long)frame);
    if (has_step > 0 && step < 1)
        return mc_op_fail(err, MC_ESHAPE, c->node, "frame_step %lld", (long long)step);
    int64_t same;
    if (window && window->ranked && has_frame > 0)
        rc = mc_op_need_dim(c->node, "window and frame_length", window->shape.dim[0], frame, &same,
                            err);
    if (frame > 0)
        y.dim[2] = one ? frame / 2 + 1 : frame;
    if (frame > 0 && length >= 0 && frame > length)
        return mc_op_fail(err, MC_ESHAPE, c->node, "frames of %lld in a signal of %lld",
                          (long long)frame, (long long)length);
    if (frame > 0 && length >= 0 && has_step > 0)
        y.dim[1] = (length - frame) / step + 1;
    mc_op_give(c, 0, x->dtype, &y);
    return rc;
}

static int64_t stft_frame(const struct mc_call *c)
{
    const struct mc_buf *window = mc_op_arg(c, WINDOW), *given = mc_op_arg(c, FRAME);
    if (window)
        return window->shape.dim[0];
    return given ? scalar_at(c, FRAME, 0) : c->in[0].shape.dim[1];
}

static int stft_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    c->scratch_bytes = 0;
    make_room(c, c->out[0].shape.dim[2]);
    return 0;
}

static int stft_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *x = &c->in[0], *y = &c->out[0], *window = mc_op_arg(c, WINDOW);
    int64_t n = stft_frame(c), step = scalar_at(c, STEP, 0), length = x->shape.dim[1];
    int64_t frames = y->shape.dim[1], bins = y->shape.dim[2], parts = x->shape.dim[2];
    bool one = mc_node_int(c->node, "onesided", 1) != 0;
    if (n < 1 || step < 1 || n > length || (length - n) / step + 1 != frames ||
        bins != (one ? n / 2 + 1 : n))
        return mc_op_fail(err, MC_EDATA, c->node, "frames of %lld at steps of %lld in %lld",
                          (long long)n, (long long)step, (long long)length);
    struct fourier f = fourier_of(n, c->scratch);
    for (int64_t i = 0; i < x->shape.dim[0] * frames; i++) {
        int64_t from = i / frames * length + i % frames * step;
        for (int64_t k = 0; k < n; k++) {
            double w = window ? mc_buf_param(window, k) : 1;
            f.work[2 * k] = w * mc_buf_param(x, (from + k) * parts);
            f.work[2 * k + 1] = parts == 2 ? w * mc_buf_param(x, (from + k) * parts + 1) : 0;
        }
        transform(&f, false);
        for (int64_t k = 0; k < 2 * bins; k++)
            mc_buf_put(y, i * 2 * bins + k, f.work[k]);
    }
    return 0;
}

const struct mc_op mc_ops_fourier[] = {
    {"", "DFT", 17, 0, dft_infer, dft_setup, dft_run, NULL, NULL, NULL},
    {"", "STFT", 17, 0, stft_infer, stft_setup, stft_run, NULL, NULL, NULL},
    {0},
};
