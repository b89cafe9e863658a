/* Pictures as arrays of 8-bit pixels, read from PNG and JPEG files. */
#ifndef MC_FORMATS_IMAGE_H
#define MC_FORMATS_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/io.h"

struct mc_image {
    int width, height;
    int channels;    /* 1 grey, 3 red green blue, 4 with alpha */
    uint8_t *pixels; /* [height, width, channels]; malloc'd */
};

/* More pixels than any camera has are taken for a lie, or an attack on memory. */
enum { MC_IMAGE_PIXELS = 1 << 28, MC_IMAGE_SIDE = 1 << 16 };

/* A file name that says PNG or JPEG. */
bool mc_image_named(const char *path);

/* Width and height as mc_image_read gives them, from the file's header. Errors: as there. */
int mc_image_size(const char *path, int *ret_width, int *ret_height, struct mc_err *err);
/* 16-bit samples are rounded to 8, palettes looked up, CMYK turned into RGB; turned upright as the Exif
 * orientation says. Errors: MC_EOPEN; MC_EFORMAT damaged, truncated, or of an impossible size; MC_EUNSUP for
 * other formats, and where mcompress was built without the library for this one. */
int mc_image_read(const char *path, struct mc_image *ret, struct mc_err *err);
void mc_image_free(struct mc_image *im); /* accepts a zeroed struct */

/* To 1, 3 or 4 channels, in place: grey is 0.299 R + 0.587 G + 0.114 B, alpha is dropped or opaque.
 * Errors: MC_ENOMEM. */
int mc_image_convert(struct mc_image *im, int channels, struct mc_err *err);
/* The part of width x height in the middle, in place. Precondition: it fits. */
void mc_image_crop(struct mc_image *im, int width, int height);
/* Bilinear, with the filter as wide as the reduction (antialiased): the same bytes as Pillow's
 * resize(..., BILINEAR). Errors: MC_ENOMEM. */
int mc_image_resize(struct mc_image *im, int width, int height, struct mc_err *err);

#endif
