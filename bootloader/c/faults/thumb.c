/* SPDX-License-Identifier: Apache-2.0 */
#include "thumb.h"

#include <stddef.h>
#include <string.h>

enum { SP = 13, LR = 14, PC = 15 };

enum { N = 8, Z = 4, C = 2, V = 1 };

enum kind {
    UNDECODED,
    UNKNOWN,
    UNDEFINED,
    LOGIC, /* AND and what else sets N, Z and the shifter's carry */
    SUM,   /* ADD and what else sets all flags */
    SHIFT, /* by a register */
    MULTIPLY,
    LONG_MULTIPLY,
    ACCESS, /* to memory */
    PAIR,
    MULTIPLE,
    BRANCH,
    BRANCH_IF,
    BRANCH_ZERO,
    BRANCH_LINK,
    BRANCH_REGISTER,
    BRANCH_TABLE,
    ADDRESS,
    EXTEND,
    REVERSE,
    LEADING_ZEROS,
    FIELD,
    MOVE_TOP,
    BLOCK,
    NOTHING,
};

/* When flags are set. */
enum { NEVER, ALWAYS, OUTSIDE /* of an IT block */ };

/* Operations of LOGIC and SUM. The last two of each write no register. */
enum { AND, BIC, ORR, ORN, EOR, MOV, MVN, TST, TEQ };
enum { ADD, ADC, SUB, SBC, RSB, CMP, CMN };

enum { LSL, LSR, ASR, ROR, RRX };

enum { CARRY_STAYS = 2 };

/* Operations of EXTEND, REVERSE and FIELD. */
enum { SXTH, SXTB, UXTH, UXTB };
enum { REV, REV16, REVSH };
enum { SIGNED, UNSIGNED, INSERT };

static uint32_t bits(uint32_t word, int low, int n) { return word >> low & ((1u << n) - 1); }

/* is_special answers whether most instructions of 32 bits must not name a register. */
static bool is_special(uint32_t reg) { return reg == SP || reg == PC; }

static uint32_t extend(uint32_t word, int n) { return (uint32_t)((int32_t)(word << (32 - n)) >> (32 - n)); }

/* An immediate shift as it is encoded; LSL by 0 is none. */
static void set_shift(struct instruction *i, uint32_t type, uint32_t amount)
{
    i->shift = (uint8_t)type;
    i->amount = (uint8_t)amount;
    if (amount == 0 && (type == LSR || type == ASR))
        i->amount = 32;
    if (amount == 0 && type == ROR)
        i->shift = RRX;
}

static void set_value(struct instruction *i, uint32_t value)
{
    i->immediate = 1;
    i->value = value;
    i->carry = CARRY_STAYS;
}

static void decode_alu(struct instruction *i, uint32_t w)
{
    static const struct {
        uint8_t kind, operation, set;
    } table[16] = {
        {LOGIC, AND, OUTSIDE}, {LOGIC, EOR, OUTSIDE}, {SHIFT, LSL, OUTSIDE}, {SHIFT, LSR, OUTSIDE},
        {SHIFT, ASR, OUTSIDE}, {SUM, ADC, OUTSIDE},   {SUM, SBC, OUTSIDE},   {SHIFT, ROR, OUTSIDE},
        {LOGIC, TST, ALWAYS},  {SUM, RSB, OUTSIDE},   {SUM, CMP, ALWAYS},    {SUM, CMN, ALWAYS},
        {LOGIC, ORR, OUTSIDE}, {MULTIPLY, 0, OUTSIDE}, {LOGIC, BIC, OUTSIDE}, {LOGIC, MVN, OUTSIDE},
    };
    uint32_t op = bits(w, 6, 4);

    i->kind = table[op].kind;
    i->operation = table[op].operation;
    i->set = table[op].set;
    i->d = i->n = (uint8_t)bits(w, 0, 3);
    i->m = (uint8_t)bits(w, 3, 3);
    i->a = PC; /* nothing is added to a product */
    if (i->kind == SUM && i->operation == RSB) {
        i->n = i->m;
        set_value(i, 0);
    }
}

/* decode_high decodes what reaches r8 to r15. */
static void decode_high(struct instruction *i, uint32_t w)
{
    i->d = i->n = (uint8_t)(bits(w, 0, 3) | bits(w, 7, 1) << 3);
    i->m = (uint8_t)bits(w, 3, 4);
    switch (bits(w, 8, 2)) {
    case 0:
        i->kind = SUM;
        i->operation = ADD;
        return;
    case 1:
        i->kind = i->n == PC || i->m == PC ? UNKNOWN : SUM;
        i->operation = CMP;
        i->set = ALWAYS;
        return;
    case 2:
        i->kind = LOGIC;
        i->operation = MOV;
        return;
    default:
        i->kind = bits(w, 0, 3) != 0 || i->m == PC ? UNKNOWN : BRANCH_REGISTER;
        i->operation = (uint8_t)bits(w, 7, 1); /* 1: with link */
    }
}

