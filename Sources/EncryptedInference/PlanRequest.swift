import Attestation

/// What a gateway asks an evaluation unit to plan a model for; the answer is a signed ``ModelDescriptor``.
public struct PlanRequest: Sendable, Hashable, Codable {
    public let release: ReleaseRequest
    /// The circuit of a key set that exists: its plan is taken up again, not searched. nil for a new key set.
    public let profile: CircuitProfile?

    public init(release: ReleaseRequest, profile: CircuitProfile? = nil) {
        self.release = release
        self.profile = profile
    }

    /// The request behind a key set; nil for one whose results are raw.
    public init?(_ manifest: KeySetManifest) {
        guard let flooding = manifest.policy.flooding else { return nil }
        self.init(
            release: ReleaseRequest(
                precision: flooding.precision, statisticalBits: flooding.policy.statisticalBits,
                budget: flooding.policy.budget, audience: flooding.policy.audience),
            profile: manifest.profile)
    }
}
