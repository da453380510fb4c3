import RLWE

/// Products of BFV ciphertexts at one level: round(t/Q times the product over the integers), which needs more room than
/// Q gives. The operands are converted to auxiliary primes b, the product is taken modulo Q B, divided by Q with
/// rounding modulo B, and converted back (Halevi, Polyakov and Shoup, ePrint 2018/117, section 4).
final class BFVMultiplier: Sendable {
    private let ciphertextBasis: RNSBasis
    private let auxiliaryBasis: RNSBasis
    private let toAuxiliary: ExactBaseConversion
    private let remainder: ExactBaseConversion
    private let toCiphertext: ExactBaseConversion
    /// t Q^-1 modulo each b.
    private let factors: [UInt64]

    init(context: EncryptionContext, level: Int) throws(HEError) {
        let t = try context.plaintextBasis().moduli[0].value
        let ciphertextBasis = context.ciphertextBasis(level: level)
        let moduli = ciphertextBasis.moduli
        // Coefficients of the product's middle part reach 2 N (Q/2)^2, times t/Q: a quarter of B, clear of where the
        // conversion back has to decide for a sign.
        let bits = context.modulusBits(level: level) + .log2(Double(t)) + Double(context.parameters.logN) + 1
        let auxiliary = try context.auxiliaryModuli(bits: bits)
        self.ciphertextBasis = ciphertextBasis
        auxiliaryBasis = RNSBasis(auxiliary)
        toAuxiliary = ExactBaseConversion(from: moduli, to: auxiliary)
        toCiphertext = ExactBaseConversion(from: auxiliary, to: moduli)
        // (t d - [t d]_Q) / Q = (d - [t d]_Q / t) t / Q
        let inverses = auxiliary.map { $0.inverse(t % $0.value) }
        remainder = ExactBaseConversion(from: moduli, to: auxiliary, multiplyingBy: t, targetFactors: inverses)
        factors = auxiliary.map { modulus in
            modulus.multiply(
                t % modulus.value,
                modulus.inverse(moduli.reduce(1) { modulus.multiply($0, $1.value % modulus.value) }))
        }
    }

    /// round(t/Q of each part of the product).
    /// - Parameters:
    ///   - left: two polynomials in the NTT domain at this level.
    ///   - right: the same; nil for a square.
    ///   - tensor: the parts of a product, by powers of s.
    func product(
        _ left: [RNSPolynomial], _ right: [RNSPolynomial]?,
        tensor: ([RNSPolynomial], [RNSPolynomial]) -> [RNSPolynomial]
    ) -> [RNSPolynomial] {
        let extendedLeft = left.map(extended)
        let extendedRight = right?.map(extended)
        let parts = tensor(left, right ?? left)
        let extendedParts = tensor(extendedLeft, extendedRight ?? extendedLeft)
        return zip(parts, extendedParts).map { scaled($0, $1) }
    }

    /// The same coefficients, between -Q/2 and Q/2, modulo the auxiliary primes.
    private func extended(_ polynomial: RNSPolynomial) -> RNSPolynomial {
        polynomial.withRows { convert($0, by: toAuxiliary, to: auxiliaryBasis) }
    }

    private func scaled(_ part: RNSPolynomial, _ extended: RNSPolynomial) -> RNSPolynomial {
        let degree = auxiliaryBasis.degree
        return RowPool.withScratch(words: auxiliaryBasis.count * degree) { quotient in
            RowPool.withScratch(words: remainder.preparedCount * degree) { prepared in
                part.withRows { remainder.prepare($0, into: prepared) }
                extended.withRows { rows in
                    Parallelism.forEach(below: auxiliaryBasis.count) { row in
                        auxiliaryBasis.moduli[row].divide(
                            quotient + row * degree, rows + row * degree,
                            minus: remainder.conversion(of: prepared, toRow: row), factor: factors[row])
                    }
                }
            }
            return convert(quotient, by: toCiphertext, to: ciphertextBasis)
        }
    }

    private func convert(
        _ values: UnsafePointer<UInt64>, by conversion: ExactBaseConversion, to basis: RNSBasis
    ) -> RNSPolynomial {
        let degree = basis.degree
        var result = RNSPolynomial(uninitialized: basis, form: .evaluation)
        RowPool.withScratch(words: conversion.preparedCount * degree) { prepared in
            conversion.prepare(values, into: prepared)
            result.withMutableRows { out in
                Parallelism.forEach(below: basis.count) { row in
                    basis.moduli[row].transform(out + row * degree, conversion.conversion(of: prepared, toRow: row))
                }
            }
        }
        return result
    }
}
