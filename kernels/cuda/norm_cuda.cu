/* Norms. Sums are made in double, of x and x² at once: products of floats are exact there, and what is lost in
 * E[x²] - E[x]² is far below a float's rounding while |mean| < 1000 deviations or more. */
#include "kernels/cuda/epilogue_cuda.h"
#include "kernels/cuda/team.h"

enum {
    LONG = 1024,  /* elements of a row for a block */
    SLICE = 2048, /* elements of a channel in a block, at least */
    SLICES = 32,  /* of a channel at most: one for each lane of a warp */
    COLUMNS = 32, /* of a block whose threads are rows and columns, and its rows */
    ROWS = MC_CUDA_THREADS / COLUMNS,
    GRAD_BLOCKS = 264, /* of a gradient of rows: two for each of an H100's 132 multiprocessors */
    GRAD_ROWS = 2,     /* of a thread there, at least */
    AT_ONCE = 4,       /* rows whose elements are on their way together */
};

/* ---- rows ---- */

template <int WARPS> static __global__ void norm_rows(mc_norm m)
{
    __shared__ double room[MC_CUDA_WARPS];
    mc_rows<WARPS> team;
    const float *scale = (const float *)m.scale, *bias = (const float *)m.bias;
    for (int64_t r = team.first; r < m.rows; r += team.step) {
        const float *x = (const float *)m.x + r * m.n;
        float *y = (float *)m.y + r * m.n;
        double sum = 0, square = 0;
        for (int64_t i = team.at; i < m.n; i += team.threads) {
            double v = x[i];
            sum += v;
            square += v * v;
        }
        double mean = m.rms ? 0 : mc_team<WARPS>(sum, mc_add(), room) / (double)m.n;
        double var = mc_team<WARPS>(square, mc_add(), room) / (double)m.n - mean * mean;
        float inv = (float)(1 / sqrt((var < 0 ? 0 : var) + m.eps)), middle = (float)mean;
        int64_t row = m.channels ? r % m.channels : 0;
        for (int64_t i = team.at; i < m.n; i += team.threads) {
            int64_t j = m.channels ? row : i;
            y[i] =
                (float)((double)x[i] - mean) * inv * (scale ? scale[j] : 1) + (bias ? bias[j] : 0);
        }
        if (team.at == 0 && m.mean)
            ((float *)m.mean)[r] = middle;
        if (team.at == 0 && m.inv_std)
            ((float *)m.inv_std)[r] = inv;
    }
}

static void run_norm(const struct mc_norm *m, struct mc_pool *)
{
    const mc_norm job = *m;
    if (m->rows < 1)
        return;
    if (m->n >= LONG)
        MC_LAUNCH_SYNC((norm_rows<MC_CUDA_WARPS>), mc_team_blocks(m->rows, MC_CUDA_WARPS),
                       MC_CUDA_THREADS, 0, job);
    else
        MC_LAUNCH_SYNC((norm_rows<1>), mc_team_blocks(m->rows, 1), MC_CUDA_THREADS, 0, job);
}

static __global__ void affine(int64_t n, int64_t channels, int64_t inner, const float *x,
                              const float *scale, const float *shift, float *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        int64_t c =
            n <= INT32_MAX ? (int32_t)i / (int32_t)inner % (int32_t)channels : i / inner % channels;
        y[i] = x[i] * scale[c] + shift[c];
    }
}

static void run_affine(const struct mc_affine *a, struct mc_pool *)
{
    int64_t n = a->outer * a->channels * a->inner;
    if (n > 0)
        MC_LAUNCH(affine, mc_cuda_blocks(n), MC_CUDA_THREADS, n, a->channels, a->inner,
                  (const float *)a->x, (const float *)a->scale, (const float *)a->shift,
                  (float *)a->y);
}

/* ---- statistics of batches: blocks of the first kernel sum up slices of channels, those of the second add the
 * slices up, each for itself, and go through the elements ---- */

