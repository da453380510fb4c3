import RLWE

/// Products of BFV ciphertexts at one level: round(t/P x y') modulo Q, where y' = round(P/Q y) and P is the product of
/// auxiliary primes, more than Q (Kim, Polyakov and Zucca, ePrint 2021/204, the variant over Q).
///
/// The product t x y' less its remainder modulo P is a multiple of P, so its quotient modulo Q follows from x y' modulo
/// each q and each p alone, however large x y' is over the integers: no more auxiliary primes than Q has are needed.
/// y' is as far from P/Q y as a modulus switch would leave it (docs/noise.md).
final class BFVMultiplier: Sendable {
    private let ciphertextBasis: RNSBasis
    private let auxiliaryBasis: RNSBasis
    /// x, between -Q/2 and Q/2, modulo each p.
    private let raising: ExactBaseConversion
    /// y' times (P / p)^-1 modulo each p: what the conversion back begins with.
    private let switching: ExactBaseConversion
    /// y', between -P/2 and P/2, modulo each q.
    private let lowering: ExactBaseConversion
    /// [t d] modulo P, over t, modulo each q; it takes d as a product with what ``switching`` gave.
    private let remainder: ExactBaseConversion
    /// t modulo each p.
    private let messages: [UInt64]
    /// t P^-1 modulo each q.
    private let factors: [UInt64]

    init(context: EncryptionContext, level: Int) throws(HEError) {
        let t = try context.plaintextBasis().moduli[0].value
        let ciphertextBasis = context.ciphertextBasis(level: level)
        let auxiliary = try context.auxiliaryModuli(bits: context.modulusBits(level: level))
        let (q, p) = (ciphertextBasis.moduli, auxiliary)
        func inverses(_ moduli: [NTTModulus], of number: (NTTModulus) -> UInt64) -> [UInt64] {
            moduli.map { $0.inverse(number($0)) }
        }
        self.ciphertextBasis = ciphertextBasis
        auxiliaryBasis = RNSBasis(auxiliary)
        raising = ExactBaseConversion(from: q, to: p)
        // P y less [P y] modulo Q is Q times y', and 0 - [P y] modulo each p.
        let whole = q.map { $0.product(of: p.map(\.value)) }
        switching = ExactBaseConversion(
            from: q, to: p, multiplyingBy: whole,
            then: p.enumerated().map { index, prime in
                let divisor = prime.multiply(prime.product(of: q.map(\.value)), prime.cofactors(of: p)[index])
                return prime.value - prime.inverse(divisor)
            })
        lowering = ExactBaseConversion(from: p, to: q)
        remainder = ExactBaseConversion(from: p, to: q, then: inverses(q) { t % $0.value })
        messages = p.map { t % $0.value }
        factors = zip(q, whole).map { modulus, whole in modulus.multiply(t % modulus.value, modulus.inverse(whole)) }
    }

    /// round(t/Q of each part of the product), but for the rounding of y'.
    /// - Parameters:
    ///   - left: two polynomials in the NTT domain at this level.
    ///   - right: the same.
    ///   - tensor: the parts of a product, by powers of s.
    func product(
        _ left: [RNSPolynomial], _ right: [RNSPolynomial],
        tensor: ([RNSPolynomial], [RNSPolynomial]) -> [RNSPolynomial]
    ) -> [RNSPolynomial] {
        let switched = right.map(switched)
        let parts = tensor(left, switched.map(\.lowered))
        let auxiliaryParts = tensor(left.map(raised), switched.map(\.factor))
        return zip(parts, auxiliaryParts).map(divided)
    }

    /// The same coefficients, between -Q/2 and Q/2, modulo the auxiliary primes.
    private func raised(_ polynomial: RNSPolynomial) -> RNSPolynomial {
        let degree = auxiliaryBasis.degree
        return RowPool.withScratch(words: raising.preparedCount * degree) { prepared in
            polynomial.withRows { raising.prepare($0, into: prepared) }
            return transformed(auxiliaryBasis) { raising.conversion(of: prepared, toRow: $0) }
        }
    }

    /// y' modulo Q, and its factor for ``remainder`` modulo P.
    private func switched(_ polynomial: RNSPolynomial) -> (lowered: RNSPolynomial, factor: RNSPolynomial) {
        let degree = auxiliaryBasis.degree
        return RowPool.withScratch(words: lowering.preparedCount * degree) { factor in
            RowPool.withScratch(words: switching.preparedCount * degree) { prepared in
                polynomial.withRows { switching.prepare($0, into: prepared) }
                Parallelism.forEach(below: auxiliaryBasis.count) { row in
                    switching.convert(
                        prepared, to: auxiliaryBasis.moduli[row], row: row, into: factor + row * degree)
                }
            }
            lowering.complete(factor)
            return (
                transformed(ciphertextBasis) { lowering.conversion(of: factor, toRow: $0) },
                transformed(auxiliaryBasis) {
                    .centered(factor + $0 * degree, prime: auxiliaryBasis.moduli[$0].value)
                }
            )
        }
    }

    /// (t d - [t d]) / P modulo Q, [t d] between -P/2 and P/2.
    private func divided(_ part: RNSPolynomial, _ auxiliaryPart: RNSPolynomial) -> RNSPolynomial {
        let degree = ciphertextBasis.degree
        var result = RNSPolynomial(uninitialized: ciphertextBasis, form: .evaluation)
        RowPool.withScratch(words: remainder.preparedCount * degree) { prepared in
            auxiliaryPart.withRows { rows in
                Parallelism.forEach(below: auxiliaryBasis.count) { row in
                    auxiliaryBasis.moduli[row].inverseTransform(
                        prepared + row * degree, rows + row * degree, factor: messages[row])
                }
            }
            remainder.complete(prepared)
            part.withRows { rows in
                result.withMutableRows { out in
                    Parallelism.forEach(below: ciphertextBasis.count) { row in
                        ciphertextBasis.moduli[row].divide(
                            out + row * degree, rows + row * degree,
                            minus: remainder.conversion(of: prepared, toRow: row), factor: factors[row])
                    }
                }
            }
        }
        return result
    }

    /// The transforms of converted rows.
    private func transformed(_ basis: RNSBasis, _ conversion: (Int) -> NTTModulus.Conversion) -> RNSPolynomial {
        var result = RNSPolynomial(uninitialized: basis, form: .evaluation)
        result.withMutableRows { out in
            Parallelism.forEach(below: basis.count) { row in
                basis.moduli[row].transform(out + row * basis.degree, conversion(row))
            }
        }
        return result
    }
}
