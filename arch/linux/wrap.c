/* wrap.c - __wrap_pthread_create, for programs linked in one step.
 *
 * GCC given -fsplit-stack at the link passes --wrap=pthread_create and means
 * libgcc's wrapper, which would bring in libgcc's __morestack.  Ours comes
 * first and only forwards: a thread's own stack needs no preparation, because
 * its guard word is 0.
 *
 * With --wrap the linker turns every reference to pthread_create, this
 * archive's too, into one to this function, and __real_pthread_create into
 * the C library's.  Without it nobody calls this, except through libmpg.so,
 * which is linked without: there the weak reference stays NULL and the plain
 * name is the C library's.
 *
 * This file is built without splitnote.h: it is ordinary code that needs the
 * large segment when a goroutine calls it.
 */
#include <pthread.h>

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*start)(void *), void *arg)
    __attribute__((visibility("default")));
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*start)(void *), void *arg)
    __attribute__((weak));

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*start)(void *), void *arg) {
  if (__real_pthread_create)
    return __real_pthread_create(thread, attr, start, arg);
  return pthread_create(thread, attr, start, arg);
}
