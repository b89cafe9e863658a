/* Folders of ONNX test data as samples: the inputs of each set. */
#include <stdlib.h>
#include <string.h>

#include "formats/cast.h"
#include "formats/samples_kind.h"
#include "formats/samples_list.h"
#include "formats/testset.h"

struct testdata {
    struct mc_arena arena;
    struct mc_testsets sets;
    struct mc_testset_slot *slots;
    struct mc_array *likes;
    int n_inputs;
    int64_t at; /* set that is read; -1: none */
    struct mc_testset set;
};

static void testdata_free(void *self)
{
    struct testdata *t = self;
    mc_testset_free(&t->set);
    mc_testsets_close(&t->sets);
    mc_arena_free(&t->arena);
    free(t);
}

static int stand_at(struct testdata *t, int64_t i, struct mc_err *err)
{
    if (t->at == i)
        return 0;
    mc_testset_free(&t->set);
    t->at = -1;
    int rc = mc_testset_inputs(&t->sets.set[i], t->slots, t->n_inputs, &t->set, err);
    if (!rc)
        t->at = i;
    return rc;
}

static int find(const struct testdata *t, int input, const struct mc_array **ret,
                struct mc_err *err)
{
    for (int k = 0; k < t->set.n; k++)
        if (t->set.slot[k] == input) {
            *ret = &t->set.array[k];
            return 0;
        }
    return mc_fail(err, MC_EDATA, "'%s' has no input '%s'", t->sets.set[t->at].path,
                   t->likes[input].name);
}

static int check(const struct testdata *t, const struct mc_array *a, const struct mc_array *like,
                 struct mc_err *err)
{
    const struct mc_shape *want = &like->shape, *have = &a->shape;
    char s[MC_SHAPE_TEXT], w[MC_SHAPE_TEXT];
    bool fits = want->rank < 0 || want->rank == have->rank;
    for (int i = 0; fits && i < want->rank; i++)
        fits = want->dim[i] < 0 || want->dim[i] == have->dim[i];
    if (!fits)
        return mc_fail(err, MC_ESHAPE, "'%s': the data for input '%s' has shape %s, it takes %s",
                       t->sets.set[t->at].path, like->name, mc_shape_text(have, s),
                       mc_shape_text(want, w));
    bool same = a->dtype == like->dtype;
    if (!same && !mc_cast_possible(a->dtype, like->dtype))
        return mc_fail(err, MC_EDTYPE, "'%s': the data for input '%s' is %s, it takes %s",
                       t->sets.set[t->at].path, like->name, mc_dtype_name(a->dtype),
                       mc_dtype_name(like->dtype));
    return 0;
}

static int shapes(void *self, int64_t i, struct mc_shape *ret, struct mc_err *err)
{
    struct testdata *t = self;
    const struct mc_array *a = NULL;
    int rc = stand_at(t, i, err);
    for (int k = 0; !rc && k < t->n_inputs; k++) {
        rc = find(t, k, &a, err);
        if (!rc)
            rc = check(t, a, &t->likes[k], err);
        if (!rc)
            ret[k] = a->shape;
    }
    return rc;
}

static int load(void *self, int64_t i, const struct mc_shape *shape, void *const *data,
                struct mc_err *err)
{
    struct testdata *t = self;
    const struct mc_array *a = NULL;
    int rc = stand_at(t, i, err);
    for (int k = 0; !rc && k < t->n_inputs; k++) {
        const struct mc_array *like = &t->likes[k];
        struct mc_cast_fault fault;
        rc = find(t, k, &a, err);
        if (rc)
            return rc;
        if (!mc_shape_equal(&a->shape, &shape[k]))
            return mc_list_changed(t->sets.set[i].path, err);
        if (a->dtype == like->dtype)
            memcpy(data[k], a->data, a->bytes);
        else if (mc_cast(a->dtype, a->data, like->dtype, data[k], (size_t)mc_shape_count(&a->shape),
                         &fault))
            rc = mc_fail(err, MC_EDTYPE, "'%s': %s does not fit input '%s' of type %s",
                         t->sets.set[i].path, fault.value, like->name, mc_dtype_name(like->dtype));
    }
    return rc;
}

static const struct mc_list_class class = {"testdata", shapes, load, testdata_free};

static int open_folder(const char *spec, const struct mc_sample_files *files,
                       const struct mc_sample_opts *opts, struct mc_dataset **ret,
                       struct mc_err *err)
{
    const char *path = files->path;
    struct testdata *t = mc_calloc(1, sizeof *t);
    if (!t)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    size_t n = (size_t)opts->n_inputs;
    t->at = -1;
    t->n_inputs = opts->n_inputs;
    t->slots = mc_arena_array(&t->arena, n, sizeof *t->slots);
    t->likes = mc_arena_array(&t->arena, n, sizeof *t->likes);
    int rc = t->slots && t->likes ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t k = 0; !rc && k < n; k++) {
        t->likes[k] = opts->inputs[k];
        t->likes[k].name = mc_arena_strdup(&t->arena, opts->inputs[k].name);
        t->slots[k] = (struct mc_testset_slot){t->likes[k].name, false, MC_TYPE_TENSOR};
        if (!t->likes[k].name)
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
    }
    if (!rc)
        rc = mc_testsets_open(path, &t->sets, err);
    if (rc) {
        testdata_free(t);
        return rc;
    }
    struct mc_list list = {&class, t, (int64_t)t->sets.n, true, NULL, 0, 0};
    return mc_list_open(spec, path, opts, &list, ret, err);
}

const struct mc_sample_kind mc_sample_kind_testdata = {
    .name = "test data",
    .help = "FOLDER with test_data_set_0, ...: input_0.pb, ... of each set is one sample",
    .ext = "",
    .probe_folder = mc_testsets_probe,
    .open_list = open_folder,
};
