/* throwlib.c - a library as interpreters are: it calls the program's functions,
 * and their errors jump back into it, by the name that _FORTIFY_SOURCE gives to
 * longjmp.
 */
#include <setjmp.h>
#include <stddef.h>

_Noreturn void __longjmp_chk(jmp_buf env, int value);

int throwlib_try(void (*fn)(void *env, int depth), int depth);
_Noreturn void throwlib_throw(void *env, int error);

int throwlib_try(void (*fn)(void *env, int depth), int depth) {
  jmp_buf env;
  int error = setjmp(env);
  if (error == 0) fn(&env, depth);
  return error;
}

_Noreturn void throwlib_throw(void *env, int error) {
  __longjmp_chk(*(jmp_buf *) env, error);
}
