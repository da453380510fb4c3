import Attestation
import Foundation
import HomomorphicEncryption
import SecretMemory
import TestSupport
import Testing

/// Keys and statements that never change.
enum Fixtures {
    static func signingKey(hex: String) throws -> SigningKey {
        try SigningKey(seed: SecretBytes(copying: try #require(Digest.bytes(hex: hex))))
    }

    /// The key of RFC 8032, 7.1, test 1.
    static func alice() throws -> SigningKey {
        try signingKey(hex: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    }

    /// The key of RFC 8032, 7.1, test 2.
    static func bob() throws -> SigningKey {
        try signingKey(hex: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    }

    /// 32 equal bytes.
    static func digest(_ byte: UInt8) throws -> Digest {
        try #require(Digest(bytes: [UInt8](repeating: byte, count: 32)))
    }

    static let date = Date(timeIntervalSince1970: 1_767_323_045)

    static func job() throws -> JobDescription {
        JobDescription(
            job: "job-1", nonce: try digest(1), gateway: "gateway-1", unit: "unit-1", keySet: "ks-1",
            manifest: try digest(2), model: "heart-disease", modelDigest: try digest(3),
            inputs: [try digest(4), try digest(5)], created: date)
    }

    static func receipt() throws -> Receipt {
        Receipt(
            job: "job-1", nonce: try digest(1), keySet: "ks-1", manifest: try digest(2), modelDigest: try digest(3),
            profile: try digest(6), inputs: [try digest(4), try digest(5)], outputs: [try digest(7), try digest(8)],
            unit: "unit-1", evaluated: date)
    }

    static func parameters(_ preset: String = "ckks-13") throws -> EncryptionParameters {
        try #require(ParameterPreset.named(preset)).parameters
    }

    static func profile() throws -> CircuitProfile {
        CircuitProfile(
            model: "heart-disease", modelDigest: try digest(3), parameters: try parameters(), scaleBits: 36,
            inputLevel: 4, outputLevel: 1, batch: 64,
            evaluationKeys: [
                EvaluationKeyID(kind: .relinearization, level: 3),
                EvaluationKeyID(kind: .galois, galois: 9, level: 4, generation: 7),
            ])
    }

    static func objects() throws -> [KeySetObject] {
        [
            KeySetObject(kind: .publicKey, galois: 0, level: 4, generation: 2, bytes: 100, digest: try digest(1)),
            KeySetObject(kind: .relinearization, galois: 0, level: 3, generation: 2, bytes: 200, digest: try digest(2)),
            KeySetObject(kind: .galois, galois: 9, level: 4, generation: 2, bytes: 300, digest: try digest(3)),
        ]
    }

    static let manifestKeyBytes = [UInt8](0..<32)

    static func manifest() throws -> KeySetManifest {
        let parameters = try parameters()
        return KeySetManifest(
            keySet: "ks-1", version: 3, installation: "test", tenant: "default",
            owner: KeySetOwner(kind: .user, issuer: "static", subject: "alice"), parameters: parameters,
            parameterDigest: try #require(Digest(bytes: parameters.digest)), suite: 1, generation: 2, origin: .derived,
            sealing: .init(
                mode: .envelope, provider: "software", keyName: "master", keyVersion: 1, epoch: 4,
                sealedSeed: try digest(9), sealedDataKey: try digest(10)),
            commitment: try digest(11), objects: try objects(), state: .active,
            dates: .init(created: date, activated: date), policy: KeySetPolicy.raw(decryptionBudget: 10),
            profile: try profile(), manifestKey: try SecretBytes(copying: manifestKeyBytes))
    }
}

/// A DSSE envelope as anybody could write it, to alter it field by field.
struct LooseEnvelope: Codable {
    struct Signature: Codable {
        var keyid: String
        var sig: String
    }
    var payloadType: String
    var payload: String
    var signatures: [Signature]

    init(_ bytes: [UInt8]) throws { self = try JSONDecoder().decode(LooseEnvelope.self, from: Data(bytes)) }

    /// An envelope around any payload, well signed.
    init(payload: [UInt8], type: String, signedBy key: SigningKey) throws {
        let message = Array("DSSEv1 \(type.utf8.count) \(type) \(payload.count) ".utf8) + payload
        payloadType = type
        self.payload = Data(payload).base64EncodedString()
        signatures = [Signature(keyid: key.id.value, sig: Data(try key.sign(message)).base64EncodedString())]
    }

    var bytes: [UInt8] { get throws { Array(try JSONEncoder().encode(self)) } }
}
