/* dump.h - tracebacks.  Private to sched/. */
#ifndef MPGI_SCHED_DUMP_H
#define MPGI_SCHED_DUMP_H

#ifndef MPGI_GMP_H
#error "include sched/gmp.h first; dump.h is private to sched/"
#endif

/* MPG_TRACEBACK */
enum mpgi_traceback {
  MPGI_TRACEBACK_NONE,
  MPGI_TRACEBACK_SINGLE, /* the goroutine at fault; all if there is none */
  MPGI_TRACEBACK_ALL,
  MPGI_TRACEBACK_SYSTEM, /* the runtime's own, too */
  MPGI_TRACEBACK_CRASH,  /* and then abort */
};

/* ---- dump.c: lines of text, put together and written at once ---- */

#define MPGI_OUT_LINE_BYTES 512
struct mpgi_out {
  int fd;
  size_t n;
  char text[8 * MPGI_OUT_LINE_BYTES];
};
/* At most a line; truncated beyond MPGI_OUT_LINE_BYTES. */
MPGI_HIDDEN void mpgi_out_add(struct mpgi_out *o, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
MPGI_HIDDEN void mpgi_out_flush(struct mpgi_out *o);

/* ---- frames.c: signal-safe ---- */

MPGI_HIDDEN void mpgi_frames_get(const struct mpg_g *gp, struct mpgi_pcs *out);
/* gp's thread was interrupted there. */
MPGI_HIDDEN void mpgi_frames_get_sig(const struct mpg_g *gp,
                                     const void *ucontext,
                                     struct mpgi_pcs *out);

/* On g0: the frames of the goroutine that called the runtime. */
MPGI_HIDDEN uint32_t mpgi_callers(uintptr_t *pc, uint32_t max);

/* ---- symbol.c, symtab.c ---- */

struct mpgi_symbol {
  uintptr_t pc;    /* what was asked for */
  uint64_t offset; /* of it in the function */
  int line;
  char name[116]; /* empty: unknown */
  char file[256]; /* empty: unknown */
};

struct mpgi_symtab {
  const char *path;
  uintptr_t bias;
  void *map;
  size_t bytes;
  const void *symbols; /* Elf64_Sym[count] */
  size_t count;
  const char *names;
  size_t names_bytes;
};
/* Name and offset of the function at pc.  Signal-safe. */
MPGI_HIDDEN bool mpgi_symtab_lookup(struct mpgi_symtab *t, uintptr_t pc,
                                    struct mpgi_symbol *out);
MPGI_HIDDEN void mpgi_symtab_close(struct mpgi_symtab *t);

#define MPGI_SYMBOLS_CACHED 127
struct mpgi_symbols {
  struct Dwfl *dwfl; /* NULL: names only */
  int saved_errno;   /* the caller's, which libdw doesn't leave alone */
  struct mpgi_symtab symtab;
  struct mpgi_symbol cache[MPGI_SYMBOLS_CACHED];
};
/* library: libdw may be used, which allocates and locks; otherwise all of
 * this is signal-safe. */
MPGI_HIDDEN void mpgi_symbols_begin(struct mpgi_symbols *s, bool library);
MPGI_HIDDEN const struct mpgi_symbol *mpgi_symbols_at(struct mpgi_symbols *s,
                                                      uintptr_t pc);
MPGI_HIDDEN void mpgi_symbols_end(struct mpgi_symbols *s);

/* ---- dump.c ---- */

/* What a fatal error or SIGQUIT prints; gp: the goroutine at fault, or NULL.
 * quit: all goroutines, whatever MPG_TRACEBACK says. */
MPGI_HIDDEN void mpgi_dump_dying(int fd, const struct mpg_g *gp, bool quit,
                                 bool library);

/* One goroutine as it is, names only; signal-safe. */
MPGI_HIDDEN void mpgi_dump_names(int fd, const struct mpg_g *gp);
/* As mpg_traceback_all, those that pick says. */
MPGI_HIDDEN void mpgi_dump_picked(int fd, bool (*pick)(const struct mpg_g *gp));

/* ---- dying.c ---- */

/* On an M in a signal handler while the program dies: remember where its
 * goroutine is, and stay here if that holds nobody up.  False: not dying. */
MPGI_HIDDEN bool mpgi_dying_sig(struct mpg_m *mp, void *ucontext);
/* sysmon: print what a handler asked for; doesn't return if it did. */
MPGI_HIDDEN void mpgi_dying_serve(void);
MPGI_HIDDEN void mpgi_quit_init(void);
MPGI_HIDDEN void mpgi_quit_restore(void);

#endif /* MPGI_SCHED_DUMP_H */
