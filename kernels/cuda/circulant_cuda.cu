/* Products with block-circulant matrices: expanded, or by transforms of blocks with products of spectra in between.
 *
 * Spectra are [.., b / 2 + 1] complex numbers: of real blocks, the others are their conjugates. cuFFT makes them, or a
 * product with the matrix of the DFT, whose columns are real and imaginary parts in turn: the same layout. */
#include "kernels/cuda/epilogue_cuda.h"
#include "kernels/cuda/lib_cufft.h"
#include "kernels/cuda/libs.h"

enum { THREADS = MC_CUDA_THREADS, ALIGN = 256 };

/* ---- cuFFT ---- */

struct plan {
    struct plan *next;
    int64_t b, batch;
    int type, handle;
    size_t work;
};

struct fft {
    bool tried, there;
    struct mc_cufft fn;
    struct plan *plans; /* for the stream of the device */
};

static void release(void *p)
{
    struct fft *f = (struct fft *)p;
    while (f->plans) {
        struct plan *first = f->plans;
        f->plans = first->next;
        (void)f->fn.cufftDestroy(first->handle);
        free(first);
    }
}

/* NULL: it is not there. */
static struct fft *fft(void)
{
    struct fft *f = (struct fft *)mc_cuda_keep("circulant", sizeof *f, release);
    if (f && !f->tried) {
        bool ok = true;
        MC_CUDA_SYMBOL(MC_LIB_CUFFT, &f->fn, cufftCreate, ok);
        MC_CUDA_SYMBOL(MC_LIB_CUFFT, &f->fn, cufftDestroy, ok);
        MC_CUDA_SYMBOL(MC_LIB_CUFFT, &f->fn, cufftSetAutoAllocation, ok);
        MC_CUDA_SYMBOL(MC_LIB_CUFFT, &f->fn, cufftMakePlanMany64, ok);
        MC_CUDA_SYMBOL(MC_LIB_CUFFT, &f->fn, cufftSetStream, ok);
        MC_CUDA_SYMBOL(MC_LIB_CUFFT, &f->fn, cufftSetWorkArea, ok);
        MC_CUDA_SYMBOL(MC_LIB_CUFFT, &f->fn, cufftExecR2C, ok);
        MC_CUDA_SYMBOL(MC_LIB_CUFFT, &f->fn, cufftExecC2R, ok);
        f->tried = true;
        f->there = ok;
    }
    return f && f->there ? f : NULL;
}

static void fft_failed(void)
{
    mc_cuda_check(cudaErrorUnknown, "cuFFT");
}

static bool make_plan(struct fft *f, struct plan *p)
{
    const struct mc_cufft *l = &f->fn;
    long long n = p->b, h = p->b / 2 + 1, real = n, complex = h;
    bool back = p->type == MC_CUFFT_C2R;
    if (l->cufftCreate(&p->handle) != MC_CUFFT_SUCCESS)
        return false;
    if (l->cufftSetAutoAllocation(p->handle, 0) == MC_CUFFT_SUCCESS &&
        l->cufftMakePlanMany64(p->handle, 1, &n, back ? &complex : &real, 1, back ? h : n,
                               back ? &real : &complex, 1, back ? n : h, p->type, p->batch,
                               &p->work) == MC_CUFFT_SUCCESS &&
        l->cufftSetStream(p->handle, mc_cuda_now()->stream) == MC_CUFFT_SUCCESS)
        return true;
    (void)l->cufftDestroy(p->handle);
    return false;
}

/* Made when sizes are asked for, before anything is recorded. NULL: it cannot be, which is remembered. */
static struct plan *plan_of(int64_t b, int64_t batch, int type)
{
    struct fft *f = fft();
    for (struct plan *p = f->plans; p; p = p->next)
        if (p->b == b && p->batch == batch && p->type == type)
            return p;
    struct plan *p = (struct plan *)calloc(1, sizeof *p);
    if (p) {
        p->b = b;
        p->batch = batch;
        p->type = type;
    }
    if (!p || !make_plan(f, p)) {
        fft_failed();
        free(p);
        return NULL;
    }
    p->next = f->plans;
    f->plans = p;
    return p;
}

