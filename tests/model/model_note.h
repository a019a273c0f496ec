/* model_note.h - notes, as arch/common/mutex.c has them, in fewer steps: a
 * sleep is one futex wait.  mutex_model.c explores the real ones. */
#ifndef TESTS_MODEL_MODEL_NOTE_H
#define TESTS_MODEL_MODEL_NOTE_H

#include "model.h"

void mpgi_note_clear(struct mpgi_note *n) { atomic_exchange(&n->state, 0); }

void mpgi_note_wake(struct mpgi_note *n) {
  if (atomic_exchange(&n->state, 2) == 1) mpgi_os_futex_wake(&n->state, 1);
}

static bool note_sleep(struct mpgi_note *n, int64_t ns) {
  uint32_t clear = 0, sleeping = 1;
  if (!atomic_compare_exchange_strong(&n->state, &clear, 1)) return true;
  while (atomic_load(&n->state) == 1)
    if (mpgi_os_futex_wait(&n->state, 1, ns) != 0) break;
  return !atomic_compare_exchange_strong(&n->state, &sleeping, 0);
}

void mpgi_note_sleep(struct mpgi_note *n) { note_sleep(n, -1); }

bool mpgi_note_sleep_timed(struct mpgi_note *n, int64_t ns) {
  return note_sleep(n, ns);
}

#endif /* TESTS_MODEL_MODEL_NOTE_H */
