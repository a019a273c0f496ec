/* unseen_foreign.c - foreign code for unseen_outside.c: compiled without mpg's
 * flags and linked statically. */
#define EATEN 12000

int eat(int n);
int eat(int n) {
  volatile char b[EATEN];
  for (int i = 0; i < EATEN; i++) b[i] = 1;
  return n + b[n % EATEN];
}

/* Without .type: to linkers a symbol of no kind, not a function. */
int untyped(int n);
__asm__(
    ".text\n"
    ".globl untyped\n"
    "untyped: jmp eat\n");

int typed(int n);
__asm__(
    ".text\n"
    ".globl typed\n"
    ".type typed, @function\n"
    "typed: jmp eat\n"
    ".size typed, . - typed\n");

/* A symbol whose address is found at the start. */
static int (*choose(void))(int) { return eat; }
int chosen(int n) __attribute__((ifunc("choose")));
