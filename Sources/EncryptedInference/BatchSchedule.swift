import HomomorphicEncryption
import RealModule

/// At which level and scale each step of a ``BatchLayout`` is computed, and the primes that this takes.
///
/// A dense layer multiplies by weights of some bits and then drops primes, so that the sums are left with a scale that is
/// chosen for them alone; a square doubles the scale's bits and drops nothing. What is three polynomials long is
/// relinearized before primes are dropped, because what dropping rounds is multiplied by s^2 otherwise.
struct BatchSchedule: Sendable {
    enum Operation: Sendable {
        /// Back to two polynomials.
        case relinearize(level: Int)
        case square(level: Int)
        case dense(Dense)
    }

    struct Dense: Sendable {
        var layer: BatchLayout.Dense
        /// What weights are multiplied by.
        let weightScale: Double
        let level: Int
        /// Primes that sums lose before they are turned.
        let dropped: Int

        /// The primes that sums lose, in this order.
        func droppedPrimes(of parameters: EncryptionParameters) -> [UInt64] {
            parameters.q[level - dropped..<level].reversed()
        }
    }

    let parameters: EncryptionParameters
    private(set) var operations: [Operation]
    let inputBits: Int
    let inputLevel: Int
    let outputLevel: Int
    /// 0 where no relinearization is needed.
    let relinearizationLevel: Int
    /// Turn in positions -> the highest level at which it is made.
    let turnLevels: [Int: Int]
    /// Expected of a score.
    let deviation: Double

    /// log2 of scales, to be chosen: of the inputs, and for each dense layer of its weights and of its sums after primes
    /// are dropped.
    struct Bits {
        var input: Int
        var weights: [Int]
        var sums: [Int]
    }

    /// What each dense layer drops, the scale that it leaves, and the scale of the results; all log2.
    static func dropped(_ layout: BatchLayout, _ bits: Bits) -> (drops: [Int], scales: [Int], last: Int) {
        var (scale, dense) = (bits.input, 0)
        var (drops, scales): ([Int], [Int]) = ([], [])
        for step in layout.steps {
            guard case .dense = step else {
                scale *= 2
                continue
            }
            let product = scale + bits.weights[dense]
            drops.append(max(0, product - bits.sums[dense]))
            scale = product - drops[dense]
            scales.append(scale)
            dense += 1
        }
        return (drops, scales, scale)
    }

    /// The least bits that keep a score's deviation.
    ///
    /// Each choice has one error that halves with every bit. All bits cost the same, so that the sum of bits is least
    /// where all these errors are equal.
    static func bits(
        _ layout: BatchLayout, logN: Int, _ protection: WeightProtection, _ estimate: BatchEstimate, deviation: Double
    ) -> Bits {
        let denseCount = layout.steps.count { if case .dense = $0 { true } else { false } }
        // With this many bits an error is not seen beside those of `probe` bits.
        let (many, probe) = (200, 40)
        let none = Bits(
            input: many, weights: Array(repeating: many, count: denseCount),
            sums: Array(repeating: many, count: denseCount))
        let share = deviation * deviation / Double(2 * denseCount + 1)
        func needed(_ change: (inout Bits) -> Void) -> Int {
            var changed = none
            change(&changed)
            let variance = estimate.variance(layout, changed, logN: logN, protection)
            return probe + Int((Double.log2(max(variance, 0x1p-200) / share) / 2).rounded(.up))
        }
        var bits = none
        bits.input = max(20, needed { $0.input = probe })
        for dense in 0..<denseCount {
            bits.weights[dense] = max(2, needed { $0.weights[dense] = probe })
            bits.sums[dense] = max(16, needed { $0.sums[dense] = probe })
        }
        // Nothing shorter than the shortest useful prime can be dropped.
        let shortest = logN + 7
        for dense in 0..<denseCount {
            let drop = dropped(layout, bits).drops[dense]
            if drop > 0, drop < shortest { bits.weights[dense] += shortest - drop }
        }
        // What was left out are switched products, which hardly count.
        while estimate.variance(layout, bits, logN: logN, protection) > deviation * deviation, bits.input < many {
            bits.input += 1
            for dense in 0..<denseCount { bits.sums[dense] += 1 }
        }
        return bits
    }

