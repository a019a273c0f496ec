/* io_resolve_test.c - name look-ups.  Nothing here asks a server: numbers, and
 * names of /etc/hosts and /etc/services. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "../support/check.h"

static mpg_waitgroup done;

static const struct addrinfo numeric = {
    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
    .ai_family = AF_INET,
    .ai_socktype = SOCK_STREAM,
};

static void expect(const struct addrinfo *list, const char *host, int port) {
  char text[INET_ADDRSTRLEN];
  CHECK(list != NULL);
  CHECK_EQ(list->ai_family, AF_INET);
  const struct sockaddr_in *at = (const struct sockaddr_in *) list->ai_addr;
  CHECK_EQ(ntohs(at->sin_port), port);
  CHECK(inet_ntop(AF_INET, &at->sin_addr, text, sizeof(text)) != NULL);
  CHECK(strcmp(text, host) == 0);
}

static void numbers_are_looked_up(void *arg) {
  (void) arg;
  struct addrinfo *list = NULL;
  CHECK_EQ(mpg_resolve("127.0.0.1", "8080", &numeric, &list), 0);
  expect(list, "127.0.0.1", 8080);
  mpg_resolve_free(list);
  CHECK_EQ(mpg_resolve(NULL, "99", &numeric, &list), 0); /* the loopback */
  expect(list, "127.0.0.1", 99);
  mpg_resolve_free(list);
  mpg_resolve_free(NULL);
}

static void localhost_is_known(void *arg) {
  (void) arg;
  struct addrinfo hints = numeric, *list = NULL;
  hints.ai_flags = 0;
  CHECK_EQ(mpg_resolve("localhost", NULL, &hints, &list), 0);
  expect(list, "127.0.0.1", 0);
  mpg_resolve_free(list);
}

static void mistakes_are_told(void *arg) {
  (void) arg;
  struct addrinfo hints = numeric, *list = NULL;
  CHECK_EQ(mpg_resolve("not a number", "1", &numeric, &list), -ENOENT);
  CHECK_EQ(mpg_resolve("127.0.0.1", "http", &numeric, &list), -ENOENT);
  CHECK_EQ(mpg_resolve("::1", NULL, &numeric, &list), -ENOENT);
  CHECK_EQ(mpg_resolve(NULL, NULL, &numeric, &list), -ENOENT);
  hints.ai_flags = -1;
  CHECK_EQ(mpg_resolve("127.0.0.1", NULL, &hints, &list), -EINVAL);
  hints = numeric;
  hints.ai_family = 999;
  CHECK_EQ(mpg_resolve("127.0.0.1", NULL, &hints, &list), -EINVAL);
  hints = numeric;
  hints.ai_socktype = 999;
  CHECK_EQ(mpg_resolve("127.0.0.1", "1", &hints, &list), -EINVAL);
  errno = 77; /* isn't touched */
  CHECK_EQ(mpg_resolve("not a number", "1", &numeric, &list), -ENOENT);
  CHECK_EQ(errno, 77);
}

static void look_up(void *arg) {
  char host[20], port[10];
  struct addrinfo *list = NULL;
  int i = (int) (intptr_t) arg;
  snprintf(host, sizeof(host), "10.1.%d.%d", i / 256, i % 256);
  snprintf(port, sizeof(port), "%d", i);
  CHECK_EQ(mpg_resolve(host, port, &numeric, &list), 0);
  expect(list, host, i);
  mpg_resolve_free(list);
  mpg_waitgroup_done(&done);
}

/* Many more than may run at a time, with collections beside them. */
static void many_take_turns(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  mpg_waitgroup_add(&done, 500);
  for (int i = 1; i <= 500; i++) {
    CHECK_GO(look_up, (void *) (intptr_t) i);
    if (i % 50 == 0) mpg_gc();
  }
  mpg_waitgroup_wait(&done);
}

static void look_up_for_ever(void *arg) {
  for (;;) {
    struct addrinfo *list = NULL;
    CHECK_EQ(mpg_resolve("127.0.0.1", NULL, &numeric, &list), 0);
    mpg_resolve_free(list);
    atomic_fetch_add((_Atomic int *) arg, 1);
  }
}

/* Twice: the second run starts with all places free. */
static void the_end_finds_look_ups(void *arg) {
  (void) arg;
  static _Atomic int n;
  atomic_store(&n, 0);
  for (int i = 0; i < 40; i++) CHECK_GO(look_up_for_ever, &n);
  CHECK_EVENTUALLY(atomic_load(&n) > 100);
}

static const struct check_case cases[] = {
    INSIDE(numbers_are_looked_up),  INSIDE(localhost_is_known),
    INSIDE(mistakes_are_told),      INSIDE(many_take_turns),
    INSIDE(the_end_finds_look_ups), INSIDE(the_end_finds_look_ups),
    INSIDE(many_take_turns),
};
CHECK_MAIN(cases, 20)
