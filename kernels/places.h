/* Elements and rows at places that indices name: where they are, and putting others there. */
#ifndef MC_KERNELS_PLACES_H
#define MC_KERNELS_PLACES_H

#include <stdbool.h>
#include <stdint.h>

enum { MC_PLACES_RANK = 12 };

/* place[i] = i's offset in a walk over dim, with stride, + sum over j below depth of
 *            index[i depth + j] step[j]
 * for the prod(dim) items i; an index below 0 counts from the end of size[j]. */
struct mc_places {
    int rank; /* at least 1 */
    int64_t dim[MC_PLACES_RANK], stride[MC_PLACES_RANK];
    int depth;
    int64_t size[MC_PLACES_RANK], step[MC_PLACES_RANK];
    int index_bytes; /* 4 or 8: int32, int64 */
    const void *index;
    int64_t *place;
};

enum mc_put_fn { MC_PUT_REPLACE, MC_PUT_ADD, MC_PUT_MUL, MC_PUT_MIN, MC_PUT_MAX };

/* dst[place[i] inner + j] = fn(dst[…], src[i inner + j]) for i = 0, 1, …, n - 1. Whole numbers wrap; the sum and the
 * product of truth values are "or" and "and". */
struct mc_put {
    enum mc_put_fn fn;
    int type;   /* enum mc_elem; of no meaning for REPLACE */
    bool truth; /* bytes of 0 and 1 */
    int elem_bytes;
    int64_t n, inner;
    const int64_t *place;
    const void *src;
    void *dst;
};

/* Returns which number of `index` is the first out of range, or -1. */
int64_t mc_places_find(const struct mc_places *p);
void mc_places_put(const struct mc_put *p);

/* As they stand in the kernel tables: those above, or those of a device, whose `find` returns -1: an index out of range
 * is reported by the next wait, and nothing is done at its place. */
struct mc_places_kernels {
    int64_t (*find)(const struct mc_places *p);
    void (*put)(const struct mc_put *p);
};

#endif
