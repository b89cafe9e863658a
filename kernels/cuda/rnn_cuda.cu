/* Recurrent cells and their gradients: a thread for each unit of each row. */
#include "kernels/body_rnn.h"
#include "kernels/cuda/team.h"

#define FOR_UNITS(i, row, j, rows, n)                                                              \
    for (int64_t i = MC_CUDA_INDEX_OF, row = i / (n), j = i % (n); i < (rows) * (n);               \
         i += MC_CUDA_STRIDE, row = i / (n), j = i % (n))

static __device__ bool is_active(const uint8_t *active, int64_t row)
{
    return !active || active[row];
}

/* ---- forward ---- */

static __global__ void lstm_cell(mc_lstm_cell l)
{
    int64_t n = l.hidden;
    const float *p = (const float *)l.peephole;
    const float *c_before = (const float *)(l.c_before ? l.c_before : l.c);
    const float *h_before = (const float *)(l.h_before ? l.h_before : l.h);
    FOR_UNITS(i, row, j, l.batch, n)
    {
        const float *g = (const float *)l.gates + row * 4 * n + j;
        bool active = is_active(l.active, row);
        float c = c_before[i], h = 0;
        if (active) {
            float in = mc_rnn_of(&l.f[0], l.clip, g[0] + (p ? p[j] * c : 0));
            float forget = 1 - in, z = mc_rnn_of(&l.f[1], l.clip, g[3 * n]);
            if (!l.input_forget)
                forget = mc_rnn_of(&l.f[0], l.clip, g[2 * n] + (p ? p[2 * n + j] * c : 0));
            c = forget * c + in * z;
            float o = mc_rnn_of(&l.f[0], l.clip, g[n] + (p ? p[n + j] * c : 0));
            h = o * mc_rnn_of(&l.f[2], 0, c);
            if (l.acts) {
                float *acts = (float *)l.acts + row * 4 * n + j;
                acts[0] = in;
                acts[n] = o;
                acts[2 * n] = forget;
                acts[3 * n] = z;
            }
        }
        ((float *)l.c)[i] = c;
        ((float *)l.h)[i] = active ? h : h_before[i];
        if (l.y)
            ((float *)l.y)[row * l.y_row + j] = h;
    }
}

static void run_lstm_cell(const struct mc_lstm_cell *l, struct mc_pool *)
{
    const mc_lstm_cell job = *l;
    if (l->batch * l->hidden > 0)
        MC_LAUNCH(lstm_cell, mc_cuda_blocks(l->batch * l->hidden), MC_CUDA_THREADS, job);
}

static __global__ void gru_reset(mc_gru_cell g)
{
    int64_t n = g.hidden;
    const float *h = (const float *)(g.h_before ? g.h_before : g.h);
    FOR_UNITS(i, row, j, g.batch, n)
    ((float *)g.reset)[i] =
        mc_rnn_of(&g.f[0], g.clip, ((const float *)g.gates)[row * 3 * n + n + j]) * h[i];
}

static void run_gru_reset(const struct mc_gru_cell *g, struct mc_pool *)
{
    const mc_gru_cell job = *g;
    if (g->batch * g->hidden > 0)
        MC_LAUNCH(gru_reset, mc_cuda_blocks(g->batch * g->hidden), MC_CUDA_THREADS, job);
}

static __global__ void gru_cell(mc_gru_cell g)
{
    int64_t n = g.hidden;
    const float *before = (const float *)(g.h_before ? g.h_before : g.h);
    FOR_UNITS(i, row, j, g.batch, n)
    {
        const float *gate = (const float *)g.gates + row * 3 * n + j;
        bool active = is_active(g.active, row);
        float h = before[i];
        if (active) {
            float sum = gate[2 * n], z = mc_rnn_of(&g.f[0], g.clip, gate[0]);
            float r = mc_rnn_of(&g.f[0], g.clip, gate[n]);
            if (g.product)
                sum += r * ((const float *)g.product)[i];
            sum = mc_rnn_of(&g.f[1], g.clip, sum);
            h = z * h + (1 - z) * sum;
            if (g.acts) {
                float *acts = (float *)g.acts + row * 3 * n + j;
                acts[0] = z;
                acts[n] = r;
                acts[2 * n] = sum;
            }
        }
        ((float *)g.h)[i] = h;
        if (g.y)
            ((float *)g.y)[row * g.y_row + j] = active ? h : 0;
    }
}

