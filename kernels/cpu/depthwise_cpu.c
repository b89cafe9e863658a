/* A plane is copied once into a buffer with its padding, the columns sorted by their remainder modulo the
 * stride: then the inputs of neighbouring outputs are neighbours for every tap, and the sum needs no test. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/act_cpu.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_cpu.h"

enum {
    UNITS = 8,             /* vectors of outputs summed side by side: latency 4 times 2 FMA units */
    CHUNK_FLOPS = 1 << 19, /* of planes worked on as one chunk; memory sets the pace here */
};

struct shape {
    int64_t taps, outs;  /* elements of the kernel, of an output plane */
    int64_t size[3];     /* of the padded plane, columns per remainder */
    int64_t row, buffer; /* floats */
    int64_t multiple;    /* output channels per input channel */
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
    s.size[2] =
        ceil_div(c->out[2], LANES) * LANES + (c->kernel[2] - 1) * c->dilation[2] / c->stride[2];
    s.row = s.size[2] * c->stride[2];
    s.buffer = ceil_div(s.size[0] * s.size[1] * s.row, 16) * 16;
    s.multiple = c->oc / c->c;
    s.planes = c->n * c->c;
    int64_t flops = max64(1, 2 * s.taps * s.outs * s.multiple);
    s.chunk_planes = ceil_div(CHUNK_FLOPS, flops);
    return s;
}

