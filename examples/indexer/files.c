/* files.c - find files below a folder and read them, with goroutines.
 *
 * One goroutine for each folder, so the tree is walked as wide as it is; a
 * semaphore keeps the number of open folders below the limit on descriptors.
 * The list grows with mpg_realloc under a lock, and qsort puts it in order.
 * The system's calls that may wait for a disk are made with the P handed off.
 */
#include <dirent.h>
#include <fcntl.h>
#include <mpg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "indexer.h"

#define OPEN_FOLDERS 64

struct walk {
  mpg_mutex lock; /* of what follows */
  char **path;
  size_t n, cap;
  int error;
  mpg_sem open_folders;
  mpg_waitgroup running;
};

struct folder {
  struct walk *walk;
  char *path;
};

static void walk_failed(struct walk *w, int error) {
  mpg_mutex_lock(&w->lock);
  if (w->error == 0) w->error = error;
  mpg_mutex_unlock(&w->lock);
}

static void walk_add(struct walk *w, char *path) {
  mpg_mutex_lock(&w->lock);
  if (w->n == w->cap) {
    size_t cap = w->cap ? 2 * w->cap : 256;
    char **bigger = mpg_realloc(w->path, cap * sizeof(*bigger));
    if (bigger) {
      w->path = bigger;
      w->cap = cap;
    }
  }
  if (w->n < w->cap)
    w->path[w->n++] = path;
  else
    w->error = -ENOMEM;
  mpg_mutex_unlock(&w->lock);
}

static char *path_join(const char *folder, const char *name) {
  size_t n = strlen(folder), m = strlen(name);
  char *path = mpg_alloc_noscan(n + m + 2);
  if (!path) return NULL;
  memcpy(path, folder, n);
  path[n] = '/';
  memcpy(path + n + 1, name, m + 1);
  return path;
}

static void walk_start(struct walk *w, char *path);

/* Neither follow symbolic links nor trust d_type. */
static void walk_entry(struct walk *w, const char *folder, const char *name) {
  if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return;
  char *path = path_join(folder, name);
  if (!path) return walk_failed(w, -ENOMEM);
  struct stat st;
  if (lstat(path, &st) != 0) return;
  if (S_ISDIR(st.st_mode))
    walk_start(w, path);
  else if (S_ISREG(st.st_mode))
    walk_add(w, path);
}

static void walk_folder(void *arg) {
  struct folder *f = arg;
  struct walk *w = f->walk;
  mpg_sem_acquire(&w->open_folders);
  DIR *dir = opendir(f->path);
  if (dir) {
    for (struct dirent *d; (d = readdir(dir)) != NULL;)
      walk_entry(w, f->path, d->d_name);
    closedir(dir);
  }
  mpg_sem_release(&w->open_folders);
  mpg_waitgroup_done(&w->running);
}

static void walk_start(struct walk *w, char *path) {
  struct folder *f = mpg_alloc(sizeof(*f));
  if (!f) return walk_failed(w, -ENOMEM);
  *f = (struct folder){w, path};
  mpg_waitgroup_add(&w->running, 1);
  int e = mpg_go(walk_folder, f);
  if (e == 0) return;
  walk_failed(w, e);
  mpg_waitgroup_done(&w->running);
}

static int compare_paths(const void *a, const void *b) {
  return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Keep at most max, evenly spread. */
static void files_thin(struct files *f, size_t max) {
  if (max == 0 || f->n <= max) return;
  for (size_t i = 0; i < max; i++) f->path[i] = f->path[i * f->n / max];
  f->n = max;
}

int files_find(const char *folder, struct files *out) {
  struct walk *w = mpg_alloc(sizeof(*w));
  char *path = mpg_strdup(folder);
  if (!w || !path) return -ENOMEM;
  for (int i = 0; i < OPEN_FOLDERS; i++) mpg_sem_release(&w->open_folders);
  walk_start(w, path);
  mpg_waitgroup_wait(&w->running);
  if (w->error != 0) return w->error;
  if (w->n > 0) qsort(w->path, w->n, sizeof(*w->path), compare_paths);
  *out = (struct files){w->path, w->n};
  files_thin(out, (size_t) settings.files);
  return 0;
}

/* ---- reading ---- */

struct opening {
  const char *path;
  int fd;
  off_t bytes;
};

/* Runs under mpg_blocking: it may not use mpg. */
static void open_file(void *arg) {
  struct opening *o = arg;
  struct stat st;
  o->fd = open(o->path, O_RDONLY | O_CLOEXEC);
  if (o->fd < 0) {
    o->fd = -errno;
  } else if (fstat(o->fd, &st) != 0) {
    int e = errno;
    close(o->fd);
    o->fd = -e;
  } else {
    o->bytes = st.st_size;
  }
}

static ssize_t read_some(int fd, char *to, size_t bytes) {
  mpg_syscall_enter();
  ssize_t n = read(fd, to, bytes);
  if (n < 0) n = -errno;
  mpg_syscall_exit();
  return n;
}

/* Returns: bytes read, fewer than wanted at end of file; negative errno. */
static ssize_t read_full(int fd, char *to, size_t bytes) {
  size_t done = 0;
  while (done < bytes) {
    ssize_t n = read_some(fd, to + done, bytes - done);
    if (n == -EINTR) continue;
    if (n < 0) return n;
    if (n == 0) break;
    done += (size_t) n;
  }
  return (ssize_t) done;
}

int file_read(const char *path, char **text, size_t *bytes) {
  struct opening o = {.path = path};
  mpg_blocking(open_file, &o);
  if (o.fd < 0) return o.fd;
  char *to = mpg_alloc_noscan((size_t) o.bytes + 1);
  ssize_t n = to ? read_full(o.fd, to, (size_t) o.bytes) : -ENOMEM;
  close(o.fd);
  if (n < 0) return (int) n;
  to[n] = '\0';
  *text = to;
  *bytes = (size_t) n;
  return 0;
}
