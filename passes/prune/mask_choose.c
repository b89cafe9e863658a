#include "passes/prune/mask_choose.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Numbers >= 0 are ordered as their bits are. */
static uint32_t bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

void mc_mask_pattern(const float *x, int64_t outer, int64_t n, int64_t inner, int64_t run, int keep,
                     int m, bool *gone)
{
    for (int64_t o = 0; o < outer; o++)
        for (int64_t from = 0; from < n;) {
            int64_t end = from - from % run + run, to = from + m < end ? from + m : end;
            for (int64_t i = 0; i < inner; i++)
                for (int64_t j = from; j < to; j++) {
                    const float *row = x + o * n * inner + i;
                    int64_t stronger = 0;
                    for (int64_t k = from; k < to; k++)
                        stronger += row[k * inner] > row[j * inner] ||
                                    (k < j && !(row[k * inner] < row[j * inner]));
                    gone[(o * n + j) * inner + i] = stronger >= keep;
                }
            from = to;
        }
}

/* The bits of the number at place `count` of n in ascending order, and how many are below it. */
static uint32_t threshold(const float *x, int64_t n, int64_t count, int64_t *seen,
                          int64_t *ret_below)
{
    uint32_t high = 0;
    int64_t below = 0;
    for (int pass = 0; pass < 2; pass++) {
        memset(seen, 0, sizeof *seen << 16);
        for (int64_t i = 0; i < n; i++) {
            uint32_t b = bits_of(x[i]);
            if (!pass)
                seen[b >> 16]++;
            else if (b >> 16 == high)
                seen[b & 0xffff]++;
        }
        uint32_t at = 0;
        while (at < 0xffff && below + seen[at] <= count)
            below += seen[at++];
        if (pass) {
            *ret_below = below;
            return high << 16 | at;
        }
        high = at;
    }
    return 0;
}

int mc_mask_least(const float *x, int64_t n, int64_t count, bool *gone, struct mc_err *err)
{
    int64_t *seen = mc_calloc((size_t)1 << 16, sizeof *seen), below = 0;
    if (!seen)
        return mc_fail(err, MC_ENOMEM, "out of memory for a mask");
    uint32_t at = count < n ? threshold(x, n, count, seen, &below) : UINT32_MAX;
    int64_t equal = count < n ? count - below : 0;
    for (int64_t i = n; i-- > 0;) {
        uint32_t b = bits_of(x[i]);
        gone[i] = b < at || (b == at && equal > 0);
        equal -= b == at;
    }
    free(seen);
    return 0;
}

/* Ascending, by four passes over bytes. */
static void sort(uint32_t *x, uint32_t *other, int64_t n)
{
    for (int shift = 0; shift < 32; shift += 8) {
        int64_t at[257] = {0};
        for (int64_t i = 0; i < n; i++)
            at[(x[i] >> shift & 255) + 1]++;
        for (int b = 0; b < 256; b++)
            at[b + 1] += at[b];
        for (int64_t i = 0; i < n; i++)
            other[at[x[i] >> shift & 255]++] = x[i];
        uint32_t *swap = x;
        x = other;
        other = swap;
    }
}

int mc_mask_adapt(float *x, int64_t n, struct mc_err *err)
{
    uint32_t *a = mc_calloc((size_t)n + 1, sizeof *a), *b = mc_calloc((size_t)n + 1, sizeof *b);
    double sum = 0;
    for (int64_t i = 0; a && b && i < n; i++)
        a[i] = bits_of(x[i]);
    if (a && b) {
        sort(a, b, n);
        memcpy(x, a, (size_t)n * sizeof *x);
    }
    for (int64_t i = n; i-- > 0 && a && b;) {
        double s = (double)x[i] * (double)x[i];
        sum += s;
        x[i] = sum > 0 ? (float)(s / sum) : 0;
    }
    int rc = a && b ? 0 : mc_fail(err, MC_ENOMEM, "out of memory for a mask");
    free(a);
    free(b);
    return rc;
}

static int64_t below(const float *x, int64_t n, uint32_t bits)
{
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t mid = low + (high - low) / 2;
        if (bits_of(x[mid]) < bits)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

void mc_mask_share(const float *const *x, const int64_t *n, int lists, int64_t count, int64_t *ret)
{
    uint32_t least = 0, most = UINT32_MAX; /* the largest bound that at most `count` are below */
    while (least < most) {
        uint32_t mid = least + (most - least) / 2 + 1;
        int64_t sum = 0;
        for (int i = 0; i < lists; i++)
            sum += below(x[i], n[i], mid);
        if (sum <= count)
            least = mid;
        else
            most = mid - 1;
    }
    int64_t rest = count;
    for (int i = 0; i < lists; i++)
        rest -= ret[i] = below(x[i], n[i], least);
    for (int i = 0; i < lists && rest > 0; i++) {
        int64_t equal = least < UINT32_MAX ? below(x[i], n[i], least + 1) - ret[i] : 0;
        equal = equal < rest ? equal : rest;
        ret[i] += equal;
        rest -= equal;
    }
}
