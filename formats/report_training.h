/* What the faces of a report say about training: parts of a pass's "training" (train/train.h), in words. */
#ifndef MC_FORMATS_REPORT_TRAINING_H
#define MC_FORMATS_REPORT_TRAINING_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { MC_TRAINING_TEXT = 512, MC_TRAINING_ROWS = 12, MC_TRAINING_CELLS = 5 };

/* "445 updates of 128 samples, 57,000 of them from fashion-mnist:train; 3,000 held out"; … Sentence i; NULL at the
 * end. ret: scratch. */
const char *mc_training_sentence(const json_t *training, int i, char ret[MC_TRAINING_TEXT]);
/* Cells of row i of the table over epochs (epoch, loss, held-out loss, held-out top-1, learning rate), row 0 its head;
 * of many epochs at most MC_TRAINING_ROWS are told, the last among them. False at the end. */
bool mc_training_row(const json_t *training, int i, char ret[MC_TRAINING_CELLS][32]);
#endif
