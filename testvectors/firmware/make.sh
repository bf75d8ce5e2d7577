#!/bin/sh
# Writes the vectors of this directory again. Wants binutils-arm-none-eabi,
# binutils and srecord; lld.elf is left alone without ld.lld.
set -eu
export LC_ALL=C

arm-none-eabi-as -o app.o app.S
for image in app:0x08000000 slot:0x10200; do
	name=${image%:*}
	arm-none-eabi-ld -T app.ld --defsym BASE="${image#*:}" -o "$name.elf" app.o
	arm-none-eabi-objcopy -O ihex "$name.elf" "$name.hex"
	arm-none-eabi-objcopy -O srec "$name.elf" "$name.srec"
	arm-none-eabi-objcopy -O binary --gap-fill 0xff "$name.elf" "$name.bin"
done
if command -v ld.lld >/dev/null; then
	ld.lld -m armelf -z max-page-size=4096 -T app.ld --defsym BASE=0x10200 -o lld.elf app.o
fi
rm app.o

# low is 0xfff3-0x10104 and 0x10201-0x10202; high is the same at 0x08000000.
golden() {
	offset=$1
	shift
	srec_cat '(' -generate 0xfff3 0x10105 -repeat-string 'otapack golden' \
		-generate 0x10201 0x10203 -constant 0xa5 ')' -offset "$offset" -header golden "$@"
}
golden 0 -o low.hex -intel -line-length=44
golden 0 -o low-segmented.hex -intel -address-length=3
golden 0 -o low.srec -motorola -line-length=44
golden 0 -o low-s37.srec -motorola -address-length=4
golden 0x08000000 -o high.hex -intel -line-length=44
golden 0x08000000 -o high.srec -motorola -line-length=44
for name in low high; do
	objcopy -I srec -O ihex "$name.srec" "$name-objcopy.hex"
done
srec_cat wrap02.hex -intel -o wrap02.srec -motorola -header golden
chmod 644 ./*.bin ./*.elf ./*.hex ./*.srec