static void access(struct instruction *i, bool load, uint32_t width, bool sign)
{
    i->kind = ACCESS;
    i->load = load;
    i->width = (uint8_t)width;
    i->sign = sign;
    i->index = 1;
}

static void decode_access(struct instruction *i, uint32_t w)
{
    static const uint8_t widths[8] = {4, 2, 1, 1, 4, 2, 1, 2};
    uint32_t op = bits(w, 9, 3);

    i->d = (uint8_t)bits(w, 0, 3);
    i->n = (uint8_t)bits(w, 3, 3);
    i->m = (uint8_t)bits(w, 6, 3);
    switch (w >> 12) {
    case 5:
        access(i, op >= 3, widths[op], op == 3 || op == 7);
        return;
    case 6:
        access(i, bits(w, 11, 1), 4, false);
        set_value(i, bits(w, 6, 5) * 4);
        return;
    case 7:
        access(i, bits(w, 11, 1), 1, false);
        set_value(i, bits(w, 6, 5));
        return;
    case 8:
        access(i, bits(w, 11, 1), 2, false);
        set_value(i, bits(w, 6, 5) * 2);
        return;
    default: /* 4: of constants behind the code; 9: on the stack */
        access(i, w >> 12 == 4 || bits(w, 11, 1), 4, false);
        i->d = (uint8_t)bits(w, 8, 3);
        i->n = w >> 12 == 4 ? PC : SP;
        set_value(i, bits(w, 0, 8) * 4);
    }
}

static void multiple(struct instruction *i, bool load, uint32_t n, uint32_t list, bool before, bool back)
{
    i->kind = list == 0 || (list >> n & 1 && (back || !load)) ? UNKNOWN : MULTIPLE;
    i->load = load;
    i->n = (uint8_t)n;
    i->value = list;
    i->amount = (uint8_t)__builtin_popcount(list);
    i->index = before; /* downwards */
    i->back = back;
}

static void decode_other(struct instruction *i, uint32_t w, bool m0)
{
    static const uint8_t reverse[4] = {REV, REV16, UINT8_MAX, REVSH};

    i->d = (uint8_t)bits(w, 0, 3);
    i->n = i->d;
    i->m = (uint8_t)bits(w, 3, 3);
    if (w >> 8 == 0xb0) {
        i->kind = SUM;
        i->operation = bits(w, 7, 1) ? SUB : ADD;
        i->d = i->n = SP;
        set_value(i, bits(w, 0, 7) * 4);
    } else if ((w & 0xf500) == 0xb100 && !m0) {
        i->kind = BRANCH_ZERO;
        i->operation = (uint8_t)bits(w, 11, 1); /* 1: unless zero */
        i->value = 4 + (bits(w, 9, 1) << 6 | bits(w, 3, 5) << 1);
    } else if (w >> 8 == 0xb2) {
        i->kind = EXTEND;
        i->operation = (uint8_t)bits(w, 6, 2);
    } else if (w >> 9 == 0xb4 >> 1) {
        multiple(i, false, SP, bits(w, 0, 8) | bits(w, 8, 1) << LR, true, true);
    } else if (w >> 9 == 0xbc >> 1) {
        multiple(i, true, SP, bits(w, 0, 8) | bits(w, 8, 1) << PC, false, true);
    } else if (w >> 8 == 0xba && reverse[bits(w, 6, 2)] != UINT8_MAX) {
        i->kind = REVERSE;
        i->operation = reverse[bits(w, 6, 2)];
    } else if (w == 0xbf00) {
        i->kind = NOTHING;
    } else if (w >> 8 == 0xbf && bits(w, 0, 4) != 0 && !m0) {
        i->kind = BLOCK;
        i->value = bits(w, 0, 8);
    }
}

