#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A bootloader's verifier for the SUIT profile, written from docs/manifest.cddl and
the RFCs, for "otapack vectors run". It shares no code with otapack. Payloads that have
to be decoded are for codings.py beside it.

usage: otapack vectors run --family suit-nrf52840 --stream python3 verify_suit.py

Reads one question per line and answers "accept" or "refuse <step>".
"""
import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import codings

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256 = ec.SECP256R1()


class Refused(Exception):
    """The step that refuses is its argument."""


class Malformed(Exception):
    pass


def expect(ok):
    if not ok:
        raise Malformed


def sha256(data):
    return hashlib.sha256(data).digest()


# --- Deterministic CBOR (RFC 8949, section 4.2.1), and nothing else ------------

class Tag:
    def __init__(self, number, content):
        self.number, self.content = number, content


class Map(list):
    """Pairs in the order of the encoding."""

    def as_dict(self):
        return dict(self)


def head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << 8 * size:
            return bytes([major << 5 | info]) + value.to_bytes(size, "big")
    raise Malformed


def dump(value):
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, dict):
        pairs = sorted((dump(k), dump(v)) for k, v in value.items())
        return head(5, len(pairs)) + b"".join(k + v for k, v in pairs)
    if isinstance(value, Tag):
        return head(6, value.number) + dump(value.content)
    return head(4, len(value)) + b"".join(dump(v) for v in value)


def load(data):
    """One item that fills data."""
    value, rest = item(data, 0)
    expect(rest == b"")
    return value


def item(data, depth):
    expect(data and depth <= 12)
    major, value, size = data[0] >> 5, data[0] & 31, 0
    if value >= 24:
        expect(value <= 27)
        size = 1 << value - 24
        expect(len(data) > size)
        value = int.from_bytes(data[1:1 + size], "big")
    rest = data[1 + size:]
    if major == 7:
        expect(size == 0 and value in (20, 21, 22))
        return {20: False, 21: True, 22: None}[value], rest
    expect(head(major, value) == data[:1 + size])
    if major == 0:
        return value, rest
    if major == 1:
        return -1 - value, rest
    if major in (2, 3):
        expect(len(rest) >= value)
        content, rest = rest[:value], rest[value:]
        if major == 2:
            return bytes(content), rest
        try:
            return content.decode(), rest
        except UnicodeDecodeError:
            raise Malformed
    if major == 6:
        content, rest = item(rest, depth + 1)
        return Tag(value, content), rest
    out, last = [] if major == 4 else Map(), b""
    for _ in range(value):
        start = rest
        element, rest = item(rest, depth + 1)
        if major == 5:
            key = start[:len(start) - len(rest)]
            expect(key > last)  # bytewise ascending: none twice
            last = key
            expect(isinstance(element, (int, str)))
            content, rest = item(rest, depth + 1)
            element = (element, content)
        out.append(element)
    return out, rest


def depth(value):
    if isinstance(value, Tag):
        return 1 + depth(value.content)
    if isinstance(value, Map):
        return 1 + max((max(depth(k), depth(v)) for k, v in value), default=0)
    if isinstance(value, list):
        return 1 + max((depth(v) for v in value), default=0)
    return 0


def mapping(value):
    expect(isinstance(value, Map))
    return value.as_dict()


def octets(value, low, high):
    expect(isinstance(value, bytes) and low <= len(value) <= high)
    return value


def number(value, high=1 << 32):
    expect(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < high)
    return value


def digest(value):
    expect(isinstance(value, list) and not isinstance(value, Map) and len(value) == 2 and value[0] == -16)
    return octets(value[1], 32, 32)


# --- Steps --------------------------------------------------------------------

def envelope(data):
    tag = load(data)
    expect(isinstance(tag, Tag) and tag.number == 107)
    elements = mapping(tag.content)
    names = [k for k in elements if isinstance(k, str)]
    expect(len(names) <= 1 and set(elements) - set(names) <= {2, 3, 20, 23} and {2, 3} <= set(elements))
    octets(elements[3], 0, 1024)
    for key, limit in ((20, 2048), (23, 4096)):
        if key in elements:
            octets(elements[key], 0, limit)
    if 23 in elements:
        expect(depth(load(elements[23])) <= 8)
    for name in names:
        octets(elements[name], 0, 1 << 32)
    auth = load(octets(elements[2], 0, 32768))
    expect(isinstance(auth, list) and not isinstance(auth, Map) and 2 <= len(auth) <= 4)
    claimed = digest(load(octets(auth[0], 0, 64)))
    blocks = []
    for encoded in auth[1:]:
        tag = load(octets(encoded, 0, 10240))
        expect(isinstance(tag, Tag) and tag.number == 18)
        expect(isinstance(tag.content, list) and not isinstance(tag.content, Map) and len(tag.content) == 4)
        protected, unprotected, payload, signature = tag.content
        header = mapping(load(octets(protected, 1, 64)))
        expect(set(header) == {1} and isinstance(header[1], int) and header[1] not in (-7, -8))
        hints = mapping(unprotected)
        expect(set(hints) <= {4} and payload is None and isinstance(signature, bytes))
        if 4 in hints:
            octets(hints[4], 1, 16)
        if header[1] == -9:
            octets(signature, 64, 64)
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            expect(0 < r < ORDER and 0 < s < ORDER)
            blocks.append((protected, r, s))
    return elements, names, claimed, auth[0], blocks


def signature(device, elements, claimed, payload, blocks):
    expect(claimed == sha256(dump(elements[3])) and blocks)
    signed = set()
    for key in device["keys"]:
        if key.get("revoked"):
            continue
        public = ec.EllipticCurvePublicKey.from_encoded_point(P256, b"\x04" + bytes.fromhex(key["point"]))
        for protected, r, s in blocks:
            message = dump(["Signature1", protected, b"", payload])
            try:
                public.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
                signed.add(key["point"])
            except InvalidSignature:
                pass
    expect(len(signed) >= device["threshold"])


def version(encoded):
    v = load(octets(encoded, 1, 64))
    expect(isinstance(v, list) and not isinstance(v, Map) and 1 <= len(v) <= 5 and all(isinstance(n, int) for n in v))
    marks = [i for i, n in enumerate(v) if n < 0]
    numbers = v[:marks[0]] if marks else v
    expect(1 <= len(numbers) <= 3 and len(marks) <= 1 and all(n < 1 << 31 for n in v))
    if marks:
        expect(v[marks[0]] >= -3 and len(v) - marks[0] <= 2)


def sequence(encoded):
    """A command sequence as pairs."""
    flat = load(encoded)
    expect(isinstance(flat, list) and not isinstance(flat, Map) and len(flat) % 2 == 0)
    return list(zip(flat[::2], flat[1::2]))


def parameters(pairs, at):
    expect(len(pairs) > at and pairs[at][0] == 20)
    return mapping(pairs[at][1])


def recipients(encoded):
    tag = load(encoded)
    expect(isinstance(tag, Tag) and tag.number == 96 and isinstance(tag.content, list) and len(tag.content) == 4)
    protected, unprotected, ciphertext, blocks = tag.content
    header = mapping(unprotected)
    expect(protected == b"" and ciphertext is None and set(header) == {1, 5} and header[1] == -65534)
    expect(isinstance(blocks, list) and 1 <= len(blocks) <= 8)
    out = []
    for block in blocks:
        expect(isinstance(block, list) and len(block) == 3)
        protected, unprotected, wrapped = block
        octets(protected, 0, 16)
        octets(wrapped, 24, 24)
        fields = mapping(unprotected)
        if 4 in fields:
            octets(fields[4], 1, 16)
        if protected == b"":
            expect(set(fields) <= {1, 4} and fields.get(1) == -3)
            out.append((None, wrapped))
            continue
        expect(protected == dump({1: -29}) and set(fields) <= {-1, 4})
        key = mapping(fields.get(-1))
        expect(set(key) == {1, -1, -2, -3} and key[1] == 2 and key[-1] == 1)
        out.append((octets(key[-2], 32, 32) + octets(key[-3], 32, 32), wrapped))
    return octets(header[5], 16, 16), out


def decoding(encoded):
    """The coding, bytes of RAM that it takes, and the base or None."""
    info = mapping(load(encoded))
    expect({1, 2} <= set(info) <= {1, 2, 3, 4} and (3 in info) == (4 in info))
    expect(number(info[1]) in ((1, 4, 5) if 3 in info else (1, 2, 3)) and number(info[2]) > 0)
    if 3 not in info:
        return info[1], info[2], None
    expect(number(info[4]) > 0)
    return info[1], info[2], (digest(info[3]), info[4])


def manifest(elements, names):
    m = mapping(load(elements[3]))
    expect(set(m) <= {1, 2, 3, 6, 7, 9, 20, 23} and {1, 2, 3, 7, 9, 20} <= set(m) and m[1] == 1)
    number(m[2])
    if 6 in m:
        version(m[6])
    common = mapping(load(octets(m[3], 1, 1024)))
    expect(set(common) == {2, 4})
    components = common[2]
    expect(isinstance(components, list) and 1 <= len(components) <= 2)
    for c in components:
        expect(isinstance(c, list) and len(c) == 1)
        octets(c[0], 1, 8)
    staged = len(components) == 2
    expect(not staged or components[0] != components[1])

    facts = parameters(sequence(octets(common[4], 1, 1024)), 1 if staged else 0)
    expect(set(facts) <= {1, 2, 3, 5, 14} and {1, 2, 3, 14} <= set(facts))
    octets(facts[1], 16, 16), octets(facts[2], 16, 16)
    image = digest(load(octets(facts[3], 36, 36)))
    expect(number(facts[14]) > 0)
    slot = [5, 5] if 5 in facts else []
    if slot:
        number(facts[5])
    choose = [12, 0] if staged else []
    # A sequence is what its template gives for the values in it, byte for byte.
    expect(common[4] == dump(choose + [20, facts, 1, 15, 2, 15] + slot))
    expect(m[7] == dump(choose + [3, 15]) and m[9] == dump(choose + [23, 2]))

    install = m[20]
    if isinstance(install, bytes):
        expect(20 not in elements)
    else:
        severed = digest(install)
        install = elements.get(20)
        expect(install is None or sha256(dump(install)) == severed)
    if 23 in m:
        text = digest(m[23])
        expect(23 not in elements or sha256(dump(elements[23])) == text)
    else:
        expect(23 not in elements)

    out = {"sequence": m[2], "facts": facts, "image": image, "install": None, "size": facts[14], "info": None, "decode": None}
    if install is not None:
        pairs = sequence(octets(install, 1, 2048))
        fetch = parameters(pairs, 1 if staged else 0)
        uri = fetch.get(21)
        expect(isinstance(uri, str) and 1 <= len(uri.encode()) <= 64)
        if staged:
            expect(set(fetch) == {3, 14, 21} and len(pairs) > 6)
            out["install"] = digest(load(octets(fetch[3], 36, 36)))
            out["size"] = number(fetch[14])
            place = parameters(pairs, 5)
            expect({22} <= set(place) <= {19, 22} and place[22] == 1)
            if 19 in place:
                out["info"] = recipients(octets(place[19], 1, 2048))
            if pairs[6][0] == -257:
                out["decode"] = decoding(octets(pairs[6][1], 1, 64))
                expect(out["size"] > 0)
            else:
                expect(19 in place and pairs[6] == (22, 2) and out["size"] == facts[14])
            want = [12, 1, 20, fetch, 21, 2, 3, 15, 12, 0, 20, place, *pairs[6], 3, 15]
        else:
            expect(set(fetch) == {21})
            want = [20, fetch, 21, 2, 3, 15]
            out["install"] = ()
        expect(install == dump(want))
    for name in names:
        expect(install is not None and name == uri and len(elements[name]) == out["size"])
    return out


def content_key(device, blocks):
    expect("device_key" in device or "kek" in device)
    points = []
    for point, _ in blocks:
        try:
            points.append(point and ec.EllipticCurvePublicKey.from_encoded_point(P256, b"\x04" + point))
        except ValueError:
            raise Malformed
    context = dump([-3, [None] * 3, [None] * 3, [128, dump({1: -29}), b"SUIT Payload Encryption"]])
    for point, (_, wrapped) in zip(points, blocks):
        if point and "device_key" in device:
            private = ec.derive_private_key(int(device["device_key"], 16), P256)
            kek = HKDF(hashes.SHA256(), 16, None, context).derive(private.exchange(ec.ECDH(), point))
        elif not point and "kek" in device:
            kek = bytes.fromhex(device["kek"])
        else:
            continue
        try:
            return keywrap.aes_key_unwrap(kek, wrapped)
        except keywrap.InvalidUnwrap:
            continue
    raise Malformed


def decoded(*args):
    try:
        return codings.decode(*args)
    except codings.Damaged:
        raise Malformed


def verify(device, data, payload, running):
    """All steps in order. Raises Refused with the first that fails."""
    def step(name, check, *args):
        try:
            return check(*args)
        except Malformed:
            raise Refused(name)

    elements, names, claimed, signed, blocks = step("envelope", envelope, data)
    step("signature", signature, device, elements, claimed, signed, blocks)
    m = step("manifest", manifest, elements, names)
    facts, install = m["facts"], m["install"]
    step("vendor", expect, facts[1].hex() == device["vendor_id"])
    step("class", expect, facts[2].hex() == device["class_id"])
    step("slot", expect, 5 not in facts or facts[5] == device.get("slot"))
    step("sequence", expect, m["sequence"] >= device["min_sequence"])
    step("size", expect, facts[14] <= device["bank_size"] and install is not None and len(payload) == m["size"])
    if m["decode"]:
        coding, ram, base = m["decode"]
        banks = {"nrf52840": 2, "stm32l4": 1}[device["chip"]]
        step("decoder", expect, ram <= device["decoder_ram"] and (base is None or banks == 2))
        step("base", expect, base is None or running is not None and (sha256(running), len(running)) == base)
    if m["info"] or m["decode"]:
        step("ciphertext", expect, sha256(payload) == install)
    if m["info"]:
        iv, blocks = m["info"]
        key = step("unwrap", content_key, device, blocks)
        # Counters of 32 bits and of 128 must not disagree.
        step("image", expect, int.from_bytes(iv[12:], "big") + (len(payload) + 15) // 16 <= 1 << 32)
        payload = Cipher(algorithms.AES(key), modes.CTR(iv)).decryptor().update(payload)
    if m["decode"]:
        payload = step("image", decoded, coding, payload, running if base else b"", facts[14])
    step("image", expect, sha256(payload) == m["image"])


for line in sys.stdin:
    question = json.loads(line)
    inputs = {name: open(path, "rb").read() for name, path in question["inputs"].items()}
    try:
        verify(question["device"]["suit"], inputs["envelope"], inputs["payload"], inputs.get("running"))
        print("accept", flush=True)
    except Refused as refusal:
        print("refuse", refusal, flush=True)
