import HomomorphicEncryption
import RealModule

/// The noise bounds of docs/noise.md: variances of errors, and how far an error strays from its deviation.
///
/// An error is a polynomial e = phase - exact message. Its coefficients have a variance; its slot i, the
/// value at zeta_i, has the mean square `variance * N` and more where e has a factor s: then that of the
/// slot follows |s(zeta_i)|^2, which one key has for all of its life.
enum NoiseModel {
    /// Centered binomial error over 42 bits.
    static let errorVariance = 10.5
    /// Uniform ternary secret.
    static let secretVariance = 2.0 / 3
    /// Rounding to the nearest integer.
    static let roundingVariance = 1.0 / 12

    /// Chance that any coefficient or slot of one polynomial passes its bound: 2^-40.
    static let failureBits = 40.0

    /// Deviations that bound N real coefficients: 2N exp(-k^2 / 2) = 2^-40.
    static func coefficientFactor(degree: Int) -> Double {
        (2 * (.log(2 * Double(degree)) + failureBits * .log(2))).squareRoot()
    }

    /// Deviations that bound N/2 complex slots: N/2 exp(-k^2) = 2^-40.
    static func slotFactor(degree: Int) -> Double {
        (.log(Double(degree) / 2) + failureBits * .log(2)).squareRoot()
    }

    /// What |s(zeta_i)|^2 stays below in every slot of a key but one in 2^40.
    static func largestSecretPower(degree: Int) -> Double {
        Double(degree) * secretVariance * slotFactor(degree: degree) * slotFactor(degree: degree)
    }

    // MARK: Variance of a coefficient, for a typical key

    /// e0 - e u + e1 s: 10.5 + 2 N 10.5 2/3.
    static func freshPublic(degree: Int) -> Double {
        errorVariance * (1 + 2 * Double(degree) * secretVariance)
    }

    static let freshSecret = errorVariance

    /// The roundings of c_0 and of c_1, the second times s.
    static func rescaling(degree: Int) -> Double {
        roundingVariance * (1 + Double(degree) * secretVariance)
    }

    /// Digits times key errors, over P; then the roundings of the division by P.
    static func keySwitching(_ parameters: EncryptionParameters, level: Int) -> Double {
        let digits = switchedDigits(parameters, level: level).reduce(0, +)
        return Double(parameters.degree) * errorVariance * digits
            + Double(parameters.p.count) * rescaling(degree: parameters.degree)
    }

    /// For each digit, the variance of a raised coefficient over P^2: n primes give n uniform terms, each
    /// within half the digit D, so n D^2 / (12 P^2).
    static func switchedDigits(_ parameters: EncryptionParameters, level: Int) -> [Double] {
        let special = parameters.p.reduce(1.0) { $0 * Double($1) }
        return (0..<parameters.digitCount(level: level)).map { index in
            let primes = parameters.q[index * parameters.alpha..<min((index + 1) * parameters.alpha, level)]
            let ratio = primes.reduce(1.0) { $0 * Double($1) } / special
            return Double(primes.count) * roundingVariance * ratio * ratio
        }
    }

    // MARK: What no ciphertext passes, however it was chosen

    /// |raised coefficient| <= n D / 2, |key error| <= 21; each rounding within n / 2, one of them times s.
    static func worstKeySwitching(_ parameters: EncryptionParameters, level: Int, secretNorm: Double)
        -> Double
    {
        let special = parameters.p.reduce(1.0) { $0 * Double($1) }
        let digits = (0..<parameters.digitCount(level: level)).reduce(0.0) { sum, index in
            let primes = parameters.q[index * parameters.alpha..<min((index + 1) * parameters.alpha, level)]
            return sum + Double(primes.count) * primes.reduce(1.0) { $0 * Double($1) } / special / 2
        }
        return 21 * Double(parameters.degree) * digits + Double(parameters.p.count) / 2
            * (1 + secretNorm)
    }
}
