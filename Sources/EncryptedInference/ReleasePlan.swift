import Attestation
import HomomorphicEncryption
import RLWE
import RealModule

/// What is asked of released results.
public struct ReleaseRequest: Sendable, Hashable, Codable {
    /// What a released score may be off by, but with a chance of 2^-40 a result: absolute.
    public let precision: Double
    /// s of ``FloodingPolicy``.
    public let statisticalBits: Int
    /// Decryptions that the key set may be asked for.
    public let budget: Int
    public let audience: ReleaseAudience

    public init(
        precision: Double, statisticalBits: Int = FloodingPolicy.defaultStatisticalBits, budget: Int,
        audience: ReleaseAudience = .owner
    ) {
        self.precision = precision
        self.statisticalBits = statisticalBits
        self.budget = budget
        self.audience = audience
    }
}

extension ReleaseRequest {
    /// Checks what needs no model.
    /// - Throws: ``ReleasePlanError/invalidRequest(reason:)``.
    public func validate() throws(ReleasePlanError) {
        guard precision.isFinite, precision >= 0x1p-40, precision <= 0x1p20 else {
            throw .invalidRequest(reason: "the precision is between 2^-40 and 2^20")
        }
        guard (1...128).contains(statisticalBits) else {
            throw .invalidRequest(reason: "statistical security is 1 to 128 bits")
        }
        guard (1...1 << 40).contains(budget) else {
            throw .invalidRequest(reason: "the budget is 1 to 2^40 decryptions")
        }
    }
}

/// Why no parameters give a model's results the precision that was asked.
public enum ReleasePlanError: Error, Equatable, Sendable, CustomStringConvertible {
    case invalidRequest(reason: String)
    case model(InferenceError)
    /// More primes are needed than parameters have, for any precision.
    case tooDeep(layers: Int, most: Int)
    /// `nearest` is the finest precision that can be had for the same budget and statistical security; `budget` how
    /// many decryptions the asked precision can be had for, nil for none.
    case precisionOutOfReach(asked: Double, nearest: Double?, budget: Int?)
    /// No plan of this model has the profile.
    case anotherCircuit

    public var description: String {
        switch self {
        case .invalidRequest(let reason): return "the release cannot be planned: \(reason)"
        case .model(let error): return error.description
        case .tooDeep(let layers, let most):
            return "flooded results need two primes a layer, and \(layers) layers are more than \(most)"
        case .precisionOutOfReach(let asked, let nearest, let budget):
            var parts: [String] = []
            if let nearest { parts.append("a precision of \(nearest) can be had as asked") }
            if let budget { parts.append("\(asked) can be had for \(budget) decryptions") }
            return "no secure parameters flood this model's results to within \(asked): "
                + (parts.isEmpty ? "ask for a coarser precision or a smaller model" : parts.joined(separator: "; "))
        case .anotherCircuit: return "the circuit profile is not one that this model is evaluated by"
        }
    }
}

/// How results are flooded, and what was chosen for it.
public struct ReleasePlan: Sendable, Hashable {
    public let request: ReleaseRequest
    public let policy: FloodingPolicy
    public let bound: CircuitBound
    /// What a released score is off by at most, rounding included, but with a chance of 2^-40 a result.
    public let accuracy: Double
    /// What was chosen and why, in lines of text.
    public let report: String

    /// Whether results and noise together fit half of what is left of the modulus.
    fileprivate func fits(_ chain: InferencePlan.Chain) -> Bool {
        let left = chain.parameters.q.prefix(chain.base).reduce(0) { $0 + .log2(Double($1)) }
        let result = bound.magnitude * bound.scale + bound.error.embedding + bound.drift
        return Double.log2(result + .exp2(policy.noiseBits)) + 1 < left
    }
}

extension InferencePlan {
    /// Plans a model for flooded results: the smallest ring, and in it the smallest scale, with which the noise that
    /// hides the circuit's error stays within the asked precision. A scale of more than 49 bits is that of two primes
    /// together. All primes are below 2^50, which the fast kernels take.
    /// - Throws: ``ReleasePlanError``.
    public init(_ model: InferenceModel, release request: ReleaseRequest) throws(ReleasePlanError) {
        try request.validate()
        let most = (EncryptionParameters.maximumPrimes - 3) / 2
        guard model.layers.count <= most else { throw .tooDeep(layers: model.layers.count, most: most) }
        for logN in 12...EncryptionParameters.logNRange.upperBound {
            if let plan = try InferencePlan.planned(model, request, logN) {
                self = plan
                return
            }
        }
        throw InferencePlan.outOfReach(model, request)
    }

