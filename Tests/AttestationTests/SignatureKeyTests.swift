import Attestation
import Foundation
import SecretMemory
import Testing

@Suite struct SignatureKeyTests {
    /// RFC 8032, 7.1: secret key, public key, message, signature.
    static let vectors: [[String]] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
                + "d25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
                + "387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
                + "4a7c15e9716ed28dc027beceea1ec40a",
        ],
    ]

    @Test("RFC 8032's vectors", arguments: vectors)
    func vector(_ vector: [String]) throws {
        let key = try Fixtures.signingKey(hex: vector[0])
        #expect(key.verificationKey.hex == vector[1])
        #expect(VerificationKey(hex: vector[1]) == key.verificationKey)
        // Apple's own library adds randomness to Ed25519 signatures.
        #if !canImport(Darwin)
            #expect(Digest.hex(try key.sign(try #require(Digest.bytes(hex: vector[2])))) == vector[3])
        #endif
    }

    @Test("what is not 32 bytes is no key", arguments: [0, 1, 31, 33, 64])
    func lengths(count: Int) throws {
        #expect(throws: AttestationError.invalidSigningKey) {
            try SigningKey(seed: SecretBytes(count: count))
        }
        #expect(VerificationKey([UInt8](repeating: 7, count: count)) == nil)
        #expect(VerificationKey(hex: String(repeating: "0", count: 2 * count)) == nil)
    }

    @Test("key ids are the algorithm and 32 hex digits, and nothing else")
    func ids() throws {
        let key = try Fixtures.alice()
        #expect(key.id.value == "ed25519:21fe31dfa154a261626bf854046fd227")
        #expect(key.id.description == key.id.value)
        #expect(SigningKeyID(key.id.value) == key.id)
        for text in [
            "", "ed25519:", "21fe31dfa154a261626bf854046fd227", "ed25519:21FE31DFA154A261626BF854046FD227",
            "ed25519:21fe31dfa154a261626bf854046fd2", "ed25519:21fe31dfa154a261626bf854046fd22700",
            "ed25519:21fe31dfa154a261626bf854046fd22g", "rsa0000:21fe31dfa154a261626bf854046fd227",
            "ed25519:\u{301}1fe31dfa154a261626bf854046fd22",
        ] {
            #expect(SigningKeyID(text) == nil, "\(text)")
        }
        let json = try JSONEncoder().encode([key.id])
        #expect(try JSONDecoder().decode([SigningKeyID].self, from: json) == [key.id])
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode([SigningKeyID].self, from: Data("[\"x\"]".utf8))
        }
    }

    @Test("the lent private key is the same key")
    func lending() throws {
        let key = try Fixtures.bob()
        let publicKey = try key.withPrivateKey { Array($0.publicKey.rawRepresentation) }
        #expect(publicKey == key.verificationKey.bytes)
    }
}