static void run_gru_cell(const struct mc_gru_cell *g, struct mc_pool *)
{
    const mc_gru_cell job = *g;
    if (g->batch * g->hidden > 0)
        MC_LAUNCH(gru_cell, mc_cuda_blocks(g->batch * g->hidden), MC_CUDA_THREADS, job);
}

static __global__ void rnn_cell(mc_rnn_cell r)
{
    const float *before = (const float *)(r.h_before ? r.h_before : r.h);
    FOR_UNITS(i, row, j, r.batch, r.hidden)
    {
        bool active = is_active(r.active, row);
        float h = active ? mc_rnn_of(&r.f, r.clip, ((const float *)r.gates)[i]) : before[i];
        ((float *)r.h)[i] = h;
        if (r.y)
            ((float *)r.y)[row * r.y_row + j] = active ? h : 0;
    }
}

static void run_rnn_cell(const struct mc_rnn_cell *r, struct mc_pool *)
{
    const mc_rnn_cell job = *r;
    if (r->batch * r->hidden > 0)
        MC_LAUNCH(rnn_cell, mc_cuda_blocks(r->batch * r->hidden), MC_CUDA_THREADS, job);
}

/* ---- backward ---- */

static __device__ float of_row(const void *dy, int64_t at)
{
    return dy ? ((const float *)dy)[at] : 0;
}

static __global__ void lstm_grad(mc_lstm_grad g)
{
    int64_t n = g.hidden;
    const float *p = (const float *)g.peephole;
    FOR_UNITS(at, row, j, g.batch, n)
    {
        const float *a = (const float *)g.acts + row * 4 * n + j;
        float *d = (float *)g.dgates + row * 4 * n + j, *dh = (float *)g.dh + at;
        float *dc = (float *)g.dc + at, before = ((const float *)g.c_before)[at];
        if (!is_active(g.active, row)) {
            d[0] = d[n] = d[2 * n] = d[3 * n] = 0;
            continue;
        }
        float i = a[0], o = a[n], f = a[2 * n], z = a[3 * n];
        float y = mc_rnn_of(&g.f[2], 0, ((const float *)g.c)[at]);
        float h = *dh + of_row(g.dy, row * g.dy_row + j);
        float d_o = h * y * mc_rnn_slope_of(&g.f[0], o);
        float c = *dc + h * o * mc_rnn_slope_of(&g.f[2], y) + (p ? d_o * p[n + j] : 0);
        float d_i = (c * z - (g.input_forget ? c * before : 0)) * mc_rnn_slope_of(&g.f[0], i);
        float d_f = g.input_forget ? 0 : c * before * mc_rnn_slope_of(&g.f[0], f);
        d[0] = d_i;
        d[n] = d_o;
        d[2 * n] = d_f;
        d[3 * n] = c * i * mc_rnn_slope_of(&g.f[1], z);
        *dc = c * f + (p ? d_i * p[j] + d_f * p[2 * n + j] : 0);
        *dh = 0;
    }
}

static void run_lstm_grad(const struct mc_lstm_grad *g, struct mc_pool *)
{
    const mc_lstm_grad job = *g;
    if (g->batch * g->hidden > 0)
        MC_LAUNCH(lstm_grad, mc_cuda_blocks(g->batch * g->hidden), MC_CUDA_THREADS, job);
}

