/* metrics.c - histograms of stops, preemptions and wake-ups.
 *
 * Recording is lock-free (arch/common/histogram.h).  Every stop is recorded
 * twice: in the total that mpg_metric_read gives, and by reason.
 */
#include <sched/sched.h>

#include <errno.h>

#include <sched/gmp.h>

#define METRICS (MPG_METRIC_SCHED_LATENCY + 1)

struct mpgi_metrics {
  struct mpg_histogram total[METRICS];
  struct mpg_histogram tts[MPGI_STOP_REASONS], pause[MPGI_STOP_REASONS];
};

int mpgi_metrics_init(void) {
  if (!mpgi_sched.metrics)
    mpgi_sched.metrics = mpgi_fixmem_alloc(sizeof *mpgi_sched.metrics, 64);
  return mpgi_sched.metrics ? 0 : -ENOMEM;
}

void mpgi_metric_record(enum mpg_metric m, int64_t ns) {
  mpgi_histogram_record(&mpgi_sched.metrics->total[m],
                        ns < 0 ? 0 : (uint64_t) ns);
}

void mpgi_metric_record_stop(enum mpgi_stop_reason r, int64_t tts,
                             int64_t pause) {
  mpgi_metric_record(MPG_METRIC_TIME_TO_STOP, tts);
  mpgi_metric_record(MPG_METRIC_PAUSE, pause);
  mpgi_histogram_record(&mpgi_sched.metrics->tts[r], (uint64_t) tts);
  mpgi_histogram_record(&mpgi_sched.metrics->pause[r], (uint64_t) pause);
  atomic_fetch_add(&mpgi_stw.pause_total, (uint64_t) pause);
}

static struct mpg_histogram *of_reason(enum mpg_metric m, int r) {
  if (r < 0 || r >= MPGI_STOP_REASONS) return NULL;
  if (m == MPG_METRIC_TIME_TO_STOP) return &mpgi_sched.metrics->tts[r];
  if (m == MPG_METRIC_PAUSE) return &mpgi_sched.metrics->pause[r];
  return NULL;
}

/* A thread that no stop waits for may use fixmem at any time. */
static void any_thread(void) {
  if (!mpgi_tls_m()) mpgi_fixmem_outside();
}

static int snapshot(const struct mpg_histogram *h, struct mpg_histogram **out) {
  any_thread();
  struct mpg_histogram *copy = mpgi_fixmem_alloc(sizeof *copy, 64);
  if (!copy) return -ENOMEM;
  if (h) mpgi_histogram_copy(copy, h);
  *out = copy;
  return 0;
}

int mpgi_metric_read_g0(enum mpg_metric m, struct mpg_histogram **out) {
  if ((unsigned) m >= METRICS || !out) return -EINVAL;
  return snapshot(mpgi_sched.metrics ? &mpgi_sched.metrics->total[m] : NULL,
                  out);
}

int mpgi_stop_metric_read_g0(enum mpg_metric m, enum mpg_stop_reason reason,
                             struct mpg_histogram **out) {
  if (!out || (m != MPG_METRIC_TIME_TO_STOP && m != MPG_METRIC_PAUSE) ||
      (unsigned) reason >= MPGI_STOP_REASONS)
    return -EINVAL;
  return snapshot(mpgi_sched.metrics ? of_reason(m, (int) reason) : NULL, out);
}

void mpgi_metric_reset_g0(enum mpg_metric m) {
  if ((unsigned) m >= METRICS || !mpgi_sched.metrics) return;
  mpgi_histogram_reset(&mpgi_sched.metrics->total[m]);
  for (int r = 0; r < MPGI_STOP_REASONS; r++)
    if (of_reason(m, r)) mpgi_histogram_reset(of_reason(m, r));
}

void mpgi_histogram_free_g0(struct mpg_histogram *h) {
  any_thread();
  if (h) mpgi_fixmem_free(h, sizeof *h, 64);
}

_Static_assert((int) MPG_STOP_GC == MPGI_STOP_GC &&
                   (int) MPG_STOP_GOMAXPROCS == MPGI_STOP_GOMAXPROCS &&
                   (int) MPG_STOP_STATS == MPGI_STOP_STATS &&
                   (int) MPG_STOP_EXIT == MPGI_STOP_EXIT,
               "public stop reasons");
