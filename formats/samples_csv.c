/* Tables of text as samples: one row is one sample. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/cast.h"
#include "formats/csv.h"
#include "formats/samples_kind.h"
#include "formats/samples_list.h"

enum { UNUSED = -1, LABEL = -2 }; /* what a column is for, beside numbers of inputs */

struct input {
    char *name;
    enum mc_dtype dtype;
    struct mc_shape shape;  /* of a sample */
    size_t elements, bytes; /* of a sample */
    uint8_t *data;          /* [rows] samples */
};

struct table {
    struct mc_arena arena;
    char *path;
    struct input *inputs;
    int n_inputs;
    int *use; /* [columns] number of an input, UNUSED or LABEL */
    size_t columns;
    int64_t *labels;
    int64_t classes;
    size_t rows, cap;
};

static void table_free(void *self)
{
    struct table *t = self;
    for (int k = 0; t->inputs && k < t->n_inputs; k++)
        free(t->inputs[k].data);
    free(t->labels);
    free(t->use);
    mc_arena_free(&t->arena);
    free(t);
}

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- which column is what ---- */

static bool is_number(const char *text)
{
    char *end;
    strtod(text, &end);
    return end != text && !*end;
}

static bool is_header(char *const *fields, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (*fields[i] && !is_number(fields[i]))
            return true;
    return false;
}

/* "x", "x_3", "x.3", "x[3]", "x3" for input "x". */
static bool belongs(const char *column, const char *input)
{
    size_t n = strlen(input);
    return !strncmp(column, input, n) && (!column[n] || strchr("_.[0123456789", column[n]));
}

/* The label's column: as the spec says, else "label" or "labels" of the header. -1: there is none. */
static int find_label(const struct table *t, const char *option, char *const *header, size_t n,
                      ptrdiff_t *ret, struct mc_err *err)
{
    *ret = -1;
    if (!strcmp(option, "none"))
        return 0;
    for (size_t i = 0; header && *ret < 0 && i < n; i++)
        if (*option ? !strcmp(header[i], option)
                    : !strcmp(header[i], "label") || !strcmp(header[i], "labels"))
            *ret = (ptrdiff_t)i;
    if (*ret < 0 && !strcmp(option, "last"))
        *ret = (ptrdiff_t)n - 1;
    if (*ret < 0 && !strcmp(option, "first"))
        *ret = 0;
    if (*ret < 0 && *option)
        return mc_fail(
            err, MC_EUSAGE,
            "'%s' has no column '%s' for labels; say a column of its header, first, last "
            "or none",
            t->path, option);
    return 0;
}

/* By name where the header names an input, else all columns are the one input's. */
static int assign(struct table *t, char *const *header, size_t n, ptrdiff_t label,
                  struct mc_err *err)
{
    bool named = false;
    t->columns = n;
    t->use = mc_calloc(n, sizeof *t->use);
    if (!t->use)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        t->use[i] = (ptrdiff_t)i == label ? LABEL : UNUSED;
        /* The longest name wins: "x_1" may be an input beside "x". */
        for (int k = 0; header && t->use[i] != LABEL && k < t->n_inputs; k++)
            if (belongs(header[i], t->inputs[k].name) &&
                (t->use[i] < 0 || strlen(t->inputs[k].name) > strlen(t->inputs[t->use[i]].name)))
                t->use[i] = k;
        named = named || t->use[i] >= 0;
    }
    if (!named && t->n_inputs > 1)
        return mc_fail(err, MC_EDATA,
                       "'%s' needs a header that names the model's %d inputs: columns '%s', '%s', "
                       "or '%s_0', '%s_1', ...",
                       t->path, t->n_inputs, t->inputs[0].name, t->inputs[1].name,
                       t->inputs[0].name, t->inputs[0].name);
    for (size_t i = 0; i < n; i++) {
        if (!named && t->use[i] == UNUSED)
            t->use[i] = 0;
        if (t->use[i] >= 0)
            t->inputs[t->use[i]].elements++;
    }
    return 0;
}

