#include "formats/image_codec.h"

#if MC_HAVE_JPEG
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include "base/mem.h"

enum { EXIF_MARKER = JPEG_APP0 + 1, MARKER_MAX = 0xffff };
/* A file of a few bytes with thousands of progressive scans would take minutes. */
enum { SCANS_MAX = 500 };

struct failure {
    struct jpeg_error_mgr base;
    struct jpeg_progress_mgr progress;
    jmp_buf out;
    char why[JMSG_LENGTH_MAX];
};

static void failed(j_common_ptr j)
{
    struct failure *f = (struct failure *)j->err;
    f->base.format_message(j, f->why);
    longjmp(f->out, 1);
}

/* libjpeg fills what is missing with grey and warns; half a picture is no sample. Warnings that leave the
 * picture whole (bytes between markers, a wrong restart) come by the hundred: only the end is fatal. */
static void warned(j_common_ptr j, int level)
{
    struct failure *f = (struct failure *)j->err;
    if (level >= 0)
        return;
    f->base.format_message(j, f->why);
    f->base.num_warnings++;
    if (strstr(f->why, "remature end"))
        longjmp(f->out, 1);
}

static void watch_scans(j_common_ptr j)
{
    if (j->is_decompressor && ((j_decompress_ptr)j)->input_scan_number > SCANS_MAX) {
        struct failure *f = (struct failure *)j->err;
        snprintf(f->why, sizeof f->why, "it has more than %d scans", SCANS_MAX);
        longjmp(f->out, 1);
    }
}

static int turn_of(const struct jpeg_decompress_struct *j)
{
    static const char head[6] = "Exif\0";
    for (const struct jpeg_marker_struct *m = j->marker_list; m; m = m->next)
        if (m->marker == EXIF_MARKER && m->data_length > sizeof head &&
            !memcmp(m->data, head, sizeof head))
            return mc_image_exif(m->data + sizeof head, m->data_length - sizeof head);
    return 1;
}

/* Adobe's programs store CMYK inverted, and say that they wrote it. */
static void cmyk_row(const uint8_t *src, size_t n, bool inverted, uint8_t *dst)
{
    for (size_t i = 0; i < n; i++, src += 4, dst += 3) {
        unsigned white = inverted ? src[3] : 255U - src[3];
        for (int c = 0; c < 3; c++) {
            unsigned ink = inverted ? 255U - src[c] : src[c];
            dst[c] = (uint8_t)(white - (ink * white + 127) / 255);
        }
    }
}

/* Everything that libjpeg may jump out of; what is to be freed is the caller's. */
static int decode_into(struct jpeg_decompress_struct *j, const struct mc_map *file,
                       const char *path, bool only_size, struct mc_image *im, uint8_t **line,
                       int *turn, struct mc_err *err)
{
    struct failure *f = (struct failure *)j->err;
    if (setjmp(f->out))
        return mc_fail(err, MC_EFORMAT, "'%s' is a damaged JPEG: %s", path, f->why);
    jpeg_create_decompress(j); /* clears all but err */
    j->progress = &f->progress;
    jpeg_save_markers(j, EXIF_MARKER, MARKER_MAX);
    jpeg_mem_src(j, file->data, file->size);
    jpeg_read_header(j, TRUE);
    *turn = turn_of(j);
    bool cmyk = j->num_components == 4, grey = j->num_components == 1;
    j->out_color_space = cmyk ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_RGB;
    int rc =
        mc_image_alloc(path, j->image_width, j->image_height, grey ? 1 : 3, only_size, im, err);
    if (rc || only_size)
        return rc;
    if (cmyk && !(*line = mc_calloc((size_t)im->width, 4)))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    jpeg_start_decompress(j);
    while (j->output_scanline < j->output_height) {
        uint8_t *row =
            im->pixels + (size_t)j->output_scanline * (size_t)im->width * (size_t)im->channels;
        jpeg_read_scanlines(j, (JSAMPARRAY)(cmyk ? line : &row), 1);
        if (cmyk)
            cmyk_row(*line, (size_t)im->width, j->saw_Adobe_marker, row);
    }
    jpeg_finish_decompress(j);
    return 0;
}

static int decode(const struct mc_map *file, const char *path, bool only_size, struct mc_image *ret,
                  int *ret_turn, struct mc_err *err)
{
    struct jpeg_decompress_struct j = {0};
    struct failure f = {0};
    uint8_t *line = NULL;
    j.err = jpeg_std_error(&f.base);
    f.base.error_exit = failed;
    f.base.emit_message = warned;
    f.progress.progress_monitor = watch_scans;
    int rc = decode_into(&j, file, path, only_size, ret, &line, ret_turn, err);
    jpeg_destroy_decompress(&j);
    free(line);
    return rc;
}
#else
static int decode(const struct mc_map *file, const char *path, bool only_size, struct mc_image *ret,
                  int *ret_turn, struct mc_err *err)
{
    (void)file, (void)only_size, (void)ret, (void)ret_turn;
    return mc_fail(err, MC_EUNSUP, "'%s' is a JPEG, and this mcompress was built without libjpeg",
                   path);
}
#endif

const struct mc_image_codec mc_image_codec_jpeg = {{0xff, 0xd8, 0xff}, 3, decode};
