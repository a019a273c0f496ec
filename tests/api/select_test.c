/* select_test.c - select: choice, waiting, deadlines, closing, many cases. */
#include <errno.h>

#include "../support/check.h"

static mpg_waitgroup done;

static struct mpg_select_case receive(mpg_chan *c, void *elem) {
  return (struct mpg_select_case){.chan = c, .dir = MPG_RECV, .elem = elem};
}
static struct mpg_select_case sending(mpg_chan *c, void *elem) {
  return (struct mpg_select_case){.chan = c, .dir = MPG_SEND, .elem = elem};
}

/* Let the others come to where they wait. */
static void yields(int n) {
  while (n--) mpg_yield();
}

static void send_after_yields(void *arg) {
  int x = 7;
  yields(20);
  mpg_chan_send(arg, &x);
  mpg_waitgroup_done(&done);
}

static void receive_after_yields(void *arg) {
  int x = 0;
  yields(20);
  CHECK(mpg_chan_recv(arg, &x));
  CHECK_EQ(x, 9);
  mpg_waitgroup_done(&done);
}

/* ---- what is chosen ---- */

static void takes_the_ready_one(void *arg) {
  (void) arg;
  mpg_chan *full = mpg_chan_new(sizeof(int), 1);
  mpg_chan *empty = mpg_chan_new(sizeof(int), 1);
  int x = 5, a = 0, b = 0;
  mpg_chan_send(full, &x);
  struct mpg_select_case k[] = {receive(empty, &a), receive(full, &b),
                                sending(full, &x)};
  CHECK_EQ(mpg_select(k, 3), 1);
  CHECK_EQ(b, 5);
  CHECK(k[1].ok);
  CHECK_EQ(a, 0);
  CHECK_EQ(mpg_select(k, 3), 2);
  CHECK_EQ(mpg_chan_len(full), 1);
}

static void chooses_uniformly(void *arg) {
  (void) arg;
  enum { N = 5, ROUNDS = 20000 };
  mpg_chan *c[N];
  int count[N + 2] = {0}, x = 1;
  struct mpg_select_case k[N + 2];
  for (int i = 0; i < N; i++) {
    c[i] = mpg_chan_new(sizeof(int), 1);
    mpg_chan_send(c[i], &x);
  }
  for (int i = 0; i < N; i++) k[i] = receive(c[i], &x);
  k[N] = receive(c[2], &x); /* twice */
  k[N + 1] = receive(NULL, &x);
  for (int r = 0; r < ROUNDS; r++) {
    int i = mpg_select(k, N + 2);
    CHECK(i >= 0 && i <= N);
    count[i]++;
    mpg_chan_send(k[i].chan, &x);
  }
  for (int i = 0; i <= N; i++) {
    CHECK_GE(count[i], ROUNDS / (N + 1) * 8 / 10);
    CHECK_LE(count[i], ROUNDS / (N + 1) * 12 / 10);
  }
}

/* ---- waiting ---- */

static void waits_for_a_sender(void *arg) {
  (void) arg;
  for (size_t capacity = 0; capacity < 2; capacity++) {
    mpg_chan *a = mpg_chan_new(sizeof(int), capacity);
    mpg_chan *b = mpg_chan_new(sizeof(int), capacity);
    for (int round = 0; round < 50; round++) {
      int x = 0, y = 0;
      struct mpg_select_case k[] = {receive(a, &x), receive(b, &y)};
      mpg_waitgroup_add(&done, 1);
      CHECK_GO(send_after_yields, round % 2 ? a : b);
      CHECK_EQ(mpg_select(k, 2), round % 2 ? 0 : 1);
      CHECK_EQ(round % 2 ? x : y, 7);
      CHECK_EQ(round % 2 ? y : x, 0);
      CHECK(k[round % 2 ? 0 : 1].ok);
      mpg_waitgroup_wait(&done);
    }
  }
}

