// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: code for segmented stacks was compiled with -mcmodel=large
// EXPECT-STDERR: ^goroutine 1 \[running\]:
// EXPECT-STDERR: ^start\(
#include <mpg.h>

/* What GCC calls there when a frame doesn't fit. */
void __morestack_large_model(void);

static void start(void *arg) {
  (void) arg;
  __morestack_large_model();
  __asm__ volatile(""); /* not a tail call */
}

int main(void) { return mpg_run(start, NULL); }
