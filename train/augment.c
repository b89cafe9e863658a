#include "train/augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "train/mixup.h"

/* ---- words ---- */

static const struct word {
    const char *name;
    double preset, min, max;
    bool whole; /* pixels */
} words[] = {
    {"flip", 0.5, 0, 1, false},   {"shift", 2, 1, 4096, true},    {"crop", 4, 1, 4096, true},
    {"cutout", 8, 1, 4096, true}, {"noise", 0.05, 0, 1e6, false}, {"mixup", 0.2, 0.01, 100, false},
};
enum { N_WORDS = sizeof words / sizeof *words };

static void set(struct mc_augment *a, int word, double v)
{
    switch (word) {
    case 0: a->flip = v; break;
    case 1: a->shift = (int)v; break;
    case 2: a->crop = (int)v; break;
    case 3: a->cutout = (int)v; break;
    case 4: a->noise = v; break;
    case 5: a->mixup = v; break;
    }
}

/* One word, text[0..n). */
static int parse_word(const char *text, size_t n, struct mc_augment *ret, struct mc_err *err)
{
    size_t name = strcspn(text, "=,");
    int k = 0;
    while (k < N_WORDS && (strlen(words[k].name) != name || memcmp(words[k].name, text, name)))
        k++;
    if (k == N_WORDS)
        return mc_fail(err, MC_EUSAGE,
                       "augment: '%.*s' is none of flip, shift=N, crop=N, cutout=N, noise=S, "
                       "mixup=A",
                       (int)n, text);
    const struct word *w = &words[k];
    double v = w->preset;
    if (name < n) {
        char *end;
        v = strtod(text + name + 1, &end);
        if (end != text + n || end == text + name + 1 || !(v >= w->min && v <= w->max) ||
            (w->whole && v != floor(v)))
            return mc_fail(err, MC_EUSAGE, "augment: '%.*s': %s takes a %s from %g to %g", (int)n,
                           text, w->name, w->whole ? "whole number of pixels" : "number", w->min,
                           w->max);
    }
    set(ret, k, v);
    return 0;
}

int mc_augment_parse(const char *text, struct mc_augment *ret, struct mc_err *err)
{
    struct mc_augment a = {0};
    int rc = 0;
    for (const char *p = text; p && !rc; p = *p ? p + 1 : NULL) {
        size_t n = strcspn(p, ",");
        rc = parse_word(p, n, &a, err);
        p += n;
    }
    if (!rc)
        *ret = a;
    return rc;
}

bool mc_augment_any(const struct mc_augment *a)
{
    return a->flip > 0 || a->noise > 0 || a->mixup > 0 || a->shift || a->crop || a->cutout;
}

static bool moves(const struct mc_augment *a)
{
    return a->flip > 0 || a->shift || a->crop;
}

/* ---- pictures ---- */

struct view { /* of a picture in a sample; strides in elements */
    int64_t c, h, w;
    int64_t by_c, by_y, by_x;
};

static bool is_float(const struct mc_array *a)
{
    return a->dtype == MC_DTYPE_F32 || a->dtype == MC_DTYPE_F64;
}

/* What of an input is a picture; false if it is none. */
static bool view_of(const struct mc_array *a, struct view *ret)
{
    enum { CHANNELS = 4, SIDE = 4 }; /* as augment.h says; a square has sides of at least SIDE */
    const int64_t *d = a->shape.dim;
    if (mc_array_is_list(a) || (!is_float(a) && a->dtype != MC_DTYPE_U8))
        return false;
    struct view v = {0};
    switch (a->shape.rank) {
    case 2: {
        int64_t side = (int64_t)llround(sqrt((double)d[1]));
        if (side < SIDE || side * side != d[1])
            return false;
        v = (struct view){1, side, side, d[1], side, 1};
        break;
    }
    case 3: v = (struct view){1, d[1], d[2], d[1] * d[2], d[2], 1}; break;
    case 4:
        if (d[3] <= CHANNELS && d[1] > CHANNELS)
            v = (struct view){d[3], d[1], d[2], 1, d[2] * d[3], d[3]};
        else
            v = (struct view){d[1], d[2], d[3], d[2] * d[3], d[3], 1};
        break;
    default: return false;
    }
    *ret = v;
    return v.c > 0 && v.h > 0 && v.w > 0;
}

