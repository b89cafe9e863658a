/* Any bytes as a YAML and as a JSON recipe: an error of one line, or a tree whose parts have places. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* Every part has a place. */
static void walk(const struct mc_yaml *y, json_t *node, char *path, size_t at, size_t size)
{
    size_t i;
    const char *key;
    json_t *v;
    must(mc_yaml_at(y, path).line > 0, "a part without a place");
    json_array_foreach(node, i, v)
    {
        snprintf(path + at, size - at, "/%zu", i);
        walk(y, v, path, strlen(path), size);
    }
    json_object_foreach(node, key, v)
    {
        snprintf(path + at, size - at, "/%s", key);
        must(mc_yaml_key_at(y, path).line > 0, "a key without a place");
        walk(y, v, path, strlen(path), size);
    }
    path[at] = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[4096] = "";
    for (int json = 0; json < 2; json++) {
        struct mc_yaml y = {0};
        struct mc_err err = {0};
        int rc = mc_yaml_parse(data, size, "r", json, &y, &err);
        if (rc) {
            must(err.code == rc && err.msg[0] && !strchr(err.msg, '\n'), "not a line of its own");
            must(!y.tree, "a tree in spite of an error");
            continue;
        }
        if (!json)
            walk(&y, y.tree, path, 0, sizeof path);
        mc_yaml_free(&y);
    }
    return 0;
}
