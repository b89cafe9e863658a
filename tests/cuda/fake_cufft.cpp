/* cuFFT for the simulation, by FFTW: batches of real transforms, with the work area that the caller gave. */
#include <cstring>
#include <fftw3.h>
#include <vector>

#include "kernels/cuda/lib_cufft.h"
#include "tests/cuda/fake.h"

namespace {
const int SUCCESS = MC_CUFFT_SUCCESS, INVALID_PLAN = 1, ALLOC_FAILED = 2, INVALID_VALUE = 4;

struct plan {
    bool used = false, automatic = true;
    int type = 0;
    long long n = 0, batch = 0, from = 0, to = 0; /* between the items of a batch */
    size_t work = 0;
    void *area = nullptr;
    fftwf_plan fftw = nullptr;
};
std::vector<plan> plans;

plan *find(int handle)
{
    return handle > 0 && (size_t)handle <= plans.size() && plans[handle - 1].used
               ? &plans[handle - 1]
               : nullptr;
}

int create(int *handle)
{
    size_t i = 0;
    while (i < plans.size() && plans[i].used)
        i++;
    if (i == plans.size())
        plans.emplace_back();
    plans[i] = plan();
    plans[i].used = true;
    *handle = (int)i + 1;
    return SUCCESS;
}

int destroy(int handle)
{
    plan *p = find(handle);
    if (!p)
        return INVALID_PLAN;
    if (p->fftw)
        fftwf_destroy_plan(p->fftw);
    *p = plan();
    return SUCCESS;
}

int set_auto_allocation(int handle, int automatic)
{
    plan *p = find(handle);
    if (!p)
        return INVALID_PLAN;
    p->automatic = automatic != 0;
    return SUCCESS;
}

int make_plan_many(int handle, int rank, long long *n, long long *inembed, long long istride,
                   long long idist, long long *onembed, long long ostride, long long odist,
                   int type, long long batch, size_t *work)
{
    plan *p = find(handle);
    if (!p || p->automatic) /* memory of its own would not be counted */
        return INVALID_PLAN;
    if (rank != 1 || !inembed || !onembed || istride != 1 || ostride != 1 || batch < 1 || *n < 1)
        return INVALID_VALUE;
    p->type = type;
    p->n = *n;
    p->batch = batch;
    p->from = idist;
    p->to = odist;
    p->work = *work = (size_t)(batch * *n) * sizeof(float) + 40;
    std::vector<float> real((size_t)*n);
    std::vector<float> complex((size_t)(*n + 2));
    auto *c = (fftwf_complex *)complex.data();
    unsigned flags = FFTW_ESTIMATE | FFTW_UNALIGNED;
    p->fftw = type == MC_CUFFT_R2C ? fftwf_plan_dft_r2c_1d((int)*n, real.data(), c, flags)
                                   : fftwf_plan_dft_c2r_1d((int)*n, c, real.data(), flags);
    return p->fftw ? SUCCESS : ALLOC_FAILED;
}

int set_stream(int handle, cudaStream_t)
{
    return find(handle) ? SUCCESS : INVALID_PLAN;
}

int set_work_area(int handle, void *work)
{
    plan *p = find(handle);
    if (!p)
        return INVALID_PLAN;
    p->area = work;
    return SUCCESS;
}

/* What cuFFT leaves in its memory is not for others: the same here. */
int exec_r2c(int handle, float *in, float2 *out)
{
    plan *p = find(handle);
    if (!p || p->type != MC_CUFFT_R2C || !p->area || (size_t)in % sizeof(float2))
        return INVALID_VALUE;
    plan now = *p;
    mc_sim_enqueue([=] {
        memset(now.area, 0x7f, now.work);
        for (long long i = 0; i < now.batch; i++)
            fftwf_execute_dft_r2c(now.fftw, in + i * now.from, (fftwf_complex *)(out + i * now.to));
    });
    return SUCCESS;
}

int exec_c2r(int handle, float2 *in, float *out)
{
    plan *p = find(handle);
    if (!p || p->type != MC_CUFFT_C2R || !p->area || (size_t)out % sizeof(float2))
        return INVALID_VALUE;
    plan now = *p;
    mc_sim_enqueue([=] {
        memset(now.area, 0x7f, now.work);
        for (long long i = 0; i < now.batch; i++)
            fftwf_execute_dft_c2r(now.fftw, (fftwf_complex *)(in + i * now.from), out + i * now.to);
    });
    return SUCCESS;
}
} // namespace

const mc_fake mc_fake_cufft[] = {
    {"cufftCreate", (void *)create},
    {"cufftDestroy", (void *)destroy},
    {"cufftSetAutoAllocation", (void *)set_auto_allocation},
    {"cufftMakePlanMany64", (void *)make_plan_many},
    {"cufftSetStream", (void *)set_stream},
    {"cufftSetWorkArea", (void *)set_work_area},
    {"cufftExecR2C", (void *)exec_r2c},
    {"cufftExecC2R", (void *)exec_c2r},
    {nullptr, nullptr},
};
