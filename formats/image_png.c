#include "formats/image_codec.h"

#if MC_HAVE_PNG
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Compressed text and colour profiles are of no use here: none may take more memory than this. */
enum { CHUNK_MAX = 1 << 20 };

struct reader {
    const struct mc_map *file;
    size_t at;
    char why[160];
};

static void read_bytes(png_structp png, png_bytep dst, size_t n)
{
    struct reader *r = png_get_io_ptr(png);
    if (n > r->file->size - r->at)
        png_error(png, "it is cut off");
    memcpy(dst, r->file->data + r->at, n);
    r->at += n;
}

static void failed(png_structp png, png_const_charp why)
{
    struct reader *r = png_get_error_ptr(png);
    strncpy(r->why, why, sizeof r->why - 1);
    longjmp(png_jmpbuf(png), 1);
}

static void warned(png_structp png, png_const_charp why)
{
    (void)png;
    (void)why;
}

/* To 8 bits of grey, RGB or RGBA. */
static int set_form(png_structp png, png_infop info)
{
    int type = png_get_color_type(png, info);
    bool transparent = png_get_valid(png, info, PNG_INFO_tRNS) != 0;
    png_set_scale_16(png);
    png_set_expand(png);
    if (!(type & PNG_COLOR_MASK_COLOR)) {
        png_set_strip_alpha(png); /* grey with alpha is grey */
        return 1;
    }
    return type & PNG_COLOR_MASK_ALPHA || transparent ? 4 : 3;
}

static int turn_of(png_structp png, png_infop info)
{
    png_uint_32 n = 0;
    png_bytep exif = NULL;
    return png_get_eXIf_1(png, info, &n, &exif) && exif ? mc_image_exif(exif, n) : 1;
}

static png_bytep *rows_of(const struct mc_image *im)
{
    png_bytep *rows = mc_calloc((size_t)im->height, sizeof *rows);
    for (int y = 0; rows && y < im->height; y++)
        rows[y] = im->pixels + (size_t)y * (size_t)im->width * (size_t)im->channels;
    return rows;
}

/* Everything that libpng may jump out of; what is to be freed is the caller's. */
static int decode_into(png_structp png, png_infop info, const char *path, bool only_size,
                       struct mc_image *im, png_bytep **rows, int *turn, struct mc_err *err)
{
    struct reader *r = png_get_error_ptr(png);
    if (setjmp(png_jmpbuf(png)))
        return mc_fail(err, MC_EFORMAT, "'%s' is a damaged PNG: %s", path, r->why);
    png_set_user_limits(png, MC_IMAGE_SIDE, MC_IMAGE_SIDE);
    png_set_chunk_malloc_max(png, CHUNK_MAX);
    png_read_info(png, info);
    *turn = turn_of(png, info);
    int channels = set_form(png, info);
    int rc = mc_image_alloc(path, png_get_image_width(png, info), png_get_image_height(png, info),
                            channels, only_size, im, err);
    if (rc || only_size)
        return rc;
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (png_get_rowbytes(png, info) != (size_t)im->width * (size_t)channels)
        return mc_fail(err, MC_EUNSUP, "'%s' is a PNG of an unknown form", path);
    *rows = rows_of(im);
    if (!*rows)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    png_read_image(png, *rows);
    return 0;
}

static int decode(const struct mc_map *file, const char *path, bool only_size, struct mc_image *ret,
                  int *ret_turn, struct mc_err *err)
{
    struct reader r = {.file = file};
    png_bytep *rows = NULL;
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, failed, warned);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    int rc;
    if (info) {
        png_set_read_fn(png, &r, read_bytes);
        rc = decode_into(png, info, path, only_size, ret, &rows, ret_turn, err);
    } else {
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    }
    free(rows);
    png_destroy_read_struct(&png, &info, NULL);
    return rc;
}
#else
static int decode(const struct mc_map *file, const char *path, bool only_size, struct mc_image *ret,
                  int *ret_turn, struct mc_err *err)
{
    (void)file, (void)only_size, (void)ret, (void)ret_turn;
    return mc_fail(err, MC_EUNSUP, "'%s' is a PNG, and this mcompress was built without libpng",
                   path);
}
#endif

const struct mc_image_codec mc_image_codec_png = {{0x89, 'P', 'N', 'G', 13, 10, 26, 10}, 8, decode};
