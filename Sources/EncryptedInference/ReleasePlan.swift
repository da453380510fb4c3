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
    static let precisions = 0x1p-40...0x1p20

    /// Checks what needs no model.
    /// - Throws: ``ReleasePlanError/invalidRequest(reason:)``.
    public func validate() throws(ReleasePlanError) {
        guard Self.precisions.contains(precision) else {
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
    private let chain: InferencePlan.Chain

    /// What a chain gives.
    /// - Returns: nil where the noise cannot be made, or results and noise do not fit what is left of the modulus.
    init?(_ request: ReleaseRequest, _ bound: CircuitBound, _ chain: InferencePlan.Chain) {
        let parameters = chain.parameters
        guard
            let policy = try? FloodingPolicy(
                errorBound: StaticNoise(parameters).floodingBound(bound.error),
                statisticalBits: request.statisticalBits, budget: request.budget, precision: request.precision,
                level: chain.base, scaleBits: chain.scaleBits, audience: request.audience)
        else { return nil }
        self.request = request
        self.policy = policy
        self.bound = bound
        self.chain = chain
        accuracy = bound.accuracy(logN: parameters.logN) + policy.disturbance(logN: parameters.logN)
        let result = bound.resultMagnitude * bound.scale + bound.error.embedding + bound.drift
        let left = parameters.q.prefix(chain.base).reduce(0) { $0 + .log2(Double($1)) }
        // Results and noise together take half of it at most.
        guard accuracy.isFinite, .log2(result + .exp2(policy.noiseBits)) + 1 < left else { return nil }
    }

    /// What was chosen and why, in lines of text.
    public var report: String {
        func bits(_ value: Double) -> String { "2^\((10 * Double.log2(value)).rounded() / 10)" }
        let parameters = chain.parameters
        let logN = parameters.logN
        func sum(_ primes: some Sequence<UInt64>) -> Int {
            Int(primes.reduce(0) { $0 + Double.log2(Double($1)) }.rounded(.up))
        }
        let security = SecurityTable.maximumModulusBits(logN: logN) ?? 0
        let scale = chain.scaleBits
        return """
            asked: results within \(request.precision), \(request.budget) decryptions, s = \(request.statisticalBits), \
            audience \(request.audience.rawValue)
            ring: N = 2^\(logN), the smallest that is large enough; keys have \(sum(parameters.q + parameters.p)) bits, \
            128-bit security allows \(security)
            scale: 2^\(scale), \(chain.perLevel == 1 ? "one prime" : "two primes") a layer; \
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

extension InferencePlan {
    /// Plans a model for flooded results: the smallest ring, and in it the smallest scale, with which the noise that
    /// hides the circuit's error stays within the asked precision. A scale of more than 49 bits is that of two primes
    /// together. All primes are below 2^50, which the fast kernels take.
    /// - Throws: ``ReleasePlanError``.
    public init(_ model: InferenceModel, release request: ReleaseRequest) throws(ReleasePlanError) {
        try request.validate()
        let most = (EncryptionParameters.maximumPrimes - 3) / 2
        guard model.layers.count <= most else { throw .tooDeep(layers: model.layers.count, most: most) }
        var search = ReleaseSearch(model)
        guard let plan = search.plan(request) else { throw search.outOfReach(request) }
        self = plan
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
        let plan: InferencePlan
        do throws(InferenceError) { plan = try InferencePlan(model, chain) } catch { throw .model(error) }
        let bound = plan.bound(for: model)
        guard bound.shortfallBits <= 0, let release = ReleasePlan(request, bound, chain),
            release.accuracy <= request.precision
        else { throw .precisionOutOfReach(asked: request.precision, nearest: nil, budget: nil) }
        do throws(InferenceError) {
            self = try InferencePlan(model, chain, release: release)
        } catch { throw .model(error) }
        guard self.profile.digest == profile.digest else { throw .anotherCircuit }
    }
}
