import HomomorphicEncryption
import RealModule

/// What honest results of a plan's circuit stay within, from the model's description, its weights and its parameters
/// alone: for inputs in the ranges that records are checked for, and but with a chance of 2^-168 over keys and
/// encryptions.
public struct CircuitBound: Sendable, Hashable {
    /// The error of the decrypted polynomial, against the circuit computed exactly on the encoded inputs and weights.
    public let error: ErrorBound
    /// What the roundings of encoding move a slot of the result by; no secret. Before division by the scale.
    public let drift: Double
    /// The largest magnitude of a value, results included.
    public let magnitude: Double
    /// Of the results.
    public let scale: Double
    /// log2 of what the moduli of the levels are short of holding the values there; room where it is negative.
    public let shortfallBits: Double

    /// What a released value may be off by before any noise is added.
    public func accuracy(logN: Int) -> Double {
        let degree = Double(1 << logN)
        return (min(error.embedding, degree.squareRoot() * error.euclidean) + drift) / scale + 0x1p-40 * magnitude
    }
}

extension InferencePlan {
    /// Follows the circuit of ``CompiledModel`` step by step.
    public func bound(for model: InferenceModel) -> CircuitBound {
        var walk = Walk(self, model)
        for step in steps {
            switch step {
            case .diagonals(let weights, let bias, let period, let babySteps, let level):
                walk.diagonals(weights, bias, period, babySteps, level)
            case .square(let level): walk.square(level)
            case .dotProduct(let weights, let bias, let level): walk.dotProduct(weights, bias, level)
            }
        }
        return CircuitBound(
            error: walk.error, drift: walk.drift, magnitude: walk.largest, scale: walk.scale,
            shortfallBits: walk.shortfall)
    }

    /// The state of the circuit: values as intervals, errors as bounds.
    private struct Walk {
        let noise: StaticNoise
        let q: [UInt64]
        let perLevel: Int
        let target: Double
        let width: Int
        /// Of each feature.
        var values: [ClosedRange<Double>]
        var scale: Double
        var error: ErrorBound
        var drift: Double
        var largest = 1.0
        var shortfall = -Double.infinity

        init(_ plan: InferencePlan, _ model: InferenceModel) {
            noise = StaticNoise(plan.profile.parameters)
            q = plan.profile.parameters.q
            perLevel = plan.primesPerLevel
            target = plan.profile.scale
            width = plan.packing.width
            let inputs = model.inputs.flatMap(\.range)
            values = (0..<plan.packing.width).map {
                let input = $0 % plan.packing.period
                return input < inputs.count ? inputs[input] : 0...0
            }
            scale = plan.profile.scale
            error = noise.fresh
            drift = noise.encoding(largest: Walk.magnitude(values) * scale)
            require(level: plan.profile.inputLevel)
        }

        static func magnitude(_ values: [ClosedRange<Double>]) -> Double {
            // Sums of intervals are rounded.
            (1 + 0x1p-30) * values.reduce(0) { max($0, $1.lowerBound.magnitude, $1.upperBound.magnitude) }
        }

        /// Of a slot of the exact polynomial.
        var message: Double { scale * Walk.magnitude(values) + drift }

        /// The polynomial must fit half the level's modulus: no coefficient is larger than the largest slot.
        mutating func require(level: Int) {
            largest = max(largest, Walk.magnitude(values))
            let modulusBits = q.prefix(level).reduce(0) { $0 + .log2(Double($1)) }
            shortfall = max(shortfall, .log2(message + error.embedding) + 1 - modulusBits)
        }

        private func dropped(_ level: Int) -> ArraySlice<UInt64> { q[level - perLevel..<level] }

        private mutating func rescale(_ level: Int) {
            error = noise.rescaled(error, by: dropped(level).reversed())
            let divisor = dropped(level).reduce(1) { $0 * Double($1) }
            scale /= divisor
            drift /= divisor
            require(level: level - perLevel)
        }

