#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Read a bundle independently of otapack: verify, decrypt, compare.

usage: check.py BUNDLE RELEASE_KEY.pem MANIFEST_KEY.pem [component=DEVICE_KEY.pem=IMAGE.bin]...
"""
import hashlib
import sys
import zipfile

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def sha256(data):
    return hashlib.sha256(data).digest()


def expect(ok, what):
    if not ok:
        sys.exit(f"check.py: {what}")


def check_sign1(message, key, payload):
    """Verify a COSE_Sign1 with ESP256; payload stands in for a detached one."""
    expect(isinstance(message, cbor2.CBORTag) and message.tag == 18, "not a COSE_Sign1")
    protected, _, attached, signature = message.value
    expect(cbor2.loads(protected) == {1: -9}, "protected header is not {1: -9}")
    expect((attached is None) == (payload is not None), "payload attached where it must not be, or absent")
    body = attached if payload is None else payload
    expect(len(signature) == 64, "signature is not 64 bytes")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    to_be_signed = cbor2.dumps(["Signature1", protected, b"", body])
    key.verify(utils.encode_dss_signature(r, s), to_be_signed, ec.ECDSA(hashes.SHA256()))
    return body


def commands(encoded):
    """A command sequence as a list of (number, argument)."""
    flat = cbor2.loads(encoded)
    expect(len(flat) % 2 == 0, "odd command sequence")
    return list(zip(flat[::2], flat[1::2]))


def digest_in(encoded):
    algorithm, digest = cbor2.loads(encoded)
    expect(algorithm == -16 and len(digest) == 32, "digest is not SHA-256")
    return digest


def unwrap(info, device):
    """The content key and IV of a COSE_Encrypt with ECDH-ES+A128KW and A128CTR."""
    message = cbor2.loads(info)
    expect(message.tag == 96, "not a COSE_Encrypt")
    protected, unprotected, ciphertext, recipients = message.value
    expect(protected == b"" and unprotected[1] == -65534 and ciphertext is None, "not detached A128CTR")
    context = cbor2.dumps([-3, [None] * 3, [None] * 3, [128, cbor2.dumps({1: -29}), b"SUIT Payload Encryption"]])
    for r_protected, r_unprotected, wrapped in recipients:
        expect(cbor2.loads(r_protected) == {1: -29}, "recipient algorithm")
        point = r_unprotected[-1]
        expect(point[1] == 2 and point[-1] == 1, "ephemeral key is not on P-256")
        public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + point[-2] + point[-3])
        secret = device.exchange(ec.ECDH(), public)
        kek = HKDF(hashes.SHA256(), 16, None, context).derive(secret)
        try:
            return keywrap.aes_key_unwrap(kek, wrapped), unprotected[5]
        except keywrap.InvalidUnwrap:
            continue
    sys.exit("check.py: no recipient block opens")


def check_component(name, envelope_bytes, payload, manifest_key, recorded, device, image):
    envelope = cbor2.loads(envelope_bytes)
    expect(envelope.tag == 107, "not a SUIT envelope")
    elements = envelope.value
    auth = cbor2.loads(elements[2])
    signed_digest = digest_in(auth[0])
    expect(signed_digest == sha256(cbor2.dumps(elements[3])), "manifest digest")
    expect(signed_digest == recorded, "manifest is not the one in the release record")
    check_sign1(cbor2.loads(auth[1]), manifest_key, auth[0])

    manifest = cbor2.loads(elements[3])
    expect(manifest[1] == 1, "manifest version")
    shared = dict(commands(cbor2.loads(manifest[3])[4]))
    image_digest, image_size = digest_in(shared[20][3]), shared[20][14]
    install = manifest[20]
    if isinstance(install, list):  # severed: the manifest has the digest of the element
        expect(install == [-16, sha256(cbor2.dumps(elements[20]))], "severed install sequence")
        install = elements[20]
    parameters = [argument for number, argument in commands(install) if number == 20]
    if len(parameters) == 1:
        plain = payload
    else:
        expect(digest_in(parameters[0][3]) == sha256(payload), "ciphertext digest")
        expect(parameters[0][14] == len(payload), "ciphertext size")
        if device is None:
            print(f"{name}: manifest and ciphertext verified, sequence {manifest[2]}")
            return
        key, iv = unwrap(parameters[1][19], device)
        plain = Cipher(algorithms.AES(key), modes.CTR(iv)).decryptor().update(payload)
    expect(len(plain) == image_size and sha256(plain) == image_digest, "image digest")
    if image is not None:
        expect(plain == image, "the decrypted image is not the firmware that went in")
    print(f"{name}: verified and decrypted {len(plain)} bytes, sequence {manifest[2]}")


def main(bundle, release_key, manifest_key, *devices):
    def public(path):
        return serialization.load_pem_public_key(open(path, "rb").read())

    keys = {}
    for spec in devices:
        name, key, image = spec.split("=")
        keys[name] = (serialization.load_pem_private_key(open(key, "rb").read(), None), open(image, "rb").read())
    with zipfile.ZipFile(bundle) as z:
        expect(z.testzip() is None, "zip CRC")
        record = cbor2.loads(check_sign1(cbor2.loads(z.read("release.cbor")), public(release_key), None))
        expect(record[1] == 1, "record format")
        print(f"release {record[2]} of {record[3]}")
        for component in record[6]:
            name = component[1]
            device, image = keys.get(name, (None, None))
            check_component(name, z.read(f"{name}/manifest.suit"), z.read(f"{name}/payload.bin"),
                            public(manifest_key), component[2], device, image)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except InvalidSignature:
        sys.exit("check.py: signature does not verify")
