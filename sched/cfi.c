/* cfi.c - one step up the stack by call frame information, in a signal
 * handler.
 *
 * Preemption must know the return address of the interrupted function even in
 * a prologue, an epilogue or a frameless leaf, where the frame-pointer chain
 * doesn't have it yet; and code on fixed stacks may keep no frame pointer at
 * all.  The unwind tables that compilers emit by default know it for every
 * instruction.  This is the small part of an unwinder that this takes: CFA,
 * return address, saved rbp.  It allocates nothing, takes no lock, reads only
 * tables of loaded objects and words inside [lo, hi) of a stack.
 *
 * Of expressions it knows what functions with realigned frames have (GCC, for
 * locals aligned to more than 16 bytes, and ASan's):
 *   the CFA   the word at reg + offset        breg, deref
 *   rbp       saved at reg + offset           breg
 * What it can't follow (other expressions and encodings, code without tables)
 * is MPGI_STEP_UNKNOWN, never a guess.
 *
 * Source: DWARF 5 section 6.4; the search table and the encodings are those
 * of the Linux Standard Base, .eh_frame_hdr.
 */
#include <sched/sched.h>

#include <string.h>

#include <sched/gmp.h>

enum { REG_RBP = 6, REG_RSP = 7, REG_RA = 16 };
#define ENC_PCREL_SDATA4 0x1b
#define ENC_DATAREL_SDATA4 0x3b
#define ENC_UDATA4 0x03
#define SAVED_STATES 8

struct cursor {
  const unsigned char *at, *end;
  bool bad; /* read past the end, or something we don't know */
};

enum saved {
  SAVED_SAME,
  SAVED_AT,       /* CFA + rbp_offset */
  SAVED_FROM_RBP, /* rbp + rbp_offset */
  SAVED_LOST
};

struct row {
  uint32_t cfa_reg;
  int64_t cfa_offset;
  bool cfa_loaded; /* it is the word there */
  enum saved rbp;
  int64_t rbp_offset;
  bool ra_undefined; /* outermost frame */
};

struct program {
  struct row row, initial;
  struct row stack[SAVED_STATES];
  unsigned depth;
  uint64_t code_align;
  int64_t data_align;
  uintptr_t loc, target;
};

/* ---- reading ---- */

static uint64_t get(struct cursor *c, unsigned bytes) {
  uint64_t v = 0;
  if ((size_t) (c->end - c->at) < bytes) {
    c->bad = true;
    return 0;
  }
  __builtin_memcpy(&v, c->at, bytes);
  c->at += bytes;
  return v;
}

/* has_sign: the highest bit is one. */
static uint64_t leb128(struct cursor *c, bool has_sign) {
  uint64_t v = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    uint64_t b = get(c, 1);
    v |= (b & 0x7f) << shift;
    if (b & 0x80) continue;
    if (has_sign && (b & 0x40) && shift + 7 < 64)
      v |= ~UINT64_C(0) << (shift + 7);
    return v;
  }
  c->bad = true;
  return 0;
}

static uint64_t uleb(struct cursor *c) { return leb128(c, false); }
static int64_t sleb(struct cursor *c) { return (int64_t) leb128(c, true); }

static void skip(struct cursor *c, uint64_t bytes) {
  if (bytes > (size_t) (c->end - c->at))
    c->bad = true;
  else
    c->at += bytes;
}

/* ---- finding the FDE ---- */

struct hdr_entry {
  int32_t loc, fde; /* relative to the header */
};

static const unsigned char *fde_search(const unsigned char *hdr, uintptr_t pc) {
  uint32_t n;
  if (!hdr || hdr[0] != 1 || hdr[1] != ENC_PCREL_SDATA4 ||
      hdr[2] != ENC_UDATA4 || hdr[3] != ENC_DATAREL_SDATA4)
    return NULL;
  __builtin_memcpy(&n, hdr + 8, 4);
  const struct hdr_entry *e = (const void *) (hdr + 12);
  int64_t rel = (int64_t) (pc - (uintptr_t) hdr);
  uint32_t lo = 0, hi = n;
  while (lo < hi) {
    uint32_t mid = lo + (hi - lo) / 2;
    if (e[mid].loc <= rel)
      lo = mid + 1;
    else
      hi = mid;
  }
  return lo ? hdr + e[lo - 1].fde : NULL;
}

/* ---- running the program ---- */

static void rule(struct program *p, uint64_t reg, enum saved how,
                 int64_t offset) {
  if (reg == REG_RBP) {
    p->row.rbp = how;
    p->row.rbp_offset = offset;
  } else if (reg == REG_RA && how == SAVED_LOST) {
    p->row.ra_undefined = true;
  }
}

static void restore(struct program *p, uint64_t reg) {
  if (reg != REG_RBP) return;
  p->row.rbp = p->initial.rbp;
  p->row.rbp_offset = p->initial.rbp_offset;
}

/* True while the row for target has not been passed. */
static bool advance(struct program *p, uint64_t delta) {
  p->loc += delta * p->code_align;
  return p->loc <= p->target;
}

