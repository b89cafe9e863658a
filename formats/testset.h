/* Folders of test data as ONNX models come with: test_data_set_0, test_data_set_1, … each with input_0.pb,
 * input_1.pb, … and output_0.pb, … (one value a file: a tensor, a sequence, an optional). */
#ifndef MC_FORMATS_TESTSET_H
#define MC_FORMATS_TESTSET_H

#include "base/mem.h"
#include "graph/dataset.h"
#include "graph/graph.h"

struct mc_testsets { /* the sets of a folder, by number */
    struct mc_arena arena;
    size_t n;
    struct mc_testset_dir {
        const char *path, *name;
        int n_in, n_out; /* files */
    } * set;
};

/* Is DIR, or does it hold, a set of test data? */
bool mc_testsets_probe(const char *dir);
/* Errors: MC_EOPEN; MC_EFORMAT for a set without inputs where there are outputs, or with a file missing
 * between others; MC_ENOMEM. */
int mc_testsets_open(const char *dir, struct mc_testsets *ret, struct mc_err *err);
void mc_testsets_close(struct mc_testsets *s); /* accepts a zeroed struct */

struct mc_testset_slot { /* an input or output that a file can be for */
    const char *name;
    bool given; /* it may be left out: an initializer gives it, or it is an output */
    enum mc_type_kind kind;
};

/* Slots of a graph's inputs (or outputs): *ret_n of them, malloc'd; names are borrowed. Errors: MC_ENOMEM. */
int mc_testset_slots(const struct mc_graph *g, bool outputs, struct mc_testset_slot **ret,
                     int *ret_n, struct mc_err *err);

struct mc_testset {
    struct mc_arena arena;
    int n;
    struct mc_array *array; /* named as the slot; data is aligned. May be lists, graph/dataset.h */
    int *slot;
};

/* The inputs of a set. There are as many files as slots, or as slots that nothing else gives: then these in
 * order; otherwise, if all slots are tensors, the names in the files decide.
 * Errors: MC_EDATA for files that match no slots; MC_EUNSUP for strings, and for slots that are maps or sparse
 * tensors; those of the files. */
int mc_testset_inputs(const struct mc_testset_dir *d, const struct mc_testset_slot *slots,
                      int n_slots, struct mc_testset *ret, struct mc_err *err);
/* The expected outputs, with the same rules; no files: ret->n is 0. */
int mc_testset_outputs(const struct mc_testset_dir *d, const struct mc_testset_slot *slots,
                       int n_slots, struct mc_testset *ret, struct mc_err *err);
void mc_testset_free(struct mc_testset *s); /* accepts a zeroed struct */

#endif
