// EXPECT-EXIT: 2
// EXPECT-STDERR: ^fatal: all goroutines are asleep - deadlock!
// EXPECT-STDERR: ^goroutine 1 \[sync\.Mutex\.Lock\]:
#include <mpg.h>

static mpg_once once;

static void again(void *arg) { mpg_once_do(&once, again, arg); }

static void start(void *arg) { again(arg); }

int main(void) { return mpg_run(start, NULL); }
