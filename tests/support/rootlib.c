/* rootlib.c - a library with writable memory, for dlopen: its globals are
 * roots once it is loaded. */
void *rootlib_bss[4];
void *rootlib_data[4] = {(void *) 1, (void *) 2, (void *) 3, (void *) 4};
_Thread_local void *rootlib_tls[4];

void rootlib_tls_set(int i, void *p);
void rootlib_tls_set(int i, void *p) { rootlib_tls[i] = p; }
