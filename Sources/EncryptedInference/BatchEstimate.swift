import RealModule

/// What is expected of a model's values and errors: by interval arithmetic for what must fit, and on points drawn from
/// the ranges of the inputs, those of the largest scores, for what is lost.
///
/// Deviations are those of a slot's real part, of independent errors of average size; unlike ``StaticNoise`` no bound.
struct BatchEstimate {
    /// For each point: inputs of each dense layer, and its sums.
    private let points: [[(inputs: [Double], sums: [Double])]]
    private let layers: [InferenceModel.Layer]
    /// The largest magnitude of inputs and, step by step, of results.
    private let magnitudes: [Double]
    /// For each dense layer, of the sum of a unit's products in any order.
    private let productMagnitudes: [Double]

    private static let drawnCount = 2048
    private static let pointCount = 8

    init(_ model: InferenceModel) {
        layers = model.layers
        let ranges = model.inputs.flatMap(\.range)
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        func random() -> Double {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Double(state >> 11) * 0x1p-53
        }
        let drawn = (0..<Self.drawnCount).map { _ in
            var values: [Double] = []
            for input in model.inputs {
                if input.encoding == .oneHot {
                    let chosen = Int(random() * Double(input.width))
                    values += (0..<input.width).map { $0 == chosen ? 1 : 0 }
                } else {
                    let range = input.range[0]
                    values.append(range.lowerBound + random() * (range.upperBound - range.lowerBound))
                }
            }
            return values
        }
        // Errors are largest where scores are.
        let scores = model.evaluateInTheClear(drawn)
        let chosen = drawn.indices.sorted { scores[$0].magnitude > scores[$1].magnitude }.prefix(Self.pointCount)
        points = chosen.map { index in
            var values = drawn[index]
            var layers: [(inputs: [Double], sums: [Double])] = []
            for layer in model.layers {
                switch layer {
                case .dense(let weights, let bias):
                    let sums = zip(weights, bias).map { row, bias in
                        zip(row, values).reduce(bias) { $0 + $1.0 * $1.1 }
                    }
                    layers.append((values, sums))
                    values = sums
                case .square:
                    layers.append((values, values))
                    values = values.map { $0 * $0 }
                }
            }
            return layers
        }
        func largest(_ values: [ClosedRange<Double>]) -> Double {
            values.reduce(0x1p-20) { max($0, $1.lowerBound.magnitude, $1.upperBound.magnitude) }
        }
        var values = ranges
        var magnitudes = [largest(values)]
        var productMagnitudes: [Double] = []
        for layer in model.layers {
            switch layer {
            case .dense(let weights, let bias):
                var partial = 0.0
                values = zip(weights, bias).map { row, bias in
                    var (lower, upper, sum) = (bias, bias, bias.magnitude)
                    for (weight, value) in zip(row, values) {
                        let ends = (weight * value.lowerBound, weight * value.upperBound)
                        lower += min(ends.0, ends.1)
                        upper += max(ends.0, ends.1)
                        sum += max(ends.0.magnitude, ends.1.magnitude)
                    }
                    partial = max(partial, sum)
                    return lower...max(lower, upper)
                }
                productMagnitudes.append(partial)
            case .square:
                values = values.map { range in
                    let (low, high) = (range.lowerBound * range.lowerBound, range.upperBound * range.upperBound)
                    return (range.contains(0) ? 0 : min(low, high))...max(low, high)
                }
            }
            magnitudes.append(largest(values))
        }
        self.magnitudes = magnitudes
        self.productMagnitudes = productMagnitudes
    }

    /// Bits that the primes left at the end must have for all values of valid records to fit, with a bit for the sign
    /// and one for errors.
    func baseBits(
        _ layout: BatchLayout, _ input: Int, drops: [Int], scales: [Int], last: Int, weights: [Int]
    ) -> Int {
        var total = drops.reduce(0, +)
        var need = 0
        // The modulus has `total` bits more than the base.
        func require(_ scale: Int, _ magnitude: Double) {
            need = max(need, scale + max(0, Int(Double.log2(magnitude).rounded(.up))) + 2 - total)
        }
        var (scale, dense) = (input, 0)
        require(scale, magnitudes[0])
        for (index, step) in layout.steps.enumerated() {
            switch step {
            case .square: scale *= 2
            case .dense:
                require(scale + weights[dense], productMagnitudes[dense])
                total -= drops[dense]
                scale = scales[dense]
                // What is not yet folded is no larger than the products' magnitudes together.
                require(scale, productMagnitudes[dense])
                dense += 1
            }
            require(scale, magnitudes[index + 1])
        }
        return max(need, last + 2)
    }

    /// The variance of a score that is expected at worst among the points.
    func variance(
        _ layout: BatchLayout, _ bits: BatchSchedule.Bits, logN: Int, _ protection: WeightProtection
    ) -> Double {
        let degree = Double(1 << logN)
        let (drops, scales, _) = BatchSchedule.dropped(layout, bits)
        // A public-key encryption; what dropping a prime rounds; a key switch of a few digits, each as long as P.
        let fresh = degree / 2 * 10.5 * (1 + 4 * degree / 3)
        let rounding = degree / 24 * (1 + 2 * degree / 3)
        let switching = 4 * degree * degree / 2 * 10.5 / 12 + rounding
        func squared(_ bits: Int) -> Double { .exp2(Double(2 * bits)) }
        let weightVariance: Double
        switch protection {
        case .publiclyEncrypted: weightVariance = fresh
        // Of an error, and of the encoding's rounding.
        case .encrypted: weightVariance = degree / 2 * (10.5 + 1 / 12.0)
        // Of a number's rounding, or of a polynomial's.
        case .plain: weightVariance = layout.positions == 1 ? 1 / 12.0 : degree / 24
        }
        var worst = 0.0
        for point in points {
            var variances = [Double](repeating: fresh / squared(bits.input), count: point[0].inputs.count)
            var (scale, dense) = (bits.input, 0)
            for (index, step) in layout.steps.enumerated() {
                let values = point[index]
                guard case .dense(let layer) = step, case .dense(let weights, _) = layers[index] else {
                    for unit in variances.indices {
                        variances[unit] =
                            4 * values.inputs[unit] * values.inputs[unit] * variances[unit]
                            + 2 * variances[unit] * variances[unit] + switching / squared(2 * scale)
                    }
                    scale *= 2
                    continue
                }
                let product = scale + bits.weights[dense]
                let length = values.inputs.reduce(0) { $0 + $1 * $1 } + variances.reduce(0, +)
                let ofWeights = length * weightVariance / squared(bits.weights[dense])
                let giants = Double(layer.giants)
                var added = giants * switching / squared(product)
                if drops[dense] > 0 { added += giants * rounding / squared(scales[dense]) }
                added += (giants - 1) * switching / squared(scales[dense])
                var folded = 1.0
                for fold in layer.folds { folded *= Double(fold.count + 1) }
                added *= folded
                added += (folded - 1) * switching / squared(scales[dense])
                if layer.babies > 1 {
                    for unit in variances.indices { variances[unit] += switching / squared(scale) }
                }
                variances = weights.map { row in
                    zip(row, variances).reduce(ofWeights + added) { $0 + $1.0 * $1.0 * $1.1 }
                }
                scale = scales[dense]
                dense += 1
            }
            worst = max(worst, variances[0])
        }
        return worst
    }
}
