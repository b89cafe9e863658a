#include "graph/run/device.h"

#include <stdio.h>
#include <string.h>

#include "kernels/gpu.h"
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

/* ---- GPUs ---- */

bool mc_device_gpu(int i, struct mc_device_gpu *ret, struct mc_err *err)
{
    struct mc_gpu_info info;
    struct mc_err why;
    if (i >= mc_gpu_count(err))
        return false;
    memset(ret, 0, sizeof *ret);
    ret->number = i;
    if (mc_gpu_describe(i, &info, &why)) {
        snprintf(ret->why, sizeof ret->why, "%.255s", why.msg);
        return true;
    }
    memcpy(ret->name, info.name, sizeof ret->name);
    memcpy(ret->why, info.why, sizeof ret->why);
    ret->major = info.major;
    ret->minor = info.minor;
    ret->bytes = info.total;
    return true;
}

bool mc_device_library(int i, struct mc_device_library *ret)
{
    struct mc_gpu_library l;
    if (!mc_gpu_library(i, &l))
        return false;
    ret->name = l.name;
    ret->use = l.use;
    memcpy(ret->found, l.found, sizeof ret->found);
    memcpy(ret->why, l.why, sizeof ret->why);
    return true;
}

int mc_device_check(const char *device, const char *where, struct mc_err *err)
{
    static const char cuda[] = "cuda";
    const char *number = device + strlen(cuda);
    if (!strcmp(device, "auto") || !strcmp(device, "cpu") || !strcmp(device, cuda))
        return 0;
    if (!strncmp(device, cuda, strlen(cuda)) && number[0] == ':' && number[1] &&
        strlen(number) <= 5 && strspn(number + 1, "0123456789") == strlen(number + 1))
        return 0;
    return mc_fail(err, MC_EUSAGE, "%s takes auto, cpu, cuda or cuda:N, not '%s'", where, device);
}

int mc_device_start(struct mc_pool *pool, const char *device, const char *precision,
                    struct mc_err *why, struct mc_err *err)
{
    bool any = !strcmp(device, "auto");
    struct mc_gpu_opts o = {MC_GPU_FP32};
    struct mc_gpu *gpu = NULL;
    struct mc_err said = {0};
    if (why)
        *why = said;
    if (!strcmp(device, "cpu"))
        return 0;
    if (!strcmp(precision, "tf32"))
        o.precision = MC_GPU_TF32;
    else if (!strcmp(precision, "bf16"))
        o.precision = MC_GPU_BF16;
    int rc = mc_gpu_open(any ? "cuda" : device, &o, pool ? &gpu : NULL, &said);
    if (!rc && pool)
        mc_pool_set_gpu(pool, gpu);
    else if (!rc)
        return 0;
    else if (!any)
        return mc_fail(err, rc, "%s", said.msg);
    else if (why)
        *why = said;
    return 0;
}

void mc_device_stop(struct mc_pool *pool)
{
    if (!mc_pool_gpu(pool))
        return;
    mc_gpu_close(mc_pool_gpu(pool));
    mc_pool_set_gpu(pool, NULL);
}

const char *mc_device_name(const struct mc_pool *pool)
{
    static _Thread_local char name[16];
    const struct mc_gpu *gpu = mc_pool_gpu(pool);
    if (!gpu)
        return "cpu";
    snprintf(name, sizeof name, "cuda:%d", mc_gpu_number(gpu));
    return name;
}

bool mc_device_use(const struct mc_pool *pool, struct mc_device_use *ret)
{
    const struct mc_gpu *gpu = mc_pool_gpu(pool);
    struct mc_gpu_memory m;
    if (!gpu)
        return false;
    mc_gpu_memory(gpu, &m);
    *ret = (struct mc_device_use){
        .card = mc_gpu_name(gpu),
        .precision = mc_gpu_precision(gpu),
        .planned = mc_device_planned(),
        .peak = m.peak,
        .workspace = m.workspace,
        .context = m.context,
    };
    return true;
}