/* ---- sizes ---- */

static int64_t bins(const struct mc_circulant *c)
{
    return c->b / 2 + 1;
}

static size_t up(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* By cuFFT; otherwise by the DFT's matrix, of any size. */
static bool by_fft(const struct mc_circulant *c, enum mc_circulant_way way)
{
    return way == MC_CIRCULANT_FFT && c->b > 1 && fft();
}

static size_t fft_work(const struct mc_circulant *c, enum mc_circulant_way way, int64_t batch,
                       int type)
{
    if (!by_fft(c, way) || batch == 0)
        return 0;
    const struct plan *p = plan_of(c->b, batch, type);
    return p ? up(p->work) : 0;
}

/* Bytes of both matrices of the DFT. */
static size_t matrix_bytes(const struct mc_circulant *c, enum mc_circulant_way way)
{
    return by_fft(c, way) ? 0 : 2 * up((size_t)(c->b * 2 * bins(c)) * sizeof(float));
}

static size_t spectra_bytes(const struct mc_circulant *c, int64_t blocks)
{
    return up((size_t)(blocks * bins(c)) * sizeof(float2));
}

struct space { /* parts of a block of memory, counted where it is NULL */
    char *at;
    size_t bytes;
};

static void *part(struct space *s, size_t bytes)
{
    void *p = s->at ? s->at + s->bytes : NULL;
    s->bytes += up(bytes);
    return p;
}

/* ---- transforms ---- */

struct matrices {
    float *there, *back; /* [b, 2 bins], [2 bins, b] */
};

static struct matrices matrices_in(const struct mc_circulant *c, enum mc_circulant_way way,
                                   struct space *s)
{
    struct matrices m = {NULL, NULL};
    size_t each = matrix_bytes(c, way) / 2;
    if (each) {
        m.there = (float *)part(s, each);
        m.back = (float *)part(s, each);
    }
    return m;
}

static __device__ __forceinline__ double2 turned(int64_t n, int64_t b)
{
    double x = 2.0 * (double)(n % b) / (double)b, s, c;
#ifdef MC_CUDA_SIM
    s = sin(3.14159265358979323846 * x);
    c = cos(3.14159265358979323846 * x);
#else
    sincospi(x, &s, &c);
#endif
    return make_double2(c, s);
}

/* Frequencies other than 0 and b / 2 stand for two. */
static __global__ void fill_matrices(int64_t b, int64_t h, float *there, float *back)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < b * h; i += MC_CUDA_STRIDE) {
        int64_t n = i / h, f = i % h;
        double2 w = turned(n * f, b);
        double times = f == 0 || 2 * f == b ? 1 : 2;
        there[n * 2 * h + 2 * f] = (float)w.x;
        there[n * 2 * h + 2 * f + 1] = (float)-w.y;
        back[2 * f * b + n] = (float)(times * w.x);
        back[(2 * f + 1) * b + n] = (float)(-times * w.y);
    }
}

static void make_matrices(const struct mc_circulant *c, const struct matrices *m)
{
    if (m->there)
        MC_LAUNCH(fill_matrices, mc_cuda_blocks(c->b * bins(c)), THREADS, c->b, bins(c), m->there,
                  m->back);
}

static __global__ void copy_rows(int64_t rows, int64_t n, const float *x, int64_t ldx, float *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < rows * n; i += MC_CUDA_STRIDE)
        y[i] = x[i / n * ldx + i % n];
}

/* What cuFFT can read or write as it is: dense, aligned as a complex number. */
static bool fits(const void *p, int64_t ld, int64_t n)
{
    return ld == n && (uintptr_t)p % sizeof(float2) == 0;
}

