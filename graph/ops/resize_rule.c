/* Gradients of Resize and Upsample. */
#include "graph/grad/rule.h"

static struct mc_value *input(const struct mc_node *n, size_t i)
{
    return i < n->n_in ? n->in[i] : NULL;
}

static void resize_rule(struct mc_grad *g, struct mc_node *n)
{
    static const char *const names[] = {"antialias",
                                        "axes",
                                        "coordinate_transformation_mode",
                                        "cubic_coeff_a",
                                        "exclude_outside",
                                        "extrapolation_value",
                                        "keep_aspect_ratio_policy",
                                        "mode",
                                        "nearest_mode",
                                        "scales"};
    bool all = mc_node_is(n, "Resize") && n->version >= 11; /* before, scales are input 1 */
    struct mc_value *shape = mc_grad_shape(g, n->in[0]);
    struct mc_value *dx =
        mc_emit_own(g, "ResizeGrad", mc_grad_of(g, n, 0), shape, all ? input(n, 1) : NULL,
                    input(n, all ? 2 : 1), all ? input(n, 3) : NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        mc_emit_copy(g, n, names[i]);
    mc_emit_int(g, "forward_version", all ? n->version : 10);
    mc_grad_give(g, n, 0, dx);
}

const struct mc_rule mc_rules_resize[] = {
    {"", "Resize", 10, resize_rule},
    {"", "Upsample", 7, resize_rule},
    {0},
};
