#include "kernels/losses.h"

/* Rows of 2 labels + 1 places and what a kernel pads them with: one per step, some besides; a double per step. */
enum { PAD = 64 };

size_t mc_ctc_scratch(const struct mc_ctc *c)
{
    size_t row = (size_t)(2 * c->labels + 1 + PAD), rows = (size_t)c->steps + 5;
    return (row * rows * sizeof(double) + (size_t)c->steps * sizeof(double) + 63) / 64 * 64;
}
