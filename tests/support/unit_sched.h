/* unit_sched.h - Ms, Ps and Gs for unit tests, without a running scheduler.
 *
 * The calling thread may play an M.  No P counts as idle, so that waking
 * starts no thread.
 */
#ifndef UNIT_SCHED_H
#define UNIT_SCHED_H

#include <sched/sched.h>

#include <sched/gmp.h>

#define UNIT_PS 4
#define UNIT_GS 2048

/* Ps 0 to UNIT_PS - 1, running; Gs, runnable, on no queue; empty queues. */
void unit_sched_setup(void);
struct mpg_p *unit_p(int i);
struct mpg_g *unit_g(int i);
int unit_g_index(const struct mpg_g *gp);
/* The thread becomes (or, with NULL, is no longer) an M with this P. */
struct mpg_m *unit_m_begin(struct mpg_p *pp);
void unit_m_end(void);
/* The next one of the global queue, NULL when it is empty. */
struct mpg_g *unit_global_pop(void);

#endif /* UNIT_SCHED_H */
