#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "base/io.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/exits.h"
#include "cli/help.h"
#include "cli/machine.h"
#include "cli/signals.h"
#include "graph/run/device.h"

/* Is the help asked for, before any other word is judged? */
static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    return false;
}

/* A stream that was closed gives its number to the next file that is opened, and what is printed would go there. Reading
 * where one can only write, and the other way round, fails as from a closed one. */
static void keep_streams(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", fd ? O_RDONLY : O_WRONLY);
}

/* OpenBLAS chooses its kernels when it is loaded: where it chooses badly, start again with a better choice in
 * the environment. Nothing has been read or opened yet. Where that fails, all works, slowly. */
static void start_well(char **argv)
{
    const char *core = mc_device_blas_wanted();
    if (core && !setenv("OPENBLAS_CORETYPE", core, 1))
        execv("/proc/self/exe", argv);
}

/* Large blocks go back when they are freed. Left to itself, glibc keeps blocks of a size that was freed once in
 * the heap, where what lies between them holds them: every look at held-out samples of a training then took
 * new memory (fashion-mobilenet: 147 MB instead of 110 MB), and quantising fashion-mlp took 25 MB with a megabyte being
 * not large yet, 20 MB with it. */
static void give_memory_back(void)
{
    enum { LARGE = 1 << 20 };
    mallopt(M_MMAP_THRESHOLD, LARGE);
    mallopt(M_TRIM_THRESHOLD, 16 * LARGE);
}

static int check_operands(const struct mc_cli *cli, struct mc_err *err)
{
    const struct mc_command *c = cli->command;
    int n = (int)json_array_size(json_object_get(cli->values, "operands"));
    if (n < c->min_operands)
        return mc_fail(err, MC_EUSAGE, "needs %s; see 'mcompress help %s'", c->operands,
                       mc_console_name(cli));
    if (n > c->max_operands)
        return mc_fail(err, MC_EUSAGE, "one word too many: '%s'; it takes %s",
                       mc_cli_operand(cli, (size_t)c->max_operands), c->operands);
    return 0;
}

static int parse(struct mc_cli *cli, int argc, char **argv, struct mc_err *err)
{
    const struct mc_param *tables[MC_CLI_GROUPS + 1];
    int n = 0;
    if (cli->pass)
        tables[n++] = cli->pass->params;
    for (int i = 0; cli->command->groups[i]; i++)
        tables[n++] = cli->command->groups[i]->params;
    int rc = mc_param_parse(tables, n, argc, argv, &cli->values, err);
    if (rc)
        return rc;
    cli->json = mc_param_flag(cli->values, "json");
    cli->quiet = mc_param_flag(cli->values, "quiet");
    cli->verbose = mc_param_flag(cli->values, "verbose");
    return check_operands(cli, err);
}

static int run(struct mc_cli *cli, int argc, char **argv, struct mc_err *err)
{
    int rc = parse(cli, argc, argv, err);
    if (!rc && cli->command->computes)
        rc = mc_machine_check(cli, err);
    if (!rc && cli->command->computes) {
        rc = mc_pool_new((int)mc_param_int(cli->values, "threads", 0), &cli->pool, err);
        cli->progress = cli->quiet ? NULL : mc_console_progress();
    }
    if (!rc)
        rc = cli->command->run(cli, err);
    mc_console_clear();
    mc_device_stop(cli->pool);
    mc_pool_free(cli->pool);
    json_decref(cli->values);
    return rc;
}

static int finish(int rc, const char *name, struct mc_err *err)
{
    struct mc_err late;
    if (rc)
        mc_console_error(name, err->msg);
    int unwritten = mc_console_finish(&late);
    if (unwritten && !rc) {
        mc_console_error(name, late.msg);
        rc = unwritten;
    }
    return mc_exit_of(rc);
}

int main(int argc, char **argv)
{
    struct mc_err err = {0};
    struct mc_cli cli = {.start = mc_now(), .argc = argc, .argv = argv};
    const char *word = argc > 1 ? argv[1] : NULL;
    keep_streams();
    give_memory_back();
    mc_signals_install();
    if (!word) {
        mc_help_overview(stderr);
        return MC_EXIT_USAGE;
    }
    if (!strcmp(word, "--version") || !strcmp(word, "-V")) {
        puts("mcompress " MC_VERSION);
        return finish(0, NULL, &err);
    }
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
        mc_help_overview(stdout);
        return finish(0, NULL, &err);
    }
    int rc = *word == '-' ? mc_fail(&err, MC_EUSAGE,
                                    "the first word is a command, not '%s'; "
                                    "'mcompress help' lists them",
                                    word)
                          : mc_command_find(word, &cli.command, &cli.pass, &err);
    if (rc)
        return finish(rc, NULL, &err);
    const char *name = mc_console_name(&cli);
    if (wants_help(argc - 1, argv + 1)) {
        rc = mc_help_command(stdout, cli.command, cli.pass, &err);
        return finish(rc, name, &err);
    }
    if (cli.command->computes)
        start_well(argv);
    return finish(run(&cli, argc - 1, argv + 1, &err), name, &err);
}
