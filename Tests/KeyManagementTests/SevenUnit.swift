import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import SecretMemory
import Testing

/// An evaluation unit that answers 7, whatever it is asked, and is honest otherwise, unless a test makes it lie.
struct SevenUnit: Sendable {
    let profile: CircuitProfile
    let registered: RegisteredUnit
    private let key: SigningKey

    init(operator: KeySetOwner? = nil, scheme: Scheme = .ckks, profile other: CircuitProfile? = nil) throws {
        profile =
            try other
            ?? CircuitProfile(
                model: "seven", modelDigest: Digest(of: Array("seven".utf8)), parameters: scheme.smallParameters,
                scaleBits: scheme == .ckks ? 31 : 0, inputLevel: 2, outputLevel: scheme == .ckks ? 1 : 2, batch: 1,
                evaluationKeys: [])
        key = try SigningKey(seed: SecretBytes(randomCount: 32))
        registered = RegisteredUnit(name: "unit-1", verificationKey: key.verificationKey, operator: `operator`)
    }

    /// - Parameter inputs: nil for the sample, encrypted for it.
    func openJob(
        _ manager: KeyManager, under keySet: String, over inputs: [Digest]? = nil, keepsOutputs: Bool = true,
        as requester: Requester
    ) async throws -> JobDescription {
        let inputs =
            if let inputs { inputs } else {
                try await manager.encrypt(
                    [profile.parameters.scheme.sampleInput], under: keySet,
                    scaleBits: profile.parameters.scheme == .ckks ? profile.scaleBits : nil,
                    level: profile.inputLevel, circuit: profile, as: requester
                ).digests
            }
        return try await manager.openJob(
            inputs: inputs, keySet: keySet, profile: profile, unit: registered, keepsOutputs: keepsOutputs,
            as: requester
        ).body
    }

    func result(
        _ manager: KeyManager, under keySet: String, level: Int? = nil, scale: Double? = nil, as requester: Requester
    ) async throws -> [UInt8] {
        let context = try EncryptionContext.shared(profile.parameters)
        let publicKey = try PublicKey(serialized: await manager.publicKey(keySet, as: requester), context: context)
        let level = level ?? profile.outputLevel
        switch context.parameters.scheme {
        case .ckks:
            return try publicKey.encrypt(
                CKKSEncoder(context).encode([7], scale: scale ?? profile.scale, level: level)
            ).serialized()
        case .bfv:
            return try publicKey.encrypt(BFVEncoder(context).encode([7]), level: level).serialized()
        }
    }

    /// - Parameter signer: nil for the unit itself.
    func receipt(
        _ job: JobDescription, _ outputs: [[UInt8]], by signer: SigningKey? = nil,
        _ change: (inout Receipt) -> Void = { _ in }
    ) throws -> [UInt8] {
        var receipt = Receipt(
            job: job.job, nonce: job.nonce, keySet: job.keySet, manifest: job.manifest, modelDigest: job.modelDigest,
            profile: profile.digest, inputs: job.inputs, outputs: outputs.map { Digest(of: $0) }, unit: job.unit,
            evaluated: Date())
        change(&receipt)
        return try SignedStatement(receipt, by: signer ?? key).serialized()
    }

    @discardableResult
    func complete(
        _ job: JobDescription, _ outputs: [[UInt8]], _ manager: KeyManager, by signer: SigningKey? = nil,
        _ change: (inout Receipt) -> Void = { _ in }
    ) async throws -> JobSummary {
        try await manager.completeJob(
            job.job, receipt: receipt(job, outputs, by: signer, change), outputs: outputs, unit: registered,
            profile: profile)
    }

    /// Every field of a receipt, as it is true of something else.
    static func wrongReceipts(
        _ other: JobDescription
    ) -> [(field: String, change: @Sendable (inout Receipt) -> Void)] {
        let digest = Digest(of: [1])
        return [
            ("job", { $0.job = other.job }), ("nonce", { $0.nonce = other.nonce }),
            ("key set", { $0.keySet = "ks-0123456789" }), ("manifest", { $0.manifest = digest }),
            ("model", { $0.modelDigest = digest }), ("profile", { $0.profile = digest }),
            ("inputs", { $0.inputs = other.inputs }), ("outputs", { $0.outputs = [digest] }),
            ("no outputs", { $0.outputs = [] }), ("unit", { $0.unit = "unit-2" }),
        ]
    }
}