static void decode_16(struct instruction *i, uint32_t w, bool m0)
{
    static const uint8_t operations[4] = {MOV, CMP, ADD, SUB};

    switch (w >> 12) {
    case 0:
    case 1:
        i->set = OUTSIDE;
        i->d = (uint8_t)bits(w, 0, 3);
        if (w >> 11 != 3) {
            i->kind = LOGIC;
            i->operation = MOV;
            i->m = (uint8_t)bits(w, 3, 3);
            set_shift(i, bits(w, 11, 2), bits(w, 6, 5));
            return;
        }
        i->kind = SUM;
        i->operation = bits(w, 9, 1) ? SUB : ADD;
        i->n = (uint8_t)bits(w, 3, 3);
        i->m = (uint8_t)bits(w, 6, 3);
        if (bits(w, 10, 1))
            set_value(i, bits(w, 6, 3));
        return;
    case 2:
    case 3:
        i->operation = operations[bits(w, 11, 2)];
        i->kind = bits(w, 11, 2) == 0 ? LOGIC : SUM;
        i->set = i->kind == SUM && i->operation == CMP ? ALWAYS : OUTSIDE;
        i->d = i->n = (uint8_t)bits(w, 8, 3);
        set_value(i, bits(w, 0, 8));
        return;
    case 4:
        if (w >> 10 == 0x10)
            decode_alu(i, w);
        else if (w >> 10 == 0x11)
            decode_high(i, w);
        else
            decode_access(i, w);
        return;
    case 10:
        i->kind = w >> 11 & 1 ? SUM : ADDRESS;
        i->operation = ADD;
        i->d = (uint8_t)bits(w, 8, 3);
        i->n = SP;
        set_value(i, bits(w, 0, 8) * 4);
        return;
    case 11:
        decode_other(i, w, m0);
        return;
    case 12: {
        uint32_t n = bits(w, 8, 3), list = bits(w, 0, 8);

        multiple(i, bits(w, 11, 1), n, list, false, !(bits(w, 11, 1) && list >> n & 1));
        return;
    }
    case 13:
        if (bits(w, 8, 4) >= 14)
            return;
        i->kind = BRANCH_IF;
        i->operation = (uint8_t)bits(w, 8, 4);
        i->value = 4 + extend(w << 1, 9);
        return;
    case 14:
        i->kind = BRANCH;
        i->value = 4 + extend(w << 1, 12);
        return;
    default:
        decode_access(i, w);
    }
}

/* decode_branch decodes the offset of BL and B with 25 bits, and of a branch under a condition. */
static void decode_branch(struct instruction *i, uint32_t first, uint32_t second, bool m0)
{
    uint32_t s = bits(first, 10, 1), j1 = bits(second, 13, 1), j2 = bits(second, 11, 1);

    if (bits(second, 12, 1)) {
        i->kind = bits(second, 14, 1) ? BRANCH_LINK : BRANCH;
        i->value = s << 24 | (j1 ^ s ^ 1) << 23 | (j2 ^ s ^ 1) << 22 | bits(first, 0, 10) << 12 | bits(second, 0, 11) << 1;
        i->value = 4 + extend(i->value, 25);
    } else if (!bits(second, 14, 1) && bits(first, 6, 4) < 14) {
        i->kind = BRANCH_IF;
        i->operation = (uint8_t)bits(first, 6, 4);
        i->value = 4 + extend(s << 20 | j2 << 19 | j1 << 18 | bits(first, 0, 6) << 12 | bits(second, 0, 11) << 1, 21);
    }
    if (m0 && i->kind != BRANCH_LINK)
        i->kind = UNKNOWN;
}

/* decode_operation decodes what is done with register n and an operand that stands in i. */
static void decode_operation(struct instruction *i, uint32_t first, uint32_t second)
{
    static const struct {
        uint8_t kind, operation, alone, compare; /* alone: n is missing; compare: d is */
    } table[16] = {
        [0] = {LOGIC, AND, 0, TST}, [1] = {LOGIC, BIC, 0, 0},  [2] = {LOGIC, ORR, MOV, 0}, [3] = {LOGIC, ORN, MVN, 0},
        [4] = {LOGIC, EOR, 0, TEQ}, [8] = {SUM, ADD, 0, CMN},  [10] = {SUM, ADC, 0, 0},    [11] = {SUM, SBC, 0, 0},
        [13] = {SUM, SUB, 0, CMP},  [14] = {SUM, RSB, 0, 0},
    };
    uint32_t op = bits(first, 5, 4);

    i->kind = table[op].kind;
    i->operation = table[op].operation;
    i->set = bits(first, 4, 1) ? ALWAYS : NEVER;
    i->n = (uint8_t)bits(first, 0, 4);
    i->d = (uint8_t)bits(second, 8, 4);
    if (i->n == PC && table[op].alone) {
        i->operation = table[op].alone;
        i->n = 0;
    } else if (i->d == PC && i->set == ALWAYS && table[op].compare) {
        i->operation = table[op].compare;
        i->d = 0;
    }
    if (i->kind == UNDECODED || i->n == PC || i->d == PC || (!i->immediate && i->m == PC))
        i->kind = UNKNOWN;
}

/* An immediate operand of 12 bits: a byte, some of them, or eight bits anywhere. */
static void set_modified(struct instruction *i, uint32_t code)
{
    uint32_t byte = bits(code, 0, 8), by = code >> 7;

    switch (code >> 8) {
    case 0:
        set_value(i, byte);
        return;
    case 1:
        set_value(i, byte << 16 | byte);
        return;
    case 2:
        set_value(i, byte << 24 | byte << 8);
        return;
    case 3:
        set_value(i, byte * 0x01010101);
        return;
    default:
        byte = bits(code, 0, 7) | 0x80;
        set_value(i, byte >> by | byte << (32 - by));
        i->carry = (uint8_t)(i->value >> 31);
    }
}

