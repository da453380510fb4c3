import HomomorphicEncryption
import RealModule

/// The search for a plan with flooded results: rings from the smallest, in each every scale from the smallest.
///
/// No scale is jumped over. What an error costs in precision depends on how often it is squared, on the digits of the
/// keys and on the primes that there are, so that neither the accuracy nor whether secure parameters exist follows the
/// scale by a rule; and some 350 candidates, with weights read once and primes found once, take a fraction of a second.
struct ReleaseSearch {
    /// log2 of the scales: from half of what raw results take to two primes of 49 bits.
    private static let scales = 30...98
    private static let rings = 12...EncryptionParameters.logNRange.upperBound
    /// Bits of what is left of the modulus at the end, at most.
    private static let longestBase = 200

    private struct Place: Hashable {
        let logN: Int
        let scaleBits: Int
        /// log2 of the precision, rounded up; 0 for all below one.
        let precisionBits: Int
    }

    /// What does not depend on noise.
    private struct Candidate {
        let chain: InferencePlan.Chain
        let bound: CircuitBound
    }

    let model: InferenceModel
    private var supplies: [Int: PrimeSupply] = [:]
    private var candidates: [Place: Candidate?] = [:]
    private var magnitudes: CircuitMagnitudes?

    init(_ model: InferenceModel) { self.model = model }

    /// The plan of the smallest ring and in it of the smallest scale.
    /// - Returns: nil where no parameters are secure and precise enough.
    mutating func plan(_ request: ReleaseRequest) -> InferencePlan? {
        for logN in Self.rings {
            for scaleBits in Self.scales {
                guard let candidate = candidate(logN, scaleBits, request.precision),
                    let release = ReleasePlan(request, candidate.bound, candidate.chain),
                    release.accuracy <= request.precision
                else { continue }
                // The candidate's own plan had the same chain.
                return try? InferencePlan(model, candidate.chain, release: release)
            }
        }
        return nil
    }

    /// The candidate of a place, made once.
    private mutating func candidate(_ logN: Int, _ scaleBits: Int, _ precision: Double) -> Candidate? {
        let precisionBits = max(0, Int(Double.log2(precision).rounded(.up)))
        let place = Place(logN: logN, scaleBits: scaleBits, precisionBits: precisionBits)
        if let known = candidates[place] { return known }
        let made = made(place)
        candidates[place] = .some(made)
        return made
    }

    /// Secure parameters of this scale in which all values fit.
    private mutating func made(_ place: Place) -> Candidate? {
        // The noise of a slot is as large as the precision, that of a coefficient smaller.
        var baseBits = place.scaleBits + 3 + place.precisionBits
        while baseBits <= Self.longestBase {
            guard let chain = chain(place, baseBits), let plan = try? InferencePlan(model, chain) else { return nil }
            let magnitudes = self.magnitudes ?? CircuitMagnitudes(model, plan)
            self.magnitudes = magnitudes
            let bound = plan.bound(magnitudes)
            let shortfall = bound.shortfallBits
            guard shortfall.isFinite else { return nil }
            // Half a bit for what the noise adds.
            if shortfall <= -0.5 { return Candidate(chain: chain, bound: bound) }
            guard shortfall < Double(Self.longestBase) else { return nil }
            baseBits += max(1, Int((shortfall + 0.5).rounded(.up)))
        }
        return nil
    }

