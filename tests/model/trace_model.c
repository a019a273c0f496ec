/* trace_model.c - trace rings (arch/common/trace.c): in order, once, whole,
 * and what is missing is counted where it is missing.
 *
 * The real code, with rings of 4 slots.  Producers emit numbers, one at a
 * time, as the ownership of a P passes on; the writer takes them meanwhile
 * and at the end.
 */
#define MPGI_TRACE_SLOTS 4

#include "model.h"

#include <arch/common/trace.c>

static struct mpgi_trace_ring ring;
static _Atomic uint32_t owner; /* of the P */
static uint8_t emitted;        /* the last number; under owner */
static uint8_t taken;          /* the writer: the last number seen */

static struct mpg_m *model_m(void) { return NULL; }

_Atomic bool mpgi_arch_ticks_tsc;
uint64_t mpgi_arch_ticks_slow(void) { return 1; }

static void setup(void) {
  explore_constant(&mpgi_arch_ticks_tsc, sizeof mpgi_arch_ticks_tsc);
  explore_name(&ring.tail, 8, "tail");
  explore_name(&ring.head, 8, "head");
  explore_name(&owner, 4, "owner");
  explore_name(ring.slot, sizeof ring.slot, "slots");
}

static void produce(int n) {
  while (n--) {
    explore_lock(&owner);
    uint64_t number = (uint64_t) emitted + 1;
    uint64_t tail = ring.tail;
    uint64_t id = mpgi_trace_emit_at(
        &ring, 1, mpgi_trace_what(MPGI_TRACE_G_YIELD, 7, number), number,
        ~number);
    explore_require(id == 0 || id > mpgi_trace_record_id(&ring, tail) - 1);
    emitted++;
    explore_unlock(&owner);
  }
}

static void look_at(const struct mpgi_trace_record *r) {
  explore_require(r->ticks == 1);
  if (mpgi_trace_event_of(r->what) == MPGI_TRACE_LOST) {
    explore_require(r->a > 0);
    taken += (uint8_t) r->a;
    return;
  }
  explore_require(mpgi_trace_event_of(r->what) == MPGI_TRACE_G_YIELD);
  explore_require(mpgi_trace_m_of(r->what) == 7);
  explore_require(r->a == taken + 1u && r->b == ~r->a);
  explore_require(mpgi_trace_g_of(r->what) == r->a);
  taken++;
}

static void take(int times) {
  struct mpgi_trace_record out[3];
  uint64_t first;
  while (times--) {
    size_t n = mpgi_trace_take(&ring, out, 3, 1, &first);
    for (size_t i = 0; i < n; i++) look_at(&out[i]);
  }
}

static void at_end(void) {
  take(2);
  explore_require(ring.tail == ring.head);
  explore_require(taken + ring.lost == emitted);
}

static const struct explore_config configs[] = {
    {.name = "trace.one_producer_fills_the_ring",
     .thread = {{"producer", produce, 7, false}, {"writer", take, 2, false}}},
    {.name = "trace.the_ring_passes_from_owner_to_owner",
     .thread = {{"producer", produce, 3, false},
                {"producer2", produce, 3, false},
                {"writer", take, 1, false}}},
};

static const struct {
  int config;
  struct explore_mutant mutant;
} wrong[] = {
    {0, {"mpgi_trace_put", EXPLORE_STORE, EXPLORE_RELAX, &ring.tail}},
    {0, {"mpgi_trace_take", EXPLORE_STORE, EXPLORE_SKIP, NULL}},
    {0, {"mpgi_trace_put", EXPLORE_STORE, EXPLORE_SKIP, &ring.slot[1][2]}},
};

int main(void) {
  struct explore_config c;
  for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
    c = configs[i];
    c.setup = setup;
    c.at_end = at_end;
    c.memory = EXPLORE_TSO;
    explore_pass(&c);
    c.memory = EXPLORE_PSO;
    explore_pass(&c);
  }
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    c = configs[wrong[i].config];
    c.setup = setup;
    c.at_end = at_end;
    c.memory = EXPLORE_PSO;
    c.mutant = &wrong[i].mutant;
    explore_fail_with(&c, "");
  }
  return explore_status();
}
