/* The integer types, one row each: C type, name in enum mc_elem, smallest and largest value. */
#ifndef MC_KERNELS_TYPED_LIST_H
#define MC_KERNELS_TYPED_LIST_H

#include <stdint.h>

#define INTEGERS(X)                                                                                \
    X(int8_t, I8, INT8_MIN, INT8_MAX)                                                              \
    X(int16_t, I16, INT16_MIN, INT16_MAX)                                                          \
    X(int32_t, I32, INT32_MIN, INT32_MAX)                                                          \
    X(int64_t, I64, INT64_MIN, INT64_MAX)                                                          \
    X(uint8_t, U8, 0, UINT8_MAX)                                                                   \
    X(uint16_t, U16, 0, UINT16_MAX)                                                                \
    X(uint32_t, U32, 0, UINT32_MAX)                                                                \
    X(uint64_t, U64, 0, UINT64_MAX)

#endif
