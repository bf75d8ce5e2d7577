/* SPDX-License-Identifier: Apache-2.0 */
#include "delta.h"

enum { MAX_IMAGE = (1 << 23) - 1, MAX_MAP = 4096, MIN_RESTART = 1024, MOST = 32, BLOCK = 1024, SMALL_MAP = 64 };

/* What a unit of the old image is taken for. */
enum kind { HALFWORD, BRANCH, POINTER, VARIABLE, LOAD, SINGLE, KINDS };

/* What stands before a token. */
enum place { AFTER_LITERAL, AFTER_REPEAT, AFTER_COVER, PLACES };

/* The model: where in cells each part of it begins. Parts of a number are below. */
enum {
    COVER_SHIFT = 0,
    COVER_LENGTH = COVER_SHIFT + OTAPACK_DELTA_NUMBER,
    REPEAT_DISTANCE = COVER_LENGTH + OTAPACK_DELTA_NUMBER,
    REPEAT_LENGTH = REPEAT_DISTANCE + OTAPACK_DELTA_NUMBER,
    DIFFERENCE = REPEAT_LENGTH + OTAPACK_DELTA_NUMBER, /* [BRANCH to VARIABLE] */
    NOT_LITERAL = DIFFERENCE + 3 * OTAPACK_DELTA_NUMBER, /* [place][parity] */
    IS_COVER = NOT_LITERAL + PLACES * 2,
    NEW_DISTANCE = IS_COVER + PLACES,
    MISSED = NEW_DISTANCE + 2, /* [kind, or KINDS for pointers to functions][changed][history] */
    CHANGED = MISSED + (KINDS + 1) * 2 * 8,
    DIRTY = CHANGED + KINDS,
    RAW = DIRTY + 8,
    RECENT = RAW + 3, /* [BRANCH to VARIABLE][which] */
    ANOTHER = RECENT + 3 * 4,
    HIGH_CHANGED = ANOTHER + 1,
    HIGH = HIGH_CHANGED + 8,
    LOW = HIGH + 256, /* [high changed] */
    PLAIN = LOW + 2 * 256, /* [parity], of patches with a small map only */
    MIXED = PLAIN, /* [upper or lower half of the byte][near or far][context and parity][node], of all others */
    CONTEXT = 64 * 16, /* and as many as 4 * 256 */
    ALL = OTAPACK_DELTA_SMALL ? PLAIN + 2 * 256 : MIXED + 2 * 2 * CONTEXT
};

typedef char cells_are_as_many[(int)ALL == (int)OTAPACK_DELTA_CELLS ? 1 : -1];

enum { SECOND = 24, THIRD = SECOND + 13, BELOW = THIRD + 26, EVEN = 2048 << 4, RARELY = 3500 << 4 | 3 };

/* Range decoder. */

static void refuse(struct otapack_delta *d)
{
    if (!d->fault)
        d->fault = OTAPACK_DELTA_CORRUPT;
}

/* next_byte returns the patch's next byte, or zero once it could not be had. */
static uint32_t next_byte(struct otapack_delta *d)
{
    if (d->in_next == d->in_length && !d->input) {
        int32_t got = d->io->patch(d->io->ctx, d->offset, d->in, sizeof d->in);

        d->in_next = d->in_length = 0;
        if (got > 0 && got <= (int32_t)sizeof d->in)
            d->in_length = (uint32_t)got;
        else
            d->input = got == 0 ? OTAPACK_DELTA_TRUNCATED : OTAPACK_DELTA_IO;
    }
    if (d->input)
        return 0;
    d->offset++;
    return d->in[d->in_next++];
}

static void begin(struct otapack_delta *d)
{
    d->width = UINT32_MAX;
    for (int i = 0; i < 4; i++)
        d->value = d->value << 8 | next_byte(d);
}

/* end checks that the stream ends here. */
static void end(struct otapack_delta *d)
{
    if (!d->input && d->value != 0)
        d->input = OTAPACK_DELTA_CORRUPT;
}

/* code returns a bit whose probability to be 0 is zero/4096. */
static uint32_t code(struct otapack_delta *d, uint32_t zero)
{
    uint32_t bound = (d->width >> 12) * zero, bit = d->value >= bound;

    if (bit) {
        d->value -= bound;
        d->width -= bound;
    } else {
        d->width = bound;
    }
    while (d->width < 1u << 24) {
        d->width <<= 8;
        d->value = d->value << 8 | next_byte(d);
    }
    return bit;
}

