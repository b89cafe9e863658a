/* External data: tensors whose bytes lie in files beside the model. A model is a stranger's word, so a
 * location may name plain files inside the model's folder and nothing else. */
#include "formats/onnx_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void mc_onnx_files_init(struct mc_onnx_files *f, const char *model)
{
    *f = (struct mc_onnx_files){.model = model, .dir = -1};
}

void mc_onnx_files_close(struct mc_onnx_files *f)
{
    for (size_t i = 0; i < f->n_files; i++) {
        free(f->files[i].location);
        mc_storage_unref(f->files[i].storage);
    }
    free(f->files);
    if (f->dir >= 0)
        close(f->dir);
    mc_onnx_files_init(f, f->model);
}

int mc_onnx_map(const char *path, struct mc_storage **ret, uint64_t *ret_device,
                uint64_t *ret_inode, struct mc_err *err)
{
    struct mc_map map;
    int rc = mc_map_open(path, &map, err);
    if (rc)
        return rc;
    if (ret_device)
        *ret_device = map.device;
    if (ret_inode)
        *ret_inode = map.inode;
    return mc_storage_map(&map, ret, err);
}

int mc_onnx_files_add(struct mc_onnx_files *f, const char *location, const char *path,
                      struct mc_err *err)
{
    struct mc_onnx_file x = {.location = strdup(location)};
    if (!x.location || !MC_GROW(f->files, f->n_files, f->cap_files)) {
        free(x.location);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    int rc = mc_onnx_map(path, &x.storage, &x.device, &x.inode, err);
    if (rc) {
        free(x.location);
        return rc;
    }
    f->files[f->n_files++] = x;
    return 0;
}

static int refuse(const struct mc_onnx_files *f, const char *location, const char *tensor,
                  const char *why, struct mc_err *err)
{
    return mc_fail(err, MC_EFORMAT, "'%s': external data '%s' of tensor '%s' %s", f->model,
                   location, tensor, why);
}

/* Path of an open file as the kernel knows it, links resolved; false if it has none. */
static bool real_path(int fd, char ret[MC_PATH])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, ret, MC_PATH - 1);
    if (n <= 0)
        return false;
    ret[n] = 0;
    return true;
}

/* The decision is made about the opened file, not about its name, which may mean another one by now. */
static bool is_inside(int dir, int fd)
{
    char folder[MC_PATH], file[MC_PATH];
    if (!real_path(dir, folder) || !real_path(fd, file))
        return false;
    size_t n = strlen(folder);
    if (n && folder[n - 1] == '/')
        n--;
    return !strncmp(folder, file, n) && file[n] == '/';
}

static bool climbs(const char *location)
{
    for (const char *p = location; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || !p[2]))
            return true;
    }
    return false;
}

static int open_folder(struct mc_onnx_files *f, const char *tensor, struct mc_err *err)
{
    char dir[MC_PATH];
    if (!strcmp(f->model, "-"))
        return mc_fail(
            err, MC_EUNSUP,
            "the model on standard input has external data (tensor '%s'): give it as a file",
            tensor);
    if (f->dir < 0)
        f->dir = open(mc_path_dir(f->model, dir), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (f->dir < 0)
        return mc_fail(err, MC_EOPEN, "cannot open the folder of '%s': %s", f->model,
                       strerror(errno));
    return 0;
}

/* Open a location and check what was opened; the descriptor (O_PATH) is the caller's. */
static int open_location(struct mc_onnx_files *f, const char *location, const char *tensor,
                         int *ret_fd, struct mc_err *err)
{
    struct stat st;
    if (!*location)
        return refuse(f, location, tensor, "has no location", err);
    if (*location == '/' || climbs(location))
        return refuse(f, location, tensor, "is not below the model's folder: refused", err);
    int rc = open_folder(f, tensor, err);
    if (rc)
        return rc;
    int fd = openat(f->dir, location, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        rc = mc_fail(err, MC_EOPEN,
                     "'%s': cannot open '%s', which holds its tensor '%s': %s; it must lie in the "
                     "model's folder",
                     f->model, location, tensor, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        rc = refuse(f, location, tensor, "is not a plain file: refused", err);
    else if (!is_inside(f->dir, fd))
        rc = refuse(f, location, tensor,
                    "is a link out of the model's folder: refused; copy the file there", err);
    if (rc && fd >= 0)
        close(fd);
    if (!rc)
        *ret_fd = fd;
    return rc;
}

int mc_onnx_files_get(struct mc_onnx_files *f, const char *location, const char *tensor,
                      struct mc_storage **ret, struct mc_err *err)
{
    for (size_t i = 0; i < f->n_files; i++)
        if (!strcmp(f->files[i].location, location)) {
            *ret = f->files[i].storage;
            return 0;
        }
    int fd = -1;
    int rc = open_location(f, location, tensor, &fd, err);
    if (rc)
        return rc;
    /* Two spellings of one file share a mapping, and count once. */
    struct stat st;
    for (size_t i = 0; !fstat(fd, &st) && i < f->n_files; i++)
        if (f->files[i].device == (uint64_t)st.st_dev && f->files[i].inode == (uint64_t)st.st_ino) {
            *ret = f->files[i].storage;
            goto out;
        }
    char again[64];
    snprintf(again, sizeof again, "/proc/self/fd/%d", fd);
    if (mc_onnx_files_add(f, location, again, err))
        rc = mc_fail(err, MC_EOPEN, "'%s': cannot read '%s', which holds its tensor '%s': %s",
                     f->model, location, tensor, strerror(errno));
    else
        *ret = f->files[f->n_files - 1].storage;
out:
    close(fd);
    return rc;
}
