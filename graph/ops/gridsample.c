/* GridSample and AffineGrid, in two and three dimensions. */
#include <math.h>
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/float_elem.h"
#include "graph/ops/op_gpu.h"

enum mode { LINEAR, NEAREST, CUBIC };
enum padding { ZEROS, BORDER, REFLECTION };

enum { TAPS = 4, POINTS = 64 }; /* of one dimension; of a point with three */

struct sampling {
    const struct mc_call *c;
    enum mode mode;
    enum padding padding;
    bool align;
    int dims;
    int64_t size[3], channels, plane, points; /* depth, height, width of the input */
};

static int parse(const struct mc_node *n, struct sampling *s, struct mc_err *err)
{
    static const char *const modes[] = {"bilinear", "nearest", "bicubic",
                                        "linear",   "nearest", "cubic"};
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    const char *mode = mc_node_string(n, "mode", "linear");
    const char *padding = mc_node_string(n, "padding_mode", "zeros");
    int m = 0, p = 0;
    while (m < 6 && strcmp(mode, modes[m]) != 0)
        m++;
    while (p < 3 && strcmp(padding, paddings[p]) != 0)
        p++;
    if (m == 6)
        return mc_op_fail(err, MC_EUNSUP, n, "mode '%s' is not known", mode);
    if (p == 3)
        return mc_op_fail(err, MC_EUNSUP, n, "padding_mode '%s' is not known", padding);
    s->mode = (enum mode)(m % 3);
    s->padding = (enum padding)p;
    s->align = mc_node_int(n, "align_corners", 0) != 0;
    return 0;
}

static int sample_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct sampling s;
    int rc = mc_op_arity(c, 2, 2, err), rank;
    rc = rc ? rc : parse(c->node, &s, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_float(c, 1, err);
    rc = rc ? rc : mc_op_need_one_width(c, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 4, 5, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 4, 5, err);
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[0], *grid = c->in[1];
    mc_op_give(c, 0, x->dtype, NULL);
    if (!x->ranked || !grid->ranked)
        return 0;
    struct mc_shape y = x->shape;
    rank = y.rank;
    if (grid->shape.rank != rank)
        return mc_op_fail(err, MC_ESHAPE, c->node, "input has rank %d, grid %d", rank,
                          grid->shape.rank);
    int64_t last = rank - 2;
    rc = mc_op_need_dim(c->node, "coordinates", grid->shape.dim[rank - 1], last, &last, err);
    rc = rc ? rc : mc_op_need_dim(c->node, "batch", y.dim[0], grid->shape.dim[0], &y.dim[0], err);
    for (int d = 2; d < rank && !rc; d++) {
        if (x->shape.dim[d] == 0)
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "the input has no elements");
        y.dim[d] = grid->shape.dim[d - 1];
    }
    if (!rc)
        mc_op_give(c, 0, x->dtype, &y);
    return rc;
}

/* Into [low, high], folded at its ends. */
static double reflected(double x, double low, double high)
{
    double span = high - low;
    if (!(span > 0) || !isfinite(x))
        return low;
    x = fmod(fabs(x - low), 2 * span);
    return low + (x > span ? 2 * span - x : x);
}

static double padded(const struct sampling *s, double x, int64_t n)
{
    double low = s->align ? 0 : -0.5, high = (double)(n - 1) + (s->align ? 0 : 0.5);
    if (s->padding == BORDER)
        return x > 0 ? x < (double)(n - 1) ? x : (double)(n - 1) : 0;
    if (s->padding == REFLECTION && !(x >= low && x <= high))
        return reflected(x, low, high);
    return x;
}

/* Position of a whole coordinate, -1: a zero. */
static int64_t place(const struct sampling *s, double x, int64_t n)
{
    x = padded(s, x, n);
    if (!(x > -1 && x < (double)n))
        return -1;
    int64_t i = (int64_t)x; /* -0.5, at the edge of a reflection, is 0 */
    return i < n ? i : n - 1;
}

/* Source: Keys, Cubic Convolution Interpolation for Digital Image Processing, IEEE ASSP 1981; a = -0.75. */
static double cubic(double x)
{
    x = fabs(x);
    if (x <= 1)
        return (1.25 * x - 2.25) * x * x + 1;
    return ((-0.75 * x + 3.75) * x - 6) * x + 3;
}