static void decode_plain(struct instruction *i, uint32_t first, uint32_t second)
{
    uint32_t code = bits(first, 10, 1) << 11 | bits(second, 12, 3) << 8 | bits(second, 0, 8);
    uint32_t low = bits(second, 12, 3) << 2 | bits(second, 6, 2), last = bits(second, 0, 5);

    i->n = (uint8_t)bits(first, 0, 4);
    i->d = (uint8_t)bits(second, 8, 4);
    if (i->d == PC)
        return;
    switch (bits(first, 4, 5)) {
    case 0:
    case 10:
        if (i->n == PC)
            return;
        i->kind = SUM;
        i->operation = bits(first, 4, 5) ? SUB : ADD;
        set_value(i, code);
        return;
    case 4:
        i->kind = LOGIC;
        i->operation = MOV;
        set_value(i, (uint32_t)i->n << 12 | code);
        i->n = 0;
        return;
    case 12:
        i->kind = MOVE_TOP;
        i->value = (uint32_t)i->n << 12 | code;
        i->n = i->d;
        return;
    case 20:
    case 28:
        i->kind = i->n == PC || low + last > 31 ? UNKNOWN : FIELD;
        i->operation = bits(first, 4, 5) == 20 ? SIGNED : UNSIGNED;
        i->shift = (uint8_t)low;
        i->amount = (uint8_t)(last + 1);
        return;
    case 22:
        i->kind = last < low ? UNKNOWN : FIELD;
        i->operation = INSERT; /* of register n, or of zero */
        i->shift = (uint8_t)low;
        i->amount = (uint8_t)(last + 1 - low);
    }
}

static void decode_multiple(struct instruction *i, uint32_t first, uint32_t second)
{
    uint32_t n = bits(first, 0, 4), how = bits(first, 7, 2), load = bits(first, 4, 1);

    if (n == PC || (how != 1 && how != 2) || second >> SP & 1 || (second >> PC && !load) || (second >> LR) == 3)
        return;
    multiple(i, load, n, second, how == 2, bits(first, 5, 1));
}

static void decode_pair(struct instruction *i, uint32_t first, uint32_t second)
{
    uint32_t before = bits(first, 8, 1), up = bits(first, 7, 1), back = bits(first, 5, 1);

    i->n = (uint8_t)bits(first, 0, 4);
    i->load = (uint8_t)bits(first, 4, 1);
    if (!before && !back) {
        i->m = (uint8_t)bits(second, 0, 4);
        i->width = (uint8_t)(1 + bits(second, 4, 1));
        if ((first & 0xfff0) == 0xe8d0 && (second & 0xffe0) == 0xf000 && i->m != PC && i->m != SP && i->n != SP)
            i->kind = BRANCH_TABLE;
        return;
    }
    i->d = (uint8_t)bits(second, 12, 4);
    i->a = (uint8_t)bits(second, 8, 4);
    if (i->n == PC || is_special(i->d) || is_special(i->a) || (i->load && i->d == i->a) || (back && (i->n == i->d || i->n == i->a)))
        return;
    i->kind = PAIR;
    i->index = (uint8_t)before;
    i->back = (uint8_t)back;
    set_value(i, up ? bits(second, 0, 8) * 4 : 0u - bits(second, 0, 8) * 4);
}

static void decode_single(struct instruction *i, uint32_t first, uint32_t second)
{
    uint32_t code = bits(first, 5, 2), load = bits(first, 4, 1), up = bits(first, 7, 1), d = bits(second, 12, 4);

    if (code == 3 || (d == PC && (code != 2 || !load)) || (bits(first, 8, 1) && (!load || code == 2)))
        return;
    access(i, load, 1u << code, bits(first, 8, 1));
    i->n = (uint8_t)bits(first, 0, 4);
    i->d = (uint8_t)d;
    if (i->n == PC || up) {
        if (i->n == PC && !load)
            i->kind = UNKNOWN;
        set_value(i, up ? bits(second, 0, 12) : 0u - bits(second, 0, 12));
    } else if (bits(second, 11, 1)) {
        up = bits(second, 9, 1);
        i->index = (uint8_t)bits(second, 10, 1);
        i->back = (uint8_t)bits(second, 8, 1);
        if ((i->index && up && !i->back) || (!i->index && !i->back) || (i->back && i->n == i->d))
            i->kind = UNKNOWN; /* among them: with the rights of a user */
        set_value(i, up ? bits(second, 0, 8) : 0u - bits(second, 0, 8));
    } else {
        i->m = (uint8_t)bits(second, 0, 4);
        set_shift(i, LSL, bits(second, 4, 2));
        if (bits(second, 6, 6) != 0 || is_special(i->m))
            i->kind = UNKNOWN;
    }
}

