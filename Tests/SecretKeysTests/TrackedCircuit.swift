import ComplexModule
import HomomorphicEncryption
import RLWE
import RealModule
import TestSupport

/// A ciphertext with what it should hold, and how far each slot may be off.
struct TrackedCiphertext {
    var ciphertext: Ciphertext
    /// The slots in complex doubles.
    var values: [Complex<Double>]
    /// The same as an exact polynomial, scale included, where the ring is small enough.
    var exact: ExactPolynomial?
    /// Deviation of each slot's error, in units of the phase.
    var deviation: [Double]
    /// The fresh encryptions that it was made from: without a common one, two errors are independent.
    var sources: Set<Int>

    var magnitude: Double { values.reduce(0) { max($0, $1.length) } }
}

/// Runs operations three times over: on ciphertexts, on their slots, and on deviations by docs/noise.md.
struct TrackedCircuit {
    let bench: NoiseBench
    let rotations: [Int]
    private let keys: EvaluationKeySet
    private let relinearizationErrors: [[Double]]
    private let galoisErrors: [Int: [[Double]]]
    /// Words of an exact coefficient; 0 for circuits without exact polynomials.
    private let width: Int
    private var random: SeededGenerator
    private var encryptions = 0

    init(_ bench: NoiseBench, rotations: [Int], exactly: Bool = false, seed: UInt64) throws {
        self.bench = bench
        self.rotations = rotations
        let keys = try bench.keys(rotations: rotations)
        self.keys = EvaluationKeySet(keys)
        relinearizationErrors = try bench.errorPower(of: keys[0])
        var galoisErrors: [Int: [[Double]]] = [:]
        for key in keys.dropFirst() { galoisErrors[Int(key.id.galois)] = try bench.errorPower(of: key) }
        self.galoisErrors = galoisErrors
        width = exactly ? Int(bench.context.modulusBits(level: bench.context.maximumLevel)) / 64 + 2 : 0
        random = SeededGenerator(seed)
    }

    private var evaluator: CKKSEvaluator { bench.evaluator }
    private var rounding: Double { (Double(bench.degree) * NoiseModel.roundingVariance).squareRoot() }

    // MARK: Inputs

    private mutating func randomValues(magnitude: Double) -> [Complex<Double>] {
        (0..<bench.encoder.slotCount).map { _ in
            Complex(
                length: magnitude * .random(in: 0.7...1, using: &random),
                phase: .random(in: -3.2...3.2, using: &random))
        }
    }

    private func exact(_ plaintext: CKKSPlaintext) -> ExactPolynomial? {
        width == 0 ? nil : ExactPolynomial(lifting: plaintext.polynomial).extended(to: width)
    }

    mutating func fresh(magnitude: Double = 1, scale: Double, level: Int) throws -> TrackedCiphertext {
        let values = randomValues(magnitude: magnitude)
        let plaintext = try bench.plaintext(values, scale: scale, level: level)
        encryptions += 1
        // The plaintext's rounding counts as noise.
        return TrackedCiphertext(
            ciphertext: try bench.publicKey.encrypt(plaintext), values: values, exact: exact(plaintext),
            deviation: bench.freshPublicPower().map { ($0 + rounding * rounding).squareRoot() }, sources: [encryptions])
    }

    // MARK: Operations

    func negate(_ x: TrackedCiphertext) throws -> TrackedCiphertext {
        var result = x
        result.ciphertext = try evaluator.negate(x.ciphertext)
        result.values = x.values.map { -$0 }
        result.exact = x.exact.map { -$0 }
        return result
    }

    func add(_ x: TrackedCiphertext, _ y: TrackedCiphertext, negated: Bool) throws -> TrackedCiphertext {
        let independent = x.sources.isDisjoint(with: y.sources)
        var exact: ExactPolynomial?
        if let ex = x.exact, let ey = y.exact { exact = negated ? ex - ey : ex + ey }
        return TrackedCiphertext(
            ciphertext: negated
                ? try evaluator.subtract(x.ciphertext, y.ciphertext)
                : try evaluator.add(x.ciphertext, y.ciphertext),
            values: zip(x.values, y.values).map { negated ? $0 - $1 : $0 + $1 }, exact: exact,
            deviation: zip(x.deviation, y.deviation).map { independent ? .hypot($0, $1) : $0 + $1 },
            sources: x.sources.union(y.sources))
    }