    /// The plan behind a profile that ``init(_:release:)`` gave, here or elsewhere: nothing is searched, and the bound
    /// is computed anew from the weights.
    /// - Throws: ``ReleasePlanError``, ``ReleasePlanError/anotherCircuit`` for a profile that is none of this model.
    public init(
        _ model: InferenceModel, profile: CircuitProfile, release request: ReleaseRequest
    ) throws(ReleasePlanError) {
        try request.validate()
        guard (try? profile.validate()) != nil else { throw .anotherCircuit }
        let (depth, base) = (model.layers.count, profile.outputLevel)
        let perLevel = (profile.inputLevel - base) / Swift.max(depth, 1)
        let parameters = profile.parameters
        guard parameters.scheme == .ckks, (1...2).contains(perLevel), base >= 1,
            base + depth * perLevel == profile.inputLevel, profile.inputLevel <= parameters.q.count,
            profile.inputLevel <= parameters.maximumEvaluationKeyLevel, profile.modelDigest == model.digest
        else { throw .anotherCircuit }
        let chain = Chain(parameters: parameters, scaleBits: profile.scaleBits, base: base, perLevel: perLevel)
        guard let made = try InferencePlan.released(model, request, chain), made.accuracy <= request.precision,
            made.bound.shortfallBits <= 0, made.fits(chain)
        else { throw .precisionOutOfReach(asked: request.precision, nearest: nil, budget: nil) }
        self = try InferencePlan.checking { () throws(InferenceError) in
            try InferencePlan(model, chain, release: made)
        }
        guard self.profile.digest == profile.digest else { throw .anotherCircuit }
    }

    /// The longest scale, two primes of 49 bits.
    private static let longestScale = 98

    /// The plan on one ring; nil where none is precise and secure.
    private static func planned(
        _ model: InferenceModel, _ request: ReleaseRequest, _ logN: Int
    ) throws(ReleasePlanError) -> InferencePlan? {
        var scaleBits = 30
        while scaleBits <= longestScale {
            // Primes of some lengths are too few, and chains of longer ones may be insecure.
            guard let chain = chain(model, scaleBits, logN, request.precision),
                let made = try released(model, request, chain)
            else {
                scaleBits += 1
                continue
            }
            if made.accuracy <= request.precision, made.fits(chain) {
                return try InferencePlan.checking { () throws(InferenceError) in
                    try InferencePlan(model, chain, release: made)
                }
            }
            // Weights may be as large as numbers go.
            guard made.accuracy.isFinite else { return nil }
            // The noise hardly depends on the scale: each bit of scale is one of precision.
            let missing = (made.accuracy - made.policy.step / 2) / (request.precision - made.policy.step / 2)
            scaleBits += Swift.max(1, Int(Double.log2(Swift.max(missing, 1)).rounded(.down)))
        }
        return nil
    }

    private static func checking(
        _ body: () throws(InferenceError) -> InferencePlan
    ) throws(ReleasePlanError) -> InferencePlan {
        do throws(InferenceError) { return try body() } catch { throw .model(error) }
    }

    /// Secure parameters of this scale in which all values fit.
    private static func chain(
        _ model: InferenceModel, _ scaleBits: Int, _ logN: Int, _ precision: Double
    ) -> Chain? {
        // The noise of a slot is as large as the precision, that of a coefficient smaller.
        var baseBits = scaleBits + 3 + Swift.max(0, Int(Double.log2(precision).rounded(.up)))
        while baseBits <= 200 {
            guard let chain = chain(model, scaleBits: scaleBits, baseBits: baseBits, logN: logN) else { return nil }
            guard let plan = try? InferencePlan(model, chain) else { return nil }
            let shortfall = plan.bound(for: model).shortfallBits
            guard shortfall.isFinite else { return nil }
            // Half a bit for what the noise adds.
            if shortfall <= -0.5 { return chain }
            baseBits += Swift.max(1, Int((shortfall + 0.5).rounded(.up)))
        }
        return nil
    }

    private static func chain(
        _ model: InferenceModel, scaleBits: Int, baseBits: Int, logN: Int
    ) -> Chain? {
        let degree = 1 << logN
        let perLevel = scaleBits <= 49 ? 1 : 2
        let depth = model.layers.count
        let base = (baseBits + 49) / 50
        let bits = (0..<perLevel).map { (scaleBits + $0) / perLevel }
        var used: Set<UInt64> = []
        func primes(_ bits: Int, _ count: Int) -> [UInt64] {
            let found = Primes.nttPrimes(bits: bits, degree: degree, count: count, excluding: used)
            used.formUnion(found)
            return found
        }
        var q = primes(Swift.min(50, (baseBits + base - 1) / base), base)
        let levels = bits.map { primes($0, depth) }
        guard q.count == base, levels.allSatisfy({ $0.count == depth }) else { return nil }
        for level in 0..<depth { q += levels.map { $0[level] } }
        // More primes a digit make fewer digits, as far as the security table leaves room for P: of those that it
        // does, the smallest keys.
        var best: (rows: Int, parameters: EncryptionParameters)?
        for alpha in 1...q.count {
            let digits = stride(from: 0, to: q.count, by: alpha).map { q[$0..<Swift.min($0 + alpha, q.count)] }
            let longest = digits.map { $0.reduce(0) { $0 + .log2(Double($1)) } }.max() ?? 0
            // So many bits more, and digits add less noise than the division by P.
            let bits = Int(longest.rounded(.up)) + 8
            let count = (bits + 49) / 50
            let special = Primes.nttPrimes(
                bits: (bits + count - 1) / count, degree: degree, count: count, excluding: used)
            let rows = digits.count * (q.count + count)
            guard special.count == count, rows < best?.rows ?? .max,
                let parameters = try? EncryptionParameters(
                    scheme: .ckks, logN: logN, q: q, p: special, alpha: alpha),
                parameters.maximumEvaluationKeyLevel == q.count
            else { continue }
            best = (rows, parameters)
        }
        return best.map {
            Chain(parameters: $0.parameters, scaleBits: scaleBits, base: base, perLevel: perLevel)
        }
    }

