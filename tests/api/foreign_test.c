/* foreign_test.c - code built without mpg's flags, from goroutines on 2 KiB:
 * by name, which the linker sees, and through pointers, with
 * mpg_foreign_call; every sort of library call that needs much stack.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <iconv.h>
#include <link.h>
#include <locale.h>
#include <netdb.h>
#include <regex.h>
#include <wchar.h>

#include "../support/check.h"

#define PLAIN __attribute__((noinline))

static mpg_waitgroup done;

static void on_goroutines(int n, mpg_func fn) {
  mpg_waitgroup_add(&done, n);
  for (int i = 0; i < n; i++) CHECK_GO(fn, NULL);
}

/* ---- by name ---- */

static PLAIN int descend(int n) {
  volatile char frame[200];
  frame[n % 200] = 1;
  return n == 0 ? 0 : frame[n % 200] + descend(n - 1);
}

static int compare(const void *a, const void *b) {
  CHECK_EQ(descend(30), 30);
  return *(const int *) a - *(const int *) b;
}

static PLAIN void sort(void) {
  int v[50];
  for (int i = 0; i < 50; i++) v[i] = (i * 37) % 50;
  qsort(v, 50, sizeof(v[0]), compare);
  for (int i = 0; i < 50; i++) CHECK_EQ(v[i], i);
}

static PLAIN void match(void) {
  regex_t re;
  regmatch_t m[3];
  CHECK_EQ(regcomp(&re, "([a-z]+)=([0-9]{2,4})", REG_EXTENDED), 0);
  CHECK_EQ(regexec(&re, "some text key=1234 more", 3, m, 0), 0);
  CHECK_EQ(m[1].rm_so, 10);
  CHECK_EQ(m[2].rm_eo, 18);
  regfree(&re);
}

static PLAIN void resolve(void) {
  struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                           .ai_socktype = SOCK_STREAM};
  struct addrinfo *list;
  CHECK_EQ(getaddrinfo("127.0.0.1", "80", &hints, &list), 0);
  const struct sockaddr_in *in = (const void *) list->ai_addr;
  CHECK_EQ(ntohl(in->sin_addr.s_addr), INADDR_LOOPBACK);
  freeaddrinfo(list);
}

static PLAIN void load(void) {
  void *m = dlopen("libm.so.6", RTLD_NOW);
  CHECK(m != NULL);
  double (*cosine)(double);
  *(void **) &cosine = dlsym(m, "cos");
  CHECK(cosine && cosine(0) == 1);
  dlclose(m);
}

static PLAIN void convert(void) {
  char in[] = "text", out[32];
  char *from = in, *to = out;
  size_t from_bytes = 4, to_bytes = sizeof(out);
  iconv_t cd = iconv_open("UTF-16LE", "UTF-8");
  CHECK(cd != (iconv_t) -1);
  CHECK_EQ(iconv(cd, &from, &from_bytes, &to, &to_bytes), 0);
  CHECK_EQ(sizeof(out) - to_bytes, 8);
  iconv_close(cd);
}

static PLAIN void print(void) {
  char text[200];
  wchar_t wide[100];
  struct tm tm = {.tm_year = 100, .tm_mon = 1, .tm_mday = 29};
  CHECK_EQ(snprintf(text, sizeof(text), "%.3f %e %.2Lf", 2.5, 1e100, 1.5L), 24);
  CHECK_EQ(strftime(text, sizeof(text), "%A %d %B %Y", &tm), 23);
  CHECK_EQ(swprintf(wide, 100, L"%ls %.2f", L"wide", 1.25), 9);
  CHECK_EQ(mbstowcs(wide, "multi", 100), 5);
}

static PLAIN void at_depth(int n) {
  volatile char frame[40];
  frame[0] = 1;
  sort();
  match();
  resolve();
  load();
  convert();
  print();
  if (n > 0) at_depth(n - 1);
  CHECK_EQ(frame[0], 1);
}

static void worker(void *arg) {
  (void) arg;
  at_depth(16);
  mpg_waitgroup_done(&done);
}

static void library_calls_of_every_kind(void *arg) {
  (void) arg;
  setlocale(LC_ALL, "C");
  on_goroutines(8, worker);
  for (int i = 0; i < 10; i++) mpg_gc();
  mpg_waitgroup_wait(&done);
}

/* ---- through pointers ---- */

static void (*hidden_qsort)(void *, size_t, size_t,
                            int (*)(const void *, const void *));

struct sorting {
  int v[20];
  int parked;
};

static void sort_hidden(void *arg) {
  struct sorting *s = arg;
  hidden_qsort(s->v, 20, sizeof(s->v[0]), compare);
  mpg_yield(); /* the API works in there */
  mpg_gc();
  mpg_sleep(1000);
  s->parked = 1;
}

static PLAIN void foreign_at_depth(int n) {
  struct sorting s = {.parked = 0};
  for (int i = 0; i < 20; i++) s.v[i] = (i * 7) % 20;
  mpg_foreign_call(sort_hidden, &s);
  for (int i = 0; i < 20; i++) CHECK_EQ(s.v[i], i);
  CHECK_EQ(s.parked, 1);
  if (n > 0) foreign_at_depth(n - 1);
  CHECK_EQ(s.parked, 1);
}