static void waits_for_a_receiver(void *arg) {
  (void) arg;
  mpg_chan *a = mpg_chan_new(sizeof(int), 0);
  mpg_chan *b = mpg_chan_new(sizeof(int), 0);
  for (int round = 0; round < 50; round++) {
    int x = 9, y = 0;
    struct mpg_select_case k[] = {sending(a, &x), receive(b, &y),
                                  sending(NULL, &x)};
    mpg_waitgroup_add(&done, 1);
    CHECK_GO(receive_after_yields, a);
    CHECK_EQ(mpg_select(k, 3), 0);
    mpg_waitgroup_wait(&done);
    CHECK_EQ(mpg_select_try(k, 3), -EAGAIN); /* it left no waiter behind */
    CHECK_EQ(mpg_chan_try_recv(a, &y), -EAGAIN);
    CHECK_EQ(mpg_chan_try_send(b, &x), -EAGAIN);
  }
}

static void null_discards_and_zero_bytes_work(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(int), 0);
  mpg_chan *z = mpg_chan_new(0, 1);
  struct mpg_select_case k[] = {receive(c, NULL), sending(z, NULL)};
  CHECK_EQ(mpg_select(k, 2), 1);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(send_after_yields, c);
  CHECK_EQ(mpg_select(k, 2), 0);
  CHECK(k[0].ok);
  mpg_waitgroup_wait(&done);
  struct mpg_select_case r = receive(z, NULL);
  CHECK_EQ(mpg_select(&r, 1), 0);
}

/* Both directions of one channel, several times: it never meets itself. */
static void offer_both(void *arg) {
  int in = 0;
  mpg_chan *c = ((mpg_chan **) arg)[0];
  int *got = (int *) ((mpg_chan **) arg)[1], mine = 1;
  struct mpg_select_case k[] = {sending(c, &mine), receive(c, &in),
                                sending(c, &mine), receive(c, &in)};
  for (int i = 0; i < 500; i++) {
    int chosen = mpg_select(k, 4);
    CHECK(chosen >= 0 && chosen < 4);
    if (chosen % 2) {
      CHECK_EQ(in, 1);
      in = 0;
      got[1]++;
    } else {
      got[0]++;
    }
  }
  mpg_waitgroup_done(&done);
}

static void send_and_receive_on_one_channel(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(int), 0);
  int x = 1;
  struct mpg_select_case alone[] = {sending(c, &x), receive(c, &x)};
  CHECK_EQ(mpg_select_try(alone, 2), -EAGAIN);
  CHECK_EQ(mpg_select_until(alone, 2, mpg_now() + 1000000), -ETIMEDOUT);
  static int got[2][2];
  memset(got, 0, sizeof got);
  mpg_chan **args = mpg_alloc(4 * sizeof *args);
  mpg_waitgroup_add(&done, 2);
  for (int i = 0; i < 2; i++) {
    args[2 * i] = c;
    args[2 * i + 1] = (mpg_chan *) got[i];
    CHECK_GO(offer_both, &args[2 * i]);
  }
  mpg_waitgroup_wait(&done);
  CHECK_EQ(got[0][0], got[1][1]);
  CHECK_EQ(got[0][1], got[1][0]);
}

static _Atomic int woken;

static void select_no_cases(void *arg) {
  (void) arg;
  mpg_select(NULL, 0);
  atomic_store(&woken, 1);
}

static void select_null_channels(void *arg) {
  struct mpg_select_case k[] = {receive(NULL, NULL), sending(NULL, NULL)};
  (void) arg;
  mpg_select(k, 2);
  atomic_store(&woken, 1);
}

static void nothing_to_wait_for_blocks_for_ever(void *arg) {
  (void) arg;
  atomic_store(&woken, 0);
  CHECK_GO(select_no_cases, NULL);
  CHECK_GO(select_null_channels, NULL);
  yields(500);
  mpg_sleep(2000000);
  CHECK_EQ(atomic_load(&woken), 0);
  CHECK_EQ(mpg_num_goroutines(), 3);
}

