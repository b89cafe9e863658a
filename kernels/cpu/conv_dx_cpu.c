/* The gradient of a convolution by its input is a convolution of dy with the weights turned round, one for each
 * remainder of the position modulo the stride: its taps are those that reach such positions. With a stride of 1 there
 * is one; else their results lie between each other, and are put there for some images at a time. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/cpu/act_cpu.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_cpu.h"
#include "kernels/cpu/grad_cpu.h"
#include "kernels/fill.h"

enum {
    BETWEEN = 1 << 18, /* floats of results not yet in place: 1 MiB, an L2 */
    CHUNK = 1 << 15,   /* floats put in place by a chunk: about 10 us */
};

/* The convolution for positions first, first + stride, … */
struct phase {
    struct mc_conv c;
    int64_t first[3], tap[3], step[3]; /* taps tap, tap + step, … of the kernel */
    bool empty;                        /* no tap reaches them: zeros; or there are none */
};

/* Tap k puts output o on i = o*s + k*d - p. With i = first + s*j: o = j + (first + p - k*d) / s, for the k
 * for which that is whole: one in s / gcd(s, d). */
static void phase_axis(const struct mc_conv *c, int d, int64_t first, struct phase *f)
{
    int64_t s = c->stride[d], dil = c->dilation[d], shared = gcd(s, dil), step = s / shared, k = 0;
    f->first[d] = first;
    f->step[d] = step;
    while (k < min64(step, c->kernel[d]) && (first + c->pad[d] - k * dil) % s)
        k++;
    int64_t taps = k < step && k < c->kernel[d] ? ceil_div(c->kernel[d] - k, step) : 0;
    f->tap[d] = k;
    f->empty |= taps == 0 || c->in[d] <= first;
    f->c.in[d] = c->out[d];
    f->c.out[d] = c->in[d] > first ? ceil_div(c->in[d] - first, s) : 0;
    f->c.kernel[d] = max64(1, taps);
    f->c.stride[d] = 1;
    f->c.dilation[d] = dil / shared;
    f->c.pad[d] = (f->c.kernel[d] - 1) * f->c.dilation[d] - (first + c->pad[d] - k * dil) / s;
}

static int64_t phases_of(const struct mc_conv *c)
{
    return c->stride[0] * c->stride[1] * c->stride[2];
}

static struct phase phase_of(const struct mc_conv *c, int64_t i, int64_t images)
{
    struct phase f = {.c = {.n = images, .c = c->oc, .oc = c->c, .group = c->group}};
    for (int d = 2; d >= 0; d--) {
        phase_axis(c, d, i % c->stride[d], &f);
        i /= c->stride[d];
    }
    return f;
}

static int64_t positions(const struct phase *f)
{
    return f->c.out[0] * f->c.out[1] * f->c.out[2];
}

/* Images whose results fit between. */
static int64_t images_of(const struct mc_conv *c)
{
    int64_t image = max64(1, c->c * c->in[0] * c->in[1] * c->in[2]);
    return max64(1, min64(c->n, BETWEEN / image));
}

