/* alarm.h - sysmon's alarms, one for the thread of each P (alarm.c).  Part of
 * gmp.h. */
#ifndef MPGI_ALARM_H
#define MPGI_ALARM_H

#ifndef MPGI_GMP_H
#error "include sched/gmp.h, which includes this"
#endif

struct mpgi_alarm {
  struct mpgi_os_alarm os;
  int tid; /* whose CPU time was cpu when it was cpuwhen */
  int64_t cpu, cpuwhen;
  /* The P's slice when it was set, and until when that one is the thread's. */
  _Atomic uint32_t tick;
  _Atomic int64_t fair_until;
};

/* Sysmon sleeps until then, with every P busy and somebody who may want one. */
MPGI_HIDDEN void mpgi_alarms_set(int64_t now, int64_t until);
MPGI_HIDDEN void mpgi_alarms_cancel(void);
MPGI_HIDDEN void mpgi_alarm_sig(struct mpg_m *mp); /* its signal's handler */
MPGI_HIDDEN void mpgi_alarms_end(void);

#endif /* MPGI_ALARM_H */