int mc_augment_check(const struct mc_augment *a, const struct mc_batch *b, struct mc_err *err)
{
    bool picture = false, real = false;
    struct view v;
    for (int i = 0; i < b->n_arrays; i++) {
        picture = picture || view_of(&b->arrays[i], &v);
        real = real || is_float(&b->arrays[i]);
    }
    char text[MC_ARRAY_TEXT] = "nothing";
    if (b->n_arrays)
        mc_array_text(&b->arrays[0], text);
    if ((moves(a) || a->cutout) && !picture)
        return mc_fail(err, MC_ESHAPE,
                       "augment: %s is for pictures, and no input is one ([n,h,w], [n,c,h,w], "
                       "[n,h,w,c] or [n,k*k]): '%s' is %s",
                       a->flip > 0 ? "flip"
                       : a->shift  ? "shift"
                       : a->crop   ? "crop"
                                   : "cutout",
                       b->n_arrays ? b->arrays[0].name : "?", text);
    if ((a->noise > 0 || a->mixup > 0) && !real)
        return mc_fail(err, MC_EDTYPE,
                       "augment: %s changes numbers, and no input has float ones: "
                       "'%s' is %s",
                       a->noise > 0 ? "noise" : "mixup", b->n_arrays ? b->arrays[0].name : "?",
                       text);
    return 0;
}

static double load(enum mc_dtype t, const void *p, int64_t i)
{
    return t == MC_DTYPE_F32   ? ((const float *)p)[i]
           : t == MC_DTYPE_F64 ? ((const double *)p)[i]
                               : ((const uint8_t *)p)[i];
}

static void store(enum mc_dtype t, void *p, int64_t i, double x)
{
    if (t == MC_DTYPE_F32)
        ((float *)p)[i] = (float)x;
    else if (t == MC_DTYPE_F64)
        ((double *)p)[i] = x;
    else
        ((uint8_t *)p)[i] = (uint8_t)lrint(x);
}

/* Least value, and mean, of a channel. */
static void measure(const struct view *v, enum mc_dtype t, const void *plane, double *ret_least,
                    double *ret_mean)
{
    double least = INFINITY, sum = 0;
    for (int64_t y = 0; y < v->h; y++)
        for (int64_t x = 0; x < v->w; x++) {
            double z = load(t, plane, y * v->by_y + x * v->by_x);
            least = z < least ? z : least;
            sum += z;
        }
    *ret_least = least;
    *ret_mean = sum / (double)(v->h * v->w);
}

/* ---- movement: where each row and column comes from ---- */

static int64_t scale(uint32_t word, int64_t n)
{
    return (int64_t)(((uint64_t)word * (uint64_t)n) >> 32);
}

/* i, mirrored at 0 and n - 1 until it lies between. */
static int64_t mirror(int64_t i, int64_t n)
{
    int64_t period = n > 1 ? 2 * n - 2 : 1;
    i %= period;
    if (i < 0)
        i += period;
    return i < n ? i : period - i;
}

/* from[] moved by d; -1 is black. */
static void translate(int64_t *from, int64_t n, int64_t d, bool mirrored, int64_t *scratch)
{
    memcpy(scratch, from, (size_t)n * sizeof *from);
    for (int64_t i = 0; i < n; i++) {
        int64_t k = mirrored ? mirror(i - d, n) : i - d;
        from[i] = k >= 0 && k < n ? scratch[k] : -1;
    }
}

struct place { /* which draw: the sample's */
    uint64_t seed;
    int64_t epoch;
    uint64_t at;
};

static void draw(const struct place *p, enum mc_feed_stream use, uint32_t ret[4])
{
    mc_rng_words(p->seed, mc_feed_stream(p->epoch, use), p->at, ret);
}

/* map: [2 * (h + w)], the second half scratch. */
static void plan_moves(const struct mc_augment *a, const struct place *p, const struct view *v,
                       int64_t *map)
{
    int64_t *rows = map, *cols = map + v->h, *scratch = map + v->h + v->w;
    uint32_t r[4];
    for (int64_t i = 0; i < v->h; i++)
        rows[i] = i;
    draw(p, MC_FEED_FLIP, r);
    bool flip = (double)(r[0] >> 8) * 0x1p-24 < a->flip;
    for (int64_t i = 0; i < v->w; i++)
        cols[i] = flip ? v->w - 1 - i : i;
    int by[2] = {a->shift, a->crop};
    for (int k = 0; k < 2; k++) {
        if (!by[k])
            continue;
        draw(p, k ? MC_FEED_CROP : MC_FEED_SHIFT, r);
        translate(rows, v->h, scale(r[0], 2 * by[k] + 1) - by[k], k == 1, scratch);
        translate(cols, v->w, scale(r[1], 2 * by[k] + 1) - by[k], k == 1, scratch);
    }
}

static void gather(const struct view *v, size_t item, const int64_t *map, const uint8_t *src,
                   const uint8_t *black, uint8_t *dst)
{
    const int64_t *rows = map, *cols = map + v->h;
    for (int64_t y = 0; y < v->h; y++)
        for (int64_t x = 0; x < v->w; x++) {
            bool in = rows[y] >= 0 && cols[x] >= 0;
            const uint8_t *from =
                in ? src + (size_t)(rows[y] * v->by_y + cols[x] * v->by_x) * item : black;
            uint8_t *to = dst + (size_t)(y * v->by_y + x * v->by_x) * item;
            if (item == 4)
                memcpy(to, from, 4);
            else
                memcpy(to, from, item);
        }
}

