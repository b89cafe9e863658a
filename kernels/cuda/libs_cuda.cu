#include "kernels/cuda/libs.h"

#include <stddef.h>

#ifdef MC_CUDA_SIM
#include "tests/cuda/fake.h"
#else
#include <dlfcn.h>
#endif

static const char *const sonames[MC_LIB_COUNT][3] = {
    {"libcublas.so.13", "libcublas.so.12"},
    {"libcublasLt.so.13", "libcublasLt.so.12"},
    {"libcudnn.so.9"},
    {"libcufft.so.12", "libcufft.so.11"},
    {"libcusolver.so.12", "libcusolver.so.11"},
};

#ifdef MC_CUDA_SIM
void *mc_cuda_symbol(enum mc_cuda_lib lib, const char *name)
{
    return mc_fake_symbol(sonames[lib][0], name);
}
#else
static void *handles[MC_LIB_COUNT];

void *mc_cuda_symbol(enum mc_cuda_lib lib, const char *name)
{
    for (int i = 0; !handles[lib] && sonames[lib][i]; i++)
        handles[lib] = dlopen(sonames[lib][i], RTLD_NOW | RTLD_LOCAL);
    return handles[lib] ? dlsym(handles[lib], name) : NULL;
}
#endif
