/* A build without CUDA: there is no GPU, and every question is answered so. */
#include <string.h>

#include "kernels/gpu.h"

static int none(struct mc_err *err)
{
    return mc_fail(err, MC_EUNSUP,
                   "this mcompress was built without CUDA, so it computes on the CPU alone; "
                   "'./bootstrap build --cuda' builds one that can use a GPU");
}

int mc_gpu_count(struct mc_err *err)
{
    none(err);
    return 0;
}

int mc_gpu_describe(int number, struct mc_gpu_info *ret, struct mc_err *err)
{
    (void)number;
    memset(ret, 0, sizeof *ret);
    return none(err);
}

bool mc_gpu_library(int i, struct mc_gpu_library *ret)
{
    (void)i;
    memset(ret, 0, sizeof *ret);
    return false;
}

int mc_gpu_open(const char *device, const struct mc_gpu_opts *o, struct mc_gpu **ret,
                struct mc_err *err)
{
    (void)device;
    (void)o;
    (void)ret;
    return none(err);
}

/* Nobody has a device to call these with. */

void mc_gpu_close(struct mc_gpu *g)
{
    (void)g;
}

int mc_gpu_number(const struct mc_gpu *g)
{
    (void)g;
    return -1;
}

const char *mc_gpu_name(const struct mc_gpu *g)
{
    (void)g;
    return "";
}

const char *mc_gpu_precision(const struct mc_gpu *g)
{
    (void)g;
    return "";
}

const struct mc_kernels *mc_gpu_kernels(const struct mc_gpu *g)
{
    (void)g;
    return NULL;
}

struct mc_gpu *mc_gpu_enter(struct mc_gpu *g)
{
    (void)g;
    return NULL;
}

int mc_gpu_alloc(struct mc_gpu *g, size_t bytes, void **ret, struct mc_err *err)
{
    (void)g;
    (void)bytes;
    (void)ret;
    return none(err);
}

void mc_gpu_free(struct mc_gpu *g, void *p)
{
    (void)g;
    (void)p;
}

void *mc_gpu_host_alloc(struct mc_gpu *g, size_t bytes)
{
    (void)g;
    (void)bytes;
    return NULL;
}

void mc_gpu_host_free(struct mc_gpu *g, void *p)
{
    (void)g;
    (void)p;
}

int mc_gpu_shared_alloc(struct mc_gpu *g, size_t bytes, void **ret, struct mc_err *err)
{
    return mc_gpu_alloc(g, bytes, ret, err);
}

void mc_gpu_shared_free(struct mc_gpu *g, void *p)
{
    (void)g;
    (void)p;
}

int mc_gpu_put(struct mc_gpu *g, void *dst, const void *src, size_t bytes, struct mc_err *err)
{
    (void)g;
    (void)dst;
    (void)src;
    (void)bytes;
    return none(err);
}

int mc_gpu_get(struct mc_gpu *g, void *dst, const void *src, size_t bytes, struct mc_err *err)
{
    return mc_gpu_put(g, dst, src, bytes, err);
}

int mc_gpu_copy(struct mc_gpu *g, void *dst, const void *src, size_t bytes, struct mc_err *err)
{
    return mc_gpu_put(g, dst, src, bytes, err);
}

int mc_gpu_zero(struct mc_gpu *g, void *dst, size_t bytes, struct mc_err *err)
{
    return mc_gpu_put(g, dst, NULL, bytes, err);
}

int mc_gpu_wait(struct mc_gpu *g, struct mc_err *err)
{
    (void)g;
    return none(err);
}

int mc_gpu_record_begin(struct mc_gpu *g, struct mc_err *err)
{
    (void)g;
    return none(err);
}

int mc_gpu_record_end(struct mc_gpu *g, struct mc_gpu_recording **ret, struct mc_err *err)
{
    (void)g;
    (void)ret;
    return none(err);
}

int mc_gpu_replay(struct mc_gpu *g, struct mc_gpu_recording *r, struct mc_err *err)
{
    (void)g;
    (void)r;
    return none(err);
}

void mc_gpu_recording_free(struct mc_gpu *g, struct mc_gpu_recording *r)
{
    (void)g;
    (void)r;
}

void mc_gpu_memory(const struct mc_gpu *g, struct mc_gpu_memory *ret)
{
    (void)g;
    memset(ret, 0, sizeof *ret);
}

void mc_gpu_memory_restart(struct mc_gpu *g)
{
    (void)g;
}
