/* chan_select_stress.c - channels under random selects, deadlines and closes.
 *
 * Epochs of some milliseconds, each with channels of its own.  Senders put
 * parcels in by every kind of sending operation, traders send and receive in
 * one select, receivers wait on several channels until each was closed.  Each
 * parcel is collected memory that only the channel or a waiting sender knows.
 * What went in comes out, once, with its contents.
 */
#include <errno.h>

#include "../support/stress.h"

#define CHANS 6
#define CASES 12

struct parcel {
  uint64_t value, check;
  struct parcel *link; /* to another one, whose contents must be there, too */
};

static mpg_chan *chan[CHANS];
static int nchans;
static mpg_waitgroup sending, receiving;
static int64_t epoch_end;
static _Atomic uint64_t sent, sent_sum, received, received_sum, timeouts;

static struct parcel *parcel_new(uint64_t *rng) {
  struct parcel *p = mpg_alloc(sizeof *p), *q = mpg_alloc(sizeof *q);
  CHECK(p != NULL && q != NULL);
  q->value = stress_random(rng);
  q->check = ~q->value;
  p->value = stress_random(rng);
  p->check = ~p->value;
  p->link = q;
  return p;
}

static void sent_it(const struct parcel *p) {
  atomic_fetch_add(&sent, 1);
  atomic_fetch_add(&sent_sum, p->value);
}

static void received_it(struct parcel *p) {
  CHECK(p != NULL && p->check == ~p->value);
  CHECK(p->link != NULL && p->link->check == ~p->link->value);
  atomic_fetch_add(&received, 1);
  atomic_fetch_add(&received_sum, p->value);
}

static int64_t soon(uint64_t *rng) {
  return mpg_now() + (int64_t) stress_below(rng, 200000) - 10000;
}

static mpg_chan *any_chan(uint64_t *rng) {
  return chan[stress_below(rng, (uint64_t) nchans)];
}

/* ---- several cases ---- */

struct offer {
  struct mpg_select_case k[CASES];
  struct parcel *elem[CASES];
  int n;
};

/* A random mixture: sends of one parcel (whichever is chosen), receives if
 * they are wanted, NULL channels. */
static void offer_fill(struct offer *o, uint64_t *rng, struct parcel *p,
                       bool receives) {
  o->n = 1 + (int) stress_below(rng, CASES);
  for (int i = 0; i < o->n; i++) {
    bool recv = receives && stress_below(rng, 2);
    o->elem[i] = recv ? NULL : p;
    o->k[i] = (struct mpg_select_case){
        .chan = stress_below(rng, 8) ? any_chan(rng) : NULL,
        .dir = recv ? MPG_RECV : MPG_SEND,
        .elem = &o->elem[i]};
  }
}

/* True when p was sent. */
static bool offer_done(struct offer *o, int i) {
  if (i == -ETIMEDOUT || i == -EAGAIN) {
    atomic_fetch_add(&timeouts, 1);
    return false;
  }
  CHECK(i >= 0 && i < o->n && o->k[i].chan);
  if (o->k[i].dir == MPG_SEND) return true;
  CHECK(o->k[i].ok); /* nobody closes while there are senders */
  received_it(o->elem[i]);
  return false;
}

static bool select_once(uint64_t *rng, struct parcel *p, bool receives) {
  struct offer o;
  offer_fill(&o, rng, p, receives);
  if (stress_below(rng, 3) == 0)
    return offer_done(&o, mpg_select_try(o.k, o.n));
  return offer_done(&o, mpg_select_until(o.k, o.n, soon(rng)));
}

/* ---- goroutines ---- */

static bool send_somehow(uint64_t *rng, struct parcel *p) {
  int err;
  switch (stress_below(rng, 5)) {
  case 0: mpg_chan_send(any_chan(rng), &p); return true;
  case 1:
    err = mpg_chan_try_send(any_chan(rng), &p);
    CHECK(err == 0 || err == -EAGAIN);
    return err == 0;
  case 2: return select_once(rng, p, false);
  default: return select_once(rng, p, true);
  }
}

static void send_all(void *arg) {
  uint64_t rng = stress_seed((uint64_t) arg);
  while (mpg_now() < epoch_end) {
    struct parcel *p = parcel_new(&rng);
    while (!send_somehow(&rng, p))
      if (stress_below(&rng, 16) == 0) mpg_yield();
    sent_it(p);
  }
  mpg_waitgroup_done(&sending);
}

/* One channel until it is closed. */
static void drain(void *arg) {
  for (struct parcel *p; mpg_chan_recv(arg, &p); p = NULL) received_it(p);
  mpg_waitgroup_done(&receiving);
}

/* All of them, each until it is closed. */
static void receive_all(void *arg) {
  uint64_t rng = stress_seed((uint64_t) arg);
  struct mpg_select_case k[CHANS];
  struct parcel *elem[CHANS] = {NULL};
  int open = nchans;
  for (int i = 0; i < nchans; i++)
    k[i] = (struct mpg_select_case){
        .chan = chan[i], .dir = MPG_RECV, .elem = &elem[i]};
  while (open) {
    int i = stress_below(&rng, 3) ? mpg_select(k, nchans)
                                  : mpg_select_until(k, nchans, soon(&rng));
    if (i == -ETIMEDOUT) continue;
    CHECK(i >= 0 && i < nchans);
    if (k[i].ok) {
      received_it(elem[i]);
    } else {
      CHECK(elem[i] == NULL);
      k[i].chan = NULL;
      open--;
    }
    elem[i] = NULL;
  }
  mpg_waitgroup_done(&receiving);
}

/* ---- epochs ---- */

static void epoch(uint64_t *rng) {
  stress_procs(rng, 8);
  nchans = 1 + (int) stress_below(rng, CHANS);
  int senders = 1 + (int) stress_below(rng, 8);
  int receivers = (int) stress_below(rng, 4);
  epoch_end = mpg_now() + (int64_t) stress_below(rng, 50000000);
  for (int i = 0; i < nchans; i++)
    chan[i] = mpg_chan_new(sizeof(struct parcel *),
                           stress_below(rng, 4) * stress_below(rng, 4));
  mpg_waitgroup_add(&sending, senders);
  mpg_waitgroup_add(&receiving, receivers + nchans);
  for (int i = 0; i < senders; i++)
    CHECK_GO(send_all, (void *) stress_random(rng));
  for (int i = 0; i < receivers; i++)
    CHECK_GO(receive_all, (void *) stress_random(rng));
  for (int i = 0; i < nchans; i++) CHECK_GO(drain, chan[i]);
  if (stress_below(rng, 2)) mpg_gc();
  mpg_waitgroup_wait(&sending);
  for (int i = 0; i < nchans; i++) mpg_chan_close(chan[i]);
  mpg_waitgroup_wait(&receiving);
  CHECK_EQ(atomic_load(&sent), atomic_load(&received));
  CHECK(atomic_load(&sent_sum) == atomic_load(&received_sum));
}

static void start(void *arg) {
  uint64_t rng = stress_seed(0);
  (void) arg;
  if (stress.procs) mpg_gomaxprocs((int) stress.procs);
  do epoch(&rng);
  while (!stress_over());
  CHECK_EVENTUALLY(mpg_num_goroutines() == 1);
  CHECK_GT(atomic_load(&sent), 0);
}

int main(int argc, char **argv) { return stress_main(argc, argv, start); }
