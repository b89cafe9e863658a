/* The mathematical libraries of CUDA, opened at first use: a program with CUDA in it starts without any of them.
 * Their headers are not needed: who calls a function declares its type, with opaque handles, in lib_NAME.h beside
 * this file; tests/cuda/headers.cu compares those with the real headers where they are installed. */
#ifndef MC_KERNELS_CUDA_LIBS_H
#define MC_KERNELS_CUDA_LIBS_H

#include <stddef.h>

enum mc_cuda_lib {
    MC_LIB_CUBLAS,
    MC_LIB_CUBLASLT,
    MC_LIB_CUDNN,
    MC_LIB_CUFFT,
    MC_LIB_CUSOLVER,
    MC_LIB_COUNT
};

/* Function of a library, or NULL: the library or the function is not there. Looked for by soname in the folders of
 * MCOMPRESS_CUDA_LIBDIR, the loader's path, beside the program, in the toolkit's folder, those of Python's wheels. Only
 * the generation that this program was compiled with is taken. Any thread.
 * Cost: of the first call for a library, loading it (0.1 to 1 s); then of dlsym, so keep the result. */
void *mc_cuda_symbol(enum mc_cuda_lib lib, const char *name);

/* to.fn = its function of the same name; `ok` becomes false if it is not there. */
#define MC_CUDA_SYMBOL(lib, to, fn, ok)                                                            \
    do {                                                                                           \
        (to)->fn = (decltype((to)->fn))mc_cuda_symbol(lib, #fn);                                   \
        (ok) = (ok) && (to)->fn;                                                                   \
    } while (0)

/* Is there a driver to ask for devices? Nothing of CUDA is started by this. *why, of `size`: why not.
 * Cost: under 1 ms without one. */
bool mc_cuda_driver(char *why, size_t size);

#endif
