#include "graph/dtype.h"

#include "base/mem.h"

static const struct mc_dtype_info table[MC_DTYPE_COUNT] = {
    [MC_DTYPE_NONE] = {"undefined", 0, MC_KIND_OTHER},
    [MC_DTYPE_F32] = {"float", 32, MC_KIND_FLOAT},
    [MC_DTYPE_U8] = {"uint8", 8, MC_KIND_UINT},
    [MC_DTYPE_I8] = {"int8", 8, MC_KIND_INT},
    [MC_DTYPE_U16] = {"uint16", 16, MC_KIND_UINT},
    [MC_DTYPE_I16] = {"int16", 16, MC_KIND_INT},
    [MC_DTYPE_I32] = {"int32", 32, MC_KIND_INT},
    [MC_DTYPE_I64] = {"int64", 64, MC_KIND_INT},
    [MC_DTYPE_STRING] = {"string", 0, MC_KIND_OTHER},
    [MC_DTYPE_BOOL] = {"bool", 8, MC_KIND_BOOL},
    [MC_DTYPE_F16] = {"float16", 16, MC_KIND_FLOAT},
    [MC_DTYPE_F64] = {"double", 64, MC_KIND_FLOAT},
    [MC_DTYPE_U32] = {"uint32", 32, MC_KIND_UINT},
    [MC_DTYPE_U64] = {"uint64", 64, MC_KIND_UINT},
    [MC_DTYPE_C64] = {"complex64", 64, MC_KIND_OTHER},
    [MC_DTYPE_C128] = {"complex128", 128, MC_KIND_OTHER},
    [MC_DTYPE_BF16] = {"bfloat16", 16, MC_KIND_FLOAT},
    [MC_DTYPE_F8E4M3FN] = {"float8e4m3fn", 8, MC_KIND_FLOAT},
    [MC_DTYPE_F8E4M3FNUZ] = {"float8e4m3fnuz", 8, MC_KIND_FLOAT},
    [MC_DTYPE_F8E5M2] = {"float8e5m2", 8, MC_KIND_FLOAT},
    [MC_DTYPE_F8E5M2FNUZ] = {"float8e5m2fnuz", 8, MC_KIND_FLOAT},
    [MC_DTYPE_U4] = {"uint4", 4, MC_KIND_UINT},
    [MC_DTYPE_I4] = {"int4", 4, MC_KIND_INT},
    [MC_DTYPE_F4E2M1] = {"float4e2m1", 4, MC_KIND_FLOAT},
    [MC_DTYPE_F8E8M0] = {"float8e8m0", 8, MC_KIND_FLOAT},
    [MC_DTYPE_U2] = {"uint2", 2, MC_KIND_UINT},
    [MC_DTYPE_I2] = {"int2", 2, MC_KIND_INT},
};

const struct mc_dtype_info *mc_dtype_info(int dtype)
{
    return &table[dtype < 0 || dtype >= MC_DTYPE_COUNT ? MC_DTYPE_NONE : dtype];
}

const char *mc_dtype_name(int dtype)
{
    return mc_dtype_info(dtype)->name;
}

bool mc_dtype_bytes(int dtype, int64_t n, size_t *ret_bytes)
{
    size_t bits = mc_dtype_info(dtype)->bits, bytes;
    if (!bits || n < 0 || (uint64_t)n > SIZE_MAX)
        return false;
    if (bits < 8) {
        size_t per_byte = 8 / bits;
        *ret_bytes = (size_t)n / per_byte + ((size_t)n % per_byte != 0);
        return true;
    }
    if (!mc_size_mul((size_t)n, bits / 8, &bytes))
        return false;
    *ret_bytes = bytes;
    return true;
}
