#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Read a key's ceremony record and the forms of its public half independently of otapack.

usage: check_keys.py PUBLIC.pem RECORD.ceremony.cbor DIR

DIR has one file per form of "otapack key export", named after it, and in
ihex.bin what objcopy reads in the Intel HEX file.
"""
import base64
import hashlib
import json
import os
import re
import sys

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils


def expect(ok, what):
    if not ok:
        sys.exit(f"check_keys.py: {what}")


def arrays(source):
    """The byte arrays of C source, by name."""
    found = {}
    for name, body in re.findall(r"(\w+)\[\d*\]\s*=\s*\{(.*?)\}", source, re.S):
        found[name] = bytes(int(digits, 16) for digits in re.findall(r"0x([0-9a-f]{2})\b", body))
    return found


def check_record(record, key, der):
    message = cbor2.loads(record)
    expect(isinstance(message, cbor2.CBORTag) and message.tag == 18, "not a COSE_Sign1")
    protected, unprotected, payload, signature = message.value
    expect(cbor2.loads(protected) == {1: -9}, "protected header is not {1: -9}")
    expect(unprotected == {4: hashlib.sha256(der).digest()[:8]}, "key hint")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    key.verify(utils.encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    content = cbor2.loads(payload)
    expect(cbor2.dumps(content, canonical=True) == payload, "not in canonical order")
    expect(content[1] == "otapack.ceremony/1" and set(content) <= set(range(1, 9)), "format")
    expect(content[7][6] == der and content[7][5] == hashlib.sha256(der).digest(), "the record is of another key")
    module = open("/usr/lib/softhsm/libsofthsm2.so", "rb").read()
    expect(content[5][5] == hashlib.sha256(module).digest(), "digest of the module")
    yes = {n for n, state in content[7][8].items() if state == 2}
    expect({1, 2, 3, 5, 6} <= yes and not yes & {4, 7, 8, 9}, f"attributes {content[7][8]}")


def check_forms(folder, key, der):
    def read(form):
        with open(os.path.join(folder, form), "rb") as f:
            return f.read()

    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)[1:]
    x, y = point[:32], point[32:]
    digest = hashlib.sha256(der).digest()
    pem = serialization.load_pem_public_key(read("pem"))
    expect(pem.public_numbers() == key.public_numbers(), "pem")
    expect(read("der") == der, "der")
    jwk = json.loads(read("jwk"))
    expect((jwk["kty"], jwk["crv"], jwk["alg"], jwk["use"]) == ("EC", "P-256", "ES256", "sig"), "jwk")
    expect(jwk["kid"] == "sha256:" + digest.hex(), "kid of jwk")
    expect([base64.urlsafe_b64decode(jwk[c] + "=") for c in "xy"] == [x, y], "coordinates of jwk")
    cose = cbor2.loads(read("cose"))
    expect(cose == {1: 2, 2: digest[:8], 3: -9, -1: 1, -2: x, -3: y}, "cose")
    expect(cbor2.dumps(cose) == read("cose"), "cose is not in the order of its keys")
    header = arrays(read("c").decode())
    expect(sorted(header.values()) == sorted([point, digest]), "c")
    expect(arrays(read("nrf").decode()) == {"pk": x[::-1] + y[::-1]}, "nrf")
    expect(arrays(read("mcuboot").decode()) == {"ecdsa_pub_key": der}, "mcuboot")
    expect(f"ecdsa_pub_key_len = {len(der)};" in read("mcuboot").decode(), "length for mcuboot")
    expect(read("mcuboot-hash") == digest, "mcuboot-hash")
    expect(read("ihex.bin") == point, "ihex")


def main(public, record, folder):
    with open(public, "rb") as f:
        key = serialization.load_pem_public_key(f.read())
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with open(record, "rb") as f:
        check_record(f.read(), key, der)
    check_forms(folder, key, der)
    print(f"{os.path.basename(public)}: ceremony record and all forms verified")


if __name__ == "__main__":
    main(*sys.argv[1:])
