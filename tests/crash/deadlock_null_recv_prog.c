// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: all goroutines are asleep - deadlock!
// EXPECT-STDERR: ^goroutine 1 \[chan receive \(nil chan\)\]:
#include <mpg.h>

static void start(void *arg) { mpg_chan_recv(NULL, arg); }

int main(void) { return mpg_run(start, NULL); }
