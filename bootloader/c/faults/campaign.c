/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single faults in the decision to boot, in a simulated Cortex-M:
 *
 *   campaign {m0 | m4} {resists | falls} PROGRAM
 *
 * runs PROGRAM, see target.c, once for each fault and each bad image, and
 * counts the runs that boot it. A fault hits one executed instruction: it is
 * skipped, or before it one of r0 to r7 becomes zero, or one bit of r0 to r12,
 * sp, lr or the flags changes.
 *
 * Exit status: 0 if what was expected happened, no run that boots or at least
 * one; 1 if not; 2 if the campaign itself does not work.
 */
#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unicorn/unicorn.h>

#include "../decide.h"
#include "subject.h"

enum { FLASH = 0x00008000, FLASH_SIZE = 0x4000, RAM = 0x20000000, RAM_SIZE = 0x1000, MOST_INSTRUCTIONS = 20000 };

static const int general[] = {
    UC_ARM_REG_R0, UC_ARM_REG_R1, UC_ARM_REG_R2,  UC_ARM_REG_R3,  UC_ARM_REG_R4,  UC_ARM_REG_R5, UC_ARM_REG_R6, UC_ARM_REG_R7,
    UC_ARM_REG_R8, UC_ARM_REG_R9, UC_ARM_REG_R10, UC_ARM_REG_R11, UC_ARM_REG_R12, UC_ARM_REG_SP, UC_ARM_REG_LR,
};

enum { GENERAL = sizeof general / sizeof *general, LOW = 8, FLAGS = 4 };

enum model { NONE, SKIP, ZERO, FLIP };

enum outcome { STOPPED, BOOTED, LOST };

struct program {
    uint8_t flash[FLASH_SIZE];
    uint32_t start, subject, booted, stopped;
};

/* One run: what is done at which instruction, and how far it is. */
struct run {
    const struct program *program;
    enum model model;
    uint32_t at;   /* number of the executed instruction */
    uint32_t what; /* ZERO: register; FLIP: 32 * register + bit, flags come last */
    uint32_t executed;
    enum outcome outcome;

    /* The last IT block: the addresses behind IT and behind its instructions. */
    uint32_t block, block_end;
    /* Of an instruction in it that is skipped: where the next is, 0 for none, and what was before. */
    uint32_t next;
    uint32_t registers[GENERAL], flags;
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "campaign: %s: %s\n", what, why);
    exit(2);
}

static uint8_t memory[RAM_SIZE]; /* before an instruction that is undone */

