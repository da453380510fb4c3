import RLWE

/// BFV's messages at one level: into residues of Q, as round(Q/t m), and back, as round(t/Q x) modulo t
/// (Halevi, Polyakov and Shoup, ePrint 2018/117, sections 2.1 and 2.3). Constant-time in the message.
package final class BFVMessageScaling: Sendable {
    private let plaintextBasis: RNSBasis
    private let ciphertextBasis: RNSBasis
    /// Q modulo t.
    private let modulusResidue: UInt64
    /// t^-1 modulo each q.
    private let inverses: [UInt64]
    private let toPlaintext: ExactBaseConversion

    private var t: NTTModulus { plaintextBasis.moduli[0] }

    init(plaintextBasis: RNSBasis, ciphertextBasis: RNSBasis) {
        self.plaintextBasis = plaintextBasis
        self.ciphertextBasis = ciphertextBasis
        let t = plaintextBasis.moduli[0]
        let moduli = ciphertextBasis.moduli
        modulusResidue = t.product(of: moduli.map(\.value))
        inverses = moduli.map { $0.inverse(t.value % $0.value) }
        // round(t x / Q) = (t x - [t x]_Q) / Q, which is -[t x]_Q / Q modulo t.
        toPlaintext = ExactBaseConversion(
            from: moduli, to: [t], multiplyingBy: moduli.map { t.value % $0.value },
            then: [t.value - t.inverse(modulusResidue)])
    }

    /// round(Q/t m), m in [0, t): each coefficient within 1/2 of Q/t m, exactly.
    /// - Returns: in the NTT domain, over the primes of the level; zeroed when it dies.
    package func scaled(_ plaintext: BFVPlaintext) -> RNSPolynomial {
        let degree = ciphertextBasis.degree
        // Q m less its centered residue modulo t is a multiple of t, and round(Q/t m) times it; Q m is 0 modulo each q.
        return RowPool.withScratch(words: degree, isConfidential: true) { remainder in
            plaintext.polynomial.withRow(0) { t.multiply(remainder, $0, scalar: modulusResidue) }
            var result = RNSPolynomial(basis: ciphertextBasis, form: .evaluation)
            result.markConfidential()
            result.withMutableRows { rows in
                RowPool.withScratch(words: degree) { zero in
                    zero.update(repeating: 0, count: degree)
                    Parallelism.forEach(below: ciphertextBasis.count) { row in
                        ciphertextBasis.moduli[row].divide(
                            rows + row * degree, zero, minus: .centered(remainder, prime: t.value),
                            factor: inverses[row])
                    }
                }
            }
            return result
        }
    }

    /// The coefficients of a message between -t/2 and t/2, as a factor.
    /// - Returns: in the NTT domain, over the primes of the level; zeroed when it dies.
    package func lifted(_ plaintext: BFVPlaintext) -> RNSPolynomial {
        let degree = ciphertextBasis.degree
        var result = RNSPolynomial(uninitialized: ciphertextBasis, form: .evaluation)
        result.markConfidential()
        plaintext.polynomial.withRow(0) { message in
            result.withMutableRows { rows in
                Parallelism.forEach(below: ciphertextBasis.count) { row in
                    ciphertextBasis.moduli[row].transform(
                        rows + row * degree, .centered(message, prime: t.value))
                }
            }
        }
        return result
    }

    /// round(t/Q x) modulo t: the message of a phase whose noise is within Q/2t (1 - 2^-40).
    /// - Parameter phase: in the NTT domain, over the primes of the level.
    package func message(of phase: RNSPolynomial) -> BFVPlaintext {
        let degree = ciphertextBasis.degree
        var message = RNSPolynomial(uninitialized: plaintextBasis, form: .coefficient)
        message.markConfidential()
        RowPool.withScratch(words: toPlaintext.preparedCount * degree, isConfidential: true) { prepared in
            phase.withRows { toPlaintext.prepare($0, into: prepared) }
            message.withMutableRow(0) { toPlaintext.convert(prepared, to: t, row: 0, into: $0) }
        }
        return BFVPlaintext(polynomial: message)
    }
}
