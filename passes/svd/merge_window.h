/* Windows of two convolutions in a row, and of the one that does the work of both. */
#ifndef MC_PASSES_MERGE_WINDOW_H
#define MC_PASSES_MERGE_WINDOW_H

#include "graph/graph.h"

struct mc_merge_window {
    int axes;
    int64_t kernel[MC_RANK_MAX], stride[MC_RANK_MAX], dilation[MC_RANK_MAX];
    int64_t pad[2 * MC_RANK_MAX]; /* before all axes, then behind them */
    const char *same;             /* "SAME_UPPER", "SAME_LOWER": pads follow from the input; NULL */
};

/* Of a Conv with a constant weight; false where its attributes do not fit that. */
bool mc_merge_window_of(const struct mc_node *n, struct mc_merge_window *ret);
/* Of y = second(first(x)); false where it is none: a window wider than 1 in both along one axis, a stride or padding
 * between them that one window does not have. bias: something is added between them. */
bool mc_merge_windows(const struct mc_merge_window *first, const struct mc_merge_window *second,
                      bool bias, struct mc_merge_window *ret);

/* A node's attributes that make its window, to be put back as they were. */
enum { MC_WINDOW_INTS = 4 };
struct mc_window_attrs {
    const int64_t
        *ints[MC_WINDOW_INTS]; /* kernel_shape, strides, pads, dilations; NULL: not there */
    size_t n[MC_WINDOW_INTS];
    const char *auto_pad;
};
/* Copies in the model's arena. Errors: MC_ENOMEM. */
int mc_window_attrs_get(struct mc_node *n, struct mc_window_attrs *ret, struct mc_err *err);
int mc_window_attrs_put(struct mc_node *n, const struct mc_window_attrs *a, struct mc_err *err);
int mc_merge_window_put(struct mc_node *n, const struct mc_merge_window *w, struct mc_err *err);

#endif