/* [rows, ld] of `blocks` blocks each to spectra [rows, blocks, bins]. copy: for rows that are not dense. */
static void forward(const struct mc_circulant *c, const struct matrices *m, int64_t rows,
                    int64_t blocks, const float *x, int64_t ld, float2 *to, float *copy, void *work)
{
    int64_t h = bins(c), n = blocks * c->b;
    bool ready = m->there ? ld == n : fits(x, ld, n);
    if (!ready) {
        MC_LAUNCH(copy_rows, mc_cuda_blocks(rows * n), THREADS, rows, n, x, ld, copy);
        x = copy;
    }
    if (!m->there) {
        struct plan *p = plan_of(c->b, rows * blocks, MC_CUFFT_R2C);
        const struct mc_cufft *l = &fft()->fn;
        if (p && (l->cufftSetWorkArea(p->handle, work) != MC_CUFFT_SUCCESS ||
                  l->cufftExecR2C(p->handle, (float *)(uintptr_t)x, to) != MC_CUFFT_SUCCESS))
            fft_failed();
        return;
    }
    struct mc_gemm g = {};
    g.m = rows * blocks;
    g.n = 2 * h;
    g.k = c->b;
    g.a = x;
    g.a_row = c->b;
    g.a_col = 1;
    g.b = m->there;
    g.b_row = 2 * h;
    g.b_col = 1;
    g.c = to;
    g.c_row = 2 * h;
    g.alpha = 1;
    mc_cuda_now()->table.gemm.run(&g, NULL, NULL);
}

/* Spectra [blocks, bins], of which nothing stays, to [blocks, b]. */
static void backward(const struct mc_circulant *c, const struct matrices *m, int64_t blocks,
                     float2 *from, float *y, void *work)
{
    int64_t h = bins(c);
    if (!m->there) {
        struct plan *p = plan_of(c->b, blocks, MC_CUFFT_C2R);
        const struct mc_cufft *l = &fft()->fn;
        if (p && (l->cufftSetWorkArea(p->handle, work) != MC_CUFFT_SUCCESS ||
                  l->cufftExecC2R(p->handle, from, y) != MC_CUFFT_SUCCESS))
            fft_failed();
        return;
    }
    struct mc_gemm g = {};
    g.m = blocks;
    g.n = c->b;
    g.k = 2 * h;
    g.a = from;
    g.a_row = 2 * h;
    g.a_col = 1;
    g.b = m->back;
    g.b_row = c->b;
    g.b_col = 1;
    g.c = y;
    g.c_row = c->b;
    g.alpha = 1;
    mc_cuda_now()->table.gemm.run(&g, NULL, NULL);
}

/* ---- products of spectra ---- */

/* y[m, n, f] = by * sum over k of a[m, k, f] b[n, k, f], of which the second may be conjugated. */
struct spectra_mix {
    int64_t m, n, k, bins;
    const float2 *a, *b;
    int64_t a_m, a_k, b_n, b_k; /* steps in complex numbers */
    float turn;                 /* -1: conjugated */
    float by;
    int64_t splits; /* parts of k, each with sums of its own */
    float2 *y;
};

static __device__ __forceinline__ int64_t within(int64_t i, int64_t n)
{
    return i < n ? i : n - 1;
}

