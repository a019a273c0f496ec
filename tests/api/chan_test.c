/* chan_test.c - channels: order, blocking, closing, sizes, many at once. */
#include <errno.h>

#include "../support/check.h"

static mpg_waitgroup done;

/* ---- unbuffered ---- */

static _Atomic int stage;

static void send_three(void *arg) {
  for (int i = 1; i <= 3; i++) {
    mpg_chan_send(arg, &i);
    atomic_store(&stage, i);
  }
  mpg_waitgroup_done(&done);
}

static void unbuffered_send_waits_for_its_receiver(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(int), 0);
  CHECK_EQ(mpg_chan_cap(c), 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(send_three, c);
  for (int i = 1; i <= 3; i++) {
    for (int j = 0; j < 20; j++) mpg_yield();
    CHECK_EQ(atomic_load(&stage), i - 1);
    CHECK_EQ(mpg_chan_len(c), 0);
    int x = 0;
    CHECK(mpg_chan_recv(c, &x));
    CHECK_EQ(x, i);
    CHECK_EVENTUALLY(atomic_load(&stage) == i);
  }
  mpg_waitgroup_wait(&done);
}

static void receive_one(void *arg) {
  int x = 0;
  CHECK(mpg_chan_recv(arg, &x));
  CHECK_EQ(x, 42);
  mpg_waitgroup_done(&done);
}

static void unbuffered_receive_waits_for_its_sender(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(int), 0);
  int x = 42;
  for (int i = 0; i < 100; i++) {
    mpg_waitgroup_add(&done, 1);
    CHECK_GO(receive_one, c);
    if (i % 2) mpg_yield();
    mpg_chan_send(c, &x);
    mpg_waitgroup_wait(&done);
  }
}

/* ---- buffered ---- */

static void buffered_is_first_in_first_out(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(int), 5);
  CHECK_EQ(mpg_chan_cap(c), 5);
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < 5; i++) {
      CHECK_EQ(mpg_chan_len(c), i);
      int x = round * 5 + i;
      mpg_chan_send(c, &x);
    }
    for (int i = 0, x; i < 5; i++) {
      CHECK(mpg_chan_recv(c, &x));
      CHECK_EQ(x, round * 5 + i);
    }
    int odd = round; /* shift the ring */
    mpg_chan_send(c, &odd);
    CHECK(mpg_chan_recv(c, &odd));
    CHECK_EQ(odd, round);
  }
  CHECK_EQ(mpg_chan_len(c), 0);
}

static void send_many(void *arg) {
  for (int i = 0; i < 1000; i++) mpg_chan_send(arg, &i);
  mpg_chan_close(arg);
}

static void order_holds_through_a_full_buffer(void *arg) {
  (void) arg;
  for (size_t capacity = 0; capacity < 4; capacity++) {
    mpg_chan *c = mpg_chan_new(sizeof(int), capacity);
    CHECK_GO(send_many, c);
    int n = 0;
    for (int x; mpg_chan_recv(c, &x); n++) {
      CHECK_EQ(x, n);
      CHECK_LE(mpg_chan_len(c), capacity);
    }
    CHECK_EQ(n, 1000);
  }
}

/* ---- try ---- */

static void try_never_waits(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(int), 1);
  int x = 1;
  CHECK_EQ(mpg_chan_try_recv(c, &x), -EAGAIN);
  CHECK_EQ(x, 1); /* untouched */
  x = 7;
  CHECK_EQ(mpg_chan_try_send(c, &x), 0);
  CHECK_EQ(mpg_chan_try_send(c, &x), -EAGAIN);
  x = 0;
  CHECK_EQ(mpg_chan_try_recv(c, &x), 0);
  CHECK_EQ(x, 7);
  mpg_chan *u = mpg_chan_new(sizeof(int), 0);
  CHECK_EQ(mpg_chan_try_send(u, &x), -EAGAIN);
  CHECK_EQ(mpg_chan_try_recv(u, &x), -EAGAIN);
}

