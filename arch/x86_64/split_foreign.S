/* split_foreign.S - what split.h's probe calls: without the note. */
#include <arch/x86_64/asm.h>

    .text
HIDDEN_FUNCTION(mpgi_split_foreign)
    .cfi_startproc
    ret
    .cfi_endproc
END_FUNCTION(mpgi_split_foreign)

    .section .note.GNU-stack, "", @progbits