/* A thread has T x T sums of a frequency, and a part of k. */
template <int T> static __global__ void mix(struct spectra_mix x)
{
    int64_t n_tiles = (x.n + T - 1) / T, m_tiles = (x.m + T - 1) / T;
    int64_t all = x.splits * m_tiles * n_tiles * x.bins, each = (x.k + x.splits - 1) / x.splits;
    for (int64_t i = MC_CUDA_INDEX_OF; i < all; i += MC_CUDA_STRIDE) {
        int64_t f = i % x.bins, n0 = i / x.bins % n_tiles * T;
        int64_t m0 = i / x.bins / n_tiles % m_tiles * T, part = i / x.bins / n_tiles / m_tiles;
        int64_t end = (part + 1) * each < x.k ? (part + 1) * each : x.k;
        const float2 *a[T], *b[T];
        float2 sum[T][T];
        for (int r = 0; r < T; r++) {
            a[r] = x.a + within(m0 + r, x.m) * x.a_m + f;
            b[r] = x.b + within(n0 + r, x.n) * x.b_n + f;
            for (int s = 0; s < T; s++)
                sum[r][s] = make_float2(0, 0);
        }
        for (int64_t k = part * each; k < end; k++) {
            float2 u[T], v[T];
            for (int r = 0; r < T; r++) {
                u[r] = a[r][k * x.a_k];
                v[r] = b[r][k * x.b_k];
                v[r].y *= x.turn;
            }
            for (int r = 0; r < T; r++)
                for (int s = 0; s < T; s++) {
                    sum[r][s].x += u[r].x * v[s].x - u[r].y * v[s].y;
                    sum[r][s].y += u[r].x * v[s].y + u[r].y * v[s].x;
                }
        }
        for (int r = 0; r < T; r++)
            for (int s = 0; s < T; s++)
                if (m0 + r < x.m && n0 + s < x.n)
                    x.y[((part * x.m + m0 + r) * x.n + n0 + s) * x.bins + f] =
                        make_float2(x.by * sum[r][s].x, x.by * sum[r][s].y);
    }
}

static __global__ void add_parts(int64_t n, int64_t splits, const float2 *parts, float2 *y)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < n; i += MC_CUDA_STRIDE) {
        float2 sum = parts[i];
        for (int64_t s = 1; s < splits; s++) {
            sum.x += parts[s * n + i].x;
            sum.y += parts[s * n + i].y;
        }
        y[i] = sum;
    }
}

enum { FULL = 1 << 16, SPLITS_MOST = 32, LEAST_K = 8 }; /* threads that fill a card */

static bool tiles_of_four(int64_t m, int64_t n, int64_t h)
{
    return m >= 4 && n >= 4 && m * n * h / 16 >= FULL / 2;
}

/* So many parts that a card has work: by the sizes alone. */
static int64_t splits_of(int64_t m, int64_t n, int64_t k, int64_t h)
{
    int64_t splits = 1;
    while (!tiles_of_four(m, n, h) && splits < SPLITS_MOST && m * n * h * splits < FULL &&
           k / splits > LEAST_K)
        splits *= 2;
    return splits;
}

static size_t parts_bytes(const struct mc_circulant *c, int64_t m, int64_t n, int64_t k)
{
    int64_t splits = splits_of(m, n, k, bins(c));
    return splits > 1 ? spectra_bytes(c, splits * m * n) : 0;
}

static void run_mix(struct spectra_mix x, float2 *parts)
{
    float2 *y = x.y;
    int64_t n = x.m * x.n * x.bins;
    x.splits = splits_of(x.m, x.n, x.k, x.bins);
    x.y = x.splits > 1 ? parts : y;
    if (tiles_of_four(x.m, x.n, x.bins))
        MC_LAUNCH(mix<4>, mc_cuda_blocks((x.m + 3) / 4 * ((x.n + 3) / 4) * x.bins), THREADS, x);
    else
        MC_LAUNCH(mix<1>, mc_cuda_blocks(n * x.splits), THREADS, x);
    if (x.splits > 1)
        MC_LAUNCH(add_parts, mc_cuda_blocks(n), THREADS, n, x.splits, (const float2 *)parts, y);
}

/* ---- matrices expanded ---- */

/* W [p b, q b, taps] from columns [p, q, b, taps]. */
static __global__ void expand(struct mc_circulant c, int64_t taps, const float *col, float *w)
{
    int64_t b = c.b, columns = c.q * b;
    for (int64_t i = MC_CUDA_INDEX_OF; i < c.p * b * columns * taps; i += MC_CUDA_STRIDE) {
        int64_t tap = i % taps, s = i / taps % columns, r = i / taps / columns;
        int64_t k = r % b - s % b;
        w[i] = col[((r / b * c.q + s / b) * b + (k < 0 ? k + b : k)) * taps + tap];
    }
}

