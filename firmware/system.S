/*
 * The system ROM: 64 KiB at 0xf0000, run by the processor from its reset vector in real mode.
 *
 * Power-on test, memory map, PCI enumeration, option ROMs; then it halts, and the kernel takes over what it finds:
 *
 *   0x00500  "SMAP", the number of entries, and the memory map: base, length (8 bytes each), type (1 RAM, 2 reserved)
 *   0xb8000  the text screen
 *   0xc0000  the video ROM's copy; other option ROMs where the board has them
 *   config space of all PCI functions: bus numbers, windows, BARs, interrupt lines
 *
 * Port 0x80 has the code of the step, at the end DONE, or what went wrong.  Port 0xe9 gets what is printed as well: a
 * board without a display has no other voice.  What a person would set up is in the CMOS (machine/hardware/chipset.py).
 */
	.code16
	.section .text
	.globl	_start

/* Steps, as port 0x80 shows them. */
	MEMORY = 0x10; MAP = 0x20; PCI = 0x30; VIDEO = 0x40; ROMS = 0x50; DONE = 0xaa
	BAD_MEMORY = 0xe0; BAD_PCI = 0xe1

/* Low memory. */
	SMAP = 0x500
	NEXT_BUS = 0x780; BRIDGES = 0x781; WIRE = 0x782; HAVE_VIDEO = 0x783; FLAGS = 0x784; NERRORS = 0x786; NFOUND = 0x788; NEXT_ROM = 0x78a
	WIN0 = 0x790; WIN1 = 0x7b0		/* what is left of a bus's windows */
	ERRORS = 0x800				/* function and BAR of each that got no room */
	FOUND = 0x900				/* functions, as port 0xcf8 has them */
	MEM_BASE = 0; MEM_TOP = 4; PREF_BASE = 8; PREF_TOP = 12; IO_BASE = 16; IO_TOP = 20
	MAX_ERRORS = 32; MAX_FOUND = 128

	.macro	POST code
	movb	$\code, %al
	outb	%al, $0x80
	.endm

	.macro	PRINT text
	movw	$\text, %si
	call	print
	.endm

_start:
	cli
	cld
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$0x7c00, %sp
	call	flat
	call	vectors
	POST	MEMORY
	call	test_memory
	POST	MAP
	call	memory_map
	POST	PCI
	call	enumerate
	POST	VIDEO
	movw	$0xc000, %ax			/* a video ROM first: then there is a screen */
	movw	$0xc800, %cx
	call	scan_roms
	PRINT	banner
	call	report_memory
	call	report_pci
	POST	ROMS
	movw	NEXT_ROM, %ax
	movw	$0xf000, %cx
	call	scan_roms
	cmpw	$0, NERRORS
	jne	1f
	PRINT	ready
	POST	DONE
	jmp	halt
1:	POST	BAD_PCI
halt:	cli
	hlt
	jmp	halt

/* FS reaches all 4 GiB: loaded in protected mode, its limit stays when real mode is back. */
flat:
	lgdtl	%cs:gdt_register
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	movw	$8, %bx
	movw	%bx, %fs
	andb	$0xfe, %al
	movl	%eax, %cr0
	ret

/* All interrupts lead to an iret until somebody has them. */
vectors:
	xorw	%di, %di
	movw	$256, %cx
1:	movw	$nothing, (%di)
	movw	$0xf000, 2(%di)
	addw	$4, %di
	loop	1b
	ret
nothing:
	iretw

/* -- memory ------------------------------------------------------------------------------------------------- */

/* One word of each page below 640 KiB, twice; what was there comes back. */
test_memory:
	movl	$0x8000, %esi
1:	movl	%fs:(%esi), %edx
	movl	$0x55aa55aa, %eax
	movl	%eax, %fs:(%esi)
	cmpl	%eax, %fs:(%esi)
	jne	bad_memory
	notl	%eax
	movl	%eax, %fs:(%esi)
	cmpl	%eax, %fs:(%esi)
	jne	bad_memory
	movl	%edx, %fs:(%esi)
	addl	$0x1000, %esi
	cmpl	$0xa0000, %esi
	jb	1b
	movw	$640, 0x413			/* as the BIOS data area has it, in KiB */
	ret