static void must(uc_err err, const char *what)
{
    if (err != UC_ERR_OK)
        die(what, uc_strerror(err));
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

/* load reads code, constants and symbols of a linked ELF file. */
static void load(const char *name, struct program *p)
{
    size_t size;
    uint8_t *file = read_file(name, &size);
    const Elf32_Ehdr *head = (void *)file;
    const Elf32_Phdr *segments = (void *)(file + head->e_phoff);
    const Elf32_Shdr *sections = (void *)(file + head->e_shoff);
    const struct {
        const char *name;
        uint32_t *value;
    } wanted[] = {{"start", &p->start}, {"subject", &p->subject}, {"booted", &p->booted}, {"stopped", &p->stopped}};

    if (size < sizeof *head || memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_machine != EM_ARM)
        die(name, "not an ELF file for Arm");
    for (int i = 0; i < head->e_phnum; i++) {
        const Elf32_Phdr *s = &segments[i];

        if (s->p_type != PT_LOAD || s->p_filesz == 0)
            continue;
        if (s->p_vaddr < FLASH || s->p_vaddr + s->p_filesz > FLASH + FLASH_SIZE)
            die(name, "a segment lies outside of the flash");
        memcpy(p->flash + s->p_vaddr - FLASH, file + s->p_offset, s->p_filesz);
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

static void note_block(struct run *r, uc_engine *uc, uint32_t address)
{
    uint16_t code = 0;

    must(uc_mem_read(uc, address, &code, 2), "code");
    if ((code & 0xff00) != 0xbf00 || (code & 15) == 0)
        return;
    r->block = r->block_end = address + 2;
    for (uint32_t mask = code & 15; mask; mask = mask << 1 & 15) { /* one instruction for each bit down to the lowest one */
        must(uc_mem_read(uc, r->block_end, &code, 2), "code");
        r->block_end += code >> 11 >= 0x1d ? 4 : 2;
    }
}

static bool in_block(const struct run *r, uint32_t address) { return address >= r->block && address < r->block_end; }

/*
 * skip sets the program counter behind the instruction. Within an IT block
 * Unicorn does not follow that. There the instruction runs, and is undone before
 * the next.
 */
static void skip(struct run *r, uc_engine *uc, uint32_t address, uint32_t size)
{
    uint32_t behind = (address + size) | 1;

    if (!in_block(r, address)) {
        must(uc_reg_write(uc, UC_ARM_REG_PC, &behind), "skip");
        return;
    }
    for (int i = 0; i < GENERAL; i++)
        must(uc_reg_read(uc, general[i], &r->registers[i]), "register");
    must(uc_reg_read(uc, UC_ARM_REG_APSR_NZCV, &r->flags), "flags");
    must(uc_mem_read(uc, RAM, memory, sizeof memory), "memory");
    r->next = address + size;
}

/* undo answers whether the simulator goes elsewhere, to the instruction behind the skipped one. */
static bool undo(struct run *r, uc_engine *uc, uint32_t address)
{
    uint32_t next = r->next | 1;

    r->next = 0;
    for (int i = 0; i < GENERAL; i++)
        must(uc_reg_write(uc, general[i], &r->registers[i]), "register");
    must(uc_reg_write(uc, UC_ARM_REG_APSR_NZCV, &r->flags), "flags");
    must(uc_mem_write(uc, RAM, memory, sizeof memory), "memory");
    if (in_block(r, address) || (address | 1) == next)
        return false;
    must(uc_reg_write(uc, UC_ARM_REG_PC, &next), "skip"); /* the skipped instruction was a branch, the last of its block */
    return true;
}

static void inject(struct run *r, uc_engine *uc, uint32_t address, uint32_t size)
{
    uint32_t value = 0;
    int reg;

    switch (r->model) {
    case NONE:
        return;
    case SKIP:
        skip(r, uc, address, size);
        return;
    case ZERO:
        must(uc_reg_write(uc, general[r->what], &value), "zero");
        return;
    case FLIP:
        reg = r->what / 32 < GENERAL ? general[r->what / 32] : UC_ARM_REG_APSR_NZCV;
        must(uc_reg_read(uc, reg, &value), "flip");
        value ^= 1u << (reg == UC_ARM_REG_APSR_NZCV ? 28 + r->what % 32 : r->what % 32);
        must(uc_reg_write(uc, reg, &value), "flip");
    }
}

static void on_instruction(uc_engine *uc, uint64_t pc, uint32_t size, void *data)
{
    struct run *r = data;
    uint32_t address = (uint32_t)pc;

    if (r->next && undo(r, uc, address))
        return;
    if (address == r->program->booted || address == r->program->stopped) {
        r->outcome = address == r->program->booted ? BOOTED : STOPPED;
        uc_emu_stop(uc);
        return;
    }
    if (r->executed == MOST_INSTRUCTIONS) {
        uc_emu_stop(uc);
        return;
    }
    if (r->model == SKIP)
        note_block(r, uc, address);
    if (r->executed++ == r->at)
        inject(r, uc, address, size);
}

/* The simulated device. Code is not writable: a stray store ends the run. */
struct device {
    uc_engine *uc;
    struct run run;
};

static void make(struct device *d, const struct program *p, bool m0)
{
    uc_hook hook;

    must(uc_open(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS, &d->uc), "open");
    must(uc_ctl_set_cpu_model(d->uc, m0 ? UC_CPU_ARM_CORTEX_M0 : UC_CPU_ARM_CORTEX_M4), "core");
    must(uc_mem_map(d->uc, FLASH, FLASH_SIZE, UC_PROT_READ | UC_PROT_EXEC), "flash");
    must(uc_mem_map(d->uc, RAM, RAM_SIZE, UC_PROT_READ | UC_PROT_WRITE), "memory");
    must(uc_mem_write(d->uc, FLASH, p->flash, sizeof p->flash), "flash");
    must(uc_hook_add(d->uc, &hook, UC_HOOK_CODE, (void *)on_instruction, &d->run, 1, 0), "hook");
}

/* play runs the program once; the whole state of the last run is gone first. */
static void play(struct device *d, const struct program *p, const struct subject *s, enum model model, uint32_t at, uint32_t what)
{
    static const uint8_t zeros[RAM_SIZE];
    uint32_t zero = 0, thumb = 0x01000000, sp = RAM + RAM_SIZE - 64, lr = p->stopped | 1;

    d->run = (struct run){.program = p, .model = model, .at = at, .what = what, .outcome = LOST};
    must(uc_mem_write(d->uc, RAM, zeros, sizeof zeros), "memory");
    must(uc_mem_write(d->uc, p->subject, s, sizeof *s), "subject");
    must(uc_reg_write(d->uc, UC_ARM_REG_XPSR, &thumb), "xpsr");
    for (int i = 0; i < GENERAL; i++)
        must(uc_reg_write(d->uc, general[i], &zero), "register");
    must(uc_reg_write(d->uc, UC_ARM_REG_SP, &sp), "sp");
    must(uc_reg_write(d->uc, UC_ARM_REG_LR, &lr), "lr");
    uc_emu_start(d->uc, p->start | 1, 0, 0, 0); /* errors are crashes: it did not boot */
}

/*
 * check_skips runs three instructions under one condition, the last of them a
 * branch, and skips each: what the simulator is known to get wrong by itself.
 */
static void check_skips(void)
{
    static const uint16_t code[] = {
        0x4290,                 /* cmp   r0, r2 */
        0xbf02,                 /* ittt  eq */
        0x3101,                 /* addeq r1, #1 */
        0x3102,                 /* addeq r1, #2 */
        0xe000,                 /* beq   the last line, over */
        0x3104,                 /* adds  r1, #4 */
        0xe7fe, 0xe7fe, 0xe7fe, /* b     . */
    };
    static const uint32_t want[] = {4, 3, 2, 1, 7};
    static struct program p = {.start = FLASH, .subject = RAM, .booted = FLASH + 12, .stopped = FLASH + 14};
    const struct subject s = {.signature = 0};
    struct device d;

    memcpy(p.flash, code, sizeof code);
    make(&d, &p, false);
    for (uint32_t at = 0; at < sizeof want / sizeof *want; at++) {
        uint32_t r1;

        play(&d, &p, &s, SKIP, at, 0);
        must(uc_reg_read(d.uc, UC_ARM_REG_R1, &r1), "r1");
        if (d.run.outcome != BOOTED || r1 != want[at])
            die("skipped instructions", "the simulator executes them");
    }
    uc_close(d.uc);
}

static struct subject image(bool digest_first, bool digest_last, bool signature, bool sequence)
{
    struct subject s = {.signature = signature ? OTAPACK_BAD : OTAPACK_GOOD, .sequence = sequence ? 6 : 8, .floor = 7};

    for (int i = 0; i < 32; i++)
        s.digest[i] = s.expected[i] = (uint8_t)(i * 73 + 41);
    s.digest[0] ^= digest_first ? 0x5a : 0;
    s.digest[31] ^= digest_last ? 0x5a : 0;
    return s;
}

static uint32_t count(struct device *d, const struct program *p, const struct subject *s, enum model model, uint32_t instructions,
                      uint32_t faults, uint32_t *runs)
{
    uint32_t booted = 0;

    for (uint32_t at = 0; at < instructions; at++)
        for (uint32_t what = 0; what < faults; what++) {
            play(d, p, s, model, at, what);
            ++*runs;
            booted += d->run.outcome == BOOTED;
        }
    return booted;
}

int main(int argc, char **argv)
{
    static struct program p;
    struct device d;
    struct subject good = image(false, false, false, false);
    const struct {
        const char *name;
        struct subject subject;
    } bad[] = {
        {"first byte of the digest", image(true, false, false, false)},
        {"last byte of the digest", image(false, true, false, false)},
        {"signature", image(false, false, true, false)},
        {"sequence number", image(false, false, false, true)},
        {"all of them", image(true, true, true, true)},
    };
    uint32_t booted = 0;

    if (argc != 4 || (strcmp(argv[1], "m0") && strcmp(argv[1], "m4")) || (strcmp(argv[2], "resists") && strcmp(argv[2], "falls")))
        die("usage", "campaign {m0 | m4} {resists | falls} PROGRAM");
    check_skips();
    load(argv[3], &p);
    make(&d, &p, argv[1][1] == '0');
    play(&d, &p, &good, NONE, 0, 0);
    if (d.run.outcome != BOOTED)
        die(argv[3], "does not boot a good image");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t n, runs = 0, skips, zeros, flips;

        play(&d, &p, &bad[i].subject, NONE, 0, 0);
        if (d.run.outcome != STOPPED)
            die(bad[i].name, "is not refused without a fault");
        n = d.run.executed;
        skips = count(&d, &p, &bad[i].subject, SKIP, n, 1, &runs);
        zeros = count(&d, &p, &bad[i].subject, ZERO, n, LOW, &runs);
        flips = count(&d, &p, &bad[i].subject, FLIP, n, GENERAL * 32 + FLAGS, &runs);
        booted += skips + zeros + flips;
        printf("  %-26s %12u %7u %7u %7u %9u\n", bad[i].name, n, skips, zeros, flips, runs);
    }
    return (booted == 0) != !strcmp(argv[2], "resists");
}