/* ---- first come, first served ---- */

static _Atomic int order[8], norder;

static void select_in_line(void *arg) {
  int x;
  struct mpg_select_case k[] = {receive(((mpg_chan **) arg)[0], &x),
                                receive(((mpg_chan **) arg)[1], &x)};
  CHECK_EQ(mpg_select(k, 2), 0);
  atomic_store(&order[atomic_fetch_add(&norder, 1)], x);
  mpg_waitgroup_done(&done);
}

static void waiters_are_served_in_order(void *arg) {
  (void) arg;
  mpg_gomaxprocs(1);
  mpg_chan **c = mpg_alloc(2 * sizeof *c);
  c[0] = mpg_chan_new(sizeof(int), 0);
  c[1] = mpg_chan_new(sizeof(int), 0);
  atomic_store(&norder, 0);
  mpg_waitgroup_add(&done, 8);
  for (int i = 0; i < 8; i++) {
    CHECK_GO(select_in_line, c);
    yields(20);
  }
  for (int i = 0; i < 8; i++) {
    mpg_chan_send(c[0], &i);
    yields(20);
  }
  mpg_waitgroup_wait(&done);
  for (int i = 0; i < 8; i++) CHECK_EQ(atomic_load(&order[i]), i);
}

/* ---- try and until ---- */

static void try_says_when_none_is_ready(void *arg) {
  (void) arg;
  mpg_chan *a = mpg_chan_new(sizeof(int), 1);
  mpg_chan *b = mpg_chan_new(sizeof(int), 1);
  int x = 3, y = 0;
  struct mpg_select_case k[] = {receive(a, &y), receive(b, &y), receive(a, &y)};
  CHECK_EQ(mpg_select_try(k, 0), -EAGAIN);
  CHECK_EQ(mpg_select_try(NULL, 0), -EAGAIN);
  CHECK_EQ(mpg_select_try(k, 1), -EAGAIN);
  CHECK_EQ(mpg_select_try(k, 3), -EAGAIN);
  mpg_chan_send(b, &x);
  CHECK_EQ(mpg_select_try(k, 1), -EAGAIN);
  CHECK_EQ(mpg_select_try(k, 3), 1);
  CHECK_EQ(y, 3);
}

static void deadlines(void *arg) {
  (void) arg;
  mpg_chan *a = mpg_chan_new(sizeof(int), 1);
  mpg_chan *b = mpg_chan_new(sizeof(int), 0);
  int x = 3, y = 0;
  struct mpg_select_case k[] = {receive(a, &y), sending(b, &y)};
  CHECK_EQ(mpg_select_until(k, 2, 0), -ETIMEDOUT);
  CHECK_EQ(mpg_select_until(k, 2, mpg_now()), -ETIMEDOUT);
  int64_t end = mpg_now() + 3000000;
  CHECK_EQ(mpg_select_until(k, 2, end), -ETIMEDOUT);
  CHECK_GE(mpg_now(), end);
  CHECK_EQ(y, 0);
  end = mpg_now() + 1000000;
  CHECK_EQ(mpg_select_until(NULL, 0, end), -ETIMEDOUT);
  CHECK_GE(mpg_now(), end);
  CHECK_EQ(mpg_select_until(NULL, 0, 0), -ETIMEDOUT);
  mpg_chan_send(a, &x);
  CHECK_EQ(mpg_select_until(k, 2, 0), 0); /* a ready case wins */
  CHECK_EQ(y, 3);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(send_after_yields, a);
  CHECK_EQ(mpg_select_until(k, 2, INT64_MAX), 0);
  mpg_waitgroup_wait(&done);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(send_after_yields, a);
  CHECK_EQ(mpg_select_until(k, 2, -1), 0); /* none */
  mpg_waitgroup_wait(&done);
  CHECK_EQ(mpg_chan_try_recv(b, &y), -EAGAIN);
}

