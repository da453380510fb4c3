import Attestation
import ComplexModule
import HomomorphicEncryption
import RealModule

/// One vector to encrypt.
public struct EncryptionInput: Sendable, Hashable {
    /// Up to N/2 values.
    public var values: [Complex<Double>]

    public init(_ values: [Complex<Double>]) { self.values = values }
    public init(real: [Double]) { values = real.map { Complex($0) } }
}

/// Ciphertexts of this service, serialized, with their digests on record.
public struct EncryptionResult: Sendable {
    public let ciphertexts: [[UInt8]]
    public let digests: [Digest]
    public let timings: StepTimings
}

extension KeyManager {
    /// Vectors that one call takes at most.
    public static let maximumVectors = 4096

    /// Encrypts vectors under a key set's public key and records the digests, by which they may be
    /// decrypted again.
    /// - Parameters:
    ///   - scaleBits: log2 of the scale; the key set's profile decides where it is nil.
    ///   - level: level of the ciphertexts; the key set's profile decides where it is nil.
    ///   - circuit: that of which these are inputs, packed for it and within its ranges; the caller has seen to that.
    ///     Under a key set whose results are flooded, nothing else is evaluated.
    public func encrypt(
        _ inputs: [EncryptionInput], under keySet: String, scaleBits: Int? = nil, level: Int? = nil,
        circuit: CircuitProfile? = nil, as requester: Requester
    ) async throws(KeyManagementError) -> EncryptionResult {
        guard (1...Self.maximumVectors).contains(inputs.count) else {
            throw .invalidRequest(reason: "1 to \(Self.maximumVectors) vectors in one request")
        }
        let row = try await activeRow(keySet, for: requester).row
        let manifest = try await manifest(row).body
        let publicKey = try await publicKey(of: manifest)
        let bits = scaleBits ?? manifest.profile?.scaleBits ?? Self.defaultScaleBits(manifest.parameters)
        guard (1...120).contains(bits) else { throw .invalidRequest(reason: "the scale is 2^1 to 2^120") }
        let level = level ?? manifest.profile?.inputLevel ?? publicKey.context.maximumLevel
        if manifest.policy.flooding != nil, let profile = manifest.profile {
            guard circuit == nil || circuit?.digest == profile.digest else { throw .otherCircuit(keySet: keySet) }
            // Noise is planned for these.
            guard bits == profile.scaleBits else {
                throw .homomorphicEncryption(.scaleMismatch(.exp2(Double(bits)), profile.scale))
            }
            guard level == profile.inputLevel else {
                throw .homomorphicEncryption(.levelMismatch(level, profile.inputLevel))
            }
        }
        var timings = StepTimings()
        let ciphertexts: [[UInt8]]
        do {
            let encoder = try CKKSEncoder(publicKey.context)
            let scale = Double(sign: .plus, exponent: bits, significand: 1)
            var made: [[UInt8]] = []
            for input in inputs {
                made.append(
                    try await timed("sampleEncryption", &timings) {
                        try await compute.run {
                            try publicKey.encrypt(encoder.encode(complex: input.values, scale: scale, level: level))
                                .serialized()
                        }
                    })
            }
            ciphertexts = made
        } catch { throw KeyManagementError(error) }
        let digests = ciphertexts.map { Digest(of: $0) }
        try await record(digests, of: keySet, circuit: circuit?.digest)
        return EncryptionResult(ciphertexts: ciphertexts, digests: digests, timings: timings)
    }

    private func record(
        _ digests: [Digest], of keySet: String, circuit: Digest?
    ) async throws(KeyManagementError) {
        var changes: [MetadataChange] = []
        for digest in digests {
            changes.append(
                try records.insertion(
                    CiphertextRow(keySet: keySet, job: nil, circuit: circuit),
                    id: CiphertextRow.id(keySet: keySet, digest: digest), index: keySet))
        }
        let count = digests.count
        try await change(keySet, { row throws(KeyManagementError) in row.encryptions += count }, with: changes)
    }

    /// The scale that a preset is made for; without a preset, that of its last prime.
    static func defaultScaleBits(_ parameters: EncryptionParameters) -> Int {
        ParameterPreset.all.first { $0.parameters.digest == parameters.digest }?.scaleBits
            ?? 63 - (parameters.q.last ?? 2).leadingZeroBitCount
    }

    /// The parsed public key, checked against the manifest.
    func publicKey(of manifest: KeySetManifest) async throws(KeyManagementError) -> PublicKey {
        guard let entry = manifest.publicKey else { throw .objectMissing("public-key") }
        if let known = publicKeys.withLock({ $0[entry.digest] }) { return known }
        let bytes = try await object(entry, of: manifest.keySet)
        let parameters = manifest.parameters
        do {
            let key = try await compute.run {
                try PublicKey(serialized: bytes, context: EncryptionContext.shared(parameters))
            }
            publicKeys.withLock { $0[entry.digest] = key }
            return key
        } catch { throw KeyManagementError(error) }
    }
}