/* decode_registers decodes shifts by a register, extensions, reversals and leading zeros. */
static void decode_registers(struct instruction *i, uint32_t first, uint32_t second)
{
    static const uint8_t extensions[8] = {SXTH, UXTH, UINT8_MAX, UINT8_MAX, SXTB, UXTB, UINT8_MAX, UINT8_MAX};
    static const uint8_t reversals[4] = {REV, REV16, UINT8_MAX, REVSH};
    uint32_t op = bits(first, 4, 4), n = bits(first, 0, 4);

    i->n = (uint8_t)n;
    i->d = (uint8_t)bits(second, 8, 4);
    i->m = (uint8_t)bits(second, 0, 4);
    if (second >> 12 != 15 || is_special(i->d) || is_special(i->m))
        return;
    if (op < 8 && bits(second, 4, 4) == 0) {
        i->kind = is_special(n) ? UNKNOWN : SHIFT;
        i->operation = (uint8_t)bits(first, 5, 2);
        i->set = bits(first, 4, 1) ? ALWAYS : NEVER;
    } else if (op < 8 && bits(second, 4, 4) == 8 && n == PC && extensions[op] != UINT8_MAX) {
        i->kind = EXTEND;
        i->operation = extensions[op];
    } else if (op == 9 && n == i->m && bits(second, 6, 2) == 2 && reversals[bits(second, 4, 2)] != UINT8_MAX) {
        i->kind = REVERSE;
        i->operation = reversals[bits(second, 4, 2)];
    } else if (op == 11 && n == i->m && bits(second, 4, 4) == 8) {
        i->kind = LEADING_ZEROS;
    }
}

static void decode_multiply(struct instruction *i, uint32_t first, uint32_t second)
{
    i->n = (uint8_t)bits(first, 0, 4);
    i->m = (uint8_t)bits(second, 0, 4);
    i->d = (uint8_t)bits(second, 8, 4);
    i->a = (uint8_t)bits(second, 12, 4);
    if (is_special(i->n) || is_special(i->m) || is_special(i->d) || i->a == SP)
        return;
    if (bits(first, 4, 4) == 0 && (bits(second, 4, 4) == 0 || (bits(second, 4, 4) == 1 && i->a != PC))) {
        i->kind = MULTIPLY;
        i->operation = (uint8_t)bits(second, 4, 1); /* 1: the product is subtracted */
    } else if (bits(first, 4, 4) == 10 && bits(second, 4, 4) == 0 && i->a != PC && i->a != i->d) {
        i->kind = LONG_MULTIPLY;
    }
}

static void decode_32(struct instruction *i, uint32_t first, uint32_t second, bool m0)
{
    if (bits(first, 11, 2) == 2 && bits(second, 15, 1)) {
        decode_branch(i, first, second, m0);
    } else if (first == 0xffff && second == 0xffff) {
        i->kind = UNDEFINED; /* erased flash */
    } else if (m0) {
        return;
    } else if (first >> 9 == 0xe800 >> 9) {
        if (bits(first, 6, 1))
            decode_pair(i, first, second);
        else
            decode_multiple(i, first, second);
    } else if (first >> 9 == 0xea00 >> 9) {
        i->m = (uint8_t)bits(second, 0, 4);
        set_shift(i, bits(second, 4, 2), bits(second, 12, 3) << 2 | bits(second, 6, 2));
        decode_operation(i, first, second);
    } else if (first >> 11 == 0xf000 >> 11 && !bits(first, 9, 1)) {
        set_modified(i, bits(first, 10, 1) << 11 | bits(second, 12, 3) << 8 | bits(second, 0, 8));
        decode_operation(i, first, second);
    } else if (first >> 11 == 0xf000 >> 11) {
        decode_plain(i, first, second);
    } else if (first >> 9 == 0xf800 >> 9) {
        decode_single(i, first, second);
    } else if (first >> 8 == 0xfa) {
        decode_registers(i, first, second);
    } else if (first >> 8 == 0xfb) {
        decode_multiply(i, first, second);
    }
}

static uint32_t half(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }

static __attribute__((noinline)) void decode(struct thumb_program *p, struct instruction *i, uint32_t at)
{
    uint32_t first = half(p->flash + at);

    i->size = first >> 11 >= 0x1d ? 4 : 2;
    if (i->size == 2)
        decode_16(i, first, p->m0);
    else
        decode_32(i, first, half(p->flash + at + 2), p->m0);
    if (i->kind == UNDECODED)
        i->kind = UNKNOWN;
}

