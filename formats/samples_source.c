#include "formats/samples_source.h"

#include <limits.h>
#include <nettle/sha2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/cast.h"
#include "formats/samples_field.h"

const char *mc_source_text(struct mc_source *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = NULL;
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    const char *ret = mc_arena_strdup(&s->arena, text);
    free(text);
    return ret;
}

static void source_free(void *self)
{
    struct mc_source *s = self;
    for (int i = 0; i < s->n_fields; i++)
        mc_field_free(s->fields[i]);
    mc_narray_file_close(&s->file);
    mc_narray_file_close(&s->label_file);
    free(s->labels);
    mc_arena_free(&s->arena);
    free(s);
}

static int source_read(void *self, const int64_t *index, int64_t n, struct mc_batch **ret,
                       struct mc_err *err)
{
    struct mc_source *s = self;
    struct mc_batch *b;
    int64_t width = s->base->sequence;
    int rc = width ? mc_batch_new_sequences(n, s->n_fields, s->likes, width, &b, err)
                   : mc_batch_new(n, s->n_fields, s->likes, s->labels != NULL, &b, err);
    if (rc)
        return rc;
    for (int i = 0; !rc && i < s->n_fields; i++)
        rc = mc_field_read(s->fields[i], index, n, b->arrays[i].data, err);
    for (int64_t i = 0; !rc && s->labels && i < n; i++) /* index was checked with the first field */
        if (width)
            memcpy(b->sequences + i * width, s->labels + index[i] * width,
                   (size_t)width * sizeof *s->labels);
        else
            b->labels[i] = s->labels[index[i]];
    if (rc)
        mc_batch_free(b);
    else
        *ret = b;
    return rc;
}

static int source_labels(void *self, const int64_t *index, int64_t n, int64_t *ret,
                         struct mc_err *err)
{
    const struct mc_source *s = self;
    (void)err;
    for (int64_t i = 0; i < n; i++)
        ret[i] = s->labels[index[i]];
    return 0;
}

static const struct mc_dataset_class source_class = {.read = source_read,
                                                     .free = source_free,
                                                     .labels = source_labels};

void mc_source_abort(struct mc_source *s)
{
    mc_dataset_free(s->base);
}