static void remember(struct program *p, struct cursor *c) {
  if (p->depth == SAVED_STATES)
    c->bad = true;
  else
    p->stack[p->depth++] = p->row;
}

static void recall(struct program *p, struct cursor *c) {
  if (p->depth == 0)
    c->bad = true;
  else
    p->row = p->stack[--p->depth];
}

static void set_cfa(struct program *p, uint64_t reg, int64_t offset) {
  p->row.cfa_reg = (uint32_t) reg;
  p->row.cfa_offset = offset;
  p->row.cfa_loaded = false;
}

#define OP_BREG0 0x70
#define OP_DEREF 0x06

/* The expression that follows: breg reg, offset, and deref when that is
 * wanted.  False: it is another. */
static bool expression(struct cursor *c, bool deref, uint64_t *reg,
                       int64_t *offset) {
  uint64_t bytes = uleb(c);
  struct cursor e = *c;
  skip(c, bytes);
  if (c->bad || bytes == 0) return false;
  e.end = c->at;
  uint64_t op = get(&e, 1);
  if (op < OP_BREG0 || op > OP_BREG0 + 31) return false;
  *reg = op - OP_BREG0;
  *offset = sleb(&e);
  return (!deref || get(&e, 1) == OP_DEREF) && !e.bad && e.at == e.end;
}

static void cfa_expression(struct program *p, struct cursor *c) {
  uint64_t reg = 0;
  int64_t offset = 0;
  bool known = expression(c, true, &reg, &offset);
  set_cfa(p, known ? reg : UINT32_MAX, offset);
  p->row.cfa_loaded = known;
}

static void saved_expression(struct program *p, struct cursor *c) {
  uint64_t saved = uleb(c), reg = 0;
  int64_t offset = 0;
  bool known = expression(c, false, &reg, &offset) && reg == REG_RBP;
  rule(p, saved, known ? SAVED_FROM_RBP : SAVED_LOST, offset);
}

/* The operations with an operand byte of their own; false: target passed. */
static bool run_extended(struct program *p, struct cursor *c, unsigned op) {
  uint64_t reg;
  switch (op) {
  case 0x00: return true;                  /* nop */
  case 0x02: return advance(p, get(c, 1)); /* advance_loc1 */
  case 0x03: return advance(p, get(c, 2)); /* advance_loc2 */
  case 0x04: return advance(p, get(c, 4)); /* advance_loc4 */
  case 0x05:                               /* offset_extended */
    reg = uleb(c);
    rule(p, reg, SAVED_AT, (int64_t) uleb(c) * p->data_align);
    return true;
  case 0x06: restore(p, uleb(c)); return true; /* restore_extended */
  case 0x07: rule(p, uleb(c), SAVED_LOST, 0); return true; /* undefined */
  case 0x08: rule(p, uleb(c), SAVED_SAME, 0); return true; /* same_value */
  case 0x09:                                               /* register */
    rule(p, uleb(c), SAVED_LOST, 0);
    uleb(c);
    return true;
  case 0x0a: remember(p, c); return true; /* remember_state */
  case 0x0b: recall(p, c); return true;   /* restore_state */
  case 0x0c:                              /* def_cfa */
    reg = uleb(c);
    set_cfa(p, reg, (int64_t) uleb(c));
    return true;
  case 0x0d: set_cfa(p, uleb(c), p->row.cfa_offset); return true;
  case 0x0e: set_cfa(p, p->row.cfa_reg, (int64_t) uleb(c)); return true;
  case 0x0f: cfa_expression(p, c); return true;   /* def_cfa_expression */
  case 0x10: saved_expression(p, c); return true; /* expression */
  case 0x16:                                      /* val_expression */
    rule(p, uleb(c), SAVED_LOST, 0);
    skip(c, uleb(c));
    return true;
  case 0x11: /* offset_extended_sf */
    reg = uleb(c);
    rule(p, reg, SAVED_AT, sleb(c) * p->data_align);
    return true;
  case 0x12: /* def_cfa_sf */
    reg = uleb(c);
    set_cfa(p, reg, sleb(c) * p->data_align);
    return true;
  case 0x13: /* def_cfa_offset_sf */
    set_cfa(p, p->row.cfa_reg, sleb(c) * p->data_align);
    return true;
  case 0x2e: uleb(c); return true; /* GNU_args_size */
  default: c->bad = true; return false;
  }
}

static void run(struct program *p, struct cursor *c) {
  while (c->at < c->end && !c->bad) {
    unsigned op = (unsigned) get(c, 1), low = op & 0x3f;
    bool on = true;
    switch (op >> 6) {
    case 1: on = advance(p, low); break;
    case 2: rule(p, low, SAVED_AT, (int64_t) uleb(c) * p->data_align); break;
    case 3: restore(p, low); break;
    default: on = run_extended(p, c, op);
    }
    if (!on) return;
  }
}

/* ---- CIE and FDE ---- */

