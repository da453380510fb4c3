import HomomorphicEncryption

/// How the results of one circuit leave: the noise, and the precision that it leaves.
public struct FloodedRelease: Sendable, Hashable, Codable {
    /// What a released value may be off by, as it was asked for: absolute, but with a chance of 2^-40 a result.
    public let precision: Double
    /// B of the circuit, s, budget, step, level, scale, audience.
    public let policy: FloodingPolicy

    public init(precision: Double, policy: FloodingPolicy) {
        self.precision = precision
        self.policy = policy
    }

    /// Checks what can be told without the model: that this goes with the circuit, that the noise leaves the precision,
    /// and that B is not below what the circuit's last rescaling alone adds. Whether B is the model's, only the
    /// evaluation unit can tell.
    /// - Throws: ``AttestationError/malformed(reason:)``.
    public func validate(for profile: CircuitProfile) throws(AttestationError) {
        guard policy.level == profile.outputLevel, policy.scaleBits == profile.scaleBits else {
            throw .malformed(reason: "the release policy is of another level or scale than the circuit's results")
        }
        guard precision.isFinite, policy.step <= precision / 2,
            policy.disturbance(logN: profile.parameters.logN) <= precision
        else { throw .malformed(reason: "the release policy's noise is larger than its precision") }
        guard policy.errorBound >= Self.leastErrorBound(of: profile) else {
            throw .malformed(reason: "the release policy's bound is below what rounding alone adds")
        }
    }

    /// A result was rounded when it was last rescaled, and its exact value when it was encoded.
    static func leastErrorBound(of profile: CircuitProfile) -> Double {
        let noise = StaticNoise(profile.parameters)
        return noise.floodingBound(noise.rescaled(.zero, by: profile.parameters.q.prefix(1)))
    }

    /// The policy for what was encrypted for the circuit and not computed on.
    /// - Throws: ``AttestationError/malformed(reason:)``.
    public func inputPolicy(of profile: CircuitProfile) throws(AttestationError) -> FloodingPolicy {
        let noise = StaticNoise(profile.parameters)
        do throws(HEError) {
            return try policy.applied(toErrorBound: noise.floodingBound(noise.fresh), level: profile.inputLevel)
        } catch { throw .malformed(reason: "\(error)") }
    }
}
