#include "train/schedule.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

/* Where onecycle begins and ends: OneCycleLR's div_factor 25, final_div_factor 1e4. */
static const double CYCLE_START = 1.0 / 25, CYCLE_END = 1.0 / 25 / 1e4;

/* Half a cosine from a to b as x goes from 0 to 1. */
static double ease(double a, double b, double x)
{
    return b + (a - b) * (1 + cos(PI * x)) / 2;
}

static double cycle(double warmup, int64_t step, int64_t total)
{
    double peak = warmup * (double)total - 1, last = (double)total - 1, at = (double)step;
    peak = peak > 0 ? peak : 0;
    if (at <= peak)
        return peak > 0 ? ease(CYCLE_START, 1, at / peak) : 1;
    return ease(1, CYCLE_END, (at - peak) / (last - peak));
}

double mc_schedule_factor(enum mc_schedule_kind kind, double warmup, int64_t step, int64_t total)
{
    if (kind == MC_SCHEDULE_ONECYCLE)
        return cycle(warmup, step, total);
    double rise = floor(warmup * (double)total), at = (double)step;
    if (at < rise)
        return (at + 1) / (rise + 1);
    if (kind == MC_SCHEDULE_COSINE)
        return ease(1, 0, (at - rise) / ((double)total - rise));
    if (kind == MC_SCHEDULE_STEP)
        return at < (double)total / 2 ? 1 : at < 0.75 * (double)total ? 0.1 : 0.01;
    return 1;
}
