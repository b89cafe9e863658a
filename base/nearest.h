/* "Did you mean …": the name nearest to a mistyped word. */
#ifndef MC_BASE_NEAREST_H
#define MC_BASE_NEAREST_H

#include <stddef.h>

/* Keeps the best name over any number of offers; start with {.word = …}. */
struct mc_nearest {
    const char *word;
    const char *name; /* best so far, or NULL if nothing is near enough to be worth naming */
    int distance;
};
void mc_nearest_offer(struct mc_nearest *n, const char *name);

/* Insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal string alignment).
 * Words longer than 63 bytes count as far from everything. */
int mc_nearest_distance(const char *a, const char *b);

#endif
