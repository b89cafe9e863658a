/* A library that only says which version it is: of the environment's STUB_VERSION, for CUDA STUB_CUDART. Copied to the
 * names of the real ones to see which of them are taken. */
#include <stddef.h>
#include <stdlib.h>

int cublasGetProperty(int part, int *value);
int cublasLtGetProperty(int part, int *value);
int cudnnGetProperty(int part, int *value);
int cufftGetProperty(int part, int *value);
int cusolverGetProperty(int part, int *value);
size_t cudnnGetCudartVersion(void);

static int number(const char *name)
{
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

static int get(int part, int *value)
{
    *value = part == 0 ? number("STUB_VERSION") : 7;
    return 0;
}

int cublasGetProperty(int part, int *value)
{
    return get(part, value);
}

int cublasLtGetProperty(int part, int *value)
{
    return get(part, value);
}

int cudnnGetProperty(int part, int *value)
{
    return get(part, value);
}

int cufftGetProperty(int part, int *value)
{
    return get(part, value);
}

int cusolverGetProperty(int part, int *value)
{
    return get(part, value);
}

size_t cudnnGetCudartVersion(void)
{
    return (size_t)number("STUB_CUDART");
}
