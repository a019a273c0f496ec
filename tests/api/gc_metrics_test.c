/* gc_metrics_test.c - histograms of stops, preemptions and waits. */
#include <errno.h>

#include "../support/check.h"

static const enum mpg_metric all[] = {MPG_METRIC_TIME_TO_STOP, MPG_METRIC_PAUSE,
                                      MPG_METRIC_PREEMPT_LATENCY,
                                      MPG_METRIC_SCHED_LATENCY};

static struct mpg_histogram *read_metric(enum mpg_metric m) {
  struct mpg_histogram *h = NULL;
  CHECK_EQ(mpg_metric_read(m, &h), 0);
  CHECK(h != NULL);
  return h;
}

static uint64_t count_of(enum mpg_metric m) {
  struct mpg_histogram *h = read_metric(m);
  uint64_t n = mpg_histogram_count(h);
  mpg_histogram_free(h);
  return n;
}

static void wrong_arguments(void *arg) {
  (void) arg;
  struct mpg_histogram *h = NULL;
  CHECK_EQ(mpg_metric_read((enum mpg_metric) 4, &h), -EINVAL);
  CHECK_EQ(mpg_metric_read((enum mpg_metric) 1000000, &h), -EINVAL);
  CHECK_EQ(mpg_metric_read((enum mpg_metric) - 1, &h), -EINVAL);
  CHECK(h == NULL);
  CHECK_EQ(mpg_metric_read(MPG_METRIC_PAUSE, NULL), -EINVAL);
  mpg_metric_reset((enum mpg_metric) 4); /* nothing happens */
  mpg_histogram_free(NULL);
}

static void every_stop_is_a_sample_of_both(void *arg) {
  (void) arg;
  for (int i = 0; i < 20; i++) {
    uint64_t to_stop = count_of(MPG_METRIC_TIME_TO_STOP);
    uint64_t stopped = count_of(MPG_METRIC_PAUSE);
    mpg_gc();
    CHECK_GE(count_of(MPG_METRIC_TIME_TO_STOP), to_stop + 1);
    CHECK_GE(count_of(MPG_METRIC_PAUSE), stopped + 1);
  }
  uint64_t before = count_of(MPG_METRIC_PAUSE);
  mpg_gomaxprocs(mpg_gomaxprocs(0) + 1);
  CHECK_GE(count_of(MPG_METRIC_PAUSE), before + 1);
  CHECK_EQ(count_of(MPG_METRIC_PAUSE), count_of(MPG_METRIC_TIME_TO_STOP));
}

static void empty_ones_give_zero(void *arg) {
  (void) arg;
  mpg_gc();
  for (int i = 0; i < 2; i++) {
    mpg_metric_reset(all[i]);
    struct mpg_histogram *h = read_metric(all[i]);
    CHECK_EQ(mpg_histogram_count(h), 0);
    CHECK_EQ(mpg_histogram_max(h), 0);
    for (int q = 0; q <= 10; q++)
      CHECK_EQ(mpg_histogram_quantile(h, q / 10.0), 0);
    mpg_histogram_free(h);
  }
}

static void quantiles_are_monotone(void *arg) {
  (void) arg;
  for (int i = 0; i < 200; i++) {
    mpg_gc();
    mpg_yield();
  }
  for (int i = 0; i < 4; i++) {
    struct mpg_histogram *h = read_metric(all[i]);
    uint64_t last = 0, max = mpg_histogram_max(h);
    for (int q = 0; q <= 1000; q++) {
      uint64_t v = mpg_histogram_quantile(h, q / 1000.0);
      CHECK_GE(v, last);
      last = v;
    }
    CHECK_LE(last, max);
    CHECK_GE(last, max - max / 32); /* the stated error */
    CHECK_EQ(mpg_histogram_quantile(h, -1), mpg_histogram_quantile(h, 0));
    CHECK_EQ(mpg_histogram_quantile(h, 2), mpg_histogram_quantile(h, 1));
    mpg_histogram_free(h);
  }
}

static void a_snapshot_stays(void *arg) {
  (void) arg;
  mpg_gc();
  struct mpg_histogram *h = read_metric(MPG_METRIC_PAUSE);
  uint64_t n = mpg_histogram_count(h), p99 = mpg_histogram_quantile(h, 0.99);
  for (int i = 0; i < 10; i++) mpg_gc();
  mpg_metric_reset(MPG_METRIC_PAUSE);
  CHECK_EQ(mpg_histogram_count(h), n);
  CHECK_EQ(mpg_histogram_quantile(h, 0.99), p99);
  mpg_histogram_free(h);
}