static uint32_t zero_of(uint16_t cell) { return cell >> 4 ? cell >> 4 : 1; }

/* The cell moves towards a bit, no slower than the last rate says. */
static void adapt(uint16_t *cell, uint32_t bit, uint32_t last)
{
    static const uint16_t rates[] = {40960, 25206, 18204, 14246, 11703, 9930, 8623, 7620, 6826, 5640, 4681, 3855};
    uint32_t v = *cell >> 4, n = *cell & 15, rate = rates[n];

    if (bit)
        v -= (v * rate + (1u << 15)) >> 16;
    else
        v += ((4095 - v) * rate + (1u << 15)) >> 16;
    if (n < last)
        n++;
    *cell = (uint16_t)(v << 4 | n);
}

static void learn(uint16_t *cell, uint32_t bit) { adapt(cell, bit, 11); }

static uint32_t bit(struct otapack_delta *d, uint32_t cell)
{
    uint32_t b = code(d, zero_of(d->cells[cell]));

    learn(&d->cells[cell], b);
    return b;
}

/* Numbers, bytes, literals. */

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static int32_t number(struct otapack_delta *d, uint32_t n)
{
    uint32_t k = 0, v = 1;

    while (k < 24 && bit(d, n + k))
        k++;
    for (uint32_t i = k, row = least(k, 13) - 1; i-- > 0;) {
        uint32_t cell = n + BELOW + least(i, 15);

        if (i + 1 == k)
            cell = n + SECOND + row;
        else if (i + 2 == k)
            cell = n + THIRD + 2 * row + (v & 1);
        v = v << 1 | bit(d, cell);
    }
    return (int32_t)(v - 1);
}

static int32_t signed_number(struct otapack_delta *d, uint32_t n)
{
    int32_t v = number(d, n);

    return v >> 1 ^ -(v & 1);
}

static uint32_t coded_byte(struct otapack_delta *d, uint32_t tree)
{
    uint32_t node = 1;

    while (node < 256)
        node = node << 1 | bit(d, tree + node);
    return node & 255;
}

#if !OTAPACK_DELTA_SMALL
static const int16_t stretched[65] = {
    -2047, -1061, -879, -771, -693, -632, -581, -537, -498, -463, -432, -403, -375, -350, -326, -303,
    -281, -260, -240, -221, -202, -183, -166, -148, -131, -114, -97, -81, -64, -48, -32, -16,
    0, 16, 32, 48, 64, 81, 97, 114, 131, 148, 166, 183, 202, 221, 240, 260,
    281, 303, 326, 350, 375, 403, 432, 463, 498, 537, 581, 632, 693, 771, 879, 1061,
    2047,
};

static const int16_t squashed[33] = {
    1, 2, 4, 6, 10, 17, 27, 45, 74, 120, 194, 311, 488, 747, 1102, 1546,
    2048, 2550, 2994, 3349, 3608, 3785, 3902, 3976, 4022, 4051, 4069, 4079, 4086, 4090, 4092, 4094,
    4095,
};

/* between interpolates in a table with a step of 1<<shift. */
static int32_t between(const int16_t *table, int32_t at, int shift)
{
    table += at >> shift;
    return table[0] + (((table[1] - table[0]) * (at & ((1 << shift) - 1))) >> shift);
}

static int32_t clamp(int32_t v, int32_t limit) { return v < -limit ? -limit : v > limit ? limit : v; }

/* mix decodes a bit of a byte with the weighted mean of what the cells of two contexts say. */
static uint32_t mix(struct otapack_delta *d, uint32_t before, uint32_t parity, uint32_t node)
{
    uint32_t lower = node >= 16, drop = lower ? 7 : 3, size = lower ? 256 : 16;
    int32_t *weights = &d->weights[parity * 4 + lower * 2];
    uint16_t *cells[2];
    int32_t in[2], sum = 0, miss;
    uint32_t zero, b;

    for (uint32_t i = 0; i < 2; i++) {
        uint32_t context = before >> (i == parity ? 0 : 8) & 255, p;

        cells[i] = &d->cells[MIXED + (lower * 2 + i) * CONTEXT + ((context >> drop) * 2 + parity) * size + node];
        p = zero_of(*cells[i]);
        in[i] = between(stretched, (int32_t)p, 6);
        sum += weights[i] * in[i];
    }
    zero = (uint32_t)between(squashed, clamp(sum >> 16, 2047) + 2048, 7);
    b = code(d, zero);
    miss = (b ? 0 : 4096) - (int32_t)zero;
    for (int i = 0; i < 2; i++) {
        weights[i] = clamp(weights[i] + ((in[i] * miss + (1 << 13)) >> 14), 1 << 18);
        learn(cells[i], b);
    }
    return b;
}
#endif

