#include "kernels/xnor.h"

void mc_xnor_limits(int64_t k, bool (*bit)(void *ctx, int32_t sum), void *ctx, int32_t *ret_least,
                    int32_t *ret_most)
{
    bool below = bit(ctx, (int32_t)-k), above = bit(ctx, (int32_t)k);
    *ret_least = below ? INT32_MIN : above ? INT32_MAX : 1;
    *ret_most = above ? INT32_MAX : below ? INT32_MIN : 0;
    if (below == above)
        return;
    int64_t low = -k, high = k; /* bit says `below` at low, `above` at high */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        *(bit(ctx, (int32_t)middle) == below ? &low : &high) = middle;
    }
    *(below ? ret_most : ret_least) = (int32_t)(below ? low : high);
}
