import RealModule

/// What the error of honest ciphertexts stays below, in two norms. Unlike the heuristic bounds of docs/noise.md these
/// hold for all messages and all rounding errors, and over keys and encryptions but with a chance of 2^-168: of 2^-128 for 2^40 results.
public struct ErrorBound: Sendable, Hashable {
    /// Of the Euclidean norm of the N coefficients: what flooding needs. Each coefficient is below it too.
    public var euclidean: Double
    /// Of the magnitude of every slot, the norm of the canonical embedding: for products of errors, and for what a
    /// value may be off.
    public var embedding: Double

    public init(euclidean: Double, embedding: Double) {
        self.euclidean = euclidean
        self.embedding = embedding
    }

    public static let zero = ErrorBound(euclidean: 0, embedding: 0)

    /// Of the sum, whether or not the two depend on each other.
    public static func + (left: ErrorBound, right: ErrorBound) -> ErrorBound {
        ErrorBound(euclidean: left.euclidean + right.euclidean, embedding: left.embedding + right.embedding)
    }

    public static func * (factor: Double, bound: ErrorBound) -> ErrorBound {
        ErrorBound(euclidean: factor * bound.euclidean, embedding: factor * bound.embedding)
    }

    /// Of the image under a linear map of slots, by bounds of its norms: from Euclidean to Euclidean, and of the
    /// largest slot.
    package func mapped(euclidean: Double, embedding: Double) -> ErrorBound {
        ErrorBound(euclidean: euclidean * self.euclidean, embedding: embedding * self.embedding)
    }

    /// Of the error of the square of a ciphertext: 2 m e + e e.
    /// - Parameter magnitude: of every slot of the message polynomial m.
    package func squared(magnitude: Double) -> ErrorBound {
        ErrorBound(
            euclidean: (2 * magnitude + embedding) * euclidean, embedding: (2 * magnitude + embedding) * embedding)
    }
}

/// The errors that the operations of CKKS make, for one set of parameters: static bounds, from public numbers alone.
///
/// Written |a| for the Euclidean norm of the coefficients of a polynomial and ||a|| for its largest slot. The slots and
/// their conjugates are sqrt(N) times an orthogonal image of the coefficients, so that
///
///     |a| <= ||a|| <= sqrt(N) |a|,    |a b| <= ||a|| |b|,    ||a b|| <= ||a|| ||b||.
///
/// A polynomial of N independent subgaussian coefficients of variance v (the error: 21 differences of bits, v = 10.5;
/// the ternary secret and mask: v = 2/3; both are subgaussian with their own variance) has, each with a chance of at
/// most 2^-190:
///
/// - |a|^2 > v (N + 2 sqrt(N x) + 2 x), x = 190 ln 2 (Laurent and Massart, "Adaptive estimation of a quadratic
///   functional by model selection", 2000, lemma 1, whose moment generating function bounds this one's);
/// - ||a||^2 > v N (x + ln(32 N)) / cos(pi / 64)^2: the part of a slot in each of 64 directions is subgaussian of
///   variance v N / 2, one of them is within pi / 64 of the slot's, and there are N / 2 slots.
///
/// A circuit has less than 2^22 of these, keys' errors included. All else is a worst case: what is rounded or switched
/// may be anything.
public struct StaticNoise: Sendable {
    public let parameters: EncryptionParameters

    private static let tail = 190 * Double.log(2)
    private static let errorVariance = 10.5
    private static let ternaryVariance = 2.0 / 3

    public init(_ parameters: EncryptionParameters) { self.parameters = parameters }

    private var degree: Double { Double(parameters.degree) }

    private func euclidean(variance: Double) -> Double {
        (variance * (degree + 2 * (degree * Self.tail).squareRoot() + 2 * Self.tail)).squareRoot()
    }

    private func embedding(variance: Double) -> Double {
        (variance * degree * (Self.tail + .log(32 * degree))).squareRoot() / .cos(.pi / 64)
    }

    /// ||s||.
    var secret: Double { embedding(variance: Self.ternaryVariance) }

    /// A public-key encryption: e_0 - e u + e_1 s.
    public var fresh: ErrorBound {
        let (short, high) = (
            euclidean(variance: Self.errorVariance), embedding(variance: Self.errorVariance)
        )
        let mask = embedding(variance: Self.ternaryVariance)
        return ErrorBound(euclidean: short * (1 + mask + secret), embedding: high * (1 + mask + secret))
    }

    /// Rounding of both halves to integers, each coefficient by half of one at most, `terms` times.
    private func rounding(terms: Double = 1) -> ErrorBound {
        ErrorBound(
            euclidean: terms * degree.squareRoot() / 2 * (1 + secret), embedding: terms * degree / 2 * (1 + secret))
    }

    /// A ciphertext's error after division by some of its primes, one after another.
    /// - Parameter primes: those that go, the last of the level first.
    public func rescaled(_ bound: ErrorBound, by primes: some Sequence<UInt64>) -> ErrorBound {
        primes.reduce(bound) { (1 / Double($1)) * $0 + rounding() }
    }

    /// What a key switch at a level adds: coefficients of digit j are at most n_j D_j / 2 when raised, meet the
    /// digit's error and are divided by P; the division's base conversion rounds by half of P's primes at most.
    public func keySwitch(level: Int) -> ErrorBound {
        guard parameters.alpha > 0 else { return .zero }
        let special = EncryptionParameters.log2(parameters.p)
        let error = embedding(variance: Self.errorVariance)
        var sum = ErrorBound.zero
        for index in 0..<parameters.digitCount(level: level) {
            let primes = parameters.q[index * parameters.alpha..<min((index + 1) * parameters.alpha, level)]
            let ratio = Double.exp2(EncryptionParameters.log2(primes) - special) * Double(primes.count) / 2
            sum = sum + ErrorBound(euclidean: error * ratio * degree.squareRoot(), embedding: error * ratio * degree)
        }
        return sum + rounding(terms: Double(parameters.p.count))
    }

    /// What encoding moves any slot by: every coefficient is rounded by half of one at most, and floating point is
    /// exact to 2^-40 of the largest slot. It is no secret: the encoded polynomial is the message.
    package func encoding(largest: Double) -> Double { degree / 2 + 0x1p-40 * largest }

    /// The bound B of ``FloodingPolicy``: the error's, and what rounding of the exact result to integers adds.
    public func floodingBound(_ bound: ErrorBound) -> Double { bound.euclidean + degree.squareRoot() / 2 }
}