    /// - Parameters:
    ///   - bits: as ``bits(_:logN:_:_:deviation:)`` made them.
    ///   - shortened: bit i asks for fewer primes for dense layer i, and for longer sums instead.
    ///   - digitPrimes: primes of a digit of a key switch.
    /// - Returns: nil where no secure parameters of this ring are precise enough.
    init?(
        _ layout: BatchLayout, logN: Int, _ protection: WeightProtection, _ estimate: BatchEstimate, bits: Bits,
        shortened: Int, digitPrimes: Int
    ) {
        var bits = bits
        for dense in bits.sums.indices where shortened >> dense & 1 == 1 {
            let drop = Self.dropped(layout, bits).drops[dense]
            guard drop > 50, drop % 50 != 0 else { return nil }
            bits.sums[dense] += drop % 50
        }
        self.deviation = estimate.variance(layout, bits, logN: logN, protection).squareRoot()
        let (drops, scales, last) = Self.dropped(layout, bits)
        let base = estimate.baseBits(
            layout, bits.input, drops: drops, scales: scales, last: last, weights: bits.weights)
        guard
            let primes = BatchPrimes(
                base: base, drops: drops, layout, protection, logN: logN, digitPrimes: digitPrimes)
        else { return nil }
        parameters = primes.parameters
        inputBits = bits.input
        inputLevel = primes.parameters.q.count

        var operations: [Operation] = []
        var (level, polynomials, scale, dense) = (inputLevel, 2, Double.exp2(Double(bits.input)), 0)
        var (relinearizationLevel, turnLevels, count) = (0, [Int: Int](), layout.inputs.count)
        func relinearize() {
            guard polynomials == 3 else { return }
            relinearizationLevel = max(relinearizationLevel, level)
            operations.append(.relinearize(level: level))
            polynomials = 2
        }
        func turn(_ positions: Int) { turnLevels[positions] = max(turnLevels[positions] ?? 0, level) }
        for step in layout.steps {
            switch step {
            case .square:
                relinearize()
                operations.append(.square(level: level))
                polynomials = 3
                scale *= scale
            case .dense(let layer):
                // Linear layers take three polynomials as well: they are relinearized where they are fewer.
                if protection.isEncrypted || layer.babies > 1 || layer.groups * layer.giants > count {
                    relinearize()
                }
                for baby in 1..<max(layer.babies, 2) where baby < layer.babies { turn(baby) }
                let dropped = parameters.q[level - primes.dropCounts[dense]..<level].reduce(1) { $0 * Double($1) }
                // So that sums have the scale that was chosen, to the last bit: primes are not powers of two.
                let target = Double.exp2(Double(scales[dense]))
                let weightScale = target * dropped / scale
                operations.append(
                    .dense(
                        Dense(
                            layer: layer, weightScale: weightScale, level: level, dropped: primes.dropCounts[dense])))
                if polynomials == 3 || protection.isEncrypted {
                    relinearizationLevel = max(relinearizationLevel, level)
                }
                polynomials = 2
                scale = target
                level -= primes.dropCounts[dense]
                if layer.giants > 1 { turn(layer.babies) }
                for fold in layer.folds { fold.forEach(turn) }
                dense += 1
                count = layer.groups
            }
        }
        relinearize()
        self.operations = operations
        self.relinearizationLevel = relinearizationLevel
        self.turnLevels = turnLevels
        outputLevel = level
    }
}

extension BatchSchedule {
    func withoutWeights() -> BatchSchedule {
        var schedule = self
        schedule.operations = operations.map { operation in
            guard case .dense(var dense) = operation else { return operation }
            dense.layer = dense.layer.withoutWeights()
            return .dense(dense)
        }
        return schedule
    }
}
