/* Per tap, a row of the panel is described once, as pieces of at most a vector; the rows of all channels are
 * then copied piece by piece, so that the search for borders is paid once per tap and panel. */
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/conv_cpu.h"

struct piece {
    int at, count; /* columns */
    int64_t from;  /* of the first column's element, counted from the channel's start; -1: zeros */
};

struct pieces {
    int n;
    struct piece piece[PANEL];
};

static void add(struct pieces *list, int64_t at, int64_t count, int64_t from, int64_t step)
{
    for (int64_t i = 0; i < count; i += LANES)
        list->piece[list->n++] = (struct piece){(int)(at + i), (int)min64(LANES, count - i),
                                                from < 0 ? -1 : from + i * step};
}

/* `count` outputs of one row, from o[2] on, seen through the tap at offset d. */
static void add_run(struct pieces *list, const struct mc_conv *c, int64_t at, int64_t count,
                    int64_t image, const int64_t o[3], const int64_t d[3])
{
    int64_t z = o[0] * c->stride[0] + d[0], y = o[1] * c->stride[1] + d[1];
    int64_t x = o[2] * c->stride[2] + d[2], step = c->stride[2];
    if (z < 0 || z >= c->in[0] || y < 0 || y >= c->in[1]) {
        add(list, at, count, -1, 0);
        return;
    }
    int64_t before = x < 0 ? min64(count, ceil_div(-x, step)) : 0;
    int64_t end = x < c->in[2] ? min64(count, ceil_div(c->in[2] - x, step)) : 0;
    end = max64(end, before);
    int64_t from = ((image * c->c * c->in[0] + z) * c->in[1] + y) * c->in[2] + x;
    add(list, at, before, -1, 0);
    add(list, at + before, end - before, from + before * step, step);
    add(list, at + end, count - end, -1, 0);
}

static void describe(struct pieces *list, const struct mc_patches *p, int64_t tap)
{
    const struct mc_conv *c = p->c;
    const int64_t *k = c->kernel, *out = c->out;
    int64_t d[3] = {tap / (k[1] * k[2]), tap / k[2] % k[1], tap % k[2]};
    for (int i = 0; i < 3; i++)
        d[i] = d[i] * c->dilation[i] - c->pad[i];
    int64_t row = p->column / out[2]; /* through all images */
    int64_t o[3] = {row / out[1] % out[0], row % out[1], p->column % out[2]};
    int64_t image = row / (out[0] * out[1]);
    list->n = 0;
    for (int64_t at = 0; at < p->cols;) {
        int64_t count = min64(out[2] - o[2], p->cols - at);
        add_run(list, c, at, count, image, o, d);
        at += count;
        o[2] = 0;
        if (++o[1] == out[1]) {
            o[1] = 0;
            if (++o[0] == out[0]) {
                o[0] = 0;
                image++;
            }
        }
    }
    add(list, p->cols, PANEL - p->cols, -1, 0);
}

static vf even(vf a, vf b)
{
#if MC_LEVEL == 5
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
#elif MC_LEVEL == 2
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
#else
    return __builtin_shufflevector(a, b, 0, 2, 4, 6);
#endif
}

/* One piece in the rows of `channels` channels, `plane` elements apart. */
static void copy(const struct piece *piece, const float *x, int64_t channels, int64_t plane,
                 int64_t step, float *dst)
{
    vm to = vm_first(piece->count);
    dst += piece->at;
    if (piece->from < 0) {
        for (int64_t i = 0; i < channels; i++)
            vf_store_mask(dst + i * PANEL, vf_set1(0), to);
        return;
    }
    x += piece->from;
    if (step == 1) {
        for (int64_t i = 0; i < channels; i++)
            vf_store_mask(dst + i * PANEL, vf_load_mask(x + i * plane, to), to);
    } else if (step == 2) {
        int64_t span = 2 * piece->count - 1;
        vm low = vm_first(span), high = vm_first(max64(0, span - LANES));
        for (int64_t i = 0; i < channels; i++, x += plane) {
            vf a = vf_load_mask(x, low), b = vf_load_mask(x + LANES, high);
            vf_store_mask(dst + i * PANEL, even(a, b), to);
        }
    } else {
        for (int64_t i = 0; i < channels; i++, x += plane) {
            for (int j = 0; j < piece->count; j++)
                dst[i * PANEL + j] = x[j * step];
        }
    }
}

void MC_CPU(mc_patches_gather)(const struct mc_patches *p)
{
    const struct mc_conv *c = p->c;
    int64_t channels = c->c / c->group, plane = c->in[0] * c->in[1] * c->in[2];
    for (int64_t k = p->k0; k < p->k0 + p->kc;) {
        int64_t tap = k / channels, first = k % channels;
        int64_t count = min64(channels - first, p->k0 + p->kc - k);
        struct pieces list;
        describe(&list, p, tap);
        for (int i = 0; i < list.n; i++)
            copy(&list.piece[i], p->x + first * plane, count, plane, c->stride[2],
                 p->dst + (k - p->k0) * PANEL);
        k += count;
    }
}
