/// Every way in which homomorphic encryption refuses. A mismatch is one of these, never a wrong answer.
public enum HEError: Error, Equatable, Sendable {
    // Parameters
    case invalidParameters(reason: String)
    /// A modulus of `bits` bits at this ring size is below 128-bit security.
    case insecureParameters(object: String, bits: Int, logN: Int, maximum: Int)
    /// BFV's plaintext modulus t has no N slots: it is no prime that is 1 modulo 2N. `example` is one.
    case plaintextModulusDoesNotBatch(t: UInt64, degree: Int, example: UInt64)

    // Values
    case tooManyValues(count: Int, slots: Int)
    case notFinite(index: Int)
    /// |value| * scale does not fit the modulus of the level; `bits` is nil where it does not even fit a Double.
    case valueOutOfRange(bits: Int?, modulusBits: Int)
    case invalidScale(Double)
    /// An integer that BFV's plaintext modulus has no room for.
    case integerOutOfRange(index: Int, range: ClosedRange<Int64>)

    // Objects that do not fit together
    case parameterMismatch
    case levelMismatch(Int, Int)
    case scaleMismatch(Double, Double)
    case invalidLevel(Int, maximum: Int)
    case unexpectedPolynomialCount(Int, expected: String)
    /// The product's scale leaves no room in the modulus: rescale first, or take a smaller scale.
    case scaleOverflow(scaleBits: Int, modulusBits: Int)
    case noLevelsLeft
    /// BFV's noise may pass what decryption stands, with a probability of 2^-128 or more.
    case decryptionMayFail(noiseBits: Int, limitBits: Int)
    /// The modulus P does not cover a digit: key switching would drown the message.
    case specialModulusTooSmall(specialBits: Int, digitBits: Int)

    // Evaluation keys
    case missingRelinearizationKey
    case missingGaloisKey(element: Int, steps: Int?)
    case keyLevelTooLow(keyLevel: Int, needed: Int)

    // Serialized objects
    case malformedObject(reason: String)
    case unsupportedVersion(Int)
    case digestMismatch
    case unexpectedObject(found: String, expected: String)
}

extension HEError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .invalidParameters(let reason): "parameters are not usable: \(reason)"
        case .insecureParameters(let object, let bits, let logN, let maximum):
            "\(object) has a modulus of \(bits) bits at N = 2^\(logN); 128-bit security allows \(maximum) bits: "
                + "take a larger ring or fewer or shorter primes"
        case .plaintextModulusDoesNotBatch(let t, let degree, let example):
            "the plaintext modulus \(t) has no \(degree) slots at N = \(degree): take a prime that is 1 modulo "
                + "\(2 * degree), for example \(example)"
        case .tooManyValues(let count, let slots): "\(count) values do not fit into \(slots) slots: split them"
        case .notFinite(let index): "value \(index) is not a finite number"
        case .valueOutOfRange(let bits, let modulusBits):
            "a value times the scale \(bits.map { "takes \($0) bits" } ?? "is not finite") and the modulus has "
                + "\(modulusBits) bits: scale the data down"
        case .invalidScale(let scale): "\(scale) is not a scale: it is a finite number of at least 1, and 1 for BFV"
        case .integerOutOfRange(let index, let range):
            "value \(index) is not in \(range.lowerBound)...\(range.upperBound): reduce it modulo t, or take a larger t"
        case .parameterMismatch: "the object belongs to other parameters"
        case .levelMismatch(let left, let right):
            "operands are at levels \(left) and \(right): drop the higher one to the lower level"
        case .scaleMismatch(let left, let right): "operands have scales \(left) and \(right): they must agree"
        case .invalidLevel(let level, let maximum): "level \(level) is not in 1...\(maximum)"
        case .unexpectedPolynomialCount(let count, let expected):
            "a ciphertext of \(count) polynomials where \(expected) are expected"
        case .scaleOverflow(let scaleBits, let modulusBits):
            "the product's scale takes \(scaleBits) bits and the modulus has \(modulusBits): rescale first"
        case .noLevelsLeft: "no level is left to rescale into: the circuit is deeper than the parameters"
        case .decryptionMayFail(let noiseBits, let limitBits):
            "the noise may take \(noiseBits) bits where decryption stands \(limitBits): take a shallower circuit, a "
                + "smaller t or a larger ring"
        case .specialModulusTooSmall(let specialBits, let digitBits):
            "the special primes have \(specialBits) bits and a digit has \(digitBits): key switching needs the former "
                + "to be no smaller"
        case .missingRelinearizationKey: "there is no relinearization key in this set of evaluation keys"
        case .missingGaloisKey(let element, let steps):
            if let steps {
                "there is no rotation key for \(steps) steps (Galois element \(element)): "
                    + "register the key set with this rotation"
            } else {
                "there is no key for Galois element \(element): register the key set with it"
            }
        case .keyLevelTooLow(let keyLevel, let needed):
            "the evaluation key is of level \(keyLevel) and the ciphertext at level \(needed)"
        case .malformedObject(let reason): "not a valid object: \(reason)"
        case .unsupportedVersion(let version): "format version \(version) is not known here"
        case .digestMismatch: "the object's digest does not match: it was altered or cut"
        case .unexpectedObject(let found, let expected): "found \(found) where \(expected) is expected"
        }
    }
}
