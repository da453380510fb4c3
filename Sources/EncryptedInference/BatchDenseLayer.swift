import HomomorphicEncryption
import RLWE

/// A dense layer of a ``BatchModel``: sums of products, each of one number, plaintext or ciphertext of weights with one
/// ciphertext of inputs.
struct BatchDenseLayer: Sendable {
    /// For each sum, group after group and giant after giant, the weights of its terms.
    enum Weights: Sendable {
        /// Multiples of 1 / weightScale.
        case numbers([[Int64]])
        case plaintexts([[CKKSPlaintext]])
        case ciphertexts([[PackedWeight]])
    }
    /// One a group.
    enum Biases: Sendable {
        case plaintexts([CKKSPlaintext])
        case ciphertexts([PackedWeight])
    }

    let shape: BatchLayout.Dense
    let weights: Weights
    let biases: Biases
    let weightScale: Double
    /// Primes that sums lose.
    let dropped: Int
    /// Slots of a position.
    let stride: Int

    /// - Returns: for each block, one ciphertext a group.
    func evaluate(
        _ blocks: [[Ciphertext]], _ evaluator: CKKSEvaluator, _ keys: EvaluationKeySet
    ) throws -> [[Ciphertext]] {
        let steps = (0..<shape.babies).map { $0 * stride }
        let inputs = shape.inputs
        // turned[block][input][baby]
        let turned: [[[Ciphertext]]]
        if shape.babies == 1 {
            turned = blocks.map { $0.map { [$0] } }
        } else {
            let rotations = try Parallelism.map(below: blocks.count * inputs) { index throws(HEError) in
                try evaluator.rotate(blocks[index / inputs][index % inputs], bySteps: steps, keys: keys)
            }
            turned = blocks.indices.map { Array(rotations[$0 * inputs..<($0 + 1) * inputs]) }
        }
        // Group by group, so that few sums are there at a time. results[group][block]
        let results = try Parallelism.map(below: shape.groups) { group throws(any Error) in
            var values: [Ciphertext] = []
            // Horner, from the last giant: one key turns them all.
            for giant in (0..<shape.giants).reversed() {
                let terms = shape.terms(group: group, giant: giant)
                let factors = turned.map { inputs in terms.map { inputs[$0.input][$0.baby] } }
                let sums = try sum(group * shape.giants + giant, factors, like: blocks[0][0])
                for (block, sum) in sums.enumerated() {
                    var value = giant == 0 ? try adding(bias: group, to: sum, evaluator) : sum
                    value = try evaluator.relinearize(value, keys: keys)
                    for _ in 0..<dropped { value = try evaluator.rescale(value) }
                    if giant == shape.giants - 1 {
                        values.append(value)
                    } else {
                        values[block] = try evaluator.add(
                            value, evaluator.rotate(values[block], by: shape.babies * stride, keys: keys))
                    }
                }
            }
            for fold in shape.folds {
                for block in values.indices {
                    values[block] = try evaluator.addRotations(
                        values[block], bySteps: fold.map { $0 * stride }, keys: keys)
                }
            }
            return values
        }
        return blocks.indices.map { block in results.map { $0[block] } }
    }

    private func adding(bias group: Int, to sum: Ciphertext, _ evaluator: CKKSEvaluator) throws -> Ciphertext {
        switch biases {
        case .plaintexts(let biases): return try evaluator.add(sum, biases[group])
        case .ciphertexts(let biases):
            return try evaluator.add(sum, biases[group].ciphertext(evaluator.context))
        }
    }

    /// Sum `index` of the products of weights and factors.
    /// - Parameters:
    ///   - factors: for each block, one ciphertext a term.
    ///   - first: of the factors' level, scale and length.
    private func sum(_ index: Int, _ factors: [[Ciphertext]], like first: Ciphertext) throws -> [Ciphertext] {
        let context = first.context
        let basis = context.ciphertextBasis(level: first.level)
        let count: Int
        switch weights {
        case .ciphertexts: count = 3
        case .numbers, .plaintexts: count = first.polynomials.count
        }
        let scale = first.scale * weightScale
        // A turn may meet padding alone.
        guard factors.first?.isEmpty == false else {
            let zeros = [RNSPolynomial](repeating: RNSPolynomial(basis: basis, form: .evaluation), count: count)
            return try factors.map { _ in try Ciphertext(context: context, polynomials: zeros, scale: scale) }
        }
        var sums = factors.map { _ in
            (0..<count).map { _ in RNSPolynomial(uninitialized: basis, form: .evaluation) }
        }
        for row in 0..<basis.count {
            let modulus = basis.moduli[row]
            func rows(_ ciphertexts: [Ciphertext], _ polynomial: Int) -> [UnsafePointer<UInt64>] {
                ciphertexts.map { $0.polynomials[polynomial].withRow(row) { $0 } }
            }
            switch weights {
            case .numbers(let numbers):
                let residues = numbers[index].map { modulus.residue(of: $0) }
                for block in factors.indices {
                    for polynomial in 0..<count {
                        sums[block][polynomial].withMutableRow(row) {
                            modulus.weightedSum(
                                $0, rows(factors[block], polynomial), weights: residues, start: 0,
                                bits: modulus.bitCount)
                        }
                    }
                }
            case .plaintexts(let plaintexts):
                let weights = plaintexts[index].map { $0.polynomial.withRow(row) { $0 } }
                for block in factors.indices {
                    var polynomial = 0
                    while polynomial < count {
                        // Two at a time; of a third the second sum is not needed.
                        let other = min(polynomial + 1, count - 1)
                        RowPool.withScratch(words: other == polynomial ? basis.degree : 8) { spare in
                            let out = sums[block][polynomial].withMutableRow(row) { $0 }
                            modulus.multiplyAccumulate(
                                out, other == polynomial ? spare : sums[block][other].withMutableRow(row) { $0 },
                                weights, rows(factors[block], polynomial), rows(factors[block], other))
                        }
                        polynomial += 2
                    }
                }
            case .ciphertexts(let packed):
                let single = RNSBasis([modulus])
                let unpacked = try (0..<2).map { polynomial in
                    try packed[index].map { try $0.row(row, of: polynomial, in: basis, single) }
                }
                defer { withExtendedLifetime(unpacked) {} }
                let weights = unpacked.map { $0.map { $0.withRow(0) { $0 } } }
                for block in factors.indices {
                    let out = (0..<3).map { polynomial in sums[block][polynomial].withMutableRow(row) { $0 } }
                    RowPool.withScratch(words: basis.degree) { middle in
                        modulus.multiplyAccumulate(out[0], out[1], rows(factors[block], 0), weights[0], weights[1])
                        modulus.multiplyAccumulate(middle, out[2], rows(factors[block], 1), weights[0], weights[1])
                        modulus.add(out[1], out[1], UnsafePointer(middle))
                    }
                }
            }
        }
        withExtendedLifetime(factors) {}
        return try sums.map { try Ciphertext(context: context, polynomials: $0, scale: scale) }
    }
}

extension NTTModulus {
    /// A signed number modulo this prime.
    fileprivate func residue(of number: Int64) -> UInt64 {
        let rest = number.magnitude % value
        return number < 0 && rest > 0 ? value - rest : rest
    }
}
