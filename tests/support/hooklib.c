/* hooklib.c - a library whose constructor and destructor call the program:
 * under the dynamic linker's lock, and with a static thread-local block that
 * no thread has asked for by way of its DTV. */
#include <stdlib.h>

static __thread void *local __attribute__((tls_model("initial-exec")));

static void call(const char *when) {
  const char *hook = getenv("HOOKLIB_CALL");
  if (!hook) return;
  void (*fn)(const char *, void **) = NULL;
  *(unsigned long *) &fn = strtoul(hook, NULL, 16);
  fn(when, &local);
}

static __attribute__((constructor)) void opened(void) { call("opened"); }
static __attribute__((destructor)) void closed(void) { call("closed"); }
