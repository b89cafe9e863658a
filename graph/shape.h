/* Shapes. A dimension >= 0 is known; a negative one is unknown, and two equal negative dimensions other
 * than MC_DIM_ANY are the same unknown (a symbol such as "batch"). */
#ifndef MC_GRAPH_SHAPE_H
#define MC_GRAPH_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MC_RANK_MAX = 12 };
enum { MC_DIM_ANY = -1 }; /* unknown and equal to nothing; symbols are -2, -3, … */

struct mc_shape {
    int32_t rank;
    int64_t dim[MC_RANK_MAX];
};

/* Known product of all dimensions (1 for a scalar); -1 if one is unknown or the product overflows. */
int64_t mc_shape_count(const struct mc_shape *s);
/* Product of dimensions [from, to), same rules. */
int64_t mc_shape_span(const struct mc_shape *s, int from, int to);
bool mc_shape_known(const struct mc_shape *s);
bool mc_shape_equal(const struct mc_shape *a, const struct mc_shape *b); /* symbols compare too */
struct mc_shape mc_shape_of(int rank, const int64_t *dims);
/* "[batch?,1,28,28]" style without names: "[?,1,28,28]"; returns ret. */
enum { MC_SHAPE_TEXT = 256 };
const char *mc_shape_text(const struct mc_shape *s, char ret[MC_SHAPE_TEXT]);
/* ONNX multidirectional broadcast of two shapes; false if they do not fit. Unknown against 1: unknown;
 * unknown against d > 1: d. */
bool mc_shape_broadcast(const struct mc_shape *a, const struct mc_shape *b, struct mc_shape *ret);
/* Axis in [-rank, rank) to [0, rank); -1 if outside. */
int mc_shape_axis(int64_t axis, int rank);

#endif
