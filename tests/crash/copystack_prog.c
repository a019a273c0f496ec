// EXPECT-EXIT: 0
// EXPECT-STDERR: ^  G[0-9]+: status=8\(\) m=[0-9]+ lockedm=-1$
// EXPECT-STDERR: ^seen$
// ENV: MPG_DEBUG=schedtrace=1,scheddetail=1,stackmove=1,chaos=3000
// ENV: MPG_PROCS=2
/* A movable goroutine parks again and again, is swapped out, and in, until
 * scheddetail has seen the latter (the former has a wait reason beside it).
 * Chaos makes it take a while. */
#include <fcntl.h>
#include <mpg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static mpg_chan *there, *back;

static void parks(void *arg) {
  (void) arg;
  while (mpg_chan_recv(there, NULL)) mpg_chan_send(back, NULL);
}

/* What was written since the last time, to fd; is the status in it?  A line
 * is written as a whole. */
static int copy_and_look(int from, int to) {
  static char text[1 << 20];
  ssize_t n = read(from, text, sizeof text - 1);
  if (n <= 0) return 0;
  text[n] = '\0';
  char *line = strstr(text, ": status=8()");
  if (!line) return 0;
  while (line > text && line[-1] != '\n') line--;
  char *end = strchr(line, '\n');
  if (!end) return 0;
  return write(to, line, (size_t) (end + 1 - line)) > 0;
}

static void start(void *arg) {
  int *fd = arg;
  struct mpg_go_options opt = {.size = sizeof opt, .flags = MPG_GO_MOVABLE};
  there = mpg_chan_new(0, 0);
  back = mpg_chan_new(0, 0);
  if (mpg_go_with(&opt, parks, NULL)) abort();
  int64_t end = mpg_now() + 30 * INT64_C(1000000000);
  do {
    if (mpg_now() > end) _exit(4);
    mpg_chan_send(there, NULL);
    mpg_chan_recv(back, NULL);
    mpg_sleep(100000);
  } while (!copy_and_look(fd[0], fd[1]));
}

int main(void) {
  char path[] = "/tmp/mpg_copystack.XXXXXX";
  int fd[2] = {mkstemp(path), dup(2)};
  if (fd[0] < 0 || fd[1] < 0 || unlink(path)) return 3;
  /* a description of its own: its offset is the writers' */
  char self[64] = "/proc/self/fd/";
  self[strlen(self) + 1] = '\0';
  self[strlen(self)] = (char) ('0' + fd[0]);
  int out = open(self, O_WRONLY | O_APPEND);
  if (out < 0 || dup2(out, 2) < 0) return 3;
  int r = mpg_run(start, fd);
  return write(fd[1], "seen\n", 5) == 5 ? r : 3;
}
