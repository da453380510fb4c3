import Attestation
import ComplexModule
import HomomorphicEncryption
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

/// What ciphertexts are encrypted for: the operands of a circuit, whose ranges they were checked for.
public struct EncryptionPurpose: Sendable, Hashable {
    private let profile: CircuitProfile

    /// - Parameter profile: inputs are its operands in turn.
    public init(_ profile: CircuitProfile) { self.profile = profile }

    /// What is on record of input `index`.
    func mark(_ index: Int) -> String { "\(profile.digest.hex).\(index % (profile.operands ?? 1))" }
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
    ///   - purpose: the circuit whose ranges the inputs were checked for, where there is one.
    public func encrypt(
        _ inputs: [EncryptionInput], under keySet: String, scaleBits: Int? = nil, level: Int? = nil,
        for purpose: EncryptionPurpose? = nil, as requester: Requester
    ) async throws(KeyManagementError) -> EncryptionResult {
        guard (1...Self.maximumVectors).contains(inputs.count) else {
            throw .invalidRequest(reason: "1 to \(Self.maximumVectors) vectors in one request")
        }
        let row = try await activeRow(keySet, for: requester).row
        let manifest = try await manifest(row).body
        let publicKey = try await publicKey(of: manifest)
        let level = level ?? manifest.profile?.inputLevel ?? publicKey.context.maximumLevel
        var timings = StepTimings()
        let ciphertexts: [[UInt8]]
        do {
            let messages = try publicKey.context.messages(scaleBits: scaleBits ?? manifest.profile?.scaleBits)
            for input in inputs { try messages.require(input) }
            var made: [[UInt8]] = []
            for input in inputs {
                made.append(
                    try await timed("sampleEncryption", &timings) {
                        try await compute.run {
                            try messages.encrypt(input, level: level, by: publicKey).serialized()
                        }
                    })
            }
            ciphertexts = made
        } catch { throw KeyManagementError(error) }
        let digests = ciphertexts.map { Digest(of: $0) }
        try await record(digests, of: keySet, for: purpose)
        return EncryptionResult(ciphertexts: ciphertexts, digests: digests, timings: timings)
    }

    private func record(
        _ digests: [Digest], of keySet: String, for purpose: EncryptionPurpose?
    ) async throws(KeyManagementError) {
        var changes: [MetadataChange] = []
        for (index, digest) in digests.enumerated() {
            changes.append(
                try records.insertion(
                    CiphertextRow(keySet: keySet, job: nil, purpose: purpose?.mark(index)), id: CiphertextRow.id(keySet: keySet, digest: digest),
                    index: keySet))
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