bad_memory:
	PRINT	memory_failed
	movl	%esi, %eax
	call	hex8
	call	newline
	POST	BAD_MEMORY
	jmp	halt

/* The byte of CMOS register AL, to AL; registers AL and AL + 1 as a word, to AX. */
cmos:
	outb	%al, $0x70
	inb	$0x71, %al
	ret
cmos_word:
	pushw	%cx
	movb	%al, %cl
	incb	%al
	call	cmos
	movb	%al, %ch
	movb	%cl, %al
	call	cmos
	movb	%ch, %ah
	popw	%cx
	ret

/* EAX: KiB of RAM from 1 MiB to 4 GiB. */
extended:
	xorl	%eax, %eax
	movb	$0x34, %al			/* above 16 MiB, in pieces of 64 KiB */
	call	cmos_word
	shll	$6, %eax
	addl	$15 * 1024, %eax
	ret

memory_map:
	movl	$0x50414d53, SMAP
	movl	$0, SMAP + 4
	movw	$SMAP + 8, %di
	xorl	%eax, %eax
	xorl	%ecx, %ecx
	movl	$0xa0000, %edx
	movb	$1, %bl
	call	map_entry
	movl	$0xf0000, %eax
	movl	$0x10000, %edx
	movb	$2, %bl
	call	map_entry
	call	extended
	movl	%eax, %edx
	shll	$10, %edx
	movl	$0x100000, %eax
	movb	$1, %bl
	call	map_entry
	movb	$0x5b, %al			/* above 4 GiB, in pieces of 64 KiB, 24 bits */
	call	cmos_word
	movzwl	%ax, %edx
	movb	$0x5d, %al
	call	cmos
	movzbl	%al, %eax
	shll	$16, %eax
	orl	%eax, %edx
	jz	1f
	movl	%edx, %esi
	shrl	$16, %esi			/* high half of the length */
	shll	$16, %edx
	xorl	%eax, %eax
	movl	$1, %ecx
	movb	$1, %bl
	call	map_entry
	movl	%esi, -8(%di)
1:	ret
/* An entry: base ECX:EAX, length EDX, type BL. */
map_entry:
	movl	%eax, (%di)
	movl	%ecx, 4(%di)
	movl	%edx, 8(%di)
	movl	$0, 12(%di)
	movzbl	%bl, %ebx
	movl	%ebx, 16(%di)
	addw	$20, %di
	incl	SMAP + 4
	ret

/* -- PCI ---------------------------------------------------------------------------------------------------- */

/* Register DI of the function EBX: DX becomes its port. */
pci_port:
	pushl	%eax
	movl	%ebx, %eax
	movw	%di, %dx
	andb	$0xfc, %dl
	movb	%dl, %al
	movw	$0xcf8, %dx
	outl	%eax, %dx
	movw	%di, %dx
	andw	$3, %dx
	addw	$0xcfc, %dx
	popl	%eax
	ret
pci_read:
	call	pci_port
	inl	%dx, %eax
	ret
pci_read_byte:
	call	pci_port
	inb	%dx, %al
	ret
pci_write:
	call	pci_port
	outl	%eax, %dx
	ret
pci_write_word:
	call	pci_port
	outw	%ax, %dx
	ret
pci_write_byte:
	call	pci_port
	outb	%al, %dx
	ret

enumerate:
	movb	$0, NEXT_BUS
	movb	$0, BRIDGES
	movb	$0, WIRE
	movb	$0, HAVE_VIDEO
	movw	$0, NERRORS
	movw	$0, NFOUND
	movb	$0x40, %cl
	movw	$WIN0, %bp
	call	read_windows
	movl	$0x80000000, %ebx
	jmp	scan_bus

