#include "kernels/fourier.h"

#include <fftw3.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

struct mc_fourier {
    struct mc_fourier *next;
    int64_t n;
    fftwf_plan forward, here, inverse;
};

/* FFTW's planner is not thread-safe, its execution is. */
static pthread_mutex_t planning = PTHREAD_MUTEX_INITIALIZER;
static struct mc_fourier *plans;

static struct mc_fourier *make(int64_t n)
{
    struct mc_fourier *f = malloc(sizeof *f);
    fftwf_complex *x = fftwf_malloc((size_t)n * sizeof *x),
                  *y = fftwf_malloc((size_t)n * sizeof *y);
    if (!f || !x || !y)
        abort(); /* as FFTW does itself where memory ends */
    f->n = n;
    f->forward = fftwf_plan_dft_1d((int)n, x, y, FFTW_FORWARD, FFTW_ESTIMATE);
    f->here = fftwf_plan_dft_1d((int)n, x, x, FFTW_FORWARD, FFTW_ESTIMATE);
    f->inverse = fftwf_plan_dft_1d((int)n, x, y, FFTW_BACKWARD, FFTW_ESTIMATE);
    fftwf_free(x);
    fftwf_free(y);
    if (!f->forward || !f->here || !f->inverse)
        abort();
    return f;
}

const struct mc_fourier *mc_fourier_get(int64_t n)
{
    pthread_mutex_lock(&planning);
    struct mc_fourier *f = plans;
    while (f && f->n != n)
        f = f->next;
    if (!f) {
        f = make(n);
        f->next = plans;
        plans = f;
    }
    pthread_mutex_unlock(&planning);
    return f;
}

void mc_fourier_forward(const struct mc_fourier *f, const float *x, float *to)
{
    fftwf_execute_dft(f->forward, (fftwf_complex *)x, (fftwf_complex *)to);
}

void mc_fourier_forward_here(const struct mc_fourier *f, float *x)
{
    fftwf_execute_dft(f->here, (fftwf_complex *)x, (fftwf_complex *)x);
}

void mc_fourier_inverse(const struct mc_fourier *f, const float *x, float *to)
{
    fftwf_execute_dft(f->inverse, (fftwf_complex *)x, (fftwf_complex *)to);
}

void mc_fourier_waves(int64_t n, float *cosine, float *sine)
{
    for (int64_t m = 0; m < n; m++) {
        cosine[m] = (float)cos(2 * M_PI * (double)m / (double)n);
        sine[m] = (float)sin(2 * M_PI * (double)m / (double)n);
    }
}
