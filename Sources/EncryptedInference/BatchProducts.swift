import HomomorphicEncryption
import RLWE

/// The sums of products of a ``BatchDenseLayer``.
///
/// Inputs and weights together are many times what a cache holds, and each input meets weights of every sum. So rows are
/// worked on a few pages at a time: what is there of the inputs is multiplied for one sum after another.
struct BatchProducts {
    private let layer: BatchDenseLayer
    private let context: EncryptionContext
    private let basis: RNSBasis
    private let scale: Double
    /// Ciphertexts of each block, input after input and baby after baby.
    private let factors: [[Ciphertext]]
    /// Polynomials of a factor, and of a sum.
    private let (factorCount, sumCount): (Int, Int)
    /// For each sum, the places of its terms' factors.
    private let places: [[Int]]

    /// - Parameter turned: turned[block][input][baby]; not empty, all of one level, scale and length.
    init(_ layer: BatchDenseLayer, _ turned: [[[Ciphertext]]]) {
        self.layer = layer
        factors = turned.map { $0.flatMap { $0 } }
        let first = factors[0][0]
        context = first.context
        basis = context.ciphertextBasis(level: first.level)
        scale = first.scale * layer.weightScale
        factorCount = first.polynomials.count
        if case .ciphertexts = layer.weights { sumCount = 3 } else { sumCount = factorCount }
        places = layer.shape.sumTerms.map { terms in terms.map { $0.input * layer.shape.babies + $0.baby } }
    }

    /// Words of a row that are worked on at a time: the pages of all factors fit into a second-level cache.
    private var pageWords: Int {
        var words = basis.degree
        while words > 512, words * factors.count * factors[0].count * 2 > 32_768 { words /= 2 }
        return words
    }

    /// How many sums may be there at a time: 4 MiB of them, and 8 MiB of what a row of their weights' seeds expands to.
    var sumsAtOnce: Int {
        let row = basis.degree * 8
        let sums = (4 << 20) / (factors.count * sumCount * basis.count * row)
        guard case .ciphertexts(let weights) = layer.weights, weights.joined().contains(where: \.isSeeded) else {
            return max(1, sums)
        }
        return max(1, min(sums, (8 << 20) / (factors[0].count * row)))
    }

    /// - Returns: for each of the sums `indices` one ciphertext a block.
    func sums(_ indices: Range<Int>) throws -> [[Ciphertext]] {
        var sums = indices.map { _ in
            factors.map { _ in (0..<sumCount).map { _ in RNSPolynomial(uninitialized: basis, form: .evaluation) } }
        }
        // Where the rows of the sums begin, and those of the factors by block and polynomial.
        let out = sums.indices.map { sum in
            factors.indices.map { block in
                (0..<sumCount).map { polynomial in sums[sum][block][polynomial].withMutableRows { $0 } }
            }
        }
        let inputs = factors.map { factors in
            (0..<factorCount).map { polynomial in factors.map { $0.polynomials[polynomial].withRows { $0 } } }
        }
        try Parallelism.forEach(below: basis.count) { row throws(any Error) in
            let offset = row * basis.degree
            let work = Row(
                modulus: basis.moduli[row], index: row, words: pageWords,
                out: out.map { $0.map { $0.map { $0 + offset } } },
                inputs: inputs.map { $0.map { $0.map { UnsafePointer($0 + offset) } } },
                places: Array(places[indices]))
            switch layer.weights {
            case .numbers(let numbers): work.multiply(by: Array(numbers[indices]))
            case .plaintexts(let weights):
                work.multiply(by: weights[indices].map { $0.map { $0.polynomial.withRow(row) { $0 } } })
            case .ciphertexts(let weights): try work.multiply(by: Array(weights[indices]), basis)
            }
        }
        withExtendedLifetime((factors, layer)) {}
        return try sums.map { try $0.map { try Ciphertext(context: context, polynomials: $0, scale: scale) } }
    }

    /// One row of all sums and factors.
    private struct Row {
        let modulus: NTTModulus
        let index: Int
        let words: Int
        /// By sum, block and polynomial.
        let out: [[[UnsafeMutablePointer<UInt64>]]]
        /// By block, polynomial and place.
        let inputs: [[[UnsafePointer<UInt64>]]]
        /// By sum and term.
        let places: [[Int]]

