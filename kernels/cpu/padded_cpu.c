/* Copies of input planes in which a convolution's taps read whole vectors. */
#include <stdbool.h>
#include <string.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_cpu.h"
#include "kernels/cpu/row.h"

/* Taps k and k + period have the same remainder. */
static int64_t period(const struct mc_conv *c, int d)
{
    return c->stride[d] / gcd(c->stride[d], c->dilation[d]);
}

/* Width of a row whose padding on the right is the next row's on the left; 0 if it cannot be shared. */
static int64_t shared_width(const struct mc_conv *c, int64_t count)
{
    int64_t span = (c->kernel[2] - 1) * c->dilation[2], left = c->pad[2];
    int64_t right = max64(0, count + span - left - c->in[2]);
    bool whole = c->stride[2] == 1 && count == c->out[2] && min64(left, right) <= span;
    return whole ? c->in[2] + max64(left, right) : 0;
}

struct mc_padded MC_CPU(mc_padded_of)(const struct mc_conv *c, int64_t images,
                                      const int64_t count[3])
{
    struct mc_padded p = {.images = images};
    int64_t phases = 1;
    for (int d = 0; d < 3; d++) {
        p.phases[d] = min64(c->kernel[d], period(c, d));
        p.size[d] = count[d] + (c->kernel[d] - 1) * c->dilation[d] / c->stride[d];
        phases *= p.phases[d];
    }
    int64_t shared = shared_width(c, count[2]);
    p.shared_pad = shared > 0 && shared < p.size[2];
    if (p.shared_pad)
        p.size[2] = shared;
    p.loads = ceil_div(p.size[2], LANES);
    /* Slack for the last vectors read and written; an odd number of lines, lest channels meet in one set
     * of the cache. */
    int64_t floats =
        phases * p.size[0] * p.size[1] * images * p.size[2] + max64(0, c->pad[2]) + 2 * LANES;
    p.plane = (ceil_div(floats, 16) | 1) * 16;
    return p;
}

int64_t MC_CPU(mc_padded_offset)(const struct mc_conv *c, const struct mc_padded *p, int64_t tap)
{
    int64_t k[3] = {tap / (c->kernel[1] * c->kernel[2]), tap / c->kernel[2] % c->kernel[1],
                    tap % c->kernel[2]};
    int64_t phase = 0, at[3];
    for (int d = 0; d < 3; d++) {
        phase = phase * p->phases[d] + k[d] % period(c, d);
        at[d] = k[d] * c->dilation[d] / c->stride[d];
    }
    int64_t row = (phase * p->size[0] + at[0]) * p->size[1] + at[1];
    return row * p->images * p->size[2] + at[2];
}

void MC_CPU(mc_padded_rows)(const struct mc_conv *c, struct mc_padded *p, const struct mc_block *b,
                            struct mc_padded_load *loads)
{
    int64_t step = c->stride[2], width = c->in[2], shift0 = b->first[2] * step - c->pad[2];
    p->full[0] = ceil_div(max64(0, -shift0), LANES);
    p->full[1] = max64(0, min64(width - shift0, p->size[2])) / LANES;
    for (int64_t i = 0; i < p->phases[2]; i++) {
        int64_t shift = i * c->dilation[2] % step + shift0;
        for (int64_t q = 0; q < p->size[2]; q += LANES) {
            int64_t first = q * step + shift;
            int64_t end = min64(width, first + (p->size[2] - q - 1) * step + 1);
            *loads++ = (struct mc_padded_load){
                .first = first,
                .low = vm_range(-first, end - first),
                .high = vm_range(-first - LANES, end - first - LANES),
            };
        }
    }
}

/* The vector of a row at column first + i * LANES * step. */
static inline __attribute__((always_inline)) vf load_columns(int64_t step, const float *x,
                                                             const struct mc_padded_load *load,
                                                             int64_t width)
{
    const float *from = x + load->first;
    if (step == 1)
        return vf_load_mask(from, load->low);
    if (step == 2)
        return vf_even(vf_load_mask(from, load->low), vf_load_mask(from + LANES, load->high));
    return load_row(from, step, -load->first, width - load->first);
}

/* The rows of one phase. Whole vectors are written: a row's last may reach into the next row, which is made
 * later. step is a constant where this is inlined, or any above 2. */
static inline __attribute__((always_inline)) float *fill_phase(const struct mc_conv *c,
                                                               const struct mc_padded *p,
                                                               const struct mc_block *b,
                                                               const int64_t phase[3], int64_t step,
                                                               const struct mc_padded_load *loads,
                                                               const float *x, float *to)
{
    int64_t image = c->c * c->in[0] * c->in[1] * c->in[2], start[2], n = p->loads;
    int64_t width = c->in[2], images = p->images, size = p->size[2];
    for (int d = 0; d < 2; d++)
        start[d] =
            b->first[d] * c->stride[d] + phase[d] * c->dilation[d] % c->stride[d] - c->pad[d];
    for (int64_t z = 0; z < p->size[0]; z++) {
        int64_t iz = start[0] + z * c->stride[0];
        for (int64_t y = 0; y < p->size[1]; y++) {
            int64_t iy = start[1] + y * c->stride[1];
            const float *row = x + (iz * c->in[1] + iy) * width;
            if (iz < 0 || iz >= c->in[0] || iy < 0 || iy >= c->in[1]) {
                memset(to, 0, (size_t)(images * size) * sizeof *to);
                to += images * size;
                continue;
            }
            for (int64_t i = 0; i < images; i++, to += size, row += image) {
                int64_t v = 0;
                for (; v < p->full[0]; v++)
                    vf_store(to + v * LANES, load_columns(step, row, &loads[v], width));
                for (; step == 1 && v < p->full[1]; v++)
                    vf_store(to + v * LANES, vf_load(row + loads[0].first + v * LANES));
                for (; v < n; v++)
                    vf_store(to + v * LANES, load_columns(step, row, &loads[v], width));
            }
        }
    }
    return to;
}

void MC_CPU(mc_padded_fill)(const struct mc_conv *c, const struct mc_padded *p,
                            const struct mc_block *b, const struct mc_padded_load *loads,
                            const float *x, int64_t channels, float *to)
{
    int64_t plane = c->in[0] * c->in[1] * c->in[2], phase[3], step = c->stride[2];
    for (int64_t j = 0; j < channels; j++, x += plane) {
        float *end = to + p->plane;
        for (phase[0] = 0; phase[0] < p->phases[0]; phase[0]++)
            for (phase[1] = 0; phase[1] < p->phases[1]; phase[1]++)
                for (phase[2] = 0; phase[2] < p->phases[2]; phase[2]++) {
                    const struct mc_padded_load *l = loads + phase[2] * p->loads;
                    if (step == 1)
                        to = fill_phase(c, p, b, phase, 1, l, x, to);
                    else if (step == 2)
                        to = fill_phase(c, p, b, phase, 2, l, x, to);
                    else
                        to = fill_phase(c, p, b, phase, step, l, x, to);
                }
        memset(to, 0, (size_t)(end - to) * sizeof *to);
        to = end;
    }
}
