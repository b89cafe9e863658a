/* A plane is copied once into a buffer with its padding, the columns sorted by their remainder modulo the
 * stride: then the inputs of neighbouring outputs are neighbours for every tap, and the sum needs no test. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/act_cpu.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_cpu.h"
#include "kernels/cpu/row.h"

enum {
    UNITS = 8,             /* vectors of outputs summed side by side: latency 4 times 2 FMA units */
    CHUNK_FLOPS = 1 << 19, /* of planes worked on as one chunk; memory sets the pace here */
};

struct shape {
    int64_t taps, outs; /* elements of the kernel, of an output plane */
    int64_t size[3];    /* of the padded plane; columns per remainder */
    int64_t row, loads; /* floats of a row in the buffer; vectors that make one */
    int64_t buffer;     /* floats of a thread's buffer */
    int64_t multiple;   /* output channels per input channel */
    int64_t chunk_planes, planes;
};

static struct shape shape_of(const struct mc_conv *c)
{
    struct shape s = {.taps = 1, .outs = 1};
    for (int i = 0; i < 3; i++) {
        s.taps *= c->kernel[i];
        s.outs *= c->out[i];
        s.size[i] = (c->out[i] - 1) * c->stride[i] + (c->kernel[i] - 1) * c->dilation[i] + 1;
    }
    s.size[2] = ceil_div(max64(1, c->out[2]), LANES) * LANES +
                (c->kernel[2] - 1) * c->dilation[2] / c->stride[2];
    s.row = s.size[2] * c->stride[2];
    s.loads = ceil_div(s.size[2], LANES) * c->stride[2];
    s.buffer = (ceil_div(max64(0, s.size[0] * s.size[1] * s.row), 16) + 1) * 16;
    s.multiple = c->oc / c->c;
    s.planes = c->n * c->c;
    s.chunk_planes = ceil_div(CHUNK_FLOPS, max64(1, 2 * s.taps * s.outs * s.multiple));
    return s;
}

/* A vector of a row in the buffer: where it comes from in a row of the input. */
struct load {
    int64_t first, to; /* column of the first lane */
    vm low, high;      /* at stride 2, the second vector */
};

struct job {
    const struct mc_conv *c;
    struct shape s;
    struct load *loads; /* of any row */
    int64_t *offsets;   /* of each tap in the buffer */
    float *buffers;
};