    /// What a chain gives; nil where the noise does not fit, or cannot be made.
    private static func released(
        _ model: InferenceModel, _ request: ReleaseRequest, _ chain: Chain
    ) throws(ReleasePlanError) -> ReleasePlan? {
        let plan = try checking { () throws(InferenceError) in try InferencePlan(model, chain) }
        let bound = plan.bound(for: model)
        let parameters = chain.parameters
        guard
            let policy = try? FloodingPolicy(
                errorBound: StaticNoise(parameters).floodingBound(bound.error),
                statisticalBits: request.statisticalBits, budget: request.budget, precision: request.precision,
                level: plan.profile.outputLevel, scaleBits: chain.scaleBits, audience: request.audience)
        else { return nil }
        let accuracy = bound.accuracy(logN: parameters.logN) + policy.disturbance(logN: parameters.logN)
        return ReleasePlan(
            request: request, policy: policy, bound: bound, accuracy: accuracy,
            report: report(plan, request, policy, bound, accuracy))
    }

    /// What can be had instead: the finest precision on the largest ring, and the budget for the asked one.
    private static func outOfReach(_ model: InferenceModel, _ request: ReleaseRequest) -> ReleasePlanError {
        var nearest: Double?
        for logN in 12...EncryptionParameters.logNRange.upperBound {
            for scaleBits in stride(from: longestScale, through: 30, by: -2) {
                guard let chain = chain(model, scaleBits, logN, 1) else { continue }
                if let made = try? released(model, request, chain) {
                    // The step follows the precision: what is off without it, and a third for it.
                    let floor = (made.accuracy - made.policy.step / 2) * 4 / 3
                    nearest = Swift.min(nearest ?? .infinity, floor)
                }
                break
            }
        }
        guard let nearest, nearest.isFinite, nearest > 0 else {
            return .precisionOutOfReach(asked: request.precision, nearest: nil, budget: nil)
        }
        // Noise goes with the root of the budget. Two digits, rounded up.
        let exponent = Int(Double.log10(nearest).rounded(.down)) - 1
        let digits = Int((nearest / Double.exp10(Double(exponent))).rounded(.up))
        let rounded = Double("\(digits)e\(exponent)") ?? nearest
        let ratio = request.precision / (rounded * 1.2)
        let budget = Int(Swift.min(Double(request.budget) * ratio * ratio, 0x1p40).rounded(.down))
        return .precisionOutOfReach(
            asked: request.precision, nearest: rounded, budget: budget >= 1 && budget < request.budget ? budget : nil)
    }

    private static func report(
        _ plan: InferencePlan, _ request: ReleaseRequest, _ policy: FloodingPolicy, _ bound: CircuitBound,
        _ accuracy: Double
    ) -> String {
        func bits(_ value: Double) -> String { "2^\((10 * Double.log2(value)).rounded() / 10)" }
        let parameters = plan.profile.parameters
        let logN = parameters.logN
        func sum(_ primes: some Sequence<UInt64>) -> Int {
            Int(primes.reduce(0) { $0 + Double.log2(Double($1)) }.rounded(.up))
        }
        let security = SecurityTable.maximumModulusBits(logN: logN) ?? 0
        let scale = plan.profile.scaleBits
        return """
            asked: results within \(request.precision), \(request.budget) decryptions, s = \(request.statisticalBits), \
            audience \(request.audience.rawValue)
            ring: N = 2^\(logN), the smallest that is large enough; keys have \(sum(parameters.q + parameters.p)) bits, \
            128-bit security allows \(security)
            scale: 2^\(scale), \(plan.primesPerLevel == 1 ? "one prime" : "two primes") a layer; \
            \(parameters.q.count) primes q, \(parameters.p.count) special, \(parameters.alpha) a digit
            error of the circuit: at most \(bits(policy.errorBound)), Euclidean norm of the coefficients, but with a \
            chance of 2^-168
            noise: deviation \(bits(policy.noise.deviation)) a coefficient, at least sqrt(12 tau) 2^(s/2) times that
            results: the error moves them by \(bits(bound.accuracy(logN: logN))) at most, the noise by \
            \(bits(policy.disturbance(logN: logN) - policy.step / 2)), rounding to multiples of \(policy.step) by \
            \(policy.step / 2): \(accuracy) together, but with a chance of 2^-40 a result
            """
    }
}