/* literal returns the byte at an offset, given the two before it. */
static uint32_t literal(struct otapack_delta *d, int32_t at, uint32_t before)
{
    uint32_t parity = (uint32_t)at & 1;

#if !OTAPACK_DELTA_SMALL
    if (!d->small) {
        uint32_t node = 1;

        while (node < 256)
            node = node << 1 | mix(d, before, parity, node);
        return node & 255;
    }
#else
    (void)before;
#endif
    return coded_byte(d, PLAIN + parity * 256);
}

/* Views of the images, with branches in absolute form. */

static uint32_t little(const uint8_t *b) { return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24; }

static int is_branch(uint32_t w) { return (w & 0xf800f800) == 0xf800f000 || (w & 0xf800f800) == 0xb800f000; }

static uint32_t field(uint32_t w) { return (w & 0x7ff) << 11 | (w >> 16 & 0x7ff); }

static uint32_t set_field(uint32_t w, uint32_t f) { return (w & 0xf800f800) | (f >> 11 & 0x7ff) | (f & 0x7ff) << 16; }

/* view returns n bytes at an offset of an image; n is 1, or the offset even. */
static uint32_t view(struct otapack_delta *d, int (*read)(void *, uint32_t, uint8_t *, uint32_t), int32_t size, int32_t at, int32_t n)
{
    int32_t from = (at & ~1) - 2, to = ((at + n + 1) & ~1) + 2;
    uint8_t b[8];
    uint32_t v = 0;

    if (at < 0 || at + n > size)
        return 0;
    if (from < 0)
        from = 0;
    if (to > size)
        to = size;
    if (read(d->io->ctx, (uint32_t)from, b, (uint32_t)(to - from))) {
        d->fault = OTAPACK_DELTA_IO;
        return 0;
    }
    for (int32_t i = from; i + 4 <= to; i += 2) {
        uint8_t *p = b + (i - from);
        uint32_t w = little(p);

        if (is_branch(w)) {
            w = set_field(w, field(w) + ((uint32_t)i + 4) / 2);
            for (int k = 0; k < 4; k++, w >>= 8)
                p[k] = (uint8_t)w;
            i += 2;
        }
    }
    for (int32_t i = n; i-- > 0;)
        v = v << 8 | b[at - from + i];
    return v;
}

static uint32_t old_bytes(struct otapack_delta *d, int32_t at, int32_t n)
{
    return view(d, d->io->old, (int32_t)d->io->old_length, at, n);
}

static uint8_t *recent(struct otapack_delta *d, int32_t at) { return &d->recent[(uint32_t)at % OTAPACK_DELTA_RECENT]; }

/* back returns a byte of the new image in absolute form. */
static uint32_t back(struct otapack_delta *d, int32_t at)
{
    if (at >= d->kept && d->pos - at <= OTAPACK_DELTA_RECENT)
        return *recent(d, at);
    return view(d, d->io->written, d->done, at, 1);
}

/* The map. */

static int fits(const struct otapack_delta *d, int32_t to, int32_t from, int32_t length, int32_t limit)
{
    return length > 0 && from >= 0 && to + length <= limit && from + length <= (int32_t)d->io->old_length;
}

/* room returns where a token must end. */
static int32_t room(const struct otapack_delta *d)
{
    return d->next < d->count ? d->covers[d->next].to : (int32_t)d->new_length;
}

/* map_moved returns where an old offset is in the new image. */
static int32_t map_moved(const struct otapack_delta *d, int32_t old)
{
    uint32_t low = 0, high = d->count, i;

    if (high == 0)
        return old;
    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (d->covers[d->by_old[middle]].from > old)
            high = middle;
        else
            low = middle + 1;
    }
    i = d->by_old[low ? low - 1 : 0];
    return old + d->covers[i].to - d->covers[i].from;
}