static size_t round_up(size_t bytes)
{
    return (bytes + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
}

/* Lay the job's tables out in scratch; returns the bytes all takes. */
static size_t lay_out(struct job *j, int threads, char *scratch)
{
    size_t loads = round_up((size_t)j->s.loads * sizeof *j->loads);
    size_t offsets = round_up((size_t)j->s.taps * sizeof *j->offsets);
    if (scratch) {
        j->loads = (struct load *)scratch;
        j->offsets = (int64_t *)(scratch + loads);
        j->buffers = (float *)(scratch + loads + offsets);
    }
    return loads + offsets + (size_t)j->s.buffer * sizeof(float) * (size_t)threads;
}

size_t MC_CPU(mc_depthwise_scratch)(const struct mc_conv *c, int threads)
{
    struct job j = {.c = c, .s = shape_of(c)};
    return lay_out(&j, threads, NULL);
}

/* Whole vectors are written: a row's last may reach into the next row, which is made later. */
static void fill_row(const struct job *j, const float *x, float *to)
{
    const struct load *load = j->loads;
    int64_t step = j->c->stride[2], n = j->s.loads;
    if (step == 1) {
        for (int64_t i = 0; i < n; i++)
            vf_store(to + load[i].to, vf_load_mask(x + load[i].first, load[i].low));
    } else if (step == 2) {
        for (int64_t i = 0; i < n; i++) {
            const float *from = x + load[i].first;
            vf_store(to + load[i].to, vf_even(vf_load_mask(from, load[i].low),
                                              vf_load_mask(from + LANES, load[i].high)));
        }
    } else {
        for (int64_t i = 0; i < n; i++)
            vf_store(to + load[i].to, load_row(x + load[i].first, step, -load[i].first,
                                               j->c->in[2] - load[i].first));
    }
}

static void fill_buffer(const struct job *j, const float *x, float *to)
{
    const struct mc_conv *c = j->c;
    for (int64_t z = 0; z < j->s.size[0]; z++) {
        int64_t iz = z - c->pad[0];
        for (int64_t y = 0; y < j->s.size[1]; y++, to += j->s.row) {
            int64_t iy = y - c->pad[1];
            if (iz >= 0 && iz < c->in[0] && iy >= 0 && iy < c->in[1])
                fill_row(j, x + (iz * c->in[1] + iy) * c->in[2], to);
            else
                memset(to, 0, (size_t)j->s.row * sizeof *to);
        }
    }
}

/* The plane being summed. */
struct plane {
    const float *w, *residual;
    float *y;
    vf bias, lo, hi;
};

struct units {
    int n;
    const float *from[UNITS]; /* in the buffer, for the first tap */
    int64_t to[UNITS];        /* in the output plane */
    vm some[UNITS];           /* lanes that are outputs */
};

static void sum_units(const struct job *j, const struct plane *p, const struct units *u)
{
    const int64_t *offset = j->offsets;
    const float *from[UNITS];
    vf sum[UNITS];
#pragma GCC unroll 24
    for (int i = 0; i < UNITS; i++) {
        from[i] = u->from[i];
        sum[i] = vf_set1(0);
    }
    for (int64_t t = 0; t < j->s.taps; t++) {
        vf wt = vf_set1(p->w[t]);
#pragma GCC unroll 24
        for (int i = 0; i < UNITS; i++)
            sum[i] = vf_fma(wt, vf_load(from[i] + offset[t]), sum[i]);
    }
#pragma GCC unroll 24
    for (int i = 0; i < UNITS; i++) {
        if (i >= u->n)
            break;
        vf y = sum[i] + p->bias;
        if (p->residual)
            y += vf_load_mask(p->residual + u->to[i], u->some[i]);
        vf_store_mask(p->y + u->to[i], vf_at_most(vf_at_least(y, p->lo), p->hi), u->some[i]);
    }
}

/* All outputs of one plane from the buffer of its input plane. */
static void sum_plane(const struct job *j, const struct plane *p, const float *buffer)
{
    const struct mc_conv *c = j->c;
    int64_t width = c->out[2], to = 0, step = c->stride[1] * j->s.row;
    vm all = vm_first(LANES), rest = vm_first((width - 1) % LANES + 1);
    struct units u = {.n = 0};
    for (int i = 0; i < UNITS; i++)
        u.from[i] = buffer;
    for (int64_t z = 0; z < c->out[0]; z++) {
        const float *from = buffer + z * c->stride[0] * j->s.size[1] * j->s.row;
        for (int64_t y = 0; y < c->out[1]; y++, from += step, to += width) {
            for (int64_t x = 0; x < width; x += LANES) {
                u.from[u.n] = from + x;
                u.to[u.n] = to + x;
                u.some[u.n] = x + LANES < width ? all : rest;
                if (++u.n == UNITS) {
                    sum_units(j, p, &u);
                    u.n = 0;
                }
            }
        }
    }
    if (u.n > 0)
        sum_units(j, p, &u);
    MC_CPU(mc_act_block)(&c->epilogue, p->y, 0, 1, j->s.outs);
}

static void compute_chunk(void *ctx, int64_t chunk, int worker)
{
    const struct job *j = ctx;
    const struct mc_conv *c = j->c;
    const struct mc_epilogue *e = &c->epilogue;
    const float *bias = e->bias, *residual = e->residual;
    int64_t first = chunk * j->s.chunk_planes, in_size = c->in[0] * c->in[1] * c->in[2];
    float *buffer = j->buffers + j->s.buffer * worker;
    bool clamp = e->act == MC_ACT_CLAMP;
    struct plane p = {
        .lo = vf_set1(clamp ? (float)e->lo : -INFINITY),
        .hi = vf_set1(clamp ? (float)e->hi : INFINITY),
    };
    for (int64_t i = first; i < min64(first + j->s.chunk_planes, j->s.planes); i++) {
        fill_buffer(j, (const float *)c->x + i * in_size, buffer);
        for (int64_t m = 0; m < j->s.multiple; m++) {
            int64_t plane = i * j->s.multiple + m, channel = plane % c->oc;
            p.w = (const float *)c->packed_w + channel * j->s.taps;
            p.bias = vf_set1(bias ? bias[channel] : 0);
            p.residual = residual ? residual + plane * j->s.outs : NULL;
            p.y = (float *)c->y + plane * j->s.outs;
            sum_plane(j, &p, buffer);
        }
    }
}

static void make_tables(struct job *j)
{
    const struct mc_conv *c = j->c;
    int64_t step = c->stride[2], n = 0;
    for (int64_t phase = 0; phase < step; phase++) {
        for (int64_t q = 0; q < j->s.size[2]; q += LANES) {
            int64_t first = q * step + phase - c->pad[2];
            j->loads[n++] = (struct load){
                .first = first,
                .to = phase * j->s.size[2] + q,
                .low = vm_range(-first, c->in[2] - first),
                .high = vm_range(-first - LANES, c->in[2] - first - LANES),
            };
        }
    }
    n = 0;
    for (int64_t z = 0; z < c->kernel[0]; z++) {
        for (int64_t y = 0; y < c->kernel[1]; y++) {
            int64_t row = (z * c->dilation[0] * j->s.size[1] + y * c->dilation[1]) * j->s.row;
            for (int64_t x = 0; x < c->kernel[2]; x++) {
                int64_t column = x * c->dilation[2];
                j->offsets[n++] = row + column % step * j->s.size[2] + column / step;
            }
        }
    }
}

void MC_CPU(mc_depthwise_run)(const struct mc_conv *c, void *scratch, struct mc_pool *pool)
{
    struct job j = {.c = c, .s = shape_of(c)};
    if (j.s.outs <= 0)
        return;
    lay_out(&j, 0, scratch);
    make_tables(&j);
    mc_pool_run(pool, ceil_div(j.s.planes, j.s.chunk_planes), compute_chunk, &j);
}
