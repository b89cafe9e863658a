#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/process.h"

static const char *self;

static struct mc_process *start(const char *script, struct mc_process_limits limits)
{
    struct mc_process *p = NULL;
    char *argv[] = {"sh", "-c", (char *)script, NULL};
    struct mc_err err;
    assert_int_equal(mc_process_start("/bin/sh", argv, &limits, &p, &err), 0);
    return p;
}

static struct mc_process_end end_of(struct mc_process *p)
{
    struct mc_process_end end;
    assert_int_equal(mc_process_wait(&p, 1, 60, &end), 0);
    assert_int_equal(mc_process_wait(&p, 1, 0, &end), -1); /* once only */
    mc_process_free(p);
    return end;
}

static struct mc_process_end run(const char *script)
{
    return end_of(start(script, (struct mc_process_limits){0, 0}));
}

static void statuses(void **state)
{
    (void)state;
    struct mc_process_end e = run("exit 0");
    assert_int_equal(e.status, 0);
    assert_string_equal(e.line, "");
    assert_false(e.stopped || e.over_memory || e.over_time);
    e = run("exit 7");
    assert_int_equal(e.status, 7);
    assert_int_equal(e.signal, 0);
    e = run("kill -SEGV $$");
    assert_int_equal(e.status, -1);
    assert_int_equal(e.signal, SIGSEGV);
    struct mc_process *p;
    char *argv[] = {"nothing", NULL};
    assert_int_equal(mc_process_start("/nowhere/nothing", argv, NULL, &p, NULL), 0);
    e = end_of(p);
    assert_int_equal(e.status, 127);
}

static void last_lines(void **state)
{
    (void)state;
    assert_string_equal(run("echo one >&2; echo two >&2; exit 1").line, "two");
    assert_string_equal(run("printf 'no end' >&2").line, "no end");
    assert_string_equal(run("echo gone").line, "");
    assert_string_equal(run("printf 'last\\n\\n\\r\\n' >&2").line, "last");
    /* More than a pipe holds, and than is kept. */
    assert_string_equal(
        run("i=0; while [ $i -lt 20000 ]; do echo line $i >&2; i=$((i+1)); done").line,
        "line 19999");
    struct mc_process_end e = run("head -c 100000 /dev/zero | tr '\\0' x >&2");
    assert_int_equal(strlen(e.line), MC_ERR_MSG - 1);
    assert_int_equal(strspn(e.line, "x"), MC_ERR_MSG - 1);
    /* Who closes it is still waited for. */
    e = run("exec 2>&-; sleep 0.1; exit 5");
    assert_int_equal(e.status, 5);
}

static void without_input(void **state)
{
    (void)state;
    assert_int_equal(run("read x; test $? = 1").status, 0);
}

static void over_time(void **state)
{
    (void)state;
    struct mc_process_end e =
        end_of(start("exec sleep 50", (struct mc_process_limits){.seconds = 0.05}));
    assert_true(e.over_time);
    assert_int_equal(e.signal, SIGTERM);
    /* One that ends by itself when asked says so with its status. */
    e = end_of(start("trap 'exit 9' TERM; while :; do sleep 0.01; done",
                     (struct mc_process_limits){.seconds = 0.2}));
    assert_true(e.over_time);
    assert_int_equal(e.status, 9);
    assert_false(e.stopped);
}

static void over_memory(void **state)
{
    (void)state;
    struct mc_process *p;
    char *argv[] = {"test_process", "hog", NULL};
    struct mc_process_limits limits = {.memory = 100 << 20};
    assert_int_equal(mc_process_start(self, argv, &limits, &p, NULL), 0);
    struct mc_process_end e = end_of(p);
    assert_true(e.over_memory);
    assert_int_equal(e.signal, SIGKILL);
    limits.memory = (uint64_t)4 << 30;
    assert_int_equal(mc_process_start(self, argv, &limits, &p, NULL), 0);
    e = end_of(p);
    assert_false(e.over_memory);
    assert_int_equal(e.status, 3);
}

static void stopping(void **state)
{
    (void)state;
    struct mc_process *list[4] = {NULL};
    struct mc_process_end end;
    list[1] = start("exec sleep 50", (struct mc_process_limits){0, 0});
    list[3] = start("trap '' TERM; echo ready >&2; while :; do sleep 1; done",
                    (struct mc_process_limits){0, 0});
    assert_int_equal(mc_process_wait(list, 4, 0.2, &end), -1);
    mc_process_stop(list[1], 100);
    assert_int_equal(mc_process_wait(list, 4, 60, &end), 1);
    assert_true(end.stopped);
    assert_int_equal(end.signal, SIGTERM);
    mc_process_stop(list[3], 100);
    mc_process_stop(list[3], 0);
    assert_int_equal(mc_process_wait(list, 4, 60, &end), 3);
    assert_int_equal(end.signal, SIGKILL);
    assert_string_equal(end.line, "ready");
    mc_process_free(list[1]);
    mc_process_free(list[3]);
}

/* Where the parent is killed, its child dies: the pipe that it holds open is closed. */
static void parent_dies(void **state)
{
    (void)state;
    int fds[2];
    char byte;
    assert_int_equal(pipe(fds), 0);
    pid_t parent = fork();
    if (!parent) {
        close(fds[0]);
        struct mc_process *p;
        char *argv[] = {"sh", "-c", "printf x >&$0; exec sleep 50", NULL};
        char number[16];
        snprintf(number, sizeof number, "%d", fds[1]);
        char *with[] = {argv[0], argv[1], argv[2], number, NULL};
        if (mc_process_start("/bin/sh", with, NULL, &p, NULL))
            _exit(1);
        struct mc_process_end end;
        mc_process_wait(&p, 1, 100, &end);
        _exit(0);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 1); /* the child runs */
    kill(parent, SIGKILL);
    waitpid(parent, NULL, 0);
    double began = mc_now();
    assert_int_equal(read(fds[0], &byte, 1), 0);
    assert_true(mc_now() - began < 40);
    close(fds[0]);
}

/* Takes 256 MB, a megabyte at a time, and ends with status 3. */
static int hog(void)
{
    enum { BLOCKS = 256, SIZE = 1 << 20 };
    char *blocks[BLOCKS] = {NULL};
    bool ok = true;
    for (int i = 0; i < BLOCKS && ok; i++) {
        ok = (blocks[i] = malloc(SIZE)) != NULL;
        if (ok)
            memset(blocks[i], i + 1, SIZE);
        usleep(1000);
    }
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    return ok ? 3 : 4;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "hog"))
        return hog();
    self = argv[0];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses),      cmocka_unit_test(last_lines),
        cmocka_unit_test(without_input), cmocka_unit_test(over_time),
        cmocka_unit_test(over_memory),   cmocka_unit_test(stopping),
        cmocka_unit_test(parent_dies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