size_t MC_CPU(mc_depthwise_scratch)(const struct mc_conv *c, int threads)
{
    struct shape s = shape_of(c);
    size_t offsets = ((size_t)s.taps * sizeof(int64_t) + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
    return offsets + (size_t)s.buffer * sizeof(float) * (size_t)threads;
}

/* One row of the input, or NULL for a row of padding. */
static void fill_row(const struct mc_conv *c, const struct shape *s, const float *x, float *to)
{
    int64_t step = c->stride[2];
    for (int64_t phase = 0; phase < step; phase++, to += s->size[2]) {
        /* element q is column q * step + phase - pad */
        int64_t shift = phase - c->pad[2];
        int64_t q0 = shift < 0 ? min64(s->size[2], ceil_div(-shift, step)) : 0;
        int64_t q1 = c->in[2] > shift ? min64(s->size[2], ceil_div(c->in[2] - shift, step)) : 0;
        if (!x)
            q0 = q1 = 0;
        q1 = max64(q0, q1);
        memset(to, 0, (size_t)q0 * sizeof *to);
        if (step == 1)
            memcpy(to + q0, x + q0 + shift, (size_t)(q1 - q0) * sizeof *to);
        for (int64_t q = q0; q < q1 && step > 1; q++)
            to[q] = x[q * step + shift];
        memset(to + q1, 0, (size_t)(s->size[2] - q1) * sizeof *to);
    }
}

static void fill_buffer(const struct mc_conv *c, const struct shape *s, const float *x, float *to)
{
    for (int64_t z = 0; z < s->size[0]; z++) {
        int64_t iz = z - c->pad[0];
        for (int64_t y = 0; y < s->size[1]; y++, to += s->row) {
            int64_t iy = y - c->pad[1];
            bool inside = iz >= 0 && iz < c->in[0] && iy >= 0 && iy < c->in[1];
            fill_row(c, s, inside ? x + (iz * c->in[1] + iy) * c->in[2] : NULL, to);
        }
    }
}

struct sums {
    const float *from[UNITS]; /* in the buffer, for the first tap */
    int64_t to[UNITS];        /* in the output plane */
    int count[UNITS];         /* outputs of this vector */
    int units;
};

struct job {
    const struct mc_conv *c;
    struct shape s;
    int64_t *offsets; /* of each tap in the buffer */
    float *buffers;
};

static void sum_units(const struct job *j, const struct sums *u, const float *w, int64_t channel,
                      int64_t plane)
{
    const int64_t *offset = j->offsets;
    const float *from[UNITS];
    vf sum[UNITS];
    UNROLL for (int i = 0; i < UNITS; i++)
    {
        from[i] = u->from[i];
        sum[i] = vf_set1(0);
    }
    for (int64_t t = 0; t < j->s.taps; t++) {
        vf wt = vf_set1(w[t]);
        UNROLL for (int i = 0; i < UNITS; i++) sum[i] =
            vf_fma(wt, vf_load(from[i] + offset[t]), sum[i]);
    }
    const struct mc_epilogue *e = &j->c->epilogue;
    bool clamp = e->act == MC_ACT_CLAMP;
    vf lo = vf_set1(clamp ? (float)e->lo : -INFINITY),
       hi = vf_set1(clamp ? (float)e->hi : INFINITY);
    vf bias = vf_set1(e->bias ? ((const float *)e->bias)[channel] : 0);
    const float *residual = e->residual;
    UNROLL for (int i = 0; i < UNITS; i++)
    {
        if (i >= u->units)
            break;
        int64_t at = plane * j->s.outs + u->to[i];
        vm some = vm_first(u->count[i]);
        vf y = sum[i] + bias;
        if (residual)
            y += vf_load_mask(residual + at, some);
        vf_store_mask((float *)j->c->y + at, vf_at_most(vf_at_least(y, lo), hi), some);
    }
}

/* All outputs of one output plane from the buffer of its input plane. */
static void sum_plane(const struct job *j, const float *buffer, int64_t channel, int64_t plane)
{
    const struct mc_conv *c = j->c;
    const struct shape *s = &j->s;
    const float *w = (const float *)c->packed_w + channel * s->taps;
    struct sums u = {.units = 0};
    for (int64_t row = 0; row < c->out[0] * c->out[1]; row++) {
        int64_t z = row / c->out[1] * c->stride[0], y = row % c->out[1] * c->stride[1];
        for (int64_t x = 0; x < c->out[2]; x += LANES) {
            u.from[u.units] = buffer + (z * s->size[1] + y) * s->row + x;
            u.to[u.units] = row * c->out[2] + x;
            u.count[u.units] = (int)min64(LANES, c->out[2] - x);
            if (++u.units == UNITS) {
                sum_units(j, &u, w, channel, plane);
                u.units = 0;
            }
        }
    }
    if (u.units > 0) {
        for (int i = u.units; i < UNITS; i++)
            u.from[i] = u.from[0];
        sum_units(j, &u, w, channel, plane);
    }
    act_block(&c->epilogue, (float *)c->y + plane * s->outs, 0, 1, s->outs);
}

static void compute_chunk(void *ctx, int64_t chunk, int worker)
{
    const struct job *j = ctx;
    const struct mc_conv *c = j->c;
    const struct shape *s = &j->s;
    float *buffer = j->buffers + s->buffer * worker;
    int64_t end = min64((chunk + 1) * s->chunk_planes, s->planes);
    for (int64_t plane = chunk * s->chunk_planes; plane < end; plane++) {
        fill_buffer(c, s, (const float *)c->x + plane * c->in[0] * c->in[1] * c->in[2], buffer);
        for (int64_t i = 0; i < s->multiple; i++)
            sum_plane(j, buffer, plane % c->c * s->multiple + i, plane * s->multiple + i);
    }
}

void MC_CPU(mc_depthwise_run)(const struct mc_conv *c, void *scratch, struct mc_pool *pool)
{
    struct job j = {.c = c, .s = shape_of(c), .offsets = scratch};
    j.buffers = (float *)((char *)scratch + MC_CPU(mc_depthwise_scratch)(c, 0));
    int64_t t = 0;
    for (int64_t z = 0; z < c->kernel[0]; z++) {
        for (int64_t y = 0; y < c->kernel[1]; y++) {
            int64_t row = (z * c->dilation[0] * j.s.size[1] + y * c->dilation[1]) * j.s.row;
            for (int64_t x = 0; x < c->kernel[2]; x++) {
                int64_t column = x * c->dilation[2];
                j.offsets[t++] = row + column % c->stride[2] * j.s.size[2] + column / c->stride[2];
            }
        }
    }
    if (j.s.outs > 0)
        mc_pool_run(pool, ceil_div(j.s.planes, j.s.chunk_planes), compute_chunk, &j);
}