static void reset(struct otapack_delta *d)
{
    for (int i = 0; i < ALL; i++)
        d->cells[i] = (i >= MISSED && i < CHANGED) || (i >= RAW && i < RECENT) ? RARELY : EVEN;
    for (size_t i = 0; i < sizeof d->weights / sizeof d->weights[0]; i++)
        d->weights[i] = 1 << 15;
}

static void read_map(struct otapack_delta *d)
{
    int32_t n = number(d, COVER_LENGTH), at = 0, shift = 0;

    if (n > (int32_t)d->map_size) {
        refuse(d);
        return;
    }
    for (int32_t i = 0; i < n; i++) {
        int32_t to = at + number(d, REPEAT_DISTANCE), from, length, k = i;

        shift += signed_number(d, COVER_SHIFT);
        from = to + shift;
        length = number(d, COVER_LENGTH);
        at = to + length;
        if (d->input || !fits(d, to, from, length, (int32_t)d->new_length)) {
            refuse(d);
            return;
        }
        d->covers[i].to = to;
        d->covers[i].from = from;
        d->covers[i].length = length;
        for (; k > 0 && d->covers[d->by_old[k - 1]].from > from; k--)
            d->by_old[k] = d->by_old[k - 1];
        d->by_old[k] = (uint16_t)i;
    }
    d->count = (uint32_t)n;
    reset(d);
}

/* What misses teach. */

/* slot returns the entry of a table of 1<<bits entries for a value. */
static uint32_t slot(const struct otapack_delta *d, uint32_t value, int bits)
{
    return value * 0x9e3779b1u >> (32 - bits + (OTAPACK_DELTA_SMALL || d->small));
}

static uint32_t target_slot(const struct otapack_delta *d, int32_t old) { return slot(d, (uint32_t)old >> 1, 6); }

static int32_t moved(const struct otapack_delta *d, int32_t old)
{
    uint32_t i = target_slot(d, old), to = (uint32_t)map_moved(d, old);

    if (d->learned.targets[i].old == (old & ~1))
        to += (uint32_t)d->learned.targets[i].add;
    return (int32_t)to;
}

/* A unit is what one flag says of a cover: whether the prediction is right. */
struct unit {
    enum kind kind;
    int32_t size; /* bytes */
    uint32_t old, predicted;
};

/* target returns the offset that a branch in absolute form leads to. */
static int32_t target(uint32_t w) { return ((int32_t)(field(w) << 10) >> 10) * 2; }

static void learn_target(struct otapack_delta *d, const struct unit *u, uint32_t is)
{
    int32_t old = (int32_t)(u->old - d->old_base), to = (int32_t)(is - d->new_base);
    uint32_t i;

    if (u->kind == BRANCH) {
        if (set_field(is, 0) != set_field(u->old, 0))
            return;
        old = target(u->old);
        to = target(is);
    }
    i = target_slot(d, old);
    d->learned.targets[i].old = old & ~1;
    d->learned.targets[i].add = (int32_t)((uint32_t)to - (uint32_t)map_moved(d, old));
}

static uint32_t variable_moved(const struct otapack_delta *d, uint32_t old)
{
    uint32_t best = UINT32_MAX, shift = 0;

    for (uint32_t i = 0; i < least(d->learned.count, 32); i++)
        if (old - d->learned.variables[i].old < best) {
            best = old - d->learned.variables[i].old;
            shift = d->learned.variables[i].shift;
        }
    return old + shift;
}

static void learn_variable(struct otapack_delta *d, uint32_t old, uint32_t is)
{
    uint32_t i, n = least(d->learned.count, 32);

    for (i = 0; i < n && d->learned.variables[i].old != old; i++)
        ;
    if (i == n)
        i = d->learned.count++ % 32;
    d->learned.variables[i].old = old;
    d->learned.variables[i].shift = is - old;
}

/* told says whether a halfword became another before. */
static int told(const struct otapack_delta *d, uint32_t h, uint32_t *became)
{
    uint32_t i = slot(d, h, 7);

    *became = d->learned.substitutions[i].became;
    return d->learned.substitutions[i].old == h && *became != h;
}

/* Covers. */

