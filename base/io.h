/* Files: mapped input, output that appears whole or not at all, spill space.
 *
 * Paths are the user's bytes, used as given. Messages name the path and what to do. */
#ifndef MC_BASE_IO_H
#define MC_BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A whole file, read only. The mapping outlives a rename over the path; weights point into it.
 * A file that cannot be mapped (a pipe, "-" for stdin) is copied to an unlinked temporary file first. */
struct mc_map {
    const uint8_t *data; /* never NULL when open, also for an empty file */
    size_t size;
    uint64_t device, inode; /* identity: two paths of one file compare equal */
};
/* Errors: MC_EOPEN if missing, a folder, or unreadable. */
int mc_map_open(const char *path, struct mc_map *ret_map, struct mc_err *err);
void mc_map_close(struct mc_map *map); /* accepts a zeroed struct */
/* Let a part that was read, and is not expected again soon, leave this process's memory. The content stays:
 * touching it brings it back. */
void mc_map_cool(const struct mc_map *map, size_t offset, size_t bytes);

enum { MC_PATH = 4096 };

/* Output written beside its path and renamed over it by commit. Until then the old file is untouched; an
 * abort, a crash or a kill leaves at most nothing (O_TMPFILE) or, on file systems without it, a hidden
 * ".NAME.XXXXXX.part" that abort and Ctrl-C remove. "-" is stdout: bytes are held back until commit. */
struct mc_out;
/* A pipe or a device is not replaced: the bytes are gathered in $TMPDIR and copied into it on commit.
 * Errors: MC_EIO, naming the folder when it is missing or unwritable. */
int mc_out_open(const char *path, struct mc_out **ret_out, struct mc_err *err);
/* Buffered. Errors (disk full included) are remembered: later writes do nothing, commit reports. */
void mc_out_write(struct mc_out *out, const void *data, size_t bytes);
/* Bytes written so far. */
uint64_t mc_out_offset(const struct mc_out *out);
/* Flush, fsync and close, but do not rename yet: for outputs that belong together. */
int mc_out_finish(struct mc_out *out, struct mc_err *err);
/* A path under which the finished, not yet committed bytes can be read back; valid until commit or abort. */
const char *mc_out_peek(const struct mc_out *out, char ret[MC_PATH]);
/* Finish if needed and rename; frees out in any case. Errors: MC_EIO. */
int mc_out_commit(struct mc_out *out, struct mc_err *err);
void mc_out_abort(struct mc_out *out); /* frees; accepts NULL */
/* Remove the ".part" files of all outputs that are open now. Async-signal-safe; for a handler that is about
 * to end the process. */
void mc_out_discard_all(void);

/* Scratch memory backed by an unlinked file in `dir` (NULL: $TMPDIR or /tmp): large tensors live there
 * instead of in anonymous memory. Thread-safe. */
struct mc_spill;
int mc_spill_new(const char *dir, struct mc_spill **ret_spill, struct mc_err *err);
void mc_spill_free(struct mc_spill *s); /* blocks must have been released before */
/* A zeroed, page-aligned, writable block. Errors: MC_EIO when the disk is full. */
int mc_spill_alloc(struct mc_spill *s, size_t bytes, void **ret_data, struct mc_err *err);
void mc_spill_release(struct mc_spill *s, void *data, size_t bytes);
/* The same space as a file of its own, for a spill without blocks: bytes appended one behind the other, read back
 * from anywhere. They take none of the process's memory. Errors: MC_EIO. */
int mc_spill_append(struct mc_spill *s, const void *data, size_t n, struct mc_err *err);
int mc_spill_pread(const struct mc_spill *s, uint64_t at, void *dst, size_t n, struct mc_err *err);

/* Is it standard input or output ("-"), a pipe or a device: read and written in one go, and never replaced? */
bool mc_path_streams(const char *path);
/* True if both paths name one existing file. */
bool mc_path_same(const char *a, const char *b);
/* Folder part of a path ("." if none); returns ret. */
const char *mc_path_dir(const char *path, char ret[MC_PATH]);
const char *mc_path_base(const char *path); /* part after the last slash */
const char *mc_path_ext(const char *path);  /* from the last dot of the base, or "" */

/* Peak resident set of this process so far, in bytes. */
uint64_t mc_peak_rss(void);
/* Monotonic seconds. */
double mc_now(void);

#endif