/* The windows of a bus from CMOS registers CL on into the structure at BP: memory, prefetchable, I/O.  0: none. */
read_windows:
	movw	$2, %dx
	movw	%bp, %si
1:	movb	%cl, %al
	call	cmos_word
	shll	$16, %eax
	movl	%eax, (%si)
	addb	$2, %cl
	movb	%cl, %al
	call	cmos_word			/* the last MiB: the top is the next one's start */
	shll	$16, %eax
	jz	2f
	addl	$0x100000, %eax
2:	movl	%eax, 4(%si)
	addb	$2, %cl
	addw	$8, %si
	decw	%dx
	jnz	1b
	movb	%cl, %al
	call	cmos_word
	movzbl	%al, %edx
	shll	$8, %edx
	movl	%edx, (%si)
	movzbl	%ah, %edx
	shll	$8, %edx
	jz	3f
	addl	$0x1000, %edx
3:	movl	%edx, 4(%si)
	ret

/* All functions of the bus in EBX, with the windows at BP. */
scan_bus:
	xorw	%di, %di
	call	pci_read
	cmpw	$0xffff, %ax
	je	3f
	movw	NFOUND, %si
	cmpw	$MAX_FOUND, %si
	jae	1f
	shlw	$2, %si
	movl	%ebx, FOUND(%si)
	incw	NFOUND
1:	movw	$0x0e, %di
	call	pci_read_byte
	pushw	%ax
	testb	$0x7f, %al
	jnz	2f
	call	card
	jmp	4f
2:	call	bridge
4:	popw	%ax
	testb	$7, %bh
	jnz	5f
	testb	$0x80, %al			/* further functions only where the first says so */
	jnz	5f
	orb	$7, %bh
	jmp	5f
3:	testb	$7, %bh
	jnz	5f
	orb	$7, %bh
5:	incb	%bh
	jnz	scan_bus
	ret

/* A bridge on bus 0: a number for the bus behind it, its windows; then what is there.  Deeper ones stay closed. */
bridge:
	testl	$0x00ff0000, %ebx
	jnz	9f
	incb	NEXT_BUS
	movw	$0x18, %di
	xorb	%al, %al
	call	pci_write_byte
	movw	$0x19, %di
	movb	NEXT_BUS, %al
	call	pci_write_byte
	movw	$0x1a, %di
	movb	$0xff, %al
	call	pci_write_byte
	pushw	%bp
	movb	BRIDGES, %al
	incb	BRIDGES
	movb	$10, %cl
	mulb	%cl
	addb	$0x60, %al
	movb	%al, %cl
	movw	$WIN1, %bp
	call	read_windows
	movw	$0x20, %di
	movl	WIN1 + MEM_BASE, %eax
	movl	WIN1 + MEM_TOP, %ecx
	call	open_window
	movw	$0x24, %di
	movl	WIN1 + PREF_BASE, %eax
	movl	WIN1 + PREF_TOP, %ecx
	call	open_window
	movl	WIN1 + IO_TOP, %ecx
	testl	%ecx, %ecx
	jz	1f
	movw	$0x1c, %di
	movl	WIN1 + IO_BASE, %eax
	movb	%ah, %al
	call	pci_write_byte
	movw	$0x1d, %di
	movl	%ecx, %eax
	decl	%eax
	movb	%ah, %al
	call	pci_write_byte
1:	movw	$4, %di
	movw	$7, %ax				/* ports, memory, master: what comes from behind gets through */
	call	pci_write_word
	pushl	%ebx
	movb	%bh, %al
	shrb	$3, %al
	movb	%al, WIRE			/* the wires behind it are turned by its slot */
	movzbl	NEXT_BUS, %ebx
	shll	$16, %ebx
	orl	$0x80000000, %ebx
	call	scan_bus
	popl	%ebx
	popw	%bp
	movb	$0, WIRE
	movw	$0x1a, %di
	movb	NEXT_BUS, %al
	call	pci_write_byte
	ret
