/// How the numbers of a batch lie in ciphertexts, and what each layer does with them.
///
/// A block of ``stride`` records fills `inputs.count` ciphertexts. Each has ``positions`` positions of `stride` slots:
/// slot `p * stride + r` holds one feature of record r, so that a rotation by `stride` moves every record's features by
/// one position and nothing is ever masked.
public struct BatchLayout: Sendable {
    public enum Kind: Sendable, Hashable {
        /// `width` features a ciphertext, in order. With a width of one, weights are numbers and nothing rotates.
        case tiles(width: Int)
        /// Every ciphertext has all features, `copies` times, each copy turned by some features more than the one before
        /// it: a ciphertext meets that many diagonals of the first layer's matrix at once.
        case copies(Int, ciphertexts: Int)
    }

    public let kind: Kind
    /// Records of a block.
    public let stride: Int
    public let positions: Int
    /// inputs[ciphertext][position]: the network input there; nil for zero.
    let inputs: [[Int?]]
    private(set) var steps: [Step]

    enum Step: Sendable {
        case dense(Dense)
        case square
    }

    /// Output g at position p = the sum over turns d = giant * babies + baby, and over inputs j, of a weight times input
    /// j at position p + d; then folded.
    struct Dense: Sendable {
        let groups: Int
        let inputs: Int
        /// Turns made of the inputs, before the products.
        let babies: Int
        /// Turns of `babies` positions made of the sums, one after another.
        let giants: Int
        /// Folds, one after another: to the sum its turns by each of these are added.
        let folds: [[Int]]
        /// One value a position, for the products of group, giant, baby, input; nil where all are zero.
        private var weights: [[Double]?]
        /// One value a position for each group, added before it is folded.
        private(set) var biases: [[Double]]

        /// - Parameter weight: of the product of input `j` at position `p + turn` in the output at position p.
        init(
            groups: Int, inputs: Int, babies: Int, giants: Int, folds: [[Int]], positions: Int, biases: [[Double]],
            weight: (_ group: Int, _ position: Int, _ turn: Int, _ input: Int) -> Double
        ) {
            self.groups = groups
            self.inputs = inputs
            self.babies = babies
            self.giants = giants
            self.folds = folds
            self.biases = biases
            var weights: [[Double]?] = []
            for group in 0..<groups {
                for giant in 0..<giants {
                    for baby in 0..<babies {
                        for input in 0..<inputs {
                            // The sum is turned by the giant step afterwards.
                            let values = (0..<positions).map { position in
                                weight(
                                    group, (position - giant * babies + positions * giants) % positions,
                                    giant * babies + baby, input)
                            }
                            weights.append(values.contains { $0 != 0 } ? values : nil)
                        }
                    }
                }
            }
            self.weights = weights
        }

        /// The products of one sum that are not zero.
        func terms(group: Int, giant: Int) -> [(baby: Int, input: Int, weights: [Double])] {
            var terms: [(baby: Int, input: Int, weights: [Double])] = []
            for baby in 0..<babies {
                for input in 0..<inputs {
                    let index = ((group * giants + giant) * babies + baby) * inputs + input
                    if let values = weights[index] { terms.append((baby, input, values)) }
                }
            }
            return terms
        }

        var termCount: Int { weights.count { $0 != nil } }

        /// The terms of every sum, group after group and giant after giant.
        var sumTerms: [[(baby: Int, input: Int, weights: [Double])]] {
            (0..<groups * giants).map { terms(group: $0 / giants, giant: $0 % giants) }
        }

        /// The same shape: which products there are.
        func withoutWeights() -> Dense {
            var dense = self
            dense.weights = weights.map { $0 == nil ? nil : [] }
            dense.biases = biases.map { _ in [] }
            return dense
        }
    }

    /// Tiles of `width` features; the turns of a layer are made in babies of `babies`.
    /// - Returns: nil where `width` is not a power of two that the slots hold, or `babies` does not divide it.
    init?(_ model: InferenceModel, tile width: Int, babies: Int, slots: Int) {
        guard width > 0, width.nonzeroBitCount == 1, width <= slots, babies > 0, width.isMultiple(of: babies) else {
            return nil
        }
        func tiles(_ features: Int) -> Int { (features + width - 1) / width }
        kind = .tiles(width: width)
        stride = slots / width
        positions = width
        let inputWidth = model.inputs.reduce(0) { $0 + $1.width }
        inputs = (0..<tiles(inputWidth)).map { tile in
            (0..<width).map { tile * width + $0 < inputWidth ? tile * width + $0 : nil }
        }
        steps = model.layers.map { layer in
            guard case .dense(let weights, let bias) = layer else { return .square }
            let features = weights[0].count
            if weights.count == 1 {
                // The positions are added up, which leaves the sum in each of them.
                return .dense(
                    Dense(
                        groups: 1, inputs: tiles(features), babies: 1, giants: 1, folds: Self.folds(of: width, step: 1),
                        positions: width, biases: [(0..<width).map { $0 == 0 ? bias[0] : 0 }]
                    ) { _, position, _, tile in
                        let feature = tile * width + position
                        return feature < features ? weights[0][feature] : 0
                    })
            }
            return .dense(
                Dense(
                    groups: tiles(weights.count), inputs: tiles(features), babies: babies, giants: width / babies,
                    folds: [], positions: width,
                    biases: (0..<tiles(weights.count)).map { group in
                        (0..<width).map { group * width + $0 < bias.count ? bias[group * width + $0] : 0 }
                    }
                ) { group, position, turn, tile in
                    let (unit, feature) = (group * width + position, tile * width + (position + turn) % width)
                    return unit < weights.count && feature < features ? weights[unit][feature] : 0
                })
        }
    }