static __global__ void gru_grad(mc_gru_grad g)
{
    int64_t n = g.hidden;
    FOR_UNITS(i, row, j, g.batch, n)
    {
        const float *a = (const float *)g.acts + row * 3 * n + j;
        float *d = (float *)g.dgates + row * 3 * n + j, *dh = (float *)g.dh + i;
        float *dq = g.dproduct ? (float *)g.dproduct + i : NULL;
        if (!is_active(g.active, row)) {
            d[0] = d[n] = d[2 * n] = 0;
            if (dq)
                *dq = 0;
            continue;
        }
        float h = *dh + of_row(g.dy, row * g.dy_row + j);
        float z = a[0], r = a[n], now = a[2 * n];
        float d_n = h * (1 - z) * mc_rnn_slope_of(&g.f[1], now);
        d[0] = h * (((const float *)g.h_before)[i] - now) * mc_rnn_slope_of(&g.f[0], z);
        d[2 * n] = d_n;
        *dh = h * z;
        if (!g.product)
            continue;
        d[n] = d_n * ((const float *)g.product)[i] * mc_rnn_slope_of(&g.f[0], r);
        *dq = d_n * r;
    }
}

static void run_gru_grad(const struct mc_gru_grad *g, struct mc_pool *)
{
    const mc_gru_grad job = *g;
    if (g->batch * g->hidden > 0)
        MC_LAUNCH(gru_grad, mc_cuda_blocks(g->batch * g->hidden), MC_CUDA_THREADS, job);
}

static __global__ void gru_reset_grad(mc_gru_grad g)
{
    int64_t n = g.hidden;
    FOR_UNITS(i, row, j, g.batch, n)
    {
        bool active = is_active(g.active, row);
        int64_t at = row * 3 * n + n + j;
        float r = ((const float *)g.acts)[at], h = ((const float *)g.h_before)[i];
        float d = active ? ((const float *)g.dreset)[i] : 0;
        ((float *)g.dgates)[at] = active ? d * h * mc_rnn_slope_of(&g.f[0], r) : 0;
        ((float *)g.reset)[i] = active ? r * h : 0;
        if (active)
            ((float *)g.dh)[i] += d * r;
    }
}

static void run_gru_reset_grad(const struct mc_gru_grad *g, struct mc_pool *)
{
    const mc_gru_grad job = *g;
    if (g->batch * g->hidden > 0)
        MC_LAUNCH(gru_reset_grad, mc_cuda_blocks(g->batch * g->hidden), MC_CUDA_THREADS, job);
}

static __global__ void rnn_grad(mc_rnn_grad g)
{
    FOR_UNITS(i, row, j, g.batch, g.hidden)
    {
        float *dh = (float *)g.dh + i;
        bool active = is_active(g.active, row);
        float h = *dh + of_row(g.dy, row * g.dy_row + j);
        ((float *)g.dgates)[i] = active ? h * mc_rnn_slope_of(&g.f, ((const float *)g.h)[i]) : 0;
        if (active)
            *dh = 0;
    }
}

static void run_rnn_grad(const struct mc_rnn_grad *g, struct mc_pool *)
{
    const mc_rnn_grad job = *g;
    if (g->batch * g->hidden > 0)
        MC_LAUNCH(rnn_grad, mc_cuda_blocks(g->batch * g->hidden), MC_CUDA_THREADS, job);
}

/* ---- sums over rows: blocks are 32 columns and 8 rows of threads, then slices are added ---- */

enum { COLUMNS = 32, ROWS = MC_CUDA_THREADS / COLUMNS, SLICE = 256, SLICES = 32 };

static __global__ void sum_slices(mc_column_sum s, double *part)
{
    __shared__ double room[ROWS][COLUMNS];
    int column = threadIdx.x % COLUMNS, first = threadIdx.x / COLUMNS;
    int64_t j = blockIdx.x * (int64_t)COLUMNS + column;
    double sum = 0;
    for (int64_t r = blockIdx.y * (int64_t)ROWS + first; j < s.n && r < s.rows;
         r += (int64_t)gridDim.y * ROWS)
        sum += (double)(((const float *)s.a)[r * s.a_row + j] *
                        (s.b ? ((const float *)s.b)[r * s.b_row + j] : 1));
    room[first][column] = sum;
    __syncthreads();
    if (first || j >= s.n)
        return;
    for (int i = 1; i < ROWS; i++)
        sum += room[i][column];
    part[blockIdx.y * s.n + j] = sum;
}

