/*
 * The display's ROM, 52 KiB: text mode 3 and interrupt 0x10.  The system ROM copies it to 0xc0000 and calls its entry.
 *
 * Interrupt 0x10, by AH: 00 set mode (clears), 02 and 03 set and get the cursor, 06 scroll up, 09 character and attribute,
 * 0e teletype, 0f get mode.  Others change nothing.  The mode is at 0x449, the cursor at 0x450, as always.
 */
	.code16
	.section .text
	.globl	_start
	SIZE = 104				/* in 512 bytes */
	MODE = 0x449; COLUMNS = 0x44a; CURSOR = 0x450
	WIDTH = 80; LINES = 25

_start:	.byte	0x55, 0xaa, SIZE
	jmp	init
	.org	0x18
	.word	pcir
	.org	0x20
pcir:	.ascii	"PCIR"
	.word	0x1234, 0x1111, 0, 0x18
	.byte	0, 0, 0, 3			/* revision of the structure, class 030000 */
	.word	SIZE, 1
	.byte	0, 0x80
	.word	0

init:	pushw	%ds
	pushw	%es
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	$service, 0x40
	movw	%cs, 0x42
	movw	$0x0003, %ax
	int	$0x10
	movw	$text, %si
1:	lodsb	%cs:(%si), %al
	testb	%al, %al
	jz	2f
	movb	$0x0e, %ah
	int	$0x10
	jmp	1b
2:	popw	%es
	popw	%ds
	lretw

service:
	cld
	pushaw
	pushw	%ds
	pushw	%es
	xorw	%bp, %bp
	movw	%bp, %ds
	movw	$0xb800, %bp
	movw	%bp, %es
	movw	%sp, %bp
	cmpb	$0x0e, %ah
	je	teletype
	cmpb	$0x00, %ah
	je	set_mode
	cmpb	$0x02, %ah
	je	set_cursor
	cmpb	$0x03, %ah
	je	get_cursor
	cmpb	$0x06, %ah
	je	scroll_up
	cmpb	$0x09, %ah
	je	write
	cmpb	$0x0f, %ah
	je	get_mode
done:	popw	%es
	popw	%ds
	popaw
	iretw

set_mode:
	movb	$3, MODE
	movw	$WIDTH, COLUMNS
	movw	$0x3d4, 0x463
	movb	$LINES - 1, 0x484
	movw	$0, CURSOR
	xorw	%di, %di
	movw	$WIDTH * LINES, %cx
	movw	$0x0720, %ax
	rep	stosw
	jmp	done
set_cursor:
	movw	%dx, CURSOR
	jmp	done
get_cursor:				/* into the caller's DX and CX, which PUSHA has saved */
	movw	CURSOR, %ax
	movw	%ax, 14(%bp)
	movw	$0x0607, 16(%bp)
	jmp	done
get_mode:
	movb	MODE, %al
	movb	$WIDTH, %ah
	movw	%ax, 18(%bp)
	movb	$0, 13(%bp)
	jmp	done
scroll_up:
	call	scroll
	jmp	done
/* AL with attribute BL, CX times, at the cursor. */
write:
	call	place
	movb	%bl, %ah
	rep	stosw
	jmp	done

/* AL at the cursor, which goes on; carriage return, line feed and backspace do what they say. */
teletype:
	movw	CURSOR, %dx
	cmpb	$'\r', %al
	je	1f
	cmpb	$'\n', %al
	je	2f
	cmpb	$8, %al
	je	5f
	call	place
	movb	$7, %ah
	stosw
	incb	%dl
	cmpb	$WIDTH, %dl
	jb	4f
	xorb	%dl, %dl
2:	incb	%dh
	cmpb	$LINES, %dh
	jb	4f
	movb	$LINES - 1, %dh
	pushw	%dx
	call	scroll
	popw	%dx
	jmp	4f
1:	xorb	%dl, %dl
	jmp	4f
5:	testb	%dl, %dl
	jz	4f
	decb	%dl
4:	movw	%dx, CURSOR
	jmp	done

/* DI becomes the cursor's place on the screen. */
place:	pushw	%ax
	movw	CURSOR, %dx
	movb	$WIDTH, %al
	mulb	%dh
	movzbw	%dl, %di
	addw	%ax, %di
	shlw	$1, %di
	popw	%ax
	ret
/* All lines one up, the last one empty. */
scroll:	pushw	%ds
	movw	%es, %ax
	movw	%ax, %ds
	movw	$WIDTH * 2, %si
	xorw	%di, %di
	movw	$WIDTH * (LINES - 1), %cx
	rep	movsw
	movw	$WIDTH, %cx
	movw	$0x0720, %ax
	rep	stosw
	popw	%ds
	ret

text:	.asciz	"nopage display ROM: text, 80 by 25\r\n"
	.org	SIZE * 512 - 1
	.byte	0				/* the checksum: build.py makes the sum of all bytes 0 */
