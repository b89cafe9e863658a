#include "formats/samples_field.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "formats/cast.h"
#include "formats/preprocess.h"
#include "formats/rows.h"

struct mc_field {
    const struct mc_narray *a;
    struct mc_rows *rows;
    enum mc_dtype to;
    const char *input;
    size_t elements; /* of one sample */
    bool interleave;
    size_t channels;
    char *spill_dir;
    uint8_t *table; /* pixels go through it; NULL: elements are converted */
    size_t table_channels;
};

static int make_table(struct mc_field *f, int64_t channels, const char *text, struct mc_err *err)
{
    struct mc_preprocess p;
    int rc = mc_preprocess_parse(text, &p, err);
    if (rc)
        return rc;
    if (p.resize_w || p.crop_w || p.bgr)
        return mc_fail(err, MC_EUNSUP,
                       "preprocess: %s is for folders of images, these samples have one size; "
                       "leave it out",
                       p.resize_w ? "resize"
                       : p.crop_w ? "crop"
                                  : "bgr");
    if (mc_dtype_info(f->to)->kind != MC_KIND_FLOAT) {
        if (p.values && !mc_preprocess_identity(&p))
            return mc_fail(err, MC_EDTYPE,
                           "input '%s' is %s and takes the pixels as they are; preprocessing '%s' "
                           "does not apply",
                           f->input, mc_dtype_name(f->to), text);
        return 0;
    }
    int n;
    rc = mc_preprocess_channels(&p, channels, &n, err);
    if (rc)
        return rc;
    f->table_channels = (size_t)n;
    f->table = mc_calloc((size_t)n * 256, mc_dtype_info(f->to)->bits / 8);
    if (!f->table)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    return mc_preprocess_table(&p, n, f->to, f->table, err);
}

int mc_field_new(const struct mc_narray *a, const struct mc_fit *fit, const struct mc_array *like,
                 const struct mc_sample_opts *opts, struct mc_field **ret, struct mc_err *err)
{
    if (!mc_cast_possible(a->dtype, like->dtype))
        return mc_fail(err, MC_EDTYPE, "%s holds %s, which input '%s' of type %s cannot take",
                       a->what, mc_dtype_name(a->dtype), like->name, mc_dtype_name(like->dtype));
    struct mc_field *f = mc_calloc(1, sizeof *f);
    if (!f)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    *f = (struct mc_field){.a = a,
                           .to = like->dtype,
                           .input = like->name,
                           .elements = (size_t)mc_shape_span(&a->shape, 1, a->shape.rank),
                           .interleave = fit->interleave,
                           .channels = (size_t)fit->channels};
    int rc = 0;
    if (opts->spill_dir && !(f->spill_dir = strdup(opts->spill_dir)))
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc)
        rc = mc_rows_new(a, f->spill_dir, &f->rows, err);
    if (!rc && a->image)
        rc = make_table(f, fit->channels, opts->preprocess, err);
    if (rc)
        mc_field_free(f);
    else
        *ret = f;
    return rc;
}

void mc_field_free(struct mc_field *f)
{
    if (!f)
        return;
    mc_rows_free(f->rows);
    free(f->spill_dir);
    free(f->table);
    free(f);
}

/* dst [n,h*w,c] = src [n,c,h*w] */
static void interleave(const struct mc_field *f, const uint8_t *src, int64_t n, uint8_t *dst)
{
    size_t item = mc_dtype_info(f->a->dtype)->bits / 8, c = f->channels;
    size_t plane = c ? f->elements / c : 0;
    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t k = 0; k < c; k++)
            for (size_t p = 0; p < plane; p++)
                memcpy(dst + (i * f->elements + p * c + k) * item,
                       src + (i * f->elements + k * plane + p) * item, item);
}

/* n pixels, `step` apart, through one channel's table. */
static void look_up_channel(const uint8_t *table, size_t item, const uint8_t *src, size_t n,
                            size_t step, uint8_t *dst)
{
    if (item == 4)
        for (size_t k = 0; k < n; k++)
            memcpy(dst + k * step * 4, table + (size_t)src[k * step] * 4, 4);
    else
        for (size_t k = 0; k < n; k++)
            memcpy(dst + k * step * item, table + src[k * step] * item, item);
}

static void look_up(const struct mc_field *f, const uint8_t *src, int64_t n, uint8_t *dst)
{
    size_t item = mc_dtype_info(f->to)->bits / 8, channels = f->table_channels;
    size_t plane = f->elements / channels;
    size_t step = f->interleave ? channels : 1, apart = f->interleave ? 1 : plane;
    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t c = 0; c < channels; c++) {
            size_t at = i * f->elements + c * apart;
            look_up_channel(f->table + c * 256 * item, item, src + at, plane, step,
                            dst + at * item);
        }
}

static int convert(const struct mc_field *f, const int64_t *index, const void *src, int64_t n,
                   void *dst, struct mc_err *err)
{
    struct mc_cast_fault fault;
    int rc = mc_cast(f->a->dtype, src, f->to, dst, (size_t)n * f->elements, &fault);
    if (!rc)
        return 0;
    long long sample = (long long)index[fault.at / f->elements];
    if (fault.nan)
        return mc_fail(err, rc, "%s: sample %lld holds NaN, for input '%s'", f->a->what, sample,
                       f->input);
    return mc_fail(err, rc, "%s: %s in sample %lld does not fit input '%s' of type %s", f->a->what,
                   fault.value, sample, f->input, mc_dtype_name(f->to));
}

int mc_field_read(struct mc_field *f, const int64_t *index, int64_t n, void *dst,
                  struct mc_err *err)
{
    bool direct = f->to == f->a->dtype && !f->interleave && !f->table;
    size_t row = mc_rows_bytes(f->rows);
    uint8_t *raw = dst, *arranged = NULL;
    int rc = 0;
    if (!direct && !(raw = mc_calloc((size_t)n, row ? row : 1)))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    rc = mc_rows_read(f->rows, index, n, raw, err);
    const uint8_t *src = raw;
    if (!rc && f->interleave) {
        if ((arranged = mc_calloc((size_t)n, row ? row : 1)))
            interleave(f, raw, n, arranged);
        else
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
        src = arranged;
    }
    if (!rc && f->table) {
        look_up(f, src, n, dst);
    } else if (!rc) {
        if (f->a->swap)
            mc_cast_swap(f->a->dtype, (void *)src, (size_t)n * f->elements);
        rc = convert(f, index, src, n, dst, err);
    }
    free(arranged);
    if (!direct)
        free(raw);
    return rc;
}