static void wrong_arguments(void *arg) {
  (void) arg;
  struct mpg_select_case k = receive(NULL, NULL);
  CHECK_EQ(mpg_select(&k, -1), -EINVAL);
  CHECK_EQ(mpg_select_try(&k, -1), -EINVAL);
  CHECK_EQ(mpg_select_until(&k, -1, -1), -EINVAL);
  CHECK_EQ(mpg_select(NULL, 1), -EINVAL);
  CHECK_EQ(mpg_select_try(NULL, 1), -EINVAL);
  CHECK_EQ(mpg_select_until(NULL, 1, 0), -EINVAL);
  k.dir = (enum mpg_select_dir) 7;
  CHECK_EQ(mpg_select(&k, 1), -EINVAL);
}

/* ---- closing ---- */

static void close_after_yields(void *arg) {
  yields(20);
  mpg_chan_close(arg);
  mpg_waitgroup_done(&done);
}

static void closed_is_ready(void *arg) {
  (void) arg;
  mpg_chan *a = mpg_chan_new(sizeof(int), 1);
  mpg_chan *b = mpg_chan_new(sizeof(int), 1);
  int x = 4, y = 99;
  struct mpg_select_case k[] = {receive(a, &y), receive(b, &y)};
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(close_after_yields, a);
  k[0].ok = true;
  CHECK_EQ(mpg_select(k, 2), 0);
  CHECK(!k[0].ok);
  CHECK_EQ(y, 0);
  mpg_waitgroup_wait(&done);
  y = 99;
  k[0].ok = true;
  CHECK_EQ(mpg_select_try(k, 2), 0);
  CHECK(!k[0].ok);
  CHECK_EQ(y, 0);
  mpg_chan_send(b, &x);
  mpg_chan_close(b);
  CHECK_EQ(mpg_select(&k[1], 1), 0);
  CHECK(k[1].ok);
  CHECK_EQ(y, 4);
  CHECK_EQ(mpg_select(&k[1], 1), 0);
  CHECK(!k[1].ok);
}

/* ---- many cases, many goroutines ---- */

static void many_cases(void *arg) {
  (void) arg;
  enum { N = 700 };
  struct mpg_select_case *k = mpg_alloc(N * sizeof *k);
  int x = 7, y = 0;
  for (int i = 0; i < N; i++)
    k[i] = receive(i % 3 ? mpg_chan_new(sizeof(int), 1) : k[i / 2].chan, &y);
  k[0] = receive(NULL, &y);
  CHECK_EQ(mpg_select_try(k, N), -EAGAIN);
  for (int i = 1; i < N; i += 53) {
    if (i % 3 == 0) continue;
    mpg_waitgroup_add(&done, 1);
    CHECK_GO(send_after_yields, k[i].chan);
    int chosen = mpg_select(k, N);
    CHECK(k[chosen].chan == k[i].chan);
    CHECK_EQ(y, 7);
    mpg_waitgroup_wait(&done);
    mpg_chan_send(k[i].chan, &x);
    chosen = mpg_select_until(k, N, 0);
    CHECK(chosen >= 0 && k[chosen].chan == k[i].chan);
  }
  CHECK_EQ(mpg_select_until(k, N, mpg_now() + 100000), -ETIMEDOUT);
}

/* A ring in which every goroutine locks its neighbours' channels in the other
 * order; what goes in comes out. */
#define RING 6
static mpg_chan *ring[RING];
static _Atomic int64_t sent_sum, received_sum;

static void in_the_ring(void *arg) {
  int at = (int) (intptr_t) arg, next = (at + 1) % RING;
  int in = 0, out = at + 1;
  struct mpg_select_case k[2] = {receive(ring[at], &in),
                                 sending(ring[next], &out)};
  if (at % 2) {
    struct mpg_select_case t = k[0];
    k[0] = k[1];
    k[1] = t;
  }
  for (int i = 0; i < 4000; i++) {
    int c = mpg_select_until(k, 2, i % 3 ? -1 : mpg_now() + 20000);
    if (c == -ETIMEDOUT) continue;
    if (k[c].dir == MPG_SEND)
      atomic_fetch_add(&sent_sum, out);
    else
      atomic_fetch_add(&received_sum, in);
  }
  mpg_waitgroup_done(&done);
  /* Others may still need a partner. */
  while (mpg_chan_recv(ring[at], &in)) atomic_fetch_add(&received_sum, in);
  mpg_waitgroup_done(&done);
}

