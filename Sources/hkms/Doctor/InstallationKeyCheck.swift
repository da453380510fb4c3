import Foundation
import KeyManagement

/// Whether one of the KMSs opens the installation's own keys.
enum InstallationKeyCheck {
    /// - Parameter result: has them afterwards.
    static func check(
        _ name: String, _ settings: ServerConfiguration, _ all: [KMSChecks], result: DoctorResult<InstallationKeys>
    ) -> DoctorCheck {
        let fix = "Restore installation.sealedKey from a backup; its KMS key, installation and tenant must be the same."
        let configuration = settings.gateway
        let check = DoctorCheck(name, after: all.map(\.keyCheck), fix: fix) {
            let path = configuration.sealedKeyFile
            guard let sealed = try? Data(contentsOf: URL(fileURLWithPath: path)) else {
                return .failed("\(path) cannot be read", fix: fix)
            }
            let known = try all.map { try $0.configured() }
            let kms = KMSDirectory(known[0], others: Array(known.dropFirst()))
            let keys: InstallationKeys
            do throws(KeyManagementError) {
                keys = try await InstallationKeys.open(
                    Array(sealed), installation: configuration.installation, tenant: configuration.tenant,
                    kms: kms)
            } catch {
                // A KMS that is away or refuses is mended there.
                if case .kms(let error) = error, error != .cannotOpen { throw error }
                return .failed("\(path) does not open: \(FlowFailure(error).problem.detail)", fix: fix)
            }
            result.set(keys)
            return .ok("opened; manifests are signed by \(keys.manifestKey.verificationKey.hex)")
        }
        // Errors are those of the current KMS.
        return all.first.map { check.explained(by: $0.remedy) } ?? check
    }
}