        private func factors(_ sum: Int, _ block: Int, _ polynomial: Int, at start: Int) -> [UnsafePointer<UInt64>] {
            let rows = inputs[block][polynomial]
            return places[sum].map { rows[$0] + start }
        }

        /// Calls `body` for every block and page and, innermost, every sum that has terms; others are zero.
        private func forEachPage(_ body: (_ sum: Int, _ start: Int) throws -> Void) rethrows {
            for start in stride(from: 0, to: modulus.degree, by: words) {
                for sum in places.indices {
                    guard places[sum].isEmpty else {
                        try body(sum, start)
                        continue
                    }
                    // A turn may meet padding alone.
                    for polynomial in out[sum].joined() { (polynomial + start).update(repeating: 0, count: words) }
                }
            }
        }

        func multiply(by numbers: [[Int64]]) {
            let residues = numbers.map { $0.map { modulus.residue(of: $0) } }
            for block in inputs.indices {
                for polynomial in inputs[block].indices {
                    forEachPage { sum, start in
                        modulus.weightedSum(
                            out[sum][block][polynomial] + start, factors(sum, block, polynomial, at: start),
                            weights: residues[sum], start: 0, bits: modulus.bitCount, words: words)
                    }
                }
            }
        }

        func multiply(by weights: [[UnsafePointer<UInt64>]]) {
            RowPool.withScratch(words: words) { spare in
                forEachPage { sum, start in
                    let page = weights[sum].map { $0 + start }
                    for block in inputs.indices {
                        let out = out[sum][block]
                        for polynomial in stride(from: 0, to: out.count, by: 2) {
                            // Two at a time; of a third the second sum is not needed.
                            let other = min(polynomial + 1, out.count - 1)
                            modulus.multiplyAccumulate(
                                out[polynomial] + start, other == polynomial ? spare : out[other] + start, page,
                                factors(sum, block, polynomial, at: start), factors(sum, block, other, at: start),
                                words: words)
                        }
                    }
                }
            }
        }

        func multiply(by weights: [[PackedWeight]], _ basis: RNSBasis) throws {
            let (degree, most) = (modulus.degree, weights.map(\.count).max() ?? 0)
            let isSeeded = weights.joined().contains(where: \.isSeeded)
            // Where the seeded halves of each sum begin.
            var begins = [0]
            for weights in weights { begins.append(begins[begins.count - 1] + (isSeeded ? weights.count * degree : 0)) }
            try RowPool.withScratch(words: begins[weights.count] + (2 * most + 1) * words) { scratch in
                if isSeeded {
                    for (weight, place) in zip(weights.joined(), 0...) {
                        try weight.expandRow(index, modulus, into: scratch + place * degree)
                    }
                }
                let pages = scratch + begins[weights.count]
                let middle = pages + 2 * most * words
                forEachPage { sum, start in
                    /// A page of the polynomial of each of the sum's weights.
                    func page(_ polynomial: Int) -> [UnsafePointer<UInt64>] {
                        weights[sum].indices.map { term in
                            if polynomial == 1, isSeeded {
                                return UnsafePointer(scratch + begins[sum] + term * degree + start)
                            }
                            let out = pages + (polynomial * most + term) * words
                            weights[sum][term].unpack(
                                index, start..<start + words, of: polynomial, in: basis, into: out)
                            return UnsafePointer(out)
                        }
                    }
                    let (left, right) = (page(0), page(1))
                    for block in inputs.indices {
                        let out = out[sum][block].map { $0 + start }
                        modulus.multiplyAccumulate(
                            out[0], out[1], factors(sum, block, 0, at: start), left, right, words: words)
                        modulus.multiplyAccumulate(
                            middle, out[2], factors(sum, block, 1, at: start), left, right, words: words)
                        modulus.add(out[1], out[1], UnsafePointer(middle), words: words)
                    }
                }
            }
        }
    }
}

extension NTTModulus {
    /// A signed number modulo this prime.
    fileprivate func residue(of number: Int64) -> UInt64 {
        let rest = number.magnitude % value
        return number < 0 && rest > 0 ? value - rest : rest
    }
}