static void run_expand(const struct mc_circulant *c, int64_t taps, const void *col, void *w,
                       struct mc_pool *)
{
    int64_t n = c->p * c->q * c->b * c->b * taps;
    if (n > 0)
        MC_LAUNCH(expand, mc_cuda_blocks(n), THREADS, *c, taps, (const float *)col, (float *)w);
}

/* Columns from a matrix: sums along wrapped diagonals. */
static __global__ void fold(struct mc_circulant c, int64_t taps, const float *w, float *col)
{
    int64_t b = c.b;
    for (int64_t i = MC_CUDA_INDEX_OF; i < c.p * c.q * b * taps; i += MC_CUDA_STRIDE) {
        int64_t tap = i % taps, k = i / taps % b, block = i / taps / b;
        const float *from = w + (block / c.q * b * c.q + block % c.q) * b * taps + tap;
        double sum = 0;
        for (int64_t s = 0; s < b; s++)
            sum += (double)from[((s + k < b ? s + k : s + k - b) * c.q * b + s) * taps];
        col[i] = (float)sum;
    }
}

static void run_fold(const struct mc_circulant *c, int64_t taps, const void *w, void *col,
                     struct mc_pool *)
{
    int64_t n = c->p * c->q * c->b * taps;
    if (n > 0)
        MC_LAUNCH(fold, mc_cuda_blocks(n), THREADS, *c, taps, (const float *)w, (float *)col);
}

/* ---- which way ---- */

/* Seconds, by what a card of 20 TFLOP/s in products of float32 and 2 TB/s takes: where each of them is waited for matters, not
 * how long. A launch of what is replayed takes 2 us. */
static double seconds(double flops, double mixes, double bytes, int launches)
{
    return flops / 2e13 + mixes / 1e13 + bytes / 2e12 + launches * 2e-6;
}

static double transformed(const struct mc_circulant *c, int64_t rows, bool dft)
{
    double r = (double)rows, p = (double)c->p, q = (double)c->q, b = (double)c->b;
    double blocks = r * (p + q), flops = dft ? 2 * blocks * b * (b + 2) : 0;
    /* Every number is read and written as itself and as its spectrum, by cuFFT twice where it is long. */
    double bytes = 8 * blocks * b * (dft || b <= 4096 ? 2 : 3) + 4 * p * q * (b + 2);
    return seconds(flops, 4 * r * p * q * (b + 2), bytes, 4);
}

static enum mc_circulant_way choose_by(const struct mc_circulant *c, int64_t rows, double dense)
{
    double fast = c->b > 1 && fft() ? transformed(c, rows, false) : HUGE_VAL;
    double dft = c->b > 1 && c->b <= MC_CIRCULANT_DFT_MOST ? transformed(c, rows, true) : HUGE_VAL;
    if (dense <= fast && dense <= dft)
        return MC_CIRCULANT_DENSE;
    return dft < fast ? MC_CIRCULANT_DFT : MC_CIRCULANT_FFT;
}

static enum mc_circulant_way choose(const struct mc_circulant *c, int64_t rows)
{
    double r = (double)rows, in = (double)(c->q * c->b), out = (double)(c->p * c->b);
    return choose_by(c, rows, seconds(2 * r * in * out, 0, 4 * (in * out + r * (in + out)), 1));
}

/* The matrix of its own gradient is written, and read again along diagonals. */
static enum mc_circulant_way choose_gradient(const struct mc_circulant *c, int64_t rows)
{
    double r = (double)rows, in = (double)(c->q * c->b), out = (double)(c->p * c->b);
    return choose_by(c, rows, seconds(2 * r * in * out, 0, 16 * in * out + 4 * r * (in + out), 2));
}

/* ---- products ---- */

struct packed {
    float2 *spectra;
    struct matrices m;
    void *work;
};

