/* splitnote.h - marks an object file as split-stack aware.
 *
 * Included by the build into every C file of the library (-include).  gold
 * and lld rewrite the prologue of a split-stack function that calls into an
 * object without the .note.GNU-split-stack section, so that it always takes a
 * large segment.  Calling mpg needs none: its entry points run on the entry
 * stubs' few hundred bytes and then on g0.  Assembler files carry the section
 * by hand.
 *
 * The files are not compiled with -fsplit-stack, so nothing here grows a
 * stack: the promise is kept by the rule that runtime code runs on g0.  The
 * second section, .note.GNU-no-split-stack, says that some functions have no
 * split-stack prologue; without it the linkers take a call from here to libc
 * for a prologue they failed to rewrite.
 */
#ifndef MPGI_SPLITNOTE_H
#define MPGI_SPLITNOTE_H

/* Off for the few files whose functions do need a large segment. */
#ifndef MPGI_NO_SPLIT_NOTE
__asm__(
    ".pushsection .note.GNU-split-stack,\"\",@progbits\n"
    ".popsection\n"
    ".pushsection .note.GNU-no-split-stack,\"\",@progbits\n"
    ".popsection\n");
#endif

#endif /* MPGI_SPLITNOTE_H */