/* The taps of one coordinate in [-1, 1]. Returns their number. */
static int taps(const struct sampling *s, double at, int64_t n, int64_t index[TAPS],
                double weight[TAPS])
{
    double size = (double)n;
    double x = s->align ? (at + 1) / 2 * (size - 1) : ((at + 1) * size - 1) / 2;
    if (s->mode == NEAREST)
        x = nearbyint(x);
    if (s->mode != CUBIC) /* whose taps are brought in one by one */
        x = padded(s, x, n);
    if (s->mode == NEAREST) {
        index[0] = place(s, x, n);
        weight[0] = 1;
        return 1;
    }
    int count = s->mode == CUBIC ? 4 : 2;
    double first = floor(x) - (count == 4 ? 1 : 0);
    for (int t = 0; t < count; t++) {
        double whole = first + t, from = x - whole;
        index[t] = place(s, whole, n);
        weight[t] = count == 4 ? cubic(from) : 1 - fabs(from);
    }
    return count;
}

/* All elements of a plane that a point is made of. Returns their number. */
static int gather(const struct sampling *s, const struct mc_buf *grid, int64_t point,
                  int64_t offset[POINTS], double weight[POINTS])
{
    int64_t index[3][TAPS] = {{0}};
    double w[3][TAPS] = {{1}, {1}, {1}};
    int count[3] = {1, 1, 1}, n = 0;
    for (int d = 0; d < s->dims; d++) /* x, y, z: from the last dimension on */
        count[2 - d] = taps(s, mc_buf_param(grid, point * s->dims + d), s->size[2 - d],
                            index[2 - d], w[2 - d]);
    for (int i = 0; i < count[0]; i++)
        for (int j = 0; j < count[1]; j++)
            for (int k = 0; k < count[2]; k++) {
                if (index[0][i] < 0 || index[1][j] < 0 || index[2][k] < 0)
                    continue;
                offset[n] = (index[0][i] * s->size[1] + index[1][j]) * s->size[2] + index[2][k];
                weight[n++] = w[0][i] * w[1][j] * w[2][k];
            }
    return n;
}

enum { CHUNK = 256 }; /* points in a chunk of work */

static void sample_chunk(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct sampling *s = ctx;
    const struct mc_call *c = s->c;
    int64_t chunks = (s->points + CHUNK - 1) / CHUNK, image = chunk / chunks, offset[POINTS];
    double weight[POINTS];
    int64_t from = chunk % chunks * CHUNK, to = from + CHUNK < s->points ? from + CHUNK : s->points;
    for (int64_t p = from; p < to; p++) {
        int n = gather(s, &c->in[1], image * s->points + p, offset, weight);
        for (int64_t channel = 0; channel < s->channels; channel++) {
            int64_t plane = image * s->channels + channel;
            double sum = 0;
            for (int i = 0; i < n; i++)
                sum += weight[i] * mc_buf_param(&c->in[0], plane * s->plane + offset[i]);
            mc_set_param(c->out[0].data, c->k->elem_bytes, plane * s->points + p, sum);
        }
    }
}

static int sample_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_shape *x = &c->in[0].shape, *y = &c->out[0].shape;
    struct sampling s = {.c = c, .dims = x->rank - 2, .size = {1, 1, 1}};
    int rc = parse(c->node, &s, err);
    for (int d = 0; d < s.dims; d++)
        s.size[3 - s.dims + d] = x->dim[d + 2];
    s.channels = x->dim[1];
    s.plane = mc_op_span(&c->in[0], 2, x->rank);
    s.points = mc_op_span(&c->out[0], 2, y->rank);
    if (!rc)
        mc_pool_run(c->pool, x->dim[0] * ((s.points + CHUNK - 1) / CHUNK), sample_chunk, &s);
    return rc;
}

/* ---- AffineGrid ---- */