static void predict(struct otapack_delta *d, struct unit *u)
{
    int32_t at = d->pos, old = at + d->shift;
    uint32_t aligned = ((at | old) & 3) == 0, v;

    u->size = d->covering < 2 || ((at | old) & 1) ? 1 : d->covering < 4 ? 2 : 4;
    u->old = u->predicted = v = old_bytes(d, old, u->size);
    if (u->size == 1) {
        u->kind = SINGLE;
        return;
    }
    if (u->size == 4) {
        if (aligned && v - d->old_base < d->io->old_length) {
            u->kind = POINTER;
            u->predicted = d->new_base + (uint32_t)moved(d, (int32_t)(v - d->old_base));
            return;
        }
        if (aligned && v >= d->ram_start && v < d->ram_end) {
            u->kind = VARIABLE;
            u->predicted = variable_moved(d, v);
            return;
        }
        if (is_branch(v)) {
            u->kind = BRANCH;
            u->predicted = set_field(v, (uint32_t)moved(d, target(v)) >> 1);
            return;
        }
    }
    u->kind = HALFWORD;
    u->size = 2;
    u->old = u->predicted = v & 0xffff;
    if (u->old >> 11 == 9) { /* LDR Rt, [PC, #imm8*4] */
        uint32_t distance = (uint32_t)(map_moved(d, ((old + 4) & ~3) + (int32_t)(v & 255) * 4) - ((at + 4) & ~3));

        u->kind = LOAD;
        if (distance <= 1020 && (distance & 3) == 0)
            u->predicted = (u->old & 0xff00) | distance / 4;
    }
}

static int32_t coded_difference(struct otapack_delta *d, uint32_t kind)
{
    int32_t *latest = d->learned.recents[kind], v;
    uint32_t i = 0;

    while (i < 4 && bit(d, RECENT + kind * 4 + i))
        i++;
    if (i < 4) {
        v = latest[i];
    } else {
        v = signed_number(d, DIFFERENCE + kind * OTAPACK_DELTA_NUMBER);
        i = 3;
    }
    for (; i > 0; i--)
        latest[i] = latest[i - 1];
    latest[0] = v;
    return v;
}

static uint32_t last_two(uint32_t before, uint32_t bytes, int32_t n)
{
    for (; n > 0; n--, bytes >>= 8)
        before = (before << 8 & 0xff00) | (bytes & 255);
    return before;
}

static uint32_t missed_word(struct otapack_delta *d, const struct unit *u)
{
    uint32_t kind = (uint32_t)u->kind - BRANCH, v = 0;

    if (bit(d, RAW + kind)) {
        for (int i = 0; i < 4; i++)
            v |= literal(d, d->pos + i, last_two(d->last, v, i)) << 8 * i;
        return v;
    }
    v = (uint32_t)coded_difference(d, kind);
    if (u->kind == BRANCH)
        return set_field(u->predicted, field(u->predicted) + v);
    return u->predicted + v;
}

static uint32_t missed_halfword(struct otapack_delta *d, uint32_t predicted)
{
    uint32_t i = slot(d, predicted, 7), high = predicted >> 8, changed, is;

    if (told(d, predicted, &is) && !bit(d, ANOTHER))
        return is;
    changed = bit(d, HIGH_CHANGED + (high >> 5));
    if (changed)
        high += coded_byte(d, HIGH);
    is = (high << 8 & 0xff00) | ((predicted + coded_byte(d, LOW + changed * 256)) & 255);
    d->learned.substitutions[i].old = (uint16_t)predicted;
    d->learned.substitutions[i].became = (uint16_t)is;
    return is;
}

static uint32_t missed(struct otapack_delta *d, const struct unit *u)
{
    uint32_t is = u->old;

    if (u->predicted == u->old || bit(d, CHANGED + (uint32_t)u->kind)) {
        if (u->size == 4)
            is = missed_word(d, u);
        else if (u->size == 2)
            is = missed_halfword(d, u->predicted);
        else
            is = (u->predicted + coded_byte(d, LOW)) & 255;
    }
    if (u->kind == VARIABLE)
        learn_variable(d, u->old, is);
    else if (u->size == 4)
        learn_target(d, u, is);
    return is;
}

/* miss_cell is the cell that says whether a prediction is wrong. */
static uint32_t miss_cell(const struct otapack_delta *d, const struct unit *u)
{
    uint32_t row = (uint32_t)u->kind, column = u->predicted != u->old, became;

    if (u->kind == POINTER && (u->old & 1))
        row = KINDS;
    else if (u->kind == HALFWORD)
        column = (uint32_t)told(d, u->old, &became);
    return MISSED + (row * 2 + column) * 8 + (d->miss_history & 7);
}

