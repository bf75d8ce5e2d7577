/* SPDX-License-Identifier: Apache-2.0 */
#include "referee.h"

#include <stdlib.h>
#include <string.h>
#include <unicorn/unicorn.h>

static const int registers[] = {
    UC_ARM_REG_R0, UC_ARM_REG_R1, UC_ARM_REG_R2,  UC_ARM_REG_R3,  UC_ARM_REG_R4,  UC_ARM_REG_R5, UC_ARM_REG_R6, UC_ARM_REG_R7,
    UC_ARM_REG_R8, UC_ARM_REG_R9, UC_ARM_REG_R10, UC_ARM_REG_R11, UC_ARM_REG_R12, UC_ARM_REG_SP, UC_ARM_REG_LR,
};

enum { REGISTERS = sizeof registers / sizeof *registers };

_Static_assert((int)REGISTERS == (int)FLIPPED, "registers of a fault");

/* The simulated device, and its last run: what is done at which instruction, and how far it is. */
struct referee {
    const struct program *program;
    uc_engine *uc;
    struct fault fault;
    const struct state *states; /* before the attacked instructions */
    uint32_t n;                 /* of these */
    bool attacked;
    uint32_t executed; /* since then */
    enum outcome outcome;

    /* The last IT block: the addresses behind IT and behind its instructions. */
    uint32_t block, block_end;
    /* Of an instruction in it that is skipped: where the next is, 0 for none, and what was before. */
    uint32_t next;
    uint32_t before[REGISTERS], flags;
    uint8_t memory[RAM_SIZE];
};

static void must(uc_err err, const char *what)
{
    if (err != UC_ERR_OK)
        die(what, uc_strerror(err));
}

static void note_block(struct referee *r, uint32_t address)
{
    uint16_t code = 0;

    must(uc_mem_read(r->uc, address, &code, 2), "code");
    if ((code & 0xff00) != 0xbf00 || (code & 15) == 0)
        return;
    r->block = r->block_end = address + 2;
    for (uint32_t mask = code & 15; mask; mask = mask << 1 & 15) { /* one instruction for each bit down to the lowest one */
        must(uc_mem_read(r->uc, r->block_end, &code, 2), "code");
        r->block_end += code >> 11 >= 0x1d ? 4 : 2;
    }
}

static bool in_block(const struct referee *r, uint32_t address) { return address >= r->block && address < r->block_end; }

/*
 * skip sets the program counter behind the instruction. Within an IT block
 * Unicorn does not follow that. There the instruction runs, and is undone before
 * the next.
 */
static void skip(struct referee *r, uint32_t address, uint32_t size)
{
    uint32_t behind = (address + size) | 1;

    if (!in_block(r, address)) {
        must(uc_reg_write(r->uc, UC_ARM_REG_PC, &behind), "skip");
        return;
    }
    for (int i = 0; i < REGISTERS; i++)
        must(uc_reg_read(r->uc, registers[i], &r->before[i]), "register");
    must(uc_reg_read(r->uc, UC_ARM_REG_APSR_NZCV, &r->flags), "flags");
    must(uc_mem_read(r->uc, RAM, r->memory, sizeof r->memory), "memory");
    r->next = address + size;
}

/* undo answers whether the simulator goes elsewhere, to the instruction behind the skipped one. */
static bool undo(struct referee *r, uint32_t address)
{
    uint32_t next = r->next | 1;

    r->next = 0;
    for (int i = 0; i < REGISTERS; i++)
        must(uc_reg_write(r->uc, registers[i], &r->before[i]), "register");
    must(uc_reg_write(r->uc, UC_ARM_REG_APSR_NZCV, &r->flags), "flags");
    must(uc_mem_write(r->uc, RAM, r->memory, sizeof r->memory), "memory");
    if (in_block(r, address) || (address | 1) == next)
        return false;
    must(uc_reg_write(r->uc, UC_ARM_REG_PC, &next), "skip"); /* the skipped instruction was a branch, the last of its block */
    return true;
}

static void inject(struct referee *r, uint32_t address, uint32_t size)
{
    uint32_t value = 0, what = r->fault.what;
    int reg;

    switch (r->fault.model) {
    case NONE:
        return;
    case SKIP:
        skip(r, address, size);
        return;
    case ZERO:
        must(uc_reg_write(r->uc, registers[what], &value), "zero");
        return;
    case FLIP:
        reg = what / 32 < REGISTERS ? registers[what / 32] : UC_ARM_REG_APSR_NZCV;
        must(uc_reg_read(r->uc, reg, &value), "flip");
        value ^= 1u << (reg == UC_ARM_REG_APSR_NZCV ? 28 + what % 32 : what % 32);
        must(uc_reg_write(r->uc, reg, &value), "flip");
    }
}

/* compare compares the state with the one that the other simulator came to. */
static void compare(struct referee *r)
{
    const struct state *want = &r->states[r->executed];
    uint32_t value;

    for (int i = 0; i < REGISTERS; i++) {
        must(uc_reg_read(r->uc, registers[i], &value), "register");
        if (value != want->core.r[i])
            die("run without a fault", "the simulators come to different registers");
    }
    must(uc_reg_read(r->uc, UC_ARM_REG_APSR_NZCV, &value), "flags");
    must(uc_mem_read(r->uc, RAM, r->memory, sizeof r->memory), "memory");
    if (value >> 28 != want->core.flags || memcmp(r->memory, want->ram, sizeof r->memory))
        die("run without a fault", "the simulators come to different flags or memory");
}

