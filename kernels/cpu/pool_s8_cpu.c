/* Channels last, a place is a few channels of all its taps side by side. Planes first, the rows of a window become one
 * row, and its columns are taken from that. A maximum flips signed bytes so that they compare as unsigned. */
#include <string.h>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/rows_s8_cpu.h"

enum {
    CHANNELS = 256,       /* at a time */
    COLUMNS = 1024,       /* of a plane's row at a time */
    CHUNK_BYTES = 1 << 15 /* read by one thread at a time */
};

struct job {
    const struct mc_pool_s8 *p;
    int64_t size;             /* places of an image or plane, in */
    int64_t units, per_chunk; /* rows of the output: of an image, or of a plane */
    int32_t x_zero;           /* of x as unsigned */
    struct s8_round round;
};

/* Taps of the window at o along d that lie inside: [*ret_first, the result). */
static int64_t taps_inside(const struct mc_pool_s8 *p, int d, int64_t o, int64_t *ret_first)
{
    int64_t at = o * p->stride[d] - p->pad[d], step = p->dilation[d];
    *ret_first = 0;
    if (at >= 0 && at + (p->kernel[d] - 1) * step < p->in[d])
        return p->kernel[d];
    int64_t first = at < 0 ? ceil_div(-at, step) : 0;
    int64_t last = at < p->in[d] ? (p->in[d] - 1 - at) / step + 1 : 0;
    *ret_first = min64(first, p->kernel[d]);
    return max64(*ret_first, min64(last, p->kernel[d]));
}

/* Taps of an average that count along d. */
static int64_t taps_counted(const struct mc_pool_s8 *p, int d, int64_t o)
{
    int64_t first, last = taps_inside(p, d, o, &first);
    if (!p->count_pad)
        return last - first;
    int64_t at = o * p->stride[d] - p->pad[d], end = p->in[d] + p->end[d];
    return at < end ? min64(p->kernel[d], (end - 1 - at) / p->dilation[d] + 1) : 0;
}

static void larger(int64_t n, const uint8_t *x, uint8_t flip, uint8_t *most)
{
    for (int64_t i = 0; i < n; i++) {
        uint8_t v = x[i] ^ flip;
        most[i] = v > most[i] ? v : most[i];
    }
}

static void sum_up(int64_t n, const uint8_t *x, uint8_t flip, int32_t *sum)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] += (int32_t)(uint8_t)(x[i] ^ flip);
}

/* sum[i] += x[i], x[i + step], … of `taps` places; in registers where there are LANES channels. */
static void sum_places(int64_t n, int64_t taps, const uint8_t *x, int64_t step, uint8_t flip,
                       int32_t *sum)
{
    int64_t ch = 0;
    for (; ch + LANES <= n; ch += LANES) {
        int32_t total[LANES] = {0};
        const uint8_t *from = x + ch;
        for (int64_t t = 0; t < taps; t++, from += step)
            for (int i = 0; i < LANES; i++)
                total[i] += (int32_t)(uint8_t)(from[i] ^ flip);
        for (int i = 0; i < LANES; i++)
            sum[ch + i] += total[i];
    }
    for (int64_t t = 0; t < taps; t++)
        sum_up(n - ch, x + ch + t * step, flip, sum + ch);
}

static void put_sums(const struct job *j, int64_t n, const int32_t *sum, int32_t less, float by,
                     uint8_t *y)
{
    float f[64];
    for (int64_t at = 0; at < n; at += 64) {
        int64_t now = min64(64, n - at);
        for (int64_t i = 0; i < now; i++)
            f[i] = (float)(sum[at + i] - less) * by;
        for (int64_t i = now; i < 64; i++)
            f[i] = 0;
        s8_put_run(&j->round, f, now, y + at);
    }
}

