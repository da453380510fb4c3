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
    /// The largest magnitude of a value, in between or at the end.
    public let magnitude: Double
    /// The largest magnitude of a result.
    public let resultMagnitude: Double
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
    public func bound(for model: InferenceModel) -> CircuitBound { bound(CircuitMagnitudes(model, self)) }

    func bound(_ magnitudes: CircuitMagnitudes) -> CircuitBound {
        var walk = Walk(self, magnitudes)
        for (step, weights) in zip(steps, magnitudes.steps) {
            switch (step, weights) {
            case (.diagonals(_, _, let period, let babySteps, let level), .diagonals(let matrix)):
                walk.diagonals(matrix, period, babySteps, level)
            case (.square(let level), .square): walk.square(level)
            case (.dotProduct(_, _, let level), .dotProduct(let row)): walk.dotProduct(row, level)
            default: preconditionFailure("these are another model's magnitudes")
            }
        }
        return CircuitBound(
            error: walk.error, drift: walk.drift, magnitude: walk.largest,
            resultMagnitude: walk.value, scale: walk.scale, shortfallBits: walk.shortfall)
    }

    /// The state of the circuit: how large values are, and bounds of errors.
    private struct Walk {
        let noise: StaticNoise
        let q: [UInt64]
        let perLevel: Int
        let target: Double
        let width: Int
        /// The largest value, then those of the steps that follow.
        var values: ArraySlice<Double>
        var scale: Double
        var error: ErrorBound
        var drift: Double
        var largest = 1.0
        var shortfall = -Double.infinity

        init(_ plan: InferencePlan, _ magnitudes: CircuitMagnitudes) {
            noise = StaticNoise(plan.profile.parameters)
            q = plan.profile.parameters.q
            perLevel = plan.primesPerLevel
            target = plan.profile.scale
            width = magnitudes.width
            values = magnitudes.values[...]
            scale = plan.profile.scale
            error = noise.fresh
            drift = noise.encoding(largest: magnitudes.values[0] * scale)
            require(level: plan.profile.inputLevel, value)
        }

        /// The largest value.
        var value: Double { values[values.startIndex] }

        /// Of a slot of the exact polynomial that has such values.
        func message(_ value: Double) -> Double { scale * value + drift }

        /// The polynomial must fit half the level's modulus: no coefficient is larger than the largest slot.
        mutating func require(level: Int, _ value: Double) {
            largest = max(largest, value)
            let modulusBits = q.prefix(level).reduce(0) { $0 + .log2(Double($1)) }
            shortfall = max(shortfall, .log2(message(value) + error.embedding) + 1 - modulusBits)
        }

        private func dropped(_ level: Int) -> ArraySlice<UInt64> { q[level - perLevel..<level] }

        private mutating func rescale(_ level: Int) {
            error = noise.rescaled(error, by: dropped(level).reversed())
            let divisor = dropped(level).reduce(1) { $0 * Double($1) }
            scale /= divisor
            drift /= divisor
            require(level: level - perLevel, value)
        }

        mutating func diagonals(_ matrix: CircuitMagnitudes.Matrix, _ period: Int, _ babySteps: Int, _ level: Int) {
            let weightScale = dropped(level).reduce(1) { $0 * Double($1) } * target / scale
            let count = Double(matrix.diagonals.count { $0 > 0 })
            let rounding = noise.encoding(largest: weightScale * matrix.largestWeight)
            let switched = noise.keySwitch(level: level)
            var sum = error.mapped(
                euclidean: weightScale * matrix.norm + count * rounding,
                embedding: weightScale * matrix.rowMost + count * rounding)
            for (diagonal, weight) in matrix.diagonals.enumerated() where weight > 0 && diagonal % babySteps != 0 {
                sum = sum + (weightScale * weight + rounding) * switched
            }
            sum = sum + Double((period - 1) / babySteps) * switched
            drift = (weightScale * matrix.rowMost + count * rounding) * drift + count * rounding * scale * value
            error = sum
            scale *= weightScale
            values.removeFirst()
            drift += noise.encoding(largest: scale * matrix.largestBias)
            require(level: level, value)
            rescale(level)
        }

        mutating func square(_ level: Int) {
            let plain = scale * value
            error = error.squared(magnitude: message(value)) + noise.keySwitch(level: level)
            drift = (2 * plain + drift) * drift
            scale *= scale
            values.removeFirst()
            require(level: level, value)
            rescale(level)
        }

        mutating func dotProduct(_ row: CircuitMagnitudes.Row, _ level: Int) {
            let divisor = dropped(level).reduce(1) { $0 * Double($1) }
            let weightScale = divisor * target / scale
            let rounding = noise.encoding(largest: weightScale * row.largestWeight)
            let terms = Double(width)
            let plain = scale * value
            // Multiplying and adding up all features maps a record's slots e to (w e, w e, ...): of norm sqrt(width)
            // |w|. What is rounded or switched in between is added up `width` times at most.
            let mapped = error.mapped(
                euclidean: (weightScale * terms.squareRoot() * row.length + terms * rounding) / divisor,
                embedding: (weightScale * row.sum + terms * rounding) / divisor)
            let rounded = noise.rescaled(.zero, by: dropped(level).reversed())
            drift = ((weightScale * row.sum + terms * rounding) * drift + terms * rounding * plain) / divisor
            error = mapped + terms * rounded + (terms - 1) * noise.keySwitch(level: level - perLevel)
            // Before the rescaling the products, scaled up, must fit; their error is no larger than the result's.
            scale *= weightScale
            drift *= divisor
            error = divisor * error
            require(level: level, row.largestProduct)
            scale /= divisor
            drift /= divisor
            error = (1 / divisor) * error
            values.removeFirst()
            drift += noise.encoding(largest: scale * row.bias.magnitude)
            require(level: level - perLevel, value)
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
