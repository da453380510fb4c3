import EncryptedInference
import Hummingbird
import KeyManagement
import ServerKit
import ServiceKit

extension Gateway {
    func addCircuitRoutes(to group: RouterGroup<ServiceContext>) {
        group.get { [self] _, context in
            try await operate(.modelsList, context) { operation in
                try operation.permit()
                let circuits = try await units.models().compactMap { $0.descriptor as? IntegerCircuitDescriptor }
                return try Response.json(CircuitList(circuits: circuits.map { CircuitInfo($0) }))
            }
        }
        group.refuseOtherMethods("", than: [.get])
    }
}

extension CircuitInfo {
    init(_ descriptor: IntegerCircuitDescriptor) {
        let profile = descriptor.profile
        self.init(
            name: descriptor.name, version: descriptor.version, description: descriptor.description,
            unit: descriptor.unit, digest: profile.modelDigest.hex,
            columns: descriptor.columns.map { .init(name: $0.name, minimum: $0.minimum, maximum: $0.maximum) },
            records: profile.batch, operands: profile.operands ?? 1,
            results: descriptor.results.map { .init(name: $0.name, slot: $0.slot) },
            perRecord: descriptor.isPerRecord, magnitude: descriptor.magnitude,
            parameters: ParametersBody(profile.parameters), evaluationKeys: profile.evaluationKeyNames)
    }
}
