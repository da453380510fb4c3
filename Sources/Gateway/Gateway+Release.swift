import Attestation
import EncryptedInference
import HomomorphicEncryption
import KeyManagement
import ServiceKit

/// What is asked of results, in a registration or an ephemeral prediction.
struct AskedRelease: Sendable {
    var release: String?
    var precision: Double?
    var statisticalBits: Int?
    var decryptions: Int?
    var audience: String?
}

extension Gateway {
    /// What is asked of flooded results, the configuration's defaults filled in; nil for raw and exact ones.
    /// - Throws: `Problem` for what cannot go together.
    func releaseRequest(_ asked: AskedRelease, scheme: Scheme) throws(Problem) -> ReleaseRequest? {
        switch scheme {
        case .ckks: return try releaseRequest(asked)
        case .bfv:
            guard asked.release == nil || asked.release == ReleaseNoise.exact.rawValue, asked.precision == nil,
                asked.statisticalBits == nil, asked.audience == nil
            else {
                throw .badRequest(
                    "results of a BFV key set are exact: there is neither noise nor precision to choose",
                    fix: "Leave out release, precision, statisticalBits and audience.")
            }
            return nil
        }
    }

    /// The same for approximate results.
    func releaseRequest(_ asked: AskedRelease) throws(Problem) -> ReleaseRequest? {
        guard let noise = ReleaseNoise(rawValue: asked.release ?? ReleaseNoise.flooded.rawValue), noise != .exact else {
            throw .badRequest("release is neither flooded nor raw", fix: "Leave it out, or set it to raw.")
        }
        let defaults = configuration.release
        guard let audience = ReleaseAudience(rawValue: asked.audience ?? defaults.audience.rawValue) else {
            throw .badRequest("audience is neither owner nor shared", fix: "Set audience to owner or shared.")
        }
        guard noise == .raw else {
            return ReleaseRequest(
                precision: asked.precision ?? defaults.precision,
                statisticalBits: asked.statisticalBits ?? defaults.statisticalBits,
                budget: asked.decryptions ?? defaults.budget, audience: audience)
        }
        guard asked.audience != ReleaseAudience.shared.rawValue else {
            throw Problem(
                name: "raw-cannot-be-shared", title: "Raw results cannot be shared", status: 422,
                detail: "Whoever sees raw results may find the secret key.",
                fix: "Leave out release, so that results are flooded, or set audience to owner.")
        }
        guard asked.precision == nil, asked.statisticalBits == nil else {
            throw .badRequest(
                "raw results have neither precision nor statisticalBits", fix: "Leave them out, or leave out release.")
        }
        return nil
    }

    /// A key set must release as the caller relies on.
    func requireRelease(_ asked: String?, _ manifest: KeySetManifest) throws {
        guard let asked else { return }
        guard let noise = ReleaseNoise(rawValue: asked) else {
            throw Problem.badRequest(
                "release is none of flooded, raw and exact", fix: "Leave it out, or set it to one of them.")
        }
        try manifest.requireRelease(noise)
    }

    static let floodingNeedsModel = Problem(
        name: "flooding-needs-model", title: "Only a model's results can be flooded", status: 422,
        detail: "The noise is planned for a model's circuit; a preset and parameters have none.",
        fix: "Name a model, or ask for release raw: results are then for the owner alone, for ever.")
}

extension FloodingBody {
    init(_ flooding: FloodedRelease) {
        let policy = flooding.policy
        self.init(
            precision: flooding.precision, statisticalBits: policy.statisticalBits, decryptions: policy.budget,
            audience: policy.audience.rawValue, step: policy.step, errorBound: policy.errorBound,
            deviation: policy.noise.deviation, level: policy.level, scaleBits: policy.scaleBits)
    }
}
