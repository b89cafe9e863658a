#include "kernels/fourier.h"

#include <fftw3.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

struct mc_fourier {
    struct mc_fourier *next;
    int64_t n;
    fftwf_plan forward, here, inverse;
    fftwf_plan forward_many, inverse_many; /* of MANY; NULL where that gains nothing */
};

enum { MANY = 8, LONGEST_MANY = 128 };

/* FFTW's planner is not thread-safe, its execution is. */
static pthread_mutex_t planning = PTHREAD_MUTEX_INITIALIZER;
static struct mc_fourier *plans;

static struct mc_fourier *make(int64_t n)
{
    struct mc_fourier *f = malloc(sizeof *f);
    size_t bytes = (size_t)mc_fourier_step(n) * MANY * sizeof(float);
    fftwf_complex *x = fftwf_malloc(bytes), *y = fftwf_malloc(bytes);
    if (!f || !x || !y)
        abort(); /* as FFTW does itself where memory ends */
    *f = (struct mc_fourier){.n = n};
    f->forward = fftwf_plan_dft_1d((int)n, x, y, FFTW_FORWARD, FFTW_ESTIMATE);
    f->here = fftwf_plan_dft_1d((int)n, x, x, FFTW_FORWARD, FFTW_ESTIMATE);
    f->inverse = fftwf_plan_dft_1d((int)n, x, y, FFTW_BACKWARD, FFTW_ESTIMATE);
    if (!f->forward || !f->here || !f->inverse)
        abort();
    if (n <= LONGEST_MANY) {
        int length = (int)n, step = (int)(mc_fourier_step(n) / 2);
        f->forward_many = fftwf_plan_many_dft(1, &length, MANY, x, NULL, 1, step, y, NULL, 1, step,
                                              FFTW_FORWARD, FFTW_ESTIMATE);
        f->inverse_many = fftwf_plan_many_dft(1, &length, MANY, x, NULL, 1, step, y, NULL, 1, step,
                                              FFTW_BACKWARD, FFTW_ESTIMATE);
    }
    fftwf_free(x);
    fftwf_free(y);
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

void mc_fourier_forward_here(const struct mc_fourier *f, float *x)
{
    fftwf_execute_dft(f->here, (fftwf_complex *)x, (fftwf_complex *)x);
}

void mc_fourier_inverse(const struct mc_fourier *f, const float *x, float *to)
{
    fftwf_execute_dft(f->inverse, (fftwf_complex *)x, (fftwf_complex *)to);
}

static void all(const struct mc_fourier *f, fftwf_plan many, fftwf_plan one, int64_t count,
                const float *x, float *to)
{
    int64_t step = mc_fourier_step(f->n), i = 0;
    for (; many && i + MANY <= count; i += MANY)
        fftwf_execute_dft(many, (fftwf_complex *)(x + i * step), (fftwf_complex *)(to + i * step));
    for (; i < count; i++)
        fftwf_execute_dft(one, (fftwf_complex *)(x + i * step), (fftwf_complex *)(to + i * step));
}

void mc_fourier_forward_all(const struct mc_fourier *f, int64_t count, const float *x, float *to)
{
    all(f, f->forward_many, f->forward, count, x, to);
}

void mc_fourier_inverse_all(const struct mc_fourier *f, int64_t count, const float *x, float *to)
{
    all(f, f->inverse_many, f->inverse, count, x, to);
}

void mc_fourier_waves(int64_t n, float *cosine, float *sine)
{
    for (int64_t m = 0; m < n; m++) {
        cosine[m] = (float)cos(2 * M_PI * (double)m / (double)n);
        sine[m] = (float)sin(2 * M_PI * (double)m / (double)n);
    }
}