static void try_meets_one_that_waits(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(int), 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(receive_one, c);
  int x = 42, e;
  while ((e = mpg_chan_try_send(c, &x)) == -EAGAIN) mpg_yield();
  CHECK_EQ(e, 0);
  mpg_waitgroup_wait(&done);
  mpg_waitgroup_add(&done, 1);
  atomic_store(&stage, 0);
  CHECK_GO(send_three, c);
  for (int i = 1; i <= 3; i++) {
    while ((e = mpg_chan_try_recv(c, &x)) == -EAGAIN) mpg_yield();
    CHECK_EQ(e, 0);
    CHECK_EQ(x, i);
  }
  mpg_waitgroup_wait(&done);
}

/* ---- close ---- */

static void closed_gives_the_rest_and_then_zero(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(uint64_t), 4);
  for (uint64_t i = 1; i <= 3; i++) mpg_chan_send(c, &i);
  mpg_chan_close(c);
  uint64_t x = 99;
  for (uint64_t i = 1; i <= 2; i++) {
    CHECK(mpg_chan_recv(c, &x));
    CHECK_EQ(x, i);
  }
  CHECK_EQ(mpg_chan_len(c), 1);
  CHECK_EQ(mpg_chan_try_recv(c, &x), 0);
  CHECK_EQ(x, 3);
  x = 99;
  CHECK_EQ(mpg_chan_try_recv(c, &x), -EPIPE);
  CHECK_EQ(x, 0);
  x = 99;
  CHECK(!mpg_chan_recv(c, &x));
  CHECK_EQ(x, 0);
  CHECK(!mpg_chan_recv(c, NULL));
  CHECK_EQ(mpg_chan_try_send(c, &x), -EPIPE);
  CHECK_EQ(mpg_chan_cap(c), 4);
}

static void expect_closed(void *arg) {
  uint64_t x = 99;
  CHECK(!mpg_chan_recv(arg, &x));
  CHECK_EQ(x, 0);
  mpg_waitgroup_done(&done);
}

static void close_wakes_all_receivers(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(uint64_t), 3);
  mpg_waitgroup_add(&done, 100);
  for (int i = 0; i < 100; i++) CHECK_GO(expect_closed, c);
  for (int i = 0; i < 200; i++) mpg_yield();
  mpg_chan_close(c);
  mpg_waitgroup_wait(&done);
}

/* ---- elements ---- */

static void null_discards(void *arg) {
  (void) arg;
  mpg_chan *c = mpg_chan_new(sizeof(int), 2);
  for (int i = 0; i < 2; i++) mpg_chan_send(c, &i);
  CHECK(mpg_chan_recv(c, NULL));
  CHECK_EQ(mpg_chan_try_recv(c, NULL), 0);
  CHECK_EQ(mpg_chan_len(c), 0);
  mpg_chan *u = mpg_chan_new(sizeof(int), 0);
  mpg_waitgroup_add(&done, 1);
  CHECK_GO(send_three, u);
  for (int i = 0; i < 3; i++) CHECK(mpg_chan_recv(u, NULL));
  mpg_waitgroup_wait(&done);
}

static void send_nothing(void *arg) {
  for (int i = 0; i < 10; i++) mpg_chan_send(arg, NULL);
  mpg_chan_close(arg);
}

static void elements_of_no_bytes(void *arg) {
  (void) arg;
  for (size_t capacity = 0; capacity < 12; capacity += 3) {
    mpg_chan *c = mpg_chan_new(0, capacity);
    CHECK(c != NULL);
    CHECK_GO(send_nothing, c);
    int n = 0;
    while (mpg_chan_recv(c, NULL)) n++;
    CHECK_EQ(n, 10);
  }
}

#define BIG 5000
struct transfer {
  mpg_chan *c;
  size_t bytes;
};

static void send_pattern(void *arg) {
  struct transfer *t = arg;
  unsigned char *e = malloc(t->bytes);
  for (int i = 0; i < 10; i++) {
    memset(e, i, t->bytes);
    e[t->bytes - 1] = (unsigned char) (i + 100);
    mpg_chan_send(t->c, e);
    memset(e, 0xff, t->bytes); /* it was copied */
  }
  free(e);
  mpg_waitgroup_done(&done);
}

