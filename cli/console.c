#include "cli/console.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/io.h"
#include "base/text.h"
#include "formats/report_format.h"

static bool is_screen(int fd)
{
    const char *term = getenv("TERM");
    return isatty(fd) && term && *term && strcmp(term, "dumb");
}

static bool may_colour(int fd)
{
    const char *no = getenv("NO_COLOR");
    return is_screen(fd) && !(no && *no);
}

/* ---- progress ---- */

static struct {
    char what[96];
    double began, drawn;
    bool shown;
} stage;

enum { BAR = 24 };

static void draw(void *ctx, const char *what, double done, double total)
{
    (void)ctx;
    double now = mc_now();
    size_t name = strcspn(what, ":");
    if (name != strcspn(stage.what, ":") || strncmp(what, stage.what, name)) {
        stage.began = now;
        stage.drawn = 0;
    }
    snprintf(stage.what, sizeof stage.what, "%s", what);
    if (now - stage.drawn < 0.1)
        return;
    stage.drawn = now;
    stage.shown = true;
    if (!(total > 0)) {
        fprintf(stderr, "\r\033[K%s ...", stage.what);
    } else {
        double part = done < 0 ? 0 : done < total ? done / total : 1;
        double spent = now - stage.began;
        char bar[BAR + 1], eta[MC_TEXT];
        for (int i = 0; i < BAR; i++)
            bar[i] = i < (int)(part * BAR) ? '#' : '.';
        bar[BAR] = 0;
        fprintf(stderr, "\r\033[K%-28s %s %3.0f %%", stage.what, bar, 100 * part);
        if (part > 0.02 && spent > 0.5)
            fprintf(stderr, ", %s left", mc_text_seconds(spent * (1 - part) / part, eta));
    }
    fflush(stderr);
}

const struct mc_progress *mc_console_progress(void)
{
    static const struct mc_progress progress = {draw, NULL};
    return is_screen(2) ? &progress : NULL;
}

void mc_console_clear(void)
{
    if (stage.shown)
        fputs("\r\033[K", stderr);
    stage.shown = false;
    stage.drawn = 0;
}

/* ---- lines on standard error ---- */

static void line(const char *command, const char *kind, const char *colour, const char *message)
{
    char harmless[MC_ERR_MSG]; /* names come from anywhere */
    mc_console_clear();
    bool paint = may_colour(2);
    snprintf(harmless, sizeof harmless, "%s", message);
    mc_report_disarm(harmless);
    fprintf(stderr, "%smcompress%s%s:%s %s%s\n", paint ? colour : "", command ? " " : "",
            command ? command : "", paint ? "\033[0m" : "", kind, harmless);
}

const char *mc_console_name(const struct mc_cli *cli)
{
    return cli->pass ? cli->pass->name : cli->command->name;
}

void mc_console_error(const char *command, const char *message)
{
    line(command, "", "\033[1;31m", message);
}

void mc_console_warn(const struct mc_cli *cli, const char *message)
{
    if (!cli->quiet)
        line(mc_console_name(cli), "warning: ", "\033[1;33m", message);
}

static void say(const struct mc_cli *cli, const char *fmt, va_list ap)
{
    struct mc_err text; /* mc_fail also takes care of control characters in names */
    char raw[MC_ERR_MSG];
    vsnprintf(raw, sizeof raw, fmt, ap);
    mc_fail(&text, MC_OK, "%s", raw);
    line(mc_console_name(cli), "", "", text.msg);
}

void mc_console_line(const struct mc_cli *cli, const char *fmt, ...)
{
    va_list ap;
    if (cli->quiet || (!cli->verbose && cli->progress))
        return;
    va_start(ap, fmt);
    say(cli, fmt, ap);
    va_end(ap);
}

void mc_console_note(const struct mc_cli *cli, const char *fmt, ...)
{
    va_list ap;
    if (!cli->verbose || cli->quiet)
        return;
    va_start(ap, fmt);
    say(cli, fmt, ap);
    va_end(ap);
}

/* ---- standard output ---- */

void mc_console_print(const char *text, bool to_stderr)
{
    mc_console_clear();
    fputs(text, to_stderr ? stderr : stdout);
}

int mc_console_columns(void)
{
    struct winsize w;
    if (isatty(1) && !ioctl(1, TIOCGWINSZ, &w) && w.ws_col >= 40)
        return w.ws_col;
    return 100;
}

int mc_console_finish(struct mc_err *err)
{
    if (!fflush(stdout) && !ferror(stdout))
        return 0;
    return mc_fail(err, MC_EIO, "cannot write standard output: %s", strerror(errno));
}
