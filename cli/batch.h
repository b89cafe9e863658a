/* Many models in one go: what the files of `mcompress batch` share.
 *
 * Found (batch_walk), completed with options and keys (batch_options), compared with what an earlier run left
 * (batch_state), run (batch_run), told (batch_report). */
#ifndef MC_CLI_BATCH_H
#define MC_CLI_BATCH_H

#include "base/process.h"
#include "cli/command.h"
#include "cli/recipe.h"

enum mc_batch_status {
    MC_BATCH_TODO,
    MC_BATCH_DONE,
    MC_BATCH_GATE, /* done, but a gate or target was missed */
    MC_BATCH_FAILED,
};

struct mc_batch_model {
    char *rel;     /* below the folder; tells the model's name to people */
    char *path;    /* where it is */
    char *out;     /* where the result goes */
    char *state;   /* what is known of the result, for the next run */
    char *partial; /* the report of the process that runs */
    char key[65];  /* of everything but the model itself that decides the result; "": not known */
    enum mc_batch_status status;
    bool before;     /* as an earlier run left it */
    char *reason;    /* why it failed, missed its gate, or has to be done (again); may be NULL */
    json_t *result;  /* the report on it, or NULL */
    double seconds;  /* of its process */
    bool unreadable; /* a folder that could not be looked into: it fails, for `reason` */
    bool stale;      /* it failed, and at `out` lies what an earlier run wrote */
};

struct mc_batch_job {
    const struct mc_cli *cli;
    const char *recipe; /* as given */
    struct mc_recipe *steps;
    char recipe_print[65]; /* of its file, as it was read; "" of a text */
    char *recipe_text;     /* in its normal form */
    const char *dir, *out;
    json_t *options; /* {name: value} for every process, patterns not filled in */
    json_t *prints;  /* {spec: print of the files it names} */
    struct mc_process_limits limits;
    int jobs, threads; /* at once; of each */
    bool force, fail_fast, dry_run, data_optional;
    int lock;     /* descriptor of the lock on `out`, or -1 */
    size_t links; /* to folders, not followed */
    struct mc_batch_model *model;
    size_t n, cap;
    double began;
};

/* ---- batch_walk.c ---- */

/* Call fn for every file below dir (its path below dir, its path), links to files included, in the order of their
 * bytes. dir_fn, may be NULL: is called for every folder; returns false where it is to be left out. Folders behind
 * links are left out and counted in *links (may be NULL). A folder that cannot be read goes to fn as well, with the reason in err. */
struct mc_batch_visit {
    int (*file)(void *ctx, const char *rel, const char *path, const char *why, struct mc_err *err);
    bool (*folder)(void *ctx, const char *path);
    void *ctx;
    size_t links;
};
int mc_batch_visit(struct mc_batch_visit *v, const char *dir, struct mc_err *err);

/* b->model, b->n, in the order of their paths' bytes: every .onnx file below b->dir, or that file itself. Hidden ones, and
 * what lies in b->out, are left out. Errors: MC_EOPEN where there is none, MC_EUSAGE where b->out would be among the
 * models. */
int mc_batch_walk(struct mc_batch_job *b, struct mc_err *err);

/* ---- batch_options.c ---- */

/* b->steps and b->recipe_text. Errors: those of the recipe; MC_EUSAGE for a step that writes a file for itself. */
int mc_batch_recipe(struct mc_batch_job *b, struct mc_err *err);
/* b->options: those of the invocation that every process is given. Errors: MC_EUSAGE for a pattern that is
 * none, or a file that all models would write. */
int mc_batch_options(struct mc_batch_job *b, struct mc_err *err);
/* Text with {dir}, {stem}, {name}, {rel} filled in; malloc'd. Errors: MC_EUSAGE for another name in braces. */
int mc_batch_fill(const char *pattern, const struct mc_batch_model *m, char **ret,
                  struct mc_err *err);
/* Does an option name files? 0: no, 1: to read, 2: to write. */
int mc_batch_option_files(const char *name);
/* The words of a process, closed by NULL. Errors: MC_ENOMEM. */
int mc_batch_words(const struct mc_batch_job *b, const struct mc_batch_model *m, char ***ret,
                   struct mc_err *err);
void mc_batch_words_free(char **words); /* accepts NULL */

/* ---- batch_key.c ---- */

/* m->key: of recipe, options, version, and of the size and time of all files that options name. Errors: MC_ENOMEM. */
int mc_batch_key(struct mc_batch_job *b, struct mc_batch_model *m, struct mc_err *err);
/* Of the names, sizes and times of what a spec names, in hex; "" where nothing is there. */
void mc_batch_print(const char *spec, char ret[65]);
/* Does a SPEC of samples name a file, a folder or a pair that is there? */
bool mc_batch_there(const char *spec);

/* ---- batch_state.c ---- */

/* m->out, m->state, m->partial. Errors: MC_ENOMEM. */
int mc_batch_places(const struct mc_batch_job *b, struct mc_batch_model *m, struct mc_err *err);
/* The folder for states, and the lock on it. Errors: MC_EIO; MC_EFAIL if another batch writes there. */
int mc_batch_lock(struct mc_batch_job *b, struct mc_err *err);
/* Make the folder that path lies in. */
int mc_batch_folder(const char *path, struct mc_err *err);
/* If the result of an earlier run is what this one would make: m->status, m->result and m->reason; else m->reason is
 * why not. Thread-safe for different models. Cost: model and result are hashed. */
void mc_batch_recall(const struct mc_batch_job *b, struct mc_batch_model *m);
/* For the next run. Errors: MC_EIO. */
int mc_batch_remember(const struct mc_batch_job *b, const struct mc_batch_model *m,
                      struct mc_err *err);

/* ---- batch_run.c ---- */

/* All models that are to do. Errors: MC_EINTR, when all processes have ended; else what became of each is in the
 * models. */
int mc_batch_run(struct mc_batch_job *b, struct mc_err *err);
/* What the end of its process says of a model. False: it was stopped, and is to do as before. */
bool mc_batch_judge(const struct mc_batch_job *b, struct mc_batch_model *m,
                    const struct mc_process_end *end);

/* ---- batch_report.c ---- */

/* The one tree. */
int mc_batch_report(const struct mc_batch_job *b, json_t **ret, struct mc_err *err);
/* Models in a state. */
size_t mc_batch_count(const struct mc_batch_job *b, enum mc_batch_status status);

#endif
