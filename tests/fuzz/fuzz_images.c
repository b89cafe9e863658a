/* Any bytes as a picture: PNG or JPEG. What opens must hold its promises, and resize, turn and crop. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "formats/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void promise(bool kept, const char *what)
{
    if (!kept) {
        fprintf(stderr, "fuzz_images: %s\n", what);
        abort();
    }
}

/* Pixels of a small picture, all of them read. */
static unsigned sum(const struct mc_image *im)
{
    unsigned s = 0;
    for (size_t i = 0; i < (size_t)im->width * (size_t)im->height * (size_t)im->channels; i++)
        s += im->pixels[i];
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { SMALL = 1 << 20 };
    char path[64];
    int fd = memfd_create("image", MFD_CLOEXEC), w = 0, h = 0;
    struct mc_image im = {0};
    struct mc_err err = {0};
    promise(fd >= 0 && write(fd, data, size) == (ssize_t)size, "no memory for the file");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = mc_image_size(path, &w, &h, &err);
    promise(!rc || (rc == err.code && err.msg[0]), "an error without a message");
    promise(rc || (w > 0 && h > 0), "a size that is none");
    bool small = !rc && (int64_t)w * h <= SMALL;
    if (small)
        rc = mc_image_read(path, &im, &err);
    promise(!rc || (rc == err.code && err.msg[0]), "an error without a message");
    if (small && !rc) {
        promise(im.width == w && im.height == h, "another size than the header's");
        promise(im.channels == 1 || im.channels == 3 || im.channels == 4, "odd channels");
        volatile unsigned s = sum(&im);
        (void)s;
        promise(!mc_image_convert(&im, 3, &err) && !mc_image_resize(&im, 5, 3, &err), "no memory");
        mc_image_crop(&im, 2, 2);
        s += sum(&im);
    }
    mc_image_free(&im);
    close(fd);
    return 0;
}
