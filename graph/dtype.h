/* Element types: one row each. The numbers are those of ONNX TensorProto.DataType. */
#ifndef MC_GRAPH_DTYPE_H
#define MC_GRAPH_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum mc_dtype {
    MC_DTYPE_NONE = 0, /* unknown, or no tensor */
    MC_DTYPE_F32 = 1,
    MC_DTYPE_U8 = 2,
    MC_DTYPE_I8 = 3,
    MC_DTYPE_U16 = 4,
    MC_DTYPE_I16 = 5,
    MC_DTYPE_I32 = 6,
    MC_DTYPE_I64 = 7,
    MC_DTYPE_STRING = 8,
    MC_DTYPE_BOOL = 9,
    MC_DTYPE_F16 = 10,
    MC_DTYPE_F64 = 11,
    MC_DTYPE_U32 = 12,
    MC_DTYPE_U64 = 13,
    MC_DTYPE_C64 = 14,
    MC_DTYPE_C128 = 15,
    MC_DTYPE_BF16 = 16,
    MC_DTYPE_F8E4M3FN = 17,
    MC_DTYPE_F8E4M3FNUZ = 18,
    MC_DTYPE_F8E5M2 = 19,
    MC_DTYPE_F8E5M2FNUZ = 20,
    MC_DTYPE_U4 = 21,
    MC_DTYPE_I4 = 22,
    MC_DTYPE_F4E2M1 = 23,
    MC_DTYPE_F8E8M0 = 24,
    MC_DTYPE_U2 = 25,
    MC_DTYPE_I2 = 26,
    MC_DTYPE_COUNT
};

enum mc_dtype_kind { MC_KIND_OTHER, MC_KIND_FLOAT, MC_KIND_INT, MC_KIND_UINT, MC_KIND_BOOL };

struct mc_dtype_info {
    const char *name; /* as ONNX type strings have it: "float", "int64", "bfloat16" */
    uint8_t bits;     /* per element; 0 for string */
    enum mc_dtype_kind kind;
};

/* Never NULL; numbers outside the table give the row of MC_DTYPE_NONE, name "undefined". */
const struct mc_dtype_info *mc_dtype_info(int dtype);
const char *mc_dtype_name(int dtype);

/* Bytes of n elements; types below 8 bits are packed, the last byte rounded up. False on overflow, on a
 * negative n, and for types without a fixed size. */
bool mc_dtype_bytes(int dtype, int64_t n, size_t *ret_bytes);

/* n elements starting at element 0 of src to f32 or f64 and back; the side of type `dtype` may be unaligned.
 * Every numeric type but complex; sub-byte types are packed low bits first, and unused bits of the last byte
 * become 0. Rounding is to nearest even. Integers saturate, NaN becomes 0 in them; bool is x != 0. Floats too
 * large become infinity, NaN in a type without one, the largest in F4E2M1 (which has neither); a Cast that
 * saturates clips first. F8E8M0 has no zero or sign: those become NaN. The same bits as ml_dtypes.
 * Errors: MC_EDTYPE for string and complex. */
int mc_dtype_to_f32(int dtype, const void *src, float *dst, size_t n, struct mc_err *err);
int mc_dtype_from_f32(int dtype, const float *src, void *dst, size_t n, struct mc_err *err);
int mc_dtype_to_f64(int dtype, const void *src, double *dst, size_t n, struct mc_err *err);
int mc_dtype_from_f64(int dtype, const double *src, void *dst, size_t n, struct mc_err *err);
/* Integers and bool to int64, exactly (uint64 above INT64_MAX saturates). */
int mc_dtype_to_i64(int dtype, const void *src, int64_t *dst, size_t n, struct mc_err *err);

#endif
