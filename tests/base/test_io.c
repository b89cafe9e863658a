#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"

static char dir[] = "/tmp/mc_test_io.XXXXXX";
static char file[64];

static int entries(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(d);
    return n;
}

static void put(const char *text)
{
    struct mc_out *o;
    assert_int_equal(mc_out_open(file, &o, NULL), 0);
    mc_out_write(o, text, strlen(text));
    assert_int_equal(mc_out_commit(o, NULL), 0);
}

static void output_replaces_whole(void **state)
{
    (void)state;
    put("old");
    struct mc_map m;
    assert_int_equal(mc_map_open(file, &m, NULL), 0);
    struct mc_out *o;
    assert_int_equal(mc_out_open(file, &o, NULL), 0);
    char block[1000];
    memset(block, 'n', sizeof block);
    for (int i = 0; i < 2000; i++)
        mc_out_write(o, block, sizeof block);
    assert_int_equal(mc_out_offset(o), 2000000);
    mc_out_abort(o);
    assert_int_equal(entries(), 1);
    put("new!");
    assert_memory_equal(m.data, "old", 3);
    mc_map_close(&m);
    assert_int_equal(mc_map_open(file, &m, NULL), 0);
    assert_int_equal(m.size, 4);
    assert_memory_equal(m.data, "new!", 4);
    mc_map_close(&m);
    assert_int_equal(entries(), 1);
}

static void bad_paths_are_named(void **state)
{
    (void)state;
    struct mc_err e;
    struct mc_map m;
    struct mc_out *o;
    assert_int_equal(mc_map_open("/nowhere/x.onnx", &m, &e), MC_EOPEN);
    assert_non_null(strstr(e.msg, "/nowhere/x.onnx"));
    assert_int_equal(mc_map_open(dir, &m, &e), MC_EOPEN);
    assert_int_equal(mc_out_open("/nowhere/x.onnx", &o, &e), MC_EIO);
    assert_non_null(strstr(e.msg, "/nowhere"));
    assert_int_equal(mc_out_open(dir, &o, &e), MC_EIO);
}

static void full_disk_is_an_error(void **state)
{
    (void)state;
    /* /dev/full cannot be renamed over; a file size limit gives the same failing write. */
    struct mc_out *o;
    struct mc_err e;
    assert_int_equal(mc_out_open(file, &o, NULL), 0);
    if (fork() == 0) {
        close(2);
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit lim = {1 << 20, 1 << 20};
        setrlimit(RLIMIT_FSIZE, &lim);
        char block[4096] = {0};
        for (int i = 0; i < 1000; i++)
            mc_out_write(o, block, sizeof block);
        _exit(mc_out_commit(o, &e) == MC_EIO && strstr(e.msg, file) ? 0 : 1);
    }
    int status = -1;
    wait(&status);
    assert_int_equal(status, 0);
    mc_out_abort(o);
}

/* One page goes through the pipe at once, so that nobody has to read meanwhile. */
static void pipe_is_written_into(void **state)
{
    (void)state;
    char pipe[sizeof dir + 8], got[16] = "";
    snprintf(pipe, sizeof pipe, "%s/pipe", dir);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    int fd = open(pipe, O_RDWR);
    struct mc_out *o;
    struct stat st;
    assert_true(mc_path_streams(pipe));
    assert_int_equal(mc_out_open(pipe, &o, NULL), 0);
    mc_out_write(o, "through", 7);
    assert_int_equal(mc_out_commit(o, NULL), 0);
    assert_int_equal(stat(pipe, &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(read(fd, got, sizeof got), 7);
    assert_string_equal(got, "through");
    close(fd);
    unlink(pipe);
}

static void spill_blocks(void **state)
{
    (void)state;
    struct mc_spill *s;
    assert_int_equal(mc_spill_new(dir, &s, NULL), 0);
    assert_int_equal(entries(), 1);
    void *a, *b;
    assert_int_equal(mc_spill_alloc(s, 3000000, &a, NULL), 0);
    assert_int_equal(mc_spill_alloc(s, 5, &b, NULL), 0);
    memset(a, 1, 3000000);
    assert_int_equal(*(char *)b, 0);
    mc_spill_release(s, a, 3000000);
    mc_spill_release(s, b, 5);
    mc_spill_free(s);
    assert_int_equal(mc_spill_new("/nowhere", &s, NULL), MC_EIO);
}

static void paths(void **state)
{
    (void)state;
    char d[MC_PATH];
    assert_string_equal(mc_path_dir("a/b/c.onnx", d), "a/b");
    assert_string_equal(mc_path_dir("c.onnx", d), ".");
    assert_string_equal(mc_path_dir("/c.onnx", d), "/");
    assert_string_equal(mc_path_ext("a.b/c.tar.gz"), ".gz");
    assert_string_equal(mc_path_ext("a.b/c"), "");
    assert_string_equal(mc_path_ext("a/.hidden"), "");
    char other[128];
    snprintf(other, sizeof other, "%s/../%s", dir, file + strlen("/tmp/"));
    assert_true(mc_path_same(file, other));
    assert_false(mc_path_same(file, "/nowhere"));
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    snprintf(file, sizeof file, "%s/model.onnx", dir);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_replaces_whole), cmocka_unit_test(bad_paths_are_named),
        cmocka_unit_test(full_disk_is_an_error), cmocka_unit_test(pipe_is_written_into),
        cmocka_unit_test(spill_blocks),          cmocka_unit_test(paths),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(file);
    rmdir(dir);
    return failed;
}