static void a_ring_of_selects(void *arg) {
  (void) arg;
  for (int procs = 1; procs <= 4; procs *= 2) {
    mpg_gomaxprocs(procs);
    atomic_store(&sent_sum, 0);
    atomic_store(&received_sum, 0);
    for (int i = 0; i < RING; i++)
      ring[i] = mpg_chan_new(sizeof(int), (size_t) (i % 2));
    mpg_waitgroup_add(&done, RING);
    for (intptr_t i = 0; i < RING; i++) CHECK_GO(in_the_ring, (void *) i);
    mpg_waitgroup_wait(&done);
    mpg_waitgroup_add(&done, RING);
    for (int i = 0; i < RING; i++) mpg_chan_close(ring[i]);
    mpg_waitgroup_wait(&done);
    CHECK_EQ(atomic_load(&sent_sum), atomic_load(&received_sum));
  }
}

/* ---- the collector ---- */

struct parcel {
  uint64_t value;
  struct parcel *next;
};

static struct parcel *parcel(uint64_t v) {
  struct parcel *p = mpg_alloc(sizeof *p);
  CHECK(p != NULL);
  p->value = v;
  return p;
}

/* Its element and its cases are in collected memory that nothing else refers
 * to while it waits. */
static __attribute__((noinline)) int select_from_the_heap(mpg_chan *c,
                                                          uint64_t v) {
  struct parcel **elem = mpg_alloc(sizeof *elem);
  struct mpg_select_case *k = mpg_alloc(2 * sizeof *k);
  *elem = parcel(v);
  k[0] = receive(NULL, NULL);
  k[1] = sending(c, elem);
  return mpg_select(k, 2);
}

static void send_parcels(void *arg) {
  for (uint64_t i = 1; i <= 20; i++) CHECK_EQ(select_from_the_heap(arg, i), 1);
  mpg_waitgroup_done(&done);
}

static void elements_of_waiting_selects_are_kept(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(struct parcel *), 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(send_parcels, c);
  for (uint64_t i = 1; i <= 20; i++) {
    yields(20);
    mpg_gc();
    for (int j = 0; j < 100; j++) CHECK_EQ(parcel(0)->value, 0);
    struct parcel *p = NULL;
    CHECK(mpg_chan_recv(c, &p));
    CHECK_EQ(p->value, i);
  }
  mpg_waitgroup_wait(&done);
}

/* ---- after mpg_run ---- */

static mpg_chan *survivor;

static void leave_a_waiter(void *arg) {
  (void) arg;
  struct mpg_select_case k[] = {receive(survivor, NULL), receive(NULL, NULL)};
  mpg_select_until(k, 2, mpg_now() + INT64_C(3600000000000));
}

static void first_run(void *arg) {
  (void) arg;
  survivor = mpg_chan_new(sizeof(int), 0);
  for (int i = 0; i < 3; i++) CHECK_GO(leave_a_waiter, NULL);
  yields(50);
}

static void second_run(void *arg) {
  (void) arg;
  int x = 1;
  struct mpg_select_case k[] = {sending(survivor, &x), receive(NULL, NULL)};
  CHECK_EQ(mpg_chan_try_send(survivor, &x), -EAGAIN);
  CHECK_EQ(mpg_select_try(k, 2), -EAGAIN);
}

