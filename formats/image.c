#include "formats/image.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "formats/image_codec.h"

static const struct mc_image_codec *const codecs[] = {&mc_image_codec_png, &mc_image_codec_jpeg};
enum { N_CODECS = sizeof codecs / sizeof *codecs };

bool mc_image_named(const char *path)
{
    const char *ext = mc_path_ext(path);
    return !strcasecmp(ext, ".png") || !strcasecmp(ext, ".jpg") || !strcasecmp(ext, ".jpeg");
}

void mc_image_free(struct mc_image *im)
{
    free(im->pixels);
    *im = (struct mc_image){0};
}

int mc_image_alloc(const char *path, uint64_t width, uint64_t height, int channels, bool only_size,
                   struct mc_image *ret, struct mc_err *err)
{
    if (width < 1 || height < 1 || width > MC_IMAGE_SIDE || height > MC_IMAGE_SIDE ||
        width * height > MC_IMAGE_PIXELS)
        return mc_fail(err, MC_EFORMAT,
                       "'%s' says it has %llu x %llu pixels; at most %d x %d, and "
                       "%d in all, are read",
                       path, (unsigned long long)width, (unsigned long long)height, MC_IMAGE_SIDE,
                       MC_IMAGE_SIDE, MC_IMAGE_PIXELS);
    struct mc_image im = {(int)width, (int)height, channels, NULL};
    if (!only_size && !(im.pixels = mc_calloc((size_t)(width * height), (size_t)channels)))
        return mc_fail(err, MC_ENOMEM, "'%s': out of memory for %d x %d pixels", path, im.width,
                       im.height);
    *ret = im;
    return 0;
}

/* ---- orientation ---- */

static unsigned read16(const uint8_t *p, bool big)
{
    return big ? (unsigned)(p[0] << 8 | p[1]) : (unsigned)(p[1] << 8 | p[0]);
}

static size_t read32(const uint8_t *p, bool big)
{
    size_t a = read16(p, big), b = read16(p + 2, big);
    return big ? a << 16 | b : b << 16 | a;
}

/* Source: CIPA DC-008 (Exif 2.32), section 4.6.2 and tag 0x0112. */
int mc_image_exif(const uint8_t *data, size_t n)
{
    enum { HEADER = 8, ENTRY = 12, ORIENTATION = 0x0112, SHORT = 3 };
    if (n < HEADER || (memcmp(data, "II*\0", 4) && memcmp(data, "MM\0*", 4)))
        return 1;
    bool big = data[0] == 'M';
    size_t at = read32(data + 4, big);
    if (at > n || n - at < 2)
        return 1;
    size_t entries = read16(data + at, big);
    at += 2;
    for (size_t i = 0; i < entries && n - at >= ENTRY; i++, at += ENTRY)
        if (read16(data + at, big) == ORIENTATION && read16(data + at + 2, big) == SHORT) {
            unsigned turn = read16(data + at + 8, big);
            return turn >= 1 && turn <= 8 ? (int)turn : 1;
        }
    return 1;
}

/* Orientations 5 to 8 exchange rows and columns; 3, 4, 6, 7 then turn the order of what are rows of the
 * file, 2, 3, 7, 8 that of its columns. */
static int upright(struct mc_image *im, int turn, struct mc_err *err)
{
    bool swap = turn >= 5;
    bool flip_y = turn == 3 || turn == 4 || turn == 6 || turn == 7;
    bool flip_x = turn == 2 || turn == 3 || turn == 7 || turn == 8;
    int w = im->width, h = im->height, c = im->channels;
    if (turn == 1)
        return 0;
    im->width = swap ? h : w;
    im->height = swap ? w : h;
    if (!im->pixels)
        return 0;
    uint8_t *dst = mc_calloc((size_t)w * (size_t)h, (size_t)c);
    if (!dst)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            int ty = flip_y ? h - 1 - y : y, tx = flip_x ? w - 1 - x : x;
            size_t to =
                swap ? (size_t)tx * (size_t)h + (size_t)ty : (size_t)ty * (size_t)w + (size_t)tx;
            size_t from = (size_t)y * (size_t)w + (size_t)x;
            memcpy(dst + to * (size_t)c, im->pixels + from * (size_t)c, (size_t)c);
        }
    free(im->pixels);
    im->pixels = dst;
    return 0;
}

/* ---- reading ---- */

static int read_image(const char *path, bool only_size, struct mc_image *ret, struct mc_err *err)
{
    struct mc_map file = {0};
    struct mc_image im = {0};
    const struct mc_image_codec *codec = NULL;
    int turn = 1, rc = mc_map_open(path, &file, err);
    for (int i = 0; !rc && !codec && i < N_CODECS; i++)
        if (file.size >= (size_t)codecs[i]->n_magic &&
            !memcmp(file.data, codecs[i]->magic, (size_t)codecs[i]->n_magic))
            codec = codecs[i];
    if (!rc && !codec)
        rc = mc_fail(err, MC_EUNSUP, "'%s' is no PNG or JPEG picture", path);
    if (!rc)
        rc = codec->decode(&file, path, only_size, &im, &turn, err);
    if (!rc)
        rc = upright(&im, turn, err);
    mc_map_close(&file);
    if (rc)
        mc_image_free(&im);
    else
        *ret = im;
    return rc;
}

int mc_image_read(const char *path, struct mc_image *ret, struct mc_err *err)
{
    return read_image(path, false, ret, err);
}

int mc_image_size(const char *path, int *ret_width, int *ret_height, struct mc_err *err)
{
    struct mc_image im;
    int rc = read_image(path, true, &im, err);
    if (rc)
        return rc;
    *ret_width = im.width;
    *ret_height = im.height;
    return 0;
}

/* ---- changing ---- */

/* Weights in 1/65536, as Pillow has them. Source: ITU-R BT.601-2. */
static uint8_t grey_of(const uint8_t *p)
{
    enum { R = 19595, G = 38470, B = 7471, HALF = 1 << 15 };
    return (uint8_t)((p[0] * R + p[1] * G + p[2] * B + HALF) >> 16);
}

int mc_image_convert(struct mc_image *im, int channels, struct mc_err *err)
{
    size_t n = (size_t)im->width * (size_t)im->height, from = (size_t)im->channels;
    size_t to = (size_t)channels;
    if (from == to)
        return 0;
    uint8_t *dst = mc_calloc(n, to);
    if (!dst)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = im->pixels + i * from;
        if (to == 1)
            dst[i] = grey_of(p);
        else
            for (size_t c = 0; c < to; c++)
                dst[i * to + c] = c == 3 ? 255 : p[from == 1 ? 0 : c];
    }
    free(im->pixels);
    im->pixels = dst;
    im->channels = channels;
    return 0;
}

/* Half a pixel goes to the even side, as Python's round does in torchvision's CenterCrop. */
static size_t margin(int have, int want)
{
    int twice = have - want, half = twice / 2;
    return (size_t)(half + (twice % 2 && half % 2));
}

void mc_image_crop(struct mc_image *im, int width, int height)
{
    size_t c = (size_t)im->channels, row = (size_t)width * c;
    size_t x = margin(im->width, width), y = margin(im->height, height);
    for (size_t i = 0; i < (size_t)height; i++)
        memmove(im->pixels + i * row, im->pixels + ((y + i) * (size_t)im->width + x) * c, row);
    im->width = width;
    im->height = height;
}
