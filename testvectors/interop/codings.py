# SPDX-License-Identifier: Apache-2.0
"""Decoders for the payloads of template T4, for verify_suit.py: od1 from docs/delta.md,
zstd from RFC 8878, HPatchLite and detools from the descriptions in the packages that
write them, DEFLATE with zlib. They are written to be read, not to be fast, and share
no code with otapack.

usage: codings.py CODING PAYLOAD BASE IMAGE

fails unless the payload makes the image of the base, which may be /dev/null. CODING is
the number that stands in the manifest.
"""
import sys
import zlib

MASK = 0xFFFFFFFF


class Damaged(Exception):
    pass


def require(ok):
    if not ok:
        raise Damaged


class Bytes:
    """Bytes one after the other."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def byte(self):
        require(self.at < len(self.data))
        self.at += 1
        return self.data[self.at - 1]

    def take(self, n):
        require(n <= len(self.data) - self.at)
        self.at += n
        return self.data[self.at - n:self.at]

    def little(self, n):
        return int.from_bytes(self.take(n), "little")

    def end(self):
        require(self.at == len(self.data))


def decode(coding, payload, base, size):
    """The image of that size, or Damaged."""
    image = {1: od1, 2: zstd, 3: deflate, 4: hpatchlite, 5: detools}[coding](payload, base, size)
    require(len(image) == size)
    return bytes(image)


# --- DEFLATE (RFC 1951) ---------------------------------------------------------

def deflate(payload, _, size):
    d = zlib.decompressobj(wbits=-15)
    try:
        image = d.decompress(payload, size + 1)
    except zlib.error:
        raise Damaged
    require(d.eof and not d.unused_data and not d.unconsumed_tail)
    return image


# --- od1 (docs/delta.md) --------------------------------------------------------

RATES = (40960, 25206, 18204, 14246, 11703, 9930, 8623, 7620, 6826, 5640, 4681, 3855)
HALF = (-2047, -1061, -879, -771, -693, -632, -581, -537, -498, -463, -432, -403, -375, -350, -326, -303,
        -281, -260, -240, -221, -202, -183, -166, -148, -131, -114, -97, -81, -64, -48, -32, -16)
STRETCH = HALF + (0,) + tuple(-x for x in reversed(HALF))
SQUASH = (1, 2, 4, 6, 10, 17, 27, 45, 74, 120, 194, 311, 488, 747, 1102, 1546, 2048, 2550, 2994, 3349, 3608, 3785, 3902,
          3976, 4022, 4051, 4069, 4079, 4086, 4090, 4092, 4094, 4095)


def stretch(p):
    i = p >> 6
    return STRETCH[i] + ((STRETCH[i + 1] - STRETCH[i]) * (p & 63) >> 6)


def squash(x):
    x = max(-2047, min(x, 2047)) + 2048
    i = x >> 7
    return SQUASH[i] + ((SQUASH[i + 1] - SQUASH[i]) * (x & 127) >> 7)


class Cell:
    def __init__(self, v=2048, n=0, most=11):
        self.v, self.n, self.most = v, n, most

    def zero(self):
        return max(self.v, 1)

    def learn(self, bit):
        if bit:
            self.v -= self.v * RATES[self.n] + 32768 >> 16
        else:
            self.v += (4095 - self.v) * RATES[self.n] + 32768 >> 16
        self.n = min(self.n + 1, self.most)


def cells(first, *more, **how):
    return [cells(*more, **how) if more else Cell(**how) for _ in range(first)]


class Number:
    def __init__(self):
        self.length, self.second, self.third, self.low = cells(24), cells(13), cells(13, 2), cells(16)


class Range:
    """The range coder over the patch."""

    def __init__(self, source):
        self.source = source
        self.begin()

    def begin(self):
        self.width, self.value = MASK, int.from_bytes(self.source.take(4), "big")

    def finish(self):
        require(self.value == 0)

    def split(self, zero):
        bound = (self.width >> 12) * zero
        bit = self.value >= bound
        if bit:
            self.value -= bound
            self.width -= bound
        else:
            self.width = bound
        while self.width < 1 << 24:
            self.width = self.width << 8
            self.value = (self.value << 8 | self.source.byte()) & MASK
        return int(bit)

    def bit(self, cell):
        bit = self.split(cell.zero())
        cell.learn(bit)
        return bit

    def number(self, n):
        k = 0
        while k < 24 and self.bit(n.length[k]):
            k += 1
        v, row = 1, min(k, 13) - 1
        for i in range(k - 1, -1, -1):
            if i == k - 1:
                cell = n.second[row]
            elif i == k - 2:
                cell = n.third[row][v & 1]
            else:
                cell = n.low[min(i, 15)]
            v = v << 1 | self.bit(cell)
        return v - 1

    def signed(self, n):
        v = self.number(n)
        return -(v + 1 >> 1) if v & 1 else v >> 1

    def tree(self, t):
        node = 1
        for _ in range(8):
            node = node << 1 | self.bit(t[node])
        return node & 255


def is_branch(word):
    return word & 0xF800 == 0xF000 and word >> 16 & 0xF800 in (0xF800, 0xB800)


def field(word):
    return (word & 0x7FF) << 11 | word >> 16 & 0x7FF


def with_field(word, f):
    return word & 0xF800F800 | f >> 11 & 0x7FF | (f & 0x7FF) << 16


def target(word):
    f = field(word)
    return 2 * (f - (1 << 22) if f >> 21 else f)


def little(data, at, n):
    return int.from_bytes(data[at:at + n], "little")


def branches(image, sign):
    """To absolute form with sign 1, and back with -1."""
    out = bytearray(image)
    for at in range(0, len(image) - 3, 2):
        word = little(image, at, 4)
        if is_branch(word):
            out[at:at + 4] = with_field(word, field(word) + sign * ((at + 4) // 2)).to_bytes(4, "little")
    return out


class Header:
    def __init__(self, s):
        require(s.byte() == 0xD1)
        flags = s.byte()
        require(flags >> 5 == 1)

        def varint():
            v = shift = 0
            while True:
                b = s.byte()
                v |= (b & 127) << shift
                shift += 7
                if b < 128:
                    require(v <= MASK and (b > 0 or shift == 7))
                    return v
                require(shift < 35)

        def address():
            a = varint()
            return (a << 8 | a >> 24) & MASK

        self.size = varint()
        more = varint()
        self.old = self.size + (-(more + 1 >> 1) if more & 1 else more >> 1)
        self.old_base = self.new_base = address()
        if flags & 1:
            self.new_base = address()
            require(self.new_base != self.old_base)
        require(not flags & 4 or flags & 2)
        self.ram = 0x20000000
        if flags & 4:
            self.ram = address()
            require(self.ram != 0x20000000)
        self.ram_size = address() if flags & 2 else 0
        require(not flags & 2 or self.ram_size > 0)
        self.map = varint() if flags & 8 else 256
        require(not flags & 8 or self.map != 256)
        self.restart = varint() if flags & 16 else 0
        require(1 <= self.map <= 4096 and (not flags & 16 or 1024 <= self.restart < 1 << 23))
        require(0 <= self.old < 1 << 23 and self.size < 1 << 23 and self.ram + self.ram_size <= MASK)


class Patch:
    LITERAL, REPEAT, COVER = 0, 1, 2
    HALFWORD, BRANCH, POINTER, VARIABLE, LOAD, SINGLE = range(6)

    def __init__(self, patch, old, size):
        s = Bytes(patch)
        self.h = h = Header(s)
        require(h.old == len(old) and h.size <= size)
        self.small = h.map <= 64
        self.old, self.new = branches(old, 1), bytearray()
        self.range = Range(s)
        self.reset()
        self.read_map()
        self.shift = self.left = self.block = self.repeat = self.opened = 0
        self.due = h.restart

    def reset(self):
        self.numbers()
        self.not_literal, self.is_cover, self.new_distance = cells(3, 2), cells(3), cells(2)
        self.plain = cells(2, 256)
        self.upper, self.lower = cells(2, 32, 2, 16), cells(2, 2, 2, 256)
        self.weights = [[[1 << 15, 1 << 15], [1 << 15, 1 << 15]], [[1 << 15, 1 << 15], [1 << 15, 1 << 15]]]
        self.dirty, self.missed = cells(8), cells(7, 2, 8, v=3500, n=3, most=9)
        self.changed, self.another, self.high_changed = cells(6), Cell(), cells(8)
        self.high, self.low = cells(256), cells(2, 256)
        self.raw, self.recent_is = cells(6, v=3500, n=3), cells(6, 4)
        self.difference, self.recent = [Number() for _ in range(6)], [[0] * 4 for _ in range(6)]
        self.bits = 6 if self.small else 7
        self.substitutions = [(0, 0)] * (1 << self.bits)
        self.targets = [(0, 0)] * (1 << self.bits - 1)
        self.variables, self.learnt = [], 0
        self.was_dirty = self.misses = 0
        self.distance, self.place = 1, self.LITERAL

    def numbers(self):
        self.cover_length, self.cover_shift = Number(), Number()
        self.repeat_distance, self.repeat_length = Number(), Number()

    def fits(self, new, old, length, end):
        require(length > 0 and old >= 0 and new + length <= end and old + length <= len(self.old))

    def read_map(self):
        r, at, shift, self.map = self.range, 0, 0, []
        count = r.number(self.cover_length)
        require(count <= self.h.map)
        for _ in range(count):
            new = at + r.number(self.repeat_distance)
            shift += r.signed(self.cover_shift)
            length = r.number(self.cover_length)
            self.fits(new, new + shift, length, self.h.size)
            self.map.append((new, new + shift, length))
            at = new + length
        self.numbers()

    def by_map(self, o):
        if not self.map:
            return o
        best = None
        for new, old, _ in self.map:
            if old <= o and (best is None or old >= best[1]):
                best = new, old
        if best is None:
            best = min(self.map, key=lambda c: c[1])
        return o + best[0] - best[1]

    def slot(self, x, bits):
        return (x & MASK) * 0x9E3779B1 % (1 << 32) >> 32 - bits

    def target_slot(self, o):
        return self.slot((o & MASK) >> 1, self.bits - 1)

    def moved(self, o):
        key, correction = self.targets[self.target_slot(o)]
        return self.by_map(o) + (correction if key == o & ~1 else 0)

    def substitution(self, h):
        key, value = self.substitutions[self.slot(h, self.bits)]
        return value if key == h and value != h else None

    # What stands in the image

    def image(self):
        size, r = self.h.size, self.range
        while len(self.new) < size:
            pos = len(self.new)
            ready = self.repeat == 0 and (self.left == 0 or self.block <= 0)
            if self.h.restart and pos >= self.due and ready:
                r.finish()
                r.begin()
                self.reset()
                self.due, self.block = pos + self.h.restart, 0
            room = self.map[self.opened][0] if self.opened < len(self.map) else size
            if self.repeat > 0:
                self.repeat -= 1
                self.new.append(self.new[pos - self.distance])
            elif self.left > 0:
                self.unit()
            elif self.opened < len(self.map) and pos == room:
                new, old, length = self.map[self.opened]
                self.opened += 1
                self.open(old, length, self.map[self.opened][0] if self.opened < len(self.map) else size)
            elif not r.bit(self.not_literal[self.place][pos & 1]):
                self.place = self.LITERAL
                self.literal()
            elif r.bit(self.is_cover[self.place]):
                length = r.number(self.cover_length) + 1
                self.open(pos + self.shift + r.signed(self.cover_shift), length, room)
            else:
                if r.bit(self.new_distance[int(self.place == self.REPEAT)]):
                    self.distance = r.number(self.repeat_distance) + 1
                self.repeat, self.place = r.number(self.repeat_length) + 2, self.REPEAT
                require(self.distance <= pos and self.repeat <= room - pos)
        r.finish()
        r.source.end()
        return branches(self.new, -1)

    def open(self, old, length, room):
        pos = len(self.new)
        self.fits(pos, old, length, room)
        self.shift, self.left, self.block, self.place = old - pos, length, 0, self.COVER

    def literal(self):
        at = len(self.new)
        if self.small:
            self.new.append(self.range.tree(self.plain[at & 1]))
            return
        parity = at & 1
        before = [self.new[at - 1] if at > 0 else 0, self.new[at - 2] if at > 1 else 0]
        if parity:
            before.reverse()
        node = 1
        for _ in range(8):
            if node < 16:
                pair = [self.upper[k][before[k] >> 3][parity][node] for k in (0, 1)]
            else:
                pair = [self.lower[k][before[k] >> 7][parity][node] for k in (0, 1)]
            given = [stretch(c.zero()) for c in pair]
            w = self.weights[parity][int(node >= 16)]
            zero = squash(w[0] * given[0] + w[1] * given[1] >> 16)
            bit = self.range.split(zero)
            miss = (0 if bit else 4096) - zero
            for k in (0, 1):
                w[k] = max(-(1 << 18), min(w[k] + (given[k] * miss + 8192 >> 14), 1 << 18))
                pair[k].learn(bit)
            node = node << 1 | bit
        self.new.append(node & 255)

    def unit(self):
        r, pos = self.range, len(self.new)
        o, left = pos + self.shift, self.left
        if self.block <= 0:
            self.block = min(1024, left)
            self.in_dirty = r.bit(self.dirty[self.was_dirty])
            self.was_dirty = (self.was_dirty << 1 | self.in_dirty) & 7
        kind, n, was, guess = self.predict(o, pos, left)
        value = guess
        if self.in_dirty:
            row = 6 if kind == self.POINTER and was & 1 else kind
            column = self.substitution(was) is not None if kind == self.HALFWORD else guess != was
            miss = r.bit(self.missed[row][int(column)][self.misses])
            self.misses = (self.misses << 1 | miss) & 7
            if miss:
                value = self.correct(kind, was, guess)
                self.learn(kind, was, value)
        del self.new[pos:]
        self.new += value.to_bytes(n, "little")
        self.left -= n
        self.block -= n

    def predict(self, o, pos, left):
        h = self.h
        if left < 2 or pos & 1 or o & 1:
            return self.SINGLE, 1, self.old[o], self.old[o]
        if left >= 4:
            w = little(self.old, o, 4)
            if pos % 4 == 0 and o % 4 == 0:
                at = w - h.old_base & MASK
                if at < len(self.old):
                    return self.POINTER, 4, w, h.new_base + self.moved(at) & MASK
                if h.ram <= w < h.ram + h.ram_size:
                    return self.VARIABLE, 4, w, self.variable(w)
            if is_branch(w):
                return self.BRANCH, 4, w, with_field(w, self.moved(target(w)) >> 1)
        was = little(self.old, o, 2)
        if was >> 11 == 9:
            d = self.by_map((o + 4 & ~3) + 4 * (was & 255)) - (pos + 4 & ~3)
            guess = was & 0xFF00 | d // 4 if 0 <= d <= 1020 and d % 4 == 0 else was
            return self.LOAD, 2, was, guess
        return self.HALFWORD, 2, was, was

    def variable(self, w):
        best, shift = MASK, 0
        for old, by in self.variables:
            if w - old & MASK < best:
                best, shift = w - old & MASK, by
        return w + shift & MASK

    def correct(self, kind, was, guess):
        r = self.range
        if guess != was and not r.bit(self.changed[kind]):
            return was
        if kind == self.SINGLE:
            return guess + r.tree(self.low[0]) & 255
        if kind in (self.HALFWORD, self.LOAD):
            became = self.substitution(guess)
            if became is not None and not r.bit(self.another):
                return became
            high = r.bit(self.high_changed[guess >> 13])
            upper = (guess >> 8) + (r.tree(self.high) if high else 0) & 255
            value = upper << 8 | (guess + r.tree(self.low[high]) & 255)
            self.substitutions[self.slot(guess, self.bits)] = guess, value
            return value
        if r.bit(self.raw[kind]):
            at = len(self.new)
            for _ in range(4):
                self.literal()
            return little(self.new, at, 4)
        latest = self.recent[kind]
        for i in range(4):
            if not r.bit(self.recent_is[kind][i]):
                by = latest.pop(i)
                break
        else:
            by = r.signed(self.difference[kind])
            latest.pop()
        latest.insert(0, by)
        return with_field(guess, field(guess) + by) if kind == self.BRANCH else guess + by & MASK

    def learn(self, kind, was, value):
        if kind == self.VARIABLE:
            entry = was, value - was
            for i, (old, _) in enumerate(self.variables):
                if old == was:
                    self.variables[i] = entry
                    return
            if self.learnt < 32:
                self.variables.append(entry)
            else:
                self.variables[self.learnt % 32] = entry
            self.learnt += 1
        elif kind == self.POINTER:
            t = value - self.h.new_base & MASK
            self.aim(was - self.h.old_base & MASK, t - (1 << 32) if t >> 31 else t)
        elif kind == self.BRANCH and (was ^ value) & 0xF800F800 == 0:
            self.aim(target(was), target(value))

    def aim(self, o, t):
        self.targets[self.target_slot(o)] = o & ~1, t - self.by_map(o)


def od1(patch, old, size):
    return Patch(patch, old, size).image()


# --- HPatchLite with tinyuz -----------------------------------------------------

class Tinyuz:
    def __init__(self, source, dictionary):
        self.source, self.dictionary = source, dictionary
        self.out = bytearray()
        self.types = self.have = self.line = self.copy = 0
        self.last, self.fresh, self.ended = 1, False, False

    def bit(self):
        if self.have == 0:
            self.types, self.have = self.source.byte(), 8
        b = self.types & 1
        self.types >>= 1
        self.have -= 1
        return b

    def number(self, bits):
        v = 0
        while True:
            v = (v << bits) + sum(self.bit() << i for i in range(bits))
            require(v < 1 << 28)
            if not self.bit():
                return v
            v += 1

    def byte(self):
        while self.copy == 0 and self.line == 0 and not self.ended:
            if self.bit():
                self.fresh, self.line = True, 1
                break
            self.code()
        require(not self.ended)
        if self.copy > 0:
            self.copy -= 1
            self.out.append(self.out[-self.last])
        else:
            self.line -= 1
            self.out.append(self.source.byte())
        return self.out[-1]

    def code(self):
        length = self.number(1)
        distance, fresh, self.fresh = 0, self.fresh, False
        if fresh and self.bit():
            distance = self.last
        if distance == 0:
            distance = self.source.byte()
            if distance >= 128:
                distance = (self.number(2) << 7 | distance & 127) + 128
            if distance == 0:
                return self.control(length)
            if distance > 2687:
                length += 1
        require(distance <= self.dictionary and distance <= len(self.out))
        self.last, self.copy = distance, length + 2

    def control(self, which):
        if which == 1:
            self.line, self.fresh = self.number(2) + 15, True
            return
        require(which in (2, 3) and not (self.have and self.types))
        self.have, self.last = 0, 1
        self.ended = which == 3

    def end(self):
        while not self.ended:
            require(self.copy == 0 and self.line == 0 and not self.bit())
            self.code()
        self.source.end()


def hpatchlite(patch, old, size):
    s = Bytes(patch)
    require(s.take(2) == b"hI")
    compression, sizes = s.byte(), s.byte()
    require(compression in (0, 1) and sizes >> 6 == 1)

    def length(n):
        v = s.little(n)
        require(n <= 4 and (n == 0 or v >> 8 * (n - 1)))
        return v

    total, body = length(sizes & 7), length(sizes >> 3 & 7)
    require(total <= size and (compression or body == 0))
    count = 0

    if compression:
        dictionary = s.little(4)
        require(0 < dictionary <= 1 << 20)
        s = Tinyuz(s, dictionary)

    def byte():
        nonlocal count
        count += 1
        return s.byte()

    def groups(v, floor):
        """Groups of seven bits behind v; the value would not fit one group less."""
        n = 0
        while True:
            b = byte()
            v, n = v << 7 | b & 127, n + 1
            require(v < 1 << 31)
            if b < 128:
                require(n == 1 or v >= floor << 7 * (n - 1))
                return v

    image, at = bytearray(), 0
    ranges = groups(0, 1)
    require(ranges <= total + 1)
    for i in range(ranges):
        n = groups(0, 1)
        tag = byte()
        step = tag & 31
        if tag & 32:
            before = count
            step = groups(step, 0)
            require(step >= 32 << 7 * (count - before - 1))
        require(step or not tag & 64)
        fresh = groups(0, 1)
        require((n or i == ranges - 1) and fresh + n <= total - len(image))
        at += -step if tag & 64 else step
        require(0 <= at and at + n <= len(old))
        image += bytes(byte() for _ in range(fresh))
        for b in old[at:at + n]:
            image.append(b if tag & 128 else b + byte() & 255)
        at += n
    require(len(image) == total and (not compression or count == body))
    s.end()
    return image


# --- detools, sequential --------------------------------------------------------

class Runs:
    def __init__(self, source):
        self.source, self.left, self.again = source, 0, None

    def byte(self):
        if self.left == 0:
            kind = self.source.byte()
            require(kind in (0, 1))
            shift, more = 0, True
            while more:
                b = self.source.byte()
                require(shift <= 21 and (b or not shift))
                self.left |= (b & 127) << shift
                shift, more = shift + 7, b & 128
            require(self.left)
            self.again = self.source.byte() if kind else None
        self.left -= 1
        return self.source.byte() if self.again is None else self.again

    def end(self):
        require(self.left == 0)
        self.source.end()


class Heatshrink:
    def __init__(self, source):
        sizes = source.byte()
        self.source, self.window, self.lookahead = source, (sizes >> 4) + 4, (sizes & 15) + 3
        require(self.window <= 15 and self.lookahead < self.window)
        self.bits = self.have = self.copy = 0
        self.out = bytearray(1 << self.window)

    def take(self, n):
        v = 0
        for _ in range(n):
            if self.have == 0:
                self.bits, self.have = self.source.byte(), 8
            self.have -= 1
            v = v << 1 | self.bits >> self.have & 1
        return v

    def byte(self):
        if self.copy == 0:
            if self.take(1):
                self.out.append(self.take(8))
                return self.out[-1]
            self.distance = self.take(self.window) + 1
            self.copy = self.take(self.lookahead) + 1
        self.copy -= 1
        self.out.append(self.out[-self.distance])
        return self.out[-1]

    def end(self):
        require(self.copy == 0 and self.bits & (1 << self.have) - 1 == 0)
        self.source.end()


def detools(patch, old, size):
    s = Bytes(patch)
    head = s.byte()
    require(head in (2, 4))

    def number():
        first = s.byte()
        v, shift, more = first & 63, 6, first & 128
        while more:
            b = s.byte()
            require(shift + 7 <= 27 and b)
            v |= (b & 127) << shift
            shift, more = shift + 7, b & 128
        require(v or not first & 64)
        return -v if first & 64 else v

    def length(most):
        n = number()
        require(0 <= n <= most)
        return n

    total = length(size)
    if total == 0:
        s.end()
        return b""
    s = Runs(s) if head == 2 else Heatshrink(s)
    require(number() == 0)
    image, at, first = bytearray(), 0, True
    while len(image) < total:
        n = length(total - len(image))
        require(n <= len(old) - at)
        for _ in range(n):
            image.append(old[at] + s.byte() & 255)
            at += 1
        fresh = length(total - len(image))
        require(n or fresh or first)
        image += bytes(s.byte() for _ in range(fresh))
        at += number()
        require(0 <= at <= len(old))
        first = False
    s.end()
    return image


# --- zstd (RFC 8878): one frame, without dictionary and checksum ----------------

class Backwards:
    """Bits from the end of a stream to its beginning; what is before it are zeros."""

    def __init__(self, data):
        require(data and data[-1])
        self.value, self.left = int.from_bytes(data, "little"), 8 * len(data) - 8 + data[-1].bit_length() - 1

    def take(self, n):
        self.left -= n
        if self.left >= 0:
            return self.value >> self.left & (1 << n) - 1
        require(self.left > -64)
        return self.value << -self.left & (1 << n) - 1


def distribution(data, most, largest):
    """An FSE table description: probabilities, the accuracy, and its length in bytes."""
    value, at = int.from_bytes(data, "little"), 4
    accuracy = (value & 15) + 5
    require(data and accuracy <= largest)
    left, counts = 1 << accuracy, []
    while left > 0:
        require(len(counts) <= most and at < 8 * len(data))
        bits = (left + 1).bit_length()
        v = value >> at & (1 << bits) - 1
        fewer = (1 << bits) - 1 - (left + 1)
        if v & (1 << bits - 1) - 1 < fewer:
            v &= (1 << bits - 1) - 1
            at += bits - 1
        else:
            if v >= 1 << bits - 1:
                v -= fewer
            at += bits
        counts.append(v - 1)
        left -= abs(v - 1)
        while v == 1:
            v = 0
            again = value >> at & 3
            at += 2
            counts += [0] * again
            v = 1 if again == 3 else 0
    require(left == 0 and len(counts) <= most + 1 and at <= 8 * len(data))
    return counts, accuracy, (at + 7) // 8


def fse(counts, accuracy):
    """For each state: symbol, bits, and what they are added to."""
    size = 1 << accuracy
    symbols, high = [0] * size, size - 1
    for s, n in enumerate(counts):
        if n == -1:
            symbols[high] = s
            high -= 1
    at, step = 0, (size >> 1) + (size >> 3) + 3
    for s, n in enumerate(counts):
        for _ in range(max(n, 0)):
            symbols[at] = s
            at = (at + step) % size
            while at > high:
                at = (at + step) % size
    following = [1 if n == -1 else n for n in counts]
    table = []
    for s in symbols:
        x = following[s]
        following[s] += 1
        bits = accuracy - (x.bit_length() - 1)
        table.append((s, bits, (x << bits) - size))
    return table, accuracy


def predefined(text, accuracy):
    return fse([int(n) for n in text.split()], accuracy)


LENGTHS = predefined("4 3 2 2 2 2 2 2 2 2 2 2 2 1 1 1 2 2 2 2 2 2 2 2 2 3 2 1 1 1 1 1 -1 -1 -1 -1", 6)
MATCHES = predefined("1 4 3 2 2 2 2 2 2 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"
                     " -1 -1 -1 -1 -1 -1 -1", 6)
OFFSETS = predefined("1 1 1 1 1 1 2 2 2 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 -1 -1 -1 -1 -1", 5)


def ladder(first, singles, extra):
    """Codes: their lowest value and extra bits."""
    out = [(first + i, 0) for i in range(singles)]
    value = first + singles
    for bits in extra:
        out.append((value, bits))
        value += 1 << bits
    return out


LENGTH_CODES = ladder(0, 16, [1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])
MATCH_CODES = ladder(3, 32, [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])


class Zstd:
    def __init__(self):
        self.out, self.huffman = bytearray(), None
        self.tables, self.offsets = {}, [1, 4, 8]

    def weights(self, s):
        n = s.byte()
        if n >= 128:
            packed = s.take((n - 127 + 1) // 2)
            return [packed[i // 2] >> (0 if i % 2 else 4) & 15 for i in range(n - 127)]
        data = s.take(n)
        counts, accuracy, used = distribution(data, 255, 6)
        table, _ = fse(counts, accuracy)
        bits, out = Backwards(data[used:]), []
        states = [bits.take(accuracy), bits.take(accuracy)]
        turn = 0
        while True:
            symbol, n, base = table[states[turn]]
            out.append(symbol)
            require(len(out) < 255)
            if bits.left < n:
                out.append(table[states[1 - turn]][0])
                return out
            states[turn] = base + bits.take(n)
            turn = 1 - turn

    def read_huffman(self, s):
        weights = self.weights(s)
        total = sum(1 << w - 1 for w in weights if w)
        require(total)
        most = total.bit_length()
        rest = (1 << most) - total
        require(rest & rest - 1 == 0 and most <= 11)
        weights.append(rest.bit_length())
        table = []
        for w in range(1, most + 1):
            for symbol, own in enumerate(weights):
                if own == w:
                    table += [(symbol, most + 1 - w)] * (1 << w - 1)
        require(len(table) == 1 << most)
        self.huffman = table, most

    def literals_of(self, data, n):
        table, most = self.huffman
        bits, out = Backwards(data), bytearray()
        while len(out) < n:
            ahead = bits.take(most)
            symbol, used = table[ahead]
            bits.left += most - used
            out.append(symbol)
            require(bits.left >= 0)
        require(bits.left == 0)
        return out

    def literals(self, s):
        first = s.byte()
        kind, form = first & 3, first >> 2 & 3
        s.at -= 1
        if kind < 2:
            n = {0: 1, 1: 2, 2: 1, 3: 3}[form]
            size = s.little(n) >> (3 if n == 1 else 4)
            return s.take(size) if kind == 0 else s.take(1) * size
        n, width = {0: (3, 10), 1: (3, 10), 2: (4, 14), 3: (5, 18)}[form]
        head = s.little(n) >> 4
        size, packed = head & (1 << width) - 1, head >> width
        part = Bytes(s.take(packed))
        if kind == 2:
            self.read_huffman(part)
        require(self.huffman)
        if form == 0:
            return self.literals_of(part.take(packed - part.at), size)
        ends = [part.little(2) for _ in range(3)]
        each = (size + 3) // 4
        out = bytearray()
        for n in ends:
            out += self.literals_of(part.take(n), each)
        return out + self.literals_of(part.take(packed - part.at), size - 3 * each)

    def table(self, name, mode, s, usual, most, largest):
        if mode == 0:
            self.tables[name] = usual
        elif mode == 1:
            self.tables[name] = [(s.byte(), 0, 0)], 0
        elif mode == 2:
            counts, accuracy, used = distribution(s.data[s.at:], most, largest)
            s.take(used)
            self.tables[name] = fse(counts, accuracy)
        require(name in self.tables)
        return self.tables[name]

    def offset(self, value, length):
        last = self.offsets
        if value > 3:
            offset = value - 3
            last.insert(0, offset)
            last.pop()
            return offset
        i = value - 1 + (length == 0)
        offset = last[i] if i < 3 else last[0] - 1
        require(offset > 0)
        if i > 0:
            del last[min(i, 2)]
            last.insert(0, offset)
        return offset

    def block(self, data, limit, window):
        s = Bytes(data)
        literals = Bytes(bytes(self.literals(s)))
        count = s.byte()
        if count >= 255:
            count = s.little(2) + 0x7F00
        elif count >= 128:
            count = (count - 128 << 8) + s.byte()
        if count:
            modes = s.byte()
            require(modes & 3 == 0)
            lengths, a = self.table("lengths", modes >> 6, s, LENGTHS, 35, 9)
            offsets, b = self.table("offsets", modes >> 4 & 3, s, OFFSETS, 31, 8)
            matches, c = self.table("matches", modes >> 2 & 3, s, MATCHES, 52, 9)
            bits = Backwards(s.take(len(data) - s.at))
            x, y, z = bits.take(a), bits.take(b), bits.take(c)
            for i in range(count):
                code = offsets[y][0]
                require(code <= 31 and lengths[x][0] < 36 and matches[z][0] < 53)
                value = (1 << code) + bits.take(code)
                base, extra = MATCH_CODES[matches[z][0]]
                match = base + bits.take(extra)
                base, extra = LENGTH_CODES[lengths[x][0]]
                length = base + bits.take(extra)
                if i < count - 1:
                    x = lengths[x][2] + bits.take(lengths[x][1])
                    z = matches[z][2] + bits.take(matches[z][1])
                    y = offsets[y][2] + bits.take(offsets[y][1])
                require(bits.left >= 0)
                self.out += literals.take(length)
                offset = self.offset(value, length)
                require(offset <= len(self.out) and offset <= window and len(self.out) + match <= limit)
                for _ in range(match):
                    self.out.append(self.out[-offset])
            require(bits.left == 0)
        s.end()
        self.out += literals.take(len(literals.data) - literals.at)


def zstd(payload, _, size):
    s = Bytes(payload)
    require(s.take(4) == b"\x28\xb5\x2f\xfd")
    flags = s.byte()
    require(flags & 0b00101111 == 0)  # no single segment, reserved bit, checksum, dictionary
    exponent = s.byte()
    window = (1 << 10 + (exponent >> 3)) // 8 * (8 + (exponent & 7))
    require(window <= 1 << 20)
    announced = None
    if flags >> 6:
        n = 1 << (flags >> 6)
        announced = s.little(n) + (256 if n == 2 else 0)
    d, last = Zstd(), False
    while not last:
        head = s.little(3)
        last, kind, n = head & 1, head >> 1 & 3, head >> 3
        require(kind != 3 and n <= min(window, 1 << 17))
        if kind == 0:
            d.out += s.take(n)
        elif kind == 1:
            d.out += s.take(1) * n
        else:
            d.block(s.take(n), size, window)
        require(len(d.out) <= size)
    require(announced in (None, len(d.out)))
    s.end()
    return d.out


if __name__ == "__main__":
    payload, base, image = (open(name, "rb").read() for name in sys.argv[2:])
    sys.exit(decode(int(sys.argv[1]), payload, base, len(image)) != image)
