import ArgumentParser
import Foundation
import HKMSClient
import ServiceKit

/// How to reach the gateway, and how to show its answers.
struct GatewayOptions: ParsableArguments {
    static let defaultAddress = "http://127.0.0.1:8080"

    @Option(
        help: ArgumentHelp(
            "Address of the gateway; https unless it is on this machine. (default: $HKMS_GATEWAY, else \(defaultAddress))",
            valueName: "url"))
    var gateway: String?

    @Option(
        help: ArgumentHelp(
            "File that holds your token. (default: $HKMS_TOKEN_FILE, else the token itself in $HKMS_TOKEN)",
            valueName: "file"))
    var tokenFile: String?

    @Option(
        help: ArgumentHelp(
            "File that holds your token for the KMS, where the installation seals under keys of single principals. "
                + "(default: $HKMS_KMS_TOKEN_FILE)", valueName: "file"))
    var kmsTokenFile: String?

    @Option(
        help: ArgumentHelp(
            "PEM file of the authorities to trust instead of the system's. (default: $HKMS_CA_FILE)", valueName: "file"
        ))
    var ca: String?

    @Option(
        help: ArgumentHelp(
            "PEM file of a certificate to show to the gateway; needs no token. (default: $HKMS_CLIENT_CERTIFICATE)",
            valueName: "file"))
    var clientCertificate: String?

    @Option(
        help: ArgumentHelp(
            "PEM file of the client certificate's private key. (default: $HKMS_CLIENT_KEY)", valueName: "file"))
    var clientKey: String?

    @Option(help: ArgumentHelp("Time limit of one request.", valueName: "seconds"))
    var timeout = 600

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard (1...86_400).contains(timeout) else { throw ValidationError("--timeout is 1 to 86400 seconds.") }
    }

    /// Runs `body` with a client, which ends with it.
    func withClient<Result>(_ body: (HKMSClient) async throws -> Result) async throws -> Result {
        let certificate = try certificateFiles()
        let client = try HKMSClient(
            address: gateway ?? Self.environment("HKMS_GATEWAY") ?? Self.defaultAddress,
            token: try token(isNeeded: certificate == nil), kmsToken: try kmsToken(),
            caCertificateFile: ca ?? Self.environment("HKMS_CA_FILE"),
            clientCertificate: certificate, timeout: .seconds(timeout))
        do {
            let result = try await body(client)
            await client.shutdown()
            return result
        } catch {
            await client.shutdown()
            throw error
        }
    }

    private func certificateFiles() throws -> CertificateFiles? {
        let certificate = clientCertificate ?? Self.environment("HKMS_CLIENT_CERTIFICATE")
        let key = clientKey ?? Self.environment("HKMS_CLIENT_KEY")
        switch (certificate, key) {
        case (nil, nil): return nil
        case (let certificate?, let key?): return CertificateFiles(certificate: certificate, key: key)
        default:
            throw CommandFailure(
                title: "Half a client certificate",
                detail: "a certificate is of no use without its key, and a key alone",
                fix: "Give both: --client-certificate FILE --client-key FILE.", code: .validationFailure)
        }
    }

    /// - Returns: nil where there is none and none is needed.
    private func token(isNeeded: Bool) throws -> String? {
        if let path = tokenFile ?? Self.environment("HKMS_TOKEN_FILE") { return try Self.token(in: path) }
        if let token = Self.environment("HKMS_TOKEN") { return token }
        guard isNeeded else { return nil }
        throw CommandFailure(
            title: "No token", detail: "the gateway answers nobody without one",
            fix: "Name the file that holds yours: --token-file FILE, or export HKMS_TOKEN_FILE=FILE; or show a "
                + "certificate that the gateway knows: --client-certificate FILE --client-key FILE.",
            code: .validationFailure)
    }

    private func kmsToken() throws -> String? {
        guard let path = kmsTokenFile ?? Self.environment("HKMS_KMS_TOKEN_FILE") else { return nil }
        return try Self.token(in: path)
    }

    private static func token(in path: String) throws -> String {
        let bytes = try InputFile.read(path, maximumBytes: 2 * BearerToken.maximumBytes, code: .validationFailure)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw HKMSClientError.invalidToken(reason: "in \(path) is no text")
        }
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private static func environment(_ name: String) -> String? {
        guard let value = ProcessInfo.processInfo.environment[name], !value.isEmpty else { return nil }
        return value
    }
}
