#include <mpg.h>
#include <stdio.h>

static char *names[] = {"world", "gopher", "C", NULL};
static mpg_chan *lines;

static void greet(void *name) {
  char *line = mpg_alloc_noscan(64);
  snprintf(line, 64, "hello, %s", (char *) name);
  mpg_chan_send(lines, &line);
}

static void start(void *arg) {
  lines = mpg_chan_new(sizeof(char *), 0);
  for (char **n = arg; *n; n++) mpg_go(greet, *n);
  for (char *line, **n = arg; *n; n++)
    if (mpg_chan_recv(lines, &line)) puts(line);
}

int main(void) { return mpg_run(start, names) == 0 ? 0 : 1; }
