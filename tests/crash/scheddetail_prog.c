// EXPECT-EXIT: 0
// EXPECT-STDERR: ^SCHED [0-9]+ms: gomaxprocs=2 idleprocs=[0-9]+ threads=[0-9]+ spinningthreads=[0-9]+ idlethreads=[0-9]+ runqueue=[0-9]+ gcwaiting=[0-9]+ nmidlelocked=[0-9]+ stopwait=[0-9]+ sysmonwait=[0-9]+
// EXPECT-STDERR: ^  P0: status=[0-9]+ schedtick=[0-9]+ syscalltick=[0-9]+ m=-?[0-9]+ runqsize=[0-9]+ gfreecnt=[0-9]+ timerslen=[0-9]+
// EXPECT-STDERR: ^  P1: status=
// EXPECT-STDERR: ^  P[23]: status=1 .* m=[0-9]+
// EXPECT-STDERR: ^  M[0-9]+: p=-?[0-9]+ curg=-?[0-9]+ mallocing=[0-9]+ throwing=[0-9]+ preemptoff=.* locks=[0-9]+ dying=[0-9]+ spinning=(true|false) blocked=(true|false) lockedg=-?[0-9]+
// EXPECT-STDERR: ^  G1: status=[0-9]+\(.*\) m=-?[0-9]+ lockedm=-?[0-9]+
// EXPECT-STDERR: ^  G[0-9]+: status=4\(chan receive\) m=-1 lockedm=-1
// ENV: MPG_DEBUG=schedtrace=10,scheddetail=1,nosteal=0
// ENV: MPG_PROCS=2
#include <mpg.h>
#include <time.h>

static void receive(void *c) { mpg_chan_recv(c, NULL); }

/* Both Ps are stuck for a while: who makes up for them is shown, too. */
static void stuck(void *arg) {
  struct timespec left = {0, 150000000};
  (void) arg;
  while (nanosleep(&left, &left) != 0) continue;
}

static void busy(int64_t ns) {
  int64_t end = mpg_now() + ns;
  while (mpg_now() < end) __asm__ volatile("");
}

static void start(void *arg) {
  (void) arg;
  mpg_go(receive, mpg_chan_new(0, 0));
  mpg_go(stuck, NULL);
  mpg_go(stuck, NULL);
  mpg_sleep(20000000);
  busy(100000000);
}

int main(void) { return mpg_run(start, NULL); }
