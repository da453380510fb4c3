import Attestation
import ComplexModule
import HomomorphicEncryption
import RLWE
import RealModule

/// What decrypted vectors are asked for as.
public enum ValueForm: Sendable, Hashable {
    /// As the scheme has them: complex numbers, or integers between -t/2 and t/2.
    case standard
    /// CKKS: imaginary parts are wanted, too.
    case complex
    /// BFV: integers in 0 ..< t.
    case unsigned
}

/// Decrypted vectors, one a ciphertext.
public enum DecryptedVectors: Sendable, Hashable {
    case complex([[Complex<Double>]])
    case integers([[Int64]])
}

/// What a message is in a scheme, from values to ciphertexts and back: the one place where the flows of schemes differ.
protocol Messages: Sendable {
    /// How results of this scheme may be released.
    static var releases: [ReleaseNoise] { get }
    /// Whether circuits take only inputs that were checked for their ranges: beyond them, sums would silently come out
    /// modulo t.
    static var boundsInputs: Bool { get }

    /// Refuses the values of another scheme, before anything is computed.
    func require(_ input: EncryptionInput) throws
    func require(_ form: ValueForm) throws

    /// - Parameter level: of the ciphertext.
    func encrypt(_ input: EncryptionInput, level: Int, by key: PublicKey) throws -> Ciphertext

    /// The first `count` values of each, all where nil.
    /// - Parameter policies: how each is flooded; none where they leave as they are.
    func decrypt(
        _ ciphertexts: [Ciphertext], by key: SecretKeyHolder, count: Int?, form: ValueForm,
        policies: [FloodingPolicy]
    ) throws -> DecryptedVectors
}

extension Scheme {
    /// The messages of this scheme.
    var messages: any Messages.Type {
        switch self {
        case .ckks: CKKSMessages.self
        case .bfv: BFVMessages.self
        }
    }
}

extension EncryptionContext {
    /// - Parameter scaleBits: log2 of the scale that is asked for; nil for the usual one.
    func messages(scaleBits: Int? = nil) throws -> any Messages {
        switch parameters.scheme {
        case .ckks: try CKKSMessages(self, scaleBits: scaleBits)
        case .bfv: try BFVMessages(self, scaleBits: scaleBits)
        }
    }
}

/// Complex numbers, approximately.
struct CKKSMessages: Messages {
    static let releases: [ReleaseNoise] = [.raw, .flooded]
    static let boundsInputs = false

    private let encoder: CKKSEncoder
    private let scale: Double

    init(_ context: EncryptionContext, scaleBits: Int?) throws {
        let bits = scaleBits ?? Self.defaultScaleBits(context.parameters)
        guard (1...120).contains(bits) else {
            throw KeyManagementError.invalidRequest(reason: "the scale is 2^1 to 2^120")
        }
        encoder = try CKKSEncoder(context)
        scale = Double(sign: .plus, exponent: bits, significand: 1)
    }

    /// The scale that a preset is made for; without a preset, that of its last prime.
    private static func defaultScaleBits(_ parameters: EncryptionParameters) -> Int {
        ParameterPreset.all.first { $0.parameters.digest == parameters.digest }?.scaleBits
            ?? 63 - (parameters.q.last ?? 2).leadingZeroBitCount
    }

    func require(_ input: EncryptionInput) throws {
        guard case .complex = input else { throw KeyManagementError.otherScheme(keySet: .ckks) }
    }

    func require(_ form: ValueForm) throws {
        guard form != .unsigned else { throw KeyManagementError.otherScheme(keySet: .ckks) }
    }

    func encrypt(_ input: EncryptionInput, level: Int, by key: PublicKey) throws -> Ciphertext {
        guard case .complex(let values) = input else { throw KeyManagementError.otherScheme(keySet: .ckks) }
        return try key.encrypt(encoder.encode(complex: values, scale: scale, level: level))
    }

    func decrypt(
        _ ciphertexts: [Ciphertext], by key: SecretKeyHolder, count: Int?, form: ValueForm,
        policies: [FloodingPolicy]
    ) throws -> DecryptedVectors {
        guard policies.isEmpty else {
            return .complex(
                try Parallelism.map(below: min(ciphertexts.count, policies.count)) {
                    try key.release(ciphertexts[$0], count: count, policy: policies[$0]).values
                })
        }
        return .complex(
            try Parallelism.map(below: ciphertexts.count) {
                try encoder.decodeComplex(key.decryptRaw(ciphertexts[$0]), count: count)
            })
    }
}

/// Integers modulo t, exactly. Nothing of the noise is looked at or leaves: decoding rounds it away.
struct BFVMessages: Messages {
    static let releases: [ReleaseNoise] = [.exact]
    static let boundsInputs = true

    private let encoder: BFVEncoder

    init(_ context: EncryptionContext, scaleBits: Int?) throws {
        guard scaleBits ?? 0 == 0 else { throw KeyManagementError.otherScheme(keySet: .bfv) }
        encoder = try BFVEncoder(context)
    }

    func require(_ input: EncryptionInput) throws {
        if case .complex = input { throw KeyManagementError.otherScheme(keySet: .bfv) }
    }

    func require(_ form: ValueForm) throws {
        guard form != .complex else { throw KeyManagementError.otherScheme(keySet: .bfv) }
    }

    func encrypt(_ input: EncryptionInput, level: Int, by key: PublicKey) throws -> Ciphertext {
        let plaintext: BFVPlaintext
        switch input {
        case .complex: throw KeyManagementError.otherScheme(keySet: .bfv)
        case .integers(let values): plaintext = try encoder.encode(values)
        // A negative number becomes one above every t, which is refused by its index.
        case .residues(let values): plaintext = try encoder.encode(residues: values.map { UInt64(bitPattern: $0) })
        }
        return try key.encrypt(plaintext, level: level)
    }

    func decrypt(
        _ ciphertexts: [Ciphertext], by key: SecretKeyHolder, count: Int?, form: ValueForm,
        policies: [FloodingPolicy]
    ) throws -> DecryptedVectors {
        // Noise would make them other integers.
        guard policies.isEmpty else { throw HEError.parameterMismatch }
        return .integers(
            try Parallelism.map(below: ciphertexts.count) {
                let message = try key.decryptBFV(ciphertexts[$0])
                guard form == .unsigned else { return try encoder.decode(message, count: count) }
                return try encoder.decodeResidues(message, count: count).map { Int64($0) }
            })
    }
}
