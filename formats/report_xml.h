/* JUnit, as Jenkins and GitLab read it: suites of test cases. */
#ifndef MC_FORMATS_REPORT_XML_H
#define MC_FORMATS_REPORT_XML_H

#include <stdio.h>

enum mc_xml_verdict { MC_XML_PASSED, MC_XML_FAILED, MC_XML_ERROR, MC_XML_SKIPPED };

struct mc_xml_case {
    const char *class; /* what is tested: a model */
    const char *name;  /* which test of it */
    double seconds;    /* NAN: not known */
    enum mc_xml_verdict verdict;
    const char *message; /* of what did not pass */
    const char *out;     /* figures, line by line; or NULL */
};

/* Texts may be any bytes: what XML 1.0 forbids, and what is no UTF-8, becomes '?'. */
void mc_xml_put(FILE *out, const char *text);

/* <testsuites> with one <testsuite>; cases (count[i] of verdict i) follow, then the end. */
void mc_xml_begin(FILE *out, const char *name, const int count[4], double seconds);
void mc_xml_property(FILE *out, int number, const char *name,
                     const char *value); /* value NULL: the last was */
void mc_xml_case(FILE *out, const struct mc_xml_case *c);
void mc_xml_end(FILE *out);

#endif
