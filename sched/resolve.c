/* resolve.c - name look-ups: getaddrinfo with the P handed off.
 *
 * getaddrinfo blocks, for seconds when a server doesn't answer, uses much
 * stack, and takes libc's locks.  So it runs on g0, outside the world, as any
 * call that may block (io.c), and only so many at a time: each holds a thread.
 * The others wait for a semaphore.
 *
 * Source: Go net/cgo_unix.go (threadLimit).
 */
#include <sched/sched.h>

#include <errno.h>
#include <netdb.h>

#include <sched/gmp.h>

#define AT_ONCE 16 /* documented in mpg/io.h */

static mpg_sem slots = {AT_ONCE};

void mpgi_resolve_reset(void) { slots = (mpg_sem){AT_ONCE}; }

static int error_of(int eai, int error) {
  switch (eai) {
  case 0: return 0;
  case EAI_NONAME:
#ifdef EAI_NODATA
  case EAI_NODATA:
  case EAI_ADDRFAMILY:
#endif
  case EAI_SERVICE: return -ENOENT;
  case EAI_AGAIN: return -EAGAIN;
  case EAI_MEMORY: return -ENOMEM;
  case EAI_BADFLAGS:
  case EAI_FAMILY:
  case EAI_SOCKTYPE: return -EINVAL;
  case EAI_SYSTEM: return error ? -error : -EIO;
  default: return -EIO;
  }
}

void mpgi_resolve_g0(struct mpgi_resolve *r) {
  struct mpg_m *mp = mpgi_current_g("mpg_resolve")->m;
  int saved = errno;
  mpgi_call_begin(mp);
  int eai = getaddrinfo(r->host, r->service, r->hints, r->list);
  r->result = error_of(eai, errno);
  errno = saved;
  mpgi_call_end(mp);
}

void mpgi_resolve_free_g0(struct addrinfo *list) {
  struct mpg_m *mp = mpgi_current_g("mpg_resolve_free")->m;
  if (!list) return;
  int saved = errno;
  mpgi_call_begin(mp);
  freeaddrinfo(list);
  errno = saved;
  mpgi_call_end(mp);
}

/* On the goroutine's stack. */
MPGI_RT_TEXT int mpg_resolve(const char *host, const char *service,
                             const struct addrinfo *hints,
                             struct addrinfo **list) {
  struct mpgi_resolve r;
  r.host = host;
  r.service = service;
  r.hints = hints;
  r.list = list;
  bool goroutine = mpgi_tls_g() != NULL;
  if (goroutine) mpg_sem_acquire(&slots);
  mpgi_thunk_resolve(&r);
  if (goroutine) mpg_sem_release(&slots);
  return r.result;
}
