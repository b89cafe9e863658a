/* Cut files: every truncation of every small file is an error of one line, or still holds the samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "files.h"
#include "open.h"

static int try_all(const char *path, const struct mc_sample_opts *o)
{
    struct mc_dataset *d;
    int rc = mc_samples_open(path, o, &d, &err);
    for (int backward = 0; !rc && backward < 2; backward++) {
        struct mc_batch *b;
        rc =
            mc_dataset_read(d, backward ? (int64_t[]){2, 1, 0} : (int64_t[]){0, 1, 2}, 3, &b, &err);
        if (!rc)
            mc_batch_free(b);
        if (rc || backward)
            mc_dataset_free(d);
    }
    return rc;
}

/* In memory, where thousands of files are quick. */
static void cut_everywhere(struct buf whole, const struct mc_sample_opts *o)
{
    char path[64];
    int fd = memfd_create("cut", MFD_CLOEXEC);
    assert_true(fd >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    assert_int_equal(pwrite(fd, whole.p, whole.n, 0), whole.n);
    if (try_all(path, o))
        fail_msg("%s", err.msg);
    for (size_t n = whole.n; n-- > 0;) {
        assert_int_equal(ftruncate(fd, (off_t)n), 0);
        int rc = try_all(path, o);
        if (rc != MC_EFORMAT || !strstr(err.msg, path))
            fail_msg("cut after %zu bytes: %d %s", n, rc, rc ? err.msg : "");
    }
    close(fd);
    buf_free(&whole);
}

static void cuts(void **state)
{
    (void)state;
    struct mc_array in = input("x", MC_DTYPE_F32, DIMS(-2, 4));
    struct mc_sample_opts o = {.inputs = &in, .n_inputs = 1};
    uint8_t px[12];
    float v[12];
    for (int i = 0; i < 12; i++)
        v[i] = px[i] = (uint8_t)(17 * i);
    const uint32_t dims[] = {3, 2, 2};
    cut_everywhere(make_idx(8, 3, dims, px, 12), &o);
    cut_everywhere(make_gz(make_idx(8, 3, dims, px, 12)), &o);
    cut_everywhere(make_npy(1, "<f4", false, "(3, 4)", v, sizeof v), &o);
    cut_everywhere(make_gz(make_npy(3, "<f4", true, "(3, 4)", v, sizeof v)), &o);
    for (unsigned how = 0; how < 8; how++) {
        struct zip_member m[] = {
            zip_member("x.npy", make_npy(1, "<f4", how & 1, "(3, 4)", v, sizeof v), how),
            zip_member("labels.npy", make_npy(2, "|u1", false, "(3,)", "\1\2\3", 3), how)};
        cut_everywhere(make_zip(m, 2), &o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cuts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
