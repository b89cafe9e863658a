#include "formats/narray.h"

#include <stdio.h>

#include "base/mem.h"

static int read_head(struct mc_narray_file *f, const char *path, struct mc_err *err)
{
    char what[MC_PATH];
    snprintf(what, sizeof what, "'%s'", path);
    struct mc_stream *s;
    int rc = mc_stream_new(&f->src, what, &s, err);
    if (rc)
        return rc;
    rc = mc_stream_read_some(s, f->head, sizeof f->head, &f->n_head, err);
    mc_stream_free(s);
    return rc;
}

int mc_narray_file_open(const char *path, struct mc_narray_file *ret, struct mc_err *err)
{
    *ret = (struct mc_narray_file){0};
    int rc = mc_map_open(path, &ret->map, err);
    if (rc)
        return rc;
    ret->src = (struct mc_stream_src){.map = &ret->map, .size = ret->map.size};
    ret->src.length = ret->map.size;
    if (ret->map.size >= 2 && ret->map.data[0] == 0x1f && ret->map.data[1] == 0x8b) {
        ret->src.form = MC_STREAM_GZIP;
        ret->src.length = UINT64_MAX;
    }
    rc = read_head(ret, path, err);
    if (rc)
        mc_narray_file_close(ret);
    return rc;
}

void mc_narray_file_close(struct mc_narray_file *f)
{
    mc_map_close(&f->map);
    *f = (struct mc_narray_file){0};
}

int mc_narray_check(const struct mc_narray *a, struct mc_err *err)
{
    char text[MC_SHAPE_TEXT];
    size_t bytes, total;
    int64_t count = mc_shape_count(&a->shape);
    if (count < 0 || !mc_dtype_bytes(a->dtype, count, &bytes) ||
        !mc_size_add(bytes, a->skip, &total))
        return mc_fail(err, MC_EFORMAT, "%s: shape %s is too large", a->what,
                       mc_shape_text(&a->shape, text));
    uint64_t limit = mc_stream_limit(&a->src);
    if (total > limit)
        return mc_fail(err, MC_EFORMAT,
                       "%s is truncated: %s of %s needs %zu bytes, at most %llu are there", a->what,
                       mc_shape_text(&a->shape, text), mc_dtype_name(a->dtype), total,
                       (unsigned long long)limit);
    if (a->src.length != UINT64_MAX && total < a->src.length)
        return mc_fail(err, MC_EFORMAT, "%s: %llu bytes follow its %s of %s", a->what,
                       (unsigned long long)(a->src.length - total), mc_shape_text(&a->shape, text),
                       mc_dtype_name(a->dtype));
    return 0;
}