    mutating func addPlaintext(_ x: TrackedCiphertext, negated: Bool) throws -> TrackedCiphertext {
        let values = randomValues(magnitude: 0.5)
        let plaintext = try bench.plaintext(values, scale: x.ciphertext.scale, level: x.ciphertext.level)
        var result = x
        result.ciphertext =
            negated
            ? try evaluator.subtract(x.ciphertext, plaintext) : try evaluator.add(x.ciphertext, plaintext)
        result.values = zip(x.values, values).map { negated ? $0 - $1 : $0 + $1 }
        if let ex = x.exact, let ep = exact(plaintext) { result.exact = negated ? ex - ep : ex + ep }
        result.deviation = x.deviation.map { .hypot($0, rounding) }
        return result
    }

    mutating func multiplyPlaintext(
        _ x: TrackedCiphertext, magnitude: Double, scale: Double
    ) throws -> TrackedCiphertext {
        let values = randomValues(magnitude: magnitude)
        let plaintext = try bench.plaintext(values, scale: scale, level: x.ciphertext.level)
        var result = x
        result.ciphertext = try evaluator.multiply(x.ciphertext, plaintext)
        result.values = zip(x.values, values).map { $0 * $1 }
        if let ex = x.exact, let ep = exact(plaintext) { result.exact = ex * ep }
        result.deviation = x.values.indices.map { i in
            let (m, p) = (x.values[i].length * x.ciphertext.scale, values[i].length * scale)
            return .hypot(p * x.deviation[i], (m + x.deviation[i]) * rounding)
        }
        return result
    }

    func multiply(_ x: TrackedCiphertext, _ y: TrackedCiphertext) throws -> TrackedCiphertext {
        let independent = x.sources.isDisjoint(with: y.sources)
        let switching = bench.keySwitchingPower(relinearizationErrors, level: x.ciphertext.level)
        var exact: ExactPolynomial?
        if let ex = x.exact, let ey = y.exact { exact = ex * ey }
        return TrackedCiphertext(
            ciphertext: try evaluator.multiply(x.ciphertext, y.ciphertext, keys: keys),
            values: zip(x.values, y.values).map { $0 * $1 }, exact: exact,
            deviation: x.values.indices.map { i in
                let left = y.values[i].length * y.ciphertext.scale * x.deviation[i]
                let right = x.values[i].length * x.ciphertext.scale * y.deviation[i]
                let both = x.deviation[i] * y.deviation[i]
                let product = independent ? Double.hypot(.hypot(left, right), both) : left + right + both
                return .hypot(product, switching[i].squareRoot())
            }, sources: x.sources.union(y.sources))
    }

    func rescale(_ x: TrackedCiphertext) throws -> TrackedCiphertext {
        let last = bench.parameters.q[x.ciphertext.level - 1]
        let power = bench.rescalingPower()
        var result = x
        result.ciphertext = try evaluator.rescale(x.ciphertext)
        result.exact = x.exact?.divided(by: last)
        // The exact polynomial is rounded too.
        let own = x.exact == nil ? 0 : rounding
        result.deviation = zip(x.deviation, power).map {
            .hypot(.hypot($0 / Double(last), $1.squareRoot()), own)
        }
        return result
    }