static void foreign_worker(void *arg) {
  (void) arg;
  foreign_at_depth(30);
  mpg_waitgroup_done(&done);
}

static void foreign_calls_have_room(void *arg) {
  (void) arg;
  *(void **) &hidden_qsort = dlsym(RTLD_DEFAULT, "qsort");
  CHECK(hidden_qsort != NULL);
  on_goroutines(8, foreign_worker);
  mpg_waitgroup_wait(&done);
}

/* As much as is promised, written to the last byte. */
static __attribute__((noinline)) void use_room(volatile char *top) {
  for (long i = 512; i < MPG_FOREIGN_BYTES; i += 64) top[-i] = (char) i;
}

static void use_all(void *arg) {
  /* Below this frame; the prologue here checked for less. */
  use_room(__builtin_frame_address(0));
  *(int *) arg = 1;
}

static PLAIN void promised_at_depth(int n) {
  int used = 0;
  mpg_foreign_call(use_all, &used);
  CHECK_EQ(used, 1);
  if (n > 0) promised_at_depth(n - 1);
  CHECK_EQ(used, 1);
}

static void promise_worker(void *arg) {
  (void) arg;
  promised_at_depth(400);
  mpg_waitgroup_done(&done);
}

static void all_of_the_room_is_there(void *arg) {
  (void) arg;
  on_goroutines(4, promise_worker);
  mpg_waitgroup_wait(&done);
}

/* By name, too: [stack.seg.foreign].  qsort has a frame of its own. */
#define COMPARE_BYTES (MPG_FOREIGN_BYTES - 2048)
static __attribute__((noinline, no_split_stack)) int compare_deeply(
    const void *a, const void *b) {
  volatile char room[COMPARE_BYTES];
  for (size_t i = 0; i < COMPARE_BYTES; i += 64) room[i] = (char) i;
  return *(const int *) a - *(const int *) b + room[0];
}

static PLAIN void named_at_depth(int n) {
  int v[3] = {2, 3, 1};
  qsort(v, 3, sizeof(v[0]), compare_deeply);
  CHECK(v[0] == 1 && v[1] == 2 && v[2] == 3);
  if (n > 0) named_at_depth(n - 1);
  CHECK_EQ(v[2], 3);
}

static void named_worker(void *arg) {
  (void) arg;
  named_at_depth(400);
  mpg_waitgroup_done(&done);
}

static void named_calls_have_as_much_room(void *arg) {
  (void) arg;
  on_goroutines(4, named_worker);
  mpg_waitgroup_wait(&done);
}

static void set_one(void *arg) { *(int *) arg = 1; }

static void outside_it_just_calls(void *arg) {
  int called = 0;
  (void) arg;
  mpg_foreign_call(set_one, &called);
  CHECK_EQ(called, 1);
}

/* ---- callbacks ---- */

static mpg_chan *asked, *answered;

static void answer(void *arg) {
  (void) arg;
  int v[2];
  while (mpg_chan_recv(asked, v)) {
    int order = v[0] - v[1];
    mpg_chan_send(answered, &order);
  }
}

static int ask(const void *a, const void *b) {
  int v[2] = {*(const int *) a, *(const int *) b}, order;
  mpg_chan_send(asked, v);
  CHECK(mpg_chan_recv(answered, &order));
  if (v[0] % 10 == 0) mpg_gc();
  return order;
}

static void sort_by_asking(void *arg) {
  (void) arg;
  int v[60];
  for (int i = 0; i < 60; i++) v[i] = (i * 37) % 60;
  qsort(v, 60, sizeof(v[0]), ask);
  for (int i = 0; i < 60; i++) CHECK_EQ(v[i], i);
  mpg_waitgroup_done(&done);
}

/* qsort holds no lock.  */
static void a_comparator_may_wait_and_collect(void *arg) {
  (void) arg;
  asked = mpg_chan_new(2 * sizeof(int), 0);
  answered = mpg_chan_new(sizeof(int), 0);
  CHECK_GO(answer, NULL);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(sort_by_asking, NULL);
  mpg_waitgroup_wait(&done);
  mpg_chan_close(asked);
}

static int collect(struct dl_phdr_info *info, size_t bytes, void *count) {
  (void) info, (void) bytes;
  mpg_gc();
  mpg_gomaxprocs(2 + ++*(int *) count % 2);
  return *(int *) count == 3;
}

/* With the linker's lock; beside others who want it: sched_linker_test.c. */
static void so_may_who_lists_objects(void *arg) {
  (void) arg;
  int count = 0;
  CHECK_EQ(dl_iterate_phdr(collect, &count), 1);
  CHECK_EQ(count, 3);
}

static const struct check_case cases[] = {
    INSIDE(library_calls_of_every_kind),
    INSIDE(foreign_calls_have_room),
    INSIDE(all_of_the_room_is_there),
    INSIDE(named_calls_have_as_much_room),
    INSIDE(a_comparator_may_wait_and_collect),
    INSIDE(so_may_who_lists_objects),
    OUTSIDE(outside_it_just_calls),
};
CHECK_MAIN(cases, 40)