static void elements_of_any_size(void *arg) {
  (void) arg;
  static unsigned char e[BIG + 1];
  for (size_t bytes = 2; bytes <= BIG; bytes = bytes * 3 / 2 + 1)
    for (size_t capacity = 0; capacity <= 2; capacity++) {
      struct transfer t = {mpg_chan_new(bytes, capacity), bytes};
      mpg_waitgroup_add(&done, 1);
      CHECK_GO(send_pattern, &t);
      for (int i = 0; i < 10; i++) {
        memset(e, 0xaa, sizeof(e));
        CHECK(mpg_chan_recv(t.c, e));
        for (size_t j = 0; j + 1 < bytes; j++) CHECK_EQ(e[j], i);
        CHECK_EQ(e[bytes - 1], i + 100);
        CHECK_EQ(e[bytes], 0xaa);
      }
      mpg_waitgroup_wait(&done);
    }
}

/* Nobody waits: each is as long as said, and nothing beside it is touched. */
static void small_ones_through_a_buffer(void *arg) {
  unsigned char in[24], e[24];
  (void) arg;
  for (size_t bytes = 1; bytes <= 17; bytes++)
    for (size_t capacity = 1; capacity <= 3; capacity++) {
      mpg_chan *c = mpg_chan_new(bytes, capacity);
      for (int i = 0; i < 8; i++) {
        for (size_t j = 0; j < bytes; j++)
          in[j] = (unsigned char) (i * 20 + (int) j);
        in[bytes] = 0xbb;
        if (i % 2)
          mpg_chan_send(c, in);
        else
          CHECK_EQ(mpg_chan_try_send(c, in), 0);
        CHECK_EQ(mpg_chan_len(c), 1);
        memset(e, 0xaa, sizeof e);
        if (i % 3)
          CHECK(mpg_chan_recv(c, e));
        else
          CHECK_EQ(mpg_chan_try_recv(c, e), 0);
        CHECK(memcmp(e, in, bytes) == 0);
        CHECK_EQ(e[bytes], 0xaa);
        CHECK_EQ(mpg_chan_len(c), 0);
      }
    }
}

static _Atomic int stop_looping;
static void set_stop(void *arg) {
  (void) arg;
  atomic_store(&stop_looping, 1);
}

/* Operations that need not wait are still where a goroutine makes way. */
static void loops_of_ready_operations_make_way(void *arg) {
  mpg_chan *c = mpg_chan_new(sizeof(uint64_t), 1);
  uint64_t x = 0;
  (void) arg;
  int procs = mpg_gomaxprocs(1);
  for (int how = 0; how < 2; how++) {
    atomic_store(&stop_looping, 0);
    CHECK_GO(set_stop, NULL);
    while (!atomic_load(&stop_looping)) {
      if (how == 0) {
        mpg_chan_send(c, &x);
        mpg_chan_recv(c, &x);
      } else {
        CHECK_EQ(mpg_chan_try_recv(c, &x), -EAGAIN);
      }
    }
  }
  mpg_gomaxprocs(procs);
}

static void null_channels_have_no_length(void *arg) {
  (void) arg;
  CHECK_EQ(mpg_chan_len(NULL), 0);
  CHECK_EQ(mpg_chan_cap(NULL), 0);
  CHECK_EQ(mpg_chan_try_send(NULL, &stage), -EAGAIN);
  CHECK_EQ(mpg_chan_try_recv(NULL, NULL), -EAGAIN);
}

static void send_to_null(void *arg) {
  (void) arg;
  mpg_chan_send(NULL, NULL);
  atomic_store(&stage, -1);
}

static void receive_from_null(void *arg) {
  (void) arg;
  mpg_chan_recv(NULL, NULL);
  atomic_store(&stage, -1);
}

static void null_channels_block_for_ever(void *arg) {
  (void) arg;
  atomic_store(&stage, 0);
  CHECK_GO(send_to_null, NULL);
  CHECK_GO(receive_from_null, NULL);
  for (int i = 0; i < 1000; i++) mpg_yield();
  CHECK_EQ(atomic_load(&stage), 0);
  CHECK_EQ(mpg_num_goroutines(), 3);
}

/* ---- many ---- */

