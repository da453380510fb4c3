import Attestation
import ComplexModule
import HomomorphicEncryption
import RLWE
import RealModule

/// One vector to encrypt.
public enum EncryptionInput: Sendable, Hashable {
    /// For CKKS: up to N/2 values.
    case complex([Complex<Double>])
    /// For BFV: up to N integers, the first N/2 of them the first row; between -t/2 and t/2.
    case integers([Int64])
    /// For BFV: the same in 0 ..< t.
    case residues([Int64])

    public init(_ values: [Complex<Double>]) { self = .complex(values) }
    public init(real: [Double]) { self = .complex(real.map { Complex($0) }) }
}

/// Ciphertexts of this service, serialized, with their digests on record.
public struct EncryptionResult: Sendable {
    public let ciphertexts: [[UInt8]]
    public let digests: [Digest]
    public let timings: StepTimings
}

extension KeyManager {
    /// Vectors that one call takes at most.
    public static let maximumVectors = CircuitProfile.maximumInputs
    /// Bytes of ciphertexts that one call makes at most: they are all in memory before any is sent.
    public static let maximumCiphertextBytes = 256 << 20

    /// Vectors that are encrypted between two looks at whether the request was cancelled, by the threads that are idle.
    private static let vectorsAtATime = 64

    static func requireRoom(
        for count: Int, level: Int, _ context: EncryptionContext
    ) throws(KeyManagementError) {
        guard (1...context.maximumLevel).contains(level) else {
            throw .homomorphicEncryption(.invalidLevel(level, maximum: context.maximumLevel))
        }
        let one = Ciphertext.serializedByteCount(polynomials: 2, level: level, context: context)
        guard count <= Self.maximumCiphertextBytes / one else {
            throw .invalidRequest(
                reason:
                    "\(count) ciphertexts of \(one) bytes are more than the \(Self.maximumCiphertextBytes) bytes of "
                    + "one request: send at most \(Self.maximumCiphertextBytes / one) at a time")
        }
    }

    /// Encrypts vectors under a key set's public key and records the digests, by which they may be
    /// decrypted again.
    /// - Parameters:
    ///   - scaleBits: log2 of the scale; the key set's profile decides where it is nil.
    ///   - level: level of the ciphertexts; the key set's profile decides where it is nil.
    ///   - circuit: that of which these are inputs, in turn its operands, packed for it and within its ranges; the caller
    ///     has seen to that. Under a key set whose results are flooded or exact, nothing else is evaluated.
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
        let bits = scaleBits ?? manifest.profile?.scaleBits
        let level = level ?? manifest.profile?.inputLevel ?? publicKey.context.maximumLevel
        if manifest.policy.flooding != nil, let profile = manifest.profile {
            guard circuit == nil || circuit?.digest == profile.digest else { throw .otherCircuit(keySet: keySet) }
            // Noise is planned for these.
            guard bits == profile.scaleBits else {
                throw .homomorphicEncryption(.scaleMismatch(.exp2(Double(bits ?? 0)), profile.scale))
            }
            guard level == profile.inputLevel else {
                throw .homomorphicEncryption(.levelMismatch(level, profile.inputLevel))
            }
        }
        try Self.requireRoom(for: inputs.count, level: level, publicKey.context)
        var timings = StepTimings()
        let ciphertexts: [[UInt8]]
        do {
            let messages = try publicKey.context.messages(scaleBits: bits)
            for input in inputs { try messages.require(input) }
            var made: [[UInt8]] = []
            for start in stride(from: 0, to: inputs.count, by: Self.vectorsAtATime) {
                let group = inputs[start..<min(start + Self.vectorsAtATime, inputs.count)]
                made += try await timed("sampleEncryption", &timings) {
                    try await compute.run {
                        try Parallelism.map(below: group.count) {
                            try messages.encrypt(group[start + $0], level: level, by: publicKey).serialized()
                        }
                    }
                }
            }
            ciphertexts = made
        } catch { throw KeyManagementError(error) }
        let digests = ciphertexts.map { Digest(of: $0) }
        try await record(digests, of: keySet, circuit: circuit)
        return EncryptionResult(ciphertexts: ciphertexts, digests: digests, timings: timings)
    }

    private func record(
        _ digests: [Digest], of keySet: String, circuit: CircuitProfile?
    ) async throws(KeyManagementError) {
        var changes: [MetadataChange] = []
        for (index, digest) in digests.enumerated() {
            changes.append(
                try records.insertion(
                    CiphertextRow(keySet: keySet, index, of: circuit),
                    id: CiphertextRow.id(keySet: keySet, digest: digest), index: keySet))
        }
        let count = digests.count
        try await change(keySet, { row throws(KeyManagementError) in row.encryptions += count }, with: changes)
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
