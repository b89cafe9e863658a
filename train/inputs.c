#include "train/inputs.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/dataset_join.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for a batch");
}

void mc_inputs_free(struct mc_inputs *in)
{
    free(in->arrays);
    free(in->targets);
    *in = (struct mc_inputs){0};
}

/* Room for n arrays of samples and all others. */
static int room(struct mc_inputs *in, int n, struct mc_err *err)
{
    int want = n + 1 + (int)in->loss->n_teacher + in->extra;
    if (want <= in->cap)
        return 0;
    struct mc_array *a = mc_realloc(in->arrays, (size_t)want, sizeof *a);
    if (!a)
        return no_memory(err);
    in->arrays = a;
    in->cap = want;
    return 0;
}

static int check_labels(const struct mc_inputs *in, const struct mc_batch *b, struct mc_err *err)
{
    int64_t classes = in->loss->classes;
    /* one score: yes or no, unless it is a number to be met */
    int64_t most = classes > 1 ? classes : in->loss->kind == MC_LOSS_MSE ? INT64_MAX : 2;
    bool signed_too = classes == 1 && in->loss->kind == MC_LOSS_MSE;
    for (int64_t i = 0; i < b->n && classes; i++)
        if ((b->labels[i] < 0 && !signed_too &&
             !(in->data->partly && b->labels[i] == MC_LABEL_NONE)) ||
            b->labels[i] >= most)
            return mc_fail(
                err, MC_EDATA, "'%s': sample %lld has label %lld, but the model has %lld classes",
                in->data->spec, (long long)b->index[i], (long long)b->labels[i], (long long)most);
    return 0;
}

/* Steps that a sequence needs: one a label, and one between equal ones. Its length goes to *ret_n. */
static int64_t steps_needed(const int64_t *row, int64_t most, int64_t *ret_n)
{
    int64_t n = 0, equal = 0;
    for (; n < most && row[n] >= 0; n++)
        equal += n > 0 && row[n] == row[n - 1];
    *ret_n = n;
    return n + equal;
}

static int check_sequences(const struct mc_inputs *in, const struct mc_batch *b, struct mc_err *err)
{
    const struct mc_loss *l = in->loss;
    const char *spec = in->data->spec;
    for (int64_t i = 0; i < b->n; i++) {
        const int64_t *row = b->sequences + i * l->sequence.labels;
        int64_t n, steps = steps_needed(row, l->sequence.labels, &n);
        for (int64_t k = 0; k < n; k++)
            if (row[k] >= l->sequence.classes || row[k] == l->sequence.blank)
                return mc_fail(
                    err, MC_EDATA,
                    "'%s': sample %lld has label %lld, but the model has %lld classes, of which "
                    "%lld is the blank",
                    spec, (long long)b->index[i], (long long)row[k], (long long)l->sequence.classes,
                    (long long)l->sequence.blank);
        if (l->sequence.steps && steps > l->sequence.steps)
            return mc_fail(err, MC_EDATA,
                           "'%s': the %lld labels of sample %lld need %lld steps of the output, "
                           "which has %lld",
                           spec, (long long)n, (long long)b->index[i], (long long)steps,
                           (long long)l->sequence.steps);
    }
    return 0;
}

/* Labels as what each score should be: the probabilities of mixed samples, 1 at the label's class, or the label
 * itself. */
static int make_targets(struct mc_inputs *in, const struct mc_feed_batch *b, struct mc_err *err)
{
    int64_t n = b->data->n, c = in->loss->classes;
    if (n * c > in->cap_targets) {
        free(in->targets);
        in->targets = mc_alloc_aligned((size_t)(n * c) * sizeof(float));
        in->cap_targets = in->targets ? n * c : 0;
        if (!in->targets)
            return no_memory(err);
    }
    if (b->probs && c > 1) {
        memcpy(in->targets, b->probs, (size_t)(n * c) * sizeof(float));
        return 0;
    }
    memset(in->targets, 0, (size_t)(n * c) * sizeof(float));
    for (int64_t i = 0; i < n; i++)
        if (c == 1)
            in->targets[i] = b->probs ? b->probs[2 * i + 1] : (float)b->data->labels[i];
        else
            in->targets[i * c + b->data->labels[i]] = 1;
    return 0;
}