static struct packed packed_in(const struct mc_circulant *c, enum mc_circulant_way way,
                               struct space *s)
{
    struct packed p;
    p.spectra = (float2 *)part(s, spectra_bytes(c, c->p * c->q));
    p.m = matrices_in(c, way, s);
    p.work = part(s, fft_work(c, way, c->p * c->q, MC_CUFFT_R2C));
    return p;
}

static size_t pack_bytes(const struct mc_circulant *c, enum mc_circulant_way way)
{
    struct space s = {NULL, 0};
    if (way == MC_CIRCULANT_DENSE)
        return (size_t)(c->p * c->q * c->b * c->b) * sizeof(float);
    packed_in(c, way, &s);
    return s.bytes;
}

static void run_pack(const struct mc_circulant *c, enum mc_circulant_way way, const void *col,
                     void *to, struct mc_pool *pool)
{
    struct space s = {(char *)to, 0};
    if (way == MC_CIRCULANT_DENSE) {
        run_expand(c, 1, col, to, pool);
        return;
    }
    struct packed p = packed_in(c, way, &s);
    int64_t n = c->p * c->q * c->b;
    float *copy = NULL;
    make_matrices(c, &p.m);
    if (!p.m.there && !fits(col, n, n))
        copy = (float *)mc_cuda_workspace((size_t)n * sizeof(float));
    forward(c, &p.m, 1, c->p * c->q, (const float *)col, n, p.spectra, copy, p.work);
}

struct scratch {
    float2 *x, *y, *parts;
    float *in, *out; /* blocks, where they cannot be read or written in place */
    void *work_x, *work_y;
};

static struct scratch scratch_in(const struct mc_circulant *c, enum mc_circulant_way way,
                                 int64_t rows, struct space *s)
{
    int64_t in = c->transposed ? c->p : c->q, out = c->transposed ? c->q : c->p;
    struct scratch b;
    b.x = (float2 *)part(s, spectra_bytes(c, rows * in));
    b.y = (float2 *)part(s, spectra_bytes(c, rows * out));
    b.parts = (float2 *)part(s, parts_bytes(c, rows, out, in));
    b.in = (float *)part(s, (size_t)(rows * in * c->b) * sizeof(float));
    b.out = (float *)part(s, (size_t)(rows * out * c->b) * sizeof(float));
    b.work_x = part(s, fft_work(c, way, rows * in, MC_CUFFT_R2C));
    b.work_y = part(s, fft_work(c, way, rows * out, MC_CUFFT_C2R));
    return b;
}

static size_t scratch_bytes(const struct mc_circulant *c, enum mc_circulant_way way, int64_t rows,
                            int)
{
    struct space s = {NULL, 0};
    if (way != MC_CIRCULANT_DENSE && rows > 0)
        scratch_in(c, way, rows, &s);
    return s.bytes;
}

static __global__ void finish(int64_t rows, int64_t n, const float *x, struct mc_cuda_epilogue e,
                              float *y, int64_t ldy)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < rows * n; i += MC_CUDA_STRIDE) {
        int64_t at = i / n * ldy + i % n;
        y[at] = mc_cuda_finish(e, x[i], i % n, at);
    }
}

static void run_dense(const struct mc_circulant_product *m, int64_t in, int64_t out)
{
    struct mc_gemm g = {};
    int64_t columns = m->c.q * m->c.b;
    g.m = m->rows;
    g.n = out;
    g.k = in;
    g.a = m->x;
    g.a_row = m->ldx;
    g.a_col = 1;
    g.b = m->packed;
    g.b_row = m->c.transposed ? columns : 1;
    g.b_col = m->c.transposed ? 1 : columns;
    g.c = m->y;
    g.c_row = m->ldy;
    g.alpha = 1;
    g.epilogue = m->epilogue;
    mc_cuda_now()->table.gemm.run(&g, NULL, NULL);
}