static void a_pause_contains_its_time_to_stop(void *arg) {
  (void) arg;
  mpg_metric_reset(MPG_METRIC_PAUSE);
  mpg_metric_reset(MPG_METRIC_TIME_TO_STOP);
  for (int i = 0; i < 50; i++) mpg_gc();
  struct mpg_histogram *stop = read_metric(MPG_METRIC_TIME_TO_STOP);
  struct mpg_histogram *pause = read_metric(MPG_METRIC_PAUSE);
  for (int q = 0; q <= 20; q++)
    CHECK_LE(mpg_histogram_quantile(stop, q / 20.0),
             mpg_histogram_quantile(pause, q / 20.0));
  CHECK_LE(mpg_histogram_max(stop), mpg_histogram_max(pause));
  CHECK_GT(mpg_histogram_max(pause), 0);
  mpg_histogram_free(stop);
  mpg_histogram_free(pause);
}

static _Atomic bool quit;
static mpg_waitgroup done;

static void spin(void *arg) {
  (void) arg;
  while (!atomic_load(&quit)) __asm__ volatile("");
  mpg_waitgroup_done(&done);
}

static void preemptions_are_counted(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  mpg_waitgroup_add(&done, 2);
  for (int i = 0; i < 2; i++) CHECK_GO(spin, NULL);
  uint64_t preempted = count_of(MPG_METRIC_PREEMPT_LATENCY);
  while (count_of(MPG_METRIC_PREEMPT_LATENCY) < preempted + 4) mpg_yield();
  atomic_store(&quit, true);
  mpg_waitgroup_wait(&done);
}

static void answer(void *arg) {
  mpg_chan **c = arg;
  while (mpg_chan_recv(c[0], NULL)) mpg_chan_send(c[1], NULL);
}

/* One wake-up in some is measured. */
static void waits_for_a_p_are_sampled(void *arg) {
  (void) arg;
  mpg_chan *c[2] = {mpg_chan_new(0, 0), mpg_chan_new(0, 0)};
  uint64_t waits = count_of(MPG_METRIC_SCHED_LATENCY);
  CHECK_GO(answer, c);
  for (int i = 0; i < 5000; i++) {
    mpg_chan_send(c[0], NULL);
    mpg_chan_recv(c[1], NULL);
  }
  mpg_chan_close(c[0]);
  CHECK_GE(count_of(MPG_METRIC_SCHED_LATENCY), waits + 20);
}

/* ---- stops by reason ---- */

static uint64_t stops_for(enum mpg_stop_reason reason) {
  struct mpg_histogram *to_stop = NULL, *stopped = NULL;
  CHECK_EQ(mpg_stop_metric_read(MPG_METRIC_TIME_TO_STOP, reason, &to_stop), 0);
  CHECK_EQ(mpg_stop_metric_read(MPG_METRIC_PAUSE, reason, &stopped), 0);
  uint64_t n = mpg_histogram_count(to_stop);
  CHECK_EQ(mpg_histogram_count(stopped), n);
  mpg_histogram_free(to_stop);
  mpg_histogram_free(stopped);
  return n;
}

static void stops_are_kept_by_reason(void *arg) {
  (void) arg;
  mpg_gc_percent(-1); /* nobody else collects */
  uint64_t gc = stops_for(MPG_STOP_GC);
  uint64_t procs = stops_for(MPG_STOP_GOMAXPROCS);
  for (int i = 0; i < 5; i++) mpg_gc();
  CHECK_GE(stops_for(MPG_STOP_GC), gc + 5);
  CHECK_EQ(stops_for(MPG_STOP_GOMAXPROCS), procs);
  gc = stops_for(MPG_STOP_GC);
  mpg_gomaxprocs(mpg_gomaxprocs(0) + 1);
  CHECK_EQ(stops_for(MPG_STOP_GOMAXPROCS), procs + 1);
  CHECK_EQ(stops_for(MPG_STOP_GC), gc);
  mpg_gc_percent(100);
}

static void wrong_reasons(void *arg) {
  (void) arg;
  struct mpg_histogram *h = NULL;
  CHECK_EQ(mpg_stop_metric_read(MPG_METRIC_PREEMPT_LATENCY, MPG_STOP_GC, &h),
           -EINVAL);
  CHECK_EQ(mpg_stop_metric_read(MPG_METRIC_SCHED_LATENCY, MPG_STOP_GC, &h),
           -EINVAL);
  CHECK_EQ(
      mpg_stop_metric_read(MPG_METRIC_PAUSE, (enum mpg_stop_reason) 99, &h),
      -EINVAL);
  CHECK_EQ(mpg_stop_metric_read((enum mpg_metric) 99, MPG_STOP_GC, &h),
           -EINVAL);
  CHECK_EQ(mpg_stop_metric_read(MPG_METRIC_PAUSE, MPG_STOP_GC, NULL), -EINVAL);
  CHECK(h == NULL);
}

