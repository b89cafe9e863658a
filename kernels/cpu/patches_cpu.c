/* The columns of all panels are cut once into pieces: neighbours in one row of outputs and in one vector of a
 * panel. Per tap each piece becomes a masked load (lanes in the padding stay 0), the same for every channel;
 * the pieces of a vector are merged and stored whole. Channels are the outer loop, so that x is read in
 * long stretches. */
#include <assert.h>
#include <stdbool.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_cpu.h"
#include "kernels/cpu/row.h"

struct piece {
    int64_t to;      /* its vector in a row of panels: panel * kc * PANEL + column */
    int64_t image;   /* the image's first element, counted from the group's first in image 0 */
    int64_t z, y, x; /* of the input of lane 0, for the first tap: o * stride - pad */
    int lane, count; /* lanes it fills */
    bool last;       /* of its vector */
};

struct move {
    int64_t from, to;
    vm load, load_high; /* load_high: of the second vector, at stride 2 */
    bool last;
    int64_t lo, hi; /* what may be read, counted from `from` */
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
        int64_t lane = at % LANES;
        int64_t count = min64(min64(LANES - lane, out[2] - o[2]), p->columns - at);
        assert(n < MOST);
        piece[n++] = (struct piece){
            .to = at / PANEL * PANEL * p->kc + at % PANEL - lane,
            .image = image,
            .z = o[0] * c->stride[0] - c->pad[0],
            .y = o[1] * c->stride[1] - c->pad[1],
            .x = (o[2] - lane) * c->stride[2] - c->pad[2],
            .lane = (int)lane,
            .count = (int)count,
            .last = lane + count == LANES || at + count == p->columns,
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
    int64_t z = piece->z + d[0], y = piece->y + d[1], x = piece->x + d[2], step = c->stride[2];
    bool inside = z >= 0 && z < c->in[0] && y >= 0 && y < c->in[1];
    int64_t lo = max64(-x, piece->lane * step);
    int64_t hi = min64(c->in[2] - x, (piece->lane + piece->count - 1) * step + 1);
    hi = inside ? hi : lo;
    return (struct move){
        .from = piece->image + (z * c->in[1] + y) * c->in[2] + x,
        .to = piece->to,
        .load = vm_range(lo, hi),
        .load_high = step == 2 ? vm_range(lo - LANES, hi - LANES) : vm_first(0),
        .last = piece->last,
        .lo = lo,
        .hi = hi,
    };
}

/* The moves of one tap at stride 1: a vector's first two side by side, the others, which only narrow images
 * need, afterwards. */
struct pair {
    int64_t to, from[2];
    vm load[2];
};

struct pairs {
    int pairs, others;
    struct pair pair[MOST];
    struct move other[MOST];
};

static void pair_up(const struct move *move, int n, struct pairs *ret)
{
    ret->pairs = ret->others = 0;
    for (int i = 0; i < n;) {
        bool two = !move[i].last;
        const struct move *a = &move[i], *b = &move[i + two];
        vm none = vm_first(0);
        ret->pair[ret->pairs++] =
            (struct pair){a->to, {a->from, b->from}, {a->load, two ? b->load : none}};
        i += 1 + two;
        for (; !move[i - 1].last; i++)
            ret->other[ret->others++] = move[i];
    }
}

/* One channel's row of all panels. */
static void make_row(const struct pairs *p, const float *x, float *dst)
{
    for (int i = 0; i < p->pairs; i++) {
        const struct pair *m = &p->pair[i];
        vf v = vf_load_mask(x + m->from[0], m->load[0]);
        vf_store(dst + m->to, vf_load_more(v, x + m->from[1], m->load[1]));
    }
    for (int i = 0; i < p->others; i++) {
        float *to = dst + p->other[i].to;
        vf_store(to, vf_load_more(vf_load(to), x + p->other[i].from, p->other[i].load));
    }
}

static void make_row_step(const struct move *move, int n, int64_t step, const float *x, float *dst)
{
    vf v = vf_set1(0);
    for (int i = 0; i < n; i++) {
        const float *from = x + move[i].from;
        if (step == 2)
            v = vf_or(v, vf_even(vf_load_mask(from, move[i].load),
                                 vf_load_mask(from + LANES, move[i].load_high)));
        else
            v = vf_or(v, load_row(from, step, move[i].lo, move[i].hi));
        if (move[i].last) {
            vf_store(dst + move[i].to, v);
            v = vf_set1(0);
        }
    }
}

void MC_CPU(mc_patches_gather)(const struct mc_patches *p)
{
    const struct mc_conv *c = p->c;
    const int64_t *kernel = c->kernel;
    int64_t channels = c->c / c->group, plane = c->in[0] * c->in[1] * c->in[2];
    struct piece piece[MOST];
    struct move move[MOST];
    struct pairs pairs;
    pairs.pairs = pairs.others = 0;
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
        if (c->stride[2] == 1)
            pair_up(move, n, &pairs);
        for (int64_t i = first; i < first + count; i++, k++) {
            const float *x = p->x + i * plane;
            float *dst = p->dst + (k - p->k0) * PANEL;
            if (c->stride[2] == 1)
                make_row(&pairs, x, dst);
            else
                make_row_step(move, n, c->stride[2], x, dst);
        }
    }
}