static void cut(const struct view *v, enum mc_dtype t, const struct place *p, int64_t side,
                void *plane, double mean)
{
    uint32_t r[4];
    draw(p, MC_FEED_CUTOUT, r);
    int64_t y0 = scale(r[0], v->h) - side / 2, x0 = scale(r[1], v->w) - side / 2;
    for (int64_t y = y0 < 0 ? 0 : y0; y < y0 + side && y < v->h; y++)
        for (int64_t x = x0 < 0 ? 0 : x0; x < x0 + side && x < v->w; x++)
            store(t, plane, y * v->by_y + x * v->by_x, mean);
}

/* One picture, at `sample`; scratch as large; map as plan_moves wants it. */
static void change_picture(const struct mc_augment *a, const struct place *p, const struct view *v,
                           enum mc_dtype t, size_t bytes, uint8_t *sample, uint8_t *scratch,
                           int64_t *map)
{
    size_t item = mc_dtype_info(t)->bits / 8;
    double least, mean, black[1];
    if (moves(a)) {
        plan_moves(a, p, v, map);
        memcpy(scratch, sample, bytes);
        for (int64_t c = 0; c < v->c; c++) {
            const uint8_t *plane = scratch + (size_t)(c * v->by_c) * item;
            least = 0;
            if (a->shift)
                measure(v, t, plane, &least, &mean);
            store(t, black, 0, least);
            gather(v, item, map, plane, (const uint8_t *)black,
                   sample + (size_t)(c * v->by_c) * item);
        }
    }
    for (int64_t c = 0; a->cutout && c < v->c; c++) {
        uint8_t *plane = sample + (size_t)(c * v->by_c) * item;
        measure(v, t, plane, &least, &mean);
        cut(v, t, p, a->cutout, plane, mean);
    }
}

static int change_pictures(const struct mc_augment *a, struct place p, struct mc_batch *b,
                           struct mc_err *err)
{
    int rc = 0;
    uint64_t first = p.at;
    for (int k = 0; !rc && k < b->n_arrays; k++) {
        struct mc_array *x = &b->arrays[k];
        struct view v;
        if (!view_of(x, &v) || !b->n)
            continue;
        size_t bytes = x->bytes / (size_t)b->n;
        uint8_t *scratch = mc_alloc_aligned(bytes);
        int64_t *map = mc_calloc(2 * (size_t)(v.h + v.w), sizeof *map);
        if (!scratch || !map)
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
        for (int64_t i = 0; !rc && i < b->n; i++) {
            p.at = first + (uint64_t)i;
            change_picture(a, &p, &v, x->dtype, bytes, (uint8_t *)x->data + (size_t)i * bytes,
                           scratch, map);
        }
        free(scratch);
        free(map);
    }
    return rc;
}

/* ---- numbers ---- */

static void add_noise(double s, const struct place *p, struct mc_batch *b)
{
    enum { CHUNK = 256 };
    float g[CHUNK];
    uint64_t sample = 0; /* draws of one sample */
    for (int k = 0; k < b->n_arrays; k++)
        if (is_float(&b->arrays[k]))
            sample += (uint64_t)(mc_shape_count(&b->arrays[k].shape) / (b->n ? b->n : 1));
    uint64_t before = 0;
    for (int k = 0; k < b->n_arrays; k++) {
        struct mc_array *x = &b->arrays[k];
        if (!is_float(x) || !b->n)
            continue;
        int64_t each = mc_shape_count(&x->shape) / b->n;
        for (int64_t i = 0; i < b->n; i++)
            for (int64_t e = 0; e < each; e += CHUNK) {
                int64_t n = each - e < CHUNK ? each - e : CHUNK, at = i * each + e;
                uint64_t counter = (p->at + (uint64_t)i) * sample + before + (uint64_t)e;
                mc_rng_fill_normal(p->seed, mc_feed_stream(p->epoch, MC_FEED_NOISE), counter, g,
                                   (size_t)n);
                if (x->dtype == MC_DTYPE_F32)
                    for (int64_t j = 0; j < n; j++)
                        ((float *)x->data)[at + j] += (float)s * g[j];
                else
                    for (int64_t j = 0; j < n; j++)
                        ((double *)x->data)[at + j] += s * (double)g[j];
            }
        before += (uint64_t)each;
    }
}

int mc_augment_batch(const struct mc_augment *a, uint64_t seed, int64_t epoch, int64_t first,
                     struct mc_batch *b, float *probs, int64_t classes, struct mc_err *err)
{
    struct place p = {seed, epoch, (uint64_t)first};
    int rc = 0;
    if (moves(a) || a->cutout)
        rc = change_pictures(a, p, b, err);
    if (!rc && a->noise > 0)
        add_noise(a->noise, &p, b);
    if (!rc && a->mixup > 0)
        rc = mc_mixup(a->mixup, seed, epoch, first, b, probs, classes, err);
    return rc;
}
