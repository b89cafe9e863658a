/* Measuring beside what this machine can do: its sgemm (OpenBLAS, one thread) and its memory. */
#ifndef MC_TESTS_BENCH_H
#define MC_TESTS_BENCH_H

/* OpenBLAS takes a CPU newer than itself for a Prescott and runs at a fifth of its speed: start again with
 * the kernels it has for this instruction set, so that the bar is its best. Returns if there is no need. */
void bench_prepare(char **argv);

struct bench {
    double flops, bytes; /* of one call; 0: not of interest */
    void (*fn)(void *ctx);
    void *ctx;
    void (*rival)(void *ctx); /* does the same another way, or NULL */
};

/* Print one line: the time of a call, its rate, and what part of the machine's it is. The machine's rate is
 * measured in turns with fn, and of both the best counts: other work on the CPU comes and goes. */
void bench_line(const struct bench *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
