#include <cblas.h>
#include <stdbool.h>
#include <stdlib.h>
#include <strings.h>

#include "kernels/linalg.h"

const char *mc_linalg_core(void)
{
    return openblas_get_corename();
}

const char *mc_linalg_better_core(void)
{
#ifdef __x86_64__
    /* OpenBLAS's names of x86 kernels that use no AVX2, which CPUs have had since 2013. */
    static const char *const old[] = {"Katmai", "Coppermine", "Northwood",  "Prescott",
                                      "Banias", "Core2",      "Penryn",     "Dunnington",
                                      "Atom",   "Nehalem",    "Sandybridge"};
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    for (size_t i = 0; avx2 && !getenv("OPENBLAS_CORETYPE") && i < sizeof old / sizeof *old; i++)
        if (!strcasecmp(openblas_get_corename(), old[i]))
            return avx512 ? "SkylakeX" : "Haswell";
#endif
    return NULL;
}
