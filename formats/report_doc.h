/* A report as a document: headings, paragraphs, tables. Markdown and HTML are two ways to write one. */
#ifndef MC_FORMATS_REPORT_DOC_H
#define MC_FORMATS_REPORT_DOC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct mc_doc { /* how to write it; text is given as it is, and made harmless there */
    void (*heading)(FILE *out, int level, const char *text);
    void (*paragraph)(FILE *out, const char *text);
    void (*code)(FILE *out, const char *text); /* as it stands */
    /* columns: one letter each, 'l' or 'r'. Row 0 is the head. After the last row a call with cells NULL. */
    void (*row)(FILE *out, const char *columns, int number, const char *const *cells);
    void (*curve)(FILE *out, const json_t *training); /* may be NULL */
};

void mc_doc_write(const struct mc_doc *d, const json_t *report, FILE *out);
/* "in.onnx -> out.onnx": what the report is about; ret: scratch of n bytes. */
const char *mc_doc_title(const json_t *report, char *ret, size_t n);

#endif