/* Waits with what those had that never woke. */
static void third_run(void *arg) {
  (void) arg;
  int x = 0;
  mpg_chan *c = mpg_chan_new(sizeof x, 0);
  for (int i = 0; i < 3; i++) {
    struct mpg_select_case k[] = {receive(NULL, NULL), receive(c, &x)};
    mpg_waitgroup_add(&done, 1);
    CHECK_GO(send_after_yields, c);
    CHECK_EQ(mpg_select(k, 2), 1);
    CHECK_EQ(x, 7);
    mpg_waitgroup_wait(&done);
  }
}

static void waiters_end_with_their_run(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_run(first_run, NULL), 0);
  CHECK_EQ(mpg_run(second_run, NULL), 0);
  CHECK_EQ(mpg_run(third_run, NULL), 0);
}

/* ---- crowds at a few channels ---- */

#define FEW_CHANNELS 3
static mpg_chan *few[FEW_CHANNELS];
static _Atomic int64_t sends, receives;

/* Both directions of each channel, some twice, until a deadline.  A word that
 * wasn't received is as it was. */
static void meets_others(void *arg) {
  int64_t x = (int64_t) (intptr_t) arg, y[FEW_CHANNELS];
  for (int i = 0; i < 300; i++) {
    struct mpg_select_case k[2 * FEW_CHANNELS + 2];
    for (int c = 0; c < FEW_CHANNELS; c++) {
      y[c] = -1;
      k[2 * c] = sending(few[c], &x);
      k[2 * c + 1] = receive(i % 4 ? few[c] : NULL, &y[c]);
    }
    k[2 * FEW_CHANNELS] = k[1];
    k[2 * FEW_CHANNELS + 1] = k[0];
    int at = mpg_select_until(k, 2 * FEW_CHANNELS + 2, mpg_now() + 1000000);
    if (at < 0) {
      CHECK_EQ(at, -ETIMEDOUT);
      continue;
    }
    bool sent = k[at].dir == MPG_SEND;
    CHECK(sent || k[at].ok);
    atomic_fetch_add(sent ? &sends : &receives, 1);
    atomic_fetch_add(sent ? &sent_sum : &received_sum, *(int64_t *) k[at].elem);
    for (int c = 0; c < FEW_CHANNELS; c++)
      CHECK_EQ(y[c] == -1, sent || k[at].elem != &y[c]);
  }
  mpg_waitgroup_done(&done);
}

static void drain(mpg_chan *c) {
  for (int64_t x; mpg_chan_try_recv(c, &x) == 0;) {
    atomic_fetch_add(&receives, 1);
    atomic_fetch_add(&received_sum, x);
  }
}

static void crowds_lose_nothing(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  for (size_t cap = 0; cap < 3; cap++) {
    sent_sum = received_sum = sends = receives = 0;
    for (size_t c = 0; c < FEW_CHANNELS; c++)
      few[c] = mpg_chan_new(sizeof(int64_t), cap);
    mpg_waitgroup_add(&done, 16);
    for (intptr_t i = 1; i <= 16; i++) CHECK_GO(meets_others, (void *) i);
    mpg_waitgroup_wait(&done);
    for (int c = 0; c < FEW_CHANNELS; c++) drain(few[c]);
    CHECK_EQ(atomic_load(&sends), atomic_load(&receives));
    CHECK_EQ(atomic_load(&sent_sum), atomic_load(&received_sum));
  }
}

static void gets_nothing_of_closed(void *arg) {
  int64_t x[FEW_CHANNELS + 1];
  struct mpg_select_case k[FEW_CHANNELS + 1];
  (void) arg;
  for (int c = 0; c <= FEW_CHANNELS; c++) {
    x[c] = -1;
    k[c] = receive(few[c % FEW_CHANNELS], &x[c]);
  }
  int at = mpg_select(k, FEW_CHANNELS + 1);
  CHECK_GE(at, 0);
  CHECK(!k[at].ok);
  for (int c = 0; c <= FEW_CHANNELS; c++) CHECK_EQ(x[c], c == at ? 0 : -1);
  mpg_waitgroup_done(&done);
}

static void closes(void *c) {
  mpg_chan_close(c);
  mpg_waitgroup_done(&done);
}