struct batch { /* of both directions */
    bool grad, frozen, given;
    int64_t outer, channels, inner;
    int slices;
    double eps;
    const float *x, *dy, *scale, *bias;
    float *y;                  /* or dx */
    float *mean, *var;         /* results, or given */
    float *dscale, *dbias;     /* or NULL */
    double *part;              /* [channels, slices, 2] */
    struct mc_cuda_epilogue e; /* residual and activation */
};

struct slope { /* y = (x - mean) a + b, or dx = (dy - b - (x - mean) c) a */
    float mean, a, b, c;
};

/* What a channel needs, from its sums: of x and x², or of dy and dy (x - mean). Who tells writes results. */
static __device__ slope slope_of(const batch &b, int64_t c, double sum, double product, bool tells)
{
    double m = (double)b.outer * (double)b.inner;
    slope s;
    if (b.grad) {
        double inv = 1 / sqrt((double)b.var[c] + b.eps);
        s.mean = b.mean[c];
        s.a = (float)((double)b.scale[c] * inv);
        s.b = b.frozen ? 0 : (float)(sum / m);
        s.c = b.frozen ? 0 : (float)(inv * inv * product / m);
        if (tells && b.dbias)
            b.dbias[c] = (float)sum;
        if (tells && b.dscale)
            b.dscale[c] = (float)(product * inv);
        return s;
    }
    double mean = m > 0 ? sum / m : 0, var = m > 0 ? product / m - mean * mean : 0;
    var = var < 0 ? 0 : var;
    if (b.given) {
        mean = b.mean[c];
        var = b.var[c];
    }
    s.mean = (float)mean;
    s.a = (float)((double)b.scale[c] / sqrt(var + b.eps));
    s.b = b.bias[c];
    s.c = 0;
    if (tells && !b.given) {
        b.mean[c] = (float)mean;
        b.var[c] = (float)var;
    }
    return s;
}

static __device__ void add(const batch &b, int64_t at, float mean, double sum[2])
{
    double v = b.x[at];
    if (b.grad) {
        double d = b.dy[at];
        sum[0] += d;
        sum[1] += d * (v - (double)mean);
    } else {
        sum[0] += v;
        sum[1] += v * v;
    }
}

static __device__ void put(const batch &b, const slope &s, int64_t at)
{
    if (!b.grad) {
        float v = (b.x[at] - s.mean) * s.a + s.b;
        if (b.e.residual)
            v += b.e.residual[at];
        b.y[at] = mc_cuda_act(b.e.act, b.e.lo, b.e.hi, v);
    } else if (b.frozen) {
        b.y[at] = b.dy[at] * s.a;
    } else {
        b.y[at] = (b.dy[at] - s.b - (b.x[at] - s.mean) * s.c) * s.a;
    }
}

/* Elements of slice blockIdx.y of a channel, one after the other for this thread: no division in the loop. */
struct slice {
    int64_t o, k, o_step, k_step, left, step, inner, row;
    int64_t base;
    __device__ slice(const batch &b, int64_t c)
    {
        int64_t m = b.outer * b.inner, per = (m + b.slices - 1) / b.slices;
        int64_t from = blockIdx.y * per, to = from + per < m ? from + per : m;
        inner = b.inner;
        row = b.channels * b.inner;
        base = c * b.inner;
        o = (from + threadIdx.x) / inner;
        k = (from + threadIdx.x) % inner;
        o_step = MC_CUDA_THREADS / inner;
        k_step = MC_CUDA_THREADS % inner;
        left = to - from - threadIdx.x;
    }
    __device__ bool more() const
    {
        return left > 0;
    }
    __device__ int64_t at() const
    {
        return o * row + base + k;
    }
    __device__ void next()
    {
        left -= MC_CUDA_THREADS;
        o += o_step;
        k += k_step;
        if (k >= inner) {
            k -= inner;
            o++;
        }
    }
};

static __global__ void sum_channels(batch b)
{
    __shared__ double room[MC_CUDA_WARPS];
    int64_t c = blockIdx.x;
    double sum[2] = {0, 0};
    float mean = b.grad ? b.mean[c] : 0;
    for (slice s(b, c); s.more(); s.next())
        add(b, s.at(), mean, sum);
    for (int i = 0; i < 2; i++) {
        sum[i] = mc_team<MC_CUDA_WARPS>(sum[i], mc_add(), room);
        if (threadIdx.x == 0)
            b.part[(c * b.slices + blockIdx.y) * 2 + i] = sum[i];
    }
}