struct space {
    struct phase *phases;
    int32_t *taps;
    char *weights, *scratch;
    float *between; /* [phase][image][channel][its positions] */
    float *plane;   /* one per thread, for an epilogue */
};

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t aligned(size_t bytes)
{
    return (bytes + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
}

static size_t lay_out(const struct mc_conv *c, int threads, char *base, struct space *s)
{
    struct mc_conv_kernels k;
    MC_CPU(mc_conv_fill)(&k);
    int64_t phases = phases_of(c), images = phases > 1 ? images_of(c) : c->n;
    size_t at = 0, weights = 0, scratch = 0;
    for (int64_t i = 0; i < phases; i++) {
        struct phase f = phase_of(c, i, images), rest = phase_of(c, i, c->n % images);
        if (f.empty)
            continue;
        weights += aligned(k.pack_w_bytes(&f.c));
        scratch = larger(scratch, k.scratch_bytes(&f.c, threads));
        scratch = larger(scratch, k.scratch_bytes(&rest.c, threads));
    }
    int64_t taps = c->kernel[0] * c->kernel[1] * c->kernel[2];
    int64_t plane = c->in[0] * c->in[1] * c->in[2],
            between = phases > 1 ? images * c->c * plane : 0;
    s->phases = part_of(base, &at, phases, sizeof *s->phases);
    s->taps = part_of(base, &at, taps, sizeof *s->taps);
    s->weights = part_of(base, &at, 1, weights);
    s->scratch = part_of(base, &at, 1, scratch);
    s->between = part_of(base, &at, between, sizeof(float));
    s->plane = part_of(base, &at, phases > 1 ? threads * (plane + LANES) : 0, sizeof(float));
    return at;
}

static size_t input_bytes(const struct mc_conv *c, int threads)
{
    struct space s;
    return c->n > 0 ? lay_out(c, threads, NULL, &s) : 0;
}

/* Filters and channels in each other's place, taps from the last to the first. */
static void pack(const struct mc_conv_grad *g, const struct phase *f, int32_t *tap, void *dst,
                 struct mc_pool *pool)
{
    const struct mc_conv *c = &g->c;
    const int64_t *n = f->c.kernel, *size = c->kernel, ic = c->c / c->group;
    int64_t all = size[0] * size[1] * size[2];
    int32_t *to = tap;
    for (int64_t z = n[0] - 1; z >= 0; z--)
        for (int64_t y = n[1] - 1; y >= 0; y--)
            for (int64_t x = n[2] - 1; x >= 0; x--) {
                int64_t row = (f->tap[0] + z * f->step[0]) * size[1] + f->tap[1] + y * f->step[1];
                *to++ = (int32_t)(row * size[2] + f->tap[2] + x * f->step[2]);
            }
    struct mc_conv_weights w = {g->w, c->oc / c->group * ic * all, all, ic * all, tap};
    MC_CPU(mc_conv_pack)(&f->c, &w, dst, pool);
}

/* ---- putting phases in place ---- */

struct job {
    const struct mc_conv_grad *g;
    struct space s;
    int64_t image, planes, per_chunk;
};

/* to[step*j] = from[j] */
static void spread(const float *from, int64_t n, int64_t step, float *to)
{
    for (int64_t j = 0; j < n; j++)
        to[j * step] = from[j];
}

/* The two phases of a row at stride 2. */
static void weave(const float *even, const float *odd, int64_t n, float *to)
{
    int64_t n_odd = n / 2, j = 0;
    for (; j + LANES <= n_odd; j += LANES) {
        vf a = vf_load(even + j), b = vf_load(odd + j);
        vf_store(to + 2 * j, weave_low(a, b));
        vf_store(to + 2 * j + LANES, weave_high(a, b));
    }
    if (2 * j == n)
        return;
    int64_t left = n - 2 * j;
    vf a = vf_load_mask(even + j, vm_first((left + 1) / 2));
    vf b = vf_load_mask(odd + j, vm_first(left / 2));
    vf_store_mask(to + 2 * j, weave_low(a, b), vm_first(left));
    if (left > LANES)
        vf_store_mask(to + 2 * j + LANES, weave_high(a, b), vm_first(left - LANES));
}

/* to = act(from * scale + bias + residual); to may be residual. */
static void finish_plane(const struct mc_conv *c, int64_t plane, const float *from, float *to)
{
    const struct mc_epilogue *e = &c->epilogue;
    int64_t n = c->in[0] * c->in[1] * c->in[2], channel = plane % c->c;
    const float *residual = e->residual ? (const float *)e->residual + plane * n : NULL;
    vf scale = vf_set1(e->scale ? ((const float *)e->scale)[channel] : 1);
    vf bias = vf_set1(e->bias ? ((const float *)e->bias)[channel] : 0);
    bool clamp = e->act == MC_ACT_CLAMP;
    vf lo = vf_set1(clamp ? (float)e->lo : -INFINITY);
    vf hi = vf_set1(clamp ? (float)e->hi : INFINITY);
    for (int64_t i = 0; i < n; i += LANES) {
        vm m = vm_first(n - i);
        vf v = vf_load_mask(from + i, m) * scale + bias;
        if (residual)
            v += vf_load_mask(residual + i, m);
        vf_store_mask(to + i, vf_at_most(vf_at_least(v, lo), hi), m);
    }
    MC_CPU(mc_act_block)(e, to, 0, 1, n);
}

/* One row of phases: `plane` is the number of the plane among those at hand. */
static void place_row(const struct job *j, const struct phase *f, const float *from, int64_t plane,
                      float *to)
{
    const struct mc_conv *c = &j->g->c;
    int64_t rows = f->c.out[0] * f->c.out[1], next = 0;
    for (int64_t r = 0; r < rows; r++) {
        int64_t z = f->first[0] + r / f->c.out[1] * c->stride[0];
        int64_t y = f->first[1] + r % f->c.out[1] * c->stride[1];
        float *row = to + (z * c->in[1] + y) * c->in[2];
        const float *at = from + (plane * rows + r) * f->c.out[2];
        if (c->stride[2] == 2) {
            next = j->planes * rows * f->c.out[2] + (plane * rows + r) * f[1].c.out[2];
            weave(at, from + next, c->in[2], row);
            continue;
        }
        next = 0;
        for (int64_t s = 0; s < c->stride[2]; next += j->planes * rows * f[s].c.out[2], s++)
            spread(from + next + (plane * rows + r) * f[s].c.out[2], f[s].c.out[2], c->stride[2],
                   row + s);
    }
}

static void place_planes(void *ctx, int64_t chunk, int worker)
{
    const struct job *j = ctx;
    const struct mc_conv *c = &j->g->c;
    int64_t size = c->in[0] * c->in[1] * c->in[2], step = c->stride[2];
    bool finish = has_epilogue(&c->epilogue);
    int64_t end = min64((chunk + 1) * j->per_chunk, j->planes);
    for (int64_t i = chunk * j->per_chunk; i < end; i++) {
        int64_t plane = j->image * c->c + i;
        float *dx = (float *)j->g->dx + plane * size;
        float *to = finish ? j->s.plane + worker * (size + LANES) : dx;
        const float *from = j->s.between;
        for (int64_t r = 0; r < c->stride[0] * c->stride[1]; r++) {
            const struct phase *f = j->s.phases + r * step;
            place_row(j, f, from, i, to);
            for (int64_t s = 0; s < step; s++)
                from += j->planes * positions(&f[s]);
        }
        if (finish)
            finish_plane(c, plane, to, dx);
    }
}

static void run_phases(struct job *j, int64_t images, struct mc_pool *pool)
{
    const struct mc_conv *c = &j->g->c;
    struct mc_conv_kernels k;
    MC_CPU(mc_conv_fill)(&k);
    const char *weights = j->s.weights;
    float *to = j->s.between;
    for (int64_t i = 0; i < phases_of(c); i++) {
        struct phase *f = &j->s.phases[i];
        int64_t count = images * c->c * positions(f);
        f->c.n = images;
        f->c.packed_w = weights;
        f->c.x = (const float *)j->g->dy + j->image * c->oc * c->out[0] * c->out[1] * c->out[2];
        f->c.y = to;
        if (f->empty)
            memset(to, 0, (size_t)count * sizeof *to);
        else
            k.run(&f->c, j->s.scratch, pool);
        weights += f->empty ? 0 : aligned(k.pack_w_bytes(&f->c));
        to += count;
    }
}

static void input(const struct mc_conv_grad *g, void *scratch, struct mc_pool *pool)
{
    const struct mc_conv *c = &g->c;
    int64_t plane = c->in[0] * c->in[1] * c->in[2], phases = phases_of(c);
    if (c->n * c->c * plane == 0)
        return;
    struct job j = {.g = g};
    struct mc_conv_kernels k;
    MC_CPU(mc_conv_fill)(&k);
    lay_out(c, mc_pool_threads(pool), scratch, &j.s);
    int64_t images = phases > 1 ? images_of(c) : c->n;
    char *weights = j.s.weights;
    for (int64_t i = 0; i < phases; i++) {
        struct phase *f = &j.s.phases[i];
        *f = phase_of(c, i, images);
        if (f->empty)
            continue;
        pack(g, f, j.s.taps, weights, pool);
        weights += aligned(k.pack_w_bytes(&f->c));
    }
    if (phases == 1) {
        struct mc_conv v = j.s.phases[0].c;
        v.epilogue = c->epilogue;
        v.packed_w = j.s.weights;
        v.x = g->dy;
        v.y = g->dx;
        k.run(&v, j.s.scratch, pool);
        return;
    }
    j.per_chunk = max64(1, CHUNK / plane);
    for (j.image = 0; j.image < c->n; j.image += images) {
        int64_t n = min64(images, c->n - j.image);
        j.planes = n * c->c;
        run_phases(&j, n, pool);
        mc_pool_run(pool, ceil_div(j.planes, j.per_chunk), place_planes, &j);
    }
}

void MC_CPU(mc_conv_dx_fill)(struct mc_conv_grad_kernels *k)
{
    k->input_bytes = input_bytes;
    k->input = input;
}