    /// - Parameter steps: nil to conjugate.
    func rotate(_ x: TrackedCiphertext, by steps: Int?) throws -> TrackedCiphertext {
        let element = steps.map { bench.element($0) } ?? 2 * bench.degree - 1
        let switching = bench.keySwitchingPower(galoisErrors[element] ?? [], level: x.ciphertext.level)
        let count = x.values.count
        func source(_ slot: Int) -> Int { (slot + (steps ?? 0) + count) % count }
        var result = x
        if let steps {
            result.ciphertext = try evaluator.rotate(x.ciphertext, by: steps, keys: keys)
            result.values = (0..<count).map { x.values[source($0)] }
        } else {
            result.ciphertext = try evaluator.conjugate(x.ciphertext, keys: keys)
            result.values = x.values.map(\.conjugate)
        }
        result.exact = x.exact?.applying(element)
        result.deviation = (0..<count).map { .hypot(x.deviation[source($0)], switching[$0].squareRoot()) }
        return result
    }

    // MARK: Random circuits

    /// A few random operations that keep the level; sums only where the values stay small.
    mutating func mix(_ pool: inout [TrackedCiphertext], operations: Int) throws {
        for _ in 0..<operations {
            let index = Int.random(in: pool.indices, using: &random)
            let other = Int.random(in: pool.indices, using: &random)
            let choice = Int.random(in: 0..<6, using: &random)
            let (x, y) = (pool[index], pool[other])
            let sameScale = abs(x.ciphertext.scale - y.ciphertext.scale) <= 1e-12 * x.ciphertext.scale
            switch choice {
            case 0, 1:
                let fits = index != other && sameScale && x.magnitude + y.magnitude < 3
                let sum = try fits ? add(x, y, negated: choice == 0) : negate(x)
                // Where both are one product the difference is 0 without an error, which no bound fits.
                pool[index] = sum.magnitude == 0 ? x : sum
            case 2: pool[index] = try negate(x)
            case 3:
                pool[index] = try x.magnitude < 3 ? addPlaintext(x, negated: other == index) : negate(x)
            case 4: pool[index] = try rotate(x, by: nil)
            default: pool[index] = try rotate(x, by: rotations.randomElement(using: &random))
            }
        }
    }

    /// One level down for the whole pool, by dropping it or by a product and rescaling. Known and fresh factors
    /// bring values back to magnitude 1 and the scale to the bench's.
    mutating func descend(_ pool: inout [TrackedCiphertext]) throws {
        let before = pool
        for (index, x) in before.enumerated() {
            let level = x.ciphertext.level
            let scale = bench.scale * Double(bench.parameters.q[level - 1]) / x.ciphertext.scale
            let other = before[Int.random(in: before.indices, using: &random)]
            let magnitude = 1 / x.magnitude
            // The product's own scale may not drift far from the bench's.
            let drift = Double.log2(x.ciphertext.scale / bench.scale) + .log2(other.ciphertext.scale / bench.scale)
            let fits = x.magnitude * other.magnitude < 3 && abs(drift) < 0.5
            let product: TrackedCiphertext
            switch Int.random(in: 0..<8, using: &random) {
            case 0, 1:
                product = try fits ? multiply(x, other) : multiplyPlaintext(x, magnitude: magnitude, scale: scale)
            case 2, 3: product = try multiplyPlaintext(x, magnitude: magnitude, scale: scale)
            case 4:
                pool[index].ciphertext = try evaluator.dropLevel(x.ciphertext, to: level - 1)
                continue
            default: product = try multiply(x, fresh(magnitude: magnitude, scale: scale, level: level))
            }
            pool[index] = try rescale(product)
        }
    }

    // MARK: Comparison

    /// log2 of bound over error, by the complex doubles.
    func slack(_ x: TrackedCiphertext) throws -> Double {
        let scale = Complex(x.ciphertext.scale)
        let errors = zip(try bench.decode(x.ciphertext), x.values).map { ($0 - $1) * scale }
        return NoiseMeasurement(slots: errors, power: x.deviation.map { $0 * $0 }).slack
    }

    /// The same by the exact polynomial; nil without one.
    func exactSlack(_ x: TrackedCiphertext) throws -> Double? {
        guard let exact = x.exact else { return nil }
        var expected = exact.residues(x.ciphertext.polynomials[0].basis)
        expected.transform()
        let errors = try bench.slots(bench.phase(x.ciphertext) - expected)
        return NoiseMeasurement(slots: errors, power: x.deviation.map { $0 * $0 }).slack
    }
}