/* unit decodes one unit of a cover and returns its length. */
static int32_t unit(struct otapack_delta *d, uint32_t *bytes)
{
    struct unit u;

    if (d->block == 0) {
        d->block = d->covering < BLOCK ? d->covering : BLOCK;
        d->dirty = bit(d, DIRTY + (d->dirt_history & 7));
        d->dirt_history = d->dirt_history << 1 | d->dirty;
    }
    predict(d, &u);
    *bytes = u.predicted;
    if (d->dirty) {
        uint16_t *cell = &d->cells[miss_cell(d, &u)];
        uint32_t miss = code(d, zero_of(*cell));

        adapt(cell, miss, 9);
        d->miss_history = d->miss_history << 1 | miss;
        if (miss)
            *bytes = missed(d, &u);
    }
    d->covering -= u.size;
    d->block = d->block < u.size ? 0 : d->block - u.size;
    return u.size;
}

static void open_cover(struct otapack_delta *d, int32_t from, int32_t length)
{
    if (!fits(d, d->pos, from, length, room(d))) {
        refuse(d);
        return;
    }
    d->covering = length;
    d->block = 0;
    d->shift = from - d->pos;
    d->place = AFTER_COVER;
}

/* token decodes what no cover of the map holds, and returns the length of a literal. */
static int32_t token(struct otapack_delta *d, uint32_t *bytes)
{
    int32_t length;

    if (!bit(d, NOT_LITERAL + d->place * 2 + ((uint32_t)d->pos & 1))) {
        d->place = AFTER_LITERAL;
        *bytes = literal(d, d->pos, d->last);
        return 1;
    }
    if (bit(d, IS_COVER + d->place)) {
        length = number(d, COVER_LENGTH) + 1;
        open_cover(d, signed_number(d, COVER_SHIFT) + d->pos + d->shift, length);
        return 0;
    }
    if (bit(d, NEW_DISTANCE + (d->place == AFTER_REPEAT)))
        d->distance = number(d, REPEAT_DISTANCE) + 1;
    length = number(d, REPEAT_LENGTH) + 2;
    d->place = AFTER_REPEAT;
    if (d->distance > d->pos || length > room(d) - d->pos)
        refuse(d);
    else
        d->copying = length;
    return 0;
}

/* Restart points. */

static int32_t settled_at(int32_t pos) { return pos < 2 ? 0 : (pos & ~1) - 2; }

static void clear(void *at, size_t n)
{
    for (uint8_t *b = at; n > 0; n--)
        *b++ = 0;
}

/* forget resets all that a restart does not carry over. */
static void forget(struct otapack_delta *d)
{
    reset(d);
    clear(&d->learned, sizeof d->learned);
    d->miss_history = d->dirt_history = 0;
    d->distance = 1;
    d->place = AFTER_LITERAL;
    d->restart_at = d->pos + (int32_t)d->restart;
}

static uint8_t *put(uint8_t *to, uint32_t v, int n)
{
    for (; n > 0; n--, v >>= 8)
        *to++ = (uint8_t)v;
    return to;
}

void otapack_delta_state(const struct otapack_delta *d, uint8_t state[OTAPACK_DELTA_STATE_SIZE])
{
    int32_t pos = (int32_t)(little(d->ahead + 7) & 0xffffff);
    const uint8_t *from = d->done >= settled_at(pos) ? d->ahead : d->reached;

    for (int i = 0; i < OTAPACK_DELTA_STATE_SIZE; i++)
        state[i] = from[i];
}

static void restart(struct otapack_delta *d)
{
    uint8_t *to = d->ahead;

    end(d);
    begin(d);
    forget(d);
    otapack_delta_state(d, d->reached);
    to = put(put(put(to, d->tag, 4), d->offset - 4, 3), (uint32_t)d->pos, 3);
    to = put(put(put(to, (uint32_t)d->shift, 4), d->next, 2), (uint32_t)d->covering, 3);
    for (int i = 0; i < 6; i++)
        to[i] = *recent(d, d->pos - 6 + i);
}

