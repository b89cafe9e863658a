/* Sequences of labels against scores of a sequence. Private to graph/run. */
#ifndef MC_GRAPH_RUN_LABEL_ERRORS_H
#define MC_GRAPH_RUN_LABEL_ERRORS_H

#include <stdint.h>

/* Labels that must be put in, left out or changed until what the scores say is `label`, whose length, up to the
 * first below 0 or `most`, goes to *ret_n. They say the largest of each step, the first of equals, repeats merged,
 * then `blank` left out (greedy decoding). row: scratch of most + 1.
 * score [steps,classes].  Cost: steps * most.
 * Source: Graves, Fernández, Gomez, Schmidhuber, Connectionist Temporal Classification, ICML 2006, eqs. (1), (4). */
int64_t mc_label_errors(const double *score, int64_t steps, int64_t classes, int64_t blank,
                        const int64_t *label, int64_t most, int64_t *row, int64_t *ret_n);

#endif