static __global__ void put_channels(batch b)
{
    __shared__ slope shared;
    int64_t c = blockIdx.x;
    if (threadIdx.x < MC_CUDA_WARP) {
        double sum[2];
        for (int i = 0; i < 2; i++) {
            bool there = (int)threadIdx.x < b.slices && b.part;
            sum[i] = there ? b.part[(c * b.slices + threadIdx.x) * 2 + i] : 0;
            sum[i] = mc_team<1>(sum[i], mc_add(), (double *)NULL);
        }
        if (threadIdx.x == 0)
            shared = slope_of(b, c, sum[0], sum[1], blockIdx.y == 0);
    }
    __syncthreads();
    slope own = shared;
    for (slice s(b, c); b.y && s.more(); s.next())
        put(b, own, s.at());
}

/* The same where a channel is a column: threads of a block are rows and columns. */
static __global__ void sum_columns(batch b)
{
    __shared__ double room[2][ROWS][COLUMNS];
    int column = threadIdx.x % COLUMNS, first = threadIdx.x / COLUMNS;
    int64_t c = blockIdx.x * (int64_t)COLUMNS + column;
    double sum[2] = {0, 0};
    if (c < b.channels) {
        float mean = b.grad ? b.mean[c] : 0;
        for (int64_t o = blockIdx.y * (int64_t)ROWS + first; o < b.outer; o += b.slices * ROWS)
            add(b, o * b.channels + c, mean, sum);
    }
    room[0][first][column] = sum[0];
    room[1][first][column] = sum[1];
    __syncthreads();
    if (first >= 2 || c >= b.channels)
        return;
    double all = 0; /* row 0 adds the first sums up, row 1 the second */
    for (int i = 0; i < ROWS; i++)
        all += room[first][i][column];
    b.part[(c * b.slices + blockIdx.y) * 2 + first] = all;
}

static __global__ void put_columns(batch b)
{
    __shared__ slope shared[COLUMNS];
    int column = threadIdx.x % COLUMNS, first = threadIdx.x / COLUMNS;
    int64_t c = blockIdx.x * (int64_t)COLUMNS + column;
    if (first == 0 && c < b.channels) {
        double sum[2] = {0, 0};
        for (int s = 0; s < b.slices && b.part; s++)
            for (int i = 0; i < 2; i++)
                sum[i] += b.part[(c * b.slices + s) * 2 + i];
        shared[column] = slope_of(b, c, sum[0], sum[1], blockIdx.y == 0);
    }
    __syncthreads();
    if (c >= b.channels || !b.y)
        return;
    slope own = shared[column];
    for (int64_t o = blockIdx.y * (int64_t)ROWS + first; o < b.outer; o += b.slices * ROWS)
        put(b, own, o * b.channels + c);
}

static void run_batches(batch *b, bool sums)
{
    int64_t m = b->outer * b->inner, least = b->inner == 1 ? SLICE / COLUMNS : SLICE;
    int64_t slices = (m + least - 1) / least;
    b->slices = (int)(slices < 1 ? 1 : slices > SLICES ? (int64_t)SLICES : slices);
    b->part = NULL;
    if (b->channels < 1)
        return;
    if (m == 0) {
        b->outer = 0;
        b->inner = 1;
    }
    if (sums) {
        size_t bytes = (size_t)b->channels * (size_t)b->slices * 2 * sizeof(double);
        b->part = (double *)mc_cuda_workspace(bytes);
        if (!b->part)
            return;
    }
    const batch job = *b;
    bool columns = b->inner == 1;
    unsigned wide = (unsigned)(columns ? (b->channels + COLUMNS - 1) / COLUMNS : b->channels);
    dim3 blocks(wide, (unsigned)b->slices);
    if (sums && columns)
        MC_LAUNCH_SYNC(sum_columns, blocks, MC_CUDA_THREADS, 0, job);
    else if (sums)
        MC_LAUNCH_SYNC(sum_channels, blocks, MC_CUDA_THREADS, 0, job);
    if (columns)
        MC_LAUNCH_SYNC(put_columns, blocks, MC_CUDA_THREADS, 0, job);
    else
        MC_LAUNCH_SYNC(put_channels, blocks, MC_CUDA_THREADS, 0, job);
}

