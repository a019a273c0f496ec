/* leak.h - stacks of goroutines that seem leaked.  Private to sched/: leak.c
 * and leak_stack.c, which says how it is done; with the world stopped. */
#ifndef MPGI_LEAK_H
#define MPGI_LEAK_H

#ifndef MPGI_GMP_H
#error "include sched/gmp.h first; leak.h is private to sched/"
#endif

/* Of those among the first n goroutines that are taken for leaked.  Without
 * memory, or where it could not be known who has their addresses, nothing. */
MPGI_HIDDEN void mpgi_leak_stacks_begin_stw(size_t n);
/* On whose stack p lies; NULL: on none of these. */
MPGI_HIDDEN struct mpg_g *mpgi_leak_stack_of(const void *p);
/* Turns those of whose stack somebody else may have an address from LEAKED into
 * LEAKED_KNOWN.  True when there was one. */
MPGI_HIDDEN bool mpgi_leak_stacks_look_stw(size_t n);
MPGI_HIDDEN void mpgi_leak_stacks_end_stw(void);

#endif /* MPGI_LEAK_H */