/* step decodes the next piece, of zero to four bytes. */
static void step(struct otapack_delta *d)
{
    uint32_t bytes = 0;
    int32_t n = 0;

    if (d->restart > 0 && d->pos >= d->restart_at && d->copying == 0 && (d->covering == 0 || d->block == 0)) {
        restart(d);
    } else if (d->copying > 0) {
        d->copying--;
        bytes = back(d, d->pos - d->distance);
        n = 1;
    } else if (d->covering > 0) {
        n = unit(d, &bytes);
    } else if (d->next < d->count && d->covers[d->next].to == d->pos) {
        d->next++;
        open_cover(d, d->covers[d->next - 1].from, d->covers[d->next - 1].length);
    } else {
        n = token(d, &bytes);
    }
    d->last = last_two(d->last, bytes, n);
    for (; n > 0; n--, bytes >>= 8)
        *recent(d, d->pos++) = (uint8_t)bytes;
}

/* fault returns what went wrong, if anything. */
static int fault(const struct otapack_delta *d)
{
    if (d->fault == OTAPACK_DELTA_IO)
        return d->fault;
    return d->input ? d->input : d->fault;
}

/* The header. */

struct fields {
    struct otapack_delta *d;
    uint32_t tag;
    int bad;
};

static uint32_t header_byte(struct fields *f)
{
    uint32_t b = next_byte(f->d);

    if (f->d->input)
        f->bad = 1;
    f->tag ^= b;
    for (int i = 0; i < 8; i++)
        f->tag = f->tag >> 1 ^ (0xedb88320u & (0u - (f->tag & 1)));
    return b;
}

/* header_number reads LEB128 in its shortest form. */
static uint32_t header_number(struct fields *f)
{
    uint32_t v = 0, b = 0x80;

    for (int shift = 0; b >= 0x80 && !f->bad; shift += 7) {
        b = header_byte(f);
        if ((shift == 28 && b > 15) || (shift > 0 && b == 0))
            f->bad = 1;
        v |= (b & 0x7f) << shift;
    }
    return v;
}

static uint32_t header_address(struct fields *f)
{
    uint32_t v = header_number(f);

    return v << 8 | v >> 24;
}

/* optional reads a field that is there if it is not as usual: a header has one encoding. */
static uint32_t optional(struct fields *f, uint32_t there, uint32_t (*read)(struct fields *), uint32_t usual)
{
    uint32_t v = usual;

    if (there) {
        v = read(f);
        if (v == usual)
            f->bad = 1;
    }
    return v;
}

static int read_header(struct otapack_delta *d)
{
    enum { NEW_BASE = 1, RAM = 2, RAM_START = 4, MAP = 8, RESTART = 16 };
    struct fields f = {d, UINT32_MAX, 0};
    uint32_t magic = header_byte(&f), flags = header_byte(&f), sign, old;

    if (d->input == OTAPACK_DELTA_IO)
        return OTAPACK_DELTA_IO;
    if (f.bad || magic != 0xd1)
        return OTAPACK_DELTA_HEADER;
    if (flags >> 5 != 1)
        return OTAPACK_DELTA_VERSION;
    d->new_length = header_number(&f);
    old = header_number(&f);
    sign = 0u - (old & 1);
    old = d->new_length + (old >> 1 ^ sign);
    if (sign && old >= d->new_length)
        f.bad = 1; /* less than nothing */
    d->old_base = header_address(&f);
    d->new_base = optional(&f, flags & NEW_BASE, header_address, d->old_base);
    if (flags & RAM) {
        d->ram_start = optional(&f, flags & RAM_START, header_address, 0x20000000);
        d->ram_end = d->ram_start + optional(&f, RAM, header_address, 0);
    } else if (flags & RAM_START) {
        f.bad = 1;
    }
    d->map_size = optional(&f, flags & MAP, header_number, 256);
    d->restart = optional(&f, flags & RESTART, header_number, 0);
    if (f.bad)
        return d->input == OTAPACK_DELTA_IO ? OTAPACK_DELTA_IO : OTAPACK_DELTA_HEADER;
    if (d->new_length > MAX_IMAGE || old > MAX_IMAGE)
        return OTAPACK_DELTA_LONG;
    if (d->map_size - 1 >= MAX_MAP || (d->restart && d->restart < MIN_RESTART) || d->restart > MAX_IMAGE || d->ram_end < d->ram_start)
        return OTAPACK_DELTA_PARAMS;
    if (old != d->io->old_length)
        return OTAPACK_DELTA_OLD;
    if (d->new_length > d->io->max_length || d->map_size > OTAPACK_DELTA_COVERS)
        return OTAPACK_DELTA_LIMIT;
    d->tag = ~f.tag;
    d->small = d->map_size <= SMALL_MAP;
    return 0;
}

