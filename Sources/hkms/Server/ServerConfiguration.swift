import Foundation
import Gateway
import KeyManagement
import ServiceKit

/// A whole configuration file of `hkms serve`.
struct ServerConfiguration: Sendable {
    let gateway: GatewayConfiguration
    let kms: KMSSettings
    /// Those that still open what they sealed.
    let otherKMS: [KMSSettings]
    let identity: IdentitySettings

    var allKMS: [KMSSettings] { [kms] + otherKMS }

    /// - Throws: ``ConfigurationError`` with every line that is wrong.
    init(path: String) throws {
        let document = try YAMLDocument(path: path)
        let absolute = URL(fileURLWithPath: path)
        let directory = absolute.deletingLastPathComponent().path
        let gateway = GatewayConfiguration(
            document.root, directory: directory, processors: ProcessInfo.processInfo.activeProcessorCount)
        let identity = IdentitySettings(
            document.root.section("identity"), directory: directory, tenant: gateway.tenant,
            development: gateway.development, asksForCertificates: gateway.listen.tls?.clientAuthorities != nil)
        let kms = KMSRegistry.read(
            document.root.section("kms"), directory: directory, development: gateway.development)
        let others = document.root.optionalSections("otherKMS").enumerated().compactMap { index, section in
            KMSRegistry.read(
                section, "otherKMS[\(index)]", directory: directory, development: gateway.development)
        }
        let names = [kms].compactMap { $0?.name } + others.map(\.name)
        if Set(names).count != names.count {
            document.root.fail("otherKMS", "has a name twice: give each KMS a name of its own")
        }
        try document.finish()
        guard let kms else { throw ConfigurationError(file: path, line: 1, message: "kms is not usable") }
        self.gateway = gateway
        self.kms = kms
        otherKMS = others
        self.identity = identity
    }
}