int mc_source_new(const char *spec, const struct mc_sample_opts *opts, struct mc_source **ret,
                  struct mc_err *err)
{
    if (opts->n_inputs < 1)
        return mc_fail(err, MC_EUSAGE, "the model has no inputs, it takes no samples");
    struct mc_source *s = mc_calloc(1, sizeof *s);
    struct mc_dataset *d = mc_calloc(1, sizeof *d);
    if (!s || !d) {
        free(s);
        free(d);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    d->class = &source_class;
    d->self = s;
    d->spec = strdup(spec);
    s->base = d;
    s->opts = opts;
    s->fields = mc_arena_array(&s->arena, (size_t)opts->n_inputs, sizeof *s->fields);
    s->likes = mc_arena_array(&s->arena, (size_t)opts->n_inputs, sizeof *s->likes);
    if (!d->spec || !s->fields || !s->likes) {
        mc_source_abort(s);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *ret = s;
    return 0;
}

int mc_source_add(struct mc_source *s, const struct mc_narray *a, struct mc_err *err)
{
    const struct mc_array *input = &s->opts->inputs[s->n_fields];
    struct mc_fit fit;
    int rc = mc_fit(a, input, &fit, err);
    if (rc)
        return rc;
    int64_t count = a->shape.dim[0];
    if (!count)
        return mc_fail(err, MC_EDATA, "%s holds no samples", a->what);
    if (s->n_fields && count != s->base->count)
        return mc_fail(err, MC_EDATA, "%s has %lld samples, the array for input '%s' has %lld",
                       a->what, (long long)count, s->likes[0].name, (long long)s->base->count);
    if (s->n_fields && fit.whole != s->base->whole)
        return mc_fail(err, MC_ESHAPE,
                       "%s and the array for input '%s' disagree: one has an axis more than its "
                       "input, the other has not",
                       a->what, s->likes[0].name);
    struct mc_array *like = &s->likes[s->n_fields];
    *like = (struct mc_array){
        .name = mc_arena_strdup(&s->arena, input->name), .dtype = input->dtype, .shape = fit.shape};
    struct mc_narray *kept = mc_arena_memdup(&s->arena, a, sizeof *a);
    if (!kept || !like->name)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    rc = mc_field_new(kept, &fit, like, s->opts, &s->fields[s->n_fields], err);
    if (rc)
        return rc;
    s->base->count = count;
    s->base->whole = fit.whole;
    s->n_fields++;
    return 0;
}

static int one_hot(const struct mc_narray *a, struct mc_err *err)
{
    char text[MC_SHAPE_TEXT];
    return mc_fail(err, MC_EDATA,
                   "labels: %s is %s, one-hot or probabilities; give one class number per sample, "
                   "as argmax(axis=1) makes them",
                   a->what, mc_shape_text(&a->shape, text));
}

/* Shape and type of labels: one integer per sample, as [n] or [n,1], or a sequence of them, as [n,s]. */
static int check_labels(const struct mc_source *s, const struct mc_narray *a, struct mc_err *err)
{
    char text[MC_SHAPE_TEXT];
    const struct mc_shape *sh = &a->shape;
    enum mc_dtype_kind kind = mc_dtype_info(a->dtype)->kind;
    bool integers = kind == MC_KIND_INT || kind == MC_KIND_UINT;
    if (sh->rank == 2 && (sh->dim[1] == 0 || (sh->dim[1] > 1 && !integers)))
        return one_hot(a, err);
    if (sh->rank != 1 && sh->rank != 2)
        return mc_fail(err, MC_EDATA, "labels: %s is %s; give one class number per sample", a->what,
                       mc_shape_text(sh, text));
    if (!integers && kind != MC_KIND_BOOL)
        return mc_fail(err, MC_EDATA, "labels: %s holds %s; class numbers must be integers",
                       a->what, mc_dtype_name(a->dtype));
    if (sh->dim[0] != s->base->count)
        return mc_fail(err, MC_EDATA, "labels: %s has %lld labels for %lld samples", a->what,
                       (long long)sh->dim[0], (long long)s->base->count);
    return 0;
}

/* All integers of a; free() them. */
static int read_integers(const struct mc_narray *a, size_t n, int64_t **ret, struct mc_err *err)
{
    size_t item = mc_dtype_info(a->dtype)->bits / 8;
    struct mc_stream *st = NULL;
    int64_t *labels = mc_calloc(n, sizeof *labels);
    void *raw = mc_calloc(n, item);
    int rc = labels && raw ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        rc = mc_stream_new(&a->src, a->what, &st, err);
    if (!rc)
        rc = mc_stream_read(st, NULL, a->skip, err);
    if (!rc)
        rc = mc_stream_read(st, raw, n * item, err);
    if (!rc)
        rc = mc_stream_finish(st, err);
    if (!rc && a->swap)
        mc_cast_swap(a->dtype, raw, n);
    if (!rc)
        rc = mc_dtype_to_i64(a->dtype, raw, labels, n, err);
    mc_stream_free(st);
    free(raw);
    if (rc)
        free(labels);
    else
        *ret = labels;
    return rc;
}

/* Rows of zeros and a single one: sequences of numbers do not look like that. */
static bool looks_one_hot(const int64_t *labels, size_t n, size_t width)
{
    for (size_t i = 0; i < n; i++) {
        size_t ones = 0;
        for (size_t k = 0; k < width; k++) {
            int64_t v = labels[i * width + k];
            if (v != 0 && v != 1)
                return false;
            ones += v == 1;
        }
        if (ones != 1)
            return false;
    }
    return true;
}

/* What is behind the end of a sequence becomes -1. */
static void end_sequences(int64_t *labels, size_t n, size_t width)
{
    for (size_t i = 0; i < n; i++) {
        bool ended = false;
        for (size_t k = 0; k < width; k++) {
            ended |= labels[i * width + k] < 0;
            if (ended)
                labels[i * width + k] = -1;
        }
    }
}

int mc_source_labels(struct mc_source *s, const struct mc_narray *a, struct mc_err *err)
{
    int rc = check_labels(s, a, err);
    if (rc)
        return rc;
    size_t n = (size_t)s->base->count, total;
    size_t width = a->shape.rank == 2 ? (size_t)a->shape.dim[1] : 1;
    int64_t *labels = NULL, highest = 0;
    if (!mc_size_mul(n, width, &total))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    rc = read_integers(a, total, &labels, err);
    if (!rc && width > 1) {
        if (looks_one_hot(labels, n, width))
            rc = one_hot(a, err);
        end_sequences(labels, n, width);
    }
    for (size_t i = 0; !rc && i < total; i++) {
        if ((labels[i] < 0 && width == 1) || labels[i] >= INT_MAX)
            rc = mc_fail(err, MC_EDATA, "labels: %s: %lld, of sample %zu, is no class number",
                         a->what, (long long)labels[i], i / width);
        highest = labels[i] > highest ? labels[i] : highest;
    }
    if (rc) {
        free(labels);
        return rc;
    }
    s->labels = labels;
    s->base->has_labels = width == 1;
    s->base->sequence = width > 1 ? (int64_t)width : 0;
    s->base->classes = highest + 1;
    return 0;
}

void mc_samples_identify(struct mc_dataset *d, const char *kind, const char *path)
{
    struct stat st;
    long long size = -1, sec = 0, nsec = 0;
    if (!stat(path, &st)) {
        size = (long long)st.st_size;
        sec = (long long)st.st_mtim.tv_sec;
        nsec = (long long)st.st_mtim.tv_nsec;
    }
    char *real = realpath(path, NULL); /* NULL for a pipe: its name must do */
    char tail[96];
    snprintf(tail, sizeof tail, "%lld %lld.%09lld", size, sec, nsec);
    struct sha256_ctx sha;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&sha);
    const char *parts[] = {kind, real ? real : path, tail};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        sha256_update(&sha, strlen(parts[i]) + 1, (const uint8_t *)parts[i]);
    sha256_digest(&sha, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(d->id + 2 * i, 3, "%02x", digest[i]);
    free(real);
}
