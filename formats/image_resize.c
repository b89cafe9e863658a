/* Two passes with integer weights, rounding to bytes between them. That is how Pillow does it, with which
 * most models' pictures were made; its results are met to the bit.
 * Source: Pillow, the algorithm of Image.resize for 8-bit channels (convolution with a triangle that is as
 * wide as the reduction, weights in 2^-22). */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "formats/image.h"

enum { BITS = 22 };

struct taps { /* what one pixel of the result is made of */
    int first, n;
    int32_t *weight;
};

struct filter {
    struct taps *taps; /* [size] */
    int32_t *weights;
};

static void filter_free(struct filter *f)
{
    free(f->taps);
    free(f->weights);
}

static void make_taps(struct taps *t, int i, double scale, double width, int from, double *w)
{
    double centre = (i + 0.5) * scale, sum = 0;
    int first = (int)(centre - width + 0.5), last = (int)(centre + width + 0.5);
    t->first = first < 0 ? 0 : first;
    t->n = (last > from ? from : last) - t->first;
    for (int k = 0; k < t->n; k++) {
        double d = fabs((k + t->first - centre + 0.5) / width);
        w[k] = d < 1 ? 1 - d : 0;
        sum += w[k];
    }
    for (int k = 0; k < t->n; k++)
        t->weight[k] = (int32_t)(w[k] / sum * (1 << BITS) + 0.5);
}

static int filter_new(int from, int to, struct filter *ret, struct mc_err *err)
{
    double scale = (double)from / to, width = scale > 1 ? scale : 1;
    size_t most = (size_t)ceil(width) * 2 + 1;
    struct filter f = {mc_calloc((size_t)to, sizeof *f.taps),
                       mc_calloc((size_t)to, most * sizeof *f.weights)};
    double *w = mc_calloc(most, sizeof *w);
    if (!f.taps || !f.weights || !w) {
        filter_free(&f);
        free(w);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    for (int i = 0; i < to; i++) {
        f.taps[i].weight = f.weights + (size_t)i * most;
        make_taps(&f.taps[i], i, scale, width, from, w);
    }
    free(w);
    *ret = f;
    return 0;
}

static uint8_t weigh(const struct taps *t, const uint8_t *src, size_t step)
{
    int64_t sum = 1 << (BITS - 1);
    for (int k = 0; k < t->n; k++)
        sum += (int64_t)src[(size_t)k * step] * t->weight[k];
    sum >>= BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* Along one axis: the elements of a line lie `step` apart, lines of `before` and `behind` it. */
static int resize_axis(uint8_t **pixels, size_t before, int from, int to, size_t behind,
                       struct mc_err *err)
{
    struct filter f = {0};
    if (from == to)
        return 0;
    int rc = filter_new(from, to, &f, err);
    if (rc)
        return rc;
    uint8_t *dst = mc_calloc(before * (size_t)to, behind);
    for (size_t b = 0; dst && b < before; b++)
        for (int i = 0; i < to; i++) {
            const struct taps *t = &f.taps[i];
            const uint8_t *src = *pixels + (b * (size_t)from + (size_t)t->first) * behind;
            for (size_t k = 0; k < behind; k++)
                dst[(b * (size_t)to + (size_t)i) * behind + k] = weigh(t, src + k, behind);
        }
    filter_free(&f);
    if (!dst)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    free(*pixels);
    *pixels = dst;
    return 0;
}

int mc_image_resize(struct mc_image *im, int width, int height, struct mc_err *err)
{
    size_t c = (size_t)im->channels;
    int rc = resize_axis(&im->pixels, (size_t)im->height, im->width, width, c, err);
    if (rc)
        return rc;
    im->width = width;
    rc = resize_axis(&im->pixels, 1, im->height, height, (size_t)width * c, err);
    if (!rc)
        im->height = height;
    return rc;
}