9:	movw	$0xff, %cx
	jmp	no_room

/* Base and limit at DI from EAX and ECX, unless the window is closed. */
open_window:
	testl	%ecx, %ecx
	jz	1f
	shrl	$16, %eax
	call	pci_write_word
	addw	$2, %di
	decl	%ecx
	movl	%ecx, %eax
	shrl	$16, %eax
	call	pci_write_word
1:	ret

/* A card: an address for each BAR, its ROM when it is the first display, its interrupt line, its command register. */
card:
	movw	$0, FLAGS
	movw	$0x10, %di
1:	movl	$0xffffffff, %eax
	call	pci_write
	call	pci_read
	testl	%eax, %eax
	jz	4f
	testb	$1, %al
	jnz	2f
	call	place_memory
	jmp	4f
2:	call	place_ports
4:	addw	$4, %di
	cmpw	$0x28, %di
	jb	1b
	movw	$8, %di
	call	pci_read
	shrl	$16, %eax
	cmpw	$0x0300, %ax
	jne	5f
	cmpb	$0, HAVE_VIDEO
	jne	5f
	call	shadow_rom
5:	movw	$0x3d, %di
	call	pci_read_byte
	testb	%al, %al
	jz	6f
	decb	%al
	movb	%bh, %ah
	shrb	$3, %ah
	addb	%ah, %al
	addb	WIRE, %al
	andb	$3, %al
	addb	$0x4c, %al			/* the board's four wires */
	call	cmos
	movw	$0x3c, %di
	call	pci_write_byte
6:	movw	$4, %di
	movw	FLAGS, %ax
	call	pci_write_word
	ret

/* The mask EAX of a BAR for memory at DI: from the top of a window down, each at a MiB of its own. */
place_memory:
	orw	$2, FLAGS
	movw	$MEM_BASE, %si
	testb	$8, %al
	jz	1f
	cmpl	$0, PREF_TOP(%bp)
	je	1f
	movw	$PREF_BASE, %si
1:	pushw	%ax
	andb	$0xf0, %al
	movl	%eax, %ecx
	negl	%ecx				/* its size */
	call	room
	popw	%dx
	jnc	2f
	pushw	%dx
	call	no_room_here
	popw	%dx
	xorl	%eax, %eax
2:	pushw	%dx
	call	pci_write
	popw	%dx
	testb	$4, %dl				/* 64 bits: the upper half is a register too */
	jz	3f
	addw	$4, %di
	xorl	%eax, %eax
	call	pci_write
3:	ret

/* Room for ECX bytes in the window SI of BP: EAX is the address; carry set when there is none. */
room:
	pushl	%edx
	movl	%ecx, %edx
	cmpl	$0x100000, %edx
	jae	1f
	movl	$0x100000, %edx
1:	negl	%edx				/* mask of its alignment */
	movl	4(%bp,%si), %eax
	subl	%ecx, %eax
	jc	2f
	andl	%edx, %eax
	cmpl	(%bp,%si), %eax
	jc	2f
	movl	%eax, 4(%bp,%si)
	clc
2:	popl	%edx
	ret

place_ports:
	orw	$1, FLAGS
	andb	$0xfc, %al
	movl	%eax, %ecx
	negl	%ecx
	movzwl	%cx, %ecx
	movl	IO_TOP(%bp), %eax
	subl	%ecx, %eax
	jc	1f
	movl	%ecx, %edx
	negl	%edx
	andl	%edx, %eax
	cmpl	IO_BASE(%bp), %eax
	jc	1f
	movl	%eax, IO_TOP(%bp)
	jmp	pci_write
1:	call	no_room_here
	xorl	%eax, %eax
	jmp	pci_write

/* Note that the BAR at DI (CX: another number) of EBX is left without an address. */
no_room_here:
	movw	%di, %cx
	subw	$0x10, %cx
	shrw	$2, %cx
