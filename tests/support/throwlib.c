/* throwlib.c - a library as interpreters are: it calls the program's functions,
 * and their errors jump back into it, by the name that _FORTIFY_SOURCE gives to
 * longjmp.  jump_outside.c has it inside, with another name.
 */
#include <setjmp.h>
#include <stddef.h>

#ifndef THROWLIB_JUMP
#define THROWLIB_JUMP __longjmp_chk
_Noreturn void __longjmp_chk(jmp_buf env, int value);
#endif

int throwlib_try(void (*fn)(void *env, int depth), int depth);
_Noreturn void throwlib_throw(void *env, int error);

int throwlib_try(void (*fn)(void *env, int depth), int depth) {
  jmp_buf env;
  int error = setjmp(env);
  if (error == 0) fn(&env, depth);
  return error;
}

_Noreturn void throwlib_throw(void *env, int error) {
  THROWLIB_JUMP(*(jmp_buf *) env, error);
}
