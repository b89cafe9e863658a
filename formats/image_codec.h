/* One file format of pictures. Private to formats/image*.c. */
#ifndef MC_FORMATS_IMAGE_CODEC_H
#define MC_FORMATS_IMAGE_CODEC_H

#include "formats/image.h"

struct mc_image_codec {
    uint8_t magic[8];
    int n_magic;
    /* Decode a file, or with only_size leave pixels NULL. *ret_turn: Exif orientation, 1 where there is none;
     * it is not yet applied. */
    int (*decode)(const struct mc_map *file, const char *path, bool only_size, struct mc_image *ret,
                  int *ret_turn, struct mc_err *err);
};

extern const struct mc_image_codec mc_image_codec_png, mc_image_codec_jpeg;

/* Is the size acceptable? Then ret gets it, and room for the pixels unless only_size. */
int mc_image_alloc(const char *path, uint64_t width, uint64_t height, int channels, bool only_size,
                   struct mc_image *ret, struct mc_err *err);
/* The orientation in an Exif block (which begins with a TIFF header); 1 where it has none. */
int mc_image_exif(const uint8_t *data, size_t n);

#endif