static void run_batch(const struct mc_batch_norm *n, struct mc_pool *)
{
    batch b = {};
    b.given = n->given;
    b.outer = n->outer;
    b.channels = n->channels;
    b.inner = n->inner;
    b.eps = n->eps;
    b.x = (const float *)n->x;
    b.scale = (const float *)n->scale;
    b.bias = (const float *)n->bias;
    b.y = (float *)n->y;
    b.mean = (float *)n->mean;
    b.var = (float *)n->var;
    if (n->epilogue)
        b.e = mc_cuda_epilogue_of(n->epilogue);
    run_batches(&b, !n->given);
}

static void run_batch_grad(const struct mc_batch_grad *g, struct mc_pool *)
{
    batch b = {};
    b.grad = true;
    b.frozen = g->frozen;
    b.outer = g->outer;
    b.channels = g->channels;
    b.inner = g->inner;
    b.eps = g->eps;
    b.x = (const float *)g->x;
    b.dy = (const float *)g->dy;
    b.scale = (const float *)g->scale;
    b.y = (float *)g->dx;
    b.mean = (float *)(uintptr_t)g->mean; /* read alone */
    b.var = (float *)(uintptr_t)g->var;
    b.dscale = (float *)g->dscale;
    b.dbias = (float *)g->dbias;
    run_batches(&b, !g->frozen || g->dscale || g->dbias);
}

/* ---- gradients of norms of rows: a row's sums, then dx and parts of the sums over rows, then these ---- */

struct row_sums { /* dx = (dy scale - a - (x - mean) b) inv */
    float mean, inv, a, b;
};

static __device__ int64_t param_of(const mc_norm_grad &g, int64_t r, int64_t i)
{
    return g.inner == 1 && g.groups == 1 ? i : r % g.groups * (g.n / g.inner) + i / g.inner;
}

template <int WARPS> static __global__ void sum_rows(mc_norm_grad g, row_sums *ret)
{
    __shared__ double room[MC_CUDA_WARPS];
    mc_rows<WARPS> team;
    const float *scale = (const float *)g.scale;
    for (int64_t r = team.first; r < g.rows; r += team.step) {
        const float *x = (const float *)g.x + r * g.n, *dy = (const float *)g.dy + r * g.n;
        double sum[4] = {0, 0, 0, 0}, n = (double)g.n; /* of x, x², e, e x */
        for (int64_t i = team.at; i < g.n; i += team.threads) {
            double v = x[i], e = scale ? dy[i] * scale[param_of(g, r, i)] : dy[i];
            sum[0] += v;
            sum[1] += v * v;
            sum[2] += e;
            sum[3] += e * v;
        }
        for (int i = 0; i < 4; i++)
            sum[i] = mc_team<WARPS>(sum[i], mc_add(), room);
        if (team.at)
            continue;
        double mean = g.rms ? 0 : sum[0] / n, var = sum[1] / n - mean * mean;
        double inv = 1 / sqrt((var < 0 ? 0 : var) + g.eps);
        row_sums s = {(float)mean, (float)inv, g.rms ? 0 : (float)(sum[2] / n),
                      (float)((sum[3] - mean * sum[2]) / n * inv * inv)};
        ret[r] = s;
    }
}

/* dx of an element, and what it adds to the sums of its parameter. */
static __device__ void put_element(const mc_norm_grad &g, const row_sums &s, float scale,
                                   int64_t at, double sum[2])
{
    float dy = ((const float *)g.dy)[at], d = ((const float *)g.x)[at] - s.mean;
    if (g.dx)
        ((float *)g.dx)[at] = (dy * scale - s.a - d * s.b) * s.inv;
    sum[0] += (double)(dy * (d * s.inv));
    sum[1] += (double)dy;
}