static struct cursor entry_cursor(const unsigned char *entry) {
  uint32_t length;
  __builtin_memcpy(&length, entry, 4);
  /* 0 ends the section; 0xffffffff begins a 64-bit entry: not ours */
  bool bad = length < 8 || length >= 0xfffffff0u;
  return (struct cursor){entry + 4, entry + 4 + (bad ? 0 : length), bad};
}

/* Read the CIE's parameters and run its instructions. */
static bool run_cie(struct program *p, const unsigned char *cie) {
  struct cursor c = entry_cursor(cie);
  skip(&c, 4);
  unsigned version = (unsigned) get(&c, 1);
  const char *aug = (const char *) c.at;
  while (!c.bad && get(&c, 1)) continue;
  if (c.bad || (version != 1 && version != 3) || aug[0] != 'z') return false;
  p->code_align = uleb(&c);
  p->data_align = sleb(&c);
  uint64_t ra = version == 1 ? get(&c, 1) : uleb(&c);
  uint64_t aug_bytes = uleb(&c);
  struct cursor a = c;
  skip(&c, aug_bytes);
  for (const char *s = aug + 1; *s && !a.bad; s++) {
    if (*s == 'R') {
      if (get(&a, 1) != ENC_PCREL_SDATA4) return false;
      break;
    }
    if (*s == 'L')
      get(&a, 1);
    else if (*s == 'P')
      skip(&a, (get(&a, 1) & 3) == 3 ? 4 : 8); /* s/udata4, else 8 bytes */
    else if (*s != 'S')
      return false;
  }
  p->target = UINTPTR_MAX;
  run(p, &c);
  return !c.bad && !a.bad && ra == REG_RA;
}

/* The row of the table for pc. */
static bool find_row(const unsigned char *hdr, uintptr_t pc, struct row *row) {
  const unsigned char *fde = fde_search(hdr, pc);
  if (!fde) return false;
  struct cursor c = entry_cursor(fde);
  const unsigned char *cie = c.at;
  int32_t to_cie = (int32_t) get(&c, 4);
  uintptr_t at = (uintptr_t) c.at;
  uintptr_t begin = at + (uintptr_t) (int64_t) (int32_t) get(&c, 4);
  uint32_t range = (uint32_t) get(&c, 4);
  if (c.bad || to_cie == 0 || pc < begin || pc - begin >= range) return false;
  struct program p = {.row = {.cfa_reg = UINT32_MAX}};
  if (!run_cie(&p, cie - to_cie)) return false;
  p.initial = p.row;
  p.loc = begin;
  p.target = pc;
  skip(&c, uleb(&c)); /* augmentation data */
  run(&p, &c);
  *row = p.row;
  return !c.bad;
}

/* ---- the step ---- */

MPGI_NO_SANITIZE static bool load(const struct mpgi_frame *f, uintptr_t at,
                                  uintptr_t lo, uintptr_t hi, uintptr_t *out) {
  if ((at & 7) || at < lo || at > hi - 8) return false;
  *out = *(const uintptr_t *) (at + f->shift);
  return true;
}

static bool find_cfa(const struct mpgi_frame *f, const struct row *row,
                     uintptr_t lo, uintptr_t hi, uintptr_t *cfa) {
  if (row->cfa_reg != REG_RSP && row->cfa_reg != REG_RBP) return false;
  uintptr_t base = row->cfa_reg == REG_RSP ? f->sp : f->fp;
  *cfa = base + (uintptr_t) row->cfa_offset;
  return !row->cfa_loaded || load(f, *cfa, lo, hi, cfa);
}

static bool find_fp(const struct mpgi_frame *f, const struct row *row,
                    uintptr_t lo, uintptr_t hi, uintptr_t cfa, uintptr_t *fp) {
  *fp = f->fp;
  switch (row->rbp) {
  case SAVED_SAME: return true;
  case SAVED_AT: return load(f, cfa + (uintptr_t) row->rbp_offset, lo, hi, fp);
  case SAVED_FROM_RBP:
    return load(f, f->fp + (uintptr_t) row->rbp_offset, lo, hi, fp);
  default: return false;
  }
}

enum mpgi_step mpgi_cfi_step(struct mpgi_frame *f, uintptr_t lo, uintptr_t hi) {
  struct row row;
  /* A return address may be one past its function: look at the call. */
  uintptr_t pc = f->is_return ? f->pc - 1 : f->pc;
  if (!find_row(mpgi_text_eh_hdr(pc), pc, &row)) return MPGI_STEP_UNKNOWN;
  if (row.ra_undefined) return MPGI_STEP_END;
  uintptr_t cfa, ra, fp;
  if (!find_cfa(f, &row, lo, hi, &cfa) || cfa <= f->sp ||
      !load(f, cfa - 8, lo, hi, &ra) || !find_fp(f, &row, lo, hi, cfa, &fp))
    return MPGI_STEP_UNKNOWN;
  *f = (struct mpgi_frame){ra, cfa, fp, true, f->shift};
  return MPGI_STEP_UP;
}