/* All at the same time; who waits is woken by one of them. */
static void closing_wakes_a_crowd_once(void *arg) {
  (void) arg;
  mpg_gomaxprocs(4);
  for (int round = 0; round < 20; round++) {
    for (int c = 0; c < FEW_CHANNELS; c++)
      few[c] = mpg_chan_new(sizeof(int64_t), 0);
    mpg_waitgroup_add(&done, 100 + FEW_CHANNELS);
    for (int i = 0; i < 100; i++) CHECK_GO(gets_nothing_of_closed, NULL);
    yields(round * 10);
    for (int c = 0; c < FEW_CHANNELS; c++) CHECK_GO(closes, few[c]);
    mpg_waitgroup_wait(&done);
  }
}

/* ---- elements of any size ---- */

#define SIZED 5

struct sized {
  mpg_chan *c;
  size_t bytes;
};

static void fill(unsigned char *p, size_t bytes, unsigned seed) {
  for (size_t i = 0; i < bytes; i++) p[i] = (unsigned char) (seed + 7 * i);
}

/* At an odd address. */
static void selects_to_send(void *arg) {
  const struct sized *s = arg;
  unsigned char *p = (unsigned char *) mpg_alloc_noscan(s->bytes + 1) + 1;
  for (unsigned i = 0; i < SIZED; i++) {
    struct mpg_select_case k[] = {receive(NULL, NULL), sending(s->c, p)};
    fill(p, s->bytes, i);
    CHECK_EQ(mpg_select(k, 2), 1);
    if (i % 2) mpg_yield();
  }
  mpg_chan_close(s->c);
}

static void selects_to_receive(const struct sized *s) {
  unsigned char *got = mpg_alloc_noscan(s->bytes + 1);
  unsigned char *want = mpg_alloc_noscan(s->bytes + 1);
  for (unsigned i = 0; i <= SIZED; i++) {
    struct mpg_select_case k[] = {receive(s->c, got), receive(NULL, NULL)};
    got[s->bytes] = 0xee;
    CHECK_EQ(mpg_select(k, 2), 0);
    CHECK_EQ(k[0].ok, i < SIZED);
    fill(want, s->bytes, i);
    if (!k[0].ok) memset(want, 0, s->bytes);
    CHECK(memcmp(got, want, s->bytes) == 0);
    CHECK_EQ(got[s->bytes], 0xee);
  }
}

static void elements_of_any_size_are_selected(void *arg) {
  static const size_t bytes[] = {1, 3, 17, 65, 4095, 65537, 1 << 20};
  static struct sized s;
  (void) arg;
  for (size_t i = 0; i < sizeof(bytes) / sizeof(*bytes); i++)
    for (size_t cap = 0; cap < 2; cap++) {
      s = (struct sized){mpg_chan_new(bytes[i], cap), bytes[i]};
      CHECK(s.c != NULL);
      CHECK_GO(selects_to_send, &s);
      selects_to_receive(&s);
    }
}

static const struct check_case cases[] = {
    INSIDE(takes_the_ready_one),
    INSIDE(chooses_uniformly),
    INSIDE(waits_for_a_sender),
    INSIDE(waits_for_a_receiver),
    INSIDE(null_discards_and_zero_bytes_work),
    INSIDE(send_and_receive_on_one_channel),
    INSIDE(nothing_to_wait_for_blocks_for_ever),
    INSIDE(waiters_are_served_in_order),
    INSIDE(try_says_when_none_is_ready),
    INSIDE(deadlines),
    INSIDE(wrong_arguments),
    INSIDE(closed_is_ready),
    INSIDE(many_cases),
    INSIDE(a_ring_of_selects),
    INSIDE(crowds_lose_nothing),
    INSIDE(closing_wakes_a_crowd_once),
    INSIDE(elements_of_any_size_are_selected),
    INSIDE(elements_of_waiting_selects_are_kept),
    OUTSIDE(waiters_end_with_their_run),
};
CHECK_MAIN(cases, 20)