    private mutating func chain(_ place: Place, _ baseBits: Int) -> InferencePlan.Chain? {
        var supply = supplies[place.logN] ?? PrimeSupply(degree: 1 << place.logN)
        defer { supplies[place.logN] = supply }
        let perLevel = place.scaleBits <= 49 ? 1 : 2
        let depth = model.layers.count
        let base = (baseBits + 49) / 50
        var taken: Set<UInt64> = []
        var q = supply.take(base, bits: min(50, (baseBits + base - 1) / base), from: &taken)
        var levels: [[UInt64]] = []
        for part in 0..<perLevel {
            levels.append(supply.take(depth, bits: (place.scaleBits + part) / perLevel, from: &taken))
        }
        guard q.count == base, levels.allSatisfy({ $0.count == depth }) else { return nil }
        for level in 0..<depth { q += levels.map { $0[level] } }
        let allowed = Double(SecurityTable.maximumModulusBits(logN: place.logN) ?? 0)
        let lengths = q.map { Double.log2(Double($0)) }
        let room = allowed - lengths.reduce(0, +)
        // More primes a digit make fewer digits, as far as the security table leaves room for P: of those that it
        // does, the smallest keys.
        var best: (rows: Int, alpha: Int, special: [UInt64])?
        for alpha in 1...q.count {
            let digits = stride(from: 0, to: q.count, by: alpha).map { lengths[$0..<min($0 + alpha, q.count)] }
            let longest = digits.map { $0.reduce(0, +) }.max() ?? 0
            // So many bits more, and digits add less noise than the division by P.
            let bits = Int(longest.rounded(.up)) + 8
            let count = (bits + 49) / 50
            let rows = digits.count * (q.count + count)
            guard rows < best?.rows ?? .max else { continue }
            let special = supply.largest(count, bits: (bits + count - 1) / count, besides: taken)
            guard special.count == count, special.reduce(0, { $0 + .log2(Double($1)) }) <= room else { continue }
            best = (rows, alpha, special)
        }
        guard let best,
            let parameters = try? EncryptionParameters(
                scheme: .ckks, logN: place.logN, q: q, p: best.special, alpha: best.alpha),
            parameters.maximumEvaluationKeyLevel == q.count
        else { return nil }
        return InferencePlan.Chain(
            parameters: parameters, scaleBits: place.scaleBits, base: base, perLevel: perLevel)
    }
}

/// What can be had instead of what was asked.
extension ReleaseSearch {
    /// The refusal of a request that has no plan. What it offers has been planned.
    mutating func outOfReach(_ request: ReleaseRequest) -> ReleasePlanError {
        let nearest = nearestPrecision(request)
        var budget: Int?
        if let nearest {
            // Noise goes with the root of the budget.
            let ratio = request.precision / nearest
            var fewer = Int(Double(request.budget) * ratio * ratio)
            while fewer >= 1, budget == nil {
                if plan(request.asking(budget: fewer)) != nil { budget = fewer }
                fewer /= 2
            }
        }
        return .precisionOutOfReach(asked: request.precision, nearest: nearest, budget: budget)
    }

    /// The finest precision that can be had for the same budget and statistical security, rounded up to two digits.
    private mutating func nearestPrecision(_ request: ReleaseRequest) -> Double? {
        var from = request.precision
        while from <= ReleaseRequest.precisions.upperBound {
            guard let finest = finest(request, from: from) else { return nil }
            let rounded = finest.isFinite ? Self.roundedUp(finest) : .infinity
            if ReleaseRequest.precisions.contains(rounded), plan(request.asking(precision: rounded)) != nil {
                return rounded
            }
            // Parameters for coarser precisions leave more room for noise at the end of the modulus, and less scale.
            from = max(2 * from, 2)
        }
        return nil
    }

    /// The finest precision that parameters made for the precision `from` have, infinity where no noise fits them: not
    /// finer than `from`.
    /// - Returns: nil where there are no parameters.
    private mutating func finest(_ request: ReleaseRequest, from precision: Double) -> Double? {
        let request = request.asking(precision: precision)
        var finest: Double?
        for logN in Self.rings {
            for scaleBits in Self.scales {
                guard let candidate = candidate(logN, scaleBits, precision) else { continue }
                finest = finest ?? .infinity
                guard let release = ReleasePlan(request, candidate.bound, candidate.chain) else { continue }
                // The step follows the precision: half of it is an eighth to a quarter of the precision.
                finest = min(finest ?? .infinity, (release.accuracy - release.policy.step / 2) * 4 / 3)
            }
        }
        return finest.map { max($0, precision) }
    }

    /// Two digits.
    private static func roundedUp(_ value: Double) -> Double {
        let exponent = Int(Double.log10(value).rounded(.down)) - 1
        let digits = Int((value / .exp10(Double(exponent))).rounded(.up))
        return Double("\(digits)e\(exponent)") ?? value
    }
}

extension ReleaseRequest {
    fileprivate func asking(precision: Double? = nil, budget: Int? = nil) -> ReleaseRequest {
        ReleaseRequest(
            precision: precision ?? self.precision, statisticalBits: statisticalBits, budget: budget ?? self.budget,
            audience: audience)
    }
}