/* fetch returns the instruction at an address in flash, or NULL. */
static inline const struct instruction *fetch(struct thumb_program *p, uint32_t address)
{
    uint32_t at = address - FLASH;

    if (at > FLASH_SIZE - 4)
        return NULL;
    if (p->decoded[at / 2].kind == UNDECODED)
        decode(p, &p->decoded[at / 2], at);
    return &p->decoded[at / 2];
}

static bool holds(uint32_t condition, uint32_t flags)
{
    bool n = flags & N, z = flags & Z, c = flags & C, v = flags & V, yes;

    switch (condition >> 1) {
    case 0:
        yes = z;
        break;
    case 1:
        yes = c;
        break;
    case 2:
        yes = n;
        break;
    case 3:
        yes = v;
        break;
    case 4:
        yes = c && !z;
        break;
    case 5:
        yes = n == v;
        break;
    case 6:
        yes = n == v && !z;
        break;
    default:
        return true;
    }
    return yes != (condition & 1);
}

static uint32_t shifted(uint32_t value, uint32_t type, uint32_t by, uint32_t *carry)
{
    if (type == RRX) {
        uint32_t out = value >> 1 | *carry << 31;

        *carry = value & 1;
        return out;
    }
    if (by == 0)
        return value;
    switch (type) {
    case LSL:
        *carry = by > 32 ? 0 : value >> (32 - by) & 1;
        return by > 31 ? 0 : value << by;
    case LSR:
        *carry = by > 32 ? 0 : value >> (by - 1) & 1;
        return by > 31 ? 0 : value >> by;
    case ASR:
        *carry = by > 31 ? value >> 31 : value >> (by - 1) & 1;
        return (uint32_t)((int32_t)value >> (by > 31 ? 31 : by));
    default:
        by &= 31;
        value = by == 0 ? value : value >> by | value << (32 - by);
        *carry = value >> 31;
        return value;
    }
}

static uint32_t of_result(uint32_t result) { return (result >> 31) * N | (result == 0) * Z; }

/* A register as an operand; that of the program counter is two half words ahead. */
static uint32_t get(const struct core *c, uint32_t reg, uint32_t here) { return reg == PC ? here + 4 : c->r[reg]; }

/* put writes a register; of the stack pointer two bits are always zero, and of a jump the lowest one. */
static void put(struct core *c, uint32_t reg, uint32_t value)
{
    c->r[reg] = reg == PC ? value & ~1u : reg == SP ? value & ~3u : value;
}

static void do_logic(struct core *c, const struct instruction *i, uint32_t here, bool set)
{
    uint32_t carry = c->flags >> 1 & 1, b, a = c->r[i->n], result;

    if (i->immediate) {
        b = i->value;
        carry = i->carry == CARRY_STAYS ? carry : i->carry;
    } else {
        b = shifted(get(c, i->m, here), i->shift, i->amount, &carry);
    }
    switch (i->operation) {
    case AND:
    case TST:
        result = a & b;
        break;
    case BIC:
        result = a & ~b;
        break;
    case ORR:
        result = a | b;
        break;
    case ORN:
        result = a | ~b;
        break;
    case EOR:
    case TEQ:
        result = a ^ b;
        break;
    case MOV:
        result = b;
        break;
    default:
        result = ~b;
    }
    if (i->operation < TST)
        put(c, i->d, result);
    if (set)
        c->flags = of_result(result) | carry * C | (c->flags & V);
}

static void do_sum(struct core *c, const struct instruction *i, uint32_t here, bool set)
{
    uint32_t unused = c->flags >> 1 & 1, in = 0, a = get(c, i->n, here), b, result;
    uint64_t sum;

    b = i->immediate ? i->value : shifted(get(c, i->m, here), i->shift, i->amount, &unused);
    switch (i->operation) {
    case ADC:
        in = c->flags >> 1 & 1;
        break;
    case SBC:
        b = ~b;
        in = c->flags >> 1 & 1;
        break;
    case SUB:
    case CMP:
        b = ~b;
        in = 1;
        break;
    case RSB:
        a = ~a;
        in = 1;
    }
    sum = (uint64_t)a + b + in;
    result = (uint32_t)sum;
    if (i->operation < CMP)
        put(c, i->d, result);
    if (set)
        c->flags = of_result(result) | (uint32_t)(sum >> 32) * C | (~(a ^ b) & (a ^ result)) >> 31;
}

/*
 * room returns where n bytes of memory are, or NULL if that is nowhere. The flash
 * can only be read. An address need not be a multiple of the size; on a Cortex-M0
 * that would be the end of the run.
 */