/* One place of one image, channels [ch, ch + n). */
static void place_last(const struct job *j, const uint8_t *x, const int64_t o[3], int64_t ch,
                       int64_t n, uint8_t *y)
{
    const struct mc_pool_s8 *p = j->p;
    int64_t first[3], last[3], k[3], inside = 1, counted = 1;
    uint8_t flip = p->x_signed ? 0x80 : 0, most[CHANNELS];
    int32_t sum[CHANNELS];
    for (int d = 0; d < 3; d++) {
        last[d] = taps_inside(p, d, o[d], &first[d]);
        inside *= last[d] - first[d];
        counted *= taps_counted(p, d, o[d]);
    }
    memset(most, 0, (size_t)n);
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (k[0] = first[0]; k[0] < last[0]; k[0]++)
        for (k[1] = first[1]; k[1] < last[1]; k[1]++) {
            int64_t at = 0, step = p->dilation[2] * p->c, taps = last[2] - first[2];
            k[2] = first[2];
            for (int d = 0; d < 3; d++)
                at = at * p->in[d] + o[d] * p->stride[d] - p->pad[d] + k[d] * p->dilation[d];
            const uint8_t *from = x + at * p->c + ch;
            if (p->average)
                sum_places(n, taps, from, step, flip, sum);
            for (int64_t t = 0; t < taps && !p->average; t++)
                larger(n, from + t * step, flip, most);
        }
    if (p->average) {
        int32_t less = (int32_t)inside * j->x_zero;
        put_sums(j, n, sum, less, p->scale / (float)max64(counted, 1), y);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        y[i] = most[i] ^ flip;
}

static void rows_last(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_pool_s8 *p = j->p;
    int64_t o[3], end = min64((chunk + 1) * j->per_chunk, j->units);
    for (int64_t row = chunk * j->per_chunk; row < end; row++) {
        int64_t image = row / (p->out[0] * p->out[1]);
        const uint8_t *x = (const uint8_t *)p->x + image * j->size * p->c;
        uint8_t *y = (uint8_t *)p->y + row * p->out[2] * p->c;
        o[0] = row / p->out[1] % p->out[0];
        o[1] = row % p->out[1];
        for (o[2] = 0; o[2] < p->out[2]; o[2]++, y += p->c)
            for (int64_t ch = 0; ch < p->c; ch += CHANNELS)
                place_last(j, x, o, ch, min64(CHANNELS, p->c - ch), y + ch);
    }
}

/* ---- planes first ---- */

/* The rows of a window as one: maxima or sums of columns [from, from + n) of a plane. */
static void merge_rows(const struct job *j, const uint8_t *x, const int64_t o[3], int64_t from,
                       int64_t n, uint8_t *most, int32_t *sum)
{
    const struct mc_pool_s8 *p = j->p;
    int64_t first[2], last[2];
    uint8_t flip = p->x_signed ? 0x80 : 0;
    for (int d = 0; d < 2; d++)
        last[d] = taps_inside(p, d, o[d], &first[d]);
    memset(most, 0, (size_t)n);
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int64_t k0 = first[0]; k0 < last[0]; k0++)
        for (int64_t k1 = first[1]; k1 < last[1]; k1++) {
            int64_t i0 = o[0] * p->stride[0] - p->pad[0] + k0 * p->dilation[0];
            int64_t i1 = o[1] * p->stride[1] - p->pad[1] + k1 * p->dilation[1];
            const uint8_t *row = x + (i0 * p->in[1] + i1) * p->in[2] + from;
            if (p->average)
                sum_up(n, row, flip, sum);
            else
                larger(n, row, flip, most);
        }
}

/* One place from merged columns, the first of which is `from`. rows: taps of the other dimensions that lie inside, and
 * that count. */
static void place_edge(const struct job *j, int64_t o, int64_t from, const int64_t rows[2],
                       const uint8_t *most, const int32_t *sum, uint8_t *y)
{
    const struct mc_pool_s8 *p = j->p;
    int64_t at = o * p->stride[2] - p->pad[2] - from, first, last = taps_inside(p, 2, o, &first);
    uint8_t flip = p->x_signed ? 0x80 : 0, v = 0;
    int32_t total = 0, less = (int32_t)(rows[0] * (last - first)) * j->x_zero;
    for (int64_t k = first; k < last; k++) {
        v = most[at + k * p->dilation[2]] > v ? most[at + k * p->dilation[2]] : v;
        total += sum[at + k * p->dilation[2]];
    }
    *y = v ^ flip;
    int64_t counted = max64(rows[1] * taps_counted(p, 2, o), 1);
    if (p->average)
        put_sums(j, 1, &total, less, p->scale / (float)counted, y);
}

/* Places [o, o + n) whose windows lie inside along the row. */
static void place_inside(const struct job *j, int64_t o, int64_t n, int64_t from,
                         const int64_t rows[2], const uint8_t *most, const int32_t *sum, uint8_t *y)
{
    const struct mc_pool_s8 *p = j->p;
    int64_t at = o * p->stride[2] - p->pad[2] - from, stride = p->stride[2];
    uint8_t v[COLUMNS];
    int32_t total[COLUMNS];
    memset(v, 0, (size_t)n);
    memset(total, 0, (size_t)n * sizeof *total);
    for (int64_t k = 0; k < p->kernel[2]; k++, at += p->dilation[2]) {
        for (int64_t i = 0; !p->average && i < n; i++)
            v[i] = most[at + i * stride] > v[i] ? most[at + i * stride] : v[i];
        for (int64_t i = 0; p->average && i < n; i++)
            total[i] += sum[at + i * stride];
    }
    uint8_t flip = p->x_signed ? 0x80 : 0;
    for (int64_t i = 0; !p->average && i < n; i++)
        y[i] = v[i] ^ flip;
    int32_t less = (int32_t)(rows[0] * p->kernel[2]) * j->x_zero;
    int64_t counted = max64(rows[1] * p->kernel[2], 1);
    if (p->average)
        put_sums(j, n, total, less, p->scale / (float)counted, y);
}

