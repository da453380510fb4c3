/// Published vectors for ``SelfTests``.
enum KnownAnswer {
    /// NIST, example of FIPS 180-4: SHA-256 of one block.
    static let sha256 = (
        message: Array("abc".utf8),
        digest: bytes("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    )

    /// RFC 4231, 4.3: test case 2.
    static let hmac = (
        key: Array("Jefe".utf8), message: Array("what do ya want for nothing?".utf8),
        code: bytes("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    )

    /// RFC 7914, 12: the second of the vectors for scrypt, of r = 8 as the keystore has it.
    static let scrypt = (
        passphrase: Array("password".utf8), salt: Array("NaCl".utf8), rounds: 1024, parallelism: 16,
        derived: bytes(
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
                + "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640")
    )

    /// NIST CAVP, GCMVS, gcmEncryptExtIV256: 128 bits of plaintext and of associated data, a 96-bit IV, a 128-bit tag.
    static let gcm = (
        key: bytes("92e11dcdaa866f5ce790fd24501f92509aacf4cb8b1339d50c9c1240935dd08b"),
        nonce: bytes("ac93a1a6145299bde902f21a"),
        plaintext: bytes("2d71bcfa914e4ac045b2aa60955fad24"),
        associatedData: bytes("1e0889016f67601c8ebea4943bc23ad6"),
        /// IV || ciphertext || tag.
        box: bytes(
            "ac93a1a6145299bde902f21a" + "8995ae2e6df3dbf96fac7b7137bae67f" + "eca5aa77d51d4a0a14d9c51e1da474ab")
    )

    private static func bytes(_ hex: String) -> [UInt8] {
        let digits = hex.utf8.map { $0 < 0x60 ? $0 - 0x30 : $0 - 0x61 + 10 }
        return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }
}