static uint8_t *room(struct thumb_program *p, struct state *s, uint32_t address, uint32_t n, bool load)
{
    if (address - RAM <= RAM_SIZE - n)
        return s->ram + (address - RAM);
    if (load && address - FLASH <= FLASH_SIZE - n)
        return p->flash + (address - FLASH);
    return NULL;
}

/* jump branches to where a loaded or given address says; without the bit for Thumb that is a fault. */
static enum thumb jump(struct core *c, uint32_t to)
{
    c->r[PC] = to & ~1u;
    return to & 1 ? THUMB_RUNS : THUMB_CRASHED;
}

static enum thumb move(struct thumb_program *p, struct state *s, const struct instruction *i, uint32_t address, uint32_t reg)
{
    uint8_t *at = room(p, s, address, i->width, i->load);
    uint32_t value = 0;

    if (!at)
        return THUMB_CRASHED;
    if (!i->load) {
        memcpy(at, &s->core.r[reg], i->width);
        return THUMB_RUNS;
    }
    memcpy(&value, at, i->width);
    if (i->sign)
        value = extend(value, 8 * i->width);
    if (reg == PC)
        return jump(&s->core, value);
    put(&s->core, reg, value);
    return THUMB_RUNS;
}

static enum thumb do_access(struct thumb_program *p, struct state *s, const struct instruction *i, uint32_t here)
{
    struct core *c = &s->core;
    uint32_t base = i->n == PC ? (here + 4) & ~3u : c->r[i->n], unused = 0;
    uint32_t to = base + (i->immediate ? i->value : shifted(c->r[i->m], i->shift, i->amount, &unused));
    enum thumb end = move(p, s, i, i->index ? to : base, i->d);

    if (i->back)
        put(c, i->n, to);
    return end;
}

static enum thumb do_pair(struct thumb_program *p, struct state *s, const struct instruction *i)
{
    uint32_t base = s->core.r[i->n], to = base + i->value, at = i->index ? to : base;
    struct instruction word = {.width = 4, .load = i->load};

    if (move(p, s, &word, at, i->d) != THUMB_RUNS || move(p, s, &word, at + 4, i->a) != THUMB_RUNS)
        return THUMB_CRASHED;
    if (i->back)
        put(&s->core, i->n, to);
    return THUMB_RUNS;
}

static enum thumb do_multiple(struct thumb_program *p, struct state *s, const struct instruction *i)
{
    uint32_t base = s->core.r[i->n], n = 4u * i->amount, at = i->index ? base - n : base;
    struct instruction word = {.width = 4, .load = i->load};

    if (i->back)
        put(&s->core, i->n, i->index ? base - n : base + n);
    for (uint32_t reg = 0; reg <= PC; reg++) {
        if (!(i->value >> reg & 1))
            continue;
        if (move(p, s, &word, at, reg) != THUMB_RUNS)
            return THUMB_CRASHED;
        at += 4;
    }
    return THUMB_RUNS;
}

static uint32_t extended(uint32_t operation, uint32_t value)
{
    switch (operation) {
    case SXTH:
        return extend(value, 16);
    case SXTB:
        return extend(value, 8);
    case UXTH:
        return value & 0xffff;
    default:
        return value & 0xff;
    }
}

static uint32_t reversed(uint32_t operation, uint32_t value)
{
    switch (operation) {
    case REV:
        return __builtin_bswap32(value);
    case REV16:
        return (value & 0x00ff00ff) << 8 | (value >> 8 & 0x00ff00ff);
    default:
        return extend(__builtin_bswap32(value) >> 16, 16);
    }
}

static uint32_t field(const struct core *c, const struct instruction *i)
{
    uint32_t mask = 0xffffffffu >> (32 - i->amount), from = i->n == PC ? 0 : c->r[i->n];

    switch (i->operation) {
    case SIGNED:
        return extend(from >> i->shift, i->amount);
    case UNSIGNED:
        return from >> i->shift & mask;
    default:
        return (c->r[i->d] & ~(mask << i->shift)) | (from & mask) << i->shift;
    }
}

static enum thumb do_table(struct thumb_program *p, struct state *s, const struct instruction *i, uint32_t here)
{
    uint32_t base = get(&s->core, i->n, here), value = 0;
    uint8_t *at = room(p, s, base + s->core.r[i->m] * i->width, i->width, true);

    if (!at)
        return THUMB_CRASHED;
    memcpy(&value, at, i->width);
    s->core.r[PC] = here + 4 + 2 * value;
    return THUMB_RUNS;
}

static void do_multiply(struct core *c, const struct instruction *i, bool set)
{
    uint32_t product = c->r[i->n] * c->r[i->m], added = i->a == PC ? 0 : c->r[i->a];

    c->r[i->d] = i->operation ? added - product : added + product;
    if (set)
        c->flags = of_result(c->r[i->d]) | (c->flags & (C | V));
}