/* The same of AT_ONCE rows: all is read before the first is written, which the compiler cannot know to be allowed. */
static __device__ void put_several(const mc_norm_grad &g, const row_sums *sums, float scale,
                                   int64_t at, int64_t step, double sum[2])
{
    row_sums s[AT_ONCE];
    float dy[AT_ONCE], d[AT_ONCE];
    MC_UNROLL
    for (int i = 0; i < AT_ONCE; i++) {
        s[i] = sums[i * step];
        dy[i] = ((const float *)g.dy)[at + i * step * g.n];
        d[i] = ((const float *)g.x)[at + i * step * g.n];
    }
    MC_UNROLL
    for (int i = 0; i < AT_ONCE; i++) {
        float from = d[i] - s[i].mean;
        if (g.dx)
            ((float *)g.dx)[at + i * step * g.n] =
                (dy[i] * scale - s[i].a - from * s[i].b) * s[i].inv;
        sum[0] += (double)(dy[i] * (from * s[i].inv));
        sum[1] += (double)dy[i];
    }
}

/* dscale and dbias of a block's columns, of parts that other blocks made. */
static __device__ void add_columns(const mc_norm_grad &g, int64_t wide, const double *part,
                                   double (*room)[ROWS][COLUMNS])
{
    int column = threadIdx.x % COLUMNS, which = threadIdx.x / COLUMNS % 2;
    int lane = threadIdx.x / COLUMNS / 2;
    int64_t p = blockIdx.x * (int64_t)COLUMNS + column;
    float *to = (float *)(which ? g.dbias : g.dscale);
    double sum = 0;
    for (int64_t s = lane; s < gridDim.y && p < wide; s += ROWS / 2)
        sum += __ldcg(&part[(s * 2 + which) * wide + p]);
    room[which][lane][column] = sum;
    __syncthreads();
    for (int i = 1; i < ROWS / 2; i++)
        sum += room[which][i][column];
    if (lane == 0 && p < wide && to)
        to[p] = (float)sum;
}

/* Each element of a row has a parameter: part [slices, 2, groups * n]. tickets: one for the slices of each block of
 * columns, the last of which adds them; NULL: they are left. */
static __global__ void put_elements(mc_norm_grad g, const row_sums *sums, double *part,
                                    unsigned *tickets)
{
    __shared__ double room[2][ROWS][COLUMNS];
    int column = threadIdx.x % COLUMNS, first = threadIdx.x / COLUMNS;
    int64_t wide = g.groups * g.n, p = blockIdx.x * (int64_t)COLUMNS + column;
    double sum[2] = {0, 0};
    if (p < wide) {
        float scale = g.scale ? ((const float *)g.scale)[p] : 1;
        int64_t group = g.groups == 1 ? 0 : p / g.n;
        int64_t r = (blockIdx.y * (int64_t)ROWS + first) * g.groups;
        int64_t step = (int64_t)gridDim.y * ROWS * g.groups;
        for (; r + group + (AT_ONCE - 1) * step < g.rows; r += AT_ONCE * step)
            put_several(g, sums + r + group, scale, r * g.n + p, step, sum);
        for (; r + group < g.rows; r += step)
            put_element(g, sums[r + group], scale, r * g.n + p, sum);
    }
    if (!part)
        return;
    room[0][first][column] = sum[0];
    room[1][first][column] = sum[1];
    __syncthreads();
    if (first < 2 && p < wide) {
        double all = 0;
        for (int i = 0; i < ROWS; i++)
            all += room[first][i][column];
        part[(blockIdx.y * 2 + first) * wide + p] = all;
    }
    if (tickets && mc_last_block(tickets + blockIdx.x, gridDim.y))
        add_columns(g, wide, part, room);
}

/* `inner` elements have one: a warp takes those of a row; part [rows / groups, 2, groups * parts]. */
static __global__ void put_parts(mc_norm_grad g, const row_sums *sums, double *part)
{
    mc_rows<1> team;
    int64_t parts = g.n / g.inner, wide = g.groups * parts;
    for (int64_t j = team.first; j < g.rows * parts; j += team.step) {
        int64_t r = j / parts, p = j % wide;
        float scale = g.scale ? ((const float *)g.scale)[p] : 1;
        double sum[2] = {0, 0};
        for (int64_t i = team.at; i < g.inner; i += team.threads)
            put_element(g, sums[r], scale, j * g.inner + i, sum);
        for (int i = 0; i < 2 && part; i++) {
            sum[i] = mc_team<1>(sum[i], mc_add(), (double *)NULL);
            if (team.at == 0)
                part[(j / wide * 2 + i) * wide + p] = sum[i];
        }
    }
}