/* Places [o2, o2 + n) of an output row. */
static void place_row(const struct job *j, const int64_t o[3], int64_t o2, int64_t n, int64_t from,
                      const uint8_t *most, const int32_t *sum, uint8_t *y)
{
    const struct mc_pool_s8 *p = j->p;
    int64_t rows[2] = {1, 1}, reach = (p->kernel[2] - 1) * p->dilation[2];
    for (int d = 0; d < 2; d++) {
        int64_t first, last = taps_inside(p, d, o[d], &first);
        rows[0] *= last - first;
        rows[1] *= taps_counted(p, d, o[d]);
    }
    int64_t first = max64(o2, ceil_div(p->pad[2], p->stride[2]));
    int64_t room = p->in[2] + p->pad[2] - reach - 1; /* of the last window that lies inside */
    int64_t last = room < 0 ? 0 : min64(o2 + n, room / p->stride[2] + 1);
    first = min64(first, o2 + n);
    last = max64(first, last);
    for (int64_t o1 = o2; o1 < first; o1++)
        place_edge(j, o1, from, rows, most, sum, y + o1 - o2);
    place_inside(j, first, last - first, from, rows, most, sum, y + first - o2);
    for (int64_t o1 = last; o1 < o2 + n; o1++)
        place_edge(j, o1, from, rows, most, sum, y + o1 - o2);
}

static void rows_first(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_pool_s8 *p = j->p;
    uint8_t most[COLUMNS];
    int32_t sum[COLUMNS];
    int64_t reach = (p->kernel[2] - 1) * p->dilation[2] + 1; /* of a window */
    int64_t step = reach < COLUMNS ? (COLUMNS - reach) / p->stride[2] + 1 : 1;
    int64_t end = min64((chunk + 1) * j->per_chunk, j->units);
    for (int64_t row = chunk * j->per_chunk; row < end; row++) {
        int64_t plane = row / (p->out[0] * p->out[1]);
        const uint8_t *x = (const uint8_t *)p->x + plane * j->size;
        uint8_t *y = (uint8_t *)p->y + row * p->out[2];
        int64_t o[3] = {row / p->out[1] % p->out[0], row % p->out[1], 0};
        for (int64_t o2 = 0; o2 < p->out[2]; o2 += step) {
            int64_t n = min64(step, p->out[2] - o2);
            int64_t from = max64(0, o2 * p->stride[2] - p->pad[2]);
            int64_t to = min64(p->in[2], (o2 + n - 1) * p->stride[2] - p->pad[2] + reach);
            merge_rows(j, x, o, from, max64(0, to - from), most, sum);
            place_row(j, o, o2, n, from, most, sum, y + o2);
        }
    }
}

/* Each plane is one window. */
static void planes(void *ctx, int64_t chunk, int worker)
{
    (void)worker;
    const struct job *j = ctx;
    const struct mc_pool_s8 *p = j->p;
    uint8_t flip = p->x_signed ? 0x80 : 0;
    int32_t sum[64], less = (int32_t)j->size * j->x_zero;
    int64_t end = min64((chunk + 1) * j->per_chunk, j->units), n;
    for (int64_t plane = chunk * j->per_chunk; plane < end; plane += n) {
        n = min64(64, end - plane);
        const uint8_t *x = (const uint8_t *)p->x + plane * j->size;
        for (int64_t i = 0; i < n; i++, x += j->size) {
            uint32_t total = 0;
            for (int64_t at = 0; at < j->size; at++)
                total += (uint8_t)(x[at] ^ flip);
            sum[i] = (int32_t)total;
        }
        put_sums(j, n, sum, less, p->scale / (float)j->size, (uint8_t *)p->y + plane);
    }
}

static bool whole_planes(const struct mc_pool_s8 *p)
{
    bool whole = p->average && p->layout == MC_S8_NCHW;
    for (int d = 0; d < 3; d++)
        whole &= p->kernel[d] == p->in[d] && p->out[d] == 1 && p->pad[d] == 0 && p->end[d] == 0 &&
                 p->dilation[d] == 1;
    return whole;
}

void MC_CPU(mc_s8_pool)(const struct mc_pool_s8 *given, struct mc_pool *pool)
{
    struct mc_pool_s8 p = *given;
    int64_t reach = (p.kernel[2] - 1) * p.dilation[2] + 1;
    bool last = p.layout == MC_S8_NHWC;
    if (!last) {
        p.n *= p.c;
        p.c = 1;
        last = reach > COLUMNS / 2; /* too wide to be merged */
    }
    struct job j = {.p = &p,
                    .size = p.in[0] * p.in[1] * p.in[2],
                    .units = p.n * p.out[0] * p.out[1],
                    .x_zero = p.x_zero + (p.x_signed ? 128 : 0),
                    .round = s8_round_of(p.zero, p.lo, p.hi)};
    int64_t read = p.out[2] * p.c * p.kernel[0] * p.kernel[1] * p.kernel[2];
    j.per_chunk = max64(1, CHUNK_BYTES / max64(read, 1));
    mc_pool_run(pool, ceil_div(j.units, j.per_chunk),
                whole_planes(&p) ? planes
                : last           ? rows_last
                                 : rows_first,
                &j);
}
