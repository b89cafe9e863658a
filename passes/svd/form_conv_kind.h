/* Forms that split a convolution's columns (form_conv_split.h): which axes of the window come first, and whether the
 * outputs are split too, is all that tells them apart. */
#ifndef MC_PASSES_FORM_CONV_KIND_H
#define MC_PASSES_FORM_CONV_KIND_H

#include <stdlib.h>

#include "passes/svd/form_conv.h"
#include "passes/svd/form_conv_split.h"

struct mc_conv_kind {
    enum { MC_CONV_NO_AXIS, MC_CONV_FIRST_AXIS, MC_CONV_LAST_AXIS } first; /* in the first stage */
    bool tucker;                                                           /* 1x1, window, 1x1 */
    const char *suffix; /* of what goes in front of the node */
};

bool mc_conv_kind_applies(const struct mc_svd_run *r, const struct mc_svd_item *it,
                          const struct mc_conv_kind *k);
int mc_conv_kind_analyse(struct mc_svd_run *r, const struct mc_svd_item *it,
                         const struct mc_conv_kind *k, double want, struct mc_svd_curve *c,
                         struct mc_err *err);
int mc_conv_kind_place(struct mc_svd_run *r, struct mc_model *m, const struct mc_layers *in_m,
                       const struct mc_svd_item *it, const struct mc_conv_kind *k,
                       const struct mc_svd_curve *c, const struct mc_svd_point *p, bool sizes_only,
                       struct mc_err *err);

/* Definition of mc_svd_form_IDENT, a form of kind IDENT. */
#define MC_CONV_KIND_FORM(ident, label)                                                            \
    static bool ident##_applies(const struct mc_svd_run *r, const struct mc_svd_item *it)          \
    {                                                                                              \
        return mc_conv_kind_applies(r, it, &ident);                                                \
    }                                                                                              \
    static int ident##_analyse(struct mc_svd_run *r, const struct mc_svd_item *it, double want,    \
                               struct mc_svd_curve *c, struct mc_err *err)                         \
    {                                                                                              \
        return mc_conv_kind_analyse(r, it, &ident, want, c, err);                                  \
    }                                                                                              \
    static int ident##_place(struct mc_svd_run *r, struct mc_model *m,                             \
                             const struct mc_layers *in_m, const struct mc_svd_item *it,           \
                             const struct mc_svd_curve *c, const struct mc_svd_point *p,           \
                             bool sizes_only, struct mc_err *err)                                  \
    {                                                                                              \
        return mc_conv_kind_place(r, m, in_m, it, &ident, c, p, sizes_only, err);                  \
    }                                                                                              \
    const struct mc_svd_form mc_svd_form_##ident = {label, ident##_applies, ident##_analyse,       \
                                                    ident##_place, mc_conv_state_free}

#endif