no_room:
	movw	NERRORS, %si
	cmpw	$MAX_ERRORS, %si
	jae	1f
	shlw	$2, %si
	movl	%ebx, ERRORS(%si)
	movb	%cl, ERRORS(%si)
	incw	NERRORS
1:	ret

/* Copy the display's ROM to 0xc0000. */
shadow_rom:
	movw	$0x30, %di
	movl	$0xfffff800, %eax
	call	pci_write
	call	pci_read
	andl	$0xfffff800, %eax
	jz	2f
	movl	%eax, %ecx
	negl	%ecx
	movw	$MEM_BASE, %si
	pushl	MEM_TOP(%bp)
	call	room
	popl	MEM_TOP(%bp)			/* for a moment only */
	jc	2f
	movl	%eax, %esi
	orb	$1, %al
	call	pci_write
	movw	$4, %di
	movw	$2, %ax
	call	pci_write_word
	cmpw	$0xaa55, %fs:(%esi)
	jne	1f
	movzbl	%fs:2(%esi), %ecx
	cmpb	$0x80, %cl			/* 64 KiB are ours for it */
	ja	1f
	shll	$7, %ecx			/* 512 bytes are 128 double words */
	movl	$0xc0000, %edx
3:	movl	%fs:(%esi), %eax
	movl	%eax, %fs:(%edx)
	addl	$4, %esi
	addl	$4, %edx
	decl	%ecx
	jnz	3b
	movb	$1, HAVE_VIDEO
1:	movw	$4, %di
	xorw	%ax, %ax
	call	pci_write_word
2:	movw	$0x30, %di
	xorl	%eax, %eax
	call	pci_write
	ret

/* -- option ROMs -------------------------------------------------------------------------------------------- */

/* From segment AX to CX in steps of 2 KiB: signature, size, checksum, and a far call to what is right. */
scan_roms:
	cmpw	%cx, %ax
	jae	9f
	movw	%ax, %es
	cmpw	$0xaa55, %es:0
	jne	8f
	pushw	%cx
	pushw	%ax
	movzbl	%es:2, %ecx
	shll	$9, %ecx
	movzwl	%ax, %esi
	shll	$4, %esi
	xorb	%al, %al
	pushl	%ecx
1:	testl	%ecx, %ecx
	jz	2f
	addb	%fs:(%esi), %al
	incl	%esi
	decl	%ecx
	jmp	1b
2:	popl	%ecx
	testl	%ecx, %ecx
	jz	5f
	testb	%al, %al
	jnz	5f
	pushl	%ecx
	call	3f
	popl	%ecx
	popw	%ax
	popw	%dx
	shrl	$4, %ecx			/* go on behind it, at the next 2 KiB */
	addw	%cx, %ax
	addw	$0x7f, %ax
	andw	$0xff80, %ax
	movw	%dx, %cx
	jmp	scan_roms
3:	pushw	%bp				/* the ROM may change everything but the stack */
	movw	%sp, %bp
	movw	8(%bp), %ax			/* its segment: above BP, our return address and ECX */
	movw	%ax, 0x772
	movw	$3, 0x770
	lcallw	*0x770
	popw	%bp
	cli
	cld
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	jmp	flat
5:	PRINT	rom_at
	popw	%ax
	pushw	%ax
	call	hex4
	PRINT	bad_rom
	popw	%ax
	popw	%cx
8:	addw	$0x80, %ax
	jmp	scan_roms
9:	movw	%ax, NEXT_ROM			/* behind the last one, which may reach beyond CX */
	xorw	%ax, %ax
	movw	%ax, %es
	ret

/* -- what a person sees --------------------------------------------------------------------------------------- */

report_memory:
	PRINT	memory_is
	call	extended
	addl	$1024, %eax
	call	decimal
	PRINT	memory_ok
	ret

report_pci:
	xorw	%si, %si
