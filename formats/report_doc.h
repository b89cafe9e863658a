/* A report as a document: headings, paragraphs, tables. Markdown and HTML are two ways to write one. */
#ifndef MC_FORMATS_REPORT_DOC_H
#define MC_FORMATS_REPORT_DOC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "formats/report_facts.h"

enum mc_figure {
    MC_FIGURE_TILES,    /* of: the report: its main figures, large */
    MC_FIGURE_BYTES,    /* the report */
    MC_FIGURE_INTERVAL, /* the report */
    MC_FIGURE_STEPS,    /* the report */
    MC_FIGURE_LAYERS,   /* a pass */
    MC_FIGURE_SEARCH,   /* a pass */
    MC_FIGURE_TRAINING, /* a pass's training */
};

enum mc_remark { MC_REMARK_NOTE, MC_REMARK_WARNING, MC_REMARK_DETAIL };

struct mc_doc { /* how to write it; text is given as it is, and made harmless there */
    void (*heading)(FILE *out, int level, const char *text);
    void (*paragraph)(FILE *out, const char *text);
    void (*code)(FILE *out, const char *text); /* as it stands */
    /* columns: one letter each, 'l' or 'r'. Row 0 is the head. After the last row a call with cells NULL. */
    void (*row)(FILE *out, const char *columns, int number, const char *const *cells);
    /* The sentence that counts. */
    void (*verdict)(FILE *out, enum mc_fact_state state, const char *text);
    void (*gate)(FILE *out, bool passed, const char *name, const char *text);
    void (*remark)(FILE *out, enum mc_remark kind, const char *text);
    /* What follows is shown when it is asked for; NULL ends it. Not nested. */
    void (*fold)(FILE *out, const char *summary);
    void (*figure)(FILE *out, enum mc_figure what, const json_t *of); /* NULL: there are none */
    bool brief; /* details are always folded, and lists told by their reasons only */
};

/* A table row by row: zero but for d, out and columns. */
struct mc_doc_rows {
    const struct mc_doc *d;
    FILE *out;
    const char *columns;
    int n;
};
void mc_doc_row(struct mc_doc_rows *r, const char *const *cells);
void mc_doc_rows_end(struct mc_doc_rows *r);

void mc_doc_write(const struct mc_doc *d, const json_t *report, FILE *out);
/* "in.onnx → out.onnx": what the report is about, the files' names shortened; ret: scratch of n bytes. */
const char *mc_doc_title(const json_t *report, char *ret, size_t n);

/* Parts of it. */
void mc_doc_headline(const struct mc_doc *d, const json_t *report, FILE *out);
void mc_doc_steps(const struct mc_doc *d, const json_t *report, FILE *out);
/* step: from 1 where a report has several passes, 0 where it has one. */
void mc_doc_layers(const struct mc_doc *d, const json_t *pass, size_t step, FILE *out);
void mc_doc_search(const struct mc_doc *d, const json_t *pass, size_t step, FILE *out);
void mc_doc_training(const struct mc_doc *d, const json_t *training, size_t step, FILE *out);
enum { MC_DOC_STEP = 32 };
/* What a title begins with: "Step 2. ", or nothing. */
const char *mc_doc_step(size_t step, char ret[MC_DOC_STEP]);
void mc_doc_again(const struct mc_doc *d, const json_t *report, FILE *out);

#endif