/* find goes on to the instruction at an address: Unicorn does not show those whose condition does not hold. */
static void find(struct referee *r, uint32_t address)
{
    while (r->executed < r->n && r->states[r->executed].core.r[FLIPPED] != address && r->states[r->executed].core.it != 0)
        r->executed++;
    if (r->executed == r->n || r->states[r->executed].core.r[FLIPPED] != address)
        die("run without a fault", "the simulators come to different instructions");
}

static void on_instruction(uc_engine *uc, uint64_t pc, uint32_t size, void *data)
{
    struct referee *r = data;
    uint32_t address = (uint32_t)pc;

    if (r->next && undo(r, address))
        return;
    if (address == r->program->booted || address == r->program->stopped) {
        r->outcome = address == r->program->booted ? BOOTED : STOPPED;
        uc_emu_stop(uc);
        return;
    }
    r->attacked |= address == r->program->attacked;
    if (!r->attacked)
        return;
    if (r->executed == r->program->limit) {
        uc_emu_stop(uc);
        return;
    }
    if (r->fault.model == NONE || r->executed <= r->fault.at)
        find(r, address);
    if (r->fault.model == NONE)
        compare(r);
    if (r->fault.model == SKIP)
        note_block(r, address);
    if (r->executed++ == r->fault.at)
        inject(r, address, size);
}

/* Code is not writable: a stray store ends the run. */
struct referee *referee_new(const struct program *p)
{
    struct referee *r = calloc(1, sizeof *r);
    uc_hook hook;

    if (!r)
        die("referee", "no memory");
    r->program = p;
    must(uc_open(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS, &r->uc), "open");
    must(uc_ctl_set_cpu_model(r->uc, p->code.m0 ? UC_CPU_ARM_CORTEX_M0 : UC_CPU_ARM_CORTEX_M4), "core");
    must(uc_mem_map(r->uc, FLASH, FLASH_SIZE, UC_PROT_READ | UC_PROT_EXEC), "flash");
    must(uc_mem_map(r->uc, RAM, RAM_SIZE, UC_PROT_READ | UC_PROT_WRITE), "memory");
    must(uc_mem_write(r->uc, FLASH, p->code.flash, sizeof p->code.flash), "flash");
    must(uc_hook_add(r->uc, &hook, UC_HOOK_CODE, (void *)on_instruction, r, 1, 0), "hook");
    return r;
}

/* The whole state of the last run is gone first. */
static enum outcome play(struct referee *r, const struct subject *s, const struct fault *fault)
{
    static const uint8_t zeros[RAM_SIZE];
    uint32_t zero = 0, thumb = 0x01000000, sp = STACK, lr = r->program->stopped | 1;

    r->fault = *fault;
    r->attacked = false;
    r->executed = r->block = r->block_end = r->next = 0;
    r->outcome = LOST;
    must(uc_mem_write(r->uc, RAM, zeros, sizeof zeros), "memory");
    must(uc_mem_write(r->uc, r->program->subject, s, sizeof *s), "subject");
    must(uc_reg_write(r->uc, UC_ARM_REG_XPSR, &thumb), "xpsr");
    for (int i = 0; i < REGISTERS; i++)
        must(uc_reg_write(r->uc, registers[i], &zero), "register");
    must(uc_reg_write(r->uc, UC_ARM_REG_SP, &sp), "sp");
    must(uc_reg_write(r->uc, UC_ARM_REG_LR, &lr), "lr");
    uc_emu_start(r->uc, r->program->start | 1, 0, 0, 0); /* errors are crashes: it did not boot */
    return r->outcome;
}

bool referee_can(const struct state *states, const struct fault *fault)
{
    const struct core *c = &states[fault->at].core;

    return c->it == 0 || (thumb_holds(c) && (fault->model != FLIP || fault->what < 32 * FLIPPED));
}

enum outcome referee_play(struct referee *r, const struct subject *s, const struct state *states, uint32_t n,
                          const struct fault *fault)
{
    r->states = states;
    r->n = n;
    return play(r, s, fault);
}

void referee_follow(struct referee *r, const struct subject *s, const struct state *states, uint32_t n)
{
    const struct fault none = {NONE, 0, 0};

    if (referee_play(r, s, states, n, &none) == LOST)
        die("run without a fault", "the simulators come to different ends");
}

/* Three instructions under one condition, the last of them a branch, of which each is skipped. */
void referee_check(void)
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
    enum { ATTACKED = sizeof want / sizeof *want };
    static struct program p = {
        .start = FLASH, .attacked = FLASH, .subject = RAM, .booted = FLASH + 12, .stopped = FLASH + 14, .limit = 100,
    };
    static struct state states[ATTACKED];
    const struct subject s = {.signature = 0};
    struct referee *r;

    memcpy(p.code.flash, code, sizeof code);
    for (uint32_t i = 0; i < ATTACKED; i++)
        states[i].core.r[FLIPPED] = FLASH + 2 * i;
    r = referee_new(&p);
    for (uint32_t at = 0; at < ATTACKED; at++) {
        const struct fault fault = {SKIP, at, 0};
        uint32_t r1;

        if (referee_play(r, &s, states, ATTACKED, &fault) != BOOTED)
            die("skipped instructions", "the simulator gets lost");
        must(uc_reg_read(r->uc, UC_ARM_REG_R1, &r1), "r1");
        if (r1 != want[at])
            die("skipped instructions", "the simulator executes them");
    }
    uc_close(r->uc);
    free(r);
}