        mutating func diagonals(
            _ weights: [[Double]], _ bias: [Double], _ period: Int, _ babySteps: Int, _ level: Int
        ) {
            let weightScale = dropped(level).reduce(1) { $0 * Double($1) } * target / scale
            // The layer as a matrix on a record's features: row f has the weights at columns f ..< f + period.
            var columns = [Double](repeating: 0, count: width)
            var (rowMost, largestWeight) = (0.0, 0.0)
            var diagonals = [Double](repeating: 0, count: period)
            var results = [ClosedRange<Double>](repeating: 0...0, count: width)
            for (feature, row) in weights.enumerated() {
                var (sum, lower, upper) = (0.0, bias[feature], bias[feature])
                for diagonal in 0..<period {
                    let column = (feature + diagonal) % width
                    let input = (feature + diagonal) % period
                    guard input < row.count else { continue }
                    let (weight, value) = (row[input], values[column])
                    sum += weight.magnitude
                    columns[column] += weight.magnitude
                    diagonals[diagonal] = max(diagonals[diagonal], weight.magnitude)
                    lower += min(weight * value.lowerBound, weight * value.upperBound)
                    upper += max(weight * value.lowerBound, weight * value.upperBound)
                }
                rowMost = max(rowMost, sum)
                largestWeight = max(largestWeight, diagonals.max() ?? 0)
                results[feature] = min(lower, upper)...max(lower, upper)
            }
            let count = Double(diagonals.count { $0 > 0 })
            let rounding = noise.encoding(largest: weightScale * largestWeight)
            // Schur's test: the norm of a matrix is at most the root of its largest row sum times its largest column
            // sum, of magnitudes.
            let norm = (rowMost * (columns.max() ?? 0)).squareRoot()
            let switched = noise.keySwitch(level: level)
            var sum = error.mapped(
                euclidean: weightScale * norm + count * rounding, embedding: weightScale * rowMost + count * rounding)
            for (diagonal, weight) in diagonals.enumerated() where weight > 0 && diagonal % babySteps != 0 {
                sum = sum + (weightScale * weight + rounding) * switched
            }
            sum = sum + Double((period - 1) / babySteps) * switched
            drift =
                (weightScale * rowMost + count * rounding) * drift
                + count * rounding * scale * Walk.magnitude(values)
            error = sum
            scale *= weightScale
            values = results
            drift += noise.encoding(largest: scale * (bias.map(\.magnitude).max() ?? 0))
            require(level: level)
            rescale(level)
        }

        mutating func square(_ level: Int) {
            let plain = scale * Walk.magnitude(values)
            error = error.squared(magnitude: message) + noise.keySwitch(level: level)
            drift = (2 * plain + drift) * drift
            scale *= scale
            values = values.map { range in
                let (low, high) = (range.lowerBound * range.lowerBound, range.upperBound * range.upperBound)
                return (range.contains(0) ? 0 : min(low, high))...max(low, high)
            }
            require(level: level)
            rescale(level)
        }

        mutating func dotProduct(_ weights: [Double], _ bias: Double, _ level: Int) {
            let divisor = dropped(level).reduce(1) { $0 * Double($1) }
            let weightScale = divisor * target / scale
            let sum = weights.reduce(0) { $0 + $1.magnitude }
            let largestWeight = weights.reduce(0) { max($0, $1.magnitude) }
            let rounding = noise.encoding(largest: weightScale * largestWeight)
            let terms = Double(width)
            // The products, before they are added up.
            let plain = scale * Walk.magnitude(values)
            let products = zip(weights, values).map { weight, value in
                min(
                    weight * value.lowerBound, weight * value.upperBound)...max(
                        weight * value.lowerBound, weight * value.upperBound)
            }
            // Multiplying and adding up all features maps a record's slots e to (w e, w e, ...): of norm sqrt(width)
            // |w|. What is rounded or switched in between is added up `width` times at most.
            let length = weights.reduce(0) { $0 + $1 * $1 }.squareRoot()
            let mapped = error.mapped(
                euclidean: (weightScale * terms.squareRoot() * length + terms * rounding) / divisor,
                embedding: (weightScale * sum + terms * rounding) / divisor)
            let rounded = noise.rescaled(.zero, by: dropped(level).reversed())
            drift =
                ((weightScale * sum + terms * rounding) * drift + terms * rounding * plain) / divisor
            error = mapped + terms * rounded + (terms - 1) * noise.keySwitch(level: level - perLevel)
            // Before the rescaling the products, scaled up, must fit; their error is no larger than the result's.
            values = products
            scale *= weightScale
            drift *= divisor
            error = divisor * error
            require(level: level)
            scale /= divisor
            drift /= divisor
            error = (1 / divisor) * error
            let (lower, upper) = products.reduce((bias, bias)) { ($0.0 + $1.lowerBound, $0.1 + $1.upperBound) }
            values = [ClosedRange](repeating: min(lower, upper)...max(lower, upper), count: width)
            drift += noise.encoding(largest: scale * bias.magnitude)
            require(level: level - perLevel)
        }
    }
}

extension InputFeature {
    /// What its network inputs are within; zero always, since unused records are zero.
    var range: [ClosedRange<Double>] {
        switch encoding {
        case .binary: return [0...1]
        case .oneHot: return [ClosedRange](repeating: 0...1, count: width)
        case .scaled:
            let (minimum, maximum) = (minimum ?? 0, maximum ?? 1)
            func scaled(_ value: Double) -> Double { (value - minimum) / (maximum - minimum) }
            let (lower, upper) = (scaled(valid?[0] ?? minimum), scaled(valid?[1] ?? maximum))
            return [min(lower, 0)...max(upper, 0)]
        }
    }
}
