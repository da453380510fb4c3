import Attestation
import EncryptedInference
import Foundation
import HomomorphicEncryption
import Testing

/// Plans that are taken up again from a profile, and descriptions of plans as units sign them.
@Suite struct PlannedReleaseTests {
    private static let request = ReleaseRequest(precision: 1e-3, budget: 64, audience: .shared)

    @Test("a profile gives back the plan that it came from, bound and policy included")
    func rebuilding() throws {
        for network in ["1-1", "4-1", "3-4sq-1", "5-8sq-3sq-1"] {
            let model = try InferenceModel(parsing: Network(network).file)
            let plan = try InferencePlan(model, release: Self.request)
            let again = try InferencePlan(model, profile: plan.profile, release: Self.request)
            #expect(again.profile == plan.profile && again.packing == plan.packing, "\(network)")
            #expect(again.release == plan.release, "\(network)")
            #expect(again.compiledByteCount == plan.compiledByteCount)
            // More weight in the same shape: the bound is the model's own.
            let other = try InferenceModel(parsing: Network(network, seed: 5).file)
            #expect(throws: ReleasePlanError.anotherCircuit) {
                try InferencePlan(other, profile: plan.profile, release: Self.request)
            }
            // A profile for raw results leaves no room for noise.
            #expect(throws: ReleasePlanError.self) {
                try InferencePlan(model, profile: InferencePlan(model).profile, release: Self.request)
            }
        }
    }

    @Test("a description whose release contradicts its profile or its request is refused")
    func descriptions() throws {
        let model = try InferenceModel(parsing: Network("3-4sq-1").file)
        let descriptor = ModelDescriptor(
            model, plan: try InferencePlan(model, release: Self.request), unit: "unit-1")
        try descriptor.validate()
        #expect(descriptor.flooding?.precision == 1e-3 && descriptor.flooding?.policy == descriptor.release?.policy)
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let bytes = try encoder.encode(descriptor)
        func changed(_ change: (inout [String: Any]) -> Void) throws -> ModelDescriptor {
            var object = try #require(try JSONSerialization.jsonObject(with: bytes) as? [String: Any])
            var release = try #require(object["release"] as? [String: Any])
            change(&release)
            object["release"] = release
            return try JSONDecoder().decode(
                ModelDescriptor.self, from: JSONSerialization.data(withJSONObject: object))
        }
        func policy(_ name: String, _ value: Any) -> (inout [String: Any]) -> Void {
            {
                var policy = $0["policy"] as? [String: Any] ?? [:]
                policy[name] = value
                $0["policy"] = policy
            }
        }
        #expect(try changed { _ in } == descriptor)
        for change in [
            policy("budget", 63), policy("statisticalBits", 29), policy("audience", "owner"), policy("level", 1),
            policy("scaleBits", 50), policy("errorBound", 1.0), policy("errorBound", 0x1p60), policy("step", 1.0),
            { $0["accuracy"] = 2e-3 },
        ] {
            #expect(throws: (any Error).self) { try changed(change).validate() }
        }
        for change in [policy("errorBound", 0), policy("budget", 0), policy("step", 0.3), policy("scaleBits", 121)] {
            #expect(throws: (any Error).self) { try changed(change) }
        }
        // A bound that is too small and could be: the gateway cannot tell, the unit's signature has to.
        try changed(policy("errorBound", (descriptor.release?.policy.errorBound ?? 0) / 2)).validate()
        #expect(ModelDescriptor(try Network("3-4sq-1").compiled(), unit: "unit-1").release == nil)
    }
}