/* The axes of a sample: those of the input, of which one may be free, or one axis. */
static int find_shape(const struct table *t, struct input *in, const struct mc_array *like,
                      struct mc_err *err)
{
    const struct mc_shape *want = &like->shape;
    int64_t n = (int64_t)in->elements, known = 1;
    int free_axis = -1, n_free = 0;
    char text[MC_SHAPE_TEXT];
    for (int i = 1; i < want->rank; i++) {
        if (want->dim[i] < 0) {
            free_axis = i;
            n_free++;
        } else if (__builtin_mul_overflow(known, want->dim[i], &known)) {
            known = 0;
        }
    }
    bool fits = want->rank < 0 || (n_free == 0 && known == n) ||
                (n_free == 1 && known > 0 && n % known == 0);
    if (!fits || !n)
        return mc_fail(err, MC_ESHAPE,
                       "'%s' has %lld columns for input '%s', which takes %s; where one is the "
                       "label, name it: %s:last, :first or :COLUMN",
                       t->path, (long long)n, in->name, mc_shape_text(want, text), t->path);
    in->shape = mc_shape_of(1, &n);
    if (want->rank > 0) {
        in->shape = mc_shape_of(want->rank - 1, want->dim + 1);
        if (n_free)
            in->shape.dim[free_axis - 1] = n / known;
    }
    in->bytes = in->elements * mc_dtype_info(in->dtype)->bits / 8;
    return 0;
}

/* ---- rows ---- */

static int bad_field(const struct table *t, size_t line, size_t column, const char *text,
                     const char *why, struct mc_err *err)
{
    return mc_fail(err, MC_EDATA, "'%s': line %zu, column %zu: '%.40s' %s", t->path, line,
                   column + 1, text, why);
}

/* A number of the input's type. */
static int parse(const struct table *t, size_t line, size_t column, const char *text,
                 enum mc_dtype to, void *dst, struct mc_err *err)
{
    char *end;
    struct mc_cast_fault fault;
    errno = 0;
    long long whole = strtoll(text, &end, 10);
    enum mc_dtype from = MC_DTYPE_I64;
    double real = 0;
    if (end == text || *end || errno) {
        real = strtod(text, &end);
        from = MC_DTYPE_F64;
    }
    if (end == text || *end)
        return bad_field(t, line, column, text, "is no number", err);
    int64_t value = whole;
    const void *src = from == MC_DTYPE_I64 ? (const void *)&value : &real;
    char why[80];
    if (!mc_cast(from, src, to, dst, 1, &fault))
        return 0;
    snprintf(why, sizeof why, fault.nan ? "is not a number" : "does not fit type %s",
             mc_dtype_name(to));
    return bad_field(t, line, column, text, why, err);
}

static int grow(struct table *t, bool labels, struct mc_err *err)
{
    if (t->rows < t->cap)
        return 0;
    size_t cap = t->cap ? t->cap + t->cap / 2 : 64;
    for (int k = 0; k < t->n_inputs; k++) {
        uint8_t *p = mc_realloc(t->inputs[k].data, cap, t->inputs[k].bytes);
        if (!p)
            return no_memory(err);
        t->inputs[k].data = p;
    }
    int64_t *l = labels ? mc_realloc(t->labels, cap, sizeof *l) : NULL;
    if (labels && !l)
        return no_memory(err);
    t->labels = l;
    t->cap = cap;
    return 0;
}

static int add_row(struct table *t, size_t line, char *const *fields, size_t n, bool labels,
                   struct mc_err *err)
{
    if (n != t->columns)
        return mc_fail(err, MC_EFORMAT, "'%s': line %zu has %zu columns, the first row has %zu",
                       t->path, line, n, t->columns);
    int rc = grow(t, labels, err);
    size_t *at = mc_calloc((size_t)t->n_inputs, sizeof *at);
    if (!at)
        return no_memory(err);
    for (size_t i = 0; !rc && i < n; i++) {
        if (t->use[i] >= 0) {
            const struct input *in = &t->inputs[t->use[i]];
            size_t item = mc_dtype_info(in->dtype)->bits / 8;
            rc = parse(t, line, i, fields[i], in->dtype,
                       in->data + t->rows * in->bytes + item * at[t->use[i]]++, err);
        } else if (t->use[i] == LABEL && labels) {
            int64_t label = -1;
            rc = parse(t, line, i, fields[i], MC_DTYPE_I64, &label, err);
            if (!rc && (label < 0 || label >= INT32_MAX))
                rc = bad_field(t, line, i, fields[i], "is no class number", err);
            t->labels[t->rows] = label;
            t->classes = label >= t->classes ? label + 1 : t->classes;
        }
    }
    free(at);
    t->rows += !rc;
    return rc;
}

