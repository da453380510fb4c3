import Attestation
import Gateway
import KeyManagement
import ServiceKit

/// Whether evaluation units answer this gateway, and are those that were pinned.
enum UnitChecks {
    /// - Parameters:
    ///   - keys: with whose request key units are asked.
    ///   - keyCheck: makes them.
    static func checks(
        _ configuration: GatewayConfiguration, keys: DoctorResult<InstallationKeys>, keyCheck: String
    ) -> [DoctorCheck] {
        configuration.units.map { unit in
            DoctorCheck("unit.\(unit.name)", after: [keyCheck], fix: "See the unit's log.") {
                do {
                    let names = try await unit.examine(signingWith: keys.get().requestKey)
                    guard !names.isEmpty else {
                        return .warning(
                            "\(unit.url) takes this gateway's requests, and runs nothing, so that its key was not seen",
                            fix: "Give it a model: models in its evaluator.yaml.")
                    }
                    return .ok("\(unit.url) runs \(names.joined(separator: ", ")), signed by the pinned key")
                } catch let error as UnitUnreachable {
                    return .failed(
                        "\(unit.url): \(error.reason)",
                        fix: "See that hkms-evaluator serve runs there; check units[].url and units[].tls.")
                } catch let error as AttestationError {
                    return .failed(
                        "what \(unit.url) signs is not believed: \(error)",
                        fix: "Compare units[].publicKey with what hkms-evaluator new-key printed for it, and "
                            + "units[].name with its unit.name.")
                } catch let problem as Problem where problem.name == "unit-refused" {
                    return .failed(
                        problem.detail,
                        fix: "\(problem.fix) In its evaluator.yaml gateways[] must pin this installation's request "
                            + "key and the name in the gateway's certificate, and both clocks must agree.")
                }
            }
        }
    }
}