static int affine_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 2, 2, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 3, 3, err);
    rc = rc ? rc : mc_op_need_index(c, 1, err);
    rc = rc ? rc : mc_op_need_rank(c, 1, 1, 1, err);
    if (rc)
        return rc;
    const struct mc_vtype *theta = c->in[0];
    struct mc_contents size;
    mc_op_give(c, 0, theta->dtype, NULL);
    if (!mc_op_contents(c, 1, &size))
        return 0;
    if (size.n != 4 && size.n != 5)
        return mc_op_fail(err, MC_ESHAPE, c->node, "size has %d values, must have 4 or 5", size.n);
    struct mc_shape y = {size.n, {0}};
    for (int i = 0; i < size.n - 1; i++) {
        int from = i ? i + 1 : 0; /* without the channels */
        y.dim[i] = size.sym[from] ? size.sym[from] : size.value[from];
        if (!size.sym[from] && size.value[from] < 0)
            return mc_op_fail(err, MC_ESHAPE, c->node, "size holds %lld",
                              (long long)size.value[from]);
    }
    int64_t rows = size.n - 2, columns = size.n - 1;
    y.dim[size.n - 1] = rows;
    if (theta->ranked) {
        rc = mc_op_need_dim(c->node, "batch", theta->shape.dim[0], y.dim[0], &y.dim[0], err);
        rc = rc ? rc : mc_op_need_dim(c->node, "rows", theta->shape.dim[1], rows, &rows, err);
        rc = rc ? rc
                : mc_op_need_dim(c->node, "columns", theta->shape.dim[2], columns, &columns, err);
    }
    if (!rc)
        mc_op_give(c, 0, theta->dtype, &y);
    return rc;
}

/* Position i of n in [-1, 1]; a single one is at the end, as in ONNX Runtime. */
static double spread(int64_t i, int64_t n, bool align)
{
    double last = align ? 1 : 1 - 1 / (double)n;
    return n > 1 ? -last + 2 * last * (double)i / (double)(n - 1) : last;
}

static int affine_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_shape *y = &c->out[0].shape;
    bool align = mc_node_int(c->node, "align_corners", 0) != 0;
    int dims = y->rank - 2;
    int64_t at[3] = {0}, points = mc_op_span(&c->out[0], 1, y->rank - 1);
    for (int64_t p = 0; p < y->dim[0] * points; p++) {
        double from[4] = {0};
        for (int d = 0; d < dims; d++) /* x first: the last dimension */
            from[d] = spread(at[dims - 1 - d], y->dim[dims - d], align);
        from[dims] = 1;
        for (int r = 0; r < dims; r++) {
            double sum = 0;
            for (int k = 0; k <= dims; k++)
                sum += from[k] * mc_buf_param(&c->in[0], (p / points * dims + r) * (dims + 1) + k);
            mc_set_param(c->out[0].data, c->k->elem_bytes, p * dims + r, sum);
        }
        for (int d = dims - 1; d >= 0 && ++at[d] == y->dim[d + 1]; d--)
            at[d] = 0;
    }
    return 0;
}

const struct mc_op mc_ops_gridsample[] = {
    {"", "GridSample", 16, 0, sample_infer, NULL, sample_run, NULL, NULL, NULL},
    {"", "AffineGrid", 20, 0, affine_infer, NULL, affine_run, NULL, NULL, NULL},
    {0},
};

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && c->k->values.sample;
}

static int gpu_sample(struct mc_call *c, struct mc_err *err)
{
    static const enum mc_between betweens[] = {MC_BETWEEN_LINEAR, MC_BETWEEN_NEAREST,
                                               MC_BETWEEN_CUBIC};
    static const enum mc_border borders[] = {MC_BORDER_ZEROS, MC_BORDER_EDGE, MC_BORDER_REFLECTION};
    const struct mc_shape *x = &c->in[0].shape;
    struct sampling s;
    int rc = parse(c->node, &s, err), dims = x->rank - 2;
    if (rc)
        return rc;
    struct mc_sampling k = {.between = betweens[s.mode],
                            .border = borders[s.padding],
                            .align = s.align,
                            .dims = dims,
                            .batch = x->dim[0],
                            .channels = x->dim[1],
                            .points = mc_op_span(&c->out[0], 2, c->out[0].shape.rank),
                            .size = {1, 1, 1},
                            .x = c->in[0].data,
                            .grid = c->in[1].data,
                            .y = c->out[0].data};
    for (int d = 0; d < dims; d++)
        k.size[3 - dims + d] = x->dim[d + 2];
    c->k->values.sample(&k);
    return 0;
}

const struct mc_op_gpu mc_op_gpu_gridsample[] = {
    {"", "GridSample", .can = gpu_can, .run = gpu_sample},
    {0},
};