struct crowd {
  mpg_chan *c;
  int from, to;
};
static _Atomic uint64_t sum;

static void send_range(void *arg) {
  struct crowd *r = arg;
  for (int i = r->from; i < r->to; i++) mpg_chan_send(r->c, &i);
  mpg_waitgroup_done(&done);
}

static void sum_up(void *arg) {
  uint64_t mine = 0;
  for (int x; mpg_chan_recv(arg, &x);) mine += (uint64_t) x;
  atomic_fetch_add(&sum, mine);
  mpg_waitgroup_done(&done);
}

static void nothing_is_lost_or_doubled(void *arg) {
  (void) arg;
  enum { SENDERS = 8, RECEIVERS = 5, EACH = 5000 };
  for (int procs = 1; procs <= 4; procs *= 2) {
    mpg_gomaxprocs(procs);
    for (size_t capacity = 0; capacity <= 64; capacity += 16) {
      mpg_chan *c = mpg_chan_new(sizeof(int), capacity);
      static struct crowd r[SENDERS];
      atomic_store(&sum, 0);
      mpg_waitgroup_add(&done, SENDERS);
      for (int i = 0; i < SENDERS; i++) {
        r[i] = (struct crowd){c, i * EACH, (i + 1) * EACH};
        CHECK_GO(send_range, &r[i]);
      }
      for (int i = 0; i < RECEIVERS; i++) CHECK_GO(sum_up, c);
      mpg_waitgroup_wait(&done);
      mpg_waitgroup_add(&done, RECEIVERS);
      mpg_chan_close(c);
      mpg_waitgroup_wait(&done);
      uint64_t n = SENDERS * EACH;
      CHECK_EQ(atomic_load(&sum), n * (n - 1) / 2);
    }
  }
}

static void sieve_filter(void *arg) {
  mpg_chan **io = arg;
  int prime = 0;
  for (int x; mpg_chan_recv(io[0], &x);) {
    if (prime == 0) {
      prime = x;
      mpg_chan_send(io[2], &x);
    } else if (x % prime != 0) {
      mpg_chan_send(io[1], &x);
    }
  }
  mpg_chan_close(io[1]);
}

static void count_up(void *arg) {
  for (int i = 2; i < 800; i++) mpg_chan_send(arg, &i);
  mpg_chan_close(arg);
}

/* One goroutine for each prime: a chain of channels. */
static void prime_sieve(void *arg) {
  (void) arg;
  enum { PRIMES = 100 };
  mpg_chan *in = mpg_chan_new(sizeof(int), 0);
  mpg_chan *out = mpg_chan_new(sizeof(int), PRIMES);
  CHECK_GO(count_up, in);
  for (int i = 0; i < PRIMES; i++) {
    mpg_chan **io = mpg_alloc(3 * sizeof(*io));
    io[0] = in;
    io[1] = in = mpg_chan_new(sizeof(int), 0);
    io[2] = out;
    CHECK_GO(sieve_filter, io);
  }
  int p = 0;
  for (int i = 0; i < PRIMES; i++) CHECK(mpg_chan_recv(out, &p));
  CHECK_EQ(p, 541); /* the hundredth */
}

static const struct check_case cases[] = {
    INSIDE(unbuffered_send_waits_for_its_receiver),
    INSIDE(unbuffered_receive_waits_for_its_sender),
    INSIDE(buffered_is_first_in_first_out),
    INSIDE(order_holds_through_a_full_buffer),
    INSIDE(try_never_waits),
    INSIDE(try_meets_one_that_waits),
    INSIDE(closed_gives_the_rest_and_then_zero),
    INSIDE(close_wakes_all_receivers),
    INSIDE(null_discards),
    INSIDE(elements_of_no_bytes),
    INSIDE(elements_of_any_size),
    INSIDE(small_ones_through_a_buffer),
    INSIDE(loops_of_ready_operations_make_way),
    INSIDE(null_channels_have_no_length),
    INSIDE(null_channels_block_for_ever),
    INSIDE(nothing_is_lost_or_doubled),
    INSIDE(prime_sieve),
};
CHECK_MAIN(cases, 20)