static __global__ void add_parts(int64_t slices, int64_t wide, const double *part, float *dscale,
                                 float *dbias)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < 2 * wide; i += MC_CUDA_STRIDE) {
        float *to = i < wide ? dscale : dbias;
        double sum = 0;
        for (int64_t s = 0; s < slices && to; s++)
            sum += part[s * 2 * wide + i];
        if (to)
            to[i % wide] = (float)sum;
    }
}

struct grad_space {
    size_t sums, part; /* bytes: of row_sums, and of parts behind them */
    int64_t wide, slices;
};

static grad_space space_of(const struct mc_norm_grad *g)
{
    grad_space s;
    int64_t rows = (g->rows + g->groups - 1) / g->groups, per = GRAD_ROWS * ROWS;
    s.wide = g->groups * (g->n / g->inner);
    s.slices = rows;
    if (g->inner == 1) {
        int64_t most = GRAD_BLOCKS / ((s.wide + COLUMNS - 1) / COLUMNS);
        s.slices = (rows + per - 1) / per;
        s.slices = s.slices > most ? most : s.slices;
        s.slices = s.slices < 1 ? 1 : s.slices;
    }
    s.sums = (size_t)g->rows * sizeof(row_sums);
    s.part = g->dscale || g->dbias ? (size_t)(s.slices * 2 * s.wide) * sizeof(double) : 0;
    return s;
}

static size_t norm_grad_scratch(const struct mc_norm_grad *g)
{
    grad_space s = space_of(g);
    return s.sums + s.part;
}

static void run_norm_grad(const struct mc_norm_grad *g, void *scratch, struct mc_pool *)
{
    grad_space s = space_of(g);
    row_sums *sums = (row_sums *)scratch;
    double *part = s.part ? (double *)((char *)scratch + s.sums) : NULL;
    const mc_norm_grad job = *g;
    bool added = false;
    if (s.wide < 1)
        return;
    if (g->rows > 0) {
        if (g->n >= LONG)
            MC_LAUNCH_SYNC((sum_rows<MC_CUDA_WARPS>), mc_team_blocks(g->rows, MC_CUDA_WARPS),
                           MC_CUDA_THREADS, 0, job, sums);
        else
            MC_LAUNCH_SYNC((sum_rows<1>), mc_team_blocks(g->rows, 1), MC_CUDA_THREADS, 0, job,
                           sums);
        dim3 blocks((unsigned)((s.wide + COLUMNS - 1) / COLUMNS), (unsigned)s.slices);
        added = part && g->inner == 1 && blocks.x <= MC_CUDA_TICKETS;
        if (g->inner == 1)
            MC_LAUNCH_SYNC(put_elements, blocks, MC_CUDA_THREADS, 0, job, sums, part,
                           added ? mc_cuda_now()->tickets : (unsigned *)NULL);
        else
            MC_LAUNCH_SYNC(put_parts, mc_team_blocks(g->rows * (g->n / g->inner), 1),
                           MC_CUDA_THREADS, 0, job, sums, part);
    }
    if (part && !added)
        MC_LAUNCH(add_parts, mc_cuda_blocks(2 * s.wide), MC_CUDA_THREADS,
                  g->rows > 0 ? s.slices : (int64_t)0, s.wide, part, (float *)g->dscale,
                  (float *)g->dbias);
}

void mc_norm_fill_cuda(struct mc_kernels *k)
{
    k->nn.norm = run_norm;
    k->nn.affine = run_affine;
    k->norm.batch = run_batch;
    k->norm.batch_grad = run_batch_grad;
    k->norm.norm_grad_scratch = norm_grad_scratch;
    k->norm.norm_grad = run_norm_grad;
}
