/* tls.h - the thread-local words of the runtime.
 *
 * Initial-exec, read through asm volatile so that no compiler caches an
 * address or a value across a switch.  On g0 a thread never changes under a
 * function, so plain caching would be safe there; on a goroutine's stack only
 * entry stubs read these.
 */
#ifndef MPGI_TLS_H
#define MPGI_TLS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct mpg_g;
struct mpg_m;
struct mpgi_cache;

struct mpgi_tls {
  struct mpg_g *g; /* whose stack this thread executes on; NULL on g0, in
                      foreign threads */
  uintptr_t g0_sp; /* where entry thunks put SP */
  struct mpg_m *m; /* NULL in threads mpg did not start or attach */
  struct mpgi_cache *cache; /* allocation cache of this thread's P; NULL
                               without one */
  struct mpg_g *libc; /* for whom the C library runs on g0 (libc_call.S); NULL
                         when it doesn't */
  _Atomic uint32_t *waits; /* counts this thread's waits in the runtime (below);
                              NULL: nobody wants to know */
};

extern _Thread_local struct mpgi_tls mpgi_tls
    __attribute__((visibility("hidden"), tls_model("initial-exec")));

/* Offsets used by the assembler; checked in arch/x86_64/offsets.c. */
#define MPGI_TLS_G 0
#define MPGI_TLS_G0_SP 8
#define MPGI_TLS_M 16
#define MPGI_TLS_CACHE 24
#define MPGI_TLS_LIBC 32

#define MPGI_TLS_READ(type, off)               \
  __extension__({                              \
    type mpgi_v_;                              \
    __asm__ volatile(                          \
        "mov mpgi_tls@gottpoff(%%rip), %0\n\t" \
        "mov %%fs:%c1(%0), %0"                 \
        : "=&r"(mpgi_v_)                       \
        : "i"(off));                           \
    mpgi_v_;                                   \
  })
#define MPGI_TLS_WRITE(off, value)             \
  do {                                         \
    uintptr_t mpgi_t_;                         \
    __asm__ volatile(                          \
        "mov mpgi_tls@gottpoff(%%rip), %0\n\t" \
        "mov %2, %%fs:%c1(%0)"                 \
        : "=&r"(mpgi_t_)                       \
        : "i"(off), "r"((uintptr_t) (value))   \
        : "memory");                           \
  } while (0)

static inline struct mpg_g *mpgi_tls_g(void) {
  return MPGI_TLS_READ(struct mpg_g *, MPGI_TLS_G);
}
static inline struct mpg_m *mpgi_tls_m(void) {
  return MPGI_TLS_READ(struct mpg_m *, MPGI_TLS_M);
}
static inline struct mpg_g *mpgi_tls_libc(void) {
  return MPGI_TLS_READ(struct mpg_g *, MPGI_TLS_LIBC);
}
/* The goroutine that runs here, in such a function or not; NULL: none, or the
 * runtime. */
static inline struct mpg_g *mpgi_tls_user(void) {
  struct mpg_g *gp = mpgi_tls_g();
  return gp ? gp : mpgi_tls_libc();
}
static inline struct mpgi_cache *mpgi_tls_cache(void) {
  return MPGI_TLS_READ(struct mpgi_cache *, MPGI_TLS_CACHE);
}
static inline void mpgi_tls_cache_set(struct mpgi_cache *c) {
  MPGI_TLS_WRITE(MPGI_TLS_CACHE, c);
}
static inline void mpgi_tls_g_set(struct mpg_g *g) {
  MPGI_TLS_WRITE(MPGI_TLS_G, g);
}
static inline void mpgi_tls_m_set(struct mpg_m *m) {
  MPGI_TLS_WRITE(MPGI_TLS_M, m);
}

/* A thread that sleeps on a futex of the runtime's, or is late on purpose,
 * looks to others as if it were blocked in the program's own code.  So it
 * counts: how deep it is in such waits (a handler may be in another) in the
 * lowest byte, how often it was above that. */
#define MPGI_WAITS_DEPTH 0xff
static inline void mpgi_waits_add(uint32_t by) {
  _Atomic uint32_t *w = mpgi_tls.waits;
  if (!w) return;
  uint32_t now = atomic_load_explicit(w, memory_order_relaxed);
  atomic_store_explicit(w, now + by, memory_order_relaxed);
}
static inline void mpgi_waits_begin(void) {
  mpgi_waits_add(MPGI_WAITS_DEPTH + 2);
}
static inline void mpgi_waits_end(void) { mpgi_waits_add((uint32_t) -1); }

#endif /* MPGI_TLS_H */
