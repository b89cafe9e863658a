#include "kernels/circulant.h"

#include <string.h>

void mc_circulant_expand(const struct mc_circulant *c, const float *col, float *w, int64_t ldw)
{
    int64_t b = c->b;
    for (int64_t i = 0; i < c->p; i++) {
        for (int64_t r = 0; r < b; r++) {
            float *to = w + (i * b + r) * ldw;
            const float *from = col + i * c->q * b;
            for (int64_t j = 0; j < c->q; j++, to += b, from += b) {
                for (int64_t s = 0; s <= r; s++)
                    to[s] = from[r - s];
                for (int64_t s = r + 1; s < b; s++)
                    to[s] = from[r - s + b];
            }
        }
    }
}

void mc_circulant_project(const struct mc_circulant *c, const float *w, int64_t ldw, float *col)
{
    int64_t b = c->b;
    for (int64_t i = 0; i < c->p; i++) {
        for (int64_t j = 0; j < c->q; j++) {
            const float *block = w + i * b * ldw + j * b;
            for (int64_t k = 0; k < b; k++) {
                double sum = 0;
                for (int64_t s = 0; s < b; s++)
                    sum += block[(s + k < b ? s + k : s + k - b) * ldw + s];
                col[(i * c->q + j) * b + k] = (float)(sum / (double)b);
            }
        }
    }
}

static double transforms(const struct mc_circulant *c, int64_t before, int64_t behind)
{
    double b = (double)c->b;
    return b * b * ((double)(c->q * before) + (double)(c->p * behind));
}

/* Numbers at frequency 0 and b/2 are real, the others take four products. */
static double products(const struct mc_circulant *c, int64_t taps, int64_t behind)
{
    int64_t real = c->b % 2 ? 1 : 2;
    return (double)(real + 2 * (c->b - real)) * (double)(c->p * c->q) * (double)(taps * behind);
}

double mc_circulant_conv_macs(const struct mc_circulant *c, int64_t taps, int64_t before,
                              int64_t behind)
{
    return transforms(c, before, behind) + products(c, taps, behind);
}

/* Times faster than the dense convolution, AVX-512: 3x3, 256 channels in blocks of 16 6.8 and of 2 1.9, 16 in blocks of 4 1.3;
 * 1x1, 128 in blocks of 8 1.7, 64 in blocks of 8 1.04, of 2 0.83. */
bool mc_circulant_conv_pays(const struct mc_circulant *c, int64_t taps, int64_t before,
                            int64_t behind)
{
    double b = (double)c->b;
    double dense = b * b * (double)(c->p * c->q) * (double)(taps * behind);
    return c->b > 1 && c->b <= MC_CIRCULANT_DFT_MOST &&
           2 * transforms(c, before, behind) + 1.8 * products(c, taps, behind) < dense;
}
