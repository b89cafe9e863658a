#include "graph/run/device.h"

#include "kernels/kernels.h"
#include "kernels/linalg.h"

const char *mc_device_level(size_t i, bool *ret_usable)
{
    static const char *const levels[] = {"ref", "plain", "avx2", "avx512", "avx512vnni"};
    if (i >= sizeof levels / sizeof *levels)
        return NULL;
    *ret_usable = mc_kernels_get(levels[i], sizeof(float)) != NULL;
    return levels[i];
}

const char *mc_device_kernels(void)
{
    const struct mc_kernels *k = mc_kernels_get(NULL, sizeof(float));
    return k ? k->name : NULL;
}

const char *mc_device_blas_wanted(void)
{
    return mc_linalg_better_core();
}
