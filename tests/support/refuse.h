/* refuse.h - have the kernel refuse a system call, for failure paths that
 * only an old or a restricted kernel takes. */
#ifndef MPG_TESTS_REFUSE_H
#define MPG_TESTS_REFUSE_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define REFUSE_ANY UINT32_MAX

/* From now on, in this process: system call nr fails with err when the low
 * half of its argument arg is value (REFUSE_ANY: always).  0 or -1. */
static inline int refuse_syscall(long nr, int arg, uint32_t value, int err) {
  uint32_t arg_at =
      (uint32_t) offsetof(struct seccomp_data, args) + 8u * (uint32_t) arg;

  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
               (uint32_t) offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t) nr, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg_at),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0,
               value == REFUSE_ANY ? 0 : 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t) err),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog prog = {sizeof code / sizeof code[0], code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0);
}

#endif /* MPG_TESTS_REFUSE_H */
