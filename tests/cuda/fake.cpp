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
    std::string all = list ? std::string(" ") + list + " " : " ";
    return all.find(std::string(" ") + name + " ") != std::string::npos;
}

void *mc_fake_symbol(const char *soname, const char *name)
{
    for (auto *l = libraries; l->name; l++) {
        std::string want = std::string("lib") + l->name + ".so";
        if (strncmp(soname, want.c_str(), want.size()) != 0 || missing(l->name))
            continue;
        for (auto *f = l->table; f->name; f++)
            if (!strcmp(f->name, name))
                return f->fn;
    }
    return nullptr;
}