static void put(struct mc_inputs *in, const char *name, enum mc_dtype dtype, int rank,
                const int64_t *dims, void *data)
{
    struct mc_array *a = &in->arrays[in->n++];
    *a = (struct mc_array){name, dtype, mc_shape_of(rank, dims), data, 0};
    mc_dtype_bytes(dtype, mc_shape_count(&a->shape), &a->bytes);
}

static int put_labels(struct mc_inputs *in, const struct mc_feed_batch *b, struct mc_err *err)
{
    const struct mc_batch *d = b->data;
    int64_t dims[2] = {d->n, in->loss->classes};
    if (!in->loss->labels && !in->loss->targets)
        return 0;
    if (in->loss->sequence.labels) {
        if (!d->sequences)
            return mc_fail(err, MC_EDATA, "'%s': there are no label sequences", in->data->spec);
        dims[1] = in->loss->sequence.labels;
        put(in, MC_LOSS_LABELS, MC_DTYPE_I64, 2, dims, d->sequences);
        return check_sequences(in, d, err);
    }
    if (!d->labels)
        return mc_fail(err, MC_EDATA, "'%s': there are no labels", in->data->spec);
    int rc = check_labels(in, d, err);
    if (in->loss->labels)
        put(in, MC_LOSS_LABELS, MC_DTYPE_I64, 1, dims, d->labels);
    if (!in->loss->targets || rc)
        return rc;
    rc = make_targets(in, b, err);
    put(in, MC_LOSS_TARGETS, MC_DTYPE_F32, 2, dims, in->targets);
    return rc;
}

int mc_inputs_fill(struct mc_inputs *in, const struct mc_feed_batch *b, bool fresh,
                   struct mc_err *err)
{
    const struct mc_batch *d = b->data;
    int rc = room(in, d->n_arrays, err);
    if (rc)
        return rc;
    in->n = 0;
    for (int i = 0; i < d->n_arrays; i++) {
        struct mc_array *a = &in->arrays[in->n++];
        *a = d->arrays[i];
        if (!in->data->whole)
            continue;
        /* [1,...]: the sample itself */
        a->shape.rank--;
        memmove(a->shape.dim, a->shape.dim + 1, (size_t)a->shape.rank * sizeof *a->shape.dim);
    }
    in->n_data = in->n;
    rc = put_labels(in, b, err);
    if (rc || !in->teacher)
        return rc;
    rc = mc_teacher_run(in->teacher, in->arrays, in->n_data, d->index, d->n, fresh,
                        in->arrays + in->n, err);
    in->n += rc ? 0 : (int)in->loss->n_teacher;
    return rc;
}

/* ---- answers ---- */

static double at(const struct mc_array *a, int64_t i)
{
    return a->dtype == MC_DTYPE_F64 ? ((const double *)a->data)[i]
                                    : (double)((const float *)a->data)[i];
}

static int64_t class_of(const struct mc_array *scores, int64_t row, int64_t classes)
{
    if (classes == 1)
        return at(scores, row) > 0;
    int64_t best = 0;
    for (int64_t c = 1; c < classes; c++)
        if (at(scores, row * classes + c) > at(scores, row * classes + best))
            best = c;
    return best;
}

/* The teacher's array of class scores, after the last fill. */
static const struct mc_array *teacher_scores(const struct mc_inputs *in)
{
    int place = in->loss->teacher_scores;
    return place < 0 ? NULL
                     : &in->arrays[in->n_data + in->loss->labels + in->loss->targets + place];
}

int64_t mc_inputs_hits(const struct mc_inputs *in, const struct mc_feed_batch *b,
                       const struct mc_array *scores)
{
    int64_t c = in->loss->classes, hits = 0, n = b->data->n;
    const int64_t *labels = b->data->labels;
    const struct mc_array *theirs = labels && !in->data->partly ? NULL : teacher_scores(in);
    bool readable = scores && (scores->dtype == MC_DTYPE_F32 || scores->dtype == MC_DTYPE_F64) &&
                    mc_shape_count(&scores->shape) == n * c;
    if (theirs)
        readable = readable && mc_shape_count(&theirs->shape) == n * c &&
                   (theirs->dtype == MC_DTYPE_F32 || theirs->dtype == MC_DTYPE_F64);
    if (!c || !readable || (!theirs && !labels))
        return -1;
    for (int64_t i = 0; i < n; i++) {
        bool has = labels && !(theirs && labels[i] == MC_LABEL_NONE);
        hits += class_of(scores, i, c) == (has ? labels[i] : class_of(theirs, i, c));
    }
    return hits;
}
