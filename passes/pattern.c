#include "passes/pattern.h"

#include <string.h>

int mc_pattern_open(const char *option, const char *text, struct mc_pattern *ret,
                    struct mc_err *err)
{
    char why[128];
    *ret = (struct mc_pattern){.option = option, .text = text};
    int bad = regcomp(&ret->regex, text, REG_EXTENDED | REG_NOSUB);
    if (!bad)
        return 0;
    regerror(bad, &ret->regex, why, sizeof why);
    return mc_fail(err, MC_EUSAGE, "--%s '%s' is no regular expression: %s", option, text, why);
}

void mc_pattern_close(struct mc_pattern *p)
{
    if (!p->exact)
        regfree(&p->regex);
}

struct mc_pattern mc_pattern_name(const char *option, const char *text)
{
    return (struct mc_pattern){.option = option, .text = text, .exact = true};
}

bool mc_pattern_fits(const struct mc_pattern *p, const char *name)
{
    return p->exact ? !strcmp(p->text, name) : !regexec(&p->regex, name, 0, NULL, 0);
}

int mc_pattern_missed(const struct mc_pattern *p, const struct mc_nearest *near, struct mc_err *err)
{
    const char *name = near ? near->name : NULL;
    return mc_fail(err, MC_EUSAGE, "--%s: no layer and no weight %s '%s'%s%s%s", p->option,
                   p->exact ? "is named" : "matches", p->text,
                   name ? "; did you mean '" : "; --dry-run lists them", name ? name : "",
                   name ? "'?" : "");
}
