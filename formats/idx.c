#include "formats/idx.h"

static enum mc_dtype type_of(uint8_t code)
{
    switch (code) {
    case 0x08: return MC_DTYPE_U8;
    case 0x09: return MC_DTYPE_I8;
    case 0x0b: return MC_DTYPE_I16;
    case 0x0c: return MC_DTYPE_I32;
    case 0x0d: return MC_DTYPE_F32;
    case 0x0e: return MC_DTYPE_F64;
    }
    return MC_DTYPE_NONE;
}

bool mc_idx_probe(const uint8_t *head, size_t n)
{
    return n >= 4 && !head[0] && !head[1] && type_of(head[2]) != MC_DTYPE_NONE && head[3] >= 1 &&
           head[3] <= MC_RANK_MAX;
}

int mc_idx_read(const uint8_t *head, size_t n, struct mc_narray *a, struct mc_err *err)
{
    if (!mc_idx_probe(head, n))
        return mc_fail(err, MC_EFORMAT,
                       "%s is no IDX file: its first bytes are not 0, 0, a type, axes", a->what);
    a->dtype = type_of(head[2]);
    a->swap = mc_dtype_info(a->dtype)->bits > 8;
    a->image = a->dtype == MC_DTYPE_U8;
    a->layout = true;
    a->shape.rank = head[3];
    a->skip = 4 + 4 * (size_t)head[3];
    if (n < a->skip)
        return mc_fail(err, MC_EFORMAT, "%s is truncated inside its header", a->what);
    for (int i = 0; i < a->shape.rank; i++) {
        const uint8_t *d = head + 4 + 4 * i;
        a->shape.dim[i] =
            (int64_t)d[0] << 24 | (int64_t)d[1] << 16 | (int64_t)d[2] << 8 | (int64_t)d[3];
    }
    return mc_narray_check(a, err);
}
