#include "tests/cuda/fake.h"

#include <cstdlib>
#include <cstring>
#include <string>

static const struct {
    const char *name;
    const mc_fake *table;
} libraries[] = {
#define MC_FAKE_LIB(name) {#name, mc_fake_##name},
#include "tests/cuda/fake_list.h"
#undef MC_FAKE_LIB
    {nullptr, nullptr},
};

static bool missing(const char *name)
{
    const char *list = getenv("MC_SIM_MISSING");
    const char *driver = getenv("MC_SIM_DRIVER");
    std::string all = list ? std::string(" ") + list + " " : " ";
    if (driver && !strcmp(driver, "none"))
        all += "cuda ";
    return all.find(std::string(" ") + name + " ") != std::string::npos;
}

static bool is(const char *soname, const char *name)
{
    std::string want = std::string("lib") + name + ".so";
    return !strncmp(soname, want.c_str(), want.size()) && !missing(name);
}

bool mc_fake_there(const char *soname)
{
    bool there = is(soname, "cuda");
    for (auto *l = libraries; l->name; l++)
        there = there || is(soname, l->name);
    return there;
}

void *mc_fake_symbol(const char *soname, const char *name)
{
    for (auto *l = libraries; l->name; l++) {
        if (!is(soname, l->name))
            continue;
        for (auto *f = l->table; f->name; f++)
            if (!strcmp(f->name, name))
                return f->fn;
    }
    return nullptr;
}
