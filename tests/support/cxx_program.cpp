// cxx_program.cpp - C++ exceptions in goroutines that are switched out amid
// them: between catch and its end, while destructors of an unwinding run, at
// any instruction (MPG_DEBUG=preemptall=1).  api/cxx_test.sh builds and runs
// it.
#include <mpg.h>
#include <stdio.h>

#include <atomic>
#include <exception>
#include <stdexcept>
#include <string>

static const int GOROUTINES = 8;
static const int ROUNDS = 200;
static mpg_waitgroup all;
static std::atomic<long> bad;

static void expect(bool right) {
  if (!right) bad++;
}

static void let_others(int round) {
  if (round % 64 == 0)
    mpg_sleep(1000);
  else if (round % 3 == 0)
    mpg_yield();
}

// Switched out while its frame is unwound.
struct Guard {
  int round;
  explicit Guard(int n) : round(n) {}
  ~Guard() {
    expect(std::uncaught_exceptions() == 1);
    let_others(round);
    expect(std::uncaught_exceptions() == 1);
  }
};

// So deep that it takes several segments.
static __attribute__((noinline)) int thrower(int depth, int value) {
  volatile char frame[100];
  frame[0] = (char) depth;
  if (depth == 0) throw std::runtime_error(std::to_string(value));
  return thrower(depth - 1, value) + frame[0];
}

static bool is(const std::exception &e, int value) {
  return e.what() == std::to_string(value);
}

static void one(int depth, int value) {
  try {
    try {
      Guard guard(value);
      thrower(depth, value);
    } catch (std::runtime_error &e) {
      expect(is(e, value));
      let_others(value);
      expect(is(e, value));
      throw;
    }
    expect(false);
  } catch (std::exception &e) {
    let_others(value + 1);
    expect(is(e, value));
    try {
      thrower(depth, -value);
    } catch (std::exception &inner) {
      let_others(value);
      expect(is(inner, -value));
    }
    expect(is(e, value));
  }
  expect(std::uncaught_exceptions() == 0 && !std::current_exception());
}

static void many(void *arg) {
  int id = (int) (long) arg;
  for (int i = 0; i < ROUNDS; i++) one(i % 50, id * ROUNDS + i);
  mpg_waitgroup_done(&all);
}

// Nothing of it is left to whoever runs on the thread afterwards.
static void ends_amid(void *) {
  try {
    thrower(10, 1);
  } catch (...) {
    mpg_waitgroup_done(&all);
    mpg_goexit();
  }
}

static void start(void *) {
  for (long i = 0; i < GOROUTINES; i++) {
    mpg_waitgroup_add(&all, 2);
    expect(mpg_go(many, (void *) i) == 0);
    expect(mpg_go(ends_amid, nullptr) == 0);
  }
  mpg_waitgroup_wait(&all);
}

#if defined(PLUGIN)
extern "C" int cxx_main();
#define main cxx_main
#endif

int main() {
  for (int run = 0; run < 2; run++) expect(mpg_run(start, nullptr) == 0);
  if (bad == 0) puts("ok");
  return bad != 0;
}
