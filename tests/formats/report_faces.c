/* report_faces REPORT.json FILE…: write the report as each FILE, as its extension says. */
#include <stdio.h>

#include "formats/report.h"

int main(int argc, char **argv)
{
    struct mc_err err = {0};
    json_error_t e;
    json_t *r = argc > 1 ? json_load_file(argv[1], 0, &e) : NULL;
    int rc = r ? 0 : 1;
    for (int i = 2; i < argc && !rc; i++)
        rc = mc_report_write(r, argv[i], &err);
    if (rc)
        fprintf(stderr, "%s\n", r ? err.msg : "no JSON");
    json_decref(r);
    return rc != 0;
}
