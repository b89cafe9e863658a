/* Measuring beside what this machine can do: its sgemm (OpenBLAS, one thread) and its memory. */
#ifndef MC_TESTS_BENCH_H
#define MC_TESTS_BENCH_H

/* OpenBLAS takes a CPU newer than itself for a Prescott and runs at a fifth of its speed: start again with the
 * kernels it has for this instruction set, so that the bar is its best. Returns if there is no need. */
void bench_prepare(char **argv);

/* Measured once per run. */
double bench_sgemm_gflops(void); /* the best of several sizes */
double bench_copy_gbs(void);     /* read + written, far larger than the caches */

/* Seconds of one fn(ctx): the least of several timings of about 20 ms each. */
double bench_seconds(void (*fn)(void *ctx), void *ctx);

/* One line: rate, and its ratio to the machine's. */
void bench_flops(const char *what, double flops, double seconds);
void bench_bytes(const char *what, double bytes, double seconds);

#endif
