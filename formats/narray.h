/* An array in a file: its type and shape, and where its elements are. */
#ifndef MC_FORMATS_NARRAY_H
#define MC_FORMATS_NARRAY_H

#include "formats/stream.h"
#include "graph/dtype.h"
#include "graph/shape.h"

struct mc_narray {
    const char *name; /* in its archive, or NULL */
    const char *what; /* how messages call it: "array 'x' of 'f.npz'" */
    struct mc_stream_src src;
    size_t skip; /* bytes of the source before the first element */
    enum mc_dtype dtype;
    bool swap;    /* elements are big endian */
    bool fortran; /* column-major */
    bool image;   /* 8-bit pixels: preprocessing applies */
    bool layout;  /* axes of a sample may be arranged as an image input has them */
    struct mc_shape shape;
};

/* A file mapped and looked at. */
enum { MC_NARRAY_HEAD = 1024 };
struct mc_narray_file {
    struct mc_map map;
    struct mc_stream_src src;     /* all of it; gzip is recognised by its magic */
    uint8_t head[MC_NARRAY_HEAD]; /* first bytes, inflated */
    size_t n_head;
};
/* src.map points into *ret: the struct must not move. Errors: MC_EOPEN; MC_EFORMAT for damaged gzip. */
int mc_narray_file_open(const char *path, struct mc_narray_file *ret, struct mc_err *err);
void mc_narray_file_close(struct mc_narray_file *f); /* accepts a zeroed struct */

/* Do the header's type and shape agree with the bytes that are there? Errors: MC_EFORMAT. */
int mc_narray_check(const struct mc_narray *a, struct mc_err *err);

#endif