static __global__ void add_slices(int64_t n, int slices, const double *part, float *to)
{
    for (int64_t j = MC_CUDA_INDEX_OF; j < n; j += MC_CUDA_STRIDE) {
        double sum = 0;
        for (int s = 0; s < slices; s++)
            sum += part[s * n + j];
        to[j] = (float)sum;
    }
}

static void run_column_sum(const struct mc_column_sum *s, struct mc_pool *)
{
    const mc_column_sum job = *s;
    int64_t slices = (s->rows + SLICE - 1) / SLICE, n = s->n;
    slices = slices < 1 ? 1 : slices > SLICES ? (int64_t)SLICES : slices;
    if (n < 1)
        return;
    double *part = (double *)mc_cuda_workspace((size_t)(slices * n) * sizeof *part);
    float *to = (float *)s->sum;
    if (!part)
        return;
    dim3 blocks((unsigned)((n + COLUMNS - 1) / COLUMNS), (unsigned)slices);
    MC_LAUNCH_SYNC(sum_slices, blocks, MC_CUDA_THREADS, 0, job, part);
    MC_LAUNCH(add_slices, mc_cuda_blocks(n), MC_CUDA_THREADS, n, (int)slices, part, to);
}

/* ---- gates of one matrix, lengths ---- */

static __global__ void gate_spread(mc_gate_spread s)
{
    int64_t n = s.gates * s.hidden;
    FOR_UNITS(at, row, i, s.rows, n)
    {
        float *to = (float *)s.to + row * s.to_row + i;
        float sum = s.add ? *to : 0;
        if (s.bias)
            sum += ((const float *)s.bias)[i];
        *to =
            sum + ((const float *)s.scale)[i] * ((const float *)s.z)[row * s.hidden + i % s.hidden];
    }
}

static void run_gate_spread(const struct mc_gate_spread *s, struct mc_pool *)
{
    const mc_gate_spread job = *s;
    int64_t n = s->rows * s->gates * s->hidden;
    if (n > 0)
        MC_LAUNCH(gate_spread, mc_cuda_blocks(n), MC_CUDA_THREADS, job);
}

static __global__ void mark_steps(mc_rnn_lengths l, int *fault)
{
    FOR_UNITS(i, t, row, l.steps, l.batch)
    {
        int32_t len = l.lens[row];
        if (len < 0 || len > l.steps)
            atomicCAS(fault, MC_CUDA_OK, MC_CUDA_INDEX);
        l.active[i] = t < len;
    }
}

static __global__ void clear_empty(mc_rnn_lengths l)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < l.batch * l.hidden; i += MC_CUDA_STRIDE)
        if (l.lens[i / l.hidden] == 0)
            ((float *)l.state)[i] = 0;
}

static void run_lengths(const struct mc_rnn_lengths *l, struct mc_pool *)
{
    const mc_rnn_lengths job = *l;
    int *fault = mc_cuda_now()->fault;
    if (l->active && l->steps * l->batch > 0)
        MC_LAUNCH(mark_steps, mc_cuda_blocks(l->steps * l->batch), MC_CUDA_THREADS, job, fault);
    if (l->state && l->batch * l->hidden > 0)
        MC_LAUNCH(clear_empty, mc_cuda_blocks(l->batch * l->hidden), MC_CUDA_THREADS, job);
}

void mc_rnn_fill_cuda(struct mc_kernels *k)
{
    k->nn.lstm_cell = run_lstm_cell;
    k->nn.gru_reset = run_gru_reset;
    k->nn.gru_cell = run_gru_cell;
    k->nn.rnn_cell = run_rnn_cell;
    k->rnn.lstm_grad = run_lstm_grad;
    k->rnn.gru_grad = run_gru_grad;
    k->rnn.gru_reset_grad = run_gru_reset_grad;
    k->rnn.rnn_grad = run_rnn_grad;
    k->rnn.column_sum = run_column_sum;
    k->rnn.gate_spread = run_gate_spread;
    k->rnn.lengths = run_lengths;
}
