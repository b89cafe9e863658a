#include "cli/help.h"

#include <stdlib.h>
#include <string.h>

#include "cli/exits.h"
#include "cli/options.h"

static const char about[] =
    "mcompress makes an ONNX model smaller and proves that it still answers the same.\n";

/* Where an operand is a recipe. */
static const char about_recipes[] =
    "A recipe is a text of steps, each with its options: STEP:OPTION=VALUE,OPTION=VALUE,STEP:...\n"
    "Steps are the passes, finetune and distill, with the options of those commands (a flag "
    "stands\n"
    "alone; a value with a comma in double quotes). Or it is a file, .yaml, .yml or .json:\n"
    "\n"
    "  train: fashion-mnist:train      # options of the run; the command line comes before them\n"
    "  max-drop: 0.5%\n"
    "  steps:\n"
    "    - svd:\n"
    "        keep: 0.2\n"
    "    - finetune: {epochs: 2}\n"
    "    - svd:keep=0.5                # a text does as well\n"
    "\n"
    "--keep and other shares are of the model that the step is given. Training follows the model "
    "as\n"
    "it was before the first pass. Samples are shared by all steps, gates and --data judge the "
    "end.\n"
    "Paths are relative to the working directory, in a file as well.\n";

static const char *name_of(const struct mc_command *c, const struct mc_pass *p)
{
    return p ? p->name : c->name;
}

static const char *summary_of(const struct mc_command *c, const struct mc_pass *p)
{
    return p ? p->summary : c->summary;
}

static const char *example_of(const struct mc_command *c, const struct mc_pass *p)
{
    return p ? p->example : c->example;
}

/* Who writes a model needs to know where. */
static const char *usage_tail(const struct mc_command *c)
{
    for (int i = 0; c->groups[i]; i++)
        if (c->groups[i] == &mc_options_write)
            return " -o OUT [options]";
        else if (c->groups[i] == &mc_options_batch)
            return " -o FOLDER [options]";
    return " [options]";
}

void mc_help_overview(FILE *out)
{
    fprintf(out, "%s\nusage: mcompress COMMAND ...\n\n", about);
    const struct mc_pass *p;
    const struct mc_command *c;
    for (size_t i = 0; (c = mc_command_at(i, &p)); i++)
        fprintf(out, "  %-10s %s\n", name_of(c, p), summary_of(c, p));
    fputs("\n  mcompress help COMMAND   options of a command, with an example\n"
          "  mcompress --version\n\nexit status:\n",
          out);
    enum mc_exit status;
    const char *text;
    for (int i = 0; (text = mc_exit_text(i, &status)); i++)
        fprintf(out, "  %-4d %s\n", status, text);
}

/* Was an option of this name told in an earlier group? Two groups may share one. */
static bool told(const struct mc_command *c, const struct mc_pass *pass, int group,
                 const char *name)
{
    for (int i = pass ? -1 : 0; i < group; i++)
        for (const struct mc_param *p = i < 0 ? pass->params : c->groups[i]->params; p->type; p++)
            if (!strcmp(p->name, name))
                return true;
    return false;
}

/* Group i of a command; -1: those of its pass. */
static int print_group(FILE *out, const struct mc_command *c, const struct mc_pass *pass, int i,
                       struct mc_err *err)
{
    const char *title = i < 0 ? "Compression" : c->groups[i]->title;
    const struct mc_param *params = i < 0 ? pass->params : c->groups[i]->params;
    size_t n = 0, kept = 0;
    while (params[n].type)
        n++;
    struct mc_param *mine = calloc(n + 1, sizeof *mine);
    for (size_t k = 0; mine && k < n; k++)
        if (!told(c, pass, i, params[k].name))
            mine[kept++] = params[k];
    char *text = mine ? mc_param_help(mine) : NULL;
    free(mine);
    if (!text)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    if (*text)
        fprintf(out, "\n%s\n%s", title, text);
    free(text);
    return 0;
}

int mc_help_command(FILE *out, const struct mc_command *c, const struct mc_pass *pass,
                    struct mc_err *err)
{
    fprintf(out, "%s: %s\n\nusage: mcompress %s %s%s\n\nexample:\n  %s\n", name_of(c, pass),
            summary_of(c, pass), name_of(c, pass), c->operands, usage_tail(c), example_of(c, pass));
    if (strstr(c->operands, "RECIPE"))
        fprintf(out, "\n%s", about_recipes);
    int rc = 0;
    for (int i = pass ? -1 : 0; !rc && (i < 0 || c->groups[i]); i++)
        rc = print_group(out, c, pass, i, err);
    return rc;
}

/* Text for troff: backslashes and leading dots or quotes are its commands. */
static void troff(FILE *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        if ((c == text || c[-1] == '\n') && (*c == '.' || *c == '\''))
            fputs("\\&", out);
        if (*c == '\\')
            fputs("\\e", out);
        else if (*c == '-')
            fputs("\\-", out);
        else
            fputc(*c, out);
    }
}

static int man_command(FILE *out, const struct mc_command *c, const struct mc_pass *pass,
                       struct mc_err *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *plain = open_memstream(&text, &size);
    if (!plain)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_help_command(plain, c, pass, err);
    if (fclose(plain) && !rc)
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc) {
        fprintf(out, ".SS %s\n.nf\n", name_of(c, pass));
        troff(out, text);
        fputs(".fi\n", out);
    }
    free(text);
    return rc;
}

int mc_help_man(FILE *out, struct mc_err *err)
{
    fputs(".TH MCOMPRESS 1 \"\" \"mcompress " MC_VERSION "\"\n.SH NAME\n"
          "mcompress \\- make an ONNX model smaller and measure what it costs\n"
          ".SH SYNOPSIS\n.B mcompress\n.I COMMAND MODEL\n[options]\n.SH DESCRIPTION\n",
          out);
    troff(out, about);
    fputs(".SH COMMANDS\n", out);
    const struct mc_pass *p;
    const struct mc_command *c;
    for (size_t i = 0; (c = mc_command_at(i, &p)); i++) {
        int rc = man_command(out, c, p, err);
        if (rc)
            return rc;
    }
    fputs(".SH EXIT STATUS\n", out);
    enum mc_exit status;
    const char *text;
    for (int i = 0; (text = mc_exit_text(i, &status)); i++)
        fprintf(out, ".TP\n.B %d\n%s\n", status, text);
    return 0;
}

int mc_cmd_help(struct mc_cli *cli, struct mc_err *err)
{
    if (mc_param_flag(cli->values, "man"))
        return mc_help_man(stdout, err);
    const char *name = mc_cli_operand(cli, 0);
    const struct mc_command *c;
    const struct mc_pass *pass;
    if (!name) {
        mc_help_overview(stdout);
        return 0;
    }
    int rc = mc_command_find(name, &c, &pass, err);
    return rc ? rc : mc_help_command(stdout, c, pass, err);
}
