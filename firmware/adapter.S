/*
 * The ROM of an adapter on the ISA bus, 4 KiB at 0xd1000: it says that it was called, and leaves its mark in low memory.
 */
	.code16
	.section .text
	.globl	_start
	SIZE = 8				/* in 512 bytes */
	MARK = 0x4f0				/* the data area's bytes for programs that want to tell others something */

_start:	.byte	0x55, 0xaa, SIZE
	pushw	%ds
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%cs, MARK
	popw	%ds
	movw	$text, %si
1:	lodsb	%cs:(%si), %al
	testb	%al, %al
	jz	2f
	outb	%al, $0xe9
	movb	$0x0e, %ah
	movw	$7, %bx
	int	$0x10
	jmp	1b
2:	lretw

text:	.asciz	"Adapter ROM called\r\n"
	.org	SIZE * 512 - 1
	.byte	0				/* the checksum */
