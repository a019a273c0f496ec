// EXPECT-EXIT: 0
// REJECT-STDERR: .
// ENV: MPG_DEBUG=gcverify=1,gcstress=500,clobberfree=1
#include <mpg.h>
#include <stdlib.h>

struct tree {
  struct tree *left, *right;
  long n;
};

static struct tree *tree_new(int depth, long n) {
  struct tree *t = mpg_alloc(sizeof(*t));
  if (!t) abort();
  t->n = n;
  if (depth > 0) {
    t->left = tree_new(depth - 1, 2 * n);
    t->right = tree_new(depth - 1, 2 * n + 1);
  }
  return t;
}

static void tree_check(const struct tree *t, int depth, long n) {
  if (t->n != n || !t->left != (depth == 0)) abort();
  if (depth == 0) return;
  tree_check(t->left, depth - 1, 2 * n);
  tree_check(t->right, depth - 1, 2 * n + 1);
}

static void start(void *arg) {
  (void) arg;
  struct tree *kept = tree_new(10, 1);
  for (int i = 0; i < 20; i++) tree_check(tree_new(8, 1), 8, 1);
  tree_check(kept, 10, 1);
}

int main(void) { return mpg_run(start, NULL); }
