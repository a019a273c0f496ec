/* tls_library.c - a library with thread-local storage, built twice: with the
 * dynamic model (block from malloc) and with the static one (block in the
 * surplus below the thread pointer). */
int *tls_library_word(void);

static _Thread_local int filler[100];
static _Thread_local int word;

int *tls_library_word(void) {
  filler[word & 63]++;
  return &word;
}