int otapack_delta_begin(struct otapack_delta *d, const struct otapack_delta_io *io)
{
    clear(d, sizeof *d);
    d->io = io;
    d->input = read_header(d);
    if (d->input)
        return d->input;
    forget(d);
    begin(d);
    read_map(d);
    return fault(d);
}

/* finish checks the end of the patch. */
static void finish(struct otapack_delta *d)
{
    end(d);
    if (fault(d))
        return;
    next_byte(d);
    d->ended = d->input == OTAPACK_DELTA_TRUNCATED;
    if (!d->input)
        d->input = OTAPACK_DELTA_TRAILING;
    else if (d->ended)
        d->input = 0;
}

static uint32_t recent_word(struct otapack_delta *d, int32_t at)
{
    uint32_t v = 0;

    for (int32_t i = 4; i-- > 0;)
        v = v << 8 | *recent(d, at + i);
    return v;
}

/* output returns a byte of the new image as it is in flash. */
static uint8_t output(struct otapack_delta *d, int32_t at)
{
    for (int32_t even = at & ~1, pair = even; pair >= 0 && pair >= even - 2; pair -= 2) {
        uint32_t w = pair + 4 <= d->pos ? recent_word(d, pair) : 0;

        if (is_branch(w))
            return (uint8_t)(set_field(w, field(w) - ((uint32_t)pair + 4) / 2) >> 8 * (at - pair));
    }
    return *recent(d, at);
}

int32_t otapack_delta_read(struct otapack_delta *d, uint8_t *to, uint32_t n)
{
    int32_t length = (int32_t)d->new_length, left;

    if (n > MOST)
        n = MOST;
    while (!fault(d) && d->pos < length && settled_at(d->pos) - d->done < (int32_t)n)
        step(d);
    if (!fault(d) && d->pos == length && !d->ended)
        finish(d);
    if (fault(d))
        return fault(d);
    left = (d->pos == length ? length : settled_at(d->pos)) - d->done;
    n = least(n, (uint32_t)left);
    for (uint32_t i = 0; i < n; i++)
        to[i] = output(d, d->done + (int32_t)i);
    d->done += (int32_t)n;
    return (int32_t)n;
}

uint32_t otapack_delta_done(const struct otapack_delta *d) { return (uint32_t)d->done; }

static int go_on(struct otapack_delta *d, const uint8_t *state)
{
    uint32_t patch = little(state + 4) & 0xffffff;

    d->pos = (int32_t)(little(state + 7) & 0xffffff);
    d->shift = (int32_t)little(state + 10);
    d->next = little(state + 13) >> 8 & 0xffff;
    d->covering = (int32_t)(little(state + 16) & 0xffffff);
    if (little(state) != d->tag || d->restart == 0 || patch < d->offset || d->next > d->count ||
        (d->next > 0 && d->covers[d->next - 1].to > d->pos) || d->shift < -MAX_IMAGE || d->shift > MAX_IMAGE ||
        d->pos > room(d) || (d->covering > 0 && !fits(d, d->pos, d->pos + d->shift, d->covering, room(d))))
        return OTAPACK_DELTA_STATE;
    d->offset = patch - 1; /* is it there at all? */
    d->in_length = d->in_next = 0;
    next_byte(d);
    if (d->input)
        return OTAPACK_DELTA_STATE;
    begin(d);
    forget(d);
    for (int i = 0; i < OTAPACK_DELTA_STATE_SIZE; i++)
        d->ahead[i] = d->reached[i] = state[i];
    for (int i = 0; i < 6; i++)
        *recent(d, d->pos - 6 + i) = state[19 + i];
    d->kept = d->pos > 6 ? d->pos - 6 : 0;
    d->last = (uint32_t)state[23] << 8 | state[24];
    d->done = settled_at(d->pos);
    return fault(d);
}

int otapack_delta_resume(struct otapack_delta *d, const struct otapack_delta_io *io, const uint8_t state[OTAPACK_DELTA_STATE_SIZE])
{
    int32_t bad = otapack_delta_begin(d, io);
    int any = 0;

    for (int i = 0; i < OTAPACK_DELTA_STATE_SIZE; i++)
        any |= state[i];
    if (bad || !any)
        return bad;
    bad = go_on(d, state);
    d->input = d->input ? d->input : bad;
    return bad;
}
