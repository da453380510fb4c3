/// What a circuit's bound needs of its model: how large values become and what norms its layers have. It depends on
/// weights and ranges, and on no parameters, so that a search through parameters reads the weights once.
struct CircuitMagnitudes: Sendable {
    enum Step: Sendable {
        /// A matrix on a record's features.
        case diagonals(Matrix)
        case square
        case dotProduct(Row)
    }

    struct Matrix: Sendable {
        /// By Schur's test: the root of the largest row sum times the largest column sum, of magnitudes.
        let norm: Double
        /// The largest sum of a row's magnitudes.
        let rowMost: Double
        let largestWeight: Double
        let largestBias: Double
        /// The largest weight of each diagonal.
        let diagonals: [Double]
    }

    struct Row: Sendable {
        /// Of the weights' magnitudes.
        let sum: Double
        let largestWeight: Double
        /// The Euclidean norm of the weights.
        let length: Double
        /// The largest product of a weight and a value.
        let largestProduct: Double
        let bias: Double
    }

    /// Features that a record has room for.
    let width: Int
    let steps: [Step]
    /// The largest magnitude of a value: of the inputs, then after each step.
    let values: [Double]

    /// - Parameter plan: any plan of the model: its parameters do not matter.
    init(_ model: InferenceModel, _ plan: InferencePlan) {
        let packing = plan.packing
        let inputs = model.inputs.flatMap(\.range)
        var ranges = (0..<packing.width).map {
            let input = $0 % packing.period
            return input < inputs.count ? inputs[input] : 0...0
        }
        var steps: [Step] = []
        var values = [Self.magnitude(ranges)]
        for step in plan.steps {
            switch step {
            case .diagonals(let weights, let bias, let period, _, _):
                steps.append(.diagonals(Self.matrix(weights, bias, period, &ranges)))
            case .square:
                ranges = ranges.map { range in
                    let (low, high) = (range.lowerBound * range.lowerBound, range.upperBound * range.upperBound)
                    return (range.contains(0) ? 0 : min(low, high))...max(low, high)
                }
                steps.append(.square)
            case .dotProduct(let weights, let bias, _):
                steps.append(.dotProduct(Self.row(weights, bias, &ranges)))
            }
            values.append(Self.magnitude(ranges))
        }
        width = packing.width
        self.steps = steps
        self.values = values
    }

    private static func magnitude(_ ranges: [ClosedRange<Double>]) -> Double {
        // Sums of intervals are rounded.
        (1 + 0x1p-30) * ranges.reduce(0) { max($0, $1.lowerBound.magnitude, $1.upperBound.magnitude) }
    }

    /// The products of a weight and a range. A weight of zero is no term, not even of an infinite value.
    private static func product(_ weight: Double, _ range: ClosedRange<Double>) -> ClosedRange<Double> {
        guard weight != 0 else { return 0...0 }
        let (first, second) = (weight * range.lowerBound, weight * range.upperBound)
        return min(first, second)...max(first, second)
    }

    /// All numbers where infinities meet.
    private static func sum(_ left: ClosedRange<Double>, _ right: ClosedRange<Double>) -> ClosedRange<Double> {
        let (lower, upper) = (left.lowerBound + right.lowerBound, left.upperBound + right.upperBound)
        guard !lower.isNaN, !upper.isNaN else { return -.infinity ... .infinity }
        return lower...upper
    }

    private static func matrix(
        _ weights: [[Double]], _ bias: [Double], _ period: Int, _ ranges: inout [ClosedRange<Double>]
    ) -> Matrix {
        let width = ranges.count
        // Row f has the weights at columns f ..< f + period.
        var columns = [Double](repeating: 0, count: width)
        var rowMost = 0.0
        var diagonals = [Double](repeating: 0, count: period)
        var results = [ClosedRange<Double>](repeating: 0...0, count: width)
        for (feature, row) in weights.enumerated() {
            var total = 0.0
            var result = bias[feature]...bias[feature]
            for diagonal in 0..<period {
                let column = (feature + diagonal) % width
                let input = (feature + diagonal) % period
                guard input < row.count else { continue }
                let weight = row[input]
                total += weight.magnitude
                columns[column] += weight.magnitude
                diagonals[diagonal] = max(diagonals[diagonal], weight.magnitude)
                result = sum(result, product(weight, ranges[column]))
            }
            rowMost = max(rowMost, total)
            results[feature] = result
        }
        ranges = results
        return Matrix(
            norm: (rowMost * (columns.max() ?? 0)).squareRoot(), rowMost: rowMost,
            largestWeight: diagonals.max() ?? 0, largestBias: bias.reduce(0) { max($0, $1.magnitude) },
            diagonals: diagonals)
    }

    private static func row(_ weights: [Double], _ bias: Double, _ ranges: inout [ClosedRange<Double>]) -> Row {
        let products = zip(weights, ranges).map(product)
        let row = Row(
            sum: weights.reduce(0) { $0 + $1.magnitude }, largestWeight: weights.reduce(0) { max($0, $1.magnitude) },
            length: weights.reduce(0) { $0 + $1 * $1 }.squareRoot(), largestProduct: magnitude(products), bias: bias)
        ranges = [ClosedRange](repeating: products.reduce(bias...bias, sum), count: ranges.count)
        return row
    }
}
