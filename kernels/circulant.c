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