static void run(const struct mc_circulant_product *m, void *scratch, struct mc_pool *)
{
    const struct mc_circulant *c = &m->c;
    int64_t in = c->transposed ? c->p : c->q, out = c->transposed ? c->q : c->p, h = bins(c);
    if (m->rows <= 0)
        return;
    if (m->way == MC_CIRCULANT_DENSE) {
        run_dense(m, in * c->b, out * c->b);
        return;
    }
    struct space of_weight = {(char *)(uintptr_t)m->packed, 0}, s = {(char *)scratch, 0};
    struct packed w = packed_in(c, m->way, &of_weight);
    struct scratch b = scratch_in(c, m->way, m->rows, &s);
    bool direct = !mc_cuda_epilogue_any(&m->epilogue) && fits(m->y, m->ldy, out * c->b);
    float *y = direct ? (float *)m->y : b.out;
    struct spectra_mix x = {};
    x.m = m->rows;
    x.n = out;
    x.k = in;
    x.bins = h;
    x.a = b.x;
    x.a_m = in * h;
    x.a_k = h;
    x.b = w.spectra;
    x.b_n = c->transposed ? h : c->q * h;
    x.b_k = c->transposed ? c->q * h : h;
    x.turn = c->transposed ? -1 : 1;
    x.by = 1 / (float)c->b;
    x.y = b.y;
    forward(c, &w.m, m->rows, in, (const float *)m->x, m->ldx, b.x, b.in, b.work_x);
    run_mix(x, b.parts);
    backward(c, &w.m, m->rows * out, b.y, y, b.work_y);
    if (!direct)
        MC_LAUNCH(finish, mc_cuda_blocks(m->rows * out * c->b), THREADS, m->rows, out * c->b,
                  (const float *)y, mc_cuda_epilogue_of(&m->epilogue), (float *)m->y, m->ldy);
}

/* ---- gradients ---- */

struct gradient_scratch {
    struct matrices m;
    float2 *x, *dy, *dcol, *parts;
    float *in_x, *in_dy, *out;
    void *work_x, *work_dy, *work_dcol;
};

static struct gradient_scratch gradient_in(const struct mc_circulant *c, enum mc_circulant_way way,
                                           int64_t rows, struct space *s)
{
    struct gradient_scratch b;
    size_t each = (size_t)(rows * c->b) * sizeof(float);
    b.m = matrices_in(c, way, s);
    b.x = (float2 *)part(s, spectra_bytes(c, rows * c->q));
    b.dy = (float2 *)part(s, spectra_bytes(c, rows * c->p));
    b.dcol = (float2 *)part(s, spectra_bytes(c, c->p * c->q));
    b.parts = (float2 *)part(s, parts_bytes(c, c->p, c->q, rows));
    b.in_x = (float *)part(s, each * (size_t)c->q);
    b.in_dy = (float *)part(s, each * (size_t)c->p);
    b.out = (float *)part(s, (size_t)(c->p * c->q * c->b) * sizeof(float));
    b.work_x = part(s, fft_work(c, way, rows * c->q, MC_CUFFT_R2C));
    b.work_dy = part(s, fft_work(c, way, rows * c->p, MC_CUFFT_R2C));
    b.work_dcol = part(s, fft_work(c, way, c->p * c->q, MC_CUFFT_C2R));
    return b;
}

static size_t gradient_scratch_bytes(const struct mc_circulant *c, enum mc_circulant_way way,
                                     int64_t rows, int)
{
    struct space s = {NULL, 0};
    if (way == MC_CIRCULANT_DENSE)
        return (size_t)(c->p * c->q * c->b * c->b) * sizeof(float);
    if (rows > 0)
        gradient_in(c, way, rows, &s);
    return s.bytes;
}

/* dW = dyᵀ x, along diagonals. */
static void dense_gradient(const struct mc_circulant_gradient *m, void *scratch)
{
    struct mc_gemm g = {};
    g.m = m->c.p * m->c.b;
    g.n = m->c.q * m->c.b;
    g.k = m->rows;
    g.a = m->dy;
    g.a_row = 1;
    g.a_col = m->lddy;
    g.b = m->x;
    g.b_row = m->ldx;
    g.b_col = 1;
    g.c = scratch;
    g.c_row = g.n;
    g.alpha = 1;
    mc_cuda_now()->table.gemm.run(&g, NULL, NULL);
    run_fold(&m->c, 1, scratch, m->dcol, NULL);
}