    /// Copies, for a network of two dense layers, the second of one unit.
    /// - Returns: nil for another network, one that is wider than the slots, or no room for a copy.
    init?(_ model: InferenceModel, copiesIn ciphertexts: Int, stride: Int, slots: Int) {
        guard ciphertexts > 0, stride > 0, stride <= slots, slots.isMultiple(of: stride) else { return nil }
        let dense = model.layers.compactMap { layer -> (weights: [[Double]], bias: [Double])? in
            if case .dense(let weights, let bias) = layer { return (weights, bias) } else { return nil }
        }
        guard dense.count == 2, dense[0].weights.count > 1, dense[1].weights.count == 1 else { return nil }
        let (units, features) = (dense[0].weights.count, dense[0].weights[0].count)
        let positions = slots / stride
        // The turns of the sums must not carry a copy's units into the next copy.
        var width = Int.powerOfTwo(atLeast: units)
        guard width <= positions else { return nil }
        var copies = positions / width
        var giants = (features + copies * ciphertexts - 1) / (copies * ciphertexts)
        while units + giants - 1 > width {
            width *= 2
            guard width <= positions else { return nil }
            copies = positions / width
            giants = (features + copies * ciphertexts - 1) / (copies * ciphertexts)
        }
        let room = width
        kind = .copies(copies, ciphertexts: ciphertexts)
        self.stride = stride
        self.positions = positions
        let (turns, perCiphertext) = (giants, copies)
        /// The diagonal that a copy meets first.
        func first(_ position: Int, _ ciphertext: Int) -> Int {
            turns * (position / room + perCiphertext * ciphertext)
        }
        inputs = (0..<ciphertexts).map { ciphertext in
            (0..<positions).map { ($0 % room + first($0, ciphertext)) % features }
        }
        let matrix = dense[0].weights
        var steps: [Step] = []
        var isFirst = true
        for layer in model.layers {
            guard case .dense(let weights, let bias) = layer else {
                steps.append(.square)
                continue
            }
            if isFirst {
                steps.append(
                    .dense(
                        Dense(
                            groups: 1, inputs: ciphertexts, babies: 1, giants: turns,
                            folds: Self.folds(of: copies, step: room), positions: positions,
                            biases: [(0..<positions).map { $0 < units ? bias[$0] : 0 }]
                        ) { _, position, turn, ciphertext in
                            let (unit, diagonal) = (position % room, first(position, ciphertext) + turn)
                            guard unit < units, diagonal < features else { return 0 }
                            return matrix[unit][(unit + diagonal) % features]
                        }))
            } else {
                steps.append(
                    .dense(
                        Dense(
                            groups: 1, inputs: 1, babies: 1, giants: 1, folds: Self.folds(of: room, step: 1),
                            positions: positions, biases: [(0..<positions).map { $0 % room == 0 ? bias[0] : 0 }]
                        ) { _, position, _, _ in position % room < units ? weights[0][position % room] : 0 }))
            }
            isFirst = false
        }
        self.steps = steps
    }

    func withoutWeights() -> BatchLayout {
        var layout = self
        layout.steps = steps.map { step in
            if case .dense(let dense) = step { .dense(dense.withoutWeights()) } else { .square }
        }
        return layout
    }

    /// What adds up `count` positions, a power of two, that are `step` apart: four at a time, since the digits of a
    /// ciphertext are made once for all turns of a fold and their sum is divided by P once.
    private static func folds(of count: Int, step: Int) -> [[Int]] {
        var folds: [[Int]] = []
        var rest = count
        while rest > 1 {
            let parts = min(4, rest)
            rest /= parts
            folds.append((1..<parts).map { $0 * rest * step })
        }
        return folds
    }

    /// Slots of the ciphertexts of one block of up to ``stride`` records; records that are missing are zero.
    public func slots(_ records: ArraySlice<[Double]>) -> [[Double]] {
        precondition(records.count <= stride, "a block of records")
        return inputs.map { table in
            var slots = [Double](repeating: 0, count: positions * stride)
            for (position, input) in table.enumerated() {
                guard let input else { continue }
                for (column, record) in records.enumerated() where input < record.count {
                    slots[position * stride + column] = record[input]
                }
            }
            return slots
        }
    }

    /// One value a position, the same for every record.
    func slots(ofPositions values: [Double]) -> [Double] {
        var slots: [Double] = []
        slots.reserveCapacity(values.count * stride)
        for value in values { slots += repeatElement(value, count: stride) }
        return slots
    }

    /// The one score of each of `count` records of a block, from the slots of its result.
    public func scores(_ slots: [Double], count: Int) -> [Double] { Array(slots.prefix(min(count, stride))) }
}
