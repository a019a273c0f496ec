/* split.S - what a linker made of a call of foreign code (split.h). */
#include <arch/x86_64/split.h>

    .text
MPGI_SPLIT_PROBE

SPLIT_NOTES
