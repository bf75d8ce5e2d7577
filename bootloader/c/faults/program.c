/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void die(const char *what, const char *why)
{
    fprintf(stderr, "campaign: %s: %s\n", what, why);
    exit(2);
}

static void *read_file(const char *name, size_t *size)
{
    FILE *f = fopen(name, "rb");
    uint8_t *data = malloc(1 << 20);

    if (!f || !data)
        die(name, "cannot be read");
    *size = fread(data, 1, 1 << 20, f);
    fclose(f);
    return data;
}

void load(const char *name, struct program *p)
{
    size_t size;
    uint8_t *file = read_file(name, &size);
    const Elf32_Ehdr *head = (void *)file;
    const Elf32_Phdr *segments = (void *)(file + head->e_phoff);
    const Elf32_Shdr *sections = (void *)(file + head->e_shoff);
    const struct {
        const char *name;
        uint32_t *value;
    } wanted[] = {
        {"start", &p->start},   {"attacked", &p->attacked}, {"subject", &p->subject},
        {"booted", &p->booted}, {"stopped", &p->stopped},
    };

    if (size < sizeof *head || memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_machine != EM_ARM)
        die(name, "not an ELF file for Arm");
    memset(p->code.flash, 0xff, sizeof p->code.flash); /* erased */
    for (int i = 0; i < head->e_phnum; i++) {
        const Elf32_Phdr *s = &segments[i];

        if (s->p_type != PT_LOAD || s->p_filesz == 0)
            continue;
        if (s->p_vaddr < FLASH || s->p_vaddr + s->p_filesz > FLASH + FLASH_SIZE)
            die(name, "a segment lies outside of the flash");
        memcpy(p->code.flash + s->p_vaddr - FLASH, file + s->p_offset, s->p_filesz);
    }
    for (int i = 0; i < head->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB)
            continue;
        const Elf32_Sym *symbols = (void *)(file + sections[i].sh_offset);
        const char *names = (char *)file + sections[sections[i].sh_link].sh_offset;

        for (size_t s = 0; s < sections[i].sh_size / sizeof *symbols; s++)
            for (size_t w = 0; w < sizeof wanted / sizeof *wanted; w++)
                if (!strcmp(names + symbols[s].st_name, wanted[w].name))
                    *wanted[w].value = symbols[s].st_value & ~1u;
    }
    for (size_t w = 0; w < sizeof wanted / sizeof *wanted; w++)
        if (!*wanted[w].value)
            die(name, wanted[w].name);
    free(file);
}
