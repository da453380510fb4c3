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

    /// - Parameter blocks: not empty; all of one level, scale and length.
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
        // Some groups at a time: few enough for their sums' memory, as many as the cache's contents serve.
        let products = BatchProducts(self, turned)
        let part = max(1, products.sumsAtOnce / shape.giants)
        // results[group][block]
        var results: [[Ciphertext]] = []
        for start in Swift.stride(from: 0, to: shape.groups, by: part) {
            let groups = start..<min(start + part, shape.groups)
            let sums = try products.sums(groups.lowerBound * shape.giants..<groups.upperBound * shape.giants)
            let values = try Parallelism.map(below: groups.count * blocks.count) { index throws(any Error) in
                let (group, block) = index.quotientAndRemainder(dividingBy: blocks.count)
                let giants = (0..<shape.giants).map { sums[group * shape.giants + $0][block] }
                return try value(of: groups.lowerBound + group, giants, evaluator, keys)
            }
            results += Swift.stride(from: 0, to: values.count, by: blocks.count).map {
                Array(values[$0..<$0 + blocks.count])
            }
        }
        return blocks.indices.map { block in results.map { $0[block] } }
    }

    /// A group's value from its sums of products, one a giant.
    private func value(
        of group: Int, _ sums: [Ciphertext], _ evaluator: CKKSEvaluator, _ keys: EvaluationKeySet
    ) throws -> Ciphertext {
        var total: Ciphertext?
        // Horner, from the last giant: one key turns them all.
        for giant in sums.indices.reversed() {
            var value = giant == 0 ? try adding(bias: group, to: sums[giant], evaluator) : sums[giant]
            value = try evaluator.relinearize(value, keys: keys)
            for _ in 0..<dropped { value = try evaluator.rescale(value) }
            if let turned = total {
                value = try evaluator.add(
                    value, evaluator.rotate(turned, by: shape.babies * stride, keys: keys))
            }
            total = value
        }
        guard var total else { preconditionFailure("a group has a sum") }
        for fold in shape.folds {
            total = try evaluator.addRotations(total, bySteps: fold.map { $0 * stride }, keys: keys)
        }
        return total
    }

    private func adding(bias group: Int, to sum: Ciphertext, _ evaluator: CKKSEvaluator) throws -> Ciphertext {
        switch biases {
        case .plaintexts(let biases): return try evaluator.add(sum, biases[group])
        case .ciphertexts(let biases):
            return try evaluator.add(sum, biases[group].ciphertext(evaluator.context))
        }
    }
}
