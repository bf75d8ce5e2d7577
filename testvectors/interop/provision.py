#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Do what a production line does with a file of records, independently of otapack.

usage: provision.py RECORDS TRANSPORT_KEY DEVICES

TRANSPORT_KEY is a file of raw bytes. Every secret is unwrapped, its check value
computed, and of a recipient the public half and the key id.
"""
import base64
import hashlib
import json
import sys

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def expect(ok, what):
    if not ok:
        sys.exit(f"provision.py: {what}")


def unwrap(blob, transport):
    secret = aes_key_unwrap(transport, bytes.fromhex(blob["wrapped"]))
    mac = CMAC(algorithms.AES(secret))
    mac.update(bytes(16))
    expect(mac.finalize()[:5].hex() == blob["kcv"], "check value differs")
    return secret


def main(records, transport, devices):
    with open(transport, "rb") as file:
        transport = file.read()
    with open(records, encoding="utf-8") as lines:
        header = json.loads(next(lines))
        unwrap(header["check"], transport)
        seen, serials = set(), hashlib.sha256()
        for i, line in enumerate(lines):
            record, want = json.loads(line), header["secrets"][i % len(header["secrets"])]
            expect(all(record[k] == want[k] for k in ("component", "purpose", "kind")), f"record {i}: another secret")
            secret = unwrap(record, transport)
            expect(len(secret) == want["bytes"] and secret not in seen, f"record {i}: length, or a secret twice")
            seen.add(secret)
            if want["kind"] == "recipient":
                private = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
                public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
                expect(public == base64.b64decode(record["public_key"]), f"record {i}: public key of another")
                expect(hashlib.sha256(public).digest()[:8].hex() == record["key_id"], f"record {i}: key id")
            if i % len(header["secrets"]) == 0:
                serials.update(record["serial"].encode() + b"\n")
    expect(len(seen) == int(devices) * len(header["secrets"]), f"{len(seen)} records")
    expect("sha256:" + serials.hexdigest() == header["devices"]["digest"], "digest of the serials")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