static void gradient(const struct mc_circulant_gradient *m, void *scratch, struct mc_pool *)
{
    const struct mc_circulant *c = &m->c;
    int64_t h = bins(c), n = c->p * c->q * c->b;
    if (m->rows == 0) {
        mc_cuda_check(cudaMemsetAsync(m->dcol, 0, (size_t)n * sizeof(float), mc_cuda_now()->stream),
                      "cudaMemsetAsync");
        return;
    }
    if (m->way == MC_CIRCULANT_DENSE) {
        dense_gradient(m, scratch);
        return;
    }
    struct space s = {(char *)scratch, 0};
    struct gradient_scratch b = gradient_in(c, m->way, m->rows, &s);
    bool direct = fits(m->dcol, n, n);
    float *to = direct ? (float *)m->dcol : b.out;
    struct spectra_mix x = {};
    x.m = c->p;
    x.n = c->q;
    x.k = m->rows;
    x.bins = h;
    x.a = b.dy;
    x.a_m = h;
    x.a_k = c->p * h;
    x.b = b.x;
    x.b_n = h;
    x.b_k = c->q * h;
    x.turn = -1;
    x.by = 1 / (float)c->b;
    x.y = b.dcol;
    make_matrices(c, &b.m);
    forward(c, &b.m, m->rows, c->q, (const float *)m->x, m->ldx, b.x, b.in_x, b.work_x);
    forward(c, &b.m, m->rows, c->p, (const float *)m->dy, m->lddy, b.dy, b.in_dy, b.work_dy);
    run_mix(x, b.parts);
    backward(c, &b.m, c->p * c->q, b.dcol, to, b.work_dcol);
    if (!direct)
        MC_LAUNCH(copy_rows, mc_cuda_blocks(n), THREADS, (int64_t)1, n, (const float *)to, n,
                  (float *)m->dcol);
}

/* ---- convolutions: dense ones, of the weight expanded ---- */

static int64_t taps_of(const struct mc_circulant_conv *m)
{
    return m->conv.kernel[0] * m->conv.kernel[1] * m->conv.kernel[2];
}

static size_t conv_pack_bytes(const struct mc_circulant_conv *m)
{
    return (size_t)(m->conv.oc * m->conv.c * taps_of(m)) * sizeof(float);
}

static void conv_pack(const struct mc_circulant_conv *m, const void *col, void *packed,
                      struct mc_pool *pool)
{
    run_expand(&m->c, taps_of(m), col, packed, pool);
}

static size_t conv_scratch_bytes(const struct mc_circulant_conv *m, int threads)
{
    const struct mc_conv_kernels *k = &mc_cuda_now()->table.conv;
    return k->scratch_bytes ? k->scratch_bytes(&m->conv, threads) : 0;
}

static void conv_run(const struct mc_circulant_conv *m, void *scratch, struct mc_pool *pool)
{
    struct mc_conv v = m->conv;
    v.w = m->packed;
    mc_cuda_now()->table.conv.run(&v, scratch, pool);
}

void mc_circulant_fill_cuda(struct mc_kernels *k)
{
    struct mc_circulant_kernels *c = &k->circulant;
    c->choose = choose;
    c->pack_bytes = pack_bytes;
    c->pack = run_pack;
    c->scratch_bytes = scratch_bytes;
    c->run = run;
    c->choose_gradient = choose_gradient;
    c->gradient_scratch_bytes = gradient_scratch_bytes;
    c->gradient = gradient;
    c->conv_pack_bytes = conv_pack_bytes;
    c->conv_pack = conv_pack;
    c->conv_scratch_bytes = conv_scratch_bytes;
    c->conv_run = conv_run;
    c->expand = run_expand;
    c->fold = run_fold;
}
