# bootsect.S: a boot sector that says on COM1 that it runs, reads and writes its disk by INT 13h (so by the driver that booted
# it), and leaves QEMU by its debug exit (port 0xf4): with 0x10 (exit status 33) if all went well, with 0x11 (35) if not.
# bootsect.b64 is made from it:
#   as --32 -o b.o bootsect.S && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o b.bin b.o && base64 b.bin >bootsect.b64
	.code16
	.globl _start
_start:	cli
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $0x7c00, %sp
	sti
	cld
	movb %dl, drive
	movw $hello, %si
	call puts
	# size of the disk
	movw $params, %si
	movb $0x48, %ah
	movb drive, %dl
	int $0x13
	jc bad
	movw $total, %si
	call puts
	movw params+18, %ax
	call hex
	movw params+16, %ax
	call hex
	movw $nl, %si
	call puts
	# read 64 sectors from sector 1 to 0x10000, sum their words
	movb $0x42, %ah
	call disk
	jc bad
	movw $0x1000, %ax
	movw %ax, %ds
	xorw %si, %si
	xorw %bx, %bx
	movw $16384, %cx
1:	lodsw
	addw %ax, %bx
	loop 1b
	xorw %ax, %ax
	movw %ax, %ds
	movw $sum, %si
	call puts
	movw %bx, %ax
	call hex
	movw $nl, %si
	call puts
	# write the same 64 sectors at sector 1000, each word inverted; read them back
	movw $0x1000, %ax
	movw %ax, %es
	xorw %di, %di
	movw $16384, %cx
2:	notw %es:(%di)
	addw $2, %di
	loop 2b
	xorw %ax, %ax
	movw %ax, %es
	movw $1000, dap+8
	movb $0x43, %ah
	call disk
	jc bad
	movw $0x2000, dap+6
	movb $0x42, %ah
	call disk
	jc bad
	movw $0x1000, %ax
	movw %ax, %ds
	movw $0x2000, %ax
	movw %ax, %es
	xorw %si, %si
	xorw %di, %di
	movw $16384, %cx
	repe cmpsw
	pushf
	xorw %ax, %ax
	movw %ax, %ds
	popf
	jne bad
	movw $okm, %si
	call puts
	movb $0x10, %al
	jmp out
bad:	xorw %ax, %ax
	movw %ax, %ds
	movw $badm, %si
	call puts
	movb $0x11, %al
out:	outb %al, $0xf4
3:	hlt
	jmp 3b
disk:	movw $dap, %si
	movb drive, %dl
	xorb %al, %al
	int $0x13
	ret
hex:	movw %ax, %dx
	movw $4, %cx
4:	rolw $4, %dx
	movb %dl, %al
	andb $15, %al
	addb $'0', %al
	cmpb $'9', %al
	jbe 5f
	addb $39, %al
5:	call putc
	loop 4b
	ret
puts:	lodsb
	testb %al, %al
	jz 6f
	call putc
	jmp puts
6:	ret
putc:	pushw %dx
	pushw %ax
	movw $0x3fd, %dx
7:	inb %dx, %al
	testb $0x20, %al
	jz 7b
	popw %ax
	movw $0x3f8, %dx
	outb %al, %dx
	popw %dx
	ret
hello:	.asciz "\r\nBOOTED-OVER-AOE\r\n"
total:	.asciz "SECTORS "
sum:	.asciz "SUM "
okm:	.asciz "READ-WRITE-OK\r\n"
badm:	.asciz "DISK-ERROR\r\n"
nl:	.asciz "\r\n"
drive:	.byte 0
	.balign 4
dap:	.byte 16, 0
	.word 64
	.word 0, 0x1000
	.long 1, 0
params:	.word 30
	.fill 28, 1, 0
	.org 510
	.word 0xaa55