/* A thread that mpg doesn't know, while the runtime runs. */
static mpg_chan *chan;
static _Atomic bool thread_done;

static void *read_everything(void *arg) {
  for (int i = 0; i < 200; i++) {
    struct mpg_gc_stats s = {.size = sizeof(s)};
    CHECK_EQ(mpg_gc_stats_read(&s), 0);
    for (int m = 0; m < 4; m++) count_of(all[m]);
    CHECK_EQ(mpg_chan_len(chan), 0);
    CHECK_EQ(mpg_chan_cap(chan), 3);
    CHECK_EQ(mpg_goid(), 0);
    CHECK_EQ(mpg_num_goroutines(), 1);
    CHECK_GT(mpg_now(), 0);
  }
  mpg_metric_reset(MPG_METRIC_SCHED_LATENCY);
  atomic_store(&thread_done, true);
  return arg;
}

static void other_threads_may_read(void *arg) {
  (void) arg;
  pthread_t t;
  chan = mpg_chan_new(sizeof(int), 3);
  CHECK_EQ(pthread_create(&t, NULL, read_everything, NULL), 0);
  while (!atomic_load(&thread_done)) mpg_gc();
  CHECK_EQ(pthread_join(t, NULL), 0);
}

static void statistics_can_be_read_anywhere(void *arg) {
  (void) arg;
  struct mpg_gc_stats s = {.size = sizeof(s)};
  CHECK_EQ(mpg_gc_stats_read(&s), 0);
  CHECK_GT(s.cycles, 0);
  CHECK_GT(count_of(MPG_METRIC_PAUSE), 0); /* of the runs before */
}

#define BLOCKED 20

static uint64_t offheap(void) {
  struct mpg_gc_stats s = {.size = sizeof(s)};
  CHECK_EQ(mpg_gc_stats_read(&s), 0);
  return s.offheap_bytes;
}

static int block_fds[2];
static _Atomic int blocked;

static void block(void *arg) {
  char c;
  mpg_syscall_enter();
  atomic_fetch_add(&blocked, 1);
  ssize_t n = read(block_fds[0], &c, 1);
  mpg_syscall_exit();
  CHECK_EQ(n, 1);
  mpg_waitgroup_done(arg);
}

static void block_threads(void *arg) {
  static mpg_waitgroup wg;
  uint64_t before = offheap();
  CHECK_EQ(pipe(block_fds), 0);
  mpg_waitgroup_add(&wg, BLOCKED);
  for (int i = 0; i < BLOCKED; i++) CHECK_GO(block, &wg);
  CHECK_EVENTUALLY(atomic_load(&blocked) == BLOCKED);
  *(uint64_t *) arg = offheap();
  CHECK_GE(*(uint64_t *) arg, before + (BLOCKED - 10) * (16 << 10));
  CHECK_LE(*(uint64_t *) arg, before + (BLOCKED + 20) * (128 << 10));
  for (int i = 0; i < BLOCKED; i++) CHECK_EQ(write(block_fds[1], "", 1), 1);
  mpg_waitgroup_wait(&wg);
  close(block_fds[0]);
  close(block_fds[1]);
}

/* What threads take is seen while there are threads. */
static void offheap_counts_threads(void *arg) {
  uint64_t with = 0;
  (void) arg;
  CHECK_EQ(mpg_run(block_threads, &with), 0);
  CHECK_LE(offheap() + (BLOCKED - 10) * (16 << 10), with);
}

/* The heap's tables are the runtime's: 64 MiB of heap take some. */
static void offheap_counts_tables(void *arg) {
  static char *block_of_64_mib;
  (void) arg;
  uint64_t before = offheap();
  block_of_64_mib = mpg_alloc_noscan((size_t) 64 << 20);
  CHECK(block_of_64_mib != NULL);
  CHECK_GE(offheap(), before + (256 << 10));
  CHECK_LE(offheap(), before + (8 << 20));
  block_of_64_mib = NULL;
}

static const struct check_case cases[] = {
    INSIDE(wrong_arguments),          INSIDE(every_stop_is_a_sample_of_both),
    INSIDE(empty_ones_give_zero),     INSIDE(quantiles_are_monotone),
    INSIDE(a_snapshot_stays),         INSIDE(a_pause_contains_its_time_to_stop),
    INJECTS(preemptions_are_counted), INSIDE(waits_for_a_p_are_sampled),
    INSIDE(stops_are_kept_by_reason), INSIDE(wrong_reasons),
    INSIDE(other_threads_may_read),   OUTSIDE(statistics_can_be_read_anywhere),
    OUTSIDE(offheap_counts_threads),  INSIDE(offheap_counts_tables),
};
CHECK_MAIN(cases, 20)