static void do_shift(struct core *c, const struct instruction *i, bool set)
{
    uint32_t carry = c->flags >> 1 & 1;

    c->r[i->d] = shifted(c->r[i->n], i->operation, c->r[i->m] & 0xff, &carry);
    if (set)
        c->flags = of_result(c->r[i->d]) | carry * C | (c->flags & V);
}

static enum thumb execute(struct thumb_program *p, struct state *s, const struct instruction *i, uint32_t here, bool set)
{
    struct core *c = &s->core;
    uint64_t product;
    uint32_t to;

    switch (i->kind) {
    case LOGIC:
        do_logic(c, i, here, set);
        return THUMB_RUNS;
    case SUM:
        do_sum(c, i, here, set);
        return THUMB_RUNS;
    case SHIFT:
        do_shift(c, i, set);
        return THUMB_RUNS;
    case MULTIPLY:
        do_multiply(c, i, set);
        return THUMB_RUNS;
    case LONG_MULTIPLY:
        product = (uint64_t)c->r[i->n] * c->r[i->m];
        c->r[i->a] = (uint32_t)product;
        c->r[i->d] = (uint32_t)(product >> 32);
        return THUMB_RUNS;
    case ACCESS:
        return do_access(p, s, i, here);
    case PAIR:
        return do_pair(p, s, i);
    case MULTIPLE:
        return do_multiple(p, s, i);
    case BRANCH:
        c->r[PC] = here + i->value;
        return THUMB_RUNS;
    case BRANCH_IF:
        if (holds(i->operation, c->flags))
            c->r[PC] = here + i->value;
        return THUMB_RUNS;
    case BRANCH_ZERO:
        if ((c->r[i->n] == 0) != i->operation)
            c->r[PC] = here + i->value;
        return THUMB_RUNS;
    case BRANCH_LINK:
        c->r[LR] = (here + 4) | 1;
        c->r[PC] = here + i->value;
        return THUMB_RUNS;
    case BRANCH_REGISTER:
        to = c->r[i->m];
        if (i->operation)
            c->r[LR] = (here + 2) | 1;
        return jump(c, to);
    case BRANCH_TABLE:
        return do_table(p, s, i, here);
    case ADDRESS:
        c->r[i->d] = ((here + 4) & ~3u) + i->value;
        return THUMB_RUNS;
    case EXTEND:
        c->r[i->d] = extended(i->operation, c->r[i->m]);
        return THUMB_RUNS;
    case REVERSE:
        c->r[i->d] = reversed(i->operation, c->r[i->m]);
        return THUMB_RUNS;
    case LEADING_ZEROS:
        c->r[i->d] = c->r[i->m] == 0 ? 32 : (uint32_t)__builtin_clz(c->r[i->m]);
        return THUMB_RUNS;
    case FIELD:
        put(c, i->d, field(c, i));
        return THUMB_RUNS;
    case MOVE_TOP:
        put(c, i->d, (c->r[i->d] & 0xffff) | i->value << 16);
        return THUMB_RUNS;
    case BLOCK:
        c->it = i->value;
        return THUMB_RUNS;
    case NOTHING:
        return THUMB_RUNS;
    case UNDEFINED:
        return THUMB_CRASHED;
    default:
        return THUMB_UNKNOWN;
    }
}

/* leave goes behind an instruction, in its IT block too. */
static void leave(struct core *c, const struct instruction *i)
{
    c->r[PC] += i->size;
    c->it = c->it & 7 ? (c->it & 0xe0) | (c->it << 1 & 0x1f) : 0;
}

bool thumb_holds(const struct core *c) { return holds(c->it >> 4, c->flags); }

enum thumb thumb_skip(struct thumb_program *p, struct core *c)
{
    const struct instruction *i = fetch(p, c->r[PC]);

    if (!i)
        return THUMB_CRASHED;
    leave(c, i);
    return THUMB_RUNS;
}

enum thumb thumb_step(struct thumb_program *p, struct state *s)
{
    struct core *c = &s->core;
    uint32_t here = c->r[PC], it = c->it;
    const struct instruction *i = fetch(p, here);

    if (!i)
        return THUMB_CRASHED;
    leave(c, i);
    if (it && !holds(it >> 4, c->flags))
        return i->kind == UNKNOWN ? THUMB_UNKNOWN : THUMB_RUNS;
    return execute(p, s, i, here, i->set == ALWAYS || (i->set == OUTSIDE && !it));
}

bool thumb_stores(struct thumb_program *p, const struct core *c)
{
    const struct instruction *i = fetch(p, c->r[PC]);

    return i && (i->kind == ACCESS || i->kind == PAIR || i->kind == MULTIPLE) && !i->load;
}