1:	cmpw	NFOUND, %si
	jae	2f
	pushw	%si
	shlw	$2, %si
	movl	FOUND(%si), %ebx
	PRINT	pci
	call	slot
	movb	$' ', %al
	call	putc
	xorw	%di, %di
	call	pci_read
	pushl	%eax
	call	hex4
	movb	$':', %al
	call	putc
	popl	%eax
	shrl	$16, %eax
	call	hex4
	PRINT	class
	movw	$8, %di
	call	pci_read
	shrl	$16, %eax
	call	hex4
	movw	$0x3c, %di
	call	pci_read
	testb	%ah, %ah
	jz	3f
	pushw	%ax
	PRINT	irq
	popw	%ax
	movzbl	%al, %eax
	call	decimal
3:	call	newline
	popw	%si
	incw	%si
	jmp	1b
2:	xorw	%si, %si
4:	cmpw	NERRORS, %si
	jae	5f
	pushw	%si
	shlw	$2, %si
	movl	ERRORS(%si), %ebx
	cmpb	$0xff, %bl
	je	6f
	pushw	%bx
	PRINT	pci
	call	slot
	PRINT	no_room_for
	popw	%bx
	movzbl	%bl, %eax
	call	decimal
	call	newline
	jmp	7f
6:	PRINT	pci
	call	slot
	PRINT	too_deep
7:	popw	%si
	incw	%si
	jmp	4b
5:	ret

/* bus:device.function of EBX. */
slot:
	movl	%ebx, %eax
	shrl	$16, %eax
	call	hex2
	movb	$':', %al
	call	putc
	movb	%bh, %al
	shrb	$3, %al
	call	hex2
	movb	$'.', %al
	call	putc
	movb	%bh, %al
	andb	$7, %al
	addb	$'0', %al
	jmp	putc

/* The text at CS:SI. */
print:
	lodsb	%cs:(%si), %al
	testb	%al, %al
	jz	1f
	call	putc
	jmp	print
1:	ret

/* One character: the console port, and the display when a ROM has taken interrupt 0x10. */
putc:
	outb	%al, $0xe9
	pushal
	movb	$0x0e, %ah
	movw	$7, %bx
	int	$0x10
	popal
	ret
newline:
	movb	$'\r', %al
	call	putc
	movb	$'\n', %al
	jmp	putc

hex8:	pushl	%eax
	shrl	$16, %eax
	call	hex4
	popl	%eax
hex4:	pushw	%ax
	movb	%ah, %al
	call	hex2
	popw	%ax
hex2:	pushw	%ax
	shrb	$4, %al
	call	1f
	popw	%ax
1:	pushw	%ax
	andb	$15, %al
	cmpb	$10, %al
	jb	2f
	addb	$'a' - 10 - '0', %al
2:	addb	$'0', %al
	call	putc
	popw	%ax
	ret

/* EAX, in decimal. */
decimal:
	xorw	%cx, %cx
	movl	$10, %esi
1:	xorl	%edx, %edx
	divl	%esi
	pushw	%dx
	incw	%cx
	testl	%eax, %eax
	jnz	1b
2:	popw	%ax
	addb	$'0', %al
	call	putc
	loop	2b
	ret

banner:		.asciz	"nopage system ROM\r\n\n"
memory_is:	.asciz	"Memory "
memory_ok:	.asciz	" KiB: OK\r\n"
memory_failed:	.asciz	"Memory: what was written did not come back at "
pci:		.asciz	"PCI "
class:		.asciz	" class "
irq:		.asciz	", interrupt "
no_room_for:	.asciz	": no room in the bus's windows for BAR "
too_deep:	.asciz	": a bridge behind a bridge stays closed\r\n"
rom_at:		.asciz	"Option ROM at segment "
bad_rom:	.asciz	": bad checksum or size, skipped\r\n"
ready:		.asciz	"\nReady.\r\n"

	.balign	8
gdt:	.quad	0
	.quad	0x00cf92000000ffff		/* data, base 0, 4 GiB */
gdt_register:
	.word	15
	.long	0xf0000 + gdt

	.org	0xfff0
	ljmpw	$0xf000, $_start
	.ascii	"11/21/26"
	.org	0x10000
