/* The columns of all panels are cut once into pieces: at most a vector of outputs in one row. Per tap each
 * piece becomes a masked load and a masked store (lanes in the padding read as 0), the same for every
 * channel. Channels are the outer loop, so that x is read in long stretches. */
#include <assert.h>
#include <stdbool.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_cpu.h"
#include "kernels/cpu/row.h"

struct piece {
    int64_t to;      /* in a row of panels: panel * kc * PANEL + column */
    int64_t image;   /* its first element, counted from the group's first in image 0 */
    int64_t z, y, x; /* of the first output: o * stride - pad */
    int count;
};

struct move {
    int64_t from, to;
    vm load, load_high, store; /* load_high: of the second vector, at stride 2 */
    int64_t first, width;      /* column at from; columns of the row, 0 if it is padding */
};

enum { MOST = CHUNK_PANELS * PANEL };

static int cut(const struct mc_patches *p, struct piece piece[MOST])
{
    const struct mc_conv *c = p->c;
    const int64_t *out = c->out;
    int64_t row = p->column / out[2]; /* through all images */
    int64_t o[3] = {row / out[1] % out[0], row % out[1], p->column % out[2]};
    int64_t size = c->c * c->in[0] * c->in[1] * c->in[2];
    int64_t image = row / (out[0] * out[1]) * size;
    int n = 0;
    for (int64_t at = 0; at < p->columns;) {
        int64_t count =
            min64(min64(LANES, out[2] - o[2]), min64(p->columns, at / PANEL * PANEL + PANEL) - at);
        assert(n < MOST);
        piece[n++] = (struct piece){
            .to = at / PANEL * PANEL * p->kc + at % PANEL,
            .image = image,
            .z = o[0] * c->stride[0] - c->pad[0],
            .y = o[1] * c->stride[1] - c->pad[1],
            .x = o[2] * c->stride[2] - c->pad[2],
            .count = (int)count,
        };
        at += count;
        o[2] += count;
        for (int i = 2; i > 0 && o[i] == out[i]; i--) {
            o[i] = 0;
            o[i - 1]++;
        }
        if (o[0] == out[0]) {
            o[0] = 0;
            image += size;
        }
    }
    return n;
}

/* The piece seen through the tap at offset d. */
static struct move move_for(const struct mc_conv *c, const struct piece *piece, const int64_t d[3])
{
    int64_t z = piece->z + d[0], y = piece->y + d[1], x = piece->x + d[2];
    bool inside = z >= 0 && z < c->in[0] && y >= 0 && y < c->in[1];
    int64_t span = (piece->count - 1) * c->stride[2] + 1; /* columns of x from first to last */
    int64_t lo = -x, hi = inside ? min64(c->in[2] - x, span) : 0;
    return (struct move){
        .from = piece->image + (z * c->in[1] + y) * c->in[2] + x,
        .to = piece->to,
        .load = vm_range(lo, hi),
        .load_high = vm_range(lo - LANES, hi - LANES),
        .store = vm_first(piece->count),
        .first = x,
        .width = inside ? c->in[2] : 0,
    };
}

/* One channel's row of all panels. */
static void make_row(const struct move *move, int n, int64_t step, const float *x, float *dst)
{
    if (step == 1) {
        for (int i = 0; i < n; i++)
            vf_store_mask(dst + move[i].to, vf_load_mask(x + move[i].from, move[i].load),
                          move[i].store);
        return;
    }
    for (int i = 0; i < n; i++) {
        const struct move *m = &move[i];
        const float *from = x + m->from;
        vf v = step == 2
                   ? vf_even(vf_load_mask(from, m->load), vf_load_mask(from + LANES, m->load_high))
                   : load_row(from - m->first, m->first, step, m->width);
        vf_store_mask(dst + m->to, v, m->store);
    }
}

void MC_CPU(mc_patches_gather)(const struct mc_patches *p)
{
    const struct mc_conv *c = p->c;
    const int64_t *kernel = c->kernel;
    int64_t channels = c->c / c->group, plane = c->in[0] * c->in[1] * c->in[2];
    struct piece piece[MOST];
    struct move move[MOST];
    int n = cut(p, piece);
    for (int64_t k = p->k0; k < p->k0 + p->kc;) {
        int64_t tap = k / channels, first = k % channels;
        int64_t count = min64(channels - first, p->k0 + p->kc - k);
        int64_t d[3] = {tap / (kernel[1] * kernel[2]), tap / kernel[2] % kernel[1],
                        tap % kernel[2]};
        for (int i = 0; i < 3; i++)
            d[i] *= c->dilation[i];
        for (int i = 0; i < n; i++)
            move[i] = move_for(c, &piece[i], d);
        for (int64_t i = first; i < first + count; i++, k++)
            make_row(move, n, c->stride[2], p->x + i * plane, p->dst + (k - p->k0) * PANEL);
    }
}
