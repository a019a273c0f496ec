/* stub.S - what a stub of arch/linux/libc.def consists of.
 *
 * tools/libc_stubs.sh includes this file, by the assembler's .include, into
 * one source for each function, so that a program gets only the stubs it
 * uses, and none for a function that it defines itself.
 *
 * A stub is hidden: it serves the program (or library) it is linked into;
 * other libraries go on to bind to the C library.  The function itself is
 * named by its versioned symbol, because the plain name is the stub's.  The
 * dynamic linker fills the slot before the program starts, with whatever it
 * finds first in its usual order: LD_PRELOAD's and jemalloc's malloc, too.
 *
 * Nothing but r11 may change on the way: arguments, al, the stack.
 *
 * mpg_abi_libc_call is reached through a slot, too, so that the same archive
 * serves libmpg.so; with libmpg.a the linker makes a direct jump of it.
 */
    .macro stub_begin name, version
    .symver mpgi_real_\name, \name@\version
    .text
    .p2align 4
    .globl \name
    .hidden \name
    .type \name, @function
\name:
    .cfi_startproc
    .endm

    .macro stub_end name
    .cfi_endproc
    .size \name, . - \name
    .section .note.GNU-split-stack, "", @progbits
    .section .note.GNU-no-split-stack, "", @progbits
    .section .note.GNU-stack, "", @progbits
    .endm

    .macro LEAF name, version
    stub_begin \name, \version
    jmp *mpgi_real_\name@GOTPCREL(%rip)
    stub_end \name
    .endm

    .macro SYSTEM name, version
    stub_begin \name, \version
    mov mpgi_real_\name@GOTPCREL(%rip), %r11
    jmp *mpg_abi_libc_call@GOTPCREL(%rip)
    stub_end \name
    .endm

    .macro SYSTEM_ARGS name, version
    stub_begin \name, \version
    mov mpgi_real_\name@GOTPCREL(%rip), %r11
    jmp *mpg_abi_libc_call_args@GOTPCREL(%rip)
    stub_end \name
    .endm

    .macro SYSTEM_DEEP name, version
    stub_begin \name, \version
    mov mpgi_real_\name@GOTPCREL(%rip), %r11
    jmp *mpg_abi_libc_call_deep@GOTPCREL(%rip)
    stub_end \name
    .endm

    .macro LOCK_STUB name, version, entry
    stub_begin \name, \version
    mov mpgi_real_\name@GOTPCREL(%rip), %r11
    jmp *mpg_abi_libc_\entry@GOTPCREL(%rip)
    stub_end \name
    .endm

    .macro lock_kind kind, entry
    .macro \kind name, version
    LOCK_STUB \name, \version, \entry
    .endm
    .endm

    lock_kind LOCK, lock
    lock_kind UNLOCK, unlock
    lock_kind HOLD, hold
    lock_kind HOLD_MUTEX, hold_mutex
    lock_kind HOLD_FILE, hold_file
    lock_kind DROP_MUTEX, drop_mutex
    lock_kind DROP_RWLOCK, drop_rwlock
    lock_kind DROP_FILE, drop_file

    .macro CHECKED name, version
    stub_begin \name, \version
    mov mpgi_real_\name@GOTPCREL(%rip), %r11
    cmp %rdx, %rcx
    jb 1f
    jmp *%r11
1:  jmp *mpg_abi_libc_call@GOTPCREL(%rip)
    stub_end \name
    .endm
