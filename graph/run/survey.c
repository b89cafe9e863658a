#include "graph/run/survey.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

enum { BLOCK = 4096 }; /* elements at a time; whole bytes of every type */

static void add_shape(struct mc_survey *s, const struct mc_shape *shape)
{
    if (!s->arrays++) {
        s->shape = *shape;
        return;
    }
    if (s->shape.rank != shape->rank)
        s->shape.rank = -1;
    for (int i = 0; i < s->shape.rank; i++)
        if (s->shape.dim[i] != shape->dim[i])
            s->shape.dim[i] = MC_DIM_ANY;
}

static void add_values(struct mc_survey *s, const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (isnan(v[i])) {
            s->nan++;
        } else if (isinf(v[i])) {
            s->infinite++;
        } else {
            s->min = fmin(s->min, v[i]); /* fmin passes over the NaN of the beginning */
            s->max = fmax(s->max, v[i]);
            s->sum += v[i];
        }
    }
}

static int add_content(struct mc_survey *s, const struct mc_array *a, double *block,
                       struct mc_err *err)
{
    const struct mc_dtype_info *type = mc_dtype_info(a->dtype);
    const struct mc_array *item = a->data;
    int rc = 0;
    for (size_t i = 0; mc_array_is_list(a) && i < mc_array_n_items(a) && !rc; i++)
        rc = add_content(s, &item[i], block, err);
    if (mc_array_is_list(a))
        return rc;
    int64_t n = mc_shape_count(&a->shape);
    s->elements += n;
    for (int64_t i = 0; type->kind != MC_KIND_OTHER && !rc && i < n; i += BLOCK) {
        size_t some = n - i < BLOCK ? (size_t)(n - i) : BLOCK;
        rc = mc_dtype_to_f64(a->dtype, (const char *)a->data + (size_t)i * type->bits / 8, block,
                             some, err);
        if (!rc)
            add_values(s, block, some);
    }
    return rc;
}

int mc_survey_add(struct mc_survey *s, const struct mc_array *a, struct mc_err *err)
{
    double *block = mc_calloc(BLOCK, sizeof *block);
    if (!block)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    if (!s->arrays)
        *s = (struct mc_survey){.dtype = a->dtype, .min = NAN, .max = NAN, .mean = NAN};
    add_shape(s, &a->shape);
    int rc = add_content(s, a, block, err);
    free(block);
    int64_t finite = s->elements - s->nan - s->infinite;
    s->mean = finite ? s->sum / (double)finite : NAN;
    return rc;
}
