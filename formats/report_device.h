/* What a report says of the GPU that computed it. */
#ifndef MC_FORMATS_REPORT_DEVICE_H
#define MC_FORMATS_REPORT_DEVICE_H

#include <jansson.h>

enum { MC_DEVICE_TEXT = 256 };

/* "cuda:0, NVIDIA H100, fp32 (avx512)", or "cpu (avx512)"; NULL: the report does not say. */
const char *mc_device_where(const json_t *report, char ret[MC_DEVICE_TEXT]);
/* Sentence i about the memory of the GPU and what it left to the CPU; NULL behind the last, and without a GPU. */
const char *mc_device_sentence(const json_t *report, int i, char ret[MC_DEVICE_TEXT]);

#endif
