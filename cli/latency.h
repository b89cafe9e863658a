/* Latency of a model and of what became of it, side by side on this machine. */
#ifndef MC_CLI_LATENCY_H
#define MC_CLI_LATENCY_H

#include "cli/job.h"

/* Times j->original and j->result on one sample, batch 1, one thread or the invocation's GPU, in pairs of runs that take turns at going first:
 * half a second in all, less where the command took less than three times that so far, or three pairs where they are slow,
 * and no more than one of very slow ones. The sample is the first of --data, --calib or --train, else random numbers of the
 * declared shapes.
 *
 * *ret: {batch, threads, device, pairs, runs, inputs: "data" | "random", before: {median_seconds, low, high}, after: {…},
 * speedup: {median, low, high}}; low and high of the times are their first and ninth decile, those of the speedup (time
 * before / time after, of each pair) its 95 % interval. Or *ret is NULL and ret_why says why there is no
 * latency; or an empty text where nobody asked. Errors: MC_EINTR, MC_ENOMEM. */
int mc_cli_latency(const struct mc_cli *cli, const struct mc_job *j, json_t **ret,
                   char ret_why[MC_LATENCY_WHY], struct mc_err *err);

/* Quantile q of n ascending numbers, between two of them in proportion. */
double mc_latency_quantile(const double *sorted, int n, double q);
/* Ranks (from 0) of the 95 % interval of a median of n: by the sign test, all of them where n is too few. */
void mc_latency_ranks(int n, int *ret_low, int *ret_high);

#endif
