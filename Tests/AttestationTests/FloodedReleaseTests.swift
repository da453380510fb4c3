import Attestation
import Foundation
import HomomorphicEncryption
import SecretMemory
import Testing

/// The release policy in manifests: what decodes, what goes with a circuit, what earlier versions said.
@Suite struct FloodedReleaseTests {
    private static func profile() throws -> CircuitProfile {
        CircuitProfile(
            model: "m", modelDigest: try Fixtures.digest(5),
            parameters: try #require(ParameterPreset.named("ckks-13")).parameters, scaleBits: 60, inputLevel: 4,
            outputLevel: 3, batch: 1, evaluationKeys: [])
    }

    private static func flooding(
        bound: Double = 0x1p20, budget: Int = 100, precision: Double = 1e-3, level: Int = 3, scaleBits: Int = 60,
        audience: ReleaseAudience = .owner
    ) throws -> FloodedRelease {
        FloodedRelease(
            precision: precision,
            policy: try FloodingPolicy(
                errorBound: bound, budget: budget, precision: precision, level: level, scaleBits: scaleBits,
                audience: audience))
    }

    @Test("a policy goes with its circuit, keeps its precision and has no bound that cannot be")
    func validation() throws {
        let profile = try Self.profile()
        try Self.flooding().validate(for: profile)
        for bad in [
            try Self.flooding(level: 4), try Self.flooding(scaleBits: 61), try Self.flooding(bound: 0x1p24),
            try Self.flooding(bound: 100), try Self.flooding(budget: 1 << 30),
            FloodedRelease(precision: 1e-4, policy: try Self.flooding().policy),
            FloodedRelease(precision: .infinity, policy: try Self.flooding().policy),
            FloodedRelease(precision: -1, policy: try Self.flooding().policy),
        ] {
            #expect(throws: AttestationError.self) { try bad.validate(for: profile) }
        }
        let input = try Self.flooding().inputPolicy(of: profile)
        let fresh = StaticNoise(profile.parameters)
        #expect(input.level == 4 && input.errorBound == fresh.floodingBound(fresh.fresh))
        #expect(input.step == 0x1p-11 && input.budget == 100 && input.statisticalBits == 30)
    }

    @Test("policies travel in manifests, and those that contradict themselves do not decode")
    func coding() throws {
        let key = try SigningKey(seed: SecretBytes(copying: [UInt8](repeating: 1, count: 32)))
        var manifest = try Fixtures.manifest()
        manifest.policy = .flooded(try Self.flooding(audience: .shared))
        let signed = try SignedStatement(manifest, by: key)
        let read = try SignedStatement<KeySetManifest>(verifying: signed.serialized(), pinned: [key.verificationKey])
        #expect(read.body == manifest && read.body.policy.audience == .shared)
        #expect(read.body.policy.decryptionBudget == 100)
        let text = String(decoding: signed.payload, as: UTF8.self)
        for (old, new) in [
            (#""release":"flooded""#, #""release":"raw""#), (#""decryptionBudget":100"#, #""decryptionBudget":101"#),
            (#""decryptionBudget":100,"#, ""), (#""decryptAny":false"#, #""decryptAny":true"#),
            (#""statisticalBits":30"#, #""statisticalBits":0"#), (#""statisticalBits":30"#, #""statisticalBits":129"#),
            (#""budget":100"#, #""budget":0"#), (#""budget":100"#, #""budget":100.5"#),
            (#""audience":"shared""#, #""audience":"everybody""#), (#""errorBound":1048576"#, #""errorBound":0"#),
            (#""errorBound":1048576"#, #""errorBound":1e300"#), (#""errorBound":1048576"#, #""errorBound":-1"#),
            (#""scaleBits":60,"#, #""scaleBits":121,"#),
        ] {
            let changed = text.replacing(old, with: new)
            try #require(changed != text, "\(old) in \(text)")
            // Even the manifest key's signature makes it no manifest.
            let forged = try LooseEnvelope(
                payload: Array(changed.utf8), type: KeySetManifest.payloadType, signedBy: key)
            #expect(throws: AttestationError.self, "\(new)") {
                try SignedStatement<KeySetManifest>(verifying: forged.bytes, pinned: [key.verificationKey])
            }
            // And without it, nothing does.
            var altered = try LooseEnvelope(signed.serialized())
            altered.payload = Data(changed.utf8).base64EncodedString()
            #expect(throws: AttestationError.badSignature) {
                try SignedStatement<KeySetManifest>(verifying: altered.bytes, pinned: [key.verificationKey])
            }
        }
    }

    @Test("manifests of version 1 are read, keep their type, and are signed anew as version 2")
    func versions() throws {
        let key = try SigningKey(seed: SecretBytes(copying: [UInt8](repeating: 1, count: 32)))
        let payload = try SignedStatement(Fixtures.manifest(), by: key).payload
        let type = "application/vnd.hkms.manifest.v1+json"
        let old = try LooseEnvelope(payload: payload, type: type, signedBy: key)
        let read = try SignedStatement<KeySetManifest>(verifying: old.bytes, pinned: [key.verificationKey])
        #expect(read.body.policy == .raw(decryptionBudget: 10))
        #expect(try LooseEnvelope(read.serialized()).payloadType == type)
        _ = try SignedStatement<KeySetManifest>(verifying: read.serialized(), pinned: [key.verificationKey])
        #expect(
            try LooseEnvelope(SignedStatement(read.body, by: key).serialized()).payloadType
                == KeySetManifest.payloadType)
        // The type is signed: one version's signature is not the other's.
        var moved = old
        moved.payloadType = KeySetManifest.payloadType
        #expect(throws: AttestationError.badSignature) {
            try SignedStatement<KeySetManifest>(verifying: moved.bytes, pinned: [key.verificationKey])
        }
        let unknown = try LooseEnvelope(
            payload: payload, type: "application/vnd.hkms.manifest.v3+json", signedBy: key)
        #expect(throws: AttestationError.self) {
            try SignedStatement<KeySetManifest>(verifying: unknown.bytes, pinned: [key.verificationKey])
        }
    }
}
