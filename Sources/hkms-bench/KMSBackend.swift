import Foundation
import KeyManagement
import SecretMemory
import TrustedKMSOpenBao
import TrustedKMSPKCS11
import TrustedKMSSoftware

/// A trusted KMS that is measured: the real one, which scripts/bench kms has started. Another one is another line.
enum KMSBackend {
    typealias Connect = @Sendable (_ folder: URL) async throws -> any TrustedKMS

    /// By their names, in the order of the report. What they need is where scripts/lib exports it.
    static let all: [(name: String, connect: Connect)] = [
        ("software", software),
        ("openbao", openBao(address: "HKMS_TEST_OPENBAO_ADDRESS")),
        ("openbao-tls", openBao(address: "HKMS_TEST_OPENBAO_TLS_ADDRESS")),
        ("softhsm", pkcs11("SOFTHSM")),
        ("opencryptoki", pkcs11("OPENCRYPTOKI")),
    ]

    static var names: String { all.map(\.name).joined(separator: ", ") }

    @Sendable private static func software(_ folder: URL) async throws -> any TrustedKMS {
        try SoftwareKMS.create(
            at: folder.appendingPathComponent("keystore.json").path, passphrase: try SecretBytes(randomCount: 16),
            developmentOnly: true, scryptCost: .minimum)
    }

    private static func openBao(address variable: String) -> Connect {
        { folder in
            let token = try secretFile("HKMS_TEST_OPENBAO_TOKEN", in: folder)
            return try OpenBaoKMS(
                OpenBaoConfiguration(
                    address: setting(variable), authentication: .tokenFile(token),
                    caCertificateFile: setting("HKMS_TEST_OPENBAO_CA")))
        }
    }

    private static func pkcs11(_ module: String) -> Connect {
        { _ in
            let token = try setting("HKMS_TEST_\(module)_TOKEN")
            let uri = try PKCS11URI("pkcs11:token=\(token)?module-path=\(setting("HKMS_TEST_\(module)_MODULE"))")
            return try await PKCS11KMS.connect(
                PKCS11Configuration(uri: uri), pin: try SecretFile.read(setting("HKMS_TEST_\(module)_PIN_FILE")))
        }
    }

    private static func setting(_ variable: String) throws -> String {
        guard let value = ProcessInfo.processInfo.environment[variable], !value.isEmpty else {
            throw BenchmarkError.noSetting(variable)
        }
        return value
    }

    /// Puts what a variable holds into a file, for adapters that read secrets from files alone.
    private static func secretFile(_ variable: String, in folder: URL) throws -> String {
        let path = folder.appendingPathComponent(variable).path
        let text = Array(try setting(variable).utf8)
        var secret = try SecretBytes(count: text.count)
        secret.withUnsafeMutableBytes { $0.copyBytes(from: text) }
        try SecretFile.create(path, secret)
        return path
    }
}