static int read_rows(struct table *t, struct mc_csv *csv, const char *option,
                     const struct mc_sample_opts *opts, struct mc_err *err)
{
    char **fields;
    size_t n;
    ptrdiff_t label = -1;
    int rc = mc_csv_row(csv, &fields, &n, err);
    if (!rc && !n)
        return mc_fail(err, MC_EDATA, "'%s' holds no rows", t->path);
    bool header = !rc && is_header(fields, n);
    if (!rc)
        rc = find_label(t, option, header ? fields : NULL, n, &label, err);
    if (!rc)
        rc = assign(t, header ? fields : NULL, n, label, err);
    for (int k = 0; !rc && k < t->n_inputs; k++)
        rc = find_shape(t, &t->inputs[k], &opts->inputs[k], err);
    bool labels = label >= 0 && !opts->no_labels;
    if (!rc && !header)
        rc = add_row(t, mc_csv_line(csv), fields, n, labels, err);
    while (!rc && !(rc = mc_csv_row(csv, &fields, &n, err)) && n)
        rc = add_row(t, mc_csv_line(csv), fields, n, labels, err);
    if (!rc && !t->rows)
        rc = mc_fail(err, MC_EDATA, "'%s' holds no rows below its header", t->path);
    return rc;
}

/* ---- the dataset ---- */

static int shapes(void *self, int64_t i, struct mc_shape *ret, struct mc_err *err)
{
    const struct table *t = self;
    (void)i, (void)err;
    for (int k = 0; k < t->n_inputs; k++)
        ret[k] = t->inputs[k].shape;
    return 0;
}

static int load(void *self, int64_t i, const struct mc_shape *said, void *const *data,
                struct mc_err *err)
{
    const struct table *t = self;
    (void)said, (void)err;
    for (int k = 0; k < t->n_inputs; k++)
        memcpy(data[k], t->inputs[k].data + (size_t)i * t->inputs[k].bytes, t->inputs[k].bytes);
    return 0;
}

static const struct mc_list_class class = {"csv", shapes, load, table_free};

static int prepare(struct table *t, const char *path, const struct mc_sample_opts *opts,
                   struct mc_err *err)
{
    t->path = mc_arena_strdup(&t->arena, path);
    t->inputs = mc_arena_array(&t->arena, (size_t)opts->n_inputs, sizeof *t->inputs);
    if (!t->path || !t->inputs)
        return no_memory(err);
    t->n_inputs = opts->n_inputs;
    for (int k = 0; k < t->n_inputs; k++) {
        struct input *in = &t->inputs[k];
        in->dtype = opts->inputs[k].dtype;
        in->name = mc_arena_strdup(&t->arena, opts->inputs[k].name);
        if (!in->name)
            return no_memory(err);
        if (!mc_cast_possible(MC_DTYPE_F64, in->dtype))
            return mc_fail(err, MC_EDTYPE, "input '%s' is %s, which '%s' cannot give", in->name,
                           mc_dtype_name(in->dtype), path);
    }
    return 0;
}

static int open_csv(const char *spec, const struct mc_sample_files *files,
                    const struct mc_sample_opts *opts, struct mc_dataset **ret, struct mc_err *err)
{
    struct table *t = mc_calloc(1, sizeof *t);
    struct mc_narray_file *file = mc_calloc(1, sizeof *file);
    struct mc_csv *csv = NULL;
    char what[MC_PATH + 4];
    int rc = t && file ? prepare(t, files->path, opts, err) : no_memory(err);
    snprintf(what, sizeof what, "'%s'", files->path);
    if (!rc)
        rc = mc_narray_file_open(files->path, file, err);
    if (!rc)
        rc = mc_csv_open(&file->src, what, &csv, err);
    if (!rc)
        rc = read_rows(t, csv, files->labels, opts, err);
    mc_csv_close(csv);
    if (file)
        mc_narray_file_close(file);
    free(file);
    if (rc) {
        if (t)
            table_free(t);
        return rc;
    }
    struct mc_list list = {&class, t, (int64_t)t->rows, false, t->labels, t->classes, 0};
    t->labels = NULL;
    return mc_list_open(spec, files->path, opts, &list, ret, err);
}

/* Text is what has no bytes that text has not. */
static bool probe(const uint8_t *head, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (head[i] < 32 && head[i] != '\t' && head[i] != '\r' && head[i] != '\n')
            return false;
    return n > 0 && memchr(head, '\n', n);
}

const struct mc_sample_kind mc_sample_kind_csv = {
    .name = "csv",
    .help =
        "FILE.csv or .tsv, gzipped or not: a row is a sample; labels are the column 'label', or "
        "FILE.csv:COLUMN, :first, :last",
    .ext = ".csv",
    .probe = probe,
    .open_list = open_csv,
};
