/* What a report says in short: figures before and after, the verdict in one sentence. All faces tell the same. */
#ifndef MC_FORMATS_REPORT_FACTS_H
#define MC_FORMATS_REPORT_FACTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* Which models are compared: what a pass was given and what it wrote, or the reference and the model of `eval`. */
struct mc_fact_sides {
    const json_t *before, *after;                 /* files: bytes, parameters, macs */
    const json_t *metrics_before, *metrics_after; /* NULL or null: not measured */
};
void mc_fact_sides(const json_t *report, struct mc_fact_sides *ret);

enum mc_fact_kind {
    MC_FACT_SIZE, /* bytes */
    MC_FACT_PARAMETERS,
    MC_FACT_MACS,
    MC_FACT_LATENCY,
    MC_FACT_SHARE, /* a metric from 0 to 1: told in percent, its change in points */
    MC_FACT_LOSS,
};

struct mc_fact {
    enum mc_fact_kind kind;
    const char *key, *name;      /* "top1", "top-1" */
    double before, after;        /* before: NAN where only the result is known */
    char a[MC_TEXT], b[MC_TEXT]; /* them as text; "" for NAN */
    char change[2 * MC_TEXT];    /* "12.0 %", "-0.18 points", "2.1× as fast" */
};
/* Figure i of those that the report has; false at the end. */
bool mc_fact_at(const json_t *report, size_t i, struct mc_fact *ret);

enum mc_fact_state { MC_FACT_UNJUDGED, MC_FACT_PASSED, MC_FACT_MISSED };
enum mc_fact_state mc_fact_state(const json_t *report);

enum { MC_FACT_TEXT = 1024 };
/* "12 % of the bytes, top-1 down 0.18 points (95 % interval -0.09 to 0.45), 2.1× as fast". */
const char *mc_fact_verdict(const json_t *report, char ret[MC_FACT_TEXT]);
/* One sentence each, "" where there is nothing to tell: the drop with its interval, the agreement of the outputs, what was
 * measured on, how the latency was got. Names in them are shortened. */
const char *mc_fact_drop(const json_t *report, char ret[MC_FACT_TEXT]);
const char *mc_fact_agreement(const json_t *report, char ret[MC_FACT_TEXT]);
const char *mc_fact_samples(const json_t *report, char ret[MC_FACT_TEXT]);
const char *mc_fact_latency(const json_t *report, char ret[MC_FACT_TEXT]);
/* "2.1× as fast", "as fast as before", "takes 1.30× as long"; "" without latency. */
const char *mc_fact_speedup(const json_t *report, char ret[2 * MC_TEXT]);

/* A pass's "search": its goal, whether it was reached, what was measured. Begins with "search: ". */
const char *mc_fact_search(const json_t *search, char ret[MC_FACT_TEXT]);

/* A pass's "refit": how many layers were fitted, what that brought. Begins with "fit: "; "" where there was nothing to fit. */
const char *mc_fact_refit(const json_t *refit, char ret[MC_FACT_TEXT]);
/* A pass's "repair": the same of layers that make up for what was cut. Begins with "repair: ". */
const char *mc_fact_repair(const json_t *repair, char ret[MC_FACT_TEXT]);

/* Of a pass that removes nodes: how many stay, and by what they were chosen. Begins with "nodes: "; "" for others. */
const char *mc_fact_prune(const json_t *pass, char ret[MC_FACT_TEXT]);

/* Of a pass that quantises, sentence i: which forms, how it was judged, what repairs brought; "" where there is nothing to tell.
 * false: at the end, and for other passes. */
bool mc_fact_quant(const json_t *pass, size_t i, char ret[MC_FACT_TEXT]);

/* The drop in top-1 and its interval as shares; false where there is none. *ret_limit: of --max-drop, or NAN. */
bool mc_fact_interval(const json_t *report, double ret[3], double *ret_limit);

#endif
